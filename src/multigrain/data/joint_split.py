"""The same split of several stores as one: what `Split` offers, over the utterances of all of them, store by store.

An id or group is `STORE/ID`, so that two stores may use the same ones. A modality that a store lacks is absent for its utterances.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from multigrain.data.batchable import BatchableSplit
from multigrain.data.label_map import LabelMap
from multigrain.errors import DataError, nearest
from multigrain.schema import MODALITIES, Batch, FeatureSpec, ModalitySequence, Task, TokenSequence, Utterance

SEPARATOR = "/"
"""Stands between a store's name, which holds none, and an utterance's own id or group."""


def rows_by_store(ids: Sequence[str], stores: Sequence[str]) -> dict[str, Int[np.ndarray, " rows"]]:
    """Where the utterances of each store are among ids of a `JointSplit`; a store that has none is left out."""
    owners = np.array([name.partition(SEPARATOR)[0] for name in ids])
    rows = {store: np.flatnonzero(owners == store) for store in stores}
    return {store: places for store, places in rows.items() if places.size}


class JointSplit(BatchableSplit):
    """The utterances of one split of several stores. It can be pickled and used in worker processes.

    Attributes:
        name: `train`, `valid` or `test`.
        modalities: those that any of the stores has, in the order text, audio, vision.
        parts: store's name -> its split, in the order of the utterances.
    """

    def __init__(
        self,
        name: str,
        parts: Mapping[str, BatchableSplit],
        features: Mapping[str, FeatureSpec],
        maps: Mapping[str, tuple[LabelMap, Task]] | None = None,
    ):
        """Joins splits.

        Args:
            name: of the split.
            parts: store's name -> its split, at least one; all labelled or none.
            features: the specification of each modality that any of the stores has.
            maps: store's name -> how its labels become scores, and its own task; for those whose labels stay as they are, nothing.
        """
        self.name, self.parts = name, dict(parts)
        self.modalities = tuple(modality for modality in MODALITIES if modality in features)
        self._features, self._maps = dict(features), dict(maps or {})
        self._ends = np.cumsum([len(part) for part in self.parts.values()])

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: where the splits are, not what was read of them."""
        return {key: self.__dict__[key] for key in ("name", "parts", "modalities", "_features", "_maps", "_ends")}

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def counts(self) -> tuple[int, ...]:
        """Utterances of each store, in order."""
        return tuple(len(part) for part in self.parts.values())

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """Each utterance's id, group, text, words, start_seconds, end_seconds."""
        return [
            record | {key: f"{store}{SEPARATOR}{record[key]}" for key in ("id", "group")}
            for store, part in self.parts.items()
            for record in part.records
        ]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The utterances' ids, `STORE/ID`."""
        return tuple(f"{store}{SEPARATOR}{name}" for store, part in self.parts.items() for name in part.ids)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The utterances' videos or speakers, `STORE/GROUP`: two stores never share one."""
        return tuple(f"{store}{SEPARATOR}{name}" for store, part in self.parts.items() for name in part.groups)

    @cached_property
    def labels(self) -> Float[Tensor, "utterances label"] | None:
        """Labels in the units of the common task, or None when the split is unlabelled.

        Raises:
            DataError: a store's map says nothing of some of its labels.
        """
        own = [self._labels_of(store) for store in self.parts]
        return None if any(labels is None for labels in own) else torch.cat([labels for labels in own if labels is not None])

    def _labels_of(self, store: str) -> Float[Tensor, "utterances label"] | None:
        part = self.parts[store]
        if part.labels is None or store not in self._maps:
            return part.labels
        labels, (label_map, task) = part.labels.numpy(), self._maps[store]
        scores = label_map.apply(labels, task)
        wrong = np.flatnonzero(np.isnan(scores[:, 0]))
        if wrong.size:
            known = (
                f"from_range {list(label_map.from_range)}" if label_map.from_range else f"values for {', '.join(map(str, label_map.values or ()))}"
            )
            raise DataError(
                f"The labels of the store {store!r} are mapped with {known}, which says nothing of {wrong.size} of {len(part)} labels in split "
                f"{self.name!r}; the first is {labels[wrong[0]].tolist()} of {part.ids[wrong[0]]!r}. Widen the map in data.stores so that it "
                "covers every label, or drop these utterances and convert the data set again."
            )
        return torch.from_numpy(scores)

    def lengths(self, modality: str) -> Int[np.ndarray, " utterances"]:
        """Steps of each utterance; 0 where the modality, or its whole store's, is absent."""
        return self._joined(modality, lambda part: part.lengths(modality))

    def starts(self, modality: str) -> Int[np.ndarray, " utterances"]:
        """Where each utterance's sequence begins in the sequences of all stores, one after another; see `num_steps`."""
        steps = [part.num_steps(modality) if modality in part.modalities else 0 for part in self.parts.values()]
        before = dict(zip(self.parts.values(), np.cumsum([0, *steps]).tolist(), strict=False))
        return self._joined(modality, lambda part: part.starts(modality) + before[part])

    def num_steps(self, modality: str) -> int:
        """Steps of all sequences of a modality, those that several utterances share counted once."""
        self.check_modalities([modality])
        return sum(part.num_steps(modality) for part in self.parts.values() if modality in part.modalities)

    def _joined(self, modality: str, read: Any) -> np.ndarray:
        self.check_modalities([modality])
        return np.concatenate([read(part) if modality in part.modalities else np.zeros(len(part), np.int64) for part in self.parts.values()])

    def check_modalities(self, modalities: Sequence[str]) -> None:
        """Raises DataError for one that no store has."""
        unknown = [name for name in modalities if name not in self.modalities]
        if unknown:
            raise DataError(
                f"None of the stores {', '.join(self.parts)} has the modality {unknown[0]!r}; together they have {', '.join(self.modalities)}."
                f"{nearest(unknown[0], list(self.modalities))} Ask for one of these, or convert a data set with that modality."
            )

    def sequences(self, rows: Int[np.ndarray, " batch"], modalities: Sequence[str]) -> dict[str, ModalitySequence]:
        """The modalities of some utterances of any of the stores; a modality is absent where the utterance's store lacks it."""
        pieces = self._pieces(rows, modalities)
        return {name: self._sequence(name, rows.size, pieces) for name in modalities}

    def _pieces(self, rows: np.ndarray, modalities: Sequence[str]) -> list[tuple[Tensor, Batch]]:
        """Each store's share of the rows: their places in the batch, and the store's own batch of them."""
        owners, pieces = np.searchsorted(self._ends, rows, side="right"), []
        for number, part in enumerate(self.parts.values()):
            places = np.flatnonzero(owners == number)
            if places.size:
                own = part.batch(rows[places] - (self._ends[number] - len(part)), [name for name in modalities if name in part.modalities])
                pieces.append((torch.from_numpy(places), own))
        return pieces

    def _sequence(self, modality: str, size: int, pieces: Sequence[tuple[Tensor, Batch]]) -> ModalitySequence:
        own = [(places, batch.modalities[modality]) for places, batch in pieces if modality in batch.modalities]
        if len(pieces) == len(own) == 1:
            return own[0][1]
        dim = own[0][1].features.shape[-1] if own else 0 if self._is_read_as_tokens(modality) else self._features[modality].dim
        longest = max((sequence.features.shape[1] for _, sequence in own), default=1)
        merged = ModalitySequence(torch.zeros(size, longest, dim), torch.zeros(size, longest, dtype=torch.bool), torch.zeros(size, dtype=torch.long))
        for places, sequence in own:
            time = sequence.features.shape[1]
            merged.features[places, :time] = sequence.features
            merged.mask[places, :time] = sequence.mask
            merged.readout[places] = sequence.readout
        return merged

    def tokens(self, rows: Int[np.ndarray, " batch"]) -> TokenSequence | None:
        """The word-pieces of some utterances of any of the stores, padded as their text is; None where no language model reads the text."""
        if not self._is_read_as_tokens("text"):
            return None
        owners = np.searchsorted(self._ends, rows, side="right")
        size = (len(rows), max(1, int(self.lengths("text")[rows].max())))
        merged = TokenSequence(torch.zeros(size, dtype=torch.long), torch.zeros(size, dtype=torch.bool), torch.full(size, -1))
        for number, part in enumerate(self.parts.values()):
            places = np.flatnonzero(owners == number)
            own = part.tokens(rows[places] - (self._ends[number] - len(part))) if places.size and "text" in part.modalities else None
            if own is not None:
                time = own.ids.shape[1]
                merged.ids[places, :time], merged.mask[places, :time], merged.word[places, :time] = own.ids, own.mask, own.word
        return merged

    def _is_read_as_tokens(self, modality: str) -> bool:
        return modality in self._features and self._features[modality].pooling is not None

    def numbers_together(self, modality: str, numbers: Float[np.ndarray, " steps"]) -> Float[np.ndarray, " steps"]:
        """As each of the stores makes its own equal."""
        owners = [part for part in self.parts.values() if modality in part.modalities]
        ends = np.cumsum([part.num_steps(modality) for part in owners])
        return np.concatenate([part.numbers_together(modality, own) for part, own in zip(owners, np.split(numbers, ends[:-1]), strict=True)])

    def utterance(self, index: int) -> Utterance:
        """One utterance, with its id, group and label as they are here; its features are copies.

        Raises:
            IndexError: no such utterance.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"utterance {index} of split {self.name!r}, which has {len(self)}")
        number = int(np.searchsorted(self._ends, index, side="right"))
        store, part = list(self.parts.items())[number]
        own = part.utterance(index - int(self._ends[number]) + len(part))
        label = None if self.labels is None else self.labels[index].numpy()
        return replace(
            own,
            id=self.ids[index],
            group=self.groups[index],
            label=label if label is None or label.size > 1 else float(label[0]),
            context_key=None if own.context_key is None else f"{store}{SEPARATOR}{own.context_key}",
        )
