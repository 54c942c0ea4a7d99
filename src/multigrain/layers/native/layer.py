"""A Transformer layer, MulT's or MCMuT's, as one compiled function on a CPU.

    N = LN(X);  A = what the scales j answer:  softmax(N W_Q,j (M_j W_K,j)^T / sqrt(d_k)) M_j W_V,j W_O,j,  M_j = LN(S_j)
    Y = X (or N) + drop(A);   Z = Y + drop(W2 drop(relu(W1 LN(Y) + b1)) + b2)

Several scales come as their mean or through the attention of `ScaleAggregation`. Each utterance passes the whole layer on one thread
with its real source steps alone; neither attention weights nor dropout masks nor hidden values are kept: the backward pass has the layer's
inputs, the attended values and one number for each target step and head, and computes the rest again (docs/decisions/native-layer.md).
"""

import ctypes
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from multigrain.layers.feed_forward import FeedForward
from multigrain.layers.native.arguments import Layer
from multigrain.layers.native.library import library

WIDEST_HEAD = 128
_LANES_AT_MOST = 16

_NO_AGGREGATION, _MEAN, _ATTENTION = range(3)


class AttentionParameters(NamedTuple):
    """Weights of the attention, each as (scale, out, in), and biases (scale, out).

    Attributes:
        query, query_bias: of the queries; or of queries, keys and values packed for a single scale, (3 dim, dim) and (3 dim,).
        key_value, key_value_bias: of keys and values, packed in this order; None where `query` has all.
        output, output_bias: of what a head's values pass.
    """

    query: Tensor
    query_bias: Tensor
    key_value: Tensor | None
    key_value_bias: Tensor | None
    output: Tensor
    output_bias: Tensor


class ScaleParameters(NamedTuple):
    """Parameters of `ScaleAggregation`."""

    embedding: Float[Tensor, "scale dim"]
    in_weight: Float[Tensor, "packed dim"]
    in_bias: Float[Tensor, " packed"]
    out_weight: Float[Tensor, "dim dim"]
    out_bias: Float[Tensor, " dim"]


class Rates(NamedTuple):
    """Dropout on attention weights, on weights between scales, after the feed-forward's ReLU and on what is added to the residual."""

    attention: float = 0.0
    aggregation: float = 0.0
    hidden: float = 0.0
    residual: float = 0.0


class _Facts(NamedTuple):
    """What is no tensor that a gradient flows to."""

    heads: int
    rates: Rates
    adds_to_normalised: bool
    takes_mean: bool
    allowed: Tensor | None
    present: Tensor | None
    kept: Tensor | None
    asking: Tensor | None
    epsilons: tuple[float, float, float]


def is_native(target: Tensor, sources: list[Tensor] | None, allowed: Tensor | None, num_heads: int, *parameters: Tensor) -> bool:
    """Whether `native_layer` can compute this: float32 on a CPU, padding the only mask, and compiled kernels at hand."""
    tensors = (target, *(sources or ()), *parameters)
    return (
        all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)
        and (allowed is None or allowed.shape[1:3] == (1, 1))
        and target.shape[-1] <= WIDEST_HEAD * num_heads
        and min(target.shape) > 0
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        and library() is not None
    )


