"""Transcripts with labels, for language models: a CSV (or TSV) with one line an utterance, or a folder with one such file a split.

The columns are `text`, `label` and, in a single file, `split`; where known `id`, `group` (video, speaker or dialogue), `start` and
`end` in seconds or HH:MM:SS. `ReadOptions.columns` says what they are called. In a folder the files' names say the split ("train.csv", "x_dev.tsv"),
and a group of one file is never that of another. An utterance without id is called "SPLIT-LINE". Labels are scores; words become
scores by `ReadOptions.label_values`.

Text is stored as words without vectors (features of width 0): only a language model can read it. Scripts without spaces are cut into words.
"""

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
from multigrain.data.readers.csv_tables import SECONDS, CsvTable, read_csv_table
from multigrain.errors import DataError, nearest
from multigrain.language.words import cut_words
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
    text: str
    words: tuple[str, ...]
    start: float | None
    end: float | None


def read(source: Path, options: ReadOptions) -> ReadResult:
    """Opens a table of transcripts, or a folder of such tables.

    Raises:
        DataError: a column or split is missing, a time is none, or a label is not a number and no value was given for it.
    """
    existing(source, "file or folder of transcripts")
    for name in options.columns:
        if name not in COLUMNS:
            raise DataError(f"--column {name}=...: unknown column; expected of {', '.join(COLUMNS)}.{nearest(name, list(COLUMNS))}")
    files = split_files(source)
    notes: list[str] = []
    lines = [line for path, split in files.items() for line in _lines(path, split, options, notes)]
    found = sorted({line.split for line in lines})
    for split in options.source_splits:
        if split not in found:
            raise missing_split(source, split, found)
    lines = [line for line in lines if line.split in options.source_splits]
    check_labels([line.label for line in lines], [line.id for line in lines], str(source))
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


def _lines(path: Path, split: str | None, options: ReadOptions, notes: list[str]) -> list[_Line]:
    table = read_csv_table(path)
    if not table.rows:
        raise DataError(f"{path} lists no utterance. Expected a heading and one line each.")
    notes += table.notes
    names = _columns(table, options)
    for needed in ("text", "label", *(() if split else ("split",))):
        if names[needed] is None:
            raise DataError(f"{path} has no column {needed!r}; it has {list(table.heading)}. Say which of these it is: --column {needed}=NAME.")
    reader = _TableReader(path, table, split, names, options)
    return [reader.line(row, number) for number, row in table.rows]


def _columns(table: CsvTable, options: ReadOptions) -> dict[str, str | None]:
    """Ours -> what the table calls it: as the user says, by its name, or by its name in other letters ("Text")."""
    heading = dict.fromkeys(table.heading)
    in_small = {name.lower(): name for name in reversed(table.heading)}
    return {wanted: pick(heading, wanted, options) or in_small.get(wanted) for wanted in COLUMNS}


@dataclass(frozen=True)
class _TableReader:
    path: Path
    table: CsvTable
    split: str | None
    names: Mapping[str, str | None]
    options: ReadOptions

    def line(self, row: Mapping[str, str], number: int) -> _Line:
        """What a line says."""
        where = f"{self.path}, line {number}"

        def value(wanted: str) -> str:
            return row.get(self.names[wanted] or "", "")

        split = self.split or split_name(value("split"), self.path)
        identifier = value("id") or f"{split}-{number}"
        group = value("group") or group_of(identifier)
        text = " ".join(value("text").split())
        text = text.lower() if self.options.lower_case else text
        return _Line(
            id=identifier,
            split=split,
            group=f"{split}/{group}" if self.split and value("group") else group,
            label=self._label(value("label"), where),
            text=text,
            words=tuple(cut_words(text)),
            start=self._seconds(value("start"), "start", where),
            end=self._seconds(value("end"), "end", where),
        )

    def _label(self, text: str, where: str) -> float:
        values = self.options.label_values
        for spelling in (text, text.lower()):
            if spelling in values:
                return values[spelling]
        try:
            return self.table.number(text)
        except ValueError as error:
            known = f" Values were given for {', '.join(values)}.{nearest(text, list(values))}" if values else ""
            raise DataError(f"{where}: the label {text!r} is not a number.{known} Give it one: --label-value {text or 'LABEL'}=NUMBER.") from error

    def _seconds(self, text: str, name: str, where: str) -> float | None:
        try:
            return self.table.seconds(text) if text else None
        except ValueError as error:
            raise DataError(f"{where}: {name} is {text!r}; expected {SECONDS}. Mend it, or call the column another name to leave it out.") from error


def _utterances(lines: list[_Line]) -> Iterator[Utterance]:
    for line in lines:
        yield Utterance(
            id=line.id,
            split=line.split,
            group=line.group,
            features={"text": np.zeros((len(line.words), 0), np.float32)} if line.words else {},
            label=line.label,
            text=line.text,
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
