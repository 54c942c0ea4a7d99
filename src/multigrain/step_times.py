"""When the steps of a video's voice or face are: at a regular rate, with gaps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class StepTimes:
    """When the steps of a sequence are, in the video: runs of steps at a regular rate, with gaps where steps were left out.

    Attributes:
        rate_hz: steps per second within a run.
        runs: per run, the second at which its first step begins, and its number of steps; in the order of time.
    """

    rate_hz: float
    runs: tuple[tuple[float, int], ...]

    def seconds(self) -> Float[np.ndarray, " step"]:
        """The second at which each step begins; a step lasts 1 / rate_hz."""
        if not self.runs:
            return np.zeros(0)
        return np.concatenate([start + np.arange(count) / self.rate_hz for start, count in self.runs])

    @classmethod
    def of_steps(cls, rate_hz: float, steps: Int[np.ndarray, " step"]) -> "StepTimes":
        """Of ascending step numbers on a grid that begins at second 0.

        >>> StepTimes.of_steps(10.0, np.array([3, 4, 8])).runs
        ((0.3, 2), (0.8, 1))
        """
        breaks = np.flatnonzero(np.diff(steps) != 1) + 1
        runs = np.split(steps, breaks) if len(steps) else []
        return cls(rate_hz, tuple((float(run[0]) / rate_hz, len(run)) for run in runs))

    def to_dict(self) -> dict[str, Any]:
        """The times as plain JSON values."""
        return {"rate_hz": self.rate_hz, "runs": [list(run) for run in self.runs]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "StepTimes":
        """The inverse of `to_dict`."""
        return cls(float(values["rate_hz"]), tuple((float(start), int(count)) for start, count in values["runs"]))