def native_layer(
    target: Float[Tensor, "batch target dim"],
    sources: list[Tensor] | None,
    *,
    target_norm: nn.LayerNorm,
    source_norm: nn.LayerNorm | None,
    attention: AttentionParameters,
    scales: ScaleParameters | None,
    feed_forward: FeedForward,
    feed_forward_norm: nn.LayerNorm,
    num_heads: int,
    rates: Rates,
    adds_to_normalised: bool,
    allowed: Bool[Tensor, "batch 1 1 source"] | None,
    present: Bool[Tensor, " batch"] | None,
    kept: Bool[Tensor, "scale batch"] | None = None,
    asking: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, "batch target dim"]:
    """The target's next level.

    Args:
        target: X, not normalised yet.
        sources: S_j, (batch, source, dim) each; None = the target's own normalised steps.
        target_norm, source_norm, feed_forward_norm: over the last axis; no source norm = sources as they are.
        attention: projections of as many scales as there are sources.
        scales: attention over several scales; None = their mean.
        feed_forward: the second half.
        num_heads: divides dim.
        rates: of dropout; zeros outside training.
        adds_to_normalised: the residual starts from LN(X) in place of X.
        allowed: True where a source step is real; None = everywhere.
        present: False where an utterance has no source, whose answer is the output projection's bias; None = all have.
        kept: False where an utterance does without a scale; None = all are used.
        asking: so many first target steps are computed, int32; None = all.

    Returns:
        Z, zero at target steps that are not computed.
    """
    norms = tuple(norm.eps if norm is not None else 0.0 for norm in (target_norm, source_norm, feed_forward_norm))
    facts = _Facts(num_heads, rates, adds_to_normalised, scales is None, allowed, present, kept, asking, norms)  # type: ignore[arg-type]
    parameters = (
        target_norm.weight,
        target_norm.bias,
        *((None, None) if source_norm is None else (source_norm.weight, source_norm.bias)),
        *attention,
        *(scales if scales is not None else [None] * len(ScaleParameters._fields)),
        feed_forward_norm.weight,
        feed_forward_norm.bias,
        feed_forward.expand.weight,
        feed_forward.expand.bias,
        feed_forward.contract.weight,
        feed_forward.contract.bias,
    )
    needs_gradient = torch.is_grad_enabled() and any(part is not None and part.requires_grad for part in (target, *parameters, *(sources or ())))
    result: Tensor = _NativeLayer.apply(facts, needs_gradient, target, *parameters, *(sources or ()))  # type: ignore[no-untyped-call]
    return result


_PARAMETERS = 4 + len(AttentionParameters._fields) + len(ScaleParameters._fields) + 6
_ORDER = (0, 1, 2, 3, 4, 6, 5, 7, *range(8, _PARAMETERS))  # of gradients: weights of queries, keys and values come before their biases


class _NativeLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, facts: _Facts, needs_gradient: bool, target: Tensor, *tensors: Tensor | None) -> Tensor:
        target = target.contiguous()
        tensors = tuple(part if part is None else part.contiguous() for part in tensors)
        seed = int(torch.randint(2**62, ())) if any(facts.rates) else 0
        call = _Call(facts, target, tensors, seed)
        result = torch.empty_like(target)
        attended = sums = None
        if needs_gradient:
            attended, sums = (target.new_empty(size) for size in call.kept_sizes)
        call.run("forward", result=result, attended=attended, log_sums=sums)
        if needs_gradient:
            ctx.facts, ctx.seed = facts, seed
            ctx.save_for_backward(target, attended, sums, *tensors)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        target, attended, sums, *tensors = ctx.saved_tensors
        call = _Call(ctx.facts, target, tuple(tensors), ctx.seed)
        target_gradient = torch.empty_like(target)
        source_gradients = [torch.zeros_like(source) for source in call.sources]
        flat = target.new_empty(call.parameter_count)
        addresses = (ctypes.c_void_p * len(source_gradients))(*[part.data_ptr() for part in source_gradients])
        call.run(
            "backward",
            attended=attended,
            log_sums=sums,
            gradient=gradient.contiguous(),
            target_gradient=target_gradient,
            source_gradients=addresses,
            parameter_gradients=flat,
        )
        return None, None, target_gradient, *call.split(flat), *source_gradients


