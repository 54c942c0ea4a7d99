"""Subtitles (.srt, .vtt, .ass) as what is spoken, by whom, and when.

SRT and WebVTT are read here, line by line (`subtitle_blocks`); ASS by pysubs2 (docs/decisions/transcripts.md says why).
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from multigrain.errors import VideoError
from multigrain.video.limits import Limits
from multigrain.video.parts import import_part
from multigrain.video.repeated_cues import ShownCue, without_repeats
from multigrain.video.speakers import speaker_note, with_speakers
from multigrain.video.spoken import Cue, Transcript, Turn, counted, first_pieces
from multigrain.video.subtitle_blocks import Blocks, read_blocks
from multigrain.video.subtitle_markup import is_credit, plain_lines, spoken_part, voices
from multigrain.video.text_cleaning import clean_text

_READING_SECONDS_PER_CHARACTER = 1 / 15


@dataclass
class _Written:
    """A cue before it is cleaned."""

    start: float
    end: float
    text: str
    speaker: str | None = None


@dataclass
class _Read:
    """The cues of a file, and what the user should know of it."""

    cues: list[_Written] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_subtitles(path: Path, text: str, limits: Limits) -> Transcript:
    """Reads subtitles; what kind they are is seen by their content, where that says so.

    Raises:
        VideoError: a line or subtitle is longer than the limits allow, or an ASS file is damaged.
    """
    _check_lines(path, text, limits)
    is_ass = path.suffix.lower() in (".ass", ".ssa")
    is_webvtt = text.lstrip().startswith("WEBVTT")
    has_notes = is_webvtt or path.suffix.lower() == ".vtt"
    read = _read_ass(path, text) if is_ass else _of_blocks(read_blocks(text, is_webvtt=is_webvtt, has_notes=has_notes))
    for number, cue in enumerate(read.cues, start=1):
        if len(cue.text) > limits.line_characters:
            raise VideoError(f"{path}: subtitle {number} has {len(cue.text)} characters; at most {limits.line_characters} are allowed. Break it up.")
    cues = sorted((cue for cue in read.cues if cue.text.strip()), key=lambda cue: cue.start)
    notes = [*read.notes, *_mend_times(cues)]
    shown = [ShownCue(cue.start, cue.end, _lines(cue)) for cue in cues]
    spoken = spoken_cues(shown, notes)
    return Transcript(origin="subtitles", cues=tuple(spoken), notes=notes + speaker_note(speakers_of(spoken)))


def spoken_cues(shown: Sequence[ShownCue], notes: list[str]) -> list[Cue]:
    """What is spoken of what is shown: each line once, no advertisement, no description of a sound, no name.

    Args:
        shown: in the order of time.
        notes: get what the user should know.
    """
    shown, credits = _without_credits(shown)
    once, repeats = without_repeats(shown)
    named = with_speakers([cue.lines for cue in once], is_continued=False)
    spoken: list[Cue] = []
    described: list[str] = []
    for cue, lines in zip(once, named, strict=True):
        turns = []
        for line in lines:
            text, parts = spoken_part(line.text)
            described += parts
            turns += [Turn(text, line.speaker)] if text else []
        if turns:
            spoken.append(Cue.of_turns(cue.start, cue.end, joined_turns(turns)))
    if repeats:
        notes.append(f"{counted(repeats, 'subtitle repeats', 'subtitles repeat')} the one before; each was taken once, with the time of all repeats.")
    if credits:
        notes.append(f"{counted(len(credits), 'line', 'lines')} about the subtitles themselves ({first_pieces(credits)}) left out: not spoken.")
    notes += described_note(described)
    return spoken


def described_note(described: Sequence[str]) -> list[str]:
    """A sentence that shows which descriptions of sounds were left out; none where there are none."""
    if not described:
        return []
    times = counted(len(described), "description", "descriptions")
    return [f"{times} of sounds in brackets left out, as nobody says them: {first_pieces(described)}."]


def speakers_of(cues: Sequence[Cue]) -> list[str | None]:
    """Who speaks in each part of the cues."""
    return [turn.speaker for cue in cues for turn in cue.parts]


def joined_turns(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Turns that follow each other and are of the same speaker as one."""
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1].speaker == turn.speaker:
            joined[-1] = Turn(f"{joined[-1].text} {turn.text}", turn.speaker)
        else:
            joined.append(turn)
    return tuple(joined)


def _check_lines(path: Path, text: str, limits: Limits) -> None:
    lines = text.split("\n")
    if max(map(len, lines)) <= limits.line_characters:
        return
    for number, line in enumerate(lines, start=1):
        if len(line) > limits.line_characters:
            raise VideoError(
                f"{path}, line {number} has {len(line)} characters; at most {limits.line_characters} are allowed. Check that it is the right file, "
                "or break the line."
            )


