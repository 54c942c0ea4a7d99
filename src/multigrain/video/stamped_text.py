"""Plain text (.txt): with time stamps, as Otter, Zoom, YouTube's page and whisper's console write them, or without."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from multigrain.errors import VideoError
from multigrain.video.limits import Limits
from multigrain.video.repeated_cues import ShownCue
from multigrain.video.speakers import speaker_note, with_speakers
from multigrain.video.spoken import Transcript, Turn, counted
from multigrain.video.subtitle_markup import is_credit
from multigrain.video.subtitle_times import seconds_of_clock, timing
from multigrain.video.subtitles import read_subtitles, speakers_of, spoken_cues
from multigrain.video.text_cleaning import clean_text

_CLOCK = r"(?:\d{1,2}:)?\d{1,3}:\d{2}(?:[.,]\d{1,3})?"
_AT_START = re.compile(
    rf"(?P<open>[\[(<]?)(?P<start>{_CLOCK})(?: ?(?:-->|→|[-–—]) ?(?P<end>{_CLOCK}))?[\])>]?(?P<mark> ?[-–—:|] |:$|)(?= |$)(?P<rest>.*)"
)
_AT_END = re.compile(rf"(?P<name>[^\d\s][^:]{{0,59}}?)[ :,|–-]* [\[(<]?(?P<start>{_CLOCK})[\])>]?:?$")
_NAME_FIRST = re.compile(rf"(?P<name>[^\d\s:\[\](][^:\[\]()]{{0,59}}?) ?[\[(](?P<start>{_CLOCK})[\])]:? (?P<rest>.*)")
_BRACKETED_NAME = re.compile(r"\[([^\[\]]{1,60})\]$")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])(?=[^”’」』）)。！？])")
_BACKWARDS_SHARE = 0.1


@dataclass
class _Passage:
    """What follows a time stamp."""

    start: float
    end: float | None
    speaker: str | None
    lines: list[str] = field(default_factory=list)


def read_text(path: Path, text: str, limits: Limits) -> Transcript:
    """Reads plain text: as cues where its lines have time stamps, else as sentences.

    Raises:
        VideoError: a sentence is longer than the limits allow.
    """
    if any(timing(line) is not None for line in text.split("\n")):  # subtitles that are called .txt, as an upload without a known ending is
        return read_subtitles(path, text, limits)
    lines = [clean_text(line) for line in text.split("\n")]
    longest = max((part for line in lines for part in sentences_of(line)), key=len, default="")
    if len(longest) > limits.line_characters:
        raise VideoError(
            f"{path} has a sentence of {len(longest)} characters; at most {limits.line_characters} are allowed. Check that it is the right file."
        )
    passages, before = _passages([line for line in lines if line])
    return _plain([line for line in lines if line]) if passages is None else _stamped(passages, before)


def sentences_of(line: str) -> list[str]:
    """A line cut after the ends of its sentences.

    >>> sentences_of("I liked it. Very much! 很好。我喜欢。")
    ['I liked it.', 'Very much!', '很好。', '我喜欢。']
    """
    return [part.strip() for part in _SENTENCE_END.split(line) if part.strip()]


def _plain(lines: Sequence[str]) -> Transcript:
    notes: list[str] = []
    kept = [line for line in lines if not is_credit(line)]
    if len(kept) < len(lines):
        notes.append(f"{counted(len(lines) - len(kept), 'line', 'lines')} about the transcript itself left out: not spoken.")
    named = with_speakers([[Turn(line)] for line in kept], is_continued=True)
    turns = [Turn(part, turn.speaker) for line in named for turn in line for part in sentences_of(turn.text)]
    return Transcript(origin="text", sentences=tuple(turns), notes=notes + speaker_note(turn.speaker for turn in turns))


def _stamped(passages: Sequence[_Passage], before: Sequence[str]) -> Transcript:
    notes = [f"The text has time stamps; its {counted(len(passages), 'passage was', 'passages were')} placed by them."]
    if before:
        notes.append(f"{counted(len(before), 'line', 'lines')} before the first time stamp, such as {before[0][:60]!r}, left out.")
    ordered = sorted(passages, key=lambda passage: passage.start)
    shown = []
    for number, passage in enumerate(ordered):
        later = next((one.start for one in ordered[number + 1 :] if one.start > passage.start), math.inf)
        end = later if passage.end is None or passage.end <= passage.start else passage.end
        shown.append(ShownCue(passage.start, end, [Turn(line, passage.speaker) for line in passage.lines]))
    spoken = spoken_cues(shown, notes)
    return Transcript(origin="subtitles", cues=tuple(spoken), notes=notes + speaker_note(speakers_of(spoken)))


def _passages(lines: Sequence[str]) -> tuple[list[_Passage] | None, list[str]]:
    """The text by its time stamps, and what is before the first; None where it has no stamps that can be times of a transcript."""
    found: list[_Passage] = []
    before: list[str] = []
    for line in lines:
        opened = _opened(line)
        if opened is not None:
            found.append(opened)
        elif found:
            found[-1].lines.append(line)
        else:
            before.append(line)
    name = _BRACKETED_NAME.match(before[-1]) if before and found and not found[0].speaker else None
    if not found or not _is_transcript(found, lines):
        return None, []
    return found, before[:-1] if name else before


def _opened(line: str) -> _Passage | None:
    """The passage that a line opens, or None: `0:12 words`, `[0:12 --> 0:15] words`, `Name 0:12`, `Name (0:12): words`, `[Name] 0:12`."""
    if (found := _AT_START.match(line)) is not None:
        start, end = seconds_of_clock(found["start"]), seconds_of_clock(found["end"] or "")
        rest = found["rest"].strip()
        return None if start is None else _Passage(start, end, None, [rest] if rest else [])
    if (found := _NAME_FIRST.match(line)) is not None or (found := _AT_END.match(line)) is not None:
        start, name = seconds_of_clock(found["start"]), found["name"].strip(" []:")
        rest = found["rest"].strip() if "rest" in found.groupdict() else ""
        is_name = 0 < len(name.split()) <= 5 and not name.endswith((".", "!", "?", ","))
        return _Passage(start, None, name, [rest] if rest else []) if start is not None and is_name else None
    return None


def _is_transcript(passages: Sequence[_Passage], lines: Sequence[str]) -> bool:
    """Whether the stamps go forward, as those of a transcript do, and begin the text or stand throughout it."""
    backwards = sum(after.start < before.start for before, after in pairwise(passages))
    if backwards > _BACKWARDS_SHARE * len(passages):
        return False
    begins = _opened(lines[0]) is not None
    return begins if len(passages) == 1 else begins or 4 * len(passages) >= len(lines)
