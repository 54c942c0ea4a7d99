"""Transformer layers, MulT's, MCMuT's or MMIN's, compiled for a CPU: as many as follow each other in one call.

    N = LN(X);  A = what the scales j answer:  softmax(N W_Q,j (M_j W_K,j)^T / sqrt(d_k)) M_j W_V,j W_O,j,  M_j = LN(S_j)
    Y = X (or N) + drop(A);   Z = Y + drop(W2 drop(relu(W1 LN(Y) + b1)) + b2)

Several scales come as their mean or through the attention of `ScaleAggregation`; sparsemax may stand in softmax's place. Each utterance
passes all layers on one thread with its real source steps alone; neither attention weights nor dropout masks nor hidden values are kept: the
backward pass has the layers' inputs, the attended values and one number for each target step and head, and computes the rest again
(docs/decisions/native-layer.md).
"""

import ctypes
import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from multigrain.layers.feed_forward import FeedForward
from multigrain.layers.native.arguments import Layer
from multigrain.layers.native.library import library

MOST_SCALES = 32
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
    is_sparse: bool
    takes_mean: bool
    allowed: Tensor | None
    present: Tensor | None
    kept: Tensor | None
    asking: Tensor | None
    epsilons: tuple[float, float, float]


def is_native(target: Tensor, sources: list[Tensor] | None, allowed: Tensor | None, num_heads: int, *parameters: Tensor) -> bool:
    """Whether `native_layers` can compute a layer: float32 on a CPU, padding the only mask, and compiled kernels at hand."""
    tensors = (target, *(sources or ()), *parameters)
    return (
        all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)
        and (allowed is None or allowed.shape[1:3] == (1, 1))
        and len(sources or ()) <= MOST_SCALES
        and min(target.shape) > 0
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        and library() is not None
    )


class LayerCall(NamedTuple):
    """One of the layers that are computed together; made by `layer_call`.

    Attributes:
        target: number of the state that asks.
        sources: numbers of the states that answer; none = the target's own normalised steps.
        parameters: in the order of `Gradients` in kernel/gradients.hpp, but for weights and biases, which come in pairs.
        facts: everything else.
    """

    target: int
    sources: tuple[int, ...]
    parameters: tuple[Tensor | None, ...]
    facts: _Facts


def layer_call(
    target: int,
    sources: Iterable[int] | None,
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
    is_sparse: bool = False,
    allowed: Bool[Tensor, "batch 1 1 source"] | None,
    present: Bool[Tensor, " batch"] | None,
    kept: Bool[Tensor, "scale batch"] | None = None,
    asking: Int[Tensor, " batch"] | None = None,
) -> LayerCall:
    """A layer for `native_layers`.

    Args:
        target: number of the state X, not normalised yet; see `native_layers`.
        sources: numbers of the states S_j; None = the target's own normalised steps.
        target_norm, source_norm, feed_forward_norm: over the last axis; no source norm = sources as they are.
        attention: projections of as many scales as there are sources.
        scales: attention over several scales; None = their mean.
        feed_forward: the second half.
        num_heads: divides dim.
        rates: of dropout; zeros outside training.
        adds_to_normalised: the residual starts from LN(X) in place of X.
        is_sparse: sparsemax in place of softmax.
        allowed: True where a source step is real; None = everywhere.
        present: False where an utterance has no source, whose answer is the output projection's bias; None = all have.
        kept: False where an utterance does without a scale; None = all are used.
        asking: so many first target steps are computed, int32, the others become zero; None = all.
    """
    norms = tuple(norm.eps if norm is not None else 0.0 for norm in (target_norm, source_norm, feed_forward_norm))
    facts = _Facts(num_heads, rates, adds_to_normalised, is_sparse, scales is None, allowed, present, kept, asking, norms)  # type: ignore[arg-type]
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
    return LayerCall(target, () if sources is None else tuple(sources), parameters, facts)


def native_layers(inputs: Sequence[Tensor], calls: Sequence[LayerCall], wanted: Sequence[int] | None = None) -> list[Tensor]:
    """Computes layers one after another.

    Args:
        inputs: the states that are there, (batch, time, dim) with a time of their own, numbered from 0.
        calls: the layers; each one's result is the state with the next number.
        wanted: numbers of the results to return; None = the last one.

    Returns:
        The results that are wanted, each of its target's shape, zero at target steps that are not computed.
    """
    last = len(inputs) + len(calls) - 1
    needs_gradient = torch.is_grad_enabled() and (
        any(state.requires_grad for state in inputs) or any(part is not None and part.requires_grad for call in calls for part in call.parameters)
    )
    plan = _Plan(len(inputs), [call._replace(parameters=()) for call in calls], [last] if wanted is None else list(wanted), needs_gradient)
    return list(_NativeLayers.apply(plan, *inputs, *(part for call in calls for part in call.parameters)))  # type: ignore[no-untyped-call]


