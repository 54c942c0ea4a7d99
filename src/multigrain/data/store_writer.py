"""Writing a store: utterances go to disk as they come, and the store appears under its name only when it is whole."""

import errno
import glob
import hashlib
import json
import logging
import secrets
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import numpy as np

from multigrain import __version__
from multigrain.data.running_statistics import RunningStatistics
from multigrain.data.store_format import (
    MANIFEST_FILE,
    PARTIAL_MARK,
    STORE_FORMAT_VERSION,
    TensorEntry,
    check_destination,
    flush_folder,
    flush_to_disk,
    tensors_file,
    utterances_file,
    write_safetensors,
)
from multigrain.data.utterance_checks import check_readout, checked_features, checked_label, is_in_range
from multigrain.errors import DataError, nearest
from multigrain.schema import MODALITIES, SPLITS, FeatureSpec, Task, Utterance

logger = logging.getLogger(__name__)

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class _ModalityRows:
    """Where one modality's utterances lie in a split's values."""

    file: BinaryIO
    path: Path
    dim: int
    total_steps: int = 0
    starts: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    readout: list[int] = field(default_factory=list)
    shared: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # context key -> start, length, checksum


@dataclass
class _SplitRows:
    """What is kept in memory of a split while it is written: a few numbers an utterance."""

    modalities: dict[str, _ModalityRows]
    records: BinaryIO
    names_digest: Any
    count: int = 0
    labels: list[np.ndarray] = field(default_factory=list)
    out_of_range: int = 0
    in_context: bool = False


