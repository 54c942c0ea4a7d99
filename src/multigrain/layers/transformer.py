"""Transformer layers and stacks in MulT's form, for crossmodal and for self-attention."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from multigrain.layers.attention import AttentionBias, MultiHeadAttention
from multigrain.layers.dropout import Dropout
from multigrain.layers.feed_forward import FeedForward
from multigrain.layers.masking import read_step
from multigrain.layers.native.layer import LayerCall, Rates, is_native, layer_call, native_layers
from multigrain.layers.position import sinusoidal_positions
from multigrain.layers.sparse_attention import SparseMultiHeadAttention


@dataclass(frozen=True, kw_only=True)
class TransformerSettings:
    """What all layers of a stack share.

    Attributes:
        attention_dropout: on attention weights.
        hidden_dropout: after the feed-forward's ReLU.
        residual_dropout: on what attention and feed-forward add.
        embedding_dropout: on the stack's inputs, positions included.
        is_sparse: sparsemax in place of softmax, so that many attention weights are exactly zero (MMIN).
        residual: `plain` adds to the layer's input (MulT), `normalised` to its layer norm (MCMuT Eq. 5).
        tied_norms: target and source of a layer share one layer norm (the authors' code of MulT).
        query_key_gain: factor on the initial query and key projections.
    """

    attention_dropout: float = 0.0
    hidden_dropout: float = 0.0
    residual_dropout: float = 0.0
    embedding_dropout: float = 0.0
    is_sparse: bool = False
    residual: Literal["plain", "normalised"] = "plain"
    tied_norms: bool = False
    query_key_gain: float = 1.0


class TransformerLayer(nn.Module):
    """One pre-norm layer: `Z = x + drop(MHA(LN(x), LN(s), LN(s)))`, `Z = Z + drop(FFN(LN(Z)))`.

    With `residual="normalised"` the first sum starts from LN(x) instead of x, as in MCMuT Eq. 5.
    """

    def __init__(self, dim: int, num_heads: int, settings: TransformerSettings, *, is_crossmodal: bool):
        super().__init__()
        self.residual = settings.residual
        kind = SparseMultiHeadAttention if settings.is_sparse else MultiHeadAttention
        self.attention = kind(dim, num_heads, dropout=settings.attention_dropout, query_key_gain=settings.query_key_gain)
        self.feed_forward = FeedForward(dim, hidden_dropout=settings.hidden_dropout)
        self.target_norm = nn.LayerNorm(dim)
        self.source_norm = nn.LayerNorm(dim) if is_crossmodal and not settings.tied_norms else None
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.residual_dropout = Dropout(settings.residual_dropout)

    def forward(
        self,
        target: Float[Tensor, "batch target dim"],
        source: Float[Tensor, "batch source dim"] | None,
        bias: AttentionBias,
        *,
        with_weights: bool = False,
    ) -> tuple[Float[Tensor, "batch target dim"], Float[Tensor, "batch head target source"] | None]:
        """The target's next level; `source` None means self-attention."""
        if not with_weights and self.is_native(target, source, bias):
            inputs, asked = ([target], None) if source is None else ([target, source], [1])
            return native_layers(inputs, [self.native_call(0, asked, bias)])[0], None
        normalised = self.target_norm(target)
        if source is None:
            attended, weights = self.attention(normalised, normalised, bias, with_weights=with_weights)
        else:
            attended, weights = self.attention(normalised, source, bias, source_norm=self.source_norm or self.target_norm, with_weights=with_weights)
        states = self.residual_dropout.add_to(normalised if self.residual == "normalised" else target, attended)
        return self.feed_forward.add_to(states, self.feed_forward_norm, self.residual_dropout), weights

    def is_native(self, target: Tensor, source: Tensor | None, bias: AttentionBias) -> bool:
        """Whether this can be computed by the compiled layer."""
        return is_native(target, None if source is None else [source], bias.allowed, self.attention.num_heads, self.target_norm.weight)

    def native_call(self, target: int, sources: Iterable[int] | None, bias: AttentionBias) -> LayerCall:
        """This layer for `native_layers`, from numbers of states."""
        rates = Rates(attention=self.attention.dropout, hidden=self.feed_forward.hidden_dropout.rate, residual=self.residual_dropout.rate)
        return layer_call(
            target,
            sources,
            target_norm=self.target_norm,
            source_norm=None if sources is None else self.source_norm or self.target_norm,
            attention=self.attention.native_parameters,
            scales=None,
            feed_forward=self.feed_forward,
            feed_forward_norm=self.feed_forward_norm,
            num_heads=self.attention.num_heads,
            rates=rates if self.training else Rates(),
            adds_to_normalised=self.residual == "normalised",
            is_sparse=not self.attention.is_softmax,
            allowed=bias.allowed,
            present=bias.present,
            asking=bias.asking,
        )


class TransformerStack(nn.Module):
    """Layers over one target, the same source at every layer (or none: self-attention), closed by a layer norm."""

    def __init__(self, dim: int, num_heads: int, num_layers: int, settings: TransformerSettings, *, is_crossmodal: bool):
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(dim, num_heads, settings, is_crossmodal=is_crossmodal) for _ in range(num_layers))
        self.final_norm = nn.LayerNorm(dim)

    def __iter__(self) -> Iterator[TransformerLayer]:
        """The layers, from below."""
        return (cast(TransformerLayer, layer) for layer in self.layers)

    def forward(
        self,
        target: Float[Tensor, "batch target dim"],
        source: Float[Tensor, "batch source dim"] | None,
        bias: AttentionBias,
        *,
        with_weights: bool = False,
    ) -> tuple[Float[Tensor, "batch target dim"], list[Float[Tensor, "batch 1 head target source"]]]:
        """The target after all layers, and each layer's weights when asked for."""
        return climb_together([Climb(self, target, source, bias)], with_weights=with_weights)[0]

    def read(
        self,
        states: Float[Tensor, "sequence time dim"],
        bias: AttentionBias,
        readout: Int[Tensor, " batch"],
        mask: Bool[Tensor, "sequence time"],
        rows: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """What self-attention makes of each utterance's step; see `read_together`."""
        return read_together([Reading(self, states, bias, readout, mask, rows)])[0]


class Climb(NamedTuple):
    """A stack and what it is given; see `TransformerStack.forward`."""

    stack: TransformerStack
    target: Tensor
    source: Tensor | None
    bias: AttentionBias


def climb_together(
    climbs: list[Climb], *, with_weights: bool = False
) -> list[tuple[Float[Tensor, "batch target dim"], list[Float[Tensor, "batch 1 head target source"]]]]:
    """What several stacks give, each its last level and, when asked for, its layers' weights; stacks do not see each other.

    Where they are compiled, all of them are one call, so that no thread waits for another between two stacks.
    """
    parts = [_Part(list(stack), target, source, bias) for stack, target, source, bias in climbs]
    return [
        (climb.stack.final_norm(states), weights) for climb, (states, weights) in zip(climbs, _climb(parts, with_weights=with_weights), strict=True)
    ]


class Reading(NamedTuple):
    """A self-attention stack, what it is given, and the step to read.

    Attributes:
        stack: of self-attention.
        states: (sequence, time, dim), what enters it.
        bias: which of them may be attended.
        readout: (batch,), the step to read.
        mask: (sequence, time), True where a step is real.
        rows: (batch,), the sequence to read it from, where utterances share theirs; None: each its own.
    """

    stack: TransformerStack
    states: Tensor
    bias: AttentionBias
    readout: Tensor
    mask: Tensor
    rows: Tensor | None = None


def read_together(readings: list[Reading]) -> list[Float[Tensor, "batch dim"]]:
    """What self-attention makes of each utterance's step, for several stacks; zeros where its sequence has none.

    The same as a stack's `forward` followed by `read_step`, but where each utterance has its own sequence the last layer computes this one
    step alone.
    """
    if any(reading.rows is not None for reading in readings):
        whole = _climb([_Part(list(stack), states, None, bias) for stack, states, bias, _, _, _ in readings])
        return [
            read_step(stack.final_norm(states), readout, mask, rows)
            for (stack, _, _, readout, mask, rows), (states, _) in zip(readings, whole, strict=True)
        ]
    lower = _climb([_Part(list(stack)[:-1], states, None, bias) for stack, states, bias, _, _, _ in readings])
    last = []
    for (stack, _, bias, readout, mask, _), (states, _) in zip(readings, lower, strict=True):
        last.append(_Part(list(stack)[-1:], read_step(states, readout, mask)[:, None], states, bias.at_step(readout)))
    tops = _climb(last)
    return [
        stack.final_norm(step[:, 0]) * mask.any(dim=1, keepdim=True).to(step.dtype)
        for (stack, _, _, _, mask, _), (step, _) in zip(readings, tops, strict=True)
    ]


class _Part(NamedTuple):
    """Some layers of a stack, and what they are given."""

    layers: list[TransformerLayer]
    target: Tensor
    source: Tensor | None
    bias: AttentionBias


def _climb(parts: list[_Part], *, with_weights: bool = False) -> list[tuple[Tensor, list[Tensor]]]:
    """What each part gives, before any final norm, and the weights of its layers when asked for."""
    steps = [(part, layer) for part in parts for layer in part.layers]
    if steps and not with_weights and all(layer.is_native(part.target, part.source, part.bias) for part, layer in steps):
        return [(states, []) for states in _climb_natively(parts)]
    results: list[tuple[Tensor, list[Tensor]]] = []
    for layers, target, source, bias in parts:
        collected: list[Tensor] = []
        for layer in layers:
            target, weights = layer(target, source, bias, with_weights=with_weights)
            if weights is not None:
                collected.append(weights.unsqueeze(1))
        results.append((target, collected))
    return results


def _climb_natively(parts: list[_Part]) -> list[Tensor]:
    numbers: dict[int, int] = {}  # of the inputs, which several parts may share
    inputs: list[Tensor] = []
    for given in (given for part in parts for given in (part.target, part.source) if given is not None):
        if id(given) not in numbers:
            numbers[id(given)] = len(inputs)
            inputs.append(given)
    calls: list[LayerCall] = []
    tops: list[int] = []
    for layers, target, source, bias in parts:
        below, asked = numbers[id(target)], None if source is None else [numbers[id(source)]]
        for layer in layers:
            calls.append(layer.native_call(below, asked, bias))
            below = len(inputs) + len(calls) - 1
        tops.append(below)
    computed = [top for top in tops if top >= len(inputs)]
    results = dict(zip(computed, native_layers(inputs, calls, computed), strict=True))
    return [results[top] if top in results else inputs[top] for top in tops]


class PositionalInput(nn.Module):
    """`drop(sqrt(dim) * x + positions)`: what enters a stack, as in MulT's code; no equation of MulT or MCMuT has the factor."""

    def __init__(self, dim: int, *, dropout: float = 0.0, is_scaled: bool = True):
        super().__init__()
        self.scale = dim**0.5 if is_scaled else 1.0
        self.dropout = Dropout(dropout)

    def forward(self, states: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch time dim"]:
        """Scales, adds positions 1..time, drops."""
        return self.dropout(states * self.scale + sinusoidal_positions(states.shape[1], states.shape[2], states))
