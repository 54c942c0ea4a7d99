"""CMU SDK computational sequences (`.csd`, HDF5): one file per sequence, cut into utterances by the labels' intervals.

`/<name>/data/<video>/features` (T, d) and `/intervals` (T, 2) in seconds. The utterances of a video are the intervals
of the labels' file, and have the ids "video[0]", "video[1]" ... Aligned, each word is a step: it gets the unweighted
mean of the frames whose overlap with the word exceeds `OVERLAP_SECONDS`; a word without such a frame gets zeros.
Unaligned, an utterance has the frames that overlap it by more than that.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from multigrain.data.readers.base import Place, Reader, ReadOptions, ReadResult, check_labels, existing
from multigrain.data.readers.csd_files import CsdFiles, Sequence, find_files, label_column, open_files, read_folds
from multigrain.data.readers.word_vectors import WordVectors, load_word_vectors
from multigrain.errors import DataError
from multigrain.schema import SPLITS, FeatureSpec, Utterance

OVERLAP_SECONDS = 1e-5
PAUSE = "sp"


def overlapping(spans: Float[np.ndarray, "step 2"], start: float, end: float) -> Int[np.ndarray, " chosen"]:
    """The steps whose overlap with start..end exceeds `OVERLAP_SECONDS`."""
    overlap = np.minimum(spans[:, 1], end) - np.maximum(spans[:, 0], start)
    return np.flatnonzero(overlap > OVERLAP_SECONDS)


def mean_over_words(
    values: Float[np.ndarray, "step dim"], spans: Float[np.ndarray, "step 2"], words: Float[np.ndarray, "word 2"]
) -> tuple[Float[np.ndarray, "word dim"], int]:
    """The unweighted mean of the steps that overlap each word, and how many words have none (and get zeros)."""
    means, missing = np.zeros((len(words), values.shape[1]), dtype=np.float32), 0
    for index, (start, end) in enumerate(words):
        chosen = overlapping(spans, start, end)
        if len(chosen):
            means[index] = values[chosen].mean(axis=0)
        else:
            missing += 1
    return means, missing


@dataclass
class _Segment:
    video: str
    number: int
    split: str
    start: float
    end: float
    label: float

    @property
    def id(self) -> str:
        return f"{self.video}[{self.number}]"


@dataclass
class _Cutter:
    """Cuts a video's sequences into utterances."""

    files: CsdFiles
    vectors: WordVectors | None
    is_aligned: bool
    missing: dict[str, int] = field(default_factory=dict)

    def video(self, name: str) -> Callable[[_Segment], Utterance]:
        """Reads all of a video's sequences, and gives the function that cuts an utterance out of them."""
        words, sequences = self._words(name), {m: [file.video(name) for file in files] for m, files in self.files.by_modality.items()}

        def cut(segment: _Segment) -> Utterance:
            spans, names = words
            inside = overlapping(spans, segment.start, segment.end)
            features = {}
            for modality, parts in sequences.items():
                present = [part for part in parts if part is not None]
                if len(present) == len(parts):
                    is_by_word = self.is_aligned or (modality == "text" and names is not None)
                    values = self._by_word(modality, present, spans[inside]) if is_by_word else self._frames(modality, present, segment)
                    if len(values) and (values != 0).any():
                        features[modality] = values
            spoken = None if names is None else tuple(names[index] for index in inside)
            if self.vectors is not None and spoken:
                features["text"] = self.vectors.features(spoken)
            return Utterance(
                id=segment.id,
                split=segment.split,
                group=segment.video,
                features=features,
                label=segment.label,
                text=None if spoken is None else " ".join(spoken),
                words=spoken,
                start_seconds=segment.start,
                end_seconds=segment.end,
            )

        return cut

    def _words(self, video: str) -> tuple[np.ndarray, list[str] | None]:
        """The spans of a video's words, and the words where the files have them, without pauses."""
        source = self.files.words or (self.files.by_modality["text"][0] if self.is_aligned or "text" in self.files.by_modality else None)
        if source is None:
            return np.zeros((0, 2)), None
        names, spans = source.words(video) if self.files.words else (None, source.spans(video))
        if names is None:
            return spans, None
        kept = [index for index, name in enumerate(names) if name != PAUSE]
        return spans[kept], [names[index] for index in kept]

    def _by_word(self, modality: str, parts: list[tuple[np.ndarray, np.ndarray]], words: np.ndarray) -> np.ndarray:
        means = []
        for values, spans in parts:
            mean, missing = mean_over_words(values, spans, words)
            self.missing[modality] = self.missing.get(modality, 0) + missing
            means.append(mean)
        return np.concatenate(means, axis=1)

    def _frames(self, modality: str, parts: list[tuple[np.ndarray, np.ndarray]], segment: _Segment) -> np.ndarray:
        chosen = [values[overlapping(spans, segment.start, segment.end)] for values, spans in parts]
        if len({len(values) for values in chosen}) > 1:
            raise DataError(
                f"Utterance {segment.id}: the {len(chosen)} files of {modality} have different numbers of frames in "
                f"it ({[len(values) for values in chosen]}), "
                "so they cannot be put side by side frame by frame. Convert aligned by words (--aligned), or give one file for this modality."
            )
        return np.concatenate(chosen, axis=1)


