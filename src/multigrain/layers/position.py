"""Sinusoidal positions, as the authors of MulT lay them out."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

_tables: dict[tuple[int, torch.dtype, torch.device], Tensor] = {}


def sinusoidal_positions(time: int, dim: int, like: Tensor) -> Float[Tensor, "time dim"]:
    """The position table of steps 1..time: `[sin | cos]` halves, frequencies from 1 down to 1/10000; not to be written to.

    Computed in float32 whatever the precision of `like`, then cast, and kept for the next call; an odd `dim` gets a last
    column of zeros.

    Source: Vaswani et al. 2017, section 3.5, in the layout of Tsai et al. 2019 (exponent divided by dim/2 - 1).

    >>> sinusoidal_positions(3, 4, torch.zeros(1)).shape
    torch.Size([3, 4])
    """
    key = (dim, like.dtype, like.device)
    table = _tables.get(key)
    if table is None or len(table) < time:
        with torch.inference_mode(False):  # else a table made while predicting could not be used in training
            table = _tables[key] = _table(max(64, 1 << (time - 1).bit_length()), dim, like.device).to(like.dtype)
    return table[:time]


def _table(time: int, dim: int, device: torch.device) -> Tensor:
    half = dim // 2
    step = math.log(10000.0) / max(half - 1, 1)
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32, device=device) * -step)
    angles = torch.arange(1, time + 1, dtype=torch.float32, device=device)[:, None] * frequencies[None, :]
    table = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.cat([table, table.new_zeros(time, 1)], dim=1) if dim % 2 else table