class _Call:
    """One call of a compiled function: tensors in, addresses out."""

    def __init__(self, facts: _Facts, target: Tensor, tensors: tuple[Tensor | None, ...], seed: int):
        self.parameters, self.sources = tensors[:_PARAMETERS], [part for part in tensors[_PARAMETERS:] if part is not None]
        norms, attention, scales = self.parameters[:4], AttentionParameters(*self.parameters[4:10]), self.parameters[10:15]  # type: ignore[arg-type]
        self.dim, self.scales, self.heads = target.shape[2], max(1, len(self.sources)), facts.heads
        self.hidden = self.parameters[17].shape[0]  # type: ignore[union-attr]
        self.batch, self.time = target.shape[:2]
        self.aggregation = _NO_AGGREGATION if scales[0] is None and self.scales == 1 else _MEAN if facts.takes_mean else _ATTENTION
        if attention.key_value is None or attention.key_value_bias is None:  # they follow the queries
            key_value = attention.query.data_ptr() + 4 * self.dim * self.dim, attention.query_bias.data_ptr() + 4 * self.dim
        else:
            key_value = attention.key_value.data_ptr(), attention.key_value_bias.data_ptr()
        self.held: list[Any] = [facts, target, tensors]
        self.layer = layer = Layer(
            batch=self.batch,
            targets=self.time,
            sources=self.sources[0].shape[1] if self.sources else self.time,
            dim=self.dim,
            heads=facts.heads,
            scales=self.scales,
            hidden=self.hidden,
            threads=torch.get_num_threads(),
            is_self=not self.sources,
            adds_to_normalised=facts.adds_to_normalised,
            aggregation=self.aggregation,
            is_normed_source=norms[2] is not None,
            seed=seed,
            query_weight=_address(attention.query),
            query_bias=_address(attention.query_bias),
            key_value_weight=key_value[0],
            key_value_bias=key_value[1],
            output_weight=_address(attention.output),
            output_bias=_address(attention.output_bias),
            target=_address(target),
        )
        for name, rate in zip(Rates._fields, facts.rates, strict=True):
            setattr(layer, f"{name}_dropped", min(round(rate * 2**32), 2**32 - 1))
        for name, part in zip(ScaleParameters._fields, scales, strict=True):
            setattr(layer, f"scale_{name}", _address(part))
        for name, part in zip(("expand_weight", "expand_bias", "contract_weight", "contract_bias"), self.parameters[17:21], strict=True):
            setattr(layer, name, _address(part))
        pairs = (norms[:2], norms[2:], self.parameters[15:17])
        for name, (scale, shift), epsilon in zip(("target_norm", "source_norm", "feed_forward_norm"), pairs, facts.epsilons, strict=True):
            norm = getattr(layer, name)
            norm.scale, norm.shift, norm.epsilon = _address(scale), _address(shift), epsilon
        for name in ("allowed", "present", "kept", "asking"):
            mask = getattr(facts, name)
            if mask is not None:
                mask = mask.contiguous()
                self.held.append(mask)
                setattr(layer, name, mask.data_ptr())
        addresses = (ctypes.c_void_p * len(self.sources))(*[part.data_ptr() for part in self.sources])
        self.held.append(addresses)
        layer.source_states = ctypes.cast(addresses, ctypes.c_void_p)

    @property
    def kept_sizes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of what the forward pass keeps: attended values, and the logarithm of each softmax's sum."""
        padded = (self.time // _LANES_AT_MOST + 2) * _LANES_AT_MOST  # as much as `padded` of kernel/vector.hpp gives at most
        return (self.batch, self.scales, self.dim, padded), (self.batch, self.scales, self.heads, padded)

    def run(self, name: str, **places: Any) -> None:
        """Calls the function with these tensors (or arrays of addresses) filled in."""
        for field, place in places.items():
            setattr(self.layer, field, ctypes.cast(place, ctypes.c_void_p) if isinstance(place, ctypes.Array) else _address(place))
        kernels = library()
        if kernels is None:
            raise RuntimeError("the compiled kernels were switched off between a forward and a backward pass")
        getattr(kernels, f"multigrain_layer_{name}")(ctypes.byref(self.layer))

    @property
    def parameter_count(self) -> int:
        """Elements of all gradients."""
        return sum(part.numel() for part in self.parameters if part is not None)

    def split(self, flat: Tensor) -> list[Tensor | None]:
        """The gradients, in the order of the parameters."""
        order = [index for index in _ORDER if self.parameters[index] is not None]
        sizes = [self.parameters[index].shape for index in order]
        parts: list[Tensor | None] = [None] * _PARAMETERS
        for index, size, part in zip(order, sizes, flat.split([size.numel() for size in sizes]), strict=True):
            parts[index] = part if len(size) == 1 else part.view(size)
        return parts


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
