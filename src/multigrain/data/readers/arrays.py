"""Plain arrays, for data sets that have no format of their own: a folder or an npz.

Folder: `labels.csv` with the columns id, split, label (or one `label_<emotion>` an emotion) and, where known, group,
text, start, end; and `text|audio|vision/<id>.npy`, each (steps, features) or (features,) for a single step. An
utterance without a file lacks that modality.

npz, one row an utterance: `id`, `split`, `label`, `group`, and `text|audio|vision` as (n, features) for one vector an
utterance, or (n, steps, features), zero-padded, with `<modality>_lengths` where known. Or the same names with
`_train`, `_valid`, `_test` behind them, where a split may lack a modality. `ReadOptions.columns` renames.

In context (`ReadOptions.context`), each utterance's features are the vectors of all utterances of its group and split
in their order, and its readout is its own place: order by `order`, `clip` or `start` where there is such a column,
else by the numbers in the ids.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from multigrain.data.readers.array_folder import from_folder
from multigrain.data.readers.array_npz import from_arrays, from_split_arrays, has_split_arrays
from multigrain.data.readers.array_rows import COLUMNS, Row
from multigrain.data.readers.base import Place, Reader, ReadOptions, ReadResult, check_labels, existing, missing_split, unique_ids
from multigrain.data.readers.npz_files import open_npz
from multigrain.errors import DataError, nearest
from multigrain.schema import SPLITS, Task, Utterance


def read(source: Path, options: ReadOptions) -> ReadResult:
    """Opens a folder with labels.csv, or an npz.

    Raises:
        DataError: a column, a split, a modality or rows are missing, widths differ, or a label is not a number.
    """
    existing(source, "folder or npz of arrays")
    for name in options.columns:
        if name not in COLUMNS:
            raise DataError(f"--column {name}=...: unknown column; expected of {', '.join(COLUMNS)}.{nearest(name, list(COLUMNS))}")
    if source.is_dir():
        found = from_folder(source, options)
    elif source.suffix == ".npz":
        arrays = open_npz(source)
        found = (from_split_arrays if has_split_arrays(arrays, options) else from_arrays)(arrays, source, options)
    else:
        raise DataError(f"{source} is neither a folder nor an .npz file. Give the folder that holds labels.csv, or an npz.")
    for split in options.source_splits:
        if not any(row.split == split for row in found.rows):
            raise missing_split(source, split, sorted({row.split for row in found.rows}))
    rows = [row for row in found.rows if row.split in options.source_splits]
    check_labels(np.stack([row.label for row in rows]), [row.id for row in rows], str(source))
    for row, identifier in zip(rows, unique_ids([row.id for row in rows], found.notes), strict=True):
        row.id = identifier
    if options.context:
        rows = _in_order(rows, found.notes)
    return ReadResult(
        task=Task(kind="emotions", emotions=found.emotions) if found.emotions else options.regression(),
        features={modality: options.spec(modality, width) for modality, width in found.widths.items()},
        places=[Place(row.id, row.split, row.group) for row in rows],
        utterances=_in_context(rows) if options.context else _utterances(rows),
        splits=options.splits or SPLITS,
        notes=found.notes,
    )


def _utterances(rows: list[Row]) -> Iterator[Utterance]:
    for row in rows:
        yield _utterance(row, row.features())


def _utterance(row: Row, features: dict[str, np.ndarray]) -> Utterance:
    label = float(row.label[0]) if len(row.label) == 1 else row.label
    return Utterance(
        id=row.id, split=row.split, group=row.group, features=features, label=label, text=row.text, start_seconds=row.start, end_seconds=row.end
    )


def _in_order(rows: list[Row], notes: list[str]) -> list[Row]:
    """The rows with each group of a split together, in the utterances' order."""
    has_order = all(row.order is not None for row in rows)
    notes.append(f"in context: each group's utterances in the order of {'the column order' if has_order else 'the numbers in their ids'}")
    return sorted(rows, key=lambda row: (SPLITS.index(row.split), row.group, row.order if has_order else 0, _natural(row.id)))


def _natural(identifier: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", identifier)]


def _in_context(rows: list[Row]) -> Iterator[Utterance]:
    start = 0
    while start < len(rows):
        end = start
        while end < len(rows) and (rows[end].split, rows[end].group) == (rows[start].split, rows[start].group):
            end += 1
        members = rows[start:end]
        features = _group_sequence(members)
        for place, row in enumerate(members):
            yield replace(_utterance(row, features), context_key=f"{row.split}/{row.group}", readout=place)
        start = end


def _group_sequence(members: list[Row]) -> dict[str, np.ndarray]:
    vectors = [row.features() for row in members]
    for row, found in zip(members, vectors, strict=True):
        for modality, values in found.items():
            if len(values) != 1:
                raise DataError(
                    f"--context puts one vector an utterance in a row, but {modality} of utterance {row.id!r} has {len(values)} steps. "
                    "Leave the option out, or give (n, features) arrays."
                )
        if set(found) != set(vectors[0]):
            raise DataError(
                f"--context: utterance {row.id!r} has {sorted(found) or 'no modality'}, others of its group "
                f"{row.group!r} have {sorted(vectors[0])}. Within a "
                "group all need the same modalities; name those to use with --modalities."
            )
    return {modality: np.concatenate([found[modality] for found in vectors]) for modality in vectors[0]}


READER = Reader(
    name="arrays",
    description="plain arrays: a folder with labels.csv and <modality>/<id>.npy, or an npz",
    options=frozenset({"padding", "aligned", "label_range", "emotions", "splits", "modalities", "extractors", "columns", "context"}),
    read=read,
)
