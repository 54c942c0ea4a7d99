"""The table that turns a folder of videos into a training store: one line an utterance, with the columns file, start, end, label, split.

`file` is the name (or the end of the path) of one of the given videos, with or without its ending; it only ever chooses among them and is never
opened. `start` and `end` are seconds or HH:MM:SS; left empty, they are the video's. Further columns are taken where they are there: `text` (what
is said in the utterance; where a line has none, its transcript says), `group` (speaker; by default the video) and `id`. Other names:
`label_columns.py`. A folder with one table for each split is read as one.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath

from multigrain.data.readers.base import SPLIT_NAMES
from multigrain.data.readers.csv_tables import SECONDS, CsvTable, read_csv_table
from multigrain.data.readers.transcripts import split_files
from multigrain.errors import DataError, VideoError, first_few, nearest
from multigrain.video.label_columns import Columns, find_columns
from multigrain.video.spoken import counted
from multigrain.video.transcript import clean_text
from multigrain.video.words import GivenSegment

DEFAULT_RANGE = (-3.0, 3.0)


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


@dataclass(kw_only=True)
class Labels:
    """What a table says.

    Attributes:
        lines: the labelled utterances of each video that has any, in the table's order.
        label_range: that the labels are in.
        num_missing: lines whose file is none of the given videos.
        notes: what was left out, and what was decided.
    """

    lines: dict[Path, list[LabelledSegment]] = field(default_factory=dict)
    label_range: tuple[float, float] = DEFAULT_RANGE
    num_missing: int = 0
    notes: list[str] = field(default_factory=list)


def read_labels(
    path: str | Path,
    videos: Sequence[Path],
    *,
    columns: Mapping[str, str] | None = None,
    label_values: Mapping[str, float] | None = None,
    label_range: tuple[float, float] | None = None,
    is_strict: bool = False,
) -> Labels:
    """The labelled utterances of the given videos.

    Args:
        path: the table, or a folder with one for each split.
        videos: that it is about.
        columns: ours -> the table's; see `label_columns.find_columns`.
        label_values: the score of labels that are words.
        label_range: lowest and highest label; by default that of the published table, else -3 to 3.
        is_strict: refuse a line whose file is none of the videos, in place of leaving it out with a note.

    Raises:
        VideoError: no such table, a column is missing, no line names a given video, a line names more than one, two lines are the same, or a value
            is not what it should be.
    """
    path = Path(path)
    if not path.exists():
        raise VideoError(f"There is no table of labels at {path}: no such file. Check the path.")
    found, missing, shape, index = Labels(), [], None, _Videos(videos)
    names = [video.name for video in videos]
    try:
        files = split_files(path)
    except DataError as error:
        raise VideoError(str(error)) from error
    for file, split in files.items():
        try:
            table = read_csv_table(file)
        except DataError as error:
            raise VideoError(str(error)) from error
        if not table.rows:
            raise VideoError(f"{file} lists no utterance. Expected the heading file,start,end,label,split and one line an utterance.")
        reader = _TableReader(
            file, table, split, find_columns(table.heading, columns or {}, str(file), has_split=split is not None), label_values or {}
        )
        shape = reader.columns.shape or shape
        found.notes += table.notes
        for number, row in table.rows:
            video = reader.video(row, number, index, names, is_strict=is_strict)
            if video is None:
                missing.append(f"line {number} ({reader.columns.cell(row, 'file')})")
            else:
                found.lines.setdefault(video, []).append(reader.line(row, number))
    if shape is not None:
        found.notes.insert(0, f"The table is that of {shape.name}: {shape.note}.")
    _note_missing(found, missing, path, videos)
    labels = [line.label for lines in found.lines.values() for line in lines]
    found.label_range = label_range or (shape.label_range if shape and shape.label_range else _range_of(labels, shape is not None, found.notes))
    _check_range(found, path)
    _check_twice(found, path)
    return found


@dataclass(frozen=True)
class _TableReader:
    file: Path
    table: CsvTable
    split: str | None
    columns: Columns
    label_values: Mapping[str, float]

    def video(self, row: Mapping[str, str], number: int, videos: "_Videos", names: Sequence[str], *, is_strict: bool) -> Path | None:
        """The video that a line is about; None where it is none of the given ones."""
        where, name = f"{self.file}, line {number}", self.columns.cell(row, "file")
        if not name:
            raise VideoError(f"{where}: no file is named. Every line needs one; mend it or take it out.")
        chosen = videos.matching(name)
        if self._counts_anew:  # `dia0_utt0.mp4` is another clip in each split
            chosen = [video for video in chosen if split_of_folders(video) in (None, self._split(row, where))]
        elif len(chosen) > 1:
            own = [video for video in chosen if split_of_folders(video) == self._split(row, where)]
            chosen = own if len(own) == 1 else chosen
        if len(chosen) > 1:
            raise VideoError(
                f"{where}: the file {name!r} is {len(chosen)} of the given videos: {', '.join(map(str, chosen[:3]))}. Write more of its path."
            )
        if chosen:
            return chosen[0]
        if is_strict:
            hint = nearest(PurePosixPath(name).name, list(names))
            raise VideoError(f"{where}: the file {name[:100]!r} is none of the {len(names)} given videos.{hint} Give it too, or mend the line.")
        return None

    def line(self, row: Mapping[str, str], number: int) -> LabelledSegment:
        """What a line says."""
        where = f"{self.file}, line {number}"
        start, end = (self._seconds(self.columns.cell(row, name), name, where) for name in ("start", "end"))
        if end is not None and end <= (start or 0.0):
            raise VideoError(f"{where}: the utterance ends at {end:g} s and begins at {start or 0.0:g} s. Mend its times.")
        split, group = self._split(row, where), clean_text(self.columns.cell(row, "group")) or None
        if group is not None and self._counts_anew:
            group = f"{split}-{group}"
        return LabelledSegment(
            segment=GivenSegment(start, end, clean_text(self.columns.cell(row, "text")) or None),
            label=self._label(self.columns.cell(row, "label"), where),
            split=split,
            group=group,
            id=clean_text(self.columns.cell(row, "id")) or None,
        )

    @property
    def _counts_anew(self) -> bool:
        """Whether the published table counts its dialogues anew in each split, as MELD does."""
        return self.columns.shape is not None and "split" not in self.columns.shape.columns

    def _seconds(self, text: str, name: str, where: str) -> float | None:
        try:
            return self.table.seconds(text) if text else None
        except ValueError as error:
            raise VideoError(f"{where}: {name} is {text!r}; expected {SECONDS}, or nothing for the video's own {name}.") from error

    def _split(self, row: Mapping[str, str], where: str) -> str:
        split = self.columns.cell(row, "split").lower() or self.split or ""
        if split not in SPLIT_NAMES:
            raise VideoError(f"{where}: the split is {split!r}; expected train, valid or test.{nearest(split, ['train', 'valid', 'test'])}")
        return SPLIT_NAMES[split]

    def _label(self, text: str, where: str) -> float:
        values = {**(self.columns.shape.label_values if self.columns.shape else {}), **self.label_values}
        for spelling in (text, text.lower()):
            if spelling in values:
                return values[spelling]
        try:
            label = self.table.number(text)
        except ValueError:
            label = math.nan
        if not math.isfinite(label):
            known = f" Values were given for {', '.join(values)}." if values else ""
            raise VideoError(
                f"{where}: the label is {text[:60]!r}; expected a number, such as 1.4.{known} Give a word its number: --label-value "
                f"{re.sub(r'[^A-Za-z0-9_-]', '', text) or 'WORD'}=NUMBER."
            )
        return label


def unique_names(videos: Sequence[Path]) -> dict[Path, str]:
    """A name for each video: its file's without ending, or as much of its path as tells it from the others.

    >>> sorted(unique_names([Path("/a/x/talk.mp4"), Path("/a/y/talk.mp4"), Path("/a/b.mp4")]).values())
    ['b', 'x/talk', 'y/talk']
    """
    names = {}
    alike: dict[str, list[Path]] = {}
    for video in videos:
        alike.setdefault(video.stem, []).append(video)
    for video in videos:
        parts = video.with_suffix("").parts
        others = [other.with_suffix("").parts for other in alike[video.stem] if other != video]
        depth = next((depth for depth in range(1, len(parts)) if not any(other[-depth:] == parts[-depth:] for other in others)), 0)
        names[video] = clean_text("/".join(parts[-depth:]) if depth else video.name) or "video"
    return names


def split_of_folders(video: Path) -> str | None:
    """The split that the nearest folder of a video names, where one names exactly one.

    >>> split_of_folders(Path("/MELD.Raw/dev_splits_complete/dia0_utt0.mp4")), split_of_folders(Path("/home/ann/dia0_utt0.mp4"))
    ('valid', None)
    """
    for folder in video.parents:
        words = set(re.findall(r"[a-z]+", folder.name.lower()))
        if splits := {split for name, split in SPLIT_NAMES.items() if name in words}:
            return splits.pop() if len(splits) == 1 else None
    return None


class _Videos:
    """The given videos, found by their names."""

    def __init__(self, videos: Sequence[Path]) -> None:
        self.by_name: dict[str, list[Path]] = {}
        for video in videos:
            for name in {video.name, video.stem}:
                self.by_name.setdefault(name, []).append(video)

    def matching(self, name: str) -> list[Path]:
        """Those whose path ends as a line says: exactly, with another separator, without its ending, or with zeros before a number."""
        for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
            parts = PurePosixPath(spelling).parts
            if not parts or ".." in parts:
                continue
            for last in dict.fromkeys((parts[-1], parts[-1].zfill(4))):
                candidates = [video for video in self.by_name.get(last, []) if video.parts[-len(parts) : -1] == parts[:-1]]
                exact = [video for video in candidates if video.name == last]
                if exact or candidates:
                    return exact or candidates
        return []


def _note_missing(found: Labels, missing: list[str], path: Path, videos: Sequence[Path]) -> None:
    found.num_missing = len(missing)
    if missing and not found.lines:
        raise VideoError(
            f"{path}: none of its {len(missing)} lines names one of the {len(videos)} given videos; the first is {missing[0]}, the first video is "
            f"{videos[0].name if videos else 'none'}. Say what is in which column with --column file=COLUMN, or give the videos."
        )
    if missing:
        which = counted(len(missing), f"line of {path.name} names", f"lines of {path.name} name")
        left_out = f"{'was' if len(missing) == 1 else 'were'} left out: {first_few(missing)}."
        found.notes.append(f"{which} none of the {len(videos)} given videos and {left_out}")
    without = [video.name for video in videos if video not in found.lines]
    if without:
        has, was = ("has", "was") if len(without) == 1 else ("have", "were")
        found.notes.append(f"{len(without)} of the {len(videos)} videos {has} no line in {path.name} and {was} left out: {first_few(without)}.")


def _range_of(labels: Sequence[float], is_published: bool, notes: list[str]) -> tuple[float, float]:
    if is_published and labels and max(map(abs, labels)) <= 1:
        notes.append("All labels lie in -1..1, which was taken for their range, as SIMS has it; --range says otherwise.")
        return (-1.0, 1.0)
    return DEFAULT_RANGE


def _check_range(found: Labels, path: Path) -> None:
    low, high = found.label_range
    outside = [line for lines in found.lines.values() for line in lines if not low <= line.label <= high]
    if outside:
        raise VideoError(
            f"{path}: {counted(len(outside), 'label is', 'labels are')} outside the range {low:g} to {high:g}, the first {outside[0].label:g}. Mend "
            "them, or say which range the labels have: --range LOWEST HIGHEST."
        )


def _check_twice(found: Labels, path: Path) -> None:
    for video, lines in found.lines.items():
        places = [(line.segment.start or 0.0, math.inf if line.segment.end is None else line.segment.end) for line in lines]
        place, count = Counter(places).most_common(1)[0]
        if count > 1:
            until = "its end" if math.isinf(place[1]) else f"{place[1]:g} s"
            raise VideoError(f"{path}: {count} lines label the same part of {video.name}, from {place[0]:g} s to {until}. Keep one of them.")
    overlapping = []
    for video, lines in found.lines.items():
        ends = sorted((line.segment.start or 0.0, math.inf if line.segment.end is None else line.segment.end) for line in lines)
        overlapping += [video.name for (_, end), (start, _) in pairwise(ends) if start < end]
    if overlapping:
        found.notes.append(
            f"{counted(len(overlapping), 'utterance begins', 'utterances begin')} before the previous one has ended: {first_few(overlapping)}. "
            "Each is cut out as its line says."
        )


def without_lines(labels: Mapping[Path, Sequence[LabelledSegment]], skipped: Mapping[Path, Sequence[int]]) -> dict[Path, list[LabelledSegment]]:
    """The lines but those of the given numbers."""
    return {video: [line for number, line in enumerate(lines) if number not in set(skipped.get(video, ()))] for video, lines in labels.items()}
