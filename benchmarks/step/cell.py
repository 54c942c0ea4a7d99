"""One cell in a process of its own: builds, warms up, then measures whatever each line asks for, and answers in JSON lines."""

import gc
import platform
import statistics
import time
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import torch
from torch import Tensor

from multigrain.benchmark import memory
from multigrain.benchmark.features import padded_features
from multigrain.benchmark.lengths import BatchSteps
from multigrain.benchmark.lines import serve
from step.implementations import Contender, build, load_libraries
from step.spec import COSTLIEST, CellSpec


def serve_cell() -> None:
    """Runs the cell that the first line of standard input describes, a round for each further line."""
    serve(_answers)


def _answers(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    spec = CellSpec.from_json(next(lines))
    torch.set_num_threads(spec.threads)
    load_libraries(spec)
    cell = Cell(spec, baseline=memory.resident())
    for number, batch in enumerate(spec.warm_up):
        cell.step(batch, -1 - number)
    ready = {"parameters": sum(parameter.numel() for parameter in cell.contender.module.parameters()), "baseline_bytes": cell.baseline}
    yield {**ready, **versions()}
    for line in lines:
        yield cell.answer(line)


class Cell:
    """The model of a cell, the batches that come next, and the most memory that a step took.

    Attributes:
        contender: the model and its trainer.
        baseline: bytes that were resident when all imports were done.
        most_bytes: the most above `baseline` in any step so far.
    """

    def __init__(self, spec: CellSpec, *, baseline: int):
        memory.keep_within_free_memory()
        self.spec, self.baseline, self.most_bytes = spec, baseline, 0
        self.contender = build(spec)
        self._queue = cycle(enumerate(spec.batches))

    def answer(self, request: str) -> dict[str, Any]:
        """What a request asks for: a `round`, or a step of the `costliest` batch for its memory."""
        gc.collect()
        if request == COSTLIEST:
            assert self.spec.costliest is not None
            self.step(self.spec.costliest, -10)
            answer: dict[str, Any] = {}
        elif self.spec.kind == "limit":
            from step.limit import measure_limit  # only ours: the counters are not for the other environments

            answer = measure_limit(self.contender, self.spec)
        else:
            answer = self._round()
        return {**answer, "peak_bytes": self.most_bytes}

    def _round(self) -> dict[str, Any]:
        """Times the next steps one by one; making their batches is not in the time."""
        steps, utterances = [], 0
        for _ in range(self.spec.steps_per_round):
            number, batch = next(self._queue)
            steps.append(self.step(batch, number))
            utterances += len(batch)
        seconds, in_optimizer, peaks = zip(*steps, strict=True)
        return {
            "seconds_per_step": statistics.fmean(seconds),
            "optimizer_seconds_per_step": statistics.fmean(in_optimizer),
            "utterances_per_second": utterances / sum(seconds),
            "typical_peak_bytes": statistics.median(peaks),
        }

    def step(self, batch: BatchSteps, number: int) -> tuple[float, float, int]:
        """One step: seconds in all, seconds of the optimiser, peak bytes above the imports."""
        inputs, label = drawn(self.contender, batch, self.spec, number)
        take = predict_step if self.spec.kind == "predict" else train_step
        memory.reset_peak()
        seconds, in_optimizer = take(self.contender, inputs, label)
        peak = memory.peak() - self.baseline
        self.most_bytes = max(self.most_bytes, peak)
        return seconds, in_optimizer, peak


def train_step(contender: Contender, inputs: Any, label: Tensor) -> tuple[float, float]:
    """Forward, backward, clipping, optimiser: seconds in all, and of the optimiser."""
    start = time.perf_counter()
    contender.optimizer.zero_grad()
    contender.loss(inputs, label).backward()
    contender.clip()
    before = time.perf_counter()
    contender.optimizer.step()
    end = time.perf_counter()
    return end - start, end - before


def predict_step(contender: Contender, inputs: Any, label: Tensor) -> tuple[float, float]:
    """One prediction: seconds, and none in an optimiser."""
    start = time.perf_counter()
    contender.predict(inputs)
    return time.perf_counter() - start, 0.0


def drawn(contender: Contender, batch: BatchSteps, spec: CellSpec, number: int) -> tuple[Any, Tensor]:
    """A batch as the contender takes it, and its labels; the same utterances whoever asks, and only one batch in memory at a time."""
    features, lengths = padded_features(batch, spec.pad_to, dims=spec.dims, seed=1_000_003 * spec.seed + 1009 * (number + 10))
    label = torch.linspace(-3.0, 3.0, len(batch))[:, None]
    return contender.pack(features, lengths, label), label


def versions() -> dict[str, str]:
    """What computes here."""
    return {"torch": torch.__version__, "python": platform.python_version(), "mkl": str(torch.backends.mkl.is_available())}
