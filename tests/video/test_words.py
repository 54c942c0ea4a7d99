"""Letters to sounds, forced alignment, voice activity, recognisers' names."""

import importlib.util
import sys
import warnings
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pocketsphinx
import pytest
import torch

from made_clips import GRID_WORDS, inspected, spoken_like, tone
from multigrain.errors import VideoError
from multigrain.video.alignment import Aligner
from multigrain.video.letter_to_sound import phones, spoken_words
from multigrain.video.media import sound_blocks
from multigrain.video.recognition import recognise
from multigrain.video.sound import Sound
from multigrain.video.speech import SpeechDetector, SpeechNetwork, stretches


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner()


def samples_of(path: Path) -> np.ndarray:
    return np.concatenate(list(sound_blocks(inspected(path))))


# Letters ----------------------------------------------------------------------------------------------------------


def test_spoken_words():
    assert spoken_words("Don’t") == ("don't",)
    assert spoken_words("$5.50") == ("dollars", "five", "point", "five", "zero")
    assert spoken_words("2,013,007") == ("two", "million", "thirteen", "thousand", "seven")
    assert spoken_words("007") == ("zero", "zero", "seven")
    assert spoken_words("Ångström-naïve") == ("angstrom", "naive")
    assert spoken_words("привет") == spoken_words("…") == ()
    assert spoken_words("a" * 61 + "-a") == ("a",)  # the rules take time in proportion to the square of the letters


def test_rules_spell_most_of_the_dictionary_nearly_right():
    path = Path(pocketsphinx.get_model_path()) / "en-us" / "cmudict-en-us.dict"
    entries = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    entries = [entry for entry in entries if entry[0].isalpha() and entry[0].isascii()][::50]
    wrong = sum(edits(phones(word), sounds) for word, *sounds in entries)
    assert wrong / sum(len(entry) - 1 for entry in entries) < 0.22
    known = {phone for _, *sounds in entries for phone in sounds}
    assert {phone for word, *_ in entries for phone in phones(word)} <= known


def edits(first, second):
    row = list(range(len(second) + 1))
    for number, left in enumerate(first, 1):
        above, row[0] = row[:], number
        for place, right in enumerate(second, 1):
            row[place] = min(above[place] + 1, row[place - 1] + 1, above[place - 1] + (left != right))
    return row[-1]


# Alignment --------------------------------------------------------------------------------------------------------


def test_words_that_the_sound_cannot_hold_have_no_time(aligner):
    assert aligner.align(["many", "words", "indeed"], np.zeros(1_000, np.float32)) == [None] * 3
    assert aligner.align(["--", "привет"], tone(1.0)) == [None, None]
    assert aligner.align([f"unbelievable{number}" for number in "abcdefghijklmnop"], tone(0.3)) == [None] * 16


def test_real_words_are_found_in_order_and_unknown_ones_are_spelled(aligner, face_clips):
    samples = samples_of(face_clips / "grid_bbaf2n.mpg")
    plain = aligner.align(["bin", "blue", "at", "f", "two", "now"], samples)
    assert all(first[1] <= second[0] + 1e-6 for first, second in pairwise(plain))
    assert 0.7 < plain[0][0] < 1.2
    odd = aligner.align(["Binn,", "-", "bloo", "at", "F", "2", "now!"], samples, start=10.0)
    assert odd[1] is None
    for expected, found in zip(plain, [time for time in odd if time], strict=True):
        assert abs(expected[0] + 10.0 - found[0]) < 0.1


def test_a_long_text_is_placed_window_by_window(aligner, face_clips):
    """Twelve clips in a row, twice as long as a window, with words at the end that nobody says."""
    pieces = [(samples_of(face_clips / f"{name}.mpg"), words.split()) for name, words in GRID_WORDS.items()] * 2
    expected, text, start = [], [], 0.0
    with Sound() as sound:
        detector = SpeechDetector()
        for samples, words in pieces:
            expected += aligner.align(words, samples, start)
            text += words
            sound.write(samples)
            detector.push(samples)
            start += len(samples) / 16_000
        found = aligner.place([*text, *["and", "this", "is", "never", "said", "by", "anybody", "here"]], sound, detector.finish())
    assert start > 30
    placed = [(one, other) for one, other in zip(expected, found[: len(text)], strict=True) if other is not None]
    assert len(placed) == len(text)
    assert np.median([abs(one[0] - other[0]) for one, other in placed]) < 0.05
    assert np.mean([abs(one[0] - other[0]) < 0.15 for one, other in placed]) > 0.9
    assert sum(time is not None for time in found[len(text) :]) <= 2


