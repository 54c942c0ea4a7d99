"""MISA's pickles: `train|dev|test.pkl`, each a list of `((word_ids, vision, audio, words), label, segment)`.

Every step is a word, in all modalities, and nothing is padded. The ids index a vocabulary that is not in the file, so
text vectors come from a file of word vectors, or stay away. MAG-BERT's file has the same items without the ids.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multigrain.data.readers.base import (
    SPLIT_NAMES,
    Place,
    Reader,
    ReadOptions,
    ReadResult,
    as_text,
    check_labels,
    check_widths,
    existing,
    group_of,
    missing_split,
    unique_ids,
)
from multigrain.data.readers.word_vectors import WordVectors, load_word_vectors
from multigrain.data.safe_pickle import load, release_pages
from multigrain.errors import DataError
from multigrain.schema import SPLITS, FeatureSpec, Utterance

WORD_OPTIONS = frozenset({"label_range", "splits", "extractors", "word_vectors"})
RELEASE_ITEMS = 1000
_EXTRACTOR_BY_WIDTH = {("vision", 47): "facet-4.1", ("audio", 74): "covarep"}


@dataclass(frozen=True)
class _Item:
    words: tuple[str, ...]
    vision: np.ndarray
    audio: np.ndarray
    label: float
    segment: str


def read(source: Path, options: ReadOptions) -> ReadResult:
    """Opens a folder of MISA's three pickles, or one of them, whose name tells the split.

    Raises:
        DataError: a split is missing, an item has another form, widths differ, or a label is not a number.
    """
    existing(source, "MISA folder or pickle")
    if source.is_dir():
        files = {SPLIT_NAMES[path.stem]: path for path in sorted(source.glob("*.pkl")) if path.stem in SPLIT_NAMES}
        for split in options.source_splits:
            if split not in files:
                raise missing_split(source, split, sorted(path.name for path in files.values()))
        files = {split: files[split] for split in options.source_splits}
        splits = options.splits or SPLITS
    else:
        if source.stem not in SPLIT_NAMES:
            raise DataError(
                f"{source.name} does not say which split it is. Name the file train.pkl, dev.pkl or test.pkl, or "
                "give the folder that holds all three."
            )
        files, splits = {SPLIT_NAMES[source.stem]: source}, (SPLIT_NAMES[source.stem],)
    return read_items({split: load(path) for split, path in files.items()}, source, options, splits, _misa_parts)


def read_items(
    contents: Mapping[str, Any], source: Path, options: ReadOptions, splits: tuple[str, ...], parts: Callable[[Any], tuple[Any, Any, Any]]
) -> ReadResult:
    """The common part of MISA's and MAG-BERT's files.

    Args:
        contents: the list of items of each split.
        source: for messages.
        options: as given by the user.
        splits: that the store is to have.
        parts: takes (words, vision, audio) out of an item's first part.

    Raises:
        DataError: an item has another form, widths differ, or a label is not a number.
    """
    notes: list[str] = []
    items = {split: _items(content, split, source, parts, notes) for split, content in contents.items()}
    widths = check_widths({split: _widths(values, split, source) for split, values in items.items()}, source)
    for split, values in items.items():
        check_labels([item.label for item in values], [item.segment for item in values], f"{source}, split {split!r}")
    every = [(split, item) for split, values in items.items() for item in values]
    features = {name: options.spec(name, width, _EXTRACTOR_BY_WIDTH.get((name, width), "unknown")) for name, width in widths.items()}
    vectors = _vectors([item for _, item in every], options, notes)
    if vectors is not None:
        features = {"text": FeatureSpec(dim=vectors.dim, extractor=options.extractors.get("text", vectors.name))} | features
    ids = unique_ids([item.segment for _, item in every], notes)
    places = [Place(identifier, split, group_of(item.segment)) for identifier, (split, item) in zip(ids, every, strict=True)]
    return ReadResult(
        task=options.regression(),
        features=features,
        places=places,
        utterances=_utterances(places, [item for _, item in every], vectors),
        splits=splits,
        notes=notes,
    )


def _utterances(places: list[Place], items: list[_Item], vectors: WordVectors | None) -> Iterator[Utterance]:
    for index, (place, item) in enumerate(zip(places, items, strict=True)):
        if index % RELEASE_ITEMS == RELEASE_ITEMS - 1:
            release_pages(item.audio)  # all arrays are views of the same file
        sequences = {"audio": item.audio, "vision": item.vision}
        features = {name: np.array(values) for name, values in sequences.items() if (values != 0).any()}
        if vectors is not None:
            features = {"text": vectors.features(item.words)} | features
        yield Utterance(
            id=place.id, split=place.split, group=place.group, features=features, label=item.label, text=" ".join(item.words), words=item.words
        )


def _items(content: Any, split: str, source: Path, parts: Callable[[Any], tuple[Any, Any, Any]], notes: list[str]) -> list[_Item]:
    if not isinstance(content, list) or not content:
        raise DataError(
            f"{source}: split {split!r} is {type(content).__name__ if content else 'empty'}; expected a list of utterances. Check --format."
        )
    items, num_wide = [], 0
    for index, entry in enumerate(content):
        where = f"{source}, split {split!r}, item {index}"
        try:
            inputs, label, segment = entry
            words, vision, audio = parts(inputs)
            names = tuple(as_text(word) for word in words)
            labels = np.asarray(label, dtype=np.float64).reshape(-1)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{where} has another form than ((word ids, vision, audio, words), label, segment), or without word ids for MAG-BERT: {error}. "
                "Check --format."
            ) from error
        sequences = {"vision": vision, "audio": audio}
        for name, values in sequences.items():
            if not isinstance(values, np.ndarray) or values.ndim != 2 or len(values) != len(names):
                found = values.shape if isinstance(values, np.ndarray) else type(values).__name__
                raise DataError(
                    f"{where} ({as_text(segment)}): {name} is {found} for {len(names)} words; expected one row of "
                    "features a word, for the file is aligned "
                    "by words. It is damaged or was put together wrongly."
                )
        if labels.size not in (1, 7):
            raise DataError(f"{where} has {labels.size} labels; expected one sentiment score (or MOSEI's seven, of which it is the first).")
        num_wide += labels.size == 7
        items.append(_Item(names, vision, audio, float(labels[0]), as_text(segment)))
    if num_wide:
        notes.append(f"{num_wide} utterances of split {split!r} have seven labels, as MOSEI has; the first, sentiment, was taken")
    return items


def _widths(items: list[_Item], split: str, source: Path) -> dict[str, int]:
    widths = {"audio": items[0].audio.shape[1], "vision": items[0].vision.shape[1]}
    for index, item in enumerate(items):
        for name, values in (("audio", item.audio), ("vision", item.vision)):
            if values.shape[1] != widths[name]:
                raise DataError(
                    f"{source}, split {split!r}, item {index} ({item.segment}): {name} has {values.shape[1]} features a "
                    "step where the items before it have "
                    f"{widths[name]}. All utterances must have the same width. Nothing was written."
                )
    return widths


def _vectors(items: list[_Item], options: ReadOptions, notes: list[str]) -> WordVectors | None:
    if options.word_vectors is None:
        notes.append(
            "the file has words but no text features, so text is absent from the store (its words are kept); give --word-vectors FILE to have them"
        )
        return None
    vectors = load_word_vectors(options.word_vectors, {word for item in items for word in item.words})
    notes.append(vectors.coverage(word for item in items for word in item.words))
    return vectors


def _misa_parts(inputs: Any) -> tuple[Any, Any, Any]:
    _, vision, audio, words = inputs
    return words, vision, audio


READER = Reader(name="misa", description="MISA's train.pkl, dev.pkl and test.pkl: MOSI, MOSEI, aligned by words", options=WORD_OPTIONS, read=read)
