"""The sound of a video on disk, 16 kHz in one channel, so that any part of it can be heard again without keeping all in memory."""

import tempfile
from types import TracebackType

import numpy as np
from jaxtyping import Float

from multigrain.errors import VideoError

SAMPLE_RATE_HZ = 16_000
"""Of all sound here, whatever a file has."""
_BYTES = 2  # a sample on disk is a 16-bit number, as in a wav file


class Sound:
    """A temporary file of samples, gone when it is closed; used as a context manager.

    Attributes:
        num_samples: written so far.
    """

    def __init__(self) -> None:
        self.num_samples = 0
        self._file = tempfile.TemporaryFile(prefix="multigrain-sound-")  # noqa: SIM115 (closed in __exit__)

    def __enter__(self) -> "Sound":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    @property
    def duration_seconds(self) -> float:
        """How long it is."""
        return self.num_samples / SAMPLE_RATE_HZ

    def write(self, samples: Float[np.ndarray, " sample"]) -> None:
        """Adds samples, in -1..1; what is louder is cut.

        Raises:
            VideoError: the disk for temporary files is full.
        """
        numbers = np.clip(np.rint(np.nan_to_num(samples) * 32768.0), -32768, 32767).astype("<i2")
        try:
            self._file.seek(0, 2)
            self._file.write(numbers.data)
        except OSError as error:
            raise VideoError(
                f"The sound could not be kept in {tempfile.gettempdir()}: {error.strerror or error}. An hour needs 115 MB; free some space, or name "
                "another folder for temporary files in the environment variable TMPDIR."
            ) from error
        self.num_samples += len(numbers)

    def read(self, start: float, end: float) -> Float[np.ndarray, " sample"]:
        """The samples from `start` to `end` seconds, as far as there are any, in -1..1."""
        first = min(max(0, round(start * SAMPLE_RATE_HZ)), self.num_samples)
        last = min(max(first, round(end * SAMPLE_RATE_HZ)), self.num_samples)
        self._file.seek(first * _BYTES)
        numbers = np.frombuffer(self._file.read((last - first) * _BYTES), dtype="<i2")
        return numbers.astype(np.float32) / 32768.0
