"""Text that is longer than a language model reads: cut into sentences, and these where they must be, so that none of it is cut off in silence."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from multigrain.language.reader import TextReader
from multigrain.language.words import ends_sentence, join_words
from multigrain.schema import StepTimes, Utterance


def parts_that_fit(reader: TextReader, words: Sequence[str]) -> list[tuple[int, int]]:
    """A text as parts (first word, the word after the last) that the language model reads whole; one part where it reads all.

    A text that is too long is cut after each sentence, and a sentence that is too long by itself into shares that fit.
    """
    most, count = reader.settings.max_tokens, _counter(reader, words)
    if count(0, len(words)) <= most:
        return [(0, len(words))]
    ends = [place for place in range(1, len(words)) if ends_sentence(words[place - 1])]
    return [part for first, last in pairwise([0, *ends, len(words)]) for part in _halved(first, last, most, count)]


def _counter(reader: TextReader, words: Sequence[str]) -> Callable[[int, int], int]:
    return lambda first, last: reader.pieces.count([words[first:last]])[0]


def _halved(first: int, last: int, most: int, count: Callable[[int, int], int]) -> list[tuple[int, int]]:
    """Words that fit as they are, else as halves that fit; a single word may stay too long."""
    if last - first <= 1 or count(first, last) <= most:
        return [(first, last)]
    middle = (first + last) // 2
    return [*_halved(first, middle, most, count), *_halved(middle, last, most, count)]


def cut_utterances(reader: TextReader | None, utterances: Sequence[Utterance]) -> tuple[list[Utterance], list[str]]:
    """Utterances whose text is longer than the language model reads as several, with their share of the voice and the face.

    Returns:
        All utterances, those that were cut with `-1`, `-2` ... behind their id, and a note that says how many were cut.
    """
    if reader is None:
        return list(utterances), []
    cut: list[Utterance] = []
    num_long = 0
    for utterance in utterances:
        words = utterance.words or ()
        parts = parts_that_fit(reader, words) if words else [(0, 0)]
        num_long += len(parts) > 1
        cut += [utterance] if len(parts) == 1 else _cut(utterance, parts)
    if not num_long:
        return cut, []
    which = "1 utterance is" if num_long == 1 else f"{num_long} utterances are"
    more = len(cut) - len(utterances) + num_long
    most = reader.settings.max_tokens
    return cut, [f"{which} longer than the {most} pieces that the language model reads at once, and cut into {more} at sentences."]


def _cut(utterance: Utterance, parts: Sequence[tuple[int, int]]) -> list[Utterance]:
    edges = _edges(utterance, parts)
    words = utterance.words or ()
    times = utterance.word_times
    found = []
    for number, (first, last) in enumerate(parts, start=1):
        start, end = edges[number - 1], edges[number]
        features, step_times = _within(utterance, start, end)
        found.append(
            replace(
                utterance,
                id=f"{utterance.id}-{number}",
                features=features | ({"text": utterance.features["text"][first:last]} if "text" in utterance.features else {}),
                text=join_words(words[first:last]),
                words=tuple(words[first:last]),
                word_times=None if times is None else times[first:last],
                start_seconds=start,
                end_seconds=end,
                step_times=step_times,
            )
        )
    return found


def _edges(utterance: Utterance, parts: Sequence[tuple[int, int]]) -> list[float | None]:
    """When each part begins, and when the last ends: between the words where these have times, else by the letters; None without times."""
    start, end = utterance.start_seconds, utterance.end_seconds
    if start is None or end is None:
        return [None] * (len(parts) + 1)
    words, times = utterance.words or (), utterance.word_times or ()
    letters = np.cumsum([0, *(len(word) for word in words)])
    edges = [start]
    for first, _ in parts[1:]:
        sides = [time for time in times[first - 1 : first + 1] if time is not None] if len(times) == len(words) else []
        edge = (sides[0][1] + sides[1][0]) / 2 if len(sides) == 2 else start + (end - start) * float(letters[first]) / max(1.0, float(letters[-1]))
        edges.append(min(end, max(edges[-1], edge)))
    return [*edges, end]


def _within(utterance: Utterance, start: float | None, end: float | None) -> tuple[dict[str, np.ndarray], dict[str, StepTimes]]:
    """The steps of the voice and the face that begin within a time."""
    features: dict[str, np.ndarray] = {}
    step_times: dict[str, StepTimes] = {}
    for name, times in utterance.step_times.items():
        if name not in utterance.features or start is None or end is None:
            continue
        seconds = times.seconds()
        chosen = (seconds >= start - 1e-9) & (seconds < end - 1e-9)
        if chosen.any():
            features[name] = utterance.features[name][chosen]
            step_times[name] = StepTimes.of_steps(times.rate_hz, np.rint(seconds[chosen] * times.rate_hz).astype(np.int64))
    return features, step_times
