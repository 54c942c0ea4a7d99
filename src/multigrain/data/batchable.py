"""What a split of one store and a split of several have in common: all that training and evaluation ask of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from multigrain.errors import DataError
from multigrain.schema import Batch, ModalitySequence, TokenSequence, Utterance


class BatchableSplit(Dataset[Utterance], ABC):
    """Utterances of a split that can be asked for one by one, or as a `Batch`.

    Attributes:
        name: `train`, `valid` or `test`.
        modalities: those that there are, in the order text, audio, vision.
    """

    name: str
    modalities: tuple[str, ...]

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def ids(self) -> tuple[str, ...]:
        """The utterances' ids, in order."""

    @property
    @abstractmethod
    def groups(self) -> tuple[str, ...]:
        """The utterances' videos or speakers, in order."""

    @property
    @abstractmethod
    def labels(self) -> Float[Tensor, "utterances label"] | None:
        """Labels in the task's own units, or None when the split is unlabelled."""

    @property
    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """Each utterance's id, group, text, words, start_seconds, end_seconds."""

    @abstractmethod
    def lengths(self, modality: str) -> Int[np.ndarray, " utterances"]:
        """Steps of each utterance; 0 where the modality is absent."""

    @abstractmethod
    def starts(self, modality: str) -> Int[np.ndarray, " utterances"]:
        """Where each utterance's sequence begins among all steps of the modality; utterances in one context may share it."""

    @abstractmethod
    def num_steps(self, modality: str) -> int:
        """Steps of all sequences of a modality, those that utterances share in a context counted once."""

    @abstractmethod
    def utterance(self, index: int) -> Utterance:
        """One utterance as a reader would yield it; its features are copies.

        Raises:
            IndexError: no such utterance.
        """

    @abstractmethod
    def check_modalities(self, modalities: Sequence[str]) -> None:
        """Raises DataError for one that is not there."""

    @abstractmethod
    def sequences(self, rows: Int[np.ndarray, " batch"], modalities: Sequence[str]) -> dict[str, ModalitySequence]:
        """The modalities of some utterances, each padded on the right to its longest sequence (at least one step)."""

    def contexts(self, modalities: Sequence[str]) -> Int[np.ndarray, " utterances"] | None:
        """A number for each utterance's context, the same where utterances share their sequences of all these modalities.

        None where no two utterances do, or where what reads the split cannot tell.
        """
        return None

    def shared_sequences(self, rows: Int[np.ndarray, " batch"], modalities: Sequence[str]) -> dict[str, ModalitySequence]:
        """What `sequences` gives, with each context's sequence once (`ModalitySequence.rows`); only asked for where there are `contexts`."""
        raise NotImplementedError

    def tokens(self, rows: Int[np.ndarray, " batch"]) -> TokenSequence | None:
        """The word-pieces of some utterances, padded as their text is; None where no language model reads the text."""
        return None

    def numbers_together(self, modality: str, numbers: Float[np.ndarray, " steps"]) -> Float[np.ndarray, " steps"]:
        """A number for each step of a modality, made equal for steps that can only be missing together, such as a word's pieces."""
        return numbers

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor, modalities: Sequence[str] | None = None, *, shares_contexts: bool = False) -> Batch:
        """Utterances as a batch, each modality padded on the right to its longest sequence (at least one step).

        Args:
            indices: positions in this split, 0 .. len - 1.
            modalities: those to read; by default all that there are. The others are None in the batch.
            shares_contexts: read what utterances share in a context once; for models that `reads_shared_contexts`, and slower for others.

        Raises:
            DataError: no index given, an index out of range, or a modality that is not there.
        """
        rows = np.asarray(indices, dtype=np.int64).reshape(-1)
        if rows.size == 0 or rows.min() < 0 or rows.max() >= len(self):
            found = "none" if rows.size == 0 else f"{rows.min()} to {rows.max()}"
            raise DataError(f"A batch of split {self.name!r} takes at least one index between 0 and {len(self) - 1}; got {found}.")
        chosen = self.modalities if modalities is None else tuple(modalities)
        self.check_modalities(chosen)
        is_shared = shares_contexts and self.contexts(chosen) is not None
        sequences, labels = (self.shared_sequences if is_shared else self.sequences)(rows, chosen), self.labels
        return Batch(
            text=sequences.get("text"),
            audio=sequences.get("audio"),
            vision=sequences.get("vision"),
            label=None if labels is None else labels[torch.from_numpy(rows)],
            ids=tuple(self.ids[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows),
            tokens=self.tokens(rows) if "text" in chosen else None,
        )

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A batch with all modalities: what a `DataLoader` with a batch sampler asks for."""
        return self.batch(indices)

    def __getitem__(self, index: int) -> Utterance:
        return self.utterance(index)
