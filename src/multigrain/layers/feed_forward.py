"""The feed-forward half of a Transformer layer, in chunks of steps that fit the processor's cache.

    y = x + drop(W2 drop(relu(W1 LN(x) + b1)) + b2)

Written with autograd, this keeps some twenty values of the width for each step, four times the width of them twice, and passes
each through memory several times. On a CPU it is therefore computed chunk by chunk in one function, which keeps x alone
and computes the rest again in the backward pass: the products come out of the cache, and that is worth more than they cost.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from multigrain.layers.dropout import Dropout, Windows

CHUNK_ELEMENTS = 1 << 17
"""Hidden values in a chunk: half a megabyte in float32."""


class FeedForward(nn.Module):
    """`W2 drop(relu(W1 x))`, inner width 4 times the outer."""

    def __init__(self, dim: int, *, hidden_dropout: float = 0.0):
        super().__init__()
        self.expand = nn.Linear(dim, 4 * dim)
        self.contract = nn.Linear(4 * dim, dim)
        self.hidden_dropout = Dropout(hidden_dropout)
        for linear in (self.expand, self.contract):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, states: Float[Tensor, "*lead dim"]) -> Float[Tensor, "*lead dim"]:
        """Applies the two layers to each step."""
        return self.contract(self.hidden_dropout(functional.relu(self.expand(states))))

    def add_to(self, states: Float[Tensor, "*lead dim"], norm: nn.LayerNorm, residual_dropout: Dropout) -> Float[Tensor, "*lead dim"]:
        """`states + residual_dropout(forward(norm(states)))`."""
        if not _is_chunked(states, norm.weight):
            return residual_dropout.add_to(states, self(norm(states)))
        rates = (self.hidden_dropout.rate, residual_dropout.rate) if self.training else (0.0, 0.0)
        parameters = (norm.weight, norm.bias, self.expand.weight, self.expand.bias, self.contract.weight, self.contract.bias)
        flat: Tensor = _FeedForwardBlock.apply(states.flatten(0, -2), *parameters, norm.eps, *rates)  # type: ignore[no-untyped-call]
        return flat.view_as(states)


def _is_chunked(states: Tensor, parameter: Tensor) -> bool:
    """Whether chunks beat plain autograd: in training on a CPU in full precision, from two chunks on."""
    return (
        states.numel() * 4 > CHUNK_ELEMENTS * 2
        and torch.is_grad_enabled()
        and (states.requires_grad or parameter.requires_grad)
        and states.device.type == "cpu"
        and states.dtype == parameter.dtype
        and not torch.is_autocast_enabled("cpu")
    )


class _FeedForwardBlock(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        scale: Tensor,
        shift: Tensor,
        expand: Tensor,
        expand_bias: Tensor,
        contract: Tensor,
        contract_bias: Tensor,
        epsilon: float,
        hidden_rate: float,
        residual_rate: float,
    ) -> Tensor:
        ctx.save_for_backward(states, scale, shift, expand, expand_bias, contract, contract_bias)
        ctx.epsilon = epsilon
        steps = max(1, CHUNK_ELEMENTS // expand.shape[0])
        ctx.chunks = [slice(start, min(start + steps, len(states))) for start in range(0, len(states), steps)]
        ctx.hidden_masks = Windows(hidden_rate, states.dtype, len(ctx.chunks), steps * expand.shape[0])
        ctx.residual_masks = Windows(residual_rate, states.dtype, len(ctx.chunks), steps * states.shape[1])
        result = torch.empty_like(states)
        for index, chunk in enumerate(ctx.chunks):
            normalised = functional.layer_norm(states[chunk], states.shape[1:], scale, shift, epsilon)
            hidden = _hidden(ctx, index, normalised, expand, expand_bias)
            update = torch.addmm(contract_bias, hidden, contract.t())
            torch.add(states[chunk], ctx.residual_masks.drop(index, update), out=result[chunk])
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        states, scale, shift, expand, expand_bias, contract, _ = ctx.saved_tensors
        gradient = gradient.contiguous()
        states_gradient = torch.empty_like(states)
        sums = [torch.zeros_like(parameter) for parameter in ctx.saved_tensors[1:]]
        for index, chunk in enumerate(ctx.chunks):
            inputs, above = states[chunk], gradient[chunk]
            normalised, mean, deviation = torch.native_layer_norm(inputs, inputs.shape[1:], scale, shift, ctx.epsilon)
            hidden = _hidden(ctx, index, normalised, expand, expand_bias)
            update = ctx.residual_masks.drop(index, above.clone()) if ctx.residual_masks.rate > 0.0 else above
            sums[4].addmm_(update.t(), hidden)
            sums[5] += update.sum(dim=0)
            # hidden is above 0 where the ReLU was open and the value was kept; there the derivative is the mask's scale.
            inner = torch.ops.aten.threshold_backward(update @ contract, hidden, 0.0)
            if ctx.hidden_masks.rate > 0.0:
                inner.mul_(ctx.hidden_masks.scale)
            sums[2].addmm_(inner.t(), normalised)
            sums[3] += inner.sum(dim=0)
            below, scale_part, shift_part = torch.ops.aten.native_layer_norm_backward(
                inner @ expand, inputs, inputs.shape[1:], mean, deviation, scale, shift, [True, True, True]
            )
            torch.add(above, below, out=states_gradient[chunk])
            sums[0] += scale_part
            sums[1] += shift_part
        return states_gradient, *sums, None, None, None


def _hidden(ctx: Any, index: int, normalised: Tensor, expand: Tensor, expand_bias: Tensor) -> Tensor:
    hidden = torch.addmm(expand_bias, normalised, expand.t()).relu_()
    dropped: Tensor = ctx.hidden_masks.drop(index, hidden)
    return dropped
