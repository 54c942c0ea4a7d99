"""Which .csd file holds what, and how one is read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multigrain.data.readers.base import SPLIT_NAMES, ReadOptions, as_text, existing, missing_modality, missing_split
from multigrain.errors import DataError

_HINTS: dict[str, tuple[str, ...]] = {
    "labels": ("label", "opinion", "sentiment"),
    "text": ("word", "glove", "text", "bert", "transcript", "language"),
    "audio": ("covarep", "opensmile", "audio", "acoustic"),
    "vision": ("facet", "openface", "emotient", "visual", "vision", "video"),
}


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
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise DataError(f"{path} cannot be opened as a .csd (HDF5) file: {error}. Fetch it again, or check --format.") from error
        self.name = next(iter(file), "")
        if not self.name or "data" not in file[self.name]:
            raise DataError(f"{path} is an HDF5 file but not a computational sequence: /{self.name}/data is missing. Check the file.")
        self._data = file[self.name]["data"]
        self.videos = sorted(self._data)
        if not self.videos:
            raise DataError(f"{path} holds no video. Fetch the file again.")
        first = self._data[self.videos[0]]["features"]
        self.is_words = first.dtype.kind in "SOU"
        self.dim = int(first.shape[1]) if first.ndim == 2 else 1

    def video(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """A video's (steps, dim) features and (steps, 2) spans in seconds, or None when it is not in the file."""
        if name not in self._data:
            return None
        values, spans = self._data[name]["features"][()], self.spans(name)
        values = values.reshape(len(values), -1)
        if len(values) != len(spans) or (values.shape[1] != self.dim and len(values)):
            raise DataError(
                f"{self.path}, video {name}: features have shape {values.shape} for {len(spans)} intervals; "
                f"expected one row an interval, {self.dim} wide. "
                "The file is damaged; fetch it again."
            )
        return (values if self.is_words else values.astype(np.float32)), spans

    def spans(self, name: str) -> np.ndarray:
        """A video's (steps, 2) spans in seconds; empty when it is not in the file."""
        return np.asarray(self._data[name]["intervals"][()], dtype=np.float64).reshape(-1, 2) if name in self._data else np.zeros((0, 2))

    def words(self, name: str) -> tuple[list[str], np.ndarray]:
        """A video's words and their spans."""
        found = self.video(name)
        return ([], np.zeros((0, 2))) if found is None else ([as_text(row) for row in found[0]], found[1])


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
