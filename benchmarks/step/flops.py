"""The floating-point operations of a training step: from the models' equations, and counted while it runs.

An operation is a multiplication or an addition; only matrix products count (the rest is under one in a hundred).
"""

import time
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

PEAK_SIZE = 2048


def projection_flops(batch: int, steps: Sequence[int], input_dims: Sequence[int], width: int) -> int:
    """Operations of the projections of all modalities to the common width, forward."""
    return sum(2 * batch * count * dim * width for count, dim in zip(steps, input_dims, strict=True))


def step_flops(forward: float, projections: float) -> float:
    """Of a forward and a backward pass.

    The backward pass of a product is two products of its size; the input projections need only one, since features want no gradient.
    What a kernel computes a second time to save memory does not count.
    """
    return 3 * forward - projections


def model_forward_flops(model: Any, batch: int, steps: Sequence[int], input_dims: Sequence[int]) -> int:
    """Operations of the forward pass of our MulT or MCMuT (with one number of blocks for all modalities) by its equations."""
    config = model.config
    sizes: dict[str, Any] = {"batch": batch, "steps": steps, "input_dims": input_dims, "width": config.width}
    sizes |= {"num_summary_layers": config.num_summary_layers, "head_dim": 1}
    if model.name == "mult":
        return mult_forward_flops(**sizes, num_layers=config.num_layers)
    levels = model.asks["audio_to_text"].values()  # all streams are alike
    return mcmut_forward_flops(**sizes, scales=[len(asked) for asked in levels])


def mult_forward_flops(
    *, batch: int, steps: Sequence[int], input_dims: Sequence[int], width: int, num_layers: int, num_summary_layers: int, head_dim: int
) -> int:
    """Operations of MulT's forward pass by its equations, all modalities being targets.

    Args:
        batch: utterances.
        steps: padded steps of each modality.
        input_dims: features of each modality.
        width: of the crossmodal stacks.
        num_layers: of each crossmodal stack.
        num_summary_layers: of each self-attention stack.
        head_dim: outputs.
    """
    crossmodal = sum(num_layers * _layer(batch, target, source, width) for target, source in permutations(steps, 2))
    rest = _from_streams(batch, steps, width * (len(steps) - 1), num_summary_layers, head_dim)
    return projection_flops(batch, steps, input_dims, width) + crossmodal + rest


def mcmut_forward_flops(
    *, batch: int, steps: Sequence[int], input_dims: Sequence[int], width: int, scales: Sequence[int], num_summary_layers: int, head_dim: int
) -> int:
    """Operations of MCMuT's forward pass; `scales` has the number of source levels that each level attends. The rest is as in MulT's."""
    crossmodal = 0
    for target, source in permutations(steps, 2):
        crossmodal += sum(_multi_scale_layer(batch, target, source, width, count) for count in scales)
    rest = _from_streams(batch, steps, width * (len(steps) - 1), num_summary_layers, head_dim)
    return projection_flops(batch, steps, input_dims, width) + crossmodal + rest


def _from_streams(batch: int, steps: Sequence[int], width: int, num_layers: int, head_dim: int) -> int:
    """The self-attention stack of each target, whose last layer is asked for one step, and the head."""
    fused = width * len(steps)
    head = 2 * batch * fused * (2 * fused + head_dim)
    return head + sum((num_layers - 1) * _layer(batch, count, count, width) + _layer(batch, 1, count, width) for count in steps)


def _layer(batch: int, target: int, source: int, width: int) -> int:
    """One layer: query, keys and values, output; scores and weighted values; feed-forward."""
    attention = 2 * batch * width * width * (2 * target + 2 * source) + 4 * batch * target * source * width
    return attention + 16 * batch * target * width * width


def _multi_scale_layer(batch: int, target: int, source: int, width: int, scales: int) -> int:
    """One multi-scale layer: attention as often as there are scales, the attention over the scales, feed-forward."""
    attention = scales * (2 * batch * width * width * (2 * target + 2 * source) + 4 * batch * target * source * width)
    aggregation = 2 * batch * target * width * (3 * scales * width + scales * scales + scales + width) if scales > 1 else 0
    return attention + aggregation + 16 * batch * target * width * width


def counted(step: Callable[[], object]) -> int:
    """Operations that torch's counter sees while `step` runs; fused attention on a CPU and custom kernels are hidden from it."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def matrix_product_peak(size: int = PEAK_SIZE, repeats: int = 9) -> float:
    """Operations per second of a large float32 matrix product at torch's present number of threads; the median."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    out, rates = torch.empty(size, size), []
    for repeat in range(repeats + 2):
        start = time.perf_counter()
        torch.mm(left, right, out=out)
        if repeat >= 2:
            rates.append(2 * size**3 / (time.perf_counter() - start))
    return sorted(rates)[len(rates) // 2]
