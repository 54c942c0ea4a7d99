"""The table that turns a folder of videos into a training store: one line an utterance, with the columns file, start, end, label, split.

`file` is the name (or the end of the path) of one of the given videos; it only ever chooses among them and is never opened. `start` and `end`
are seconds; left empty, they are the video's. Further columns are taken where they are there: `text` (what is said in the utterance), `group`
(speaker; by default the video) and `id`.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from multigrain.data.readers.base import SPLIT_NAMES
from multigrain.errors import VideoError, nearest
from multigrain.video.transcript import clean_text
from multigrain.video.words import GivenSegment

COLUMNS = ("file", "start", "end", "label", "split")
OPTIONAL_COLUMNS = ("text", "group", "id")


@dataclass(frozen=True, kw_only=True)
class LabelledSegment:
    """One line of the table.

    Attributes:
        segment: its place in the video, and its text where that is known.
        label: the score.
        split: `train`, `valid` or `test`.
        group, id: None where the table does not say.
    """

    segment: GivenSegment
    label: float
    split: str
    group: str | None = None
    id: str | None = None


def read_labels(path: str | Path, videos: Sequence[Path]) -> dict[Path, list[LabelledSegment]]:
    """The labelled utterances of each video that has any, in the table's order.

    Raises:
        VideoError: no such table, a column is missing, a line names no given video or more than one, or a value is not what it should be.
    """
    path = Path(path)
    if not path.is_file():
        raise VideoError(f"There is no table of labels at {path}: {'it is a folder' if path.is_dir() else 'no such file'}. Check the path.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise VideoError(f"{path} cannot be read as a table in UTF-8 ({error}). Save it again as CSV in UTF-8.") from error
    if not rows:
        raise VideoError(f"{path} lists no utterance. Expected the heading {','.join(COLUMNS)} and one line an utterance.")
    heading = [name for name in rows[0] if name is not None]
    for name in COLUMNS:
        if name not in heading:
            raise VideoError(f"{path} has no column {name!r}; it has {heading}.{nearest(name, heading)} Expected {', '.join(COLUMNS)}.")
    has_text = [bool((row.get("text") or "").strip()) for row in rows]
    found: dict[Path, list[LabelledSegment]] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{path}, line {number}"
        video = _video(row["file"] or "", videos, where)
        found.setdefault(video, []).append(_labelled(row, where, has_text=any(has_text)))
    return found


def unique_names(videos: Sequence[Path]) -> dict[Path, str]:
    """A name for each video: its file's without ending, or as much of its path as tells it from the others.

    >>> sorted(unique_names([Path("/a/x/talk.mp4"), Path("/a/y/talk.mp4"), Path("/a/b.mp4")]).values())
    ['b', 'x/talk', 'y/talk']
    """
    names = {}
    for video in videos:
        parts = video.with_suffix("").parts
        others = [other.with_suffix("").parts for other in videos if other != video]
        depth = next((depth for depth in range(1, len(parts)) if not any(other[-depth:] == parts[-depth:] for other in others)), 0)
        names[video] = clean_text("/".join(parts[-depth:]) if depth else video.name) or "video"
    return names


def _video(name: str, videos: Sequence[Path], where: str) -> Path:
    parts = PurePath(name.strip()).parts
    chosen = [video for video in videos if parts and video.parts[-len(parts) :] == parts]
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        raise VideoError(
            f"{where}: the file {name!r} is {len(chosen)} of the given videos: {', '.join(map(str, chosen[:3]))}. Write more of its path."
        )
    hint = nearest(PurePath(name).name, [video.name for video in videos])
    raise VideoError(f"{where}: the file {name[:100]!r} is none of the {len(videos)} given videos.{hint} Give it too, or mend the line.")


def _labelled(row: Mapping[str, str | None], where: str, *, has_text: bool) -> LabelledSegment:
    start, end = _seconds(row["start"], "start", where), _seconds(row["end"], "end", where)
    if end is not None and end <= (start or 0.0):
        raise VideoError(f"{where}: the utterance ends at {end:g} s and begins at {start or 0.0:g} s. Mend its times.")
    split = (row["split"] or "").strip().lower()
    if split not in SPLIT_NAMES:
        raise VideoError(f"{where}: the split is {row['split']!r}; expected train, valid or test.{nearest(split, ['train', 'valid', 'test'])}")
    try:
        label = float(row["label"] or "")
    except ValueError:
        label = math.nan
    if not math.isfinite(label):
        raise VideoError(f"{where}: the label is {row['label']!r}; expected a number, such as 1.4.")
    text = clean_text(row.get("text") or "") if has_text else None
    return LabelledSegment(
        segment=GivenSegment(start, end, text),
        label=label,
        split=SPLIT_NAMES[split],
        group=clean_text(row.get("group") or "") or None,
        id=clean_text(row.get("id") or "") or None,
    )


def _seconds(text: str | None, name: str, where: str) -> float | None:
    if not (text or "").strip():
        return None
    try:
        seconds = float(text or "")
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise VideoError(f"{where}: {name} is {text!r}; expected seconds, such as 12.5, or nothing for the video's own {name}.")
    return seconds
