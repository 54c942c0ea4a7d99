"""What every reader takes and gives: options, utterances one by one, and where each belongs."""

import csv
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from multigrain.errors import DataError, nearest
from multigrain.schema import IEMOCAP_EMOTIONS, MODALITIES, SPLITS, FeatureSpec, Task, Utterance

logger = logging.getLogger(__name__)

SPLIT_NAMES: dict[str, str] = {name: name for name in SPLITS} | {"dev": "valid", "val": "valid", "validation": "valid"}
"""How the published files call the splits."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Everything that can be said about a source; each reader lists the options that it heeds.

    Attributes:
        padding: the side on which sequences are padded with zeros; "auto" looks, or does as the format documents.
        aligned: whether step k of every modality belongs to the same word; None looks at the shapes.
        label_range: lowest and highest possible label; None takes the format's own.
        emotions: names of binary emotion labels, in the file's order.
        present_column: which of the two columns of an emotion's label says that it is present.
        splits: the splits to read, all of which must be there; None means all three.
        modalities: the modalities to read, all of which must be there; None means those of the format.
        extractors: names of what computed the features, by modality, where the file does not say.
        word_vectors: a file of word vectors (text in GloVe's format, or npz with `words` and `vectors`).
        text_files, audio_files, vision_files: which .csd files hold which modality.
        labels_file: the .csd file of the labels.
        label_column: which of its columns is the score, by name or number from 0 on; None for the one called sentiment.
        folds_file: JSON with the video ids of each split.
        columns: renames of columns, arrays and folders: wanted name -> name in the source.
        lower_case: put transcripts into lower case.
        label_values: numbers for labels that are words, such as {"negative": -1.0}.
        context: give each utterance the sequence of its group's utterances, with its own place as readout.
        valid_share: share of the training utterances to set aside, by whole groups, where there is no valid split.
        num_folds, fold: make the splits anew by cross-validation over groups, and take this fold as the test split.
        from_splits: the splits whose utterances take part in cross-validation; the others are left out.
        seed: of whatever is drawn by `valid_share` and `num_folds`.
    """

    padding: str = "auto"
    aligned: bool | None = None
    label_range: tuple[float, float] | None = None
    emotions: tuple[str, ...] = IEMOCAP_EMOTIONS
    present_column: int = 1
    splits: tuple[str, ...] | None = None
    modalities: tuple[str, ...] | None = None
    extractors: Mapping[str, str] = field(default_factory=dict)
    word_vectors: Path | None = None
    text_files: tuple[Path, ...] = ()
    audio_files: tuple[Path, ...] = ()
    vision_files: tuple[Path, ...] = ()
    labels_file: Path | None = None
    label_column: str | None = None
    folds_file: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    lower_case: bool = False
    label_values: Mapping[str, float] = field(default_factory=dict)
    context: bool = False
    valid_share: float | None = None
    num_folds: int | None = None
    fold: int = 0
    from_splits: tuple[str, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _check_choice("padding", (self.padding,), ("auto", "left", "right"))
        _check_choice("splits", self.splits or (), SPLITS)
        _check_choice("from_splits", self.from_splits or (), SPLITS)
        _check_choice("modalities", self.modalities or (), MODALITIES)
        _check_choice("extractors", tuple(self.extractors), MODALITIES)
        if self.present_column not in (0, 1):
            raise DataError(f"present_column is {self.present_column}; an emotion's label has two columns, so it is 0 or 1.")
        if self.label_range is not None and not self.label_range[0] < self.label_range[1]:
            raise DataError(f"The label range is {self.label_range[0]} to {self.label_range[1]}; give the lower end first.")
        if self.valid_share is not None and not 0 < self.valid_share < 1:
            raise DataError(f"valid_share is {self.valid_share}; it is a share of the training utterances, between 0 and 1, such as 0.15.")
        if self.num_folds is not None and not (self.num_folds >= 3 and 0 <= self.fold < self.num_folds):
            raise DataError(
                f"Fold {self.fold} of {self.num_folds} was asked for; at least 3 folds are needed (one for testing, one for "
                "validation, the rest for training), and they are counted from 0."
            )
        if self.num_folds is not None and self.valid_share is not None:
            raise DataError("Both num_folds and valid_share were given. Cross-validation makes its own validation split: give one of them.")

    @property
    def padding_side(self) -> Literal["left", "right"] | None:
        """The side that was asked for; None for "auto"."""
        sides: dict[str, Literal["left", "right"]] = {"left": "left", "right": "right"}
        return sides.get(self.padding)

    @property
    def source_splits(self) -> tuple[str, ...]:
        """The splits that the source itself must have."""
        if self.num_folds is not None:
            return self.from_splits or SPLITS
        wanted = self.splits or SPLITS
        return tuple(name for name in wanted if name != "valid") if self.valid_share is not None else wanted

    def regression(self, default: tuple[float, float] = (-3.0, 3.0)) -> Task:
        """The regression task over the given range, or the format's own."""
        low, high = self.label_range or default
        return Task(kind="regression", minimum=low, maximum=high)

    def spec(self, modality: str, dim: int, known: str = "unknown") -> FeatureSpec:
        """A modality's specification, with the extractor's name from the options, else as the format has it."""
        return FeatureSpec(dim=dim, extractor=self.extractors.get(modality, known))


@dataclass(frozen=True)
class Place:
    """Where an utterance belongs, known before its features are read."""

    id: str
    split: str
    group: str


@dataclass(kw_only=True)
class ReadResult:
    """A source that is open and was checked: what it holds, and its utterances one by one.

    Attributes:
        task: what the labels are.
        features: specification by modality.
        places: one per utterance, in the order of `utterances`.
        utterances: a generator that holds one utterance at a time.
        splits: the splits that the store will be expected to have.
        notes: what was found or decided while reading, for the log and the manifest.
    """

    task: Task
    features: dict[str, FeatureSpec]
    places: list[Place]
    utterances: Iterator[Utterance]
    splits: tuple[str, ...] = SPLITS
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Reader:
    """One published file format.

    Attributes:
        name: as on the command line.
        description: one line for lists.
        options: names of the `ReadOptions` that it heeds.
        read: opens and checks a source; raises DataError before the first utterance wherever it can.
    """

    name: str
    description: str
    options: frozenset[str]
    read: Callable[[Path, ReadOptions], ReadResult]

    def __post_init__(self) -> None:
        """Makes a DataError of whatever a source of another form leads to."""
        object.__setattr__(self, "read", _with_sentences(self.read, self.name))


_ANOTHER_FORM = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, csv.Error, MemoryError, RecursionError, OSError)


