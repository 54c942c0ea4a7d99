"""Plain text (.txt): with time stamps, as Otter, Zoom, YouTube's page and whisper's console write them, or without."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from multigrain.errors import VideoError
from multigrain.video.limits import Limits
from multigrain.video.repeated_cues import ShownCue
from multigrain.video.speakers import is_name, is_numbered, speaker_note, with_speakers
from multigrain.video.spoken import Transcript, Turn, counted, first_pieces
from multigrain.video.subtitle_markup import is_credit, spoken_part
from multigrain.video.subtitle_times import seconds_of_clock, timing
from multigrain.video.subtitles import described_note, read_subtitles, speakers_of, spoken_cues
from multigrain.video.text_cleaning import clean_text

_CLOCK = r"(?:\d{1,2}:)?\d{1,3}:\d{2}(?:[.,]\d{1,3})?(?: ?[AaPp]\.?[Mm]\b\.?)?"
_AT_START = re.compile(
    rf"(?P<open>[\[(<]?)(?P<start>{_CLOCK})(?: ?(?:-->|→|[-–—]) ?(?P<end>{_CLOCK}))?[\])>]?(?P<mark> ?[-–—:|] |:$|)(?= |$)(?P<rest>.*)"
)
_AT_END = re.compile(rf"(?P<name>[^\d\s][^:]{{0,59}}?)[ :,|–-]* [\[(<]?(?P<start>{_CLOCK})[\])>]?:?$")
_NAME_FIRST = re.compile(rf"(?P<name>[^\d\s:\[\](][^:\[\]()]{{0,59}}?) ?[\[(](?P<start>{_CLOCK})[\])]:? (?P<rest>.*)")
_HALF_OF_THE_DAY = re.compile(r" ?([AaPp])\.?[Mm]\.?$")
_LABEL_LINE = re.compile(r"[ ]*(?P<start>\d{1,9}(?:[.,]\d{1,9})?)\t(?P<end>\d{1,9}(?:[.,]\d{1,9})?)(?:\t(?P<text>.*))?")
_BRACKETED_NAME = re.compile(r"\[([^\[\]]{1,60})\]$")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])(?=[^”’」』）)。！？])")
_BACKWARDS_SHARE = 0.1
_LATEST_BEGINNING = 60.0  # seconds: names that stand once are speakers where the stamps begin before, or are times of day


@dataclass
class _Passage:
    """What follows a time stamp.

    Attributes:
        start, end: in seconds; the end is None where it is not said.
        speaker: the name beside the stamp.
        lines: its text.
        is_marked: the stamp is in brackets or a range, as no sentence has one.
        is_long: it has hours, or is a time of day.
    """

    start: float
    end: float | None
    speaker: str | None
    lines: list[str] = field(default_factory=list)
    is_marked: bool = False
    is_long: bool = False


def read_text(path: Path, text: str, limits: Limits) -> Transcript:
    """Reads plain text: as cues where its lines have time stamps, else as sentences.

    Raises:
        VideoError: a sentence is longer than the limits allow.
    """
    if any(timing(line) is not None for line in text.split("\n")):  # subtitles that are called .txt, as an upload without a known ending is
        return read_subtitles(path, text, limits)
    if labels := _labels(text.split("\n")):
        return _stamped(labels, [])
    lines = [clean_text(line) for line in text.split("\n")]
    longest = max((part for line in lines for part in sentences_of(line)), key=len, default="")
    if len(longest) > limits.line_characters:
        raise VideoError(
            f"{path} has a sentence of {len(longest)} characters; at most {limits.line_characters} are allowed. Check that it is the right file."
        )
    passages, before = _passages([line for line in lines if line])
    return plain_text([Turn(line) for line in lines if line]) if passages is None else _stamped(passages, before)


def sentences_of(line: str) -> list[str]:
    """A line cut after the ends of its sentences.

    >>> sentences_of("I liked it. Very much! 很好。我喜欢。")
    ['I liked it.', 'Very much!', '很好。', '我喜欢。']
    """
    return [part.strip() for part in _SENTENCE_END.split(line) if part.strip()]


def plain_text(lines: Sequence[Turn]) -> Transcript:
    """The sentences of lines without times, and who says them."""
    notes: list[str] = []
    kept = [line for line in lines if not is_credit(line.text)]
    if len(kept) < len(lines):
        credits = [line.text for line in lines if is_credit(line.text)]
        notes.append(f"{counted(len(credits), 'line', 'lines')} about the transcript itself ({first_pieces(credits)}) left out: not spoken.")
    turns: list[Turn] = []
    described: list[str] = []
    for line in (turn for named in with_speakers([[line] for line in kept], is_continued=True) for turn in named):
        spoken, parts = spoken_part(line.text)
        described += parts
        turns += [Turn(part, line.speaker) for part in sentences_of(spoken)]
    notes += described_note(described)
    return Transcript(origin="text", sentences=tuple(turns), notes=notes + speaker_note(turn.speaker for turn in turns))


def _labels(lines: Sequence[str]) -> list[_Passage]:
    """The passages of Audacity's labels, `start<TAB>end<TAB>text` in seconds, where all lines are such; those that begin with `\\` are of pitches."""
    written = [line for line in lines if line.strip() and not line.startswith("\\")]
    found = [_LABEL_LINE.fullmatch(line) for line in written]
    if not any(one is not None and (one["text"] or "").strip() for one in found):
        return []
    passages = []
    for one in found:
        if one is None or one["text"] is None:
            return []
        start, end = (float(one[name].replace(",", ".")) for name in ("start", "end"))
        passages.append(_Passage(start, end, None, [text] if (text := clean_text(one["text"])) else []))
    return passages


