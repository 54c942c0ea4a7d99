"""The voice: openSMILE's low-level descriptors of eGeMAPSv02, 25 numbers a frame, 100 frames a second.

Loudness, spectral balance and flux, four cepstral coefficients, pitch, jitter, shimmer, harmonicity, and frequency, width and strength of
three formants; pitch and what follows from it are 0 where the voice does not sound. These are not COVAREP's features, and a model
trained on those cannot read these.

openSMILE is not free software: its licence allows private, research and educational use, and commercial use only by agreement with
audEERING. It is a dependency here and not part of multigrain.

Source: Eyben et al., The Geneva Minimalistic Acoustic Parameter Set (GeMAPS), IEEE Transactions on Affective Computing, 2016.
"""

import warnings
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float

from multigrain.schema import FeatureSpec
from multigrain.video.parts import import_part
from multigrain.video.sound import SAMPLE_RATE_HZ

FRAME_RATE_HZ = 100.0
ACOUSTIC_DIM = 25
ACOUSTIC_SPEC = FeatureSpec(dim=ACOUSTIC_DIM, extractor="opensmile-egemapsv02-lld", version="2.6", rate_hz=FRAME_RATE_HZ)
LICENCE_NOTE = "Acoustic frames were computed with openSMILE, whose licence allows research and private use; commercial use needs a licence."

_SAMPLES_PER_FRAME = round(SAMPLE_RATE_HZ / FRAME_RATE_HZ)
_SHORTEST_SAMPLES = 1_600  # below a tenth of a second openSMILE's pitch has no window to look at
_BLOCK_FRAMES = 3_000  # frames that one call of a stream computes
_CONTEXT_FRAMES = 200  # sound on either side that these frames are computed with; with 100 the slowest of them (jitter, shimmer) sometimes differ


def acoustic_frames(samples: Float[np.ndarray, " sample"]) -> Float[np.ndarray, "step 25"]:
    """The voice's frames of a piece of sound, computed in one go.

    Args:
        samples: 16 kHz, mono, in -1..1.

    Returns:
        One frame every 10 ms, the first one's window at 0 s; about 4 fewer than hundredths of seconds, since windows end within the
        sound; no frame for sound shorter than 0.1 s.

    Raises:
        VideoError: openSMILE is not installed.
    """
    if len(samples) < _SHORTEST_SAMPLES:
        return np.zeros((0, ACOUSTIC_DIM), np.float32)
    values = _smile().process_signal(np.ascontiguousarray(samples, np.float32), SAMPLE_RATE_HZ).to_numpy(np.float32)
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


class AcousticStream:
    """Frames of a sound of any length, in blocks with overlap: the values of `acoustic_frames`, with memory that does not grow.

    Used as `frames = stream.push(samples)` for each piece of sound, of any size, and `stream.finish()` for the last frames.
    """

    def __init__(self) -> None:
        self._buffer = np.zeros(0, np.float32)
        self._left = 0  # frames at the buffer's beginning that were given out already and serve as context

    def push(self, samples: Float[np.ndarray, " sample"]) -> Float[np.ndarray, "step 25"]:
        """The frames that are certain now; often none."""
        self._buffer = np.concatenate([self._buffer, np.asarray(samples, np.float32)])
        found = []
        while len(self._buffer) >= (self._left + _BLOCK_FRAMES + _CONTEXT_FRAMES) * _SAMPLES_PER_FRAME:
            used = (self._left + _BLOCK_FRAMES + _CONTEXT_FRAMES) * _SAMPLES_PER_FRAME
            found.append(acoustic_frames(self._buffer[:used])[self._left : self._left + _BLOCK_FRAMES])
            gone = self._left + _BLOCK_FRAMES - _CONTEXT_FRAMES
            self._buffer, self._left = self._buffer[gone * _SAMPLES_PER_FRAME :].copy(), _CONTEXT_FRAMES
        return np.concatenate([np.zeros((0, ACOUSTIC_DIM), np.float32), *found])

    def finish(self) -> Float[np.ndarray, "step 25"]:
        """The frames of what is left at the end."""
        rest = acoustic_frames(self._buffer)[self._left :]
        self._buffer, self._left = np.zeros(0, np.float32), 0
        return rest


@cache
def _smile() -> Any:
    opensmile = import_part("opensmile", "the voice's features")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return opensmile.Smile(feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.LowLevelDescriptors)
