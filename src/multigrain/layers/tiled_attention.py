"""Attention whose (target, source) matrix never exists as a whole: computed in tiles, and again in the backward pass.

PyTorch's fused CPU kernel has no dropout, and its fallback keeps the matrix of weights, the mask and the masked weights of
every layer. Here a tile of a few (utterance, head) pairs is computed while it fits the processor's cache; kept are the
inputs, the output, one sum a target step and one place in the pool of dropout masks a tile.

With E = exp(Q K^T / sqrt(d_k)), r = rowsum(E), M the dropout mask and O = (M * E) V / r, for a gradient G of O and G' = G / r:

    dV = (M * E)^T G';   dS = E * (M * (G' V^T) - rowsum(G' * O));   dQ = dS K / sqrt(d_k);   dK = dS^T Q / sqrt(d_k)

The exponential needs no maximum taken off while |q| |k| is below 40 for all pairs, which layer norms in front see to; else the
row's maximum is taken off. Queries, keys and values are held as (pair, width, time), since a product whose result has
few rows and many columns is four times as fast as one with few columns.

Source: the tiling and the row sum are those of Dao et al. 2022, "FlashAttention".
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from multigrain.layers.dropout import Windows

TILE_ELEMENTS = 1 << 17
"""Weights in a tile: half a megabyte in float32, which stays in a core's second-level cache with the mask beside it."""

_SAFE_SCORE = 40.0


def tiled_attention(
    query: Float[Tensor, "batch head target key"],
    key: Float[Tensor, "batch head source key"],
    value: Float[Tensor, "batch head source value"],
    allowed: Bool[Tensor, "#batch #head #target source"] | None,
    dropout: float,
) -> Float[Tensor, "batch head target value"]:
    """Scaled dot-product attention with dropout on its weights, on a CPU, in memory linear in the lengths.

    Args:
        query: asks.
        key: is asked.
        value: answers.
        allowed: True where a target step may attend a source step; None = everywhere. Each row needs at least one.
        dropout: rate of dropout on the weights, 0 .. 1.
    """
    result: Tensor = _TiledAttention.apply(query, key, value, allowed, dropout)  # type: ignore[no-untyped-call]
    return result


class _TiledAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None, dropout: float) -> Tensor:
        tiles = _Tiles(query, key, value, allowed, dropout)
        output = tiles.value.new_empty(tiles.value.shape[0], value.shape[-1], query.shape[2])
        row_sums = output.new_empty(output.shape[0], 1, output.shape[2])
        for tile in tiles.tiles:
            weights = tiles.exponentials(tile)
            row_sums[tile.pairs, 0, tile.steps] = weights.sum(dim=-1)
            kept = weights * tiles.masks.mask(tile.number, weights.shape) if dropout > 0.0 else weights
            output[tile.pairs, :, tile.steps] = torch.bmm(tiles.value[tile.pairs], kept.transpose(1, 2))
        output.div_(row_sums)
        ctx.tiles, ctx.output, ctx.row_sums = tiles, output, row_sums
        ctx.only_weights = weights if len(tiles.tiles) == 1 else None
        return _as_given(output, tiles.lead)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tiles, width = ctx.tiles, ctx.tiles.width
        scaled = _time_last(gradient) / ctx.row_sums
        totals = (scaled * ctx.output).sum(dim=1)[..., None]
        query_gradient = torch.empty_like(tiles.query[:, :width])
        key_gradient, value_gradient = torch.zeros_like(tiles.key[:, :width]), torch.zeros_like(tiles.value)
        for tile in tiles.tiles:
            weights = tiles.exponentials(tile) if ctx.only_weights is None else ctx.only_weights
            asking, answer = scaled[tile.pairs, :, tile.steps], tiles.value[tile.pairs]
            scores_gradient = torch.bmm(asking.transpose(1, 2), answer)
            kept = weights
            if tiles.masks.rate > 0.0:
                mask = tiles.masks.mask(tile.number, weights.shape)
                scores_gradient.mul_(mask)
                kept = weights * mask
            scores_gradient.sub_(totals[tile.pairs, tile.steps]).mul_(weights)
            value_gradient[tile.pairs] += torch.bmm(asking, kept)
            query_gradient[tile.pairs, :, tile.steps] = torch.bmm(tiles.key[tile.pairs, :width], scores_gradient.transpose(1, 2))
            key_gradient[tile.pairs] += torch.bmm(tiles.query[tile.pairs, :width, tile.steps], scores_gradient)
        query_gradient.mul_(tiles.scale)
        lead = tiles.lead
        return _as_given(query_gradient, lead), _as_given(key_gradient, lead), _as_given(value_gradient, lead), None, None


