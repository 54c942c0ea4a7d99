"""Multi-head attention whose weights are mostly exactly zero: sparsemax in place of softmax."""

from jaxtyping import Float
from torch import Tensor

from multigrain.layers.attention import AttentionBias, MultiHeadAttention
from multigrain.layers.dropout import dropout_mask
from multigrain.layers.sparsemax import sparsemax


def attend_sparsely(
    query: Float[Tensor, "batch head target key"],
    key: Float[Tensor, "batch head source key"],
    value: Float[Tensor, "batch head source key"],
    bias: AttentionBias,
    *,
    dropout: float = 0.0,
    with_weights: bool = False,
) -> tuple[Float[Tensor, "batch head target key"], Float[Tensor, "batch head target source"] | None]:
    """`sparsemax(Q K^T / sqrt(d_k)) V` over real source steps.

    Returns:
        The attended values, zero where the source is absent, and the weights when asked for: rows sum to 1 over real source steps, to 0
        where the source is absent. A row's zeros are not known before the whole row is, so the matrix is always made.
    """
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    weights = sparsemax(scores, bias.allowed)
    if bias.present is not None:
        weights = weights * bias.present[:, None, None, None]
    attended = (weights * dropout_mask(weights, dropout) if dropout > 0 else weights) @ value
    return attended, weights if with_weights else None


class SparseMultiHeadAttention(MultiHeadAttention):
    """`MultiHeadAttention` with sparsemax: the same parameters under the same names, the same initial weights.

    Source: MMIN section 2.3, after Martins and Astudillo 2016.
    """

    is_softmax = False
    _attend = staticmethod(attend_sparsely)
