"""From words, subtitles or speech to utterances of 1 to 20 seconds: cut at sentences and pauses."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby, pairwise
from typing import Literal

from multigrain.language.words import cut_words, ends_sentence
from multigrain.video.alignment import WordTime
from multigrain.video.speech import Stretch
from multigrain.video.spoken import Cue

SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 20.0
PAUSE_SECONDS = 0.5
SILENT_SECONDS = 5.0
"""How long the pieces are into which a video is cut in which nobody speaks."""

_MARGIN = 0.1  # seconds that an utterance begins before its first word and ends after its last, where there is room
_SLOPPY_SECONDS = 0.3  # subtitles that overlap by less are not two people, but times that were not set with care
_FEWEST_ROLLING = 4


TranscriptOrigin = Literal["subtitles", "text", "words", "recognised", "none"]
"""Where the words of a video come from."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """An utterance before its features are there.

    Attributes:
        start, end: in seconds.
        words: as they are written; empty where the text is not known.
        word_times: one for each word.
        speakers: who says each word, None where nobody says who it is; empty where that is so of all.
    """

    start: float
    end: float
    words: tuple[str, ...] = ()
    word_times: tuple[WordTime, ...] = ()
    speakers: tuple[str | None, ...] = ()

    @property
    def speaker(self) -> str | None:
        """Who says most of its words, the first of those who say as many."""
        return Counter(self.speakers).most_common(1)[0][0] if self.speakers else None


@dataclass(frozen=True, kw_only=True)
class FoundSegments:
    """Utterances with their words, where the words come from, what the user should know, and which of the given ones begin after the end."""

    segments: list[Segment]
    origin: TranscriptOrigin
    is_reliable: bool = True
    notes: list[str] = field(default_factory=list)
    skipped: tuple[int, ...] = ()


def segments_of_words(
    words: Sequence[str],
    times: Sequence[WordTime],
    duration: float,
    *,
    speakers: Sequence[str | None] = (),
    passages: Sequence[int] = (),
) -> list[Segment]:
    """Utterances of a text whose words have times; cut after sentences, at pauses, and where another person speaks.

    Args:
        words: as they are written, in the order of the text.
        times: one a word; a word without goes with the one before it in its passage, or with the one after it.
        duration: of the video in seconds.
        speakers: who says each word; empty where that is not known.
        passages: number of the passage of the transcript that each word is of; empty where all are of one.
    """
    groups: list[list[int]] = [[]]
    waiting: list[int] = []  # words without time that belong to the next one
    first = last = None  # times of the group's first and last word that have one
    for index, time in enumerate(times):
        goes_on = index == 0 or all(not of or of[index] == of[index - 1] for of in (speakers, passages))
        if time is None:
            (groups[-1] if goes_on and not waiting and first is not None else waiting).append(index)
            continue
        if first is not None and last is not None:
            other = bool(speakers) and speakers[index] != speakers[groups[-1][-1]]
            if other or _is_break(words[groups[-1][-1]], first, last, time):
                groups.append([])
                first = None
        groups[-1] += [*waiting, index]
        waiting = []
        first, last = first or time, time
    groups[-1] += waiting
    segments = []
    for group in groups:
        known = [time for time in (times[index] for index in group) if time is not None]
        if known:
            segments.append(
                Segment(
                    start=known[0][0],
                    end=known[-1][1],
                    words=tuple(words[index] for index in group),
                    word_times=tuple(times[index] for index in group),
                    speakers=tuple(speakers[index] for index in group) if speakers else (),
                )
            )
    return _with_margins(_joined(segments), duration)


def _is_break(word: str, first: tuple[float, float], last: tuple[float, float], time: tuple[float, float]) -> bool:
    """Whether an utterance ends with a word, given the times of its first and last word and that of the next."""
    length, pause = last[1] - first[0], time[0] - last[1]
    return (length >= SHORTEST_SECONDS and (ends_sentence(word) or pause >= PAUSE_SECONDS)) or time[1] - first[0] > LONGEST_SECONDS - 2 * _MARGIN


def segments_of_cues(cues: Sequence[Cue], duration: float) -> list[Segment]:
    """Utterances of subtitles, before their words have times; short ones are put together with a neighbour, long ones are left for later.

    They are in the order of their beginning. Two people who speak at once stay two utterances, which overlap.
    """
    found = [segment for cue in cues if (segment := _of_cue(cue, duration)) is not None]
    is_rolling = _are_rolling(found)
    kept: list[Segment] = []
    longest: Segment | None = None  # of those before, the one that ends last
    for segment in found:
        overlap = 0.0 if longest is None else longest.end - segment.start
        if longest is not None and overlap > 0 and set(longest.speakers) == set(segment.speakers):
            if is_rolling and longest is kept[-1] and segment.start > longest.start:
                kept[-1] = replace(longest, end=segment.start)
            elif overlap <= _SLOPPY_SECONDS and segment.end > longest.end:
                segment = replace(segment, start=longest.end)
        kept.append(segment)
        longest = segment if longest is None or segment.end >= longest.end or is_rolling else longest
    return _with_length(_joined(kept), duration)


def num_overlapping(segments: Sequence[Segment]) -> int:
    """How many utterances begin while an earlier one lasts."""
    ends = accumulate((segment.end for segment in segments), max)
    return sum(following.start < end - _SLOPPY_SECONDS for end, following in zip(ends, segments[1:], strict=False))


def _of_cue(cue: Cue, duration: float) -> Segment | None:
    turns = [(word, turn.speaker) for turn in cue.parts for word in cut_words(turn.text)]
    end = min(cue.end, duration)
    if not turns or cue.start >= end:
        return None
    words, speakers = tuple(word for word, _ in turns), tuple(speaker for _, speaker in turns)
    return Segment(start=cue.start, end=end, words=words, word_times=(None,) * len(words), speakers=speakers if any(speakers) else ())


def _are_rolling(segments: Sequence[Segment]) -> bool:
    """Whether subtitles overlap one after another, as those of captions do that stay until the next but one is there."""
    staggered = sum(one.start < other.start < one.end < other.end for one, other in pairwise(segments))
    return staggered >= _FEWEST_ROLLING and 2 * staggered >= len(segments)


def segments_of_speech(speech: Sequence[Stretch], duration: float) -> list[Segment]:
    """Utterances of a video without transcript: speech between pauses."""
    joined: list[Segment] = []
    for begin, end in ((begin, min(end, duration)) for begin, end in speech if begin < duration):
        last = joined[-1] if joined else None
        if (
            last is not None
            and (begin - last.end < PAUSE_SECONDS or last.end - last.start < SHORTEST_SECONDS)
            and end - last.start <= LONGEST_SECONDS
        ):
            joined[-1] = Segment(start=last.start, end=end)
        else:
            joined.append(Segment(start=begin, end=end))
    return _with_length(_joined([piece for segment in joined for piece in even_segments(segment.start, segment.end, LONGEST_SECONDS)]), duration)


def even_segments(start: float, end: float, longest: float = SILENT_SECONDS) -> list[Segment]:
    """A stretch cut into equal pieces, none longer than `longest` seconds."""
    count = max(1, math.ceil((end - start) / longest - 1e-6))
    length = (end - start) / count
    edges = [start, *(start + index * length for index in range(1, count)), end]  # the last one exactly, not by rounding
    return [Segment(start=first, end=last) for first, last in pairwise(edges)]


def split_long(segment: Segment, duration: float) -> list[Segment]:
    """A segment whose words have times by now, in pieces of at most 20 seconds."""
    if segment.end - segment.start <= LONGEST_SECONDS:
        return [segment]
    if any(time is not None for time in segment.word_times):
        return segments_of_words(segment.words, segment.word_times, duration, speakers=segment.speakers)
    pieces = even_segments(segment.start, segment.end, LONGEST_SECONDS)
    bounds = [round(index * len(segment.words) / len(pieces)) for index in range(len(pieces) + 1)]
    return [_part(segment, bounds[index], bounds[index + 1], piece.start, piece.end) for index, piece in enumerate(pieces)]


def by_speaker(segment: Segment) -> list[Segment]:
    """A segment in which several people speak one after another as one for each of them; cut between their words where these have times."""
    runs = [len(list(group)) for _, group in groupby(segment.speakers)]
    if len(runs) <= 1:
        return [segment]
    letters = [0, *(sum(len(word) for word in segment.words[: sum(runs[:count])]) for count in range(1, len(runs)))]
    total = max(1, sum(len(word) for word in segment.words))
    parts, start, place = [], segment.start, 0
    for number, length in enumerate(runs):
        end = segment.end
        if number + 1 < len(runs):
            before = [time[1] for time in segment.word_times[place : place + length] if time is not None]
            after = [time[0] for time in segment.word_times[place + length : place + length + runs[number + 1]] if time is not None]
            sides = [*before[-1:], *after[:1]]
            share = segment.start + (segment.end - segment.start) * letters[number + 1] / total
            end = min(segment.end, max(start, sum(sides) / len(sides) if sides else share))
        parts.append(_part(segment, place, place + length, start, end))
        start, place = end, place + length
    return parts


def _part(segment: Segment, first: int, last: int, start: float, end: float) -> Segment:
    """Words first .. last - 1 of a segment, with a time of their own."""
    return Segment(
        start=start, end=end, words=segment.words[first:last], word_times=segment.word_times[first:last], speakers=segment.speakers[first:last]
    )


def _joined(segments: Sequence[Segment]) -> list[Segment]:
    """Segments that are too short put together with the nearer neighbour, where that is near and the two are not too long."""
    joined = list(segments)
    index = 0
    while index < len(joined):
        segment = joined[index]
        if segment.end - segment.start >= SHORTEST_SECONDS:
            index += 1
            continue
        left = _join(joined[index - 1], segment) if index else None
        right = _join(segment, joined[index + 1]) if index + 1 < len(joined) else None
        gap_left = segment.start - joined[index - 1].end if index else math.inf
        gap_right = joined[index + 1].start - segment.end if index + 1 < len(joined) else math.inf
        if left is not None and (right is None or gap_left <= gap_right):
            joined[index - 1 : index + 1] = [left]
            index -= 1
        elif right is not None:
            joined[index : index + 2] = [right]
        else:
            index += 1
    return joined


def _join(first: Segment, second: Segment) -> Segment | None:
    if second.start - first.end > SHORTEST_SECONDS or second.end - first.start > LONGEST_SECONDS:
        return None
    if second.start < first.end or set(first.speakers) != set(second.speakers):  # of two people, or two at once
        return None
    return Segment(
        start=first.start,
        end=second.end,
        words=first.words + second.words,
        word_times=first.word_times + second.word_times,
        speakers=first.speakers + second.speakers,
    )


def _with_margins(segments: Sequence[Segment], duration: float) -> list[Segment]:
    return _with_length(_stretched(segments, duration, lambda segment: _MARGIN), duration)


def _with_length(segments: Sequence[Segment], duration: float) -> list[Segment]:
    """Segments that are still too short take what they lack from the silence on both sides."""
    return _stretched(segments, duration, lambda segment: max(0.0, SHORTEST_SECONDS - (segment.end - segment.start)) / 2)


def _stretched(segments: Sequence[Segment], duration: float, margin: Callable[[Segment], float]) -> list[Segment]:
    """Segments with a margin on both sides, each within half of the gap to its neighbour."""
    stretched = []
    for index, segment in enumerate(segments):
        before = 0.0 if index == 0 else (segments[index - 1].end + segment.start) / 2
        after = duration if index + 1 == len(segments) else (segment.end + segments[index + 1].start) / 2
        start = min(segment.start, max(before, segment.start - margin(segment)))
        end = max(min(segment.end, duration), min(after, segment.end + margin(segment)))
        stretched.append(replace(segment, start=start, end=max(end, start)))
    return stretched
