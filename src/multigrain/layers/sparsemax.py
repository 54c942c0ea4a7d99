"""Sparsemax: like softmax, scores become shares that sum to one; unlike softmax, all but the best get exactly zero.

    sparsemax(z) = argmin over p in the simplex of ||p - z||^2 = max(z - tau(z), 0)

tau is found from the scores in descending order z_(1) >= z_(2) >= ... (their Algorithm 1):

    k = max { k : 1 + k z_(k) > sum_{j<=k} z_(j) };   tau = (sum_{j<=k} z_(j) - 1) / k

and the derivative is that of a mean over the support S = { i : p_i > 0 } (their Eq. 11), for a gradient g of p:

    dz_i = g_i - (sum_{j in S} g_j) / |S|   for i in S, else 0

Source: Martins and Astudillo, "From Softmax to Sparsemax: A Sparse Model of Attention and Multi-Label Classification", ICML 2016.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_OUT_OF_REACH = -2.0
"""Where the best score is 0, tau is at least -1, so that a score of -2 gets exactly zero."""

PART_ELEMENTS = 1 << 18
"""Scores that a CPU works on at a time: a megabyte in float32, which stays in a core's second-level cache."""


def sparsemax(scores: Float[Tensor, "*lead source"], mask: Bool[Tensor, "*#lead source"] | None = None) -> Float[Tensor, "*lead source"]:
    """Shares of the last axis, many of them exactly zero.

    Args:
        scores: their content where the mask is False is never read, NaN included.
        mask: True where a score counts; broadcastable to `scores`; None = everywhere.

    Returns:
        Shares that sum to 1 over the scores that count and are exactly 0 elsewhere; a row where none counts is zero
        throughout. Computed in at least float32, in the type of `scores`.

    >>> sparsemax(torch.tensor([0.2, 1.0, 0.6, -3.0]))
    tensor([0.0000, 0.7000, 0.3000, 0.0000])
    """
    half = scores.dtype in (torch.float16, torch.bfloat16)
    shares: Tensor = _Sparsemax.apply(scores.float() if half else scores, mask)  # type: ignore[no-untyped-call]
    return shares.to(scores.dtype)


class _Sparsemax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, mask: Tensor | None) -> Tensor:
        shares = torch.empty_like(scores, memory_format=torch.contiguous_format)
        for part in _parts(scores):
            _share_out(scores[part], None if mask is None else _same_part(mask, part, scores.dim()), shares[part])
        ctx.save_for_backward(shares)
        return shares

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (shares,) = ctx.saved_tensors
        return _Derivative.apply(gradient, shares), None  # type: ignore[no-untyped-call]


class _Derivative(torch.autograd.Function):
    """Takes off the mean over the support, and everything outside; linear and symmetric in the gradient, and so its own derivative."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, shares: Tensor) -> Tensor:
        ctx.save_for_backward(shares)
        result = torch.empty_like(shares)
        for part in _parts(shares):
            support = (shares[part] > 0.0).to(shares.dtype)  # numbers: a sum of truth values is several times as slow
            inside = torch.mul(gradient[part], support, out=result[part])
            mean = inside.sum(dim=-1, keepdim=True) / support.sum(dim=-1, keepdim=True).clamp_(min=1.0)
            inside.sub_(support.mul_(mean))
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (shares,) = ctx.saved_tensors
        return _Derivative.apply(gradient, shares), None  # type: ignore[no-untyped-call]


def _share_out(scores: Float[Tensor, "*lead source"], mask: Bool[Tensor, "*#lead source"] | None, shares: Float[Tensor, "*lead source"]) -> None:
    """Writes the shares of some rows."""
    known = scores if mask is None else scores.masked_fill(~mask, float("-inf"))
    torch.sub(scores, known.amax(dim=-1, keepdim=True), out=shares)  # tau moves along, and sums of small numbers lose nothing
    if mask is not None:
        shares.masked_fill_(~mask, _OUT_OF_REACH)  # also where a row has nothing, and its maximum was -inf
    shares.sub_(_threshold(shares)).clamp_(min=0.0)
    if mask is not None:
        shares.masked_fill_(~mask, 0.0)  # rows with nothing to attend: all of them were equally out of reach


def _parts(values: Tensor) -> list[tuple[slice, ...]]:
    """Cuts all rows into parts that stay in a CPU's cache between operations: along the first axis, then along the second."""
    if values.dim() < 3 or values.device.type != "cpu" or values.numel() <= PART_ELEMENTS:
        return [()]
    first, second = values.shape[:2]
    each = values[0].numel()
    if each <= PART_ELEMENTS:
        return [(places,) for places in _slices(first, PART_ELEMENTS // each)]
    inner = _slices(second, max(1, PART_ELEMENTS * second // each))
    return [(slice(place, place + 1), places) for place in range(first) for places in inner]


def _slices(length: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def _same_part(mask: Tensor, part: tuple[slice, ...], dims: int) -> Tensor:
    """A part of a mask that is broadcast along some axes."""
    mask = mask.view((1,) * (dims - mask.dim()) + mask.shape)
    return mask[tuple(slice(None) if size == 1 else places for size, places in zip(mask.shape, part, strict=False))]


def _threshold(heights: Float[Tensor, "*lead source"]) -> Float[Tensor, "*lead 1"]:
    """tau of each row."""
    depths = _sorted(-heights)  # ascending, which is the heights in descending order with their signs turned
    excess = depths.cumsum(dim=-1).add_(1.0)
    places = torch.arange(1, heights.shape[-1] + 1, dtype=heights.dtype, device=heights.device)
    size = (depths.mul_(places) < excess).to(heights.dtype).sum(dim=-1, keepdim=True)  # 1 + k z_(k) > sum_{j<=k} z_(j)
    return -excess.gather(-1, size.long() - 1) / size


def _sorted(values: Float[Tensor, "*lead source"]) -> Float[Tensor, "*lead source"]:
    """Each row in ascending order; on a CPU in place by NumPy, whose sort of short rows is over ten times as fast as PyTorch's."""
    if values.device.type != "cpu":
        return values.sort(dim=-1).values
    values.numpy().sort(axis=-1)
    return values