# Voice activity ---------------------------------------------------------------------------------------------------


def test_the_network_is_that_of_the_package():
    samples = np.concatenate([spoken_like(2.0), np.zeros(8_000, np.float32), tone(1.0), spoken_like(1.1)])
    samples = samples[: len(samples) // 512 * 512]
    network = SpeechNetwork()
    ours = np.concatenate([network.probabilities(samples[:5_120]), network.probabilities(samples[5_120:])])
    folder = Path(importlib.util.find_spec("silero_vad").origin).parent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.jit.load(str(folder / "data" / "silero_vad.jit"))
        with torch.no_grad():
            probabilities = [theirs(torch.from_numpy(samples[start : start + 512]), 16_000).item() for start in range(0, len(samples), 512)]
    assert max(probabilities) > 0.5 > min(probabilities)
    np.testing.assert_allclose(ours, probabilities, atol=1e-4)


def test_the_detector_hears_the_same_in_any_pieces(face_clips):
    samples = np.concatenate([samples_of(face_clips / "grid_bbaf2n.mpg"), np.zeros(16_000, np.float32), samples_of(face_clips / "grid_brbk7n.mpg")])
    found = []
    for size in (len(samples), 7_777):
        detector = SpeechDetector()
        for start in range(0, len(samples), size):
            detector.push(samples[start : start + size])
        found.append(detector.finish())
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    assert len(found[0]) == 2
    assert 0.5 < found[0][0][0] < 1.1


def test_stretches_bridge_short_pauses_and_drop_clicks():
    window = 512 / 16_000
    probabilities = np.array([0.0] * 10 + [0.9] * 10 + [0.2] * 3 + [0.9] * 10 + [0.1] * 20 + [0.9] * 2 + [0.0] * 20)
    assert stretches(probabilities) == [(pytest.approx(10 * window - 0.06), pytest.approx(33 * window + 0.06))]
    assert stretches(np.zeros(0)) == []


# Recognition ------------------------------------------------------------------------------------------------------


def test_pocketsphinx_recognises_some_of_the_words(face_clips):
    with Sound() as sound:
        sound.write(samples_of(face_clips / "grid_lrwp9a.mpg"))
        words = recognise(sound, [(0.3, 2.6)], "pocketsphinx")
    assert words
    assert all(0.2 <= word.start < word.end <= 2.8 for word in words)


def test_whisper_is_called_as_its_library_wants(monkeypatch):
    """The library is not installed here; its interface is stood in for, as its documentation gives it."""
    calls = []

    class WhisperModel:
        def __init__(self, name):
            calls.append(name)

        def transcribe(self, samples, *, word_timestamps, condition_on_previous_text):
            word = SimpleNamespace(start=np.float64(0.5), end=np.float64(0.75), word=" hello")
            assert samples.dtype == np.float32
            return iter([SimpleNamespace(words=[word]), SimpleNamespace(words=None)]), None

    library = ModuleType("faster_whisper")
    library.WhisperModel = WhisperModel
    monkeypatch.setitem(sys.modules, "faster_whisper", library)
    with Sound() as sound:
        sound.write(tone(70.0))
        words = recognise(sound, [(1.0, 62.0)], "whisper:small")
    assert calls == ["small"]
    assert [(word.text, word.start) for word in words] == [("hello", 1.5), ("hello", 29.5), ("hello", 57.5)]


@pytest.mark.parametrize(
    ("name", "message"), [("wisper:small", "There is no recogniser 'wisper:small'.*Did you mean 'whisper'"), ("whisper:", "no recogniser")]
)
def test_unknown_recognisers_are_refused(name, message):
    with Sound() as sound, pytest.raises(VideoError, match=message):
        recognise(sound, [], name)


def test_a_missing_library_is_said_in_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with Sound() as sound, pytest.raises(VideoError, match="pip install faster-whisper"):
        recognise(sound, [], "whisper:small")
