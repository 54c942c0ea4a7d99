"""What a transcript holds, whatever file it came from: cues, sentences or words, each with who says it where that is known."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Turn:
    """Some words of one person; the speaker is None where nobody says who it is."""

    text: str
    speaker: str | None = None


@dataclass(frozen=True)
class Cue:
    """A subtitle: its time in the video in seconds, its text, and who says it.

    Attributes:
        start, end: in seconds; the end may be infinite, which is the end of the video.
        text: all of it.
        speaker: who says it; of several people the first.
        turns: who says which part of it; by default all of it is the speaker's.
    """

    start: float
    end: float
    text: str
    speaker: str | None = None
    turns: tuple[Turn, ...] = ()

    @classmethod
    def of_turns(cls, start: float, end: float, turns: tuple[Turn, ...]) -> "Cue":
        """A cue in which one or several people speak one after another."""
        text = " ".join(turn.text for turn in turns)
        return cls(start, end, text, turns[0].speaker if turns else None, turns if len({turn.speaker for turn in turns}) > 1 else ())

    @property
    def parts(self) -> tuple[Turn, ...]:
        """Who says which part of it, at least one."""
        return self.turns or (Turn(self.text, self.speaker),)


@dataclass(frozen=True)
class TimedWord:
    """A word as it is written, its time in the video in seconds, and who says it.

    Attributes:
        text: without spaces.
        start, end: in seconds; None where the recogniser placed it nowhere, as whisperX does with numbers.
        speaker: None where nobody says who it is.
        passage: number of the recogniser's segment that it is of; a word without time stays with its neighbours there.
    """

    text: str
    start: float | None
    end: float | None
    speaker: str | None = None
    passage: int = 0


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """Cues, sentences without times, or words with times.

    Attributes:
        origin: `subtitles`, `text` or `words`, as in `ExtractedVideo`.
        cues: in the order of time; beside words, the passages whose words have no times.
        sentences: in the order of the text.
        words: in the order of time, passage by passage.
        notes: what the user should know.
    """

    origin: Literal["subtitles", "text", "words"]
    cues: tuple[Cue, ...] = ()
    sentences: tuple[Turn, ...] = ()
    words: tuple[TimedWord, ...] = ()
    notes: list[str] = field(default_factory=list)


def counted(count: int, one: str, many: str) -> str:
    """Such as "1 subtitle ends" or "3 subtitles end"."""
    return f"{count:,} {one if count == 1 else many}"


def first_pieces(pieces: Sequence[str], most: int = 4) -> str:
    """The first of some pieces of a text, each once and cut short, and how many there are besides.

    >>> first_pieces(["[music]", "(laughs)", "[music]", "[beep]", "[boom]"], most=2)
    "'[music]', '(laughs)' and 2 more"
    """
    different = list(dict.fromkeys(pieces))
    listed = ", ".join(repr(piece[:_SHOWN_CHARACTERS] + ("…" if len(piece) > _SHOWN_CHARACTERS else "")) for piece in different[:most])
    return f"{listed} and {len(different) - most} more" if len(different) > most else listed


def listed(*lines: str) -> frozenset[str]:
    """The words of some lines of text, as a set."""
    return frozenset(word for line in lines for word in line.split())
