"""How time and memory of a training step grow with length and batch, each point in a process of its own."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from multigrain.benchmark import memory
from multigrain.benchmark.lengths import steps_of
from step.processes import CellResult, Runner, say
from step.spec import CellSpec

MODELS: tuple[Literal["mult", "mcmut"], ...] = ("mult", "mcmut")
LENGTHS = (1, 2, 4, 8)
BATCHES = (8, 16, 32, 64, 128, 256)
BASE_WORDS = 12.5  # MOSI's mean
BASE_BATCH = 16
LINEAR = 1.15  # the largest exponent of the last doubling that still counts as linear
MOST_OF_FREE_MEMORY = 0.85
AT_MOST = {"length": 4.0, "batch": 2.2}  # what a doubling multiplies time and memory with


@dataclass
class Point:
    """One size of one series; `skipped` says why it was not measured."""

    model: Literal["mult", "mcmut"]
    series: Literal["length", "batch"]
    size: int
    batch: int
    steps: list[int]
    result: CellResult | None = None
    skipped: str | None = None

    @property
    def seconds(self) -> float | None:
        """Of a step."""
        return self.result.median("seconds_per_step") if self.result and self.result.rounds else None

    @property
    def peak_bytes(self) -> int | None:
        """Above the imports."""
        return self.result.peak_bytes if self.result and self.result.rounds else None

    @property
    def reason(self) -> str | None:
        """Why there is no number."""
        return self.skipped or (self.result.error if self.result else None)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        sizes = {"model": self.model, "series": self.series, "size": self.size, "batch": self.batch, "steps": self.steps}
        return {**sizes, "seconds": self.seconds, "peak_bytes": self.peak_bytes, "reason": self.reason}


def points() -> list[Point]:
    """All sizes: length at batch 16, then batch at length x1; every utterance of a batch is equally long, so that none is padded."""
    by_length = [Point(model, "length", times, BASE_BATCH, _steps(times)) for model in MODELS for times in LENGTHS]
    by_batch = [Point(model, "batch", batch, batch, _steps(1)) for model in MODELS for batch in BATCHES]
    return by_length + by_batch


def measure_growth(run: Runner, *, rounds: int, threads: int, seed: int, budget_seconds: float) -> list[Point]:
    """Measures as many points as memory and the time allow, small ones first."""
    measured: list[Point] = []
    end = time.monotonic() + budget_seconds
    for point in points():
        before = [other for other in measured if (other.model, other.series) == (point.model, point.series)]
        point.skipped = reason_to_skip(point, before, end - time.monotonic(), rounds)
        if point.skipped:
            say(f"growth, {point.model}, {point.series} {point.size}: skipped, {point.skipped}")
        else:
            batch = [point.steps] * point.batch
            name = f"growth, {point.model}, {point.series} {point.size}"
            spec = CellSpec(key=name, name=name, model=point.model, batches=[batch], warm_up=[batch], threads=threads, seed=seed)
            (point.result,) = run([spec], rounds)
        measured.append(point)
    return measured


def reason_to_skip(point: Point, before: Sequence[Point], seconds_left: float, rounds: int) -> str | None:
    """Why a point is not worth starting, judged by the smaller ones of its series; None where it is."""
    if before and before[-1].reason:
        return "the smaller size before it could not be measured"
    if before and before[-1].peak_bytes is not None:
        needed, free = _memory_factor(point, before) * before[-1].peak_bytes, memory.available()
        if free is not None and needed > MOST_OF_FREE_MEMORY * free:
            return f"it would need about {needed / 1e9:.0f} GB of memory and {free / 1e9:.0f} GB are free"
    if before and before[-1].seconds is not None:
        needed = AT_MOST[point.series] * before[-1].seconds * (rounds + 1)
        if needed > seconds_left:
            return f"it would take up to {needed:.0f} s, and {max(0.0, seconds_left):.0f} s are left"
    return "no time is left" if seconds_left <= 0 else None


def _memory_factor(point: Point, before: Sequence[Point]) -> float:
    """What the next doubling may cost: a little more than the last one did where two sizes are known."""
    if len(before) >= 2 and before[-1].peak_bytes and before[-2].peak_bytes:
        return max(2.0, 1.15 * before[-1].peak_bytes / before[-2].peak_bytes)
    return AT_MOST[point.series]


def fitted_exponent(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """The slope of log(value) over log(size) by least squares; None with fewer than two points.

    >>> round(fitted_exponent([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    if len(sizes) < 2:
        return None
    horizontal, vertical = [math.log(size) for size in sizes], [math.log(value) for value in values]
    middle, height = sum(horizontal) / len(sizes), sum(vertical) / len(sizes)
    spread = sum((place - middle) ** 2 for place in horizontal)
    return sum((place - middle) * (value - height) for place, value in zip(horizontal, vertical, strict=True)) / spread


def exponents(measured: Sequence[Point], model: str, series: str, name: str) -> tuple[float | None, float | None]:
    """The exponent over all points of a series, and that of its last doubling, where what does not grow weighs least."""
    known = [point for point in measured if (point.model, point.series) == (model, series) and getattr(point, name)]
    sizes, values = [point.size for point in known], [getattr(point, name) for point in known]
    return fitted_exponent(sizes, values), fitted_exponent(sizes[-2:], values[-2:])


def _steps(times: int) -> list[int]:
    return steps_of([BASE_WORDS * times])[0].tolist()
