"""From the lines of an SRT or WebVTT file to its cues: which lines are times, which are identifiers and comments, and which are text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from multigrain.video.subtitle_times import timing

_MANY_EMPTY = re.compile(r"\n{3,}")  # which mean no more than one
_COMMENT = re.compile(r"NOTE(?=$|[ \t])|(?:STYLE|REGION)[ \t]*$")
_COMMENT_ALONE = re.compile(r"(?:NOTE|STYLE|REGION)[ \t]*$")
_LOOKS_TIMED = re.compile(r"[ \t]*-?\d+[:.,;][^>]{0,40}(?:--+>|[–—]>|→)[ \t]*-?\d")


@dataclass
class Block:
    """A cue as it stands in the file."""

    start: float
    end: float
    lines: list[str] = field(default_factory=list)


@dataclass
class Blocks:
    """The cues of a file in its order, and the lines that belong to none.

    Attributes:
        blocks: the cues.
        stray: lines of text outside of every cue.
        unreadable: lines that look like a cue's times and cannot be read.
        commented: cues within comments.
        comments: of SRT, which knows none.
    """

    blocks: list[Block] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    commented: int = 0
    comments: list[str] = field(default_factory=list)


def read_blocks(text: str, *, is_webvtt: bool, has_notes: bool) -> Blocks:
    """The cues of a file.

    Args:
        text: of the file, its lines ended by `\\n`.
        has_notes: a line that begins with NOTE is a comment, as in WebVTT; in SRT only one of which NOTE is the whole line.
        is_webvtt: an empty line ends a cue; in SRT what follows it up to the next cue's identifier and times is text of the same cue.
    """
    lines = _without_comments(_MANY_EMPTY.sub("\n\n", text).split("\n"), has_notes, found := Blocks())
    times = {index: when for index, line in enumerate(lines) if "-" in line or "→" in line if (when := timing(line)) is not None}
    marks = sorted([*times, *(index for index, line in enumerate(lines) if index not in times and _LOOKS_TIMED.match(line))])
    begins = _identifier_lines(lines, marks, is_webvtt)
    first = begins.get(marks[0], marks[0]) if marks else len(lines)
    found.stray += [line for line in _after_header(lines[:first], is_webvtt) if line.strip()]
    for place, mark in enumerate(marks):
        end = begins.get(marks[place + 1], marks[place + 1]) if place + 1 < len(marks) else len(lines)
        content = lines[mark + 1 : end]
        if mark not in times:
            found.unreadable.append(lines[mark].strip())
            continue
        if is_webvtt and "" in content:
            cut = content.index("")
            found.stray += [line for line in content[cut:] if line.strip()]
            content = content[:cut]
        start, end_time, written = times[mark]
        found.blocks.append(Block(start, end_time, [written, *content] if written else content))
    return found


def _after_header(lines: list[str], is_webvtt: bool) -> list[str]:
    """What stands before the first cue, without WebVTT's header, which ends with the first empty line."""
    if not is_webvtt:
        return lines
    return lines[lines.index("") :] if "" in lines else []


def _without_comments(lines: list[str], has_notes: bool, found: Blocks) -> list[str]:
    """The lines without NOTE, STYLE and REGION blocks: they begin after an empty line and end before the next."""
    kept: list[str] = []
    is_comment, is_after_empty = False, True
    for line in lines:
        is_empty = not line.strip()
        if is_empty:
            is_comment = False
        elif is_after_empty and (_COMMENT if has_notes else _COMMENT_ALONE).match(line):
            is_comment = True
            found.comments += [] if has_notes else [""]
        elif is_comment and not has_notes:
            found.comments[-1] = f"{found.comments[-1]} {line.strip()}".strip()
        if not is_comment:
            kept.append(line)
        elif timing(line) is not None:
            found.commented += 1
        is_after_empty = is_empty
    return kept


def _identifier_lines(lines: Sequence[str], marks: Sequence[int], is_webvtt: bool) -> dict[int, int]:
    """Line of a cue's times -> line of its identifier, for the cues that have one.

    The line before the times is an identifier where an empty line (or nothing) is before it: in WebVTT always, in SRT where it is a number, or the
    file's cues mostly have names there. A number is one also without empty line, where it counts on from the one before; so is any line where the
    file has no empty ones, begins with one, and has one before all times with text of the cue above it.
    """
    separated = {}
    for mark in marks:
        before = mark - 1
        if before >= 0 and lines[before].strip() and (before == 0 or not lines[before - 1].strip()):
            separated[mark] = before
    numbers = {mark for mark, before in separated.items() if lines[before].strip().isdigit()}
    are_named = is_webvtt or len(separated) - len(numbers) > len(marks) / 2
    is_unspaced = marks[:1] == [1] and len(marks) > 1 and all(lines[: marks[-1]]) and all(other - one > 2 for one, other in pairwise(marks))
    chosen: dict[int, int] = {}
    last = None
    for mark in marks:
        before = mark - 1
        written = lines[before].strip() if before >= 0 else ""
        number = int(written) if written.isdecimal() and len(written) < 10 else None
        counts_on = number is not None and (before == 0 or (last is not None and number == last + 1))
        if counts_on or (mark in separated and (number is not None or are_named)) or is_unspaced:
            chosen[mark] = before
        last = number if mark in chosen and number is not None else last
    return chosen
