"""From words, subtitles or speech to utterances of 1 to 20 seconds: cut at sentences and pauses."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from multigrain.video.alignment import WordTime
from multigrain.video.speech import Stretch
from multigrain.video.transcript import Cue

SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 20.0
PAUSE_SECONDS = 0.5
SILENT_SECONDS = 5.0
"""How long the pieces are into which a video is cut in which nobody speaks."""

_MARGIN = 0.1  # seconds that an utterance begins before its first word and ends after its last, where there is room


@dataclass(frozen=True, kw_only=True)
class Segment:
    """An utterance before its features are there.

    Attributes:
        start, end: in seconds.
        words: as they are written; empty where the text is not known.
        word_times: one for each word.
    """

    start: float
    end: float
    words: tuple[str, ...] = ()
    word_times: tuple[WordTime, ...] = ()


def segments_of_words(words: Sequence[str], times: Sequence[WordTime], duration: float) -> list[Segment]:
    """Utterances of a text whose words have times; cut after sentences and at pauses.

    Args:
        words: as they are written, in the order of the text.
        times: one a word; a word without goes with the one before it.
        duration: of the video in seconds.
    """
    groups: list[list[int]] = [[]]
    first = last = None  # times of the group's first and last word that have one
    for index, time in enumerate(times):
        if first is not None and last is not None and time is not None:
            length, pause = last[1] - first[0], time[0] - last[1]
            ends_sentence = words[index - 1].rstrip("\"')”’").endswith((".", "!", "?", "…"))
            if (length >= SHORTEST_SECONDS and (ends_sentence or pause >= PAUSE_SECONDS)) or time[1] - first[0] > LONGEST_SECONDS - 2 * _MARGIN:
                groups.append([])
                first = None
        groups[-1].append(index)
        first, last = first or time, time or last
    segments = []
    for group in groups:
        known = [time for time in (times[index] for index in group) if time is not None]
        if known:
            chosen = tuple(words[index] for index in group)
            segments.append(Segment(start=known[0][0], end=known[-1][1], words=chosen, word_times=tuple(times[index] for index in group)))
    return _with_margins(_joined(segments), duration)


def segments_of_cues(cues: Sequence[Cue], duration: float) -> list[Segment]:
    """Utterances of subtitles, before their words have times; short ones are put together with a neighbour, long ones are left for later."""
    found: list[tuple[float, float, list[str]]] = []
    for cue in cues:
        start = max(cue.start, found[-1][1]) if found else cue.start  # subtitles that overlap: the later one begins later
        end = min(cue.end, duration)
        words = cue.text.split()
        if start >= duration or not words:
            continue
        if end <= start:  # wholly within the one before
            found[-1][2].extend(words)
        else:
            found.append((start, end, words))
    segments = [Segment(start=start, end=end, words=tuple(words), word_times=(None,) * len(words)) for start, end, words in found]
    return _with_length(_joined(segments), duration)


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
    return [Segment(start=start + index * length, end=start + (index + 1) * length) for index in range(count)]


def split_long(segment: Segment, duration: float) -> list[Segment]:
    """A segment whose words have times by now, in pieces of at most 20 seconds."""
    if segment.end - segment.start <= LONGEST_SECONDS:
        return [segment]
    if any(time is not None for time in segment.word_times):
        return segments_of_words(segment.words, segment.word_times, duration)
    pieces = even_segments(segment.start, segment.end, LONGEST_SECONDS)
    bounds = [round(index * len(segment.words) / len(pieces)) for index in range(len(pieces) + 1)]
    parts = [segment.words[bounds[index] : bounds[index + 1]] for index in range(len(pieces))]
    return [replace(piece, words=words, word_times=(None,) * len(words)) for piece, words in zip(pieces, parts, strict=True)]


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
    return Segment(start=first.start, end=second.end, words=first.words + second.words, word_times=first.word_times + second.word_times)


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
