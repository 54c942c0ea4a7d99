"""When each word of a known text is spoken, by forced alignment with pocketsphinx (English).

A word that its dictionary lacks is spelled out by `letter_to_sound`. `align` places all words of a short stretch; `place` finds the words
of a whole text in a sound of any length, window after window, without ever looking at more than one.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from multigrain.video.letter_to_sound import phones, spoken_words
from multigrain.video.parts import import_part
from multigrain.video.sound import SAMPLE_RATE_HZ, Sound
from multigrain.video.speech import Stretch

WordTime = tuple[float, float] | None
"""Start and end of a word in seconds, or None where it was not found."""

_FRAMES_PER_SECOND = 100
_SHORTEST_SECONDS = 0.1
_WINDOW_SECONDS = 24.0
_MOST_WORDS_PER_SECOND = 6.0
_WORDS_IN_DOUBT = 3  # at the end of a window; they are looked for again in the next one
_BEAMS = {"beam": 1e-100, "pbeam": 1e-100, "wbeam": 1e-80}  # so wide that no path is lost, also in unusual voices


class Aligner:
    """Places words in sound. One can serve any number of videos, one after the other.

    Raises:
        VideoError: pocketsphinx is not installed.
    """

    def __init__(self) -> None:
        pocketsphinx = import_part("pocketsphinx", "placing words in time")
        self._decoder: Any = pocketsphinx.Decoder(samprate=SAMPLE_RATE_HZ, lm=None, bestpath=False, loglevel="FATAL", **_BEAMS)

    def align(self, words: Sequence[str], samples: Float[np.ndarray, " sample"], start: float = 0.0) -> list[WordTime]:
        """When each of the words is spoken, given that all of them are, in this order, and nothing else.

        Args:
            words: as they are written; numbers are read out.
            samples: 16 kHz, mono, in -1..1; up to about a minute.
            start: the second at which the samples begin; it is added to the times.

        Returns:
            One entry a word; None for what has no sound (a dash, another script), and for all where the sound cannot hold the words.
        """
        spoken = [spoken_words(word) for word in words]
        expected = [word for group in spoken for word in group]
        if not expected or len(samples) < _SHORTEST_SECONDS * SAMPLE_RATE_HZ:
            return [None] * len(words)
        self._learn(expected)
        try:
            self._decoder.set_align_text(" ".join(expected))
            self._hear(samples)
        except RuntimeError:  # fewer frames than phones, or no path through the words
            return [None] * len(words)
        found = list(self._segments())
        if [word for word, _, _ in found] != expected:
            return [None] * len(words)
        return _by_written_word(spoken, [(start + begin, start + end) for _, begin, end in found])

    def place(self, words: Sequence[str], sound: Sound, speech: Sequence[Stretch]) -> list[WordTime]:
        """When each word of a long text is spoken, where there is speech.

        In each window of speech the decoder itself chooses how many of the next words are spoken in it; the last few are in doubt and looked for
        again. Words that were not found by the end have no time.

        Args:
            words: of the whole text, as they are written.
            sound: of the whole video.
            speech: where somebody speaks, in the order of time.
        """
        spoken = [spoken_words(word) for word in words]
        expected = [word for group in spoken for word in group]
        times: list[tuple[float, float]] = []
        position = speech[0][0] if speech else 0.0
        while len(times) < len(expected):
            window = _window(speech, position)
            if window is None:
                break
            begin, end, is_last = window
            found = self._next_words(expected[len(times) :], sound.read(begin, end), begin)
            sure = found if is_last else found[:-_WORDS_IN_DOUBT] or found
            times += sure
            position = sure[-1][1] if sure else end
            if is_last:
                break
        return _by_written_word(spoken, times)

    def _next_words(self, words: Sequence[str], samples: Float[np.ndarray, " sample"], start: float) -> list[tuple[float, float]]:
        """Times of those of the next words that are spoken in the samples."""
        words = words[: int(len(samples) / SAMPLE_RATE_HZ * _MOST_WORDS_PER_SECOND) + 1]
        if not words or len(samples) < _SHORTEST_SECONDS * SAMPLE_RATE_HZ:
            return []
        self._learn(words)
        end = len(words) + 1
        steps = [(place, place + 1, 1.0, word) for place, word in enumerate(words)]
        stops = [(place, end, 1.0) for place in range(1, end)]
        self._decoder.add_fsg("window", self._decoder.create_fsg("window", 0, end, [*steps, *stops]))
        self._decoder.activate_search("window")
        try:
            self._hear(samples)
        except RuntimeError:
            return []
        found = list(self._segments())
        if [word for word, _, _ in found] != list(words[: len(found)]):
            return []
        return [(start + begin, start + end) for _, begin, end in found]

    def _learn(self, words: Sequence[str]) -> None:
        for word in dict.fromkeys(words):
            if self._decoder.lookup_word(word) is None:
                self._decoder.add_word(word, " ".join(phones(word)), True)

    def _hear(self, samples: Float[np.ndarray, " sample"]) -> None:
        numbers = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
        self._decoder.start_utt()
        try:
            self._decoder.process_raw(numbers.tobytes(), full_utt=True)
        finally:
            with contextlib.suppress(RuntimeError):  # after a failure there is nothing more to end
                self._decoder.end_utt()

    def _segments(self) -> Iterator[tuple[str, float, float]]:
        """The words that were heard, without silence and noise: word, start and end in seconds."""
        for segment in self._decoder.seg() or ():
            word = segment.word.split("(")[0]
            if word and word[0] not in "<[+":
                yield word, segment.start_frame / _FRAMES_PER_SECOND, (segment.end_frame + 1) / _FRAMES_PER_SECOND


def _by_written_word(spoken: Sequence[Sequence[str]], times: Sequence[tuple[float, float]]) -> list[WordTime]:
    """From times of spoken words ("twenty", "five") to those of the written ones ("25")."""
    placed: list[WordTime] = []
    position = 0
    for group in spoken:
        here = times[position : position + len(group)]
        position += len(group)
        placed.append((here[0][0], here[-1][1]) if group and len(here) == len(group) else None)
    return placed


def _window(speech: Sequence[Stretch], position: float) -> tuple[float, float, bool] | None:
    """The next stretch of sound to look at: start, end, and whether no speech follows; it ends in a pause where it can."""
    ahead = [(max(begin, position), end) for begin, end in speech if end > position + _SHORTEST_SECONDS]
    if not ahead:
        return None
    start = max(0.0, ahead[0][0] - 0.1)
    limit = start + _WINDOW_SECONDS
    ends = [end for _, end in ahead if end <= limit]
    if len(ends) == len(ahead):
        return start, ends[-1] + 0.1, True
    return start, ends[-1] + 0.1 if ends and ends[-1] - start >= _WINDOW_SECONDS / 2 else limit, False
