"""MMSA's pickles: per split `text` (BERT states), `text_bert`, `audio`, `vision`, `raw_text`, `id`, `regression_labels`.

Padded on the right. `audio_lengths` and `vision_lengths` say the real lengths where the file is not aligned; the mask
in `text_bert[:, 1]` says the text's. In an aligned file every modality has the text's steps.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from multigrain.data.readers.base import Place, Reader, ReadOptions, ReadResult, as_text, group_of, unique_ids
from multigrain.data.readers.padding import are_aligned, padding_side, real_steps, strip_padding
from multigrain.data.readers.tables import Table, check_tables, feature_array, rows_of, specs_with_extractors, split_tables
from multigrain.data.safe_pickle import load
from multigrain.errors import DataError
from multigrain.schema import MODALITIES, Utterance


def read(source: Path, options: ReadOptions) -> ReadResult:
    """Opens an MMSA pickle.

    Raises:
        DataError: a split, a modality or rows are missing, widths differ, or a label is not a number.
    """
    notes: list[str] = []
    contents = split_tables(load(source), source, options.source_splits)
    tables = [_table(content, split, source, options, notes) for split, content in contents.items()]
    widths = check_tables(tables, source)
    has_stored_lengths = any(set(table.lengths) & {"audio", "vision"} for table in tables)
    is_aligned = are_aligned(tables[0].arrays, False if options.aligned is None and has_stored_lengths else options.aligned, str(source))
    side: Literal["left", "right"] = "right"
    if options.padding == "left" and any(table.lengths for table in tables):
        raise DataError(
            f"{source} states the lengths of its sequences, which begin at the first step; --padding left contradicts that. Leave it out."
        )
    if options.padding == "left":
        side = "left"
    elif options.padding == "auto":
        found, left, right = padding_side([table.arrays for table in tables], is_aligned)
        if found == "left" and left > right:
            notes.append(
                f"more all-zero steps lie at the left end ({left} in a sample) than at the right ({right}), where this format's padding is; "
                "the padding at the right was taken off, look at the lengths with the doctor"
            )
    is_sims = any("regression_labels_T" in content for content in contents.values())
    every = np.concatenate([table.labels for table in tables]) if tables else np.zeros(0)
    if not is_sims and options.label_range is None and len(every) and np.abs(every).max() <= 1:
        notes.append("all labels lie in -1..1, while -3..3 was taken for their range; where the data set is SIMS, convert with --range -1 1")
    ids = unique_ids([identifier for table in tables for identifier in table.ids], notes)
    groups = [(table.split, group) for table in tables for group in table.groups]
    return ReadResult(
        task=options.regression((-1.0, 1.0) if is_sims else (-3.0, 3.0)),
        features=specs_with_extractors(widths, options.spec, {"text": "bert"}),
        places=[Place(identifier, split, group) for identifier, (split, group) in zip(ids, groups, strict=True)],
        utterances=_utterances(tables, ids, side, is_aligned),
        splits=options.splits or ("train", "valid", "test"),
        notes=notes,
    )


def _table(content: dict[str, Any], split: str, source: Path, options: ReadOptions, notes: list[str]) -> Table:
    if content.get("regression_labels") is None:
        raise DataError(f"{source}: split {split!r} has no 'regression_labels'; it holds {sorted(content)}. Check --format, or fetch the file again.")
    labels = np.asarray(content["regression_labels"], dtype=np.float64).reshape(-1)
    arrays = {modality: feature_array(content, modality, source, split) for modality in options.modalities or MODALITIES}
    identifiers = content.get("id")
    ids = [f"{split}_{index:05d}" for index in range(len(labels))] if identifiers is None else [as_text(value) for value in identifiers]
    if identifiers is None:
        notes.append(f"split {split!r} has no ids, so each utterance is its own group and a video in two splits cannot be seen")
    texts = content.get("raw_text")
    return Table(
        split=split,
        arrays=arrays,
        labels=labels,
        ids=ids,
        groups=[group_of(identifier) for identifier in ids],
        texts=None if texts is None else [as_text(value) for value in texts],
        lengths=_lengths(content, arrays, split, notes),
    )


def _lengths(content: dict[str, Any], arrays: dict[str, np.ndarray], split: str, notes: list[str]) -> dict[str, np.ndarray]:
    lengths = {}
    for modality, array in arrays.items():
        stated = content.get(f"{modality}_lengths")
        if stated is not None:
            lengths[modality] = np.asarray(stated, dtype=np.int64).reshape(-1)
        elif modality == "text" and content.get("text_bert") is not None:
            lengths[modality] = np.array([int((row[1] > 0.5).sum()) for row in content["text_bert"]], dtype=np.int64)
        if modality in lengths and (lengths[modality] > array.shape[1]).any():
            longer = int((lengths[modality] > array.shape[1]).sum())
            notes.append(
                f"{longer} stated lengths of {modality} in split {split!r} are longer than the array's {array.shape[1]} steps and were cut to that"
            )
            lengths[modality] = np.minimum(lengths[modality], array.shape[1])
    return lengths


def _utterances(tables: list[Table], ids: list[str], side: Literal["left", "right"], is_aligned: bool) -> Iterator[Utterance]:
    names = iter(ids)
    for table in tables:
        for index, sequences in rows_of(table):
            yield Utterance(
                id=next(names),
                split=table.split,
                group=table.groups[index],
                features=_real_sequences(table, index, sequences, side, is_aligned),
                label=float(table.labels[index]),
                text=None if table.texts is None else table.texts[index],
            )


def _real_sequences(
    table: Table, index: int, sequences: dict[str, np.ndarray], side: Literal["left", "right"], is_aligned: bool
) -> dict[str, np.ndarray]:
    if not is_aligned:
        unstated = {modality: values for modality, values in sequences.items() if modality not in table.lengths}
        cut = {modality: values[: table.lengths[modality][index]] for modality, values in sequences.items() if modality in table.lengths}
        stated = {modality: np.array(values) for modality, values in cut.items() if real_steps(values).any()}
        found = stated | strip_padding(unstated, side, False)
        return {modality: found[modality] for modality in sequences if modality in found}
    if "text" in table.lengths:  # aligned by words: the text's length is everyone's
        sequences = {modality: values[: table.lengths["text"][index]] for modality, values in sequences.items()}
        return {modality: np.array(values) for modality, values in sequences.items() if real_steps(values).any()}
    return strip_padding(sequences, side, True)


READER = Reader(
    name="mmsa",
    description="MMSA's pickles, aligned or not: MOSI, MOSEI, SIMS with BERT text (padded on the right)",
    options=frozenset({"padding", "aligned", "label_range", "splits", "modalities", "extractors"}),
    read=read,
)
