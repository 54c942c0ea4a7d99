"""Gradient reversal: the identity on the way forward, minus a weight on the way back.

    R(x) = x;   dR/dx = -weight I

Behind it a classifier learns what it can tell from x, while whatever makes x learns to hide it, in one backward pass.

Source: Ganin et al., "Domain-Adversarial Training of Neural Networks", JMLR 17 (2016), section 4.2.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def reverse_gradient(states: Float[Tensor, "*shape"], weight: float) -> Float[Tensor, "*shape"]:
    """The states as they are; their gradient comes back times `-weight`."""
    result: Tensor = _GradientReversal.apply(states, weight)  # type: ignore[no-untyped-call]
    return result


def reversal_weight(progress: float) -> float:
    """The weight that rises from 0 to nearly 1 as training goes on: `2 / (1 + exp(-10 p)) - 1`.

    Early on the classifier knows nothing, so that hiding from it would be noise.

    Args:
        progress: share of training done, 0..1.

    >>> [round(reversal_weight(progress), 3) for progress in (0.0, 0.1, 0.5, 1.0)]
    [0.0, 0.462, 0.987, 1.0]
    """
    return 2.0 / (1.0 + math.exp(-10.0 * progress)) - 1.0


class _GradientReversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return states.view_as(states)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradient, None
