"""A packed data set on disk, opened by memory map: in milliseconds whatever its size, with only the rows in use in memory.

The format is in `docs/architecture.md`. `StoreWriter` makes a store, `Store.open` reads one; each `Split` gives `Batch`es.

    store = Store.open("mosi.store")
    batch = store.split("train").batch([0, 5, 7])
"""

import json
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from multigrain.data.batchable import BatchableSplit
from multigrain.data.store_format import (
    MANIFEST_FILE,
    PARTIAL_MARK,
    STORE_FORMAT_VERSION,
    header_digest,
    map_tensors,
    read_header,
    tensors_file,
    utterances_file,
)
from multigrain.data.store_writer import StoreWriter
from multigrain.errors import DataError, StoreError, nearest
from multigrain.schema import MODALITIES, SPLITS, FeatureSpec, ModalitySequence, StepTimes, Task, Utterance

__all__ = ["Split", "Store", "StoreWriter"]

_ADVICE = "Make a store with `multigrain data convert` or `multigrain data planted`."


class Split(BatchableSplit):
    """The utterances of one split. It can be pickled and used in worker processes: each opens its own memory map.

    Attributes:
        name: `train`, `valid` or `test`.
        modalities: those that the data set has, in the order text, audio, vision.
    """

    def __init__(self, folder: Path, name: str, count: int, features: dict[str, FeatureSpec]):
        self.name = name
        self.modalities = tuple(modality for modality in MODALITIES if modality in features)
        self._folder, self._count, self._features = folder, count, features

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: where the split is, not what was read of it."""
        return {key: self.__dict__[key] for key in ("name", "modalities", "_folder", "_count", "_features")}

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _contexts(self) -> dict[tuple[str, ...], np.ndarray | None]:
        return {}  # by modalities; see `contexts`

    @cached_property
    def _tensors(self) -> dict[str, np.ndarray]:
        return map_tensors(self._folder / tensors_file(self.name))

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """Each utterance's id, group, text, words, start_seconds, end_seconds; of a video also word_times, step_times. Read when first asked for."""
        path = self._folder / utterances_file(self.name)
        with path.open(encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        if len(records) != self._count:
            raise StoreError(f"{path} has {len(records)} lines, but the manifest counts {self._count} utterances. Convert the data set again.")
        return records

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The utterances' ids, in the store's order."""
        return tuple(record["id"] for record in self.records)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The utterances' videos or speakers, in the store's order."""
        return tuple(record["group"] for record in self.records)

    @cached_property
    def labels(self) -> Float[Tensor, "utterances label"] | None:
        """Labels in the task's own units, or None when the split is unlabelled."""
        labels = self._tensors.get("labels")
        return None if labels is None else torch.from_numpy(labels.copy())

    def lengths(self, modality: str) -> Int[np.ndarray, " utterances"]:
        """Steps of each utterance; 0 where the modality is absent. In context, the steps of its whole video."""
        self.check_modalities([modality])
        return self._tensors[f"{modality}/lengths"]

    def starts(self, modality: str) -> Int[np.ndarray, " utterances"]:
        """The row of `values` where each utterance's sequence begins; utterances in one context may share it."""
        self.check_modalities([modality])
        return self._tensors[f"{modality}/starts"]

    def readouts(self, modality: str) -> Int[np.ndarray, " utterances"] | None:
        """The step that stands for each utterance where the data set is in context, or None: the last step."""
        self.check_modalities([modality])
        return self._tensors.get(f"{modality}/readout")

    def values(self, modality: str) -> Float[np.ndarray, "steps dim"]:
        """All sequences of a modality one after another, memory-mapped and read-only."""
        self.check_modalities([modality])
        return self._tensors[f"{modality}/values"]

    def num_steps(self, modality: str) -> int:
        """Rows of `values`: steps of all sequences of a modality, those that utterances share in a context counted once."""
        return len(self.values(modality))

    def check_modalities(self, modalities: Sequence[str]) -> None:
        """Raises DataError for one that the data set has not."""
        unknown = [name for name in modalities if name not in self.modalities]
        if unknown:
            raise DataError(
                f"{self._folder} has no modality {unknown[0]!r}; it has {', '.join(self.modalities)}."
                f"{nearest(unknown[0], list(self.modalities))} Ask for one of these, or convert the data set with that modality."
            )

    def sequences(self, rows: Int[np.ndarray, " batch"], modalities: Sequence[str]) -> dict[str, ModalitySequence]:
        """The modalities of some utterances, each padded on the right to its longest sequence (at least one step)."""
        return {name: self._sequence(name, rows) for name in modalities}

    def contexts(self, modalities: Sequence[str]) -> Int[np.ndarray, " utterances"] | None:
        """A number for each utterance's context, the same where utterances share their sequences of all these modalities; None where none do."""
        key = tuple(modalities)
        if key not in self._contexts:
            self._contexts[key] = None
            if any(f"{name}/readout" in self._tensors for name in key):
                places = np.stack([self._tensors[f"{name}/{what}"] for name in key for what in ("starts", "lengths")])
                distinct, numbers = np.unique(places, axis=1, return_inverse=True)
                self._contexts[key] = numbers.reshape(-1) if distinct.shape[1] < self._count else None
        return self._contexts[key]

    def shared_sequences(self, rows: Int[np.ndarray, " batch"], modalities: Sequence[str]) -> dict[str, ModalitySequence]:
        """What `sequences` gives, with each context's sequence once (`ModalitySequence.rows`)."""
        contexts = self.contexts(modalities)
        assert contexts is not None
        _, first, which = np.unique(contexts[rows], return_index=True, return_inverse=True)
        shared = {}
        for name, sequence in self.sequences(rows[first], modalities).items():
            readout = self._tensors.get(f"{name}/readout")
            last = np.maximum(self._tensors[f"{name}/lengths"][rows] - 1, 0)
            chosen = torch.from_numpy(last if readout is None else readout[rows])
            shared[name] = ModalitySequence(sequence.features, sequence.mask, chosen, torch.from_numpy(which))
        return shared

    def _sequence(self, modality: str, rows: np.ndarray) -> ModalitySequence:
        starts, lengths = self._tensors[f"{modality}/starts"][rows], self._tensors[f"{modality}/lengths"][rows]
        values, longest = self._tensors[f"{modality}/values"], max(1, int(lengths.max()))
        features = np.zeros((rows.size, longest, values.shape[1]), dtype=np.float32)
        steps = np.arange(longest)
        if lengths.any():
            # Padded places read a real row of their own utterance (clipped: an absent one has none) and are zeroed after.
            positions = starts[:, None] + np.minimum(steps, np.maximum(lengths - 1, 0)[:, None])
            np.take(values, positions, axis=0, out=features, mode="clip")
            features[steps >= lengths[:, None]] = 0.0
        readout = self._tensors.get(f"{modality}/readout")
        chosen = None if readout is None else torch.from_numpy(readout[rows])
        return ModalitySequence.from_lengths(torch.from_numpy(features), torch.from_numpy(lengths), chosen)

    def utterance(self, index: int) -> Utterance:
        """One utterance as a reader would yield it; its features are copies.

        Raises:
            IndexError: no such utterance.
        """
        if not 0 <= index < self._count:
            raise IndexError(f"utterance {index} of split {self.name!r}, which has {self._count}")
        record, features, readouts, key = self.records[index], {}, [], None
        for modality in self.modalities:
            start, length = int(self._tensors[f"{modality}/starts"][index]), int(self._tensors[f"{modality}/lengths"][index])
            if length == 0:
                continue
            features[modality] = self._tensors[f"{modality}/values"][start : start + length].copy()
            if f"{modality}/readout" in self._tensors:
                readouts.append(int(self._tensors[f"{modality}/readout"][index]))
                key = key or f"{modality}:{start}"
        return Utterance(
            id=record["id"],
            split=self.name,
            group=record["group"],
            features=features,
            label=self._label(index),
            text=record["text"],
            words=None if record["words"] is None else tuple(record["words"]),
            start_seconds=record["start_seconds"],
            end_seconds=record["end_seconds"],
            word_times=_word_times(record.get("word_times")),
            step_times={name: StepTimes.from_dict(times) for name, times in record.get("step_times", {}).items()},
            speaker=record.get("speaker"),
            context_key=key,
            readout=readouts[0] if len(set(readouts)) == 1 else None,  # where they differ, each is its modality's last step
        )

    def _label(self, index: int) -> float | np.ndarray | None:
        if self.labels is None:
            return None
        label = self.labels[index].numpy()
        return float(label[0]) if label.size == 1 else label.copy()


class Store:
    """A data set on disk; open one with `Store.open`.

    Attributes:
        path: its folder.
        manifest: the content of its `manifest.json`.
        task: what its labels are.
        features: where each modality's features come from, with the training split's statistics.
        fingerprint: SHA-256 that identifies the content.
        splits: those that it has, in the order train, valid, test.
        stored: the same as they are on disk, whoever reads the text.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]):
        self.path, self.manifest = path, manifest
        self.task = Task.from_dict(manifest["task"])
        self.features = {name: FeatureSpec.from_dict(manifest["features"][name]) for name in MODALITIES if name in manifest["features"]}
        self.fingerprint: str = manifest["fingerprint"]
        self.stored: dict[str, Split] = {
            name: Split(path, name, manifest["splits"][name]["count"], self.features) for name in SPLITS if name in manifest["splits"]
        }
        self.splits: dict[str, BatchableSplit] = dict(self.stored)

    def __str__(self) -> str:
        return str(self.path)

    @classmethod
    def open(cls, path: str | Path) -> "Store":
        """Opens a store, in milliseconds: files are checked by their size and header, and read when used.

        Raises:
            StoreError: no such folder, not a store, a newer format, or a file that is missing, truncated or exchanged.
        """
        folder = Path(path)
        manifest = _read_manifest(folder)
        try:
            store = cls(folder.absolute(), manifest)
            for split in store.splits:
                _check_files(folder, manifest["splits"][split]["files"])
        except (KeyError, TypeError) as error:
            raise StoreError(
                f"{folder / MANIFEST_FILE} lacks or garbles the entry {error}: it is damaged or was edited. Convert the data set again."
            ) from error
        return store

    def with_text(self, spec: FeatureSpec, splits: Mapping[str, BatchableSplit]) -> "Store":
        """The same store with its text read in another way.

        Args:
            spec: of the text.
            splits: those of this store, by name, with that text.
        """
        store = copy(self)
        store.features = {name: spec if name == "text" else self.features[name] for name in MODALITIES if name in {*self.features, "text"}}
        store.splits = dict(splits)
        return store

    def split(self, name: str) -> BatchableSplit:
        """One split by name.

        Raises:
            StoreError: the store has no such split; the message names those that it has.
        """
        if name not in self.splits:
            raise StoreError(
                f"{self.path} has no split {name!r}; it has {', '.join(self.splits)}.{nearest(name, list(self.splits))} "
                "Ask for one of these, or convert the data set with that split."
            )
        return self.splits[name]


def _word_times(record: list[list[float] | None] | None) -> tuple[tuple[float, float] | None, ...] | None:
    return None if record is None else tuple(None if times is None else (times[0], times[1]) for times in record)


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not folder.exists():
        raise StoreError(f"There is no store at {folder}: no such folder. Check the path. {_ADVICE}")
    if not folder.is_dir():
        raise StoreError(f"{folder} is a file, and a store is a folder. If this is a data set's own file, convert it first. {_ADVICE}")
    if folder.absolute().name.startswith(".") and PARTIAL_MARK in folder.absolute().name:
        raise StoreError(f"{folder} is what an interrupted conversion left behind, not a store. Delete it, and convert the data set again.")
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise StoreError(f"{folder} is not a store: it has no {MANIFEST_FILE}. Check the path. {_ADVICE}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise StoreError(f"{path} cannot be read as JSON ({error}). The store is damaged; convert the data set again.") from error
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if not isinstance(version, int):
        raise StoreError(f"{path} is not a store's manifest: it has no format_version. Check the path. {_ADVICE}")
    if version > STORE_FORMAT_VERSION:
        writer = manifest.get("multigrain_version", "(unknown)")
        raise StoreError(
            f"{folder} has store format {version}, written by multigrain {writer}; this multigrain reads formats up to "
            f"{STORE_FORMAT_VERSION}. Update multigrain (pip install --upgrade multigrain), or convert the data set again with this one."
        )
    return dict(manifest)


def _check_files(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    for name, facts in files.items():
        path = folder / name
        if not path.is_file():
            raise StoreError(f"{path} is missing from the store. Copy the store again from where it came, or convert the data set again.")
        found = path.stat().st_size
        if found != facts["bytes"]:
            what = "truncated" if found < facts["bytes"] else "too long"
            raise StoreError(
                f"{path} is {what}: expected {facts['bytes']} bytes, found {found}. Copy the store again from where it came (was the "
                "copy cut short, or the disk full?), or convert the data set again."
            )
        if "header_sha256" in facts and header_digest(read_header(path)) != facts["header_sha256"]:
            raise StoreError(f"{path} is not the file that the manifest describes: its header differs. Copy or convert the data set again.")