class _Plan(NamedTuple):
    """What is no tensor that a gradient flows to, for all layers; their parameters come apart from it."""

    inputs: int
    calls: list[LayerCall]
    wanted: list[int]
    needs_gradient: bool


_PARAMETERS = 4 + len(AttentionParameters._fields) + len(ScaleParameters._fields) + 6
_EXPAND = _PARAMETERS - 4
_ORDER = (0, 1, 2, 3, 4, 6, 5, 7, *range(8, _PARAMETERS))  # of gradients: weights of queries, keys and values come before their biases


class _NativeLayers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: _Plan, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        tensors = tuple(part if part is None else part.contiguous() for part in tensors)
        states: list[Tensor | None] = list(tensors[: plan.inputs])
        shapes = _shapes(plan, states)
        draws = any(any(call.facts.rates) for call in plan.calls)
        seeds = torch.randint(2**62, (len(plan.calls),)).tolist() if draws else [0] * len(plan.calls)
        kept: list[Tensor] = []
        for number, call in enumerate(plan.calls, start=plan.inputs):
            is_given = plan.needs_gradient or number in plan.wanted  # what later layers read alone never leaves its thread
            states.append(_empty(shapes[number]) if is_given else None)
            if plan.needs_gradient:
                kept += [_empty(size) for size in _kept_sizes(call, shapes[call.target])]
        layers = _Layers(plan, shapes, states, tensors[plan.inputs :], kept, seeds)
        layers.run("forward")
        if plan.needs_gradient:
            ctx.plan, ctx.seeds = plan, seeds
            ctx.save_for_backward(*states, *kept, *tensors[plan.inputs :])
        return tuple(states[number] for number in plan.wanted)  # type: ignore[misc]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        plan: _Plan = ctx.plan
        saved, count = ctx.saved_tensors, plan.inputs + len(plan.calls)
        states, kept, parameters = saved[:count], saved[count : count + 2 * len(plan.calls)], saved[count + 2 * len(plan.calls) :]
        sizes = [state.numel() for state in states]
        of_states = [part.view(state.shape) for part, state in zip(states[0].new_zeros(sum(sizes)).split(sizes), states, strict=True)]
        for number, gradient in zip(plan.wanted, gradients, strict=True):
            of_states[number] += gradient
        flat = states[0].new_empty(sum(part.numel() for part in parameters if part is not None))
        layers = _Layers(plan, [state.shape for state in states], states, parameters, kept, ctx.seeds)
        layers.add_gradients(of_states, flat)
        layers.run("backward")
        return None, *of_states[: plan.inputs], *_split(flat, parameters)


