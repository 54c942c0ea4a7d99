"""Whether the times of a recogniser's JSON are seconds or milliseconds, where its keys do not say so."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from multigrain.video.json_shapes import Entry

# People say 10 to 20 characters a second. The same times differ by a factor of 1000 as seconds and as milliseconds, so that hardly both are speech.
_MOST_CHARACTERS_PER_MILLISECOND = 0.04  # where there are more, the times are no milliseconds
_SURE_CHARACTERS_PER_MILLISECOND = 0.025  # where there are fewer, they are no seconds: a character in 40 s
_FEWEST_CHARACTERS, _FEWEST_PARTS = 12, 2  # from fewer nothing is concluded
_LONGER, _LONGER_SECONDS = 1.05, 2.0  # transcripts go on a little after the video's end


def to_seconds(entries: Sequence[Entry], video_seconds: float | None) -> list[str]:
    """Turns milliseconds into seconds, in place, and says so where no key does.

    Args:
        entries: passages or words.
        video_seconds: how long the video is, where that is known.
    """
    parts = [one for entry in entries for one in (entry, *entry.words)]
    for one in parts:
        if one.is_milliseconds:
            _divide(one)
    open_parts = [one for one in parts if not one.is_milliseconds]
    rates = list(_rates([entry for entry in entries if not entry.is_milliseconds])) + list(_rates([one for entry in entries for one in entry.words]))
    characters, length = sum(count for count, _ in rates), sum(length for _, length in rates)
    most = _MOST_CHARACTERS_PER_MILLISECOND
    if not rates or characters > most * length or median(count / length for count, length in rates) > most:
        return []
    last = max(value for one in open_parts for value in (one.start, one.end) if is_time(value))
    is_sure = characters <= _SURE_CHARACTERS_PER_MILLISECOND * length and characters >= _FEWEST_CHARACTERS and len(rates) >= _FEWEST_PARTS
    if video_seconds is not None:
        longest = _LONGER * video_seconds + _LONGER_SECONDS
        if video_seconds / 2 <= last <= longest or last > 1000 * longest:
            return []
        is_sure = is_sure or last > longest
    if not is_sure:
        return [f"The transcript's times may be seconds or milliseconds; taken for seconds, the last is {last:g} s."]
    for one in open_parts:
        _divide(one)
    reason = (
        "as seconds they lie after the video's end" if video_seconds is not None and last > longest else "as seconds, nobody would speak so slowly"
    )
    return [f"The transcript's times were taken for milliseconds: {reason}."]


def is_time(value: Any) -> bool:
    """Whether it is a number that may be a time."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _divide(entry: Entry) -> None:
    entry.start, entry.end = (value / 1000 if is_time(value) else value for value in (entry.start, entry.end))


def _rates(entries: Sequence[Entry]) -> Iterator[tuple[int, float]]:
    """The characters of each text and how long it lasts: to its end, or, without one, to the next start."""
    timed = [entry for entry in entries if is_time(entry.start) and entry.text.strip()]
    following: list[Entry | None] = [*timed[1:], None]
    for entry, after in zip(timed, following, strict=False):
        end = entry.end if is_time(entry.end) else after.start if entry.end is None and after is not None else None
        if end is not None and end > entry.start:
            yield len(entry.text.strip()), float(end - entry.start)
