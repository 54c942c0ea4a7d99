"""Splits that are dicts of arrays with one row an utterance: what the MulT, MMSA and some npz files have in common."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from multigrain.data.readers.base import SPLIT_NAMES, check_labels, check_widths, missing_modality, missing_split
from multigrain.data.readers.padding import RELEASE_BYTES
from multigrain.data.safe_pickle import release_pages
from multigrain.errors import DataError
from multigrain.schema import FeatureSpec


@dataclass(kw_only=True)
class Table:
    """One split.

    Attributes:
        split: `train`, `valid` or `test`.
        arrays: (n, time, dim) by modality, usually views of the file.
        labels: (n,) scores or (n, emotions).
        ids, groups: one per row.
        texts, words, spans: transcripts and (start, end) seconds, or None.
        lengths: real steps per row by modality, where the file has them.
    """

    split: str
    arrays: dict[str, np.ndarray]
    labels: np.ndarray
    ids: list[str]
    groups: list[str]
    texts: list[str] | None = None
    spans: list[tuple[float, float]] | None = None
    lengths: dict[str, np.ndarray] = field(default_factory=dict)


def split_tables(data: Any, source: Path, wanted: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The dict of each wanted split of a loaded pickle.

    Raises:
        DataError: the content has another form, or a split is missing.
    """
    if not isinstance(data, Mapping):
        raise DataError(f"{source} holds a {type(data).__name__}; expected a dict with one entry per split. Check --format.")
    tables = {SPLIT_NAMES[str(key)]: value for key, value in data.items() if str(key) in SPLIT_NAMES}
    for split in wanted:
        if split not in tables:
            raise missing_split(source, split, [str(key) for key in data])
        if not isinstance(tables[split], Mapping):
            raise DataError(
                f"{source}: split {split!r} is a {type(tables[split]).__name__}; expected a dict of arrays. Check "
                "--format (a list is MISA or MAG-BERT)."
            )
    return {split: {str(key): value for key, value in tables[split].items()} for split in wanted}


def feature_array(table: Mapping[str, Any], modality: str, source: Path, split: str) -> np.ndarray:
    """A modality's (n, time, dim) array.

    Raises:
        DataError: it is not there, or not three-dimensional numbers.
    """
    where = f"split {split!r}"
    if table.get(modality) is None:
        raise missing_modality(source, where, modality, table)
    array = np.asarray(table[modality]) if isinstance(table[modality], list) else table[modality]
    if not isinstance(array, np.ndarray) or array.ndim != 3 or array.dtype.kind not in "fiub":
        found = f"shape {array.shape} and type {array.dtype}" if isinstance(array, np.ndarray) else f"a {type(array).__name__}"
        raise DataError(f"{source}: {modality} of {where} has {found}; expected an array of numbers (utterances, steps, features). Check --format.")
    return array


def check_tables(tables: list[Table], source: Path) -> dict[str, int]:
    """One width per modality, after checking that rows, labels and widths fit each other in every split.

    Raises:
        DataError: they do not; nothing was written yet.
    """
    for table in tables:
        count = len(table.labels)
        rows = {**{name: len(array) for name, array in table.arrays.items()}, "id": len(table.ids)}
        rows |= {f"lengths of {name}": len(lengths) for name, lengths in table.lengths.items()}
        rows |= {} if table.texts is None else {"transcripts": len(table.texts)}
        for name, found in rows.items():
            if found != count:
                raise DataError(
                    f"{source}: split {table.split!r} has {count} labels but {found} rows of {name}. Every array needs one row an utterance, in the "
                    "same order; the file is incomplete or was put together wrongly. Nothing was written."
                )
        if count == 0:
            raise DataError(f"{source}: split {table.split!r} holds no utterance. Fetch the file again, or leave that split out with --splits.")
        check_labels(table.labels, table.ids, f"{source}, split {table.split!r}")
    return check_widths({table.split: {name: array.shape[2] for name, array in table.arrays.items()} for table in tables}, source)


def specs_with_extractors(widths: Mapping[str, int], spec: Any, known: Mapping[str, str]) -> dict[str, FeatureSpec]:
    """A FeatureSpec per modality, by `ReadOptions.spec`."""
    return {modality: spec(modality, width, known.get(modality, "unknown")) for modality, width in widths.items()}


def rows_of(table: Table) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Each row's number and (time, dim) sequences; memory that was read through is given back as it goes."""
    row_bytes = sum(array[:1].nbytes for array in table.arrays.values())
    stride = max(1, RELEASE_BYTES // max(row_bytes, 1))
    for index in range(len(table.labels)):
        yield index, {modality: array[index] for modality, array in table.arrays.items()}
        if index % stride == stride - 1 or index == len(table.labels) - 1:
            for array in table.arrays.values():
                release_pages(array)
