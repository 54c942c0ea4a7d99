"""Subtitles that show a line again: rolling captions, karaoke, and several layers of one text. Each line is taken once, with all of its time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from multigrain.video.spoken import Turn

_NEAR_SECONDS = 0.1  # what is shown again within this time was there all along
_MOST_ROLLING_LINES = 8
_FEWEST_GROWING = 3  # as often a text must grow word by word in a file, for it to be karaoke and nobody who begins again; twice where in a row


@dataclass
class ShownCue:
    """A cue with its lines, each with who says it where that is known."""

    start: float
    end: float
    lines: list[Turn] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """What its lines say."""
        return [line.text for line in self.lines]


def without_repeats(cues: Sequence[ShownCue]) -> tuple[list[ShownCue], int]:
    """The cues with each line once, and how many showed nothing new; the time of those belongs to the cue that they repeat.

    Args:
        cues: in the order of time.
    """
    growing = [_grows(one, other) for one, other in pairwise(cues)]
    is_karaoke = sum(growing) >= _FEWEST_GROWING or any(one and other for one, other in pairwise(growing))
    found: list[ShownCue] = []
    shown: ShownCue | None = None
    shown_until, repeats = float("-inf"), 0
    for cue in cues:
        fresh = cue.lines
        if found and shown is not None and cue.start - shown_until < _NEAR_SECONDS:
            if is_karaoke and _grows(shown, cue) and found[-1].texts == shown.texts:
                found[-1] = ShownCue(found[-1].start, max(found[-1].end, cue.end), cue.lines)
                fresh, repeats = [], repeats + 1
            else:
                fresh = _fresh_lines(shown, cue)
                if cue.lines and not fresh:
                    found[-1].end = max(found[-1].end, cue.end)
                    repeats += 1
        if fresh:
            found.append(ShownCue(cue.start, cue.end, list(fresh)))
        if cue.lines:
            shown, shown_until = cue, max(shown_until, cue.end) if not fresh else cue.end
    return found, repeats


def _fresh_lines(shown: ShownCue, cue: ShownCue) -> list[Turn]:
    """The lines that were not there before: those below the ones that rolled up. Another person's line is another one."""
    before, now = shown.lines, cue.lines
    if _are_same(before, now):
        return []
    there = {*before, *(Turn(line.text) for line in before)}
    nameless = {line.text for line in before if line.speaker is None}
    if len(set(cue.texts)) < len(set(shown.texts)) and all(line in there or line.text in nameless for line in now):
        return []
    most = min(len(before), len(now), _MOST_ROLLING_LINES)
    rolled = next((count for count in range(most, 0, -1) if _are_same(before[-count:], now[:count])), 0)
    return cue.lines[rolled:]


def _are_same(lines: Sequence[Turn], others: Sequence[Turn]) -> bool:
    """Whether lines say the same, of the same people where both say who speaks."""
    return len(lines) == len(others) and all(one.text == other.text and _is_one_person(one, other) for one, other in zip(lines, others, strict=True))


def _is_one_person(line: Turn, other: Turn) -> bool:
    return line.speaker == other.speaker or line.speaker is None or other.speaker is None


def _grows(cue: ShownCue, following: ShownCue) -> bool:
    """Whether the next cue shows the same words and, in as many lines, some more behind them."""
    is_near = following.start - cue.end < _NEAR_SECONDS and 0 < len(cue.lines) == len(following.lines)
    are_same_people = is_near and all(_is_one_person(one, other) for one, other in zip(cue.lines, following.lines, strict=True))
    return are_same_people and " ".join(following.texts).startswith(" ".join(cue.texts) + " ")
