"""What is said in a video, from a file: subtitles (.srt, .vtt, .ass), plain text (.txt), or words with times (.json).

Text is only ever text here: formatting tags are taken out, control characters too, and whoever shows it must escape it.
"""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from multigrain.errors import VideoError
from multigrain.video.limits import Limits
from multigrain.video.parts import import_part


@dataclass(frozen=True)
class Cue:
    """A subtitle: its time in the video in seconds, and its text."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class TimedWord:
    """A word as it is written, and its time in the video in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """One of the three: cues, sentences without times, or words with times; the other two are empty.

    Attributes:
        origin: `subtitles`, `text` or `words`, as in `ExtractedVideo`.
        cues: in the order of time.
        sentences: in the order of the text.
        words: in the order of time.
        notes: what the user should know.
    """

    origin: Literal["subtitles", "text", "words"]
    cues: tuple[Cue, ...] = ()
    sentences: tuple[str, ...] = ()
    words: tuple[TimedWord, ...] = ()
    notes: list[str] = field(default_factory=list)


def read_transcript(path: str | Path, limits: Limits) -> Transcript:
    """Reads a transcript; its size is checked before it is read.

    Raises:
        VideoError: there is no such file, it is of another kind, too large, not UTF-8, damaged, or holds no words.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if not path.is_file():
        raise VideoError(f"There is no transcript at {path}: {'it is a folder' if path.is_dir() else 'no such file'}. Check the path.")
    if reader is None:
        raise VideoError(f"{path} is of no kind that is read as a transcript: expected {', '.join(_READERS)}. Rename or export it as one of these.")
    size = path.stat().st_size
    if size > limits.transcript_bytes:
        raise VideoError(
            f"{path} has {size} bytes; a transcript may have at most {limits.transcript_bytes}, a day of speech. Check that it is the right file."
        )
    content = path.read_bytes()
    try:
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise VideoError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start}). Save it again as UTF-8; editors call it 'encoding'."
        ) from error
    transcript = reader(path, text, limits)
    if not (transcript.cues or transcript.sentences or transcript.words):
        raise VideoError(f"{path} holds no words. Check that it is the right file, or leave the transcript out.")
    return transcript


def clean_text(text: str) -> str:
    """One line of text without control and invisible characters, and with single spaces."""
    if text.isprintable():
        return " ".join(text.split())
    visible = "".join(character if unicodedata.category(character)[0] != "C" else " " for character in text)
    return " ".join(visible.split())


# Subtitles --------------------------------------------------------------------------------------------------------


def _read_subtitles(path: Path, text: str, limits: Limits) -> Transcript:
    pysubs2 = import_part("pysubs2", "reading subtitles")
    _check_lines(path, text, limits)
    text = _without_traps(text)
    if path.suffix.lower() in (".ass", ".ssa"):  # whose sections begin with a bracket that is closed in its line
        text = re.sub(r"\[(?![^\[\]\n]*\])", " ", text)
    try:
        events = pysubs2.SSAFile.from_string(text, format_=path.suffix.lower().lstrip(".")).events
    except Exception as error:  # pysubs2 raises whatever its parsers stumble on, ValueError and KeyError among others
        raise VideoError(f"{path} cannot be read as {path.suffix} subtitles ({error}). Open it in a subtitle editor, or export it again.") from error
    notes: list[str] = []
    for number, event in enumerate(events, start=1):
        if len(event.text) > limits.line_characters:
            raise VideoError(
                f"{path}: subtitle {number} has {len(event.text)} characters; at most {limits.line_characters} are allowed. Break it up."
            )
    cues = sorted((Cue(event.start / 1000, event.end / 1000, event.plaintext) for event in events if not event.is_comment), key=lambda cue: cue.start)
    backwards = sum(cue.end <= cue.start for cue in cues)
    if backwards:
        notes.append(f"{backwards} of the subtitles end before they begin and were left out.")
    spoken, left_out = _without_descriptions(_without_repeats([cue for cue in cues if cue.end > cue.start]))
    if left_out:
        notes.append(f"What is in brackets in the subtitles ({left_out} times), such as [music], was left out: it is not spoken.")
    return Transcript(origin="subtitles", cues=tuple(spoken), notes=notes)


def _check_lines(path: Path, text: str, limits: Limits) -> None:
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > limits.line_characters:
            raise VideoError(
                f"{path}, line {number} has {len(line)} characters; at most {limits.line_characters} are allowed. Check that it is the right file, "
                "or break the line."
            )


def _without_traps(text: str) -> str:
    """The same subtitles without what would keep pysubs2's patterns busy for hours: brackets that are never closed, long runs of spaces and lines.

    Each bracket is looked at up to the next one only, so that this itself takes time in proportion to the text.
    """
    text = re.sub(r" {2,}", " ", re.sub(r"\n{3,}", "\n\n", text))
    return re.sub(r"<(?= ?/? ?[a-zA-Z])(?![^<>]*>)|\{(?![^{}]*\})", " ", text)


def _without_repeats(cues: list[Cue]) -> Iterator[Cue]:
    """Rolling subtitles show a line again below the next one: each line is taken once."""
    shown: list[str] = []
    shown_until = -math.inf
    for cue in cues:
        lines = [clean_text(re.sub(r"<[^<>]*>", "", line)) for line in cue.text.splitlines()]
        lines = [line for line in lines if line]
        fresh = [line for line in lines if not (line in shown and cue.start - shown_until < 0.1)]
        shown, shown_until = lines, cue.end
        if fresh:
            yield Cue(cue.start, cue.end, " ".join(fresh))


def _without_descriptions(cues: Iterator[Cue]) -> tuple[list[Cue], int]:
    spoken, left_out = [], 0
    for cue in cues:
        text, count = re.subn(r"\[[^\[\]]*\]|^\([^()]*\)$|[♪♫]+", " ", cue.text)
        text = clean_text(re.sub(r"(^| )(-|>>)(?=[ \w])", " ", text))
        left_out += count
        if text:
            spoken.append(Cue(cue.start, cue.end, text))
    return spoken, left_out


# Plain text and words -----------------------------------------------------------------------------------------------


def _read_text(path: Path, text: str, limits: Limits) -> Transcript:
    sentences = [clean_text(part) for line in text.splitlines() for part in re.split(r"(?<=[.!?…])\s+", line)]
    sentences = [sentence for sentence in sentences if sentence]
    longest = max(sentences, key=len, default="")
    if len(longest) > limits.line_characters:
        raise VideoError(
            f"{path} has a sentence of {len(longest)} characters; at most {limits.line_characters} are allowed. Check that it is the right file."
        )
    return Transcript(origin="text", sentences=tuple(sentences))


def _read_words(path: Path, text: str, limits: Limits) -> Transcript:
    """`{"words": [{"word", "start", "end"}]}`, a bare list of such, or whisper's `{"segments": [{"words": [...]}]}`."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise VideoError(f"{path} cannot be read as JSON ({error}). {_WORDS_EXPECTED}") from error
    entries = found
    if isinstance(found, dict):
        entries = found.get("words")
        if entries is None and isinstance(found.get("segments"), list):
            groups = [segment.get("words") for segment in found["segments"] if isinstance(segment, dict)]
            entries = [word for group in groups if isinstance(group, list) for word in group]
    if not isinstance(entries, list):
        raise VideoError(f"{path} holds no list of words. {_WORDS_EXPECTED}")
    words = [_timed_word(entry, f"{path}, word {number}", limits) for number, entry in enumerate(entries, start=1)]
    return Transcript(origin="words", words=tuple(sorted((word for word in words if word.text), key=lambda word: word.start)))


