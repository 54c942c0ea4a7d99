"""Plain arrays in an npz: one row an utterance, or one array a split."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from multigrain.data.readers.array_rows import (
    ORDERS,
    ArraySource,
    Row,
    check_label_widths,
    check_modalities,
    check_rows,
    pick,
    split_name,
    wanted_only,
)
from multigrain.data.readers.base import SPLIT_NAMES, ReadOptions, as_text, check_widths, group_of, missing_split
from multigrain.data.readers.padding import are_aligned, padding_side, strip_padding
from multigrain.data.safe_pickle import release_pages
from multigrain.errors import DataError
from multigrain.schema import MODALITIES

RELEASE_ROWS = 256
_FACTS = ("id", "split", "group", "label", "start", "end", "order")
ReadRow = Callable[[int], dict[str, np.ndarray]]


def has_split_arrays(arrays: Mapping[str, np.ndarray], options: ReadOptions) -> bool:
    """Whether labels are kept by split, as `label_train` and so on."""
    return any(pick(arrays, "label", options, f"_{name}") for name in SPLIT_NAMES)


def from_arrays(arrays: Mapping[str, np.ndarray], source: Path, options: ReadOptions) -> ArraySource:
    """The utterances of an npz with one row an utterance.

    Raises:
        DataError: a needed array or a modality is missing, or the arrays do not fit each other.
    """
    facts = {fact: arrays[name] for fact in _FACTS if (name := pick(arrays, fact, options)) is not None}
    for needed in ("split", "label"):
        if needed not in facts:
            raise DataError(
                f"{source} has no array {needed!r}; it holds {sorted(arrays)}. Save it with one value an utterance, or say which of "
                f"these it is: --column {needed}=NAME."
            )
    features, lengths, texts = _modalities(arrays, options, "")
    check_modalities(features, source, "the file", options)
    labels = facts["label"]
    check_rows(facts | features | _named(lengths), len(labels), str(source))
    splits = [split_name(as_text(value), source) for value in facts["split"]]
    notes = [] if "group" in facts else ["no groups are given; they were taken from the ids"]
    order = next((facts.get(name, arrays.get(name)) for name in ORDERS if name in facts or name in arrays), None)
    if order is not None:
        facts["order"] = order
    read_row = _row_readers([features], [lengths], source, options, notes)[0]
    rows = [_row(index, splits[index], facts, texts, read_row) for index in range(len(labels))]
    return _source(rows, features, source, options, notes)


def from_split_arrays(arrays: Mapping[str, np.ndarray], source: Path, options: ReadOptions) -> ArraySource:
    """The utterances of an npz with one array a split; a modality may be absent from a whole split.

    Raises:
        DataError: a split or a modality is missing, or the arrays do not fit each other.
    """
    notes: list[str] = []
    suffixes = {SPLIT_NAMES[name]: f"_{name}" for name in SPLIT_NAMES if pick(arrays, "label", options, f"_{name}")}
    facts: dict[str, dict[str, np.ndarray]] = {}
    features: dict[str, dict[str, np.ndarray]] = {}
    lengths: dict[str, dict[str, np.ndarray]] = {}
    for split in options.source_splits:
        if split not in suffixes:
            raise missing_split(source, split, suffixes)
        facts[split] = {fact: arrays[name] for fact in _FACTS if (name := pick(arrays, fact, options, suffixes[split])) is not None}
        features[split], lengths[split], _ = _modalities(arrays, options, suffixes[split])
        check_rows(facts[split] | features[split] | _named(lengths[split]), len(facts[split]["label"]), f"{source}, split {split!r}")
    check_widths({split: {name: array.shape[-1] for name, array in found.items()} for split, found in features.items()}, source)
    union = {name: array for found in features.values() for name, array in found.items()}
    check_modalities(union, source, "the file", options)
    for split, found in features.items():
        missing = [name for name in wanted_only(union, options) if name not in found]
        if missing:
            notes.append(f"split {split!r} has no {' and no '.join(missing)}: absent from all its {len(facts[split]['label'])} utterances")
    readers = _row_readers(list(features.values()), list(lengths.values()), source, options, notes)
    rows = [
        _row(index, split, facts[split], None, read_row)
        for split, read_row in zip(facts, readers, strict=True)
        for index in range(len(facts[split]["label"]))
    ]
    return _source(rows, union, source, options, notes)


def _row(index: int, split: str, facts: Mapping[str, np.ndarray], texts: np.ndarray | None, read_row: ReadRow) -> Row:
    identifier = as_text(facts["id"][index]) if "id" in facts else f"{split}_{index:05d}"
    return Row(
        id=identifier,
        split=split,
        group=as_text(facts["group"][index]) if "group" in facts else group_of(identifier),
        label=np.asarray(facts["label"][index], dtype=np.float64).reshape(-1),
        features=lambda: read_row(index),
        text=None if texts is None else as_text(texts[index]),
        start=float(facts["start"][index]) if "start" in facts else None,
        end=float(facts["end"][index]) if "end" in facts else None,
        order=facts["order"][index] if "order" in facts else None,
    )


def _source(rows: list[Row], features: Mapping[str, np.ndarray], source: Path, options: ReadOptions, notes: list[str]) -> ArraySource:
    check_label_widths(rows, source, options)
    emotions = options.emotions if rows and len(rows[0].label) > 1 else ()
    widths = {name: array.shape[-1] for name, array in features.items()}
    return ArraySource(rows=rows, widths=wanted_only(widths, options), emotions=emotions, notes=notes)


def _modalities(
    arrays: Mapping[str, np.ndarray], options: ReadOptions, suffix: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray | None]:
    """Features and stated lengths by modality; and `text`, where it is strings rather than features."""
    names = {modality: name for modality in MODALITIES if (name := pick(arrays, modality, options, suffix)) is not None}
    features = {modality: arrays[name] for modality, name in names.items() if arrays[name].dtype.kind not in "US"}
    texts = arrays[names["text"]] if "text" in names and "text" not in features else None
    lengths = {modality: found for modality in features if (found := _lengths(arrays, names[modality], suffix)) is not None}
    return features, lengths, texts


def _lengths(arrays: Mapping[str, np.ndarray], name: str, suffix: str) -> np.ndarray | None:
    stem = name.removesuffix(suffix) if suffix else name
    candidates = [f"{start}{word}{suffix}" for start in (f"{stem}_", "") for word in ("lengths", "length")]
    found = next((arrays[candidate] for candidate in candidates if candidate in arrays), None)
    return None if found is None or arrays[name].ndim != 3 else found.astype(np.int64).reshape(-1)


def _named(lengths: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"lengths of {modality}": values for modality, values in lengths.items()}


# Rows without their padding ---------------------------------------------------------------------------------------


def _row_readers(
    tables: list[dict[str, np.ndarray]], lengths: list[dict[str, np.ndarray]], source: Path, options: ReadOptions, notes: list[str]
) -> list[ReadRow]:
    """For each table of arrays, the function that gives one row's (steps, features) by modality."""
    wanted = [wanted_only(table, options) for table in tables]
    for modality, array in (item for table in wanted for item in table.items()):
        if array.ndim not in (2, 3) or array.dtype.kind not in "fiub":
            raise DataError(
                f"{source}: {modality} has shape {array.shape} and type {array.dtype}; expected numbers, (utterances, features) or "
                "(utterances, steps, features)."
            )
    padded = [
        {modality: array for modality, array in table.items() if array.ndim == 3 and modality not in known}
        for table, known in zip(wanted, lengths, strict=True)
    ]
    widest = max(padded, key=len)
    is_aligned = bool(widest) and are_aligned(widest, options.aligned, str(source))
    side: Literal["left", "right"] = options.padding_side or "right"
    if options.padding_side is None and any(padded):
        side, left, right = padding_side([table for table in padded if table], is_aligned)
        notes.append(
            f"padding taken off the {side} (all-zero steps in a sample: {left} at the left end, {right} at the right; --padding decides otherwise)"
        )
    return [_row_reader(*parts, side, is_aligned) for parts in zip(wanted, lengths, padded, strict=True)]


def _row_reader(
    table: dict[str, np.ndarray],
    lengths: dict[str, np.ndarray],
    padded: dict[str, np.ndarray],
    side: Literal["left", "right"],
    is_aligned: bool,
) -> ReadRow:
    def read_row(index: int) -> dict[str, np.ndarray]:
        found = strip_padding({modality: array[index] for modality, array in padded.items()}, side, is_aligned)
        for modality, array in table.items():
            if modality not in padded:
                values = array[index][None] if array.ndim == 2 else array[index][: lengths[modality][index]]
                if len(values):
                    found[modality] = np.array(values)
        if index % RELEASE_ROWS == RELEASE_ROWS - 1:
            for array in table.values():
                release_pages(array)
        return {modality: found[modality] for modality in table if modality in found}

    return read_row
