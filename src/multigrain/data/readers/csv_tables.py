"""Tables as people save them: commas, semicolons or tabs, with or without a byte order mark, empty lines, and now and then not in UTF-8.

And their numbers and times: with a comma for the point where something else divides the cells, and HH:MM:SS for seconds.
"""

import csv
import io
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from multigrain.errors import DataError

_DELIMITERS = (",", ";", "\t")
_TOLD_DELIMITER = re.compile(r"\s*sep=([,;\t])[ \t]*(?:\r\n?|\n)", re.IGNORECASE)  # as Excel writes it above a table
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)")
SECONDS = "seconds, such as 12.5, or 00:01:12.5"
"""What is said of a time that `CsvTable.seconds` cannot read."""


@dataclass(frozen=True)
class CsvTable:
    """A table.

    Attributes:
        heading: the columns' names, as they are spelled.
        rows: per line its number in the file and its cells by column, stripped; lines without any content are left out.
        has_decimal_commas: whether "1,5" is a number in it, since something else divides the cells.
        notes: what the user should know.
    """

    heading: tuple[str, ...]
    rows: list[tuple[int, dict[str, str]]]
    has_decimal_commas: bool
    notes: list[str]

    def number(self, text: str) -> float:
        """A cell as a number.

        Raises:
            ValueError: it is none.
        """
        return float(text.replace(",", ".") if self.has_decimal_commas else text)

    def seconds(self, text: str) -> float:
        """A cell as seconds, from a number, MM:SS or HH:MM:SS with or without decimals.

        Raises:
            ValueError: it is none of these, negative, or not finite.
        """
        clock = _CLOCK.fullmatch(text)
        if clock is not None:
            hours, minutes, rest = clock.groups()
            return int(hours or 0) * 3600 + int(minutes) * 60 + float(rest.replace(",", "."))
        seconds = self.number(text)
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(text)
        return seconds


def read_csv_table(path: Path) -> CsvTable:
    """Reads a table with a heading.

    Raises:
        DataError: it is no text, has no heading, or a line cannot be taken apart.
    """
    notes = []
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        try:
            text = raw.decode("cp1252")
        except UnicodeDecodeError:
            raise DataError(f"{path}, line {line}: byte {error.start} is not UTF-8. Save the table again as CSV in UTF-8.") from error
        notes.append(f"{path.name} is not in UTF-8 (line {line}); it was read as Windows-1252. If its names look wrong, save it as UTF-8.")
    if "\0" in text:
        raise DataError(f"{path} is no table: it holds zero bytes. Save it again as CSV in UTF-8.")
    told = _TOLD_DELIMITER.match(text)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = told[1] if told is not None else max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        if told is not None:
            next(reader)
        heading = tuple(name.strip() for name in next((row for row in reader if any(cell.strip() for cell in row)), []))
        _check_heading(path, heading)
        rows = [(reader.line_num, _cells(path, reader.line_num, heading, row)) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}. Save the table again as CSV in UTF-8.") from error
    if not heading:
        raise DataError(f"{path} is empty. Expected a heading and one line an utterance.")
    return CsvTable(heading=heading, rows=rows, has_decimal_commas=delimiter != ",", notes=notes)


def _check_heading(path: Path, heading: tuple[str, ...]) -> None:
    twice = [name for name, count in Counter(heading).items() if name and count > 1]
    if twice:
        raise DataError(f"{path} has {heading.count(twice[0])} columns called {twice[0]!r}, so that it is open which counts. Rename or remove one.")


def _cells(path: Path, line: int, heading: tuple[str, ...], row: list[str]) -> dict[str, str]:
    cells = [cell.strip() for cell in row]
    if any(cells[len(heading) :]):
        raise DataError(
            f"{path}, line {line}: it has {len(cells)} cells, the heading {len(heading)}; the first too many is {cells[len(heading)][:60]!r}. A text "
            "with a comma in it needs quotes around it; a column that the heading lacks needs a name there."
        )
    return dict(zip(heading, cells, strict=False))
