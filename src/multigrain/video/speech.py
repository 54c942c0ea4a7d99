"""Where somebody speaks: Silero's voice activity detector (MIT), which comes with its weights."""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from multigrain.errors import VideoError

SAMPLE_RATE_HZ = 16_000
_WINDOW = 512  # samples that one step of the detector hears
_BEGINS, _ENDS = 0.5, 0.35  # probabilities of speech at which a stretch begins and ends
_SHORTEST_SILENCE, _SHORTEST_SPEECH, _MARGIN = 0.25, 0.1, 0.06  # seconds

Stretch = tuple[float, float]
"""Start and end in seconds."""


class SpeechDetector:
    """Hears a sound of any length piece by piece: `push(samples)` for each, then `finish()` gives where speech is.

    Raises:
        VideoError: silero-vad is not installed.
    """

    def __init__(self) -> None:
        self._network = _network()
        self._buffer = np.zeros(0, np.float32)
        self._step = 0
        self._begin: int | None = None
        self._last_voiced = 0
        self._stretches: list[tuple[int, int]] = []

    def push(self, samples: Float[np.ndarray, " sample"]) -> None:
        """Listens to more of the sound: 16 kHz, mono, in -1..1."""
        self._buffer = np.concatenate([self._buffer, np.asarray(samples, np.float32)])
        whole = len(self._buffer) // _WINDOW * _WINDOW
        windows = torch.from_numpy(self._buffer[:whole].reshape(-1, 1, _WINDOW))
        with torch.inference_mode():
            for window in windows:
                self._hear(float(self._network(window, SAMPLE_RATE_HZ)))
        self._buffer = self._buffer[whole:].copy()

    def finish(self) -> list[Stretch]:
        """All stretches of speech, in the order of time, with a small margin and no overlap."""
        if len(self._buffer):
            self.push(np.zeros(_WINDOW - len(self._buffer), np.float32))
        self._end_stretch()
        seconds = _WINDOW / SAMPLE_RATE_HZ
        found = [(begin * seconds, end * seconds) for begin, end in self._stretches if (end - begin) * seconds >= _SHORTEST_SPEECH]
        return [(max(0.0, begin - _MARGIN), end + _MARGIN) for begin, end in found]

    def _hear(self, probability: float) -> None:
        if probability >= _BEGINS and self._begin is None:
            self._begin = self._step
        self._step += 1
        if probability >= _ENDS:
            self._last_voiced = self._step
        elif self._begin is not None and (self._step - self._last_voiced) * _WINDOW >= _SHORTEST_SILENCE * SAMPLE_RATE_HZ:
            self._end_stretch()

    def _end_stretch(self) -> None:
        if self._begin is not None:
            self._stretches.append((self._begin, self._last_voiced))
        self._begin = None


def _network() -> Any:
    """The detector's network, from silero-vad's folder: importing that package would change how many threads torch uses everywhere.

    It remembers what it heard last, so that each detector has one of its own.
    """
    spec = find_spec("silero_vad")
    if spec is None or spec.origin is None:
        raise VideoError("silero-vad is needed to find where somebody speaks and is not installed. Install it with: pip install 'multigrain[video]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is what the package comes as
        network = torch.jit.load(str(Path(spec.origin).parent / "data" / "silero_vad.jit"), map_location="cpu")
    network.eval()
    return network
