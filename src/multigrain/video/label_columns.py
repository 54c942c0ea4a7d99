"""Which column of a table of labels is which: by its name, by what the user says, or since the whole table is one of the published ones."""

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from multigrain.errors import VideoError, nearest

NEEDED = ("file", "label", "split")
OPTIONAL = ("start", "end", "text", "group", "id")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A published table.

    Attributes:
        name: of the data set.
        marks: columns by which it is known.
        columns: what ours are called there; a name with {braces} is put together from columns.
        label_values: scores of labels that are words.
        label_range: of its labels; None where the labels decide.
        note: what the user should know.
    """

    name: str
    marks: tuple[str, ...]
    columns: Mapping[str, str]
    label_values: Mapping[str, float] = field(default_factory=dict)
    label_range: tuple[float, float] | None = None
    note: str = ""


SHAPES: tuple[Shape, ...] = (
    Shape(
        name="MELD",
        marks=("Dialogue_ID", "Utterance_ID", "Sentiment"),
        columns={"file": "dia{Dialogue_ID}_utt{Utterance_ID}", "label": "Sentiment", "text": "Utterance", "group": "dia{Dialogue_ID}"},
        label_values={"negative": -1.0, "neutral": 0.0, "positive": 1.0},
        label_range=(-1.0, 1.0),
        note="its times are those of the episodes, so that each clip is taken whole; negative, neutral and positive are -1, 0 and 1",
    ),
    Shape(
        name="SIMS, or MOSI or MOSEI as MMSA has them",
        marks=("video_id", "clip_id", "mode"),
        columns={"file": "{video_id}/{clip_id}", "label": "label", "text": "text", "group": "video_id", "split": "mode"},
        note="each clip is taken whole",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Where each of ours is found in a table.

    Attributes:
        templates: ours -> a pattern of columns, such as "{File}" or "dia{Dialogue_ID}_utt{Utterance_ID}".
        shape: the published table that it is, or None.
    """

    templates: Mapping[str, str]
    shape: Shape | None

    def cell(self, row: Mapping[str, str], name: str) -> str:
        """What a line has of one of ours; empty where the table or the line has none."""
        if name not in self.templates:
            return ""
        parts = [(literal, row.get(column or "", "")) for literal, column, _, _ in string.Formatter().parse(self.templates[name])]
        if any(column is not None and not row.get(column) for _, column, _, _ in string.Formatter().parse(self.templates[name])):
            return ""
        return "".join(literal + value for literal, value in parts).strip()


def find_columns(heading: Sequence[str], given: Mapping[str, str], where: str, *, has_split: bool) -> Columns:
    """Where each of ours is found.

    Args:
        heading: the table's columns.
        given: ours -> a column, or a pattern of columns in braces, as the user says.
        where: of the table, for messages.
        has_split: whether the file's name says the split, so that no column needs to.

    Raises:
        VideoError: a needed column is not found, or a named one is not there.
    """
    for name in given:
        if name not in (*NEEDED, *OPTIONAL):
            known = [*NEEDED, *OPTIONAL]
            raise VideoError(f"--column {name}=...: unknown column; expected of {', '.join(known)}.{nearest(name, known)}")
    shape = next((shape for shape in SHAPES if set(shape.marks) <= set(heading)), None)
    by_lower = {name.lower(): name for name in reversed(heading)}
    templates = {} if shape is None else {name: _template(column, heading) for name, column in shape.columns.items()}
    if shape is None:
        templates = {name: f"{{{by_lower[name]}}}" for name in (*NEEDED, *OPTIONAL) if name in by_lower}
    for name, column in given.items():
        missing = [part for part in _parts(column, heading) if part not in heading]
        if missing:
            raise VideoError(
                f"--column {name}={column}: {where} has no column {missing[0]!r}; it has {list(heading)}.{nearest(missing[0], list(heading))}"
            )
        templates[name] = _template(column, heading)
    for name in NEEDED:
        if name not in templates and not (name == "split" and has_split):
            hint = " Or have one table for each split in a folder, with its name in the file's." if name == "split" else ""
            raise VideoError(
                f"{where} has no column {name!r}; it has {list(heading)}.{nearest(name, list(heading))} Expected file, start, end, label, split; "
                f"say which of these it is: --column {name}=COLUMN, or put it together: --column file='{{A}}/{{B}}.mp4'.{hint}"
            )
    return Columns(templates=templates, shape=shape)


def _parts(column: str, heading: Sequence[str]) -> list[str]:
    if column in heading or "{" not in column:
        return [column]
    if not re.fullmatch(r"(?:[^{}]|\{[^{}]+\})*", column):
        raise VideoError(f"--column {column}: braces do not fit each other; expected such as '{{video}}/{{clip}}.mp4'.")
    return re.findall(r"\{([^{}]+)\}", column)


def _template(column: str, heading: Sequence[str]) -> str:
    return f"{{{column}}}" if column in heading or "{" not in column else column