_LATEST_SECONDS = 1e6
_WORDS_EXPECTED = 'Expected {"words": [{"word": "hello", "start": 0.52, "end": 0.91}, ...]} with times in seconds.'


def _timed_word(entry: Any, where: str, limits: Limits) -> TimedWord:
    text = entry.get("word", entry.get("text")) if isinstance(entry, dict) else None
    if not isinstance(text, str):
        raise VideoError(f"{where} is {str(entry)[:100]!r}, without text. {_WORDS_EXPECTED}")
    if len(text) > limits.line_characters:
        raise VideoError(f"{where} has {len(text)} characters; at most {limits.line_characters} are allowed. {_WORDS_EXPECTED}")
    times = [entry.get("start"), entry.get("end")]
    if not all(isinstance(time, int | float) and not isinstance(time, bool) and 0 <= time < math.inf for time in times):
        raise VideoError(f"{where} ({text[:40]!r}) lasts from {str(times[0])[:40]} to {str(times[1])[:40]}. {_WORDS_EXPECTED}")
    if max(times) > _LATEST_SECONDS:
        raise VideoError(f"{where} ({text[:40]!r}) is spoken after more than {_LATEST_SECONDS:.0f} s. {_WORDS_EXPECTED}")
    if times[1] < times[0]:
        raise VideoError(f"{where} ({text[:40]!r}) ends at {times[1]:g} s, before it begins at {times[0]:g} s. Mend its times.")
    return TimedWord(clean_text(text).replace(" ", "_"), float(times[0]), float(times[1]))


_READERS: dict[str, Callable[[Path, str, Limits], Transcript]] = {
    ".srt": _read_subtitles,
    ".vtt": _read_subtitles,
    ".ass": _read_subtitles,
    ".ssa": _read_subtitles,
    ".txt": _read_text,
    ".json": _read_words,
}
