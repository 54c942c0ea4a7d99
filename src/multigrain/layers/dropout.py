"""Dropout from a pool of random masks: on a CPU, drawing a fresh mask costs more than the matrix products around it.

PyTorch draws one random number for each element at each use, about 9 ns apiece on the machine of docs/decisions/speed.md; a
product with a mask costs 0.1 ns. So a pool of 2^21 mask elements is drawn once for each seed and rate, and each use reads
a window of it at a random place. Every element is kept with the stated probability, two elements are
independent unless they happen to read the same place (one in two million), and nothing has to be kept for the backward pass.

The pool depends on the last `torch.manual_seed` alone and the places are drawn from the default generator, so that
equal seeds give equal numbers, whatever was computed before. A training run seeds each epoch anew, and so has a new pool in each.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

POOL_ELEMENTS = 1 << 21
"""Elements of a pool, 8 MB in float32."""

_LEVELS = 1 << 16
_MOST_POOLS = 4

_pools: dict[tuple[int, float, torch.dtype], Tensor] = {}


def draw_mask(
    shape: torch.Size | tuple[int, ...], rate: float, dtype: torch.dtype, generator: torch.Generator | None = None
) -> Float[Tensor, "*shape"]:
    """A fresh CPU mask: 0 with probability `rate`, else 1 / (1 - rate), independent for each element.

    One 64-bit draw serves four elements: the rate is a multiple of 1/65536, and the scale is that of the rate that is drawn.
    """
    dropped = round(rate * _LEVELS)
    count = torch.Size(shape).numel()
    if dropped >= _LEVELS:
        return torch.zeros(shape, dtype=dtype)
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None, generator=generator)
    kept = bits.view(torch.int16)[:count].view(shape) >= dropped - _LEVELS // 2
    return kept.to(dtype).mul_(mask_scale(rate))


def mask_scale(rate: float) -> float:
    """What an element that is kept is multiplied with."""
    dropped = round(rate * _LEVELS)
    return _LEVELS / (_LEVELS - dropped) if dropped < _LEVELS else 0.0


def mask_pool(rate: float, dtype: torch.dtype) -> Float[Tensor, " elements"]:
    """The pool of the present seed for a rate and a type; not to be written to."""
    key = (torch.initial_seed(), rate, dtype)
    pool = _pools.get(key)
    if pool is None:
        while len(_pools) >= _MOST_POOLS:
            _pools.pop(next(iter(_pools)))
        pool = _pools[key] = draw_mask((POOL_ELEMENTS,), rate, dtype, torch.Generator().manual_seed(key[0]))
    return pool


def draw_places(uses: int, elements: int) -> list[int]:
    """Where in the pool each of several windows of so many elements begins."""
    places: list[int] = torch.randint(POOL_ELEMENTS - elements + 1, (uses,)).tolist()
    return places


def dropout_mask(like: Float[Tensor, "*shape"], rate: float) -> Float[Tensor, "*shape"]:
    """What to multiply with: 0 with probability `rate`, else 1 / (1 - rate).

    Args:
        like: gives shape, type and device.
        rate: 0 .. 1; on a CPU rounded to a multiple of 1/65536. 1 gives zeros.
    """
    if like.device.type != "cpu":
        return torch.empty_like(like).bernoulli_(1.0 - rate).div_(max(1.0 - rate, 1e-9))
    count = like.numel()
    if 2 * count > POOL_ELEMENTS:
        return draw_mask(like.shape, rate, like.dtype)
    place = draw_places(1, count)[0]
    return mask_pool(rate, like.dtype)[place : place + count].view(like.shape)


class Windows:
    """Windows of one size into the pool, each with its place, for functions that compute in pieces and need each piece's mask twice."""

    def __init__(self, rate: float, dtype: torch.dtype, pieces: int, elements: int):
        """Draws the places of so many pieces of at most so many elements each; at rate 0 nothing is drawn."""
        self.rate = rate
        if rate > 0.0:
            self.pool = mask_pool(rate, dtype)
            self.places = draw_places(pieces, elements)

    @property
    def scale(self) -> float:
        """What a kept element is multiplied with."""
        return mask_scale(self.rate)

    def mask(self, piece: int, shape: tuple[int, ...]) -> Float[Tensor, "*shape"]:
        """A piece's mask; only where the rate is above 0."""
        place = self.places[piece]
        return self.pool[place : place + math.prod(shape)].view(shape)

    def drop(self, piece: int, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Multiplies a piece with its mask, in place."""
        return values.mul_(self.mask(piece, values.shape)) if self.rate > 0.0 else values


class Dropout(nn.Module):
    """`torch.nn.Dropout` with the cheap mask; identity in evaluation."""

    def __init__(self, rate: float = 0.0):
        super().__init__()
        self.rate = rate

    def forward(self, states: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Zeroes each element with probability `rate` and scales the rest."""
        return states * dropout_mask(states, self.rate) if self.training and self.rate > 0.0 else states

    def add_to(self, base: Float[Tensor, "*shape"], update: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """`base + dropout(update)`, in one pass."""
        if not (self.training and self.rate > 0.0):
            return base + update
        return torch.addcmul(base, update, dropout_mask(update, self.rate))

    def extra_repr(self) -> str:
        """The rate."""
        return f"rate={self.rate}"