def _with_sentences(read: Callable[[Path, ReadOptions], ReadResult], name: str) -> Callable[[Path, ReadOptions], ReadResult]:
    """The same, where each part of a source that is of another kind than the format's (None for a list, text for a number, bytes that are no
    text) is a DataError, though no check has a sentence of its own for it."""

    def guarded(source: Path, options: ReadOptions) -> ReadResult:
        with _another_form(source, name):
            result = read(source, options)
        return replace(result, utterances=one_by_one(result.utterances, source))

    def one_by_one(utterances: Iterator[Utterance], source: Path) -> Iterator[Utterance]:
        with _another_form(source, name):
            yield from utterances

    return guarded


@contextmanager
def _another_form(source: Path, name: str) -> Iterator[None]:
    try:
        yield
    except _ANOTHER_FORM as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{source} is not of the format {name!r}, or is damaged ({type(error).__name__}: {reason}). Compare it with what the format documents "
            "(docs/add-a-dataset.md), fetch it again, or check --format."
        ) from error


def existing(path: Path, what: str) -> Path:
    """The path, if there is such a file or folder; DataError otherwise."""
    if path.exists():
        return path
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    raise DataError(f"There is no {what} at {path}.{nearest(path.name, siblings)} Check the path, from the folder in which you run the command.")


def as_text(value: Any) -> str:
    """A string from whatever files hold as one: str, bytes, numpy scalars, arrays of one element."""
    value = value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size == 1 else value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "replace")
    return str(value)


def group_of(identifier: str) -> str:
    """The video that an utterance's id names: "video$_$clip" and "video[clip]"; any other id is its own group."""
    match = re.fullmatch(r"(.+?)(?:\$_\$.*|\[[^\]]*\])", identifier)
    return match.group(1) if match else identifier


def unique_ids(identifiers: Sequence[str], notes: list[str]) -> list[str]:
    """The ids with "#2", "#3" ... put behind repetitions, which are counted in a note."""
    seen: Counter[str] = Counter()
    taken, unique = set(identifiers), []
    for identifier in identifiers:
        seen[identifier] += 1
        name = identifier
        while seen[identifier] > 1 and name in taken:
            name = f"{identifier}#{seen[identifier]}"
            seen[identifier] += name in taken
        taken.add(name)
        unique.append(name)
    repeated = [identifier for identifier, count in seen.items() if count > 1]
    if repeated:
        notes.append(f"{len(repeated)} ids occur more than once (the first: {repeated[0]!r}); '#2' and so on was put behind the repetitions")
    return unique


def check_labels(labels: Iterable[float] | np.ndarray, identifiers: Sequence[str], where: str) -> None:
    """DataError when a label is NaN or infinite, naming the first utterance and the number of them."""
    values = np.asarray(labels, dtype=np.float64).reshape(len(identifiers), -1)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise DataError(
            f"{where}: {len(bad)} of {len(values)} labels are not numbers (NaN or infinite); the first is that of utterance {identifiers[bad[0]]!r} "
            f"(row {bad[0]}, label {values[bad[0]].tolist()}). Every label must be a finite number; take these utterances out of the source."
        )


def check_widths(widths: Mapping[str, Mapping[str, int]], source: Path) -> dict[str, int]:
    """One width per modality from `{split: {modality: width}}`; DataError where two splits differ."""
    agreed: dict[str, tuple[int, str]] = {}
    for split, by_modality in widths.items():
        for modality, width in by_modality.items():
            known, first_split = agreed.setdefault(modality, (width, split))
            if width != known:
                raise DataError(
                    f"{source}: {modality} has {known} features a step in split {first_split!r} but {width} in split {split!r}. All splits of a data "
                    "set must have the same width, else the model could not be tested; extract that split's features again. Nothing was written."
                )
    return {modality: agreed[modality][0] for modality in MODALITIES if modality in agreed}


def missing_split(source: Path, split: str, present: Iterable[str]) -> DataError:
    """The error for a split that is not in the source."""
    have = list(present)
    advice = "If it is meant to be without, name those to read with --splits"
    if split == "valid":
        advice += ", or take part of the training utterances with --valid-share 0.15"
    return DataError(f"{source} has no split {split!r}; it holds {have or 'none'}. {advice}.")


def missing_modality(source: Path, where: str, modality: str, present: Iterable[str]) -> DataError:
    """The error for a modality that is not in the source."""
    return DataError(
        f"{source}: {where} has no {modality!r}; it holds {sorted(map(str, present))}. Fetch the whole file, or, if it is meant to be without, name "
        "the modalities to read with --modalities."
    )


def _check_choice(option: str, values: Sequence[str], choices: Sequence[str]) -> None:
    for value in values:
        if value not in choices:
            raise DataError(f"Unknown value {value!r} for {option}; expected of {', '.join(choices)}.{nearest(value, list(choices))}")
