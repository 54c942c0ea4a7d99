"""MulT's pickles: `{train|valid|test: {text, audio, vision, labels, id}}`, zero-padded on the left, aligned or not.

Lengths are not stored: leading steps that are all zero are padding, and a sequence of zeros throughout is an absent
modality. In aligned files all modalities share the words' steps, so a step is padding when it is zero in all of them.
`labels` is (n, 1, 1) for sentiment scores, or (n, 4, 2) for IEMOCAP's emotions.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from multigrain.data.readers.base import Place, Reader, ReadOptions, ReadResult, as_text, group_of, unique_ids
from multigrain.data.readers.padding import are_aligned, padding_side, strip_padding
from multigrain.data.readers.tables import Table, check_tables, feature_array, rows_of, specs_with_extractors, split_tables
from multigrain.data.safe_pickle import load
from multigrain.errors import DataError
from multigrain.schema import MODALITIES, Task, Utterance


def read(source: Path, options: ReadOptions) -> ReadResult:
    """Opens a MulT pickle.

    Raises:
        DataError: a split, a modality or rows are missing, widths differ, or a label is not a number.
    """
    notes: list[str] = []
    contents = split_tables(load(source), source, options.source_splits)
    tables, task = _tables(contents, source, options, notes)
    widths = check_tables(tables, source)
    is_aligned = are_aligned(tables[0].arrays, options.aligned, str(source))
    side = _side(tables, is_aligned, options, notes)
    notes.append("the modalities share their steps (aligned by words)" if is_aligned else "the modalities have steps of their own (not aligned)")
    ids = unique_ids([identifier for table in tables for identifier in table.ids], notes)
    places = [
        Place(identifier, table.split, group)
        for identifier, (table, group) in zip(ids, ((table, group) for table in tables for group in table.groups), strict=True)
    ]
    return ReadResult(
        task=task,
        features=specs_with_extractors(widths, options.spec, {}),
        places=places,
        utterances=_utterances(tables, ids, side, is_aligned),
        splits=options.splits or ("train", "valid", "test"),
        notes=notes,
    )


def _utterances(tables: list[Table], ids: list[str], side: Literal["left", "right"], is_aligned: bool) -> Iterator[Utterance]:
    names = iter(ids)
    for table in tables:
        for index, sequences in rows_of(table):
            start, end = table.spans[index] if table.spans else (None, None)
            label = table.labels[index]
            yield Utterance(
                id=next(names),
                split=table.split,
                group=table.groups[index],
                features=strip_padding(sequences, side, is_aligned),
                label=float(label) if np.ndim(label) == 0 else label,
                start_seconds=start,
                end_seconds=end,
            )


def _tables(contents: dict[str, dict[str, Any]], source: Path, options: ReadOptions, notes: list[str]) -> tuple[list[Table], Task]:
    tables = []
    for split, content in contents.items():
        if content.get("labels") is None:
            raise DataError(f"{source}: split {split!r} has no 'labels'; it holds {sorted(content)}. Check --format, or fetch the file again.")
        labels = _labels(np.asarray(content["labels"]), source, split, options)
        arrays = {modality: feature_array(content, modality, source, split) for modality in options.modalities or MODALITIES}
        ids, groups, spans = _identities(content.get("id"), split, len(labels))
        if content.get("id") is None:
            notes.append(f"split {split!r} has no ids, so each utterance is its own group and a video in two splits cannot be seen")
        tables.append(Table(split=split, arrays=arrays, labels=labels, ids=ids, groups=groups, spans=spans))
    is_emotions = {table.labels.ndim == 2 for table in tables}
    if len(is_emotions) > 1:
        raise DataError(
            f"{source}: some splits have sentiment scores as labels and some have emotions. All must have the same; fetch the file again."
        )
    if is_emotions == {False}:
        return tables, options.regression()
    for table in tables:
        rates = ", ".join(f"{name} {rate:.3f}" for name, rate in zip(options.emotions, table.labels.mean(axis=0), strict=True))
        notes.append(f"share of utterances with each emotion in split {table.split!r}: {rates} (column {options.present_column} means present)")
    return tables, Task(kind="emotions", emotions=options.emotions)


def _labels(labels: np.ndarray, source: Path, split: str, options: ReadOptions) -> np.ndarray:
    """(n,) scores, or (n, emotions) zeros and ones."""
    if labels.dtype.kind in "fiub" and labels.ndim >= 1 and labels.size == len(labels):
        return np.asarray(labels.reshape(-1), dtype=np.float64)
    if labels.dtype.kind in "fiub" and labels.ndim == 3 and labels.shape[1:] == (len(options.emotions), 2):
        present = np.asarray(labels.argmax(axis=2) == options.present_column, dtype=np.float64)
        present[np.isnan(labels.astype(np.float64)).any(axis=2)] = np.nan
        return present
    raise DataError(
        f"{source}: labels of split {split!r} have shape {labels.shape} and type {labels.dtype}; expected "
        "numbers, one an utterance (n, 1, 1), or two "
        f"columns for each of the emotions {', '.join(options.emotions)} (n, {len(options.emotions)}, 2)."
    )


def _identities(value: Any, split: str, count: int) -> tuple[list[str], list[str], list[tuple[float, float]] | None]:
    """Ids, groups and times from `id`, whose rows are (video, start, end) or one name."""
    if value is None:
        names = [f"{split}_{index:05d}" for index in range(count)]
        return names, list(names), None
    rows = [[as_text(part) for part in np.asarray(row).reshape(-1)] for row in value]
    names = [row[0] if len(row) == 1 else f"{row[0]}[{'..'.join(row[1:])}]" for row in rows]
    groups = [group_of(row[0]) for row in rows]
    try:
        spans = [(float(row[1]), float(row[2])) for row in rows] if rows and all(len(row) == 3 for row in rows) else None
    except ValueError:
        spans = None
    return names, groups, spans


def _side(tables: list[Table], is_aligned: bool, options: ReadOptions, notes: list[str]) -> Literal["left", "right"]:
    if options.padding_side is not None:
        return options.padding_side
    side, left, right = padding_side([table.arrays for table in tables], is_aligned)
    notes.append(
        f"padding taken off the {side} (all-zero steps in a sample: {left} at the left end, {right} at the right; --padding decides otherwise)"
    )
    return side


READER = Reader(
    name="mult",
    description="MulT's pickles, aligned or not: MOSI, MOSEI, IEMOCAP (padded on the left)",
    options=frozenset({"padding", "aligned", "label_range", "emotions", "present_column", "splits", "modalities", "extractors"}),
    read=read,
)
