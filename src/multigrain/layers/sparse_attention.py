"""Multi-head attention whose weights are mostly exactly zero: sparsemax in place of softmax."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from multigrain.layers.attention import AttentionBias
from multigrain.layers.dropout import dropout_mask
from multigrain.layers.sparsemax import sparsemax


def attend_sparsely(
    query: Float[Tensor, "batch head target key"],
    key: Float[Tensor, "batch head source key"],
    value: Float[Tensor, "batch head source key"],
    bias: AttentionBias,
    *,
    dropout: float = 0.0,
) -> tuple[Float[Tensor, "batch head target key"], Float[Tensor, "batch head target source"]]:
    """`sparsemax(Q K^T / sqrt(d_k)) V` over real source steps.

    Returns:
        The attended values, zero where the source is absent, and the weights: rows sum to 1 over real source steps, to 0
        where the source is absent. A row's zeros are not known before the whole row is, so the matrix is always made.
    """
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    weights = sparsemax(scores, bias.allowed)
    if bias.present is not None:
        weights = weights * bias.present[:, None, None, None]
    return (weights * dropout_mask(weights, dropout) if dropout > 0 else weights) @ value, weights


class SparseMultiHeadAttention(nn.Module):
    """`MultiHeadAttention` with sparsemax: the same parameters under the same names, the same initial weights.

    Source: MMIN section 2.3, after Martins and Astudillo 2016.
    """

    def __init__(self, dim: int, num_heads: int, *, dropout: float = 0.0, query_key_gain: float = 1.0):
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
        """Target attends source, which passes `source_norm` first."""
        source = source if source_norm is None else source_norm(source)
        dim = target.shape[-1]
        weight, offset = self.in_projection.weight, self.in_projection.bias
        query = functional.linear(target, weight[:dim], offset[:dim])
        key, value = functional.linear(source, weight[dim:], offset[dim:]).chunk(2, dim=-1)
        dropout = self.dropout if self.training else 0.0
        attended, weights = attend_sparsely(self._split(query), self._split(key), self._split(value), bias, dropout=dropout)
        return self.out_projection(attended.transpose(1, 2).flatten(2)), weights if with_weights else None

    def _split(self, packed: Tensor) -> Tensor:
        return packed.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