class StoreWriter:
    """Writes a store from utterances in any order.

    Used as a context manager, it finishes the store at the end of the block (or when `finish` is called in it), and
    removes every trace of it when the block is left by an error. Until then, everything lies in a hidden folder beside
    the final name, so that a killed conversion leaves nothing that opens.

    Args:
        path: the store's folder, by custom `NAME.store`.
        task: what the labels are.
        features: specification of each modality that the data set has; `mean` and `std` are computed here.
        source: facts about the file that the utterances come from (name, SHA-256, format).
        licence: the data set's licence.
        extra: further facts for the manifest, as JSON values.
        replace_nonfinite: what to put in place of NaN and infinities in features, counted in the manifest; None
            makes them an error.
        overwrite: replace a store that is already at `path`.

    Raises:
        DataError: something is already at `path`, it cannot be written to, or there is no known modality.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        task: Task,
        features: Mapping[str, FeatureSpec],
        source: Mapping[str, Any] | None = None,
        licence: str | None = None,
        extra: Mapping[str, Any] | None = None,
        replace_nonfinite: float | None = None,
        overwrite: bool = False,
    ):
        self.path = Path(path).absolute()
        self.task, self.replace_nonfinite = task, replace_nonfinite
        self.features = {name: features[name] for name in MODALITIES if name in features}
        unknown = sorted(set(features) - set(MODALITIES))
        if unknown or not self.features:
            raise DataError(f"A store has at least one of the modalities {', '.join(MODALITIES)}, and no other; got {sorted(features)}.")
        self._facts = {"source": dict(source) if source else None, "licence": licence, "extra": dict(extra or {})}
        check_destination(self.path, overwrite)
        self._splits: dict[str, _SplitRows] = {}
        self._ids: dict[str, str] = {}  # id -> split
        self._nonfinite = dict.fromkeys(self.features, 0)
        self._first_nonfinite: str | None = None
        self._statistics = {name: RunningStatistics(spec.dim) for name, spec in self.features.items()}
        self._state: Literal["open", "finished", "discarded"] = "open"
        self._folder = self.path.with_name(f".{self.path.name}{PARTIAL_MARK}{secrets.token_hex(4)}")
        with self._writing():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._warn_of_leftovers()
            self._folder.mkdir()

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.finish()
        elif self._state == "open":
            self.discard()

    # Adding -----------------------------------------------------------------------------------------------------

    def add(self, utterance: Utterance) -> None:
        """Writes one utterance; its arrays need not be kept afterwards.

        Raises:
            DataError: the utterance does not fit the store or is not usable as it is, or the disk is full.
        """
        where = f"Utterance {utterance.id!r} of split {utterance.split!r}"
        self._check_names(utterance, where)
        arrays = {name: checked_features(name, self.features[name].dim, value, where) for name, value in utterance.features.items()}
        arrays = {name: values for name, values in arrays.items() if len(values)}
        check_readout(utterance.readout, arrays, where)
        label = checked_label(self.task, utterance.label, where)
        with self._writing():
            rows = self._splits.get(utterance.split) or self._start_split(utterance.split)
            self._add_label(rows, label, where)
            for name in self.features:
                self._add_modality(rows, name, arrays.get(name), utterance, where)
            rows.in_context = rows.in_context or utterance.readout is not None
            rows.count += 1
            self._ids[utterance.id] = utterance.split
            rows.names_digest.update(json.dumps([utterance.id, utterance.group]).encode())
            if "text" in self.features and self.features["text"].dim == 0:  # words without vectors are content themselves
                rows.names_digest.update(json.dumps([utterance.words, utterance.text]).encode())
            rows.records.write(_record_line(utterance))

    def add_file(self, name: str, content: bytes) -> None:
        """Puts a further file into the store, such as a generator's own facts; readers of the store take no notice of it.

        Raises:
            DataError: the disk is full, or the store cannot be written to.
        """
        with self._writing():
            (self._folder / name).write_bytes(content)

    def _check_names(self, utterance: Utterance, where: str) -> None:
        if self._state != "open":
            raise DataError(f"{where} came after the store {self.path} was {self._state}. Add every utterance before that, to one writer.")
        if utterance.split not in SPLITS:
            raise DataError(
                f"{where}: unknown split; expected one of {', '.join(SPLITS)}.{nearest(utterance.split, list(SPLITS))} Name its split so."
            )
        if utterance.id in self._ids:
            raise DataError(
                f"{where} has an id that is already in the store (in split {self._ids[utterance.id]!r}). "
                "Ids must be unique within a data set; remove or rename the duplicate."
            )
        unknown = sorted(set(utterance.features) - set(self.features))
        if unknown:
            raise DataError(
                f"{where} has features for {unknown[0]!r}, which this store was not declared to hold (it holds "
                f"{', '.join(self.features)}).{nearest(unknown[0], list(self.features))} Declare the modality, or leave it out."
            )

    def _add_label(self, rows: _SplitRows, label: np.ndarray | None, where: str) -> None:
        if rows.count and (label is None) == bool(rows.labels):
            this, others = ("no label", "have one") if label is None else ("a label", "have none")
            raise DataError(
                f"{where} has {this}, but utterances before it in that split {others}. A split is labelled throughout or not at all; "
                "remove the unlabelled utterances or put them in a split of their own."
            )
        if label is None:
            return
        rows.labels.append(label.astype("<f4"))
        rows.out_of_range += int(not is_in_range(self.task, label))

    def _add_modality(self, rows: _SplitRows, name: str, values: np.ndarray | None, utterance: Utterance, where: str) -> None:
        modality = rows.modalities[name]
        length = 0 if values is None else len(values)
        start = modality.total_steps
        if values is not None:
            key = utterance.context_key
            checksum = 0 if key is None else zlib.crc32(values.data)
            known = None if key is None else modality.shared.get(key)
            if known is None:
                self._write_rows(modality, name, values, utterance)
                if key is not None:
                    modality.shared[key] = (start, length, checksum)
            elif known[1:] != (length, checksum):
                raise DataError(
                    f"{where}: its {name} differs from that of an earlier utterance with the same context key {key!r}. Utterances "
                    "that share a context must carry the same sequence; give them different keys, or mend the reader."
                )
            else:
                start = known[0]
        modality.starts.append(start if length else 0)
        modality.lengths.append(length)
        modality.readout.append(max(length - 1, 0) if utterance.readout is None or not length else utterance.readout)

    def _write_rows(self, modality: _ModalityRows, name: str, values: np.ndarray, utterance: Utterance) -> None:
        is_finite = np.isfinite(values)
        finite = None if is_finite.all() else is_finite
        if utterance.split == "train":
            self._statistics[name].add(values, finite)
        if finite is not None:
            self._nonfinite[name] += int(finite.size - finite.sum())
            if self._first_nonfinite is None:
                step, feature = (int(place[0]) for place in np.nonzero(~finite))
                self._first_nonfinite = (
                    f"split {utterance.split!r}, utterance {utterance.id!r}, {name}, step {step}, feature {feature} ({values[step, feature]})"
                )
            if self.replace_nonfinite is not None:
                values = np.where(finite, values, np.float32(self.replace_nonfinite))
        if self._first_nonfinite is None or self.replace_nonfinite is not None:  # after the first error, only count
            modality.file.write(values.data)
        modality.total_steps += len(values)

    def _start_split(self, split: str) -> _SplitRows:
        modalities = {}
        for name, spec in self.features.items():
            path = self._folder / f"{split}.{name}.part"
            modalities[name] = _ModalityRows(path.open("wb", buffering=1 << 20), path, spec.dim)
        self._splits[split] = _SplitRows(modalities, (self._folder / utterances_file(split)).open("wb"), hashlib.sha256())
        return self._splits[split]

    # Finishing --------------------------------------------------------------------------------------------------

    def finish(self) -> Path:
        """Assembles the store and puts it under its name; a second call only gives the path again.

        Raises:
            DataError: no utterance was added, features are not finite and no replacement was given, or the disk is full.
        """
        if self._state == "finished":
            return self.path
        if self._state == "discarded":
            raise DataError(f"The store {self.path} was given up after an error and cannot be finished. Mend the error and write it again.")
        try:
            self._check_whole()
            with self._writing():
                self._write_manifest({split: self._assemble(split) for split in SPLITS if split in self._splits})
                self._put_in_place()
        except BaseException:
            self.discard()
            raise
        self._state = "finished"
        return self.path

    def discard(self) -> None:
        """Gives up: removes everything that was written. Whatever was at `path` before is still there."""
        self._state = "discarded"
        self._close_files()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _check_whole(self) -> None:
        if not self._ids:
            raise DataError(f"No utterance was added to {self.path}: a store cannot be empty. Check that the source file holds any.")
        if self._first_nonfinite is not None and self.replace_nonfinite is None:
            counts = ", ".join(f"{count} in {name}" for name, count in self._nonfinite.items() if count)
            raise DataError(
                f"The features hold values that are not finite (NaN or infinity): {counts}. The first is at {self._first_nonfinite}. "
                "Every feature must be a finite number. Mend the source, or have them replaced by a value of your choice and "
                "counted in the manifest: `--replace-nonfinite 0` (in Python, replace_nonfinite=0.0)."
            )

    def _assemble(self, split: str) -> dict[str, Any]:
        """Joins a split's part files to its safetensors file and describes it for the manifest."""
        rows = self._splits[split]
        parts: list[tuple[TensorEntry, np.ndarray | Path]] = []
        for name, modality in rows.modalities.items():  # 8-byte values first, so that all are aligned
            modality.file.close()
            columns = {"starts": modality.starts, "lengths": modality.lengths}
            if rows.in_context:
                columns["readout"] = modality.readout
            for column, numbers in columns.items():
                entry = TensorEntry(name=f"{name}/{column}", dtype="I64", shape=(rows.count,))
                parts.append((entry, np.array(numbers, dtype="<i8")))
        if rows.labels:
            labels = np.stack(rows.labels)
            parts.append((TensorEntry(name="labels", dtype="F32", shape=labels.shape), labels))
        for name, modality in rows.modalities.items():
            shape = (modality.total_steps, modality.dim)
            parts.append((TensorEntry(name=f"{name}/values", dtype="F32", shape=shape), modality.path))
        written = write_safetensors(self._folder / tensors_file(split), parts)
        flush_to_disk(rows.records)
        rows.records.close()
        return {
            "count": rows.count,
            "steps": {name: modality.total_steps for name, modality in rows.modalities.items()},
            "is_labelled": bool(rows.labels),
            "labels_out_of_range": rows.out_of_range,
            "content_sha256": hashlib.sha256((written.content_sha256 + rows.names_digest.hexdigest()).encode()).hexdigest(),
            "files": {
                tensors_file(split): {"bytes": written.num_bytes, "header_sha256": written.header_sha256},
                utterances_file(split): {"bytes": (self._folder / utterances_file(split)).stat().st_size},
            },
        }

    def _write_manifest(self, splits: dict[str, Any]) -> None:
        content = json.dumps({split: facts["content_sha256"] for split, facts in splits.items()}, sort_keys=True)
        manifest = {
            "format_version": STORE_FORMAT_VERSION,
            "multigrain_version": __version__,
            "task": self.task.to_dict(),
            "features": {name: self._described(name).to_dict() for name in self.features},
            "splits": splits,
            **self._facts,
            "replaced": self._nonfinite,
            "fingerprint": hashlib.sha256(content.encode()).hexdigest(),
        }
        with (self._folder / MANIFEST_FILE).open("wb") as file:
            file.write(json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n")
            flush_to_disk(file)

    def _described(self, name: str) -> FeatureSpec:
        summary = self._statistics[name].summary()
        return self.features[name] if summary is None else replace(self.features[name], mean=summary[0], std=summary[1])

    def _put_in_place(self) -> None:
        flush_folder(self._folder)
        replaced = None
        if self.path.exists():  # only with overwrite=True; a kill between the two renames leaves neither store under the name
            replaced = self.path.with_name(f".{self.path.name}{PARTIAL_MARK}replaced-{secrets.token_hex(4)}")
            self.path.rename(replaced)
        self._folder.rename(self.path)
        flush_folder(self.path.parent)
        if replaced is not None:
            shutil.rmtree(replaced, ignore_errors=True)

    def _close_files(self) -> None:
        for rows in self._splits.values():
            for file in (rows.records, *(modality.file for modality in rows.modalities.values())):
                # On a full disk closing fails as well, for it writes what is buffered; the file is to be deleted anyway.
                with suppress(OSError):
                    file.close()

    def _warn_of_leftovers(self) -> None:
        leftovers = sorted(self.path.parent.glob(f".{glob.escape(self.path.name)}{PARTIAL_MARK}*"))
        if leftovers:
            logger.warning("Left by a conversion that was interrupted or still runs: %s. Delete it if none runs.", ", ".join(map(str, leftovers)))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns a failure of the disk into an error that says so, and removes what was written."""
        try:
            yield
        except DataError:  # found while writing: what was written of the utterance cannot be taken back
            self.discard()
            raise
        except OSError as error:
            self.discard()
            reason = "the disk is full" if error.errno in _DISK_FULL else f"{error.strerror or error}"
            raise DataError(
                f"The store {self.path} could not be written: {reason}. Nothing of it was left behind. Free some space or choose another "
                "place (while it is assembled, the store takes its own size and once more its largest array), and check that you may write there."
            ) from error


def _record_line(utterance: Utterance) -> bytes:
    names = ("id", "group", "text", "words", "start_seconds", "end_seconds")
    record = {name: getattr(utterance, name) for name in names}
    if utterance.word_times is not None:
        record["word_times"] = utterance.word_times
    if utterance.speaker is not None:
        record["speaker"] = utterance.speaker
    if utterance.step_times:
        record["step_times"] = {name: times.to_dict() for name, times in utterance.step_times.items()}
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"
