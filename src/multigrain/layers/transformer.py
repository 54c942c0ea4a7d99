"""Transformer layers and stacks in MulT's form, for crossmodal and for self-attention."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from multigrain.layers.attention import AttentionBias, MultiHeadAttention
from multigrain.layers.dropout import Dropout
from multigrain.layers.feed_forward import FeedForward
from multigrain.layers.native.layer import Rates, is_native, native_layer
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
        sources = None if source is None else [source]
        if (
            isinstance(self.attention, MultiHeadAttention)
            and self.attention.is_softmax
            and not with_weights
            and is_native(target, sources, bias.allowed, self.attention.num_heads, self.target_norm.weight)
        ):
            return self._natively(target, sources, bias), None
        normalised = self.target_norm(target)
        if source is None:
            attended, weights = self.attention(normalised, normalised, bias, with_weights=with_weights)
        else:
            attended, weights = self.attention(normalised, source, bias, source_norm=self.source_norm or self.target_norm, with_weights=with_weights)
        states = self.residual_dropout.add_to(normalised if self.residual == "normalised" else target, attended)
        return self.feed_forward.add_to(states, self.feed_forward_norm, self.residual_dropout), weights

    def _natively(self, target: Tensor, sources: list[Tensor] | None, bias: AttentionBias) -> Tensor:
        rates = Rates(attention=self.attention.dropout, hidden=self.feed_forward.hidden_dropout.rate, residual=self.residual_dropout.rate)
        return native_layer(
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

    def forward(
        self,
        target: Float[Tensor, "batch target dim"],
        source: Float[Tensor, "batch source dim"] | None,
        bias: AttentionBias,
        *,
        with_weights: bool = False,
    ) -> tuple[Float[Tensor, "batch target dim"], list[Float[Tensor, "batch 1 head target source"]]]:
        """The target after all layers, and each layer's weights when asked for."""
        collected: list[Tensor] = []
        for layer in self.layers:
            target, weights = layer(target, source, bias, with_weights=with_weights)
            if weights is not None:
                collected.append(weights.unsqueeze(1))
        return self.final_norm(target), collected


class PositionalInput(nn.Module):
    """`drop(sqrt(dim) * x + positions)`: what enters a stack."""

    def __init__(self, dim: int, *, dropout: float = 0.0):
        super().__init__()
        self.scale = dim**0.5
        self.dropout = Dropout(dropout)

    def forward(self, states: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch time dim"]:
        """Scales, adds positions 1..time, drops."""
        return self.dropout(states * self.scale + sinusoidal_positions(states.shape[1], states.shape[2], states))
