"""A whole attention sublayer as one function: source's layer norm, projections, attention in tiles, output projection.

    H_j = softmax(Z W_Q,j (LN(S_j) W_K,j)^T / sqrt(d_k)) (LN(S_j) W_V,j) W_O,j,   j = 1..S          (MCMuT Eqs. 3-4)

One source is multi-head attention, several are MCMuT's multi-scale attention. Written with autograd, each source's norm, queries, keys and
values, and two layouts of the attended values are kept for the backward pass; here only the inputs (which are there anyway), the
attended values and a sum for each target step and head are, and the rest is computed again. Projections are made as (width, time), the
layout of the tiles, so that nothing is copied.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from multigrain.layers.tiled_attention import Tiles

FUSED_WEIGHTS = 1 << 18
"""From so many attention weights on (all utterances, heads and scales), computing them again is cheaper than keeping them."""


class Projections(NamedTuple):
    """Weights and biases, one of each for each scale; a product is `x @ weight.T + bias`.

    Attributes:
        query, key, value, output: (scale, dim, dim).
        query_bias, key_bias, value_bias, output_bias: (scale, dim).
    """

    query: Float[Tensor, "scale dim dim"]
    query_bias: Float[Tensor, "scale dim"]
    key: Float[Tensor, "scale dim dim"]
    key_bias: Float[Tensor, "scale dim"]
    value: Float[Tensor, "scale dim dim"]
    value_bias: Float[Tensor, "scale dim"]
    output: Float[Tensor, "scale dim dim"]
    output_bias: Float[Tensor, "scale dim"]


def projected_attention(
    target: Float[Tensor, "batch target dim"],
    sources: list[Float[Tensor, "batch source dim"]],
    source_norm: nn.LayerNorm | None,
    projections: Projections,
    allowed: Bool[Tensor, "batch 1 #target source"] | None,
    present: Bool[Tensor, " batch"] | None,
    *,
    num_heads: int,
    dropout: float,
) -> Float[Tensor, "scale batch target dim"]:
    """What each source answers a target, on a CPU.

    Args:
        target: asks; normalised already.
        sources: the scales, one or more, of one length.
        source_norm: layer norm that all sources pass, or None.
        projections: of each scale.
        allowed: True where a target step may attend a source step; None = everywhere. Each row needs at least one.
        present: False where an utterance has no source, whose answer is then the output projection of zeros; None = everywhere there.
        num_heads: divides dim.
        dropout: rate of dropout on the attention weights.
    """
    norm = (None, None, 0.0) if source_norm is None else (source_norm.weight, source_norm.bias, source_norm.eps)
    result: Tensor = _ProjectedAttention.apply(target, *norm, *projections, allowed, present, num_heads, dropout, *sources)  # type: ignore[no-untyped-call]
    return result


def is_fused(weights: int, *inputs: Tensor) -> bool:
    """Whether this beats plain autograd: in training on a CPU in full precision, from so many attention weights on; see docs/decisions/speed.md."""
    return (
        weights >= FUSED_WEIGHTS
        and torch.is_grad_enabled()
        and any(part.requires_grad for part in inputs)
        and all(part.device.type == "cpu" and part.dtype in (torch.float32, torch.float64) for part in inputs)
        and not torch.is_autocast_enabled("cpu")
    )


class _ProjectedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, target: Tensor, scale: Tensor | None, shift: Tensor | None, epsilon: float, *rest: Any) -> Tensor:
        projections, (allowed, present, num_heads, dropout), sources = Projections(*rest[:8]), rest[8:12], rest[12:]
        ctx.epsilon, ctx.num_heads, ctx.dropout = epsilon, num_heads, dropout
        tiles = _project(target, sources, (scale, shift, epsilon), projections, allowed, num_heads, dropout)
        output, row_sums = tiles.attend()
        ctx.masks = tiles.masks
        ctx.save_for_backward(target, scale, shift, *projections, allowed, present, output, row_sums, *sources)
        return _answers(output, present, projections, target)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        target, scale, shift, *rest = ctx.saved_tensors
        projections, (allowed, present, output, row_sums), sources = Projections(*rest[:8]), rest[8:12], tuple(rest[12:])
        norm = (scale, shift, ctx.epsilon)
        tiles = _project(target, sources, norm, projections, allowed, ctx.num_heads, ctx.dropout, ctx.masks)
        scales, batch, time, dim = gradient.shape
        above = torch.empty_like(output).view(batch, scales, dim, time)
        answers = output.view(batch, scales, dim, time)
        output_gradient, output_bias_gradient = torch.empty_like(projections.output), gradient.sum(dim=(1, 2))
        for index, (part, weight) in enumerate(zip(gradient, projections.output, strict=True)):
            above[:, index] = torch.bmm(weight.t().expand(batch, -1, -1), part.transpose(1, 2))
            attended = answers[:, index] if present is None else answers[:, index] * present[:, None, None]
            output_gradient[index] = torch.bmm(part.transpose(1, 2), attended.transpose(1, 2)).sum(dim=0)
        if present is not None:
            above *= present[:, None, None, None]
        query, key, value = (part.view(batch, scales, dim, -1) for part in tiles.gradients(output, row_sums, above.view(output.shape)))
        query = query.mul_((dim // ctx.num_heads) ** -0.5).view(batch, scales * dim, time)
        target_gradient = torch.bmm(query.transpose(1, 2), projections.query.flatten(0, 1).expand(batch, -1, -1))
        query_gradient = torch.bmm(query, target).sum(dim=0).view_as(projections.query)
        key_gradient, value_gradient = torch.empty_like(projections.key), torch.empty_like(projections.value)
        scale_gradient, shift_gradient = (None, None) if scale is None else (torch.zeros_like(scale), torch.zeros_like(shift))
        source_gradients = []
        for index, source in enumerate(sources):
            normalised, mean, deviation = _normalise(source, norm)
            parts = key[:, index], value[:, index]
            below = torch.bmm(parts[0].transpose(1, 2), projections.key[index].expand(batch, -1, -1))
            below.baddbmm_(parts[1].transpose(1, 2), projections.value[index].expand(batch, -1, -1))
            key_gradient[index], value_gradient[index] = (torch.bmm(part, normalised).sum(dim=0) for part in parts)
            if scale is not None:
                below, scale_part, shift_part = torch.ops.aten.native_layer_norm_backward(
                    below, source, [dim], mean, deviation, scale, shift, [True, True, True]
                )
                scale_gradient += scale_part
                shift_gradient += shift_part
            source_gradients.append(below)
        sums = (query.view(batch, scales, dim, time).sum(dim=(0, 3)), key.sum(dim=(0, 3)), value.sum(dim=(0, 3)))
        of_projections = (query_gradient, sums[0], key_gradient, sums[1], value_gradient, sums[2], output_gradient, output_bias_gradient)
        return target_gradient, scale_gradient, shift_gradient, None, *of_projections, None, None, None, None, *source_gradients


def _project(
    target: Tensor,
    sources: tuple[Tensor, ...],
    norm: tuple[Tensor | None, Tensor | None, float],
    projections: Projections,
    allowed: Tensor | None,
    num_heads: int,
    dropout: float,
    masks: Any = None,
) -> Tiles:
    """Queries, keys and values of all scales as (pair, width, time), pairs in the order (utterance, scale, head)."""
    batch, time, dim = target.shape
    scales, width = len(sources), dim // num_heads
    factor = width**-0.5
    query = torch.baddbmm(
        (projections.query_bias * factor).view(1, -1, 1), (projections.query * factor).flatten(0, 1).expand(batch, -1, -1), target.transpose(1, 2)
    )
    key = target.new_empty(batch, scales, dim, sources[0].shape[1])
    value = torch.empty_like(key)
    for index, source in enumerate(sources):
        columns = _normalise(source, norm)[0].transpose(1, 2)
        for answer, weight, bias in ((key, projections.key, projections.key_bias), (value, projections.value, projections.value_bias)):
            answer[:, index] = torch.baddbmm(bias[index].view(1, -1, 1), weight[index].expand(batch, -1, -1), columns)
    pairs = batch * scales * num_heads
    return Tiles(query.view(pairs, width, time), key.view(pairs, width, -1), value.view(pairs, width, -1), allowed, dropout, masks)


def _answers(output: Tensor, present: Tensor | None, projections: Projections, target: Tensor) -> Tensor:
    batch, time, dim = target.shape
    attended = output.view(batch, -1, dim, time)
    if present is not None:
        attended = attended * present[:, None, None, None]
    result = target.new_empty(attended.shape[1], batch, time, dim)
    for index, (weight, bias) in enumerate(zip(projections.output, projections.output_bias, strict=True)):
        result[index] = torch.baddbmm(bias.view(1, 1, -1), attended[:, index].transpose(1, 2), weight.t().expand(batch, -1, -1))
    return result


def _normalise(source: Tensor, norm: tuple[Tensor | None, Tensor | None, float]) -> tuple[Tensor, Tensor | None, Tensor | None]:
    scale, shift, epsilon = norm
    if scale is None:
        return source, None, None
    return torch.native_layer_norm(source, source.shape[-1:], scale, shift, epsilon)
