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
        known = scores if mask is None else scores.masked_fill(~mask, float("-inf"))
        heights = scores - known.amax(dim=-1, keepdim=True)  # tau moves along, and sums of small numbers lose nothing
        if mask is not None:
            heights.masked_fill_(~mask, _OUT_OF_REACH)  # also where a row has nothing, and its maximum was -inf
        shares = heights.sub_(_threshold(heights)).clamp_(min=0.0)
        if mask is not None:
            shares.masked_fill_(~mask, 0.0)  # rows with nothing to attend: all of them were equally out of reach
        ctx.save_for_backward(shares)
        return shares

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (shares,) = ctx.saved_tensors
        support = shares > 0.0
        inside = gradient * support
        mean = inside.sum(dim=-1, keepdim=True) / support.sum(dim=-1, keepdim=True).clamp(min=1)
        return inside - mean * support, None


def _threshold(heights: Float[Tensor, "*lead source"]) -> Float[Tensor, "*lead 1"]:
    """tau of each row."""
    depths = _sorted(-heights)  # ascending, which is the heights in descending order with their signs turned
    excess = depths.cumsum(dim=-1) + 1.0
    places = torch.arange(1, heights.shape[-1] + 1, dtype=heights.dtype, device=heights.device)
    size = (places * depths < excess).sum(dim=-1, keepdim=True)  # 1 + k z_(k) > sum_{j<=k} z_(j)
    return -excess.gather(-1, size - 1) / size


def _sorted(values: Float[Tensor, "*lead source"]) -> Float[Tensor, "*lead source"]:
    """Each row in ascending order; on a CPU in place by NumPy, whose sort of short rows is over ten times as fast as PyTorch's."""
    if values.device.type != "cpu":
        return values.sort(dim=-1).values
    values.numpy().sort(axis=-1)
    return values
