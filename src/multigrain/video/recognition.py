"""What is said in a video that comes without a transcript: by faster-whisper where it is installed, or by pocketsphinx as the last resort."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from multigrain.errors import VideoError, nearest
from multigrain.video.parts import import_part
from multigrain.video.sound import SAMPLE_RATE_HZ, Sound
from multigrain.video.speech import Stretch
from multigrain.video.transcript import TimedWord, clean_text

RECOGNIZERS: tuple[str, ...] = ("none", "pocketsphinx", "whisper:MODEL")
UNRELIABLE_NOTE = (
    "The text was recognised by pocketsphinx and is unreliable: on clear English speech more than one word in four is wrong. Give a transcript, or "
    "use --recognizer whisper:MODEL."
)

Recognise = Callable[[Float[np.ndarray, " sample"], float], list[TimedWord]]
"""From samples and the second at which they begin to the words in them."""

_WINDOW_SECONDS = 28.0  # whisper hears at most 30 at once


def check_recognizer(name: str) -> None:
    """Checks a recogniser's name, before anything else is done.

    Raises:
        VideoError: there is no such recogniser, or whisper was given no model.
    """
    kind, _, model = name.partition(":")
    if name not in ("none", "pocketsphinx") and not (kind == "whisper" and model):
        hint = nearest(kind, ["none", "pocketsphinx", "whisper"])
        raise VideoError(f"There is no recogniser {name!r}; expected {', '.join(RECOGNIZERS)}, such as whisper:small.{hint}")


def recognise(sound: Sound, speech: Sequence[Stretch], recognizer: str, progress: Callable[[float], None] = lambda share: None) -> list[TimedWord]:
    """The words that are spoken, with their times.

    Args:
        sound: of the whole video.
        speech: where somebody speaks.
        recognizer: `pocketsphinx` or `whisper:MODEL`, a name or folder of faster-whisper.
        progress: told the share that is done.

    Raises:
        VideoError: the recogniser is not installed, or its model cannot be loaded.
    """
    check_recognizer(recognizer)
    hear = _pocketsphinx() if recognizer == "pocketsphinx" else _whisper(recognizer.partition(":")[2])
    words: list[TimedWord] = []
    windows = _windows(speech)
    for number, (start, end) in enumerate(windows, start=1):
        words += hear(sound.read(start, end), start)
        progress(number / len(windows))
    return words


def _windows(speech: Sequence[Stretch]) -> list[Stretch]:
    """Stretches of speech put together to windows that one call can hear; a longer one is cut."""
    windows: list[Stretch] = []
    for begin, end in speech:
        while end - begin > _WINDOW_SECONDS:
            windows.append((begin, begin + _WINDOW_SECONDS))
            begin += _WINDOW_SECONDS
        if windows and end - windows[-1][0] <= _WINDOW_SECONDS and begin - windows[-1][1] < 2.0:
            windows[-1] = (windows[-1][0], end)
        else:
            windows.append((begin, end))
    return windows


def _pocketsphinx() -> Recognise:
    decoder: Any = import_part("pocketsphinx", "recognising speech").Decoder(samprate=SAMPLE_RATE_HZ, loglevel="FATAL")

    def hear(samples: np.ndarray, start: float) -> list[TimedWord]:
        if len(samples) < SAMPLE_RATE_HZ // 10:
            return []
        decoder.start_utt()
        decoder.process_raw(np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        segments = [(segment.word.split("(")[0], segment.start_frame, segment.end_frame + 1) for segment in decoder.seg() or ()]
        return [TimedWord(word, start + begin / 100, start + end / 100) for word, begin, end in segments if word and word[0] not in "<[+"]

    return hear


def _whisper(model: str) -> Recognise:
    try:
        faster_whisper = import_part("faster_whisper", "recognising speech with whisper")
    except VideoError as error:
        raise VideoError(
            f"--recognizer whisper:{model}: faster-whisper is not installed or does not load. Install it with: pip install faster-whisper"
        ) from error
    try:
        network = faster_whisper.WhisperModel(model)
    except (OSError, ValueError, RuntimeError) as error:
        raise VideoError(
            f"The whisper model {model!r} cannot be loaded ({error}). Name a size such as small, which is downloaded once, or a folder with a model "
            "for faster-whisper."
        ) from error

    def hear(samples: np.ndarray, start: float) -> list[TimedWord]:
        segments, _ = network.transcribe(samples, word_timestamps=True, condition_on_previous_text=False)
        words = [word for segment in segments for word in segment.words or ()]
        return [TimedWord(clean_text(word.word), start + float(word.start), start + float(word.end)) for word in words if clean_text(word.word)]

    return hear
