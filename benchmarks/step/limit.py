"""How far a training step of ours is from what the machine could do."""

import statistics
from typing import Any

from multigrain.benchmark.lengths import DIMS, BatchSteps
from multigrain.layers.native.library import without_native_kernels
from step.cell import drawn, train_step
from step.flops import counted, matrix_product_peak, model_forward_flops, projection_flops, step_flops
from step.implementations import Contender
from step.profile import spent_on
from step.spec import CellSpec

AGREEMENT = 0.01  # relative
ROUNDS = 5
STEPS_PROFILED = 3


def measure_limit(contender: Contender, spec: CellSpec) -> dict[str, Any]:
    """Operations, time and peak of the cell's batches, and a profile; per step, averaged over the batches."""
    peak_before = matrix_product_peak()
    rounds = [[train_step(contender, *drawn(contender, batch, spec, number))[0] for number, batch in enumerate(spec.batches)] for _ in range(ROUNDS)]
    profiled = _profile(contender, spec)
    peak_after = matrix_product_peak()
    seconds = statistics.median(statistics.fmean(taken) for taken in rounds)
    peak = statistics.median([peak_before, peak_after])
    operations = count_operations(contender, spec)
    return {
        "seconds_per_step": seconds,
        "round_seconds": [statistics.fmean(taken) for taken in rounds],
        "peak_flops_per_second": peak,
        "peaks": [peak_before, peak_after],
        **operations,
        "flops_per_second": operations["flops"] / seconds,
        "share_of_peak": operations["flops"] / seconds / peak,
        "profile": profiled,
    }


def count_operations(contender: Contender, spec: CellSpec) -> dict[str, Any]:
    """Operations a step, counted and from the equations, and which of the two is used.

    The counter sees every product of a forward pass that makes its attention weights, and the backward pass follows from it; the fast
    path it either cannot look into (fused kernels) or counts with what is computed twice. The equations check the count; where they
    disagree by more than 1 in 100, something is hidden from the counter, and the equations are used.
    """
    inputs = [drawn(contender, batch, spec, number) for number, batch in enumerate(spec.batches)]
    with without_native_kernels():  # whose operations the counter does not see
        forward = statistics.fmean(counted(lambda pair=pair: contender.module(pair[0], with_attention=True)) for pair in inputs)
        fast = statistics.fmean(counted(lambda pair=pair: contender.loss(*pair).backward()) for pair in inputs)
    projections = statistics.fmean(projection_flops(*_sizes(batch, spec), _width(contender)) for batch in spec.batches)
    plain = step_flops(forward, projections)
    equations = step_flops(statistics.fmean(model_forward_flops(contender.module, *_sizes(batch, spec)) for batch in spec.batches), projections)
    agree = abs(plain / equations - 1.0) <= AGREEMENT
    return {
        "flops": plain if agree else equations,
        "flops_source": "counted" if agree else "from the equations, which the count does not agree with",
        "flops_counted": plain,
        "flops_equations": equations,
        "flops_fast": fast,
    }


def _sizes(batch: BatchSteps, spec: CellSpec) -> tuple[int, list[int], list[int]]:
    return len(batch), spec.pad_to or [max(steps) for steps in zip(*batch, strict=True)], list(DIMS.values())


def _width(contender: Contender) -> int:
    config: Any = contender.module.config
    return config.width


def _profile(contender: Contender, spec: CellSpec) -> dict[str, Any]:
    """Of a few batches that stand for all: evenly spread over the cell's, which are in the sampler's order."""
    every = max(1, len(spec.batches) // STEPS_PROFILED)
    chosen = list(enumerate(spec.batches))[::every][:STEPS_PROFILED]
    inputs = [drawn(contender, batch, spec, number) for number, batch in chosen]
    return spent_on([lambda pair=pair: train_step(contender, *pair) for pair in inputs])
