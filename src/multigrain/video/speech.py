"""Where somebody speaks: Silero's voice activity detector (MIT), which comes with its weights.

The network is computed here, with the package's weights and in numpy. It is too small for torch's threads, which wait for each other between
its steps while the face is looked for; and importing the package would change how many of them torch uses everywhere.
"""

import warnings
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from multigrain.errors import VideoError
from multigrain.video.sound import SAMPLE_RATE_HZ

_WINDOW, _CONTEXT = 512, 64  # samples that one step of the detector judges, and that it hears before them
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
        self._network = SpeechNetwork()
        self._buffer = np.zeros(0, np.float32)
        self._probabilities: list[np.ndarray] = []

    def push(self, samples: Float[np.ndarray, " sample"]) -> None:
        """Listens to more of the sound: 16 kHz, mono, in -1..1."""
        self._buffer = np.concatenate([self._buffer, np.asarray(samples, np.float32)])
        whole = len(self._buffer) // _WINDOW * _WINDOW
        if whole:
            self._probabilities.append(self._network.probabilities(self._buffer[:whole]))
            self._buffer = self._buffer[whole:].copy()

    def finish(self) -> list[Stretch]:
        """All stretches of speech, in the order of time, with a small margin and no overlap."""
        if len(self._buffer):
            self.push(np.zeros(_WINDOW - len(self._buffer), np.float32))
        return stretches(np.concatenate([np.zeros(0, np.float32), *self._probabilities]))


def stretches(probabilities: Float[np.ndarray, " window"]) -> list[Stretch]:
    """Stretches of speech from its probability in each window of 32 ms.

    One begins at a probability of 0.5 and ends where it stays below 0.35 for a quarter of a second; what is shorter than a tenth is left out.
    """
    seconds = _WINDOW / SAMPLE_RATE_HZ
    found: list[tuple[int, int]] = []
    begin: int | None = None
    voiced_until = 0
    for step, probability in enumerate([*probabilities.tolist(), *[0.0] * 32]):
        if probability >= _BEGINS and begin is None:
            begin = step
        if probability >= _ENDS:
            voiced_until = step + 1
        elif begin is not None and (step + 1 - voiced_until) * seconds >= _SHORTEST_SILENCE:
            found.append((begin, voiced_until))
            begin = None
    long_enough = [(first * seconds, end * seconds) for first, end in found if (end - first) * seconds >= _SHORTEST_SPEECH]
    return [(max(0.0, first - _MARGIN), end + _MARGIN) for first, end in long_enough]


class SpeechNetwork:
    """Silero's network for 16 kHz: a short-time Fourier transform as a convolution, four convolutions, an LSTM; it remembers what it heard last.

    Raises:
        VideoError: silero-vad is not installed.
    """

    def __init__(self) -> None:
        self._weights = _weights()
        self._hidden, self._cell = np.zeros(128, np.float32), np.zeros(128, np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)

    def probabilities(self, samples: Float[np.ndarray, " sample"]) -> Float[np.ndarray, " window"]:
        """The probability of speech in each window of 512 samples.

        Args:
            samples: a multiple of 512; what follows what was heard before.
        """
        heard = np.concatenate([self._context, samples])
        self._context = heard[-_CONTEXT:].copy()
        windows = np.lib.stride_tricks.sliding_window_view(heard, _CONTEXT + _WINDOW)[::_WINDOW]
        windows = np.pad(windows, ((0, 0), (0, _CONTEXT)), mode="reflect")
        parts = np.lib.stride_tricks.sliding_window_view(windows, 256, axis=1)[:, ::128] @ self._weights["stft.forward_basis_buffer"][:, 0].T
        hidden = np.sqrt(parts[..., :129] ** 2 + parts[..., 129:] ** 2)
        for number, stride in enumerate((1, 2, 2, 1)):
            weight, bias = (self._weights[f"encoder.{number}.reparam_conv.{name}"] for name in ("weight", "bias"))
            hidden = np.maximum(_convolved(hidden, weight, stride) + bias, 0.0)
        states = np.maximum(self._remembered(hidden[:, 0]), 0.0)
        return _sigmoid(states @ self._weights["decoder.decoder.2.weight"][0, :, 0] + self._weights["decoder.decoder.2.bias"])

    def _remembered(self, inputs: Float[np.ndarray, "window 128"]) -> Float[np.ndarray, "window 128"]:
        """The LSTM's state after each window; gates are input, forget, cell, output."""
        weights = {name: self._weights[f"decoder.rnn.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        given = inputs @ weights["weight_ih"].T + weights["bias_ih"] + weights["bias_hh"]
        states = np.zeros((len(inputs), 128), np.float32)
        for step, gates in enumerate(given):
            gates = gates + weights["weight_hh"] @ self._hidden
            opened = _sigmoid(gates)
            self._cell = opened[128:256] * self._cell + opened[:128] * np.tanh(gates[256:384])
            self._hidden = states[step] = opened[384:] * np.tanh(self._cell)
        return states


def _convolved(
    values: Float[np.ndarray, "window time channel"], weight: Float[np.ndarray, "feature channel 3"], stride: int
) -> Float[np.ndarray, "window step feature"]:
    """A convolution over time with one step of padding on both sides."""
    padded = np.pad(values, ((0, 0), (1, 1), (0, 0)))
    return np.tensordot(np.lib.stride_tricks.sliding_window_view(padded, 3, axis=1)[:, ::stride], weight, axes=((2, 3), (1, 2)))


def _sigmoid(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return 0.5 * (1.0 + np.tanh(values / 2.0))


@cache
def _weights() -> dict[str, np.ndarray]:
    """The weights of the package's own network, read from its file without importing the package."""
    spec = find_spec("silero_vad")
    if spec is None or spec.origin is None:
        raise VideoError("silero-vad is needed to find where somebody speaks and is not installed. Install it: pip install 'multigrain[video]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript, which the file is, has been declared old
        network = torch.jit.load(str(Path(spec.origin).parent / "data" / "silero_vad.jit"), map_location="cpu")
    return {
        name.removeprefix("_model."): values.detach().numpy().copy() for name, values in network.state_dict().items() if name.startswith("_model.")
    }
