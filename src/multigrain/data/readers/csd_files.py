"""Which .csd file holds what, and how one is read."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multigrain.data.file_start import check_start
from multigrain.data.readers.base import SPLIT_NAMES, ReadOptions, as_text, existing, missing_modality, missing_split
from multigrain.errors import DataError, nearest

_HINTS: dict[str, tuple[str, ...]] = {
    "labels": ("label", "opinion", "sentiment"),
    "text": ("word", "glove", "text", "bert", "transcript", "language"),
    "audio": ("covarep", "opensmile", "audio", "acoustic"),
    "vision": ("facet", "openface", "emotient", "visual", "vision", "video"),
}

_FREE_BYTES, _TIMES_STORED, _MOST_NAMES = 256 << 20, 100, 10_000


class Sequence:
    """One open .csd file.

    Attributes:
        path: of the file.
        name: of its root, such as "COVAREP".
        videos: ids of the videos in it, sorted.
        dim: features per step.
        is_words: True when its features are words.
    """

    def __init__(self, path: Path):
        h5py = _h5py()
        self.path = existing(path, ".csd file")
        check_start(path)
        with self._errors():
            file = h5py.File(path, "r")
            self.name = next(iter(file), "")
            root = file.get(self.name, getlink=False) if self.name else None
            if not isinstance(root, h5py.Group) or not isinstance(root.get("data"), h5py.Group):
                raise DataError(f"{path} is an HDF5 file but not a computational sequence: /{self.name}/data is missing. Check the file.")
            self._data, self._metadata = root["data"], root.get("metadata")
            self.videos = sorted(self._data)
            if not self.videos:
                raise DataError(f"{path} holds no video. Fetch the file again.")
            first = self._dataset(self.videos[0], "features")
            self.is_words = first.dtype.kind in "SOU"
            self.dim = int(first.shape[1]) if first.ndim == 2 else 1

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns what a damaged file leads to into one sentence."""
        try:
            yield
        except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError, RecursionError, IndexError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise DataError(f"{self.path} cannot be read as a .csd (HDF5) file: {reason}. Fetch it again, or check --format.") from error

    def _dataset(self, video: str, part: str) -> Any:
        """A video's features or intervals, whose size is checked before they are read: a few bytes can claim terabytes of one value."""
        h5py = _h5py()
        link = self._data[video].get(part, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise DataError(f"{self.path}, video {video}: {part} are missing, or lie in another file, which is not opened. Fetch the file again.")
        found = self._data[video][part]
        if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "fiubSOU" or found.ndim not in (1, 2):
            raise DataError(f"{self.path}, video {video}: {part} are no table of numbers or words. The file is damaged; fetch it again.")
        stored = found.id.get_storage_size()
        if found.nbytes > _FREE_BYTES + _TIMES_STORED * stored:
            raise DataError(
                f"{self.path}, video {video}: {part} of shape {found.shape} would take {found.nbytes / 1e9:.1f} GB, of which the file holds "
                f"{stored} bytes. It is damaged or made to harm; fetch it again."
            )
        return found

    def video(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """A video's (steps, dim) features and (steps, 2) spans in seconds, or None when it is not in the file."""
        with self._errors():
            if name not in self._data:
                return None
            values, spans = self._dataset(name, "features")[()], self.spans(name)
            values = values.reshape(len(values), -1) if len(values) else values.reshape(0, self.dim)
        is_odd = not self.is_words and values.dtype.kind not in "fiub"
        if len(values) != len(spans) or (values.shape[1] != self.dim and len(values)) or is_odd:
            raise DataError(
                f"{self.path}, video {name}: features have shape {values.shape} and type {values.dtype} for {len(spans)} intervals; "
                f"expected one row an interval, {self.dim} wide. "
                "The file is damaged; fetch it again."
            )
        return (values if self.is_words else values.astype(np.float32)), spans

    def spans(self, name: str) -> np.ndarray:
        """A video's (steps, 2) spans in seconds; empty when it is not in the file."""
        with self._errors():
            if name not in self._data:
                return np.zeros((0, 2))
            return np.asarray(self._dataset(name, "intervals")[()], dtype=np.float64).reshape(-1, 2)

    @property
    def dimension_names(self) -> list[str]:
        """What the file calls its columns; empty where it does not say."""
        with self._errors():
            if self._metadata is None or "dimension names" not in self._metadata:
                return []
            raw = self._metadata["dimension names"][()]
        entries = [as_text(entry) for entry in np.asarray(raw, dtype=object).reshape(-1)[:_MOST_NAMES]]
        if len(entries) == 1:  # the SDK writes a list as JSON
            try:
                found = json.loads(entries[0])
                entries = [str(name) for name in found] if isinstance(found, list) else [str(found)]
            except (ValueError, RecursionError):
                pass
        return entries

    def words(self, name: str) -> tuple[list[str], np.ndarray]:
        """A video's words and their spans."""
        found = self.video(name)
        return ([], np.zeros((0, 2))) if found is None else ([as_text(row) for row in found[0]], found[1])


def label_column(labels: Sequence, asked: str | None, notes: list[str]) -> int:
    """Which column of the labels is the score, by its name; a note says which was taken where there are several.

    Args:
        labels: the file of labels.
        asked: a column's name, or its number from 0 on; None for the one that is called sentiment.
        notes: to add to.

    Raises:
        DataError: there is no such column, or nothing says which it is.
    """
    names = labels.dimension_names
    names = names if len(names) == labels.dim else []
    known = ", ".join(f"{number} {name!r}" for number, name in enumerate(names)) or f"{labels.dim} columns without names"
    if asked is not None:
        places = [number for number, name in enumerate(names) if name.lower() == asked.lower()]
        places = places or ([int(asked)] if asked.isdecimal() and int(asked) < labels.dim else [])
        if not places:
            raise DataError(f"--label-column {asked}: {labels.path.name} has {known}.{nearest(asked, names)} Name one of these, or its number.")
    elif labels.dim == 1:
        return 0
    else:
        places = [number for number, name in enumerate(names) if name.lower() in ("sentiment", "sentiment score")]
        places = places or [number for number, name in enumerate(names) if "sentiment" in name.lower() or "opinion" in name.lower()]
        if len(places) != 1:
            raise DataError(
                f"{labels.path} has {labels.dim} labels an utterance ({known}), and their names do not say which one is the sentiment. Say which: "
                "--label-column NAME, or its number from 0 on."
            )
    what = f"{names[places[0]]!r} ({places[0]})" if names else str(places[0])
    notes.append(f"{labels.path.name} has {labels.dim} labels an utterance ({known}); column {what} was taken as the score")
    return places[0]


@dataclass(frozen=True)
class CsdFiles:
    """The open files of a data set: labels, words (or None), and those of each modality, whose features are put side by side."""

    labels: Sequence
    words: Sequence | None
    by_modality: dict[str, list[Sequence]]


def find_files(source: Path, options: ReadOptions) -> dict[str, list[Path]]:
    """The files of labels, text, audio and vision: those named by options, the rest by their names.

    Raises:
        DataError: a file's name tells nothing and no option names it.
    """
    named = {
        "labels": [options.labels_file] if options.labels_file else [],
        "text": list(options.text_files),
        "audio": list(options.audio_files),
        "vision": list(options.vision_files),
    }
    folder = source if source.is_dir() else source.parent
    found = {role: [path if path.exists() or path.is_absolute() else folder / path for path in paths] for role, paths in named.items()}
    taken = {path.resolve() for paths in found.values() for path in paths}
    free_roles = [role for role, paths in found.items() if not paths]
    for path in sorted(source.glob("*.csd")) if source.is_dir() else [source]:
        if path.resolve() in taken:
            continue
        role = _role(path)
        if role is None:
            raise DataError(
                f"{path}: its name does not tell what it holds. Name it with --labels, --text, --audio or --vision, or take it out of the folder."
            )
        if role in free_roles:
            found[role].append(path)
    if len(found["labels"]) != 1:
        have = [path.name for path in found["labels"]] or "none"
        raise DataError(f"{source}: exactly one .csd file of labels is needed, found {have}. Name it with --labels FILE.")
    return found


def open_files(paths: dict[str, list[Path]], options: ReadOptions, notes: list[str]) -> CsdFiles:
    """Opens the files; a text file whose features are words gives the words.

    Raises:
        DataError: a file is not a computational sequence, or a wanted modality has none.
    """
    opened = {role: [Sequence(path) for path in files] for role, files in paths.items()}
    words = [sequence for sequence in opened["text"] if sequence.is_words]
    by_modality = {role: [sequence for sequence in opened[role] if not sequence.is_words] for role in ("text", "audio", "vision")}
    for role, sequences in by_modality.items():
        if sequences:
            notes.append(f"{role}: {' + '.join(f'{sequence.path.name} ({sequence.dim})' for sequence in sequences)}")
    for modality in options.modalities or ():
        if not by_modality[modality] and not (modality == "text" and words):
            raise missing_modality(Path("the .csd files"), "the data set", modality, [role for role, sequences in by_modality.items() if sequences])
    wanted = options.modalities or tuple(by_modality)
    kept = {role: sequences for role, sequences in by_modality.items() if sequences and role in wanted}
    if len(words) > 1:
        raise DataError(f"There are several files of words: {[sequence.path.name for sequence in words]}. Name the one to use with --text.")
    return CsdFiles(opened["labels"][0], words[0] if words else None, kept)


def read_folds(path: Path | None, wanted: tuple[str, ...]) -> dict[str, str]:
    """Split by video id, from JSON `{"train": [...], "valid": [...], "test": [...]}`.

    Raises:
        DataError: no file was given, it has another form, a wanted split is missing, or a video is in two splits.
    """
    if path is None:
        raise DataError(
            'A data set of .csd files needs its folds: give --folds FILE.json with {"train": [video ids], "valid": [...], "test": [...]}.'
        )
    try:
        content = json.loads(existing(path, "file of folds").read_text(encoding="utf-8"))
        lists = {SPLIT_NAMES[key]: [str(video) for video in value] for key, value in content.items() if key in SPLIT_NAMES}
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f'{path} is not JSON of the form {{"train": [video ids], "valid": [...], "test": [...]}}: {error}.') from error
    folds: dict[str, str] = {}
    for split in wanted:
        if split not in lists:
            raise missing_split(path, split, list(content))
        for video in lists[split]:
            if folds.setdefault(video, split) != split:
                raise DataError(
                    f"{path}: video {video!r} is in split {folds[video]!r} and in {split!r}. A video belongs to one split; mend the folds."
                )
    return folds


def _role(path: Path) -> str | None:
    """What a file holds, by its own name or by its root's."""
    for name in (path.stem.lower(), Sequence(path).name.lower()):
        for role, hints in _HINTS.items():
            if any(hint in name for hint in hints):
                return role
    return None


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise DataError("Reading .csd files needs h5py, which is not installed. Install it with `pip install multigrain[csd]`.") from error
    return h5py