def _stamped(passages: Sequence[_Passage], before: Sequence[str]) -> Transcript:
    notes: list[str] = []
    if before:
        notes.append(f"{counted(len(before), 'line', 'lines')} before the first time stamp, such as {first_pieces(before)}, left out.")
    ordered = sorted(passages, key=lambda passage: passage.start)
    later = [math.inf] * len(ordered)  # the next start that is not the same
    for place in range(len(ordered) - 2, -1, -1):
        later[place] = ordered[place + 1].start if ordered[place + 1].start > ordered[place].start else later[place + 1]
    shown = []
    for passage, following in zip(ordered, later, strict=True):
        end = following if passage.end is None or passage.end <= passage.start else passage.end
        shown.append(ShownCue(passage.start, end, [Turn(line, passage.speaker) for line in passage.lines]))
    spoken = spoken_cues(shown, notes)
    if spoken:
        notes.insert(0, f"The text has time stamps; its {counted(len(passages), 'passage was', 'passages were')} placed by them.")
    return Transcript(origin="subtitles", cues=tuple(spoken), notes=notes + speaker_note(speakers_of(spoken)))


def _passages(lines: Sequence[str]) -> tuple[list[_Passage] | None, list[str]]:
    """The text by its time stamps, and what is before the first; None where it has no stamps that can be times of a transcript."""
    opened = _without_other_times([_opened(line) for line in lines])
    found: list[_Passage] = []
    before: list[str] = []
    for line, passage in zip(lines, opened, strict=True):
        if passage is not None:
            found.append(passage)
        elif found:
            found[-1].lines.append(line)
        else:
            before.append(line)
    name = _BRACKETED_NAME.match(before[-1]) if before and found and not found[0].speaker else None
    if not found or not _is_transcript(found, begins=opened[0] is not None, num_lines=len(lines)):
        return None, []
    return found, before[:-1] if name else before


def _opened(line: str) -> _Passage | None:
    """The passage that a line opens, or None: `0:12 words`, `[0:12 --> 0:15] words`, `Name 0:12`, `Name (0:12): words`, `[Name] 0:12`."""
    if (found := _AT_START.match(line)) is not None:
        start, end = _seconds(found["start"]), _seconds(found["end"] or "")
        rest = found["rest"].strip()
        return None if start is None else _Passage(start, end, None, [rest] if rest else [], bool(found["open"]) or end is not None)
    found = _NAME_FIRST.match(line)
    is_marked = found is not None
    if (found := found or _AT_END.match(line)) is not None:
        start, name = _seconds(found["start"]), found["name"].strip(" []:")
        rest = found["rest"].strip() if is_marked else ""
        is_long = found["start"].count(":") == 2 or _HALF_OF_THE_DAY.search(found["start"]) is not None
        if start is not None and (is_numbered(name) or is_name(name)):
            return _Passage(start, None, name, [rest] if rest else [], is_marked, is_long)
    return None


def _seconds(clock: str) -> float | None:
    """Seconds of a stamp; a time of day with AM or PM in seconds since midnight."""
    half = _HALF_OF_THE_DAY.search(clock)
    if half is None:
        return seconds_of_clock(clock)
    hours, minutes, *seconds = (float(part.replace(",", ".")) for part in clock[: half.start()].split(":"))
    return 3600 * (hours % 12 + 12 * (half[1] in "Pp")) + 60 * minutes + sum(seconds)


def _without_other_times(opened: Sequence[_Passage | None]) -> list[_Passage | None]:
    """The passages without those of which the name is none: one in small letters, or one that stands once while the stamps begin late."""
    named = [one for one in opened if one is not None and one.speaker is not None]
    counts = Counter(one.speaker for one in named)
    is_early = bool(named) and min(one.start for one in named) < _LATEST_BEGINNING
    no_speakers = {
        one.speaker
        for one in named
        if one.speaker is not None and counts[one.speaker] == 1 and (one.speaker[0].islower() or not (is_early or one.is_long or one.is_marked))
    }
    return [None if one is not None and one.speaker in no_speakers else one for one in opened]


def _is_transcript(passages: Sequence[_Passage], *, begins: bool, num_lines: int) -> bool:
    """Whether the stamps go forward, as those of a transcript do, and begin the text or stand throughout it; one alone must look like a stamp."""
    backwards = sum(after.start < before.start for before, after in pairwise(passages))
    if backwards > _BACKWARDS_SHARE * len(passages):
        return False
    if len(passages) == 1:
        return begins and (passages[0].is_marked or passages[0].start == 0)
    return begins or 4 * len(passages) >= num_lines