def _lines(cue: _Written) -> list[Turn]:
    return [Turn(line, turn.speaker or cue.speaker) for turn in voices(cue.text) for line in plain_lines(turn.text)]


def _without_credits(shown: Sequence[ShownCue]) -> tuple[list[ShownCue], list[str]]:
    credits = [line.text for cue in shown for line in cue.lines if is_credit(line.text)]
    return [ShownCue(cue.start, cue.end, [line for line in cue.lines if not is_credit(line.text)]) for cue in shown], credits


def _mend_times(cues: list[_Written]) -> list[str]:
    """Gives times that cannot be right others, in place: before the video's beginning, or an end before the start."""
    notes = []
    early = sum(cue.start < 0 for cue in cues)
    for cue in cues:
        cue.start = max(0.0, cue.start)
    backwards = [cue for cue in cues if cue.end <= cue.start]
    following = {id(cue): after.start for cue, after in pairwise(cues)}
    for cue in backwards:
        needed = max(1.0, len(cue.text) * _READING_SECONDS_PER_CHARACTER)
        cue.end = min(cue.start + needed, max(following.get(id(cue), float("inf")), cue.start + 0.5))
    if early:
        notes.append(f"{counted(early, 'subtitle begins', 'subtitles begin')} before the video; taken from its beginning on.")
    if backwards:
        which = counted(len(backwards), "subtitle ends before it begins", "subtitles end before they begin")
        notes.append(f"{which}; the end was put to where the text can have been read.")
    return notes


def _of_blocks(found: Blocks) -> _Read:
    cues = [
        _Written(block.start, block.end, "\n".join(re.sub(r"[ \t]+", " ", line) for line in block.lines if line.strip())) for block in found.blocks
    ]
    notes = []
    stray = [clean_text(line) for line in found.stray if clean_text(line)]
    if stray and cues:
        notes.append(f"{counted(len(stray), 'line belongs', 'lines belong')} to no subtitle, such as {first_pieces(stray)}; left out.")
    if found.unreadable:
        examples = first_pieces([clean_text(line) for line in found.unreadable])
        notes.append(f"{counted(len(found.unreadable), 'subtitle has', 'subtitles have')} times that cannot be read, such as {examples}; left out.")
    if comments := [comment for comment in map(clean_text, found.comments) if comment]:
        which = f"{counted(len(comments), 'comment', 'comments')} (a block that begins with NOTE, STYLE or REGION)"
        notes.append(f"{which} left out: {first_pieces(comments)}.")
    if found.commented:
        notes.append(f"{counted(found.commented, 'subtitle is', 'subtitles are')} within NOTE blocks, which are comments; left out.")
    return _Read(cues, notes)


# ASS --------------------------------------------------------------------------------------------------------------------


def _read_ass(path: Path, text: str) -> _Read:
    pysubs2 = import_part("pysubs2", "reading .ass subtitles")
    text = re.sub(r"\[(?![^\[\]\n]*\])", " ", _without_traps(text))  # its sections begin with a bracket that is closed in its line
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of margins and layers that are no numbers, which nothing here reads
            events = pysubs2.SSAFile.from_string(text, format_=path.suffix.lower().lstrip(".")).events
    except Exception as error:  # pysubs2 raises whatever its parsers stumble on, ValueError and KeyError among others
        raise VideoError(f"{path} cannot be read as {path.suffix} subtitles ({error}). Open it in a subtitle editor, or export it again.") from error
    cues = []
    for event in events:
        if not event.is_comment:
            event.text = _without_drawings(event.text)
            cues.append(_Written(event.start / 1000, event.end / 1000, event.plaintext, clean_text(event.name or "") or None))
    return _Read([cue for cue in cues if cue.text.strip()])


def _without_traps(text: str) -> str:
    """The same subtitles without what would keep pysubs2's patterns busy for hours: brackets that are never closed, long runs of spaces and lines.

    Each bracket is looked at up to the next one only, so that this itself takes time in proportion to the text.
    """
    text = re.sub(r" {2,}", " ", re.sub(r"\n{3,}", "\n\n", text))
    return re.sub(r"<(?= ?/? ?[a-zA-Z])(?![^<>]*>)|\{(?![^{}]*\})", " ", text)


def _without_drawings(text: str) -> str:
    """An event's text without what is drawn: between the overrides `\\p1` (or higher) and `\\p0`."""
    kept, is_drawing = [], False
    for part in re.split(r"(\{[^{}]*\})", text):
        if part.startswith("{"):
            scale = re.findall(r"\\p(\d+)", part)
            is_drawing = int(scale[-1][:4]) > 0 if scale else is_drawing
            kept.append(part)
        elif not is_drawing:
            kept.append(part)
    return "".join(kept)
