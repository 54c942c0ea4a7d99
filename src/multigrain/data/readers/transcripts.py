"""Transcripts with labels, for language models: a CSV (or TSV) with one line an utterance, or a folder with one such file a split.

The columns are `text`, `label` and, in a single file, `split`; where known `id`, `group` (video, speaker or dialogue), `start` and
`end` in seconds. `ReadOptions.columns` says what they are called. In a folder the files' names say the split ("train.csv", "x_dev.tsv"),
and a group of one file is never that of another. An utterance without id is called "SPLIT-LINE". Labels are scores; words become
scores by `ReadOptions.label_values`.

Text is stored as words without vectors (features of width 0): only a language model can read it.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multigrain.data.readers.array_rows import pick, split_name
from multigrain.data.readers.base import (
    SPLIT_NAMES,
    Place,
    Reader,
    ReadOptions,
    ReadResult,
    check_labels,
    existing,
    group_of,
    missing_split,
    unique_ids,
)
from multigrain.errors import DataError, nearest
from multigrain.schema import SPLITS, FeatureSpec, Utterance

COLUMNS = ("id", "split", "group", "text", "label", "start", "end")
SUFFIXES = (".csv", ".tsv")
WORDS = FeatureSpec(dim=0, extractor="words")
"""Text that is words without vectors."""


@dataclass(kw_only=True)
class _Line:
    """One utterance of a file."""

    id: str
    split: str
    group: str
    label: float
    words: tuple[str, ...]
    start: float | None
    end: float | None


def read(source: Path, options: ReadOptions) -> ReadResult:
    """Opens a table of transcripts, or a folder of such tables.

    Raises:
        DataError: a column or split is missing, or a label is not a number and no value was given for it.
    """
    existing(source, "file or folder of transcripts")
    for name in options.columns:
        if name not in COLUMNS:
            raise DataError(f"--column {name}=...: unknown column; expected of {', '.join(COLUMNS)}.{nearest(name, list(COLUMNS))}")
    files = split_files(source)
    lines = [line for path, split in files.items() for line in _lines(path, split, options)]
    found = sorted({line.split for line in lines})
    for split in options.source_splits:
        if split not in found:
            raise missing_split(source, split, found)
    lines = [line for line in lines if line.split in options.source_splits]
    check_labels([line.label for line in lines], [line.id for line in lines], str(source))
    notes: list[str] = []
    for line, identifier in zip(lines, unique_ids([line.id for line in lines], notes), strict=True):
        line.id = identifier
    empty = [line.id for line in lines if not line.words]
    if empty:
        notes.append(f"{len(empty)} of {len(lines)} utterances have no words (the first: {empty[0]!r}): text is absent from them")
    return ReadResult(
        task=options.regression(),
        features={"text": WORDS},
        places=[Place(line.id, line.split, line.group) for line in lines],
        utterances=_utterances(lines),
        splits=options.splits or SPLITS,
        notes=notes,
    )


def split_files(source: Path) -> dict[Path, str | None]:
    """The tables to read, with the split that a file's name says; None where a column does."""
    if source.is_file():
        return {source: None}
    files: dict[Path, str | None] = {}
    for path in sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES):
        named = {SPLIT_NAMES[part] for part in path.stem.lower().replace("-", "_").replace(".", "_").split("_") if part in SPLIT_NAMES}
        if len(named) == 1:
            files[path] = named.pop()
    if len(set(files.values())) != len(files) or not files:
        raise DataError(
            f"{source} holds {sorted(path.name for path in files) or 'no tables named after a split'}; expected one .csv or .tsv file a split, with "
            f"{', '.join(SPLIT_NAMES)} in its name. Or name a single file that has a column split."
        )
    return files


def _lines(path: Path, split: str | None, options: ReadOptions) -> list[_Line]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ","))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table in UTF-8 ({error}). Save it again as CSV in UTF-8.") from error
    if not rows:
        raise DataError(f"{path} lists no utterance. Expected a heading and one line each.")
    heading = dict.fromkeys(name for name in rows[0] if name is not None)
    names = {wanted: pick(heading, wanted, options) for wanted in COLUMNS}
    for needed in ("text", "label", *(() if split else ("split",))):
        if names[needed] is None:
            raise DataError(f"{path} has no column {needed!r}; it has {list(heading)}. Say which of these it is: --column {needed}=NAME.")
    return [_line(row, names, f"{path}, line {number}", split, path, number, options) for number, row in enumerate(rows, start=2)]


def _line(
    row: Mapping[str, str], names: Mapping[str, str | None], where: str, split: str | None, path: Path, number: int, options: ReadOptions
) -> _Line:
    def value(wanted: str) -> str:
        name = names[wanted]
        return "" if name is None else (row.get(name) or "").strip()

    own_split = split or split_name(value("split"), path)
    identifier = value("id") or f"{own_split}-{number}"
    group = value("group") or group_of(identifier)
    text = value("text").lower() if options.lower_case else value("text")
    return _Line(
        id=identifier,
        split=own_split,
        group=f"{own_split}/{group}" if split and value("group") else group,
        label=_label(value("label"), where, options),
        words=tuple(text.split()),
        start=_seconds(value("start"), "start", where),
        end=_seconds(value("end"), "end", where),
    )


def _label(text: str, where: str, options: ReadOptions) -> float:
    if text in options.label_values:
        return options.label_values[text]
    try:
        return float(text)
    except ValueError as error:
        known = (
            f" Values were given for {', '.join(options.label_values)}.{nearest(text, list(options.label_values))}" if options.label_values else ""
        )
        raise DataError(f"{where}: the label {text!r} is not a number.{known} Give it one: --label-value {text or 'LABEL'}=NUMBER.") from error


def _seconds(text: str, name: str, where: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError as error:
        raise DataError(f"{where}: {name} is {text!r}; expected seconds as a number. Leave the column out by another name in the file.") from error


def _utterances(lines: list[_Line]) -> Iterator[Utterance]:
    for line in lines:
        yield Utterance(
            id=line.id,
            split=line.split,
            group=line.group,
            features={"text": np.zeros((len(line.words), 0), np.float32)} if line.words else {},
            label=line.label,
            text=" ".join(line.words),
            words=line.words,
            start_seconds=line.start,
            end_seconds=line.end,
        )


READER = Reader(
    name="transcripts",
    description="transcripts with labels for language models: a CSV or TSV, or a folder with one a split",
    options=frozenset({"label_range", "splits", "columns", "lower_case", "label_values"}),
    read=read,
)