class _Tile(NamedTuple):
    """Some (utterance, head) pairs and some of their target steps."""

    number: int
    pairs: slice
    steps: slice


class _Tiles:
    """The inputs as (pair, width, time), and the weights and the dropout mask of a tile of them."""

    def __init__(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None, dropout: float):
        batch, heads, target, self.width = query.shape
        self.lead, self.source = (batch, heads), key.shape[2]
        self.scale = self.width**-0.5
        self.query, self.key, self.value = _time_last(query * self.scale), _time_last(key), _time_last(value)
        norms = [part.square().sum(dim=1).max() for part in (self.query, self.key)]
        self.is_safe = bool(norms[0] * norms[1] < _SAFE_SCORE**2)
        self.forbidden: Tensor | None = None
        if allowed is not None and allowed.shape[1] == allowed.shape[2] == 1:  # padding alone: one more row in the product
            self.query = torch.cat([self.query, torch.ones_like(self.query[:, :1])], dim=1)
            bias = torch.zeros(batch, 1, self.source, dtype=key.dtype).masked_fill_(~allowed[:, 0], float("-inf"))
            self.key = torch.cat([self.key, bias.expand(-1, heads, -1).reshape(-1, 1, self.source)], dim=1)
        elif allowed is not None:
            self.forbidden = (~allowed).expand(batch, heads, target, self.source).reshape(-1, target, self.source)
        self.tiles, elements = _cut(batch * heads, target, self.source)
        self.masks = Windows(dropout, query.dtype, len(self.tiles), elements)

    def exponentials(self, tile: _Tile) -> Tensor:
        """exp of the scores, up to a factor for each row: (pairs, steps, source)."""
        scores = torch.bmm(self.query[tile.pairs, :, tile.steps].transpose(1, 2), self.key[tile.pairs])
        if self.forbidden is not None:
            scores.masked_fill_(self.forbidden[tile.pairs, tile.steps], float("-inf"))
        if not self.is_safe:
            scores.sub_(scores.amax(dim=-1, keepdim=True))
        return scores.exp_()


def _cut(num_pairs: int, target: int, source: int) -> tuple[list[_Tile], int]:
    """The tiles, and the weights in the largest."""
    steps = max(1, min(target, TILE_ELEMENTS // source))
    pairs = max(1, TILE_ELEMENTS // (steps * source)) if steps == target else 1
    starts = [(pair, step) for pair in range(0, num_pairs, pairs) for step in range(0, target, steps)]
    tiles = [
        _Tile(index, slice(pair, min(pair + pairs, num_pairs)), slice(step, min(step + steps, target))) for index, (pair, step) in enumerate(starts)
    ]
    return tiles, pairs * steps * source


def _time_last(states: Tensor) -> Tensor:
    """(batch, head, time, width) as contiguous (pair, width, time)."""
    return states.transpose(-1, -2).flatten(0, 1).contiguous()


def _as_given(states: Tensor, lead: tuple[int, int]) -> Tensor:
    """The way back of `_time_last`, as a view."""
    return states.unflatten(0, lead).transpose(-1, -2)
