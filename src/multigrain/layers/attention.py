"""Multi-head attention from a target (which asks) to a source (which answers)."""

from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from multigrain.layers.dropout import dropout_mask
from multigrain.layers.masking import attention_mask, real_lengths
from multigrain.layers.native.layer import AttentionParameters
from multigrain.layers.projected_attention import Projections, is_fused, projected_attention

SOFTMAX_STEPS = 16
"""Source steps to which the plain path on a CPU fills up: below a vector's width PyTorch's softmax is ten times as slow for each weight."""


HEAD_MULTIPLE = 8
"""A GPU's fused kernels with a mask take heads of such widths only (16 bytes in low precision); for others PyTorch would make the matrix."""


class AttentionBias(NamedTuple):
    """Which source steps may be attended; computed once per source and batch, used by every layer.

    Attributes:
        allowed: broadcastable to (batch, head, target, source), True = may be attended; None = all.
        present: (batch,), False where the source is absent; None = present everywhere.
        asking: (batch,) int32, so many first target steps are real; None = all. The compiled layer leaves the others zero.
    """

    allowed: Tensor | None
    present: Tensor | None
    asking: Tensor | None = None

    @classmethod
    def from_mask(cls, source_mask: Bool[Tensor, "batch source"], future: Bool[Tensor, "batch 1 target source"] | None = None) -> "AttentionBias":
        """The bias for one source, optionally with a future mask on top."""
        allowed, present = attention_mask(source_mask)
        if future is not None:
            allowed = future if allowed is None else future & allowed
        return cls(allowed, present)

    def of_target(self, target_mask: Bool[Tensor, "batch target"]) -> "AttentionBias":
        """The same for a target of which nobody reads the padded steps; only the compiled layer, on a CPU, makes use of that."""
        if target_mask.device.type != "cpu":
            return self
        return self._replace(asking=real_lengths(target_mask))

    def at_step(self, step: Int[Tensor, " batch"]) -> "AttentionBias":
        """The same for one target step of each row."""
        allowed = self.allowed
        if allowed is not None and allowed.shape[2] > 1:
            allowed = allowed[torch.arange(len(step), device=step.device), :, step].unsqueeze(2)
        return AttentionBias(allowed, self.present)


def attend(
    query: Float[Tensor, "batch head target key"],
    key: Float[Tensor, "batch head source key"],
    value: Float[Tensor, "batch head source key"],
    bias: AttentionBias,
    *,
    dropout: float = 0.0,
    with_weights: bool = False,
) -> tuple[Float[Tensor, "batch head target key"], Float[Tensor, "batch head target source"] | None]:
    """Scaled dot-product attention over real source steps.

    Returns:
        The attended values, zero where the source is absent, and the weights when asked for (rows sum to 1 over real
        source steps, to 0 where the source is absent). The (target, source) matrix is made where somebody looks at it, and for
        dropout on a CPU, which PyTorch's fused kernel has not; large ones in training come as `projected_attention` instead.
    """
    if with_weights or (dropout > 0.0 and query.device.type == "cpu"):
        source = key.shape[2]
        missing = max(0, SOFTMAX_STEPS - source) if query.device.type == "cpu" else 0
        if missing:
            key, value = (functional.pad(part, (0, 0, 0, missing)) for part in (key, value))
        weights = _scores(query, key, bias.allowed, source).softmax(dim=-1)
        if bias.present is not None:
            weights = weights * bias.present[:, None, None, None]
        attended = (weights * dropout_mask(weights, dropout) if dropout > 0 else weights) @ value
        looked_at = weights[..., :source] if with_weights else None
    else:
        multiple = 1 if query.device.type == "cpu" else HEAD_MULTIPLE
        attended, looked_at = _fused(query, key, value, bias.allowed, dropout, multiple), None
    if bias.present is not None:
        attended = attended * bias.present[:, None, None, None]
    return attended, looked_at


def _fused(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None, dropout: float, multiple: int) -> Tensor:
    """PyTorch's fused attention, with heads filled up with zeros to a multiple of a width, which change nothing."""
    width = query.shape[-1]
    if width % multiple:
        query, key, value = (functional.pad(part, (0, -width % multiple)) for part in (query, key, value))
    attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed, dropout_p=dropout, scale=width**-0.5)
    return attended[..., :width]


