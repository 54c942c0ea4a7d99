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

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from multigrain.layers.dropout import Windows

TILE_ELEMENTS = 1 << 17
"""Weights in a tile: half a megabyte in float32, which stays in a core's second-level cache with the mask beside it."""

_SAFE_SCORE = 40.0


class Tiles:
    """One attention: its inputs, how they are cut into tiles, and the dropout mask of each tile.

    Pairs are (utterance, head), the heads of one utterance one after another.
    """

    def __init__(
        self,
        query: Float[Tensor, "pair key target"],
        key: Float[Tensor, "pair key source"],
        value: Float[Tensor, "pair value source"],
        allowed: Bool[Tensor, "batch 1 #target source"] | None,
        dropout: float,
        masks: Windows | None = None,
    ):
        """Cuts; draws masks, unless those of the forward pass are given.

        Args:
            query: asks; already divided by sqrt(d_k).
            key: is asked.
            value: answers.
            allowed: True where a target step may attend a source step; None = everywhere.
            dropout: rate of dropout on the weights.
            masks: of the same attention in the forward pass.
        """
        self.query, self.key, self.value, self.allowed = query, key, value, allowed
        norms = [part.square().sum(dim=1).max() for part in (query, key)]
        self.is_safe = bool(norms[0] * norms[1] < _SAFE_SCORE**2)
        self.tiles, elements = _cut(query.shape[0], query.shape[2], key.shape[2])
        self.masks = Windows(dropout, query.dtype, len(self.tiles), elements) if masks is None else masks
        if allowed is not None:
            self.row_of_pair = torch.arange(query.shape[0]) // (query.shape[0] // allowed.shape[0])
            self.factors = allowed[:, 0].to(query.dtype)

    def attend(self) -> tuple[Float[Tensor, "pair value target"], Float[Tensor, "pair 1 target"]]:
        """The attended values and the sum of each row's exponentials."""
        output = self.value.new_empty(self.value.shape[0], self.value.shape[1], self.query.shape[2])
        row_sums = output.new_empty(output.shape[0], 1, output.shape[2])
        for tile in self.tiles:
            weights = self._exponentials(tile)
            row_sums[tile.pairs, 0, tile.steps] = weights.sum(dim=-1)
            self.masks.drop(tile.number, weights)
            output[tile.pairs, :, tile.steps] = torch.bmm(self.value[tile.pairs], weights.transpose(1, 2))
        return output.div_(row_sums), row_sums

    def gradients(
        self,
        output: Float[Tensor, "pair value target"],
        row_sums: Float[Tensor, "pair 1 target"],
        gradient: Float[Tensor, "pair value target"],
    ) -> tuple[Float[Tensor, "pair key target"], Float[Tensor, "pair key source"], Float[Tensor, "pair value source"]]:
        """Gradients of query, key and value, from what `attend` gave and the gradient of its output."""
        scaled = gradient / row_sums
        totals = (scaled * output).sum(dim=1)[..., None]
        gradients = torch.empty_like(self.query), torch.zeros_like(self.key), torch.zeros_like(self.value)
        for tile in self.tiles:
            weights = self._exponentials(tile)
            asking = scaled[tile.pairs, :, tile.steps]
            scores_gradient = torch.bmm(asking.transpose(1, 2), self.value[tile.pairs])
            kept = weights
            if self.masks.rate > 0.0:
                mask = self.masks.mask(tile.number, weights.shape)
                scores_gradient.mul_(mask)
                kept = weights * mask
            scores_gradient.sub_(totals[tile.pairs, tile.steps]).mul_(weights)
            gradients[0][tile.pairs, :, tile.steps] = torch.bmm(self.key[tile.pairs], scores_gradient.transpose(1, 2))
            gradients[1][tile.pairs] += torch.bmm(self.query[tile.pairs, :, tile.steps], scores_gradient)
            gradients[2][tile.pairs] += torch.bmm(asking, kept)
        return gradients

    def _exponentials(self, tile: "_Tile") -> Tensor:
        """exp of the scores, up to a factor for each row; 0 where nothing may be attended: (pairs, steps, source)."""
        scores = torch.bmm(self.query[tile.pairs, :, tile.steps].transpose(1, 2), self.key[tile.pairs])
        factors = None if self.allowed is None else self.factors[self.row_of_pair[tile.pairs]]
        if factors is not None and factors.shape[1] > 1:
            factors = factors[:, tile.steps]
        if not self.is_safe:
            if factors is not None:
                scores.masked_fill_(factors == 0, float("-inf"))
            scores.sub_(scores.amax(dim=-1, keepdim=True))
        weights = scores.exp_()
        return weights if factors is None else weights.mul_(factors)


class _Tile(NamedTuple):
    """Some (utterance, head) pairs and some of their target steps."""

    number: int
    pairs: slice
    steps: slice


def _cut(num_pairs: int, target: int, source: int) -> tuple[list[_Tile], int]:
    """The tiles, and the weights in the largest."""
    steps = max(1, min(target, TILE_ELEMENTS // source))
    pairs = max(1, TILE_ELEMENTS // (steps * source)) if steps == target else 1
    starts = [(pair, step) for pair in range(0, num_pairs, pairs) for step in range(0, target, steps)]
    tiles = [
        _Tile(index, slice(pair, min(pair + pairs, num_pairs)), slice(step, min(step + steps, target))) for index, (pair, step) in enumerate(starts)
    ]
    return tiles, pairs * steps * source