class _Layers:
    """The array of structs that a compiled function takes: tensors in, addresses out."""

    def __init__(
        self,
        plan: _Plan,
        shapes: Sequence[torch.Size],
        states: Sequence[Tensor | None],
        parameters: Sequence[Tensor | None],
        kept: Sequence[Tensor],
        seeds: list[int],
    ):
        self.plan, self.shapes, self.parameters = plan, shapes, parameters
        self.array = (Layer * len(plan.calls))()
        self.held: list[Any] = [states, parameters, kept]
        self.of_states, of_parameters = _addresses(states), _addresses(parameters)
        threads = torch.get_num_threads()
        for index, (call, layer) in enumerate(zip(plan.calls, self.array, strict=True)):
            first = index * _PARAMETERS
            layer.hidden, layer.threads, layer.seed = parameters[first + _EXPAND].shape[0], threads, seeds[index]  # type: ignore[union-attr]
            layer.result = self.of_states[plan.inputs + index]
            self._fill(layer, call, of_parameters[first : first + _PARAMETERS])
            if kept:
                layer.attended, layer.normalisers = kept[2 * index].data_ptr(), kept[2 * index + 1].data_ptr()

    def _fill(self, layer: Layer, call: LayerCall, parameters: list[int | None]) -> None:
        """Everything that is the same in both passes; `parameters` are addresses, in the order of `LayerCall.parameters`."""
        facts, sources = call.facts, call.sources
        layer.batch, layer.targets, layer.dim = self.shapes[call.target]
        layer.sources, layer.scales = self.shapes[sources[0] if sources else call.target][1], max(1, len(sources))
        layer.heads, layer.is_sparse, layer.is_self, layer.adds_to_normalised = facts.heads, facts.is_sparse, not sources, facts.adds_to_normalised
        layer.target, layer.target_number = self.of_states[call.target], call.target
        layer.attention_dropped, layer.aggregation_dropped, layer.hidden_dropped, layer.residual_dropped = _dropped(facts.rates)

        norms, attention, scales, feed_forward = parameters[:4], parameters[4:10], parameters[10:15], parameters[15:]
        target_norm, source_norm, feed_forward_norm = layer.target_norm, layer.source_norm, layer.feed_forward_norm
        target_norm.scale, target_norm.shift, source_norm.scale, source_norm.shift = norms
        layer.is_normed_source = source_norm.scale is not None
        target_norm.epsilon, source_norm.epsilon, feed_forward_norm.epsilon = facts.epsilons
        layer.query_weight, layer.query_bias, key_value, key_value_bias, layer.output_weight, layer.output_bias = attention
        if key_value is None or key_value_bias is None:  # they follow the queries
            key_value, key_value_bias = layer.query_weight + 4 * layer.dim * layer.dim, layer.query_bias + 4 * layer.dim
        layer.key_value_weight, layer.key_value_bias = key_value, key_value_bias
        layer.scale_embedding, layer.scale_in_weight, layer.scale_in_bias, layer.scale_out_weight, layer.scale_out_bias = scales
        layer.aggregation = _NO_AGGREGATION if scales[0] is None and layer.scales == 1 else _MEAN if facts.takes_mean else _ATTENTION
        feed_forward_norm.scale, feed_forward_norm.shift, layer.expand_weight, layer.expand_bias, *contract = feed_forward
        layer.contract_weight, layer.contract_bias = contract

        for name in ("allowed", "present", "kept", "asking"):  # those that are not there are null pointers already
            if (mask := getattr(facts, name)) is not None:
                setattr(layer, name, self._held(mask))
        layer.source_states = self._array_of([self.of_states[number] for number in sources])
        numbers = (ctypes.c_int32 * len(sources))(*sources)
        self.held.append(numbers)
        layer.source_numbers = ctypes.cast(numbers, ctypes.c_void_p)

    def _held(self, mask: Tensor) -> int:
        """The address of a mask in one piece, which is kept until this is gone."""
        self.held.append(mask.contiguous())
        address: int = self.held[-1].data_ptr()
        return address

    def add_gradients(self, of_states: Sequence[Tensor], flat: Tensor) -> None:
        """Where the backward pass reads and adds the gradients of states, and puts those of parameters."""
        place = flat.data_ptr()
        for index, (call, layer) in enumerate(zip(self.plan.calls, self.array, strict=True)):
            layer.gradient, layer.target_gradient = of_states[self.plan.inputs + index].data_ptr(), of_states[call.target].data_ptr()
            layer.source_gradients = self._array_of([of_states[number].data_ptr() for number in call.sources])
            layer.parameter_gradients = place
            own = self.parameters[index * _PARAMETERS : (index + 1) * _PARAMETERS]
            place += 4 * sum(part.numel() for part in own if part is not None)

    def _array_of(self, addresses: list[int | None]) -> Any:
        array = (ctypes.c_void_p * len(addresses))(*addresses)
        self.held.append(array)
        return ctypes.cast(array, ctypes.c_void_p)

    def run(self, name: str) -> None:
        """Calls the compiled function of this pass."""
        kernels = library()
        if kernels is None:
            raise RuntimeError("the compiled kernels were switched off between a forward and a backward pass")
        getattr(kernels, f"multigrain_layers_{name}")(self.array, len(self.array), self.plan.inputs)


def _shapes(plan: _Plan, inputs: Sequence[Tensor | None]) -> list[torch.Size]:
    """Of all states: a layer's result has the shape of its target."""
    shapes = [state.shape for state in inputs if state is not None]
    for call in plan.calls:
        shapes.append(shapes[call.target])
    return shapes


def _empty(shape: Sequence[int]) -> Tensor:
    return torch.empty(tuple(shape), dtype=torch.float32, device="cpu")


def _kept_sizes(call: LayerCall, target: torch.Size) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of what the forward pass keeps: attended values, and the logarithm of each softmax's sum or each sparsemax's threshold."""
    batch, time, dim = target
    padded = (time // _LANES_AT_MOST + 2) * _LANES_AT_MOST  # as much as `padded` of kernel/vector.hpp gives at most
    scales = max(1, len(call.sources))
    return (batch, scales, dim, padded), (batch, scales, call.facts.heads, padded)


def _split(flat: Tensor, parameters: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The gradients, in the order of the parameters."""
    order = [start + place for start in range(0, len(parameters), _PARAMETERS) for place in _ORDER if parameters[start + place] is not None]
    sizes = [parameters[number].shape for number in order]
    parts: list[Tensor | None] = [None] * len(parameters)
    for number, size, part in zip(order, sizes, flat.split([size.numel() for size in sizes]), strict=True):
        parts[number] = part if len(size) == 1 else part.view(size)
    return parts


def _addresses(tensors: Sequence[Tensor | None]) -> list[int | None]:
    return [None if tensor is None else tensor.data_ptr() for tensor in tensors]


@functools.cache
def _dropped(rates: Rates) -> tuple[int, ...]:
    """The rates in parts of 2^32, as the kernels take them."""
    return tuple(min(round(rate * 2**32), 2**32 - 1) for rate in rates)