def read(source: Path, options: ReadOptions) -> ReadResult:
    """Opens a folder of .csd files (or one of its files, others being named by options).

    Raises:
        DataError: there are no labels or folds, a fold's split is missing, or a label is not a number.
    """
    existing(source, "folder of .csd files")
    notes: list[str] = []
    files = open_files(find_files(source, options), options, notes)
    is_aligned = options.aligned is not False
    if is_aligned and files.words is None and "text" not in files.by_modality:
        raise DataError(f"{source}: aligning by words needs a file of words or of word vectors. Name it with --text FILE, or give --no-aligned.")
    column = label_column(files.labels, options.label_column, notes)
    segments = _segments(files.labels, column, read_folds(options.folds_file, options.source_splits), notes)
    for split in options.source_splits:
        if not any(segment.split == split for segment in segments):
            raise DataError(
                f"{source}: no video of split {split!r} in {options.folds_file} has labels in "
                f"{files.labels.path.name}. Check that the folds are those of "
                "this data set, or leave the split out with --splits."
            )
    check_labels([segment.label for segment in segments], [segment.id for segment in segments], str(files.labels.path))
    vectors = _vectors(files, segments, options, notes)
    features = {
        name: options.spec(name, sum(file.dim for file in parts), "+".join(file.name for file in parts)) for name, parts in files.by_modality.items()
    }
    if vectors is not None:
        features["text"] = FeatureSpec(dim=vectors.dim, extractor=options.extractors.get("text", vectors.name))
    if not features:
        raise DataError(f"{source}: none of the files holds features. Name them with --text, --audio and --vision, or give --word-vectors.")
    return ReadResult(
        task=options.regression(),
        features=features,
        places=[Place(segment.id, segment.split, segment.video) for segment in segments],
        utterances=_utterances(_Cutter(files, vectors, is_aligned), segments, notes),
        splits=options.splits or SPLITS,
        notes=notes,
    )


def _utterances(cutter: _Cutter, segments: list[_Segment], notes: list[str]) -> Iterator[Utterance]:
    video, cut = "", None
    for segment in segments:
        if cut is None or segment.video != video:
            video, cut = segment.video, cutter.video(segment.video)
        yield cut(segment)
    for modality, missing in cutter.missing.items():
        if missing:
            notes.append(f"{missing} words have no frame of {modality} that overlaps them; those steps are zeros")


def _segments(labels: Sequence, column: int, folds: dict[str, str], notes: list[str]) -> list[_Segment]:
    segments, without_fold = [], []
    for video in labels.videos:
        if video not in folds:
            without_fold.append(video)
            continue
        found = labels.video(video)
        for number, (value, (start, end)) in enumerate(zip(*found, strict=True) if found else ()):
            segments.append(_Segment(video, number, folds[video], float(start), float(end), float(value[column])))
    if without_fold:
        notes.append(f"{len(without_fold)} videos of {labels.path.name} are in no fold and were left out (the first: {without_fold[0]})")
    return segments


def _vectors(files: CsdFiles, segments: list[_Segment], options: ReadOptions, notes: list[str]) -> WordVectors | None:
    if "text" in files.by_modality or files.words is None:
        return None
    if options.word_vectors is None:
        notes.append("there are words but no text features, so text is absent from the store (its words are kept); give --word-vectors FILE")
        return None
    words: list[Any] = []
    for video in sorted({segment.video for segment in segments}):
        words += [word for word in files.words.words(video)[0] if word != PAUSE]
    vectors = load_word_vectors(options.word_vectors, set(words))
    notes.append(vectors.coverage(words))
    return vectors


READER = Reader(
    name="csd",
    description="CMU SDK computational sequences (.csd), cut by the labels' intervals and aligned by words",
    options=frozenset(
        {
            "aligned",
            "label_range",
            "splits",
            "modalities",
            "extractors",
            "word_vectors",
            "text_files",
            "audio_files",
            "vision_files",
            "labels_file",
            "label_column",
            "folds_file",
        }
    ),
    read=read,
)
