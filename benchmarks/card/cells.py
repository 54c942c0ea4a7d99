"""Training steps timed: the plain implementation, ours launched from Python, and ours as CUDA graphs."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from step.flops import model_forward_flops, projection_flops, step_flops
from torch import Tensor

from card.fixed_steps import FixedSteps, length_shapes
from card.peaks import bytes_moved
from card.precision import autocast_in, peak_bytes, products_in, reset_peak, wait_for
from multigrain.benchmark.features import padded_features
from multigrain.benchmark.lengths import DIMS, UNALIGNED_PADDING, BatchSteps, bucketed_batches, draw_words, plan_of, steps_of
from multigrain.benchmark.models import TrainingStep, published_config
from multigrain.losses import task_loss
from multigrain.schema import Batch

PLAIN, LAUNCHED, GRAPHED = "plain", "launched", "graphed"
WAYS = {
    PLAIN: "plain: padded to 50/375/500, attention weights made",
    LAUNCHED: "ours, launched from Python",
    GRAPHED: "ours, one CUDA graph a bucket",
}
LAW, FULL = "length law", "all of 50/375/500 real"
LEAST_ROUNDS, MOST_ROUNDS = 3, 9
BATCHES_A_ROUND = 6


@dataclass(kw_only=True)
class CardCell:
    """One row.

    Attributes:
        model: `mult` or `mcmut`.
        batch: utterances.
        input: `LAW` or `FULL`.
        precision: of `PRECISIONS`.
        way: of `WAYS`.
        seconds: mean of a step, one for each round.
        preparing_seconds: warm-up and, for graphs, their capture.
        peak_bytes: of the GPU's memory, parameters and graphs included; None on a CPU.
        operations: of a step at the lengths of its batches (a batch's longest), whatever way it is computed in.
        moved_bytes: that the operations of a step, launched one by one, read and write; None where it was not counted.
        error: why there is no number.
    """

    model: str
    batch: int
    input: str
    precision: str
    way: str
    seconds: list[float] = field(default_factory=list)
    preparing_seconds: float | None = None
    peak_bytes: int | None = None
    operations: float | None = None
    moved_bytes: float | None = None
    error: str | None = None

    @property
    def key(self) -> tuple[str, int, str, str]:
        """What competing ways share."""
        return self.model, self.batch, self.input, self.precision

    @property
    def step_seconds(self) -> float | None:
        """The median."""
        return statistics.median(self.seconds) if self.seconds else None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def measure_cell(cell: CardCell, device: torch.device, *, seconds: float, batches_a_round: int = BATCHES_A_ROUND) -> None:
    """Fills a cell; what fails, most likely for want of memory, is said in it.

    Args:
        cell: what to measure.
        device: where.
        seconds: about how long its rounds may take; at least `LEAST_ROUNDS` are taken.
        batches_a_round: batches that a round takes.
    """
    try:
        _measure(cell, device, seconds, batches_a_round)
    except torch.OutOfMemoryError:
        cell.error = "out of the GPU's memory"
    except RuntimeError as error:  # a kernel or a capture that failed; the other cells go on
        cell.error = " ".join(str(error).split())[:300]
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _measure(cell: CardCell, device: torch.device, seconds: float, batches_a_round: int) -> None:
    reset_peak(device)
    all_steps = batches_of(cell, batches_a_round)
    batches = [drawn(steps, number, pad_to=UNALIGNED_PADDING if cell.way == PLAIN else None).to(device) for number, steps in enumerate(all_steps)]
    torch.manual_seed(0)
    step = TrainingStep(cell.model, published_config(cell.model), device=device, is_capturable=device.type == "cuda")
    start = time.perf_counter()
    take = _taking(cell, step)
    for batch in batches:
        take(batch)
    wait_for(device)
    cell.preparing_seconds = time.perf_counter() - start
    cell.seconds = list(_rounds(take, batches, device, seconds))
    cell.peak_bytes = peak_bytes(device)
    cell.operations = statistics.fmean(operations(step, steps) for steps in all_steps)
    if cell.way == LAUNCHED:
        cell.moved_bytes = statistics.fmean(bytes_moved(partial(take, batch)) for batch in batches)


def _taking(cell: CardCell, step: TrainingStep) -> Callable[[Batch], Tensor]:
    if cell.way == GRAPHED:
        shapes = [list(UNALIGNED_PADDING)] if cell.input == FULL else length_shapes()
        return FixedSteps(step, cell.batch, shapes, cell.precision).take
    return partial(launched_step, step, precision=cell.precision, with_weights=cell.way == PLAIN)


def launched_step(step: TrainingStep, batch: Batch, *, precision: str, with_weights: bool = False) -> Tensor:
    """One step, its kernels launched one by one; `with_weights` makes and keeps every attention matrix."""
    device = next(step.model.parameters()).device
    assert batch.label is not None
    step.optimizer.zero_grad()
    with products_in(precision):
        with autocast_in(precision, device):
            prediction = step.model(batch, with_attention=with_weights).prediction
        loss = task_loss(step.task, prediction, batch.label)
        loss.backward()
        step.clip()
        step.optimizer.step()
    return loss.detach()


def _rounds(take: Callable[[Batch], Tensor], batches: list[Batch], device: torch.device, seconds: float) -> Iterator[float]:
    end = time.perf_counter() + seconds
    for number in range(MOST_ROUNDS):
        if number >= LEAST_ROUNDS and time.perf_counter() > end:
            return
        wait_for(device)
        start = time.perf_counter()
        for batch in batches:
            take(batch)
        wait_for(device)
        yield (time.perf_counter() - start) / len(batches)


def batches_of(cell: CardCell, count: int) -> list[BatchSteps]:
    """An even sample of the epoch's batches at the length law, or one batch of full length."""
    if cell.input == FULL:
        return [[list(UNALIGNED_PADDING)] * cell.batch]
    steps = steps_of(draw_words(max(1284, 4 * cell.batch), np.random.default_rng(0)))
    return plan_of(bucketed_batches(steps, cell.batch, shuffle=True, seed=0), count).batches


def drawn(steps: BatchSteps, number: int, *, pad_to: list[int] | None = None) -> Batch:
    """A batch of random features on the CPU."""
    features, lengths = padded_features(steps, pad_to, seed=1009 * (number + 10))
    return Batch.from_arrays(**features, lengths=lengths, label=torch.linspace(-3.0, 3.0, len(steps)))


def operations(step: TrainingStep, batch: BatchSteps) -> float:
    """Floating-point operations of a training step on a batch that is trimmed to its longest."""
    steps, dims = [max(counts) for counts in zip(*batch, strict=True)], list(DIMS.values())
    width = step.model.config.width
    return step_flops(model_forward_flops(step.model, len(batch), steps, dims), projection_flops(len(batch), steps, dims, width))