def _scores(query: Tensor, key: Tensor, allowed: Tensor | None, source: int) -> Float[Tensor, "batch head target key"]:
    """Scaled products, in one pass over the matrix; minus infinity where a step may not be attended, or is none of the first `source`."""
    batch, heads, steps = query.shape[0], query.shape[1], key.shape[2]
    queries, keys = (query * query.shape[-1] ** -0.5).flatten(0, 1), key.flatten(0, 1).transpose(1, 2)
    if steps > source:
        allowed = functional.pad(query.new_ones(1, 1, 1, source, dtype=torch.bool) if allowed is None else allowed, (0, steps - source))
    if allowed is None:
        scores = torch.bmm(queries, keys)
    else:
        lowest = query.new_zeros(allowed.shape).masked_fill_(~allowed, float("-inf"))
        scores = torch.baddbmm(lowest.expand(batch, heads, -1, -1).flatten(0, 1), queries, keys)
    return scores.unflatten(0, (batch, heads))


class MultiHeadAttention(nn.Module):
    """`softmax(Q K^T / sqrt(d_k)) V` with `num_heads` heads and one packed input projection (Q, K, V in that order).

    Source: Vaswani et al. 2017, section 3.2; MCMuT Eq. 3.
    """

    is_softmax: ClassVar[bool] = True
    _attend = staticmethod(attend)

    def __init__(self, dim: int, num_heads: int, *, dropout: float = 0.0, query_key_gain: float = 1.0):
        """Initialises with Xavier's uniform law for the packed projection, queries and keys times `query_key_gain`."""
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.in_projection = nn.Linear(dim, 3 * dim)
        self.out_projection = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_projection.weight)
        self.in_projection.weight.data[: 2 * dim] *= query_key_gain
        nn.init.zeros_(self.in_projection.bias)
        nn.init.zeros_(self.out_projection.bias)

    def forward(
        self,
        target: Float[Tensor, "batch target dim"],
        source: Float[Tensor, "batch source dim"],
        bias: AttentionBias,
        *,
        source_norm: nn.LayerNorm | None = None,
        with_weights: bool = False,
    ) -> tuple[Float[Tensor, "batch target dim"], Float[Tensor, "batch head target source"] | None]:
        """Target attends source, which passes `source_norm` first; self-attention when both are the same tensor."""
        num_weights = target.shape[0] * self.num_heads * target.shape[1] * source.shape[1]
        if self.is_softmax and not with_weights and is_fused(num_weights, target, self.in_projection.weight):
            dropout = self.dropout if self.training else 0.0
            answers = projected_attention(
                target, [source], source_norm, self._projections(), bias.allowed, bias.present, num_heads=self.num_heads, dropout=dropout
            )
            return answers[0], None
        return self._plainly(target, source if source_norm is None else source_norm(source), bias, with_weights)

    def _plainly(self, target: Tensor, source: Tensor, bias: AttentionBias, with_weights: bool) -> tuple[Tensor, Tensor | None]:
        dim = target.shape[-1]
        weight, offset = self.in_projection.weight, self.in_projection.bias
        if target is source:
            query, key, value = self.in_projection(target).chunk(3, dim=-1)
        else:
            query = functional.linear(target, weight[:dim], offset[:dim])
            key, value = functional.linear(source, weight[dim:], offset[dim:]).chunk(2, dim=-1)
        dropout = self.dropout if self.training else 0.0
        attended, weights = self._attend(self._split(query), self._split(key), self._split(value), bias, dropout=dropout, with_weights=with_weights)
        return self.out_projection(attended.transpose(1, 2).flatten(2)), weights

    @property
    def native_parameters(self) -> AttentionParameters:
        """The parameters as the compiled layer takes them."""
        projection, output = self.in_projection, self.out_projection
        return AttentionParameters(projection.weight, projection.bias, None, None, output.weight, output.bias)

    def _projections(self) -> Projections:
        weights, biases = self.in_projection.weight.unflatten(0, (3, 1, -1)), self.in_projection.bias.unflatten(0, (3, 1, -1))
        output, output_bias = self.out_projection.weight[None], self.out_projection.bias[None]
        return Projections(weights[0], biases[0], weights[1], biases[1], weights[2], biases[2], output, output_bias)

    def _split(self, packed: Tensor) -> Tensor:
        return packed.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
