"""The multi-scale crossmodal layer of MCMuT: a target asks several scales of its source at once."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from multigrain.layers.attention import AttentionBias, attend
from multigrain.layers.dropout import Dropout, dropout_mask
from multigrain.layers.native.layer import AttentionParameters, ScaleParameters
from multigrain.layers.projected_attention import Projections, is_fused, projected_attention

CHUNK_ELEMENTS = 1 << 19
"""Products of two scales' features that `ScaleAggregation` makes at a time: 2 MB in float32, for a processor's cache."""

GPU_CHUNK_ELEMENTS = 1 << 26
"""The same on a GPU, 256 MB: few chunks, since each is some dozen kernels."""


class MultiScaleAttention(nn.Module):
    """One multi-head attention per scale, each with its own `W_Q, W_K, W_V, W_O`, computed together.

        H_j = softmax(Z W_Q,j (S_j W_K,j)^T / sqrt(d_k)) S_j W_V,j W_O,j,   j = 1..S          (MCMuT Eqs. 3-4)

    All queries come from one target, so one product makes them; the S sources share one length, so one batched product
    makes the keys and values; the scales are extra heads of one attention call.
    """

    def __init__(self, dim: int, num_heads: int, num_scales: int, *, dropout: float = 0.0, query_key_gain: float = 1.0):
        """Initialises each scale with the spread of `MultiHeadAttention`'s packed projection, so that one scale starts as MulT's attention does."""
        super().__init__()
        self.num_heads, self.num_scales, self.dropout = num_heads, num_scales, dropout
        gains = {"query": 0.5**0.5 * query_key_gain, "key": 0.5**0.5 * query_key_gain, "value": 0.5**0.5}
        initial = {name: _stacked_xavier(num_scales, dim, dim, gain=gain) for name, gain in gains.items()}
        self.query_weight = nn.Parameter(initial["query"])
        self.key_value_weight = nn.Parameter(torch.cat([initial["key"], initial["value"]], dim=1))
        self.output_weight = nn.Parameter(_stacked_xavier(num_scales, dim, dim, gain=3**-0.5))
        self.query_bias = nn.Parameter(torch.zeros(num_scales, dim))
        self.key_value_bias = nn.Parameter(torch.zeros(num_scales, 2 * dim))
        self.output_bias = nn.Parameter(torch.zeros(num_scales, dim))

    def forward(
        self,
        target: Float[Tensor, "batch target dim"],
        sources: list[Float[Tensor, "batch source dim"]],
        bias: AttentionBias,
        *,
        source_norm: nn.LayerNorm | None = None,
        with_weights: bool = False,
    ) -> tuple[Float[Tensor, "scale batch target dim"], Float[Tensor, "batch scale head target source"] | None]:
        """One candidate per source for every target step, and the attention weights when asked for.

        Args:
            target: asks.
            sources: one for each scale, or for the lowest scales only.
            bias: which source steps may be attended.
            source_norm: layer norm that sources pass first.
            with_weights: also return the attention weights.
        """
        num_weights = target.shape[0] * len(sources) * self.num_heads * target.shape[1] * sources[0].shape[1]
        if not with_weights and is_fused(num_weights, target, self.query_weight):
            dropout = self.dropout if self.training else 0.0
            answers = projected_attention(
                target, sources, source_norm, self._projections(len(sources)), bias.allowed, bias.present, num_heads=self.num_heads, dropout=dropout
            )
            return answers, None
        return self._plainly(target, torch.stack(sources) if source_norm is None else source_norm(torch.stack(sources)), bias, with_weights)

    def native_parameters(self, scales: int) -> AttentionParameters:
        """The parameters of the lowest scales as the compiled layer takes them."""
        pairs = ((self.query_weight, self.query_bias), (self.key_value_weight, self.key_value_bias), (self.output_weight, self.output_bias))
        if scales < self.num_scales:
            pairs = tuple((weight[:scales], bias[:scales]) for weight, bias in pairs)  # type: ignore[assignment]
        query, key_value, output = pairs
        return AttentionParameters(*query, *key_value, *output)

    def _projections(self, scales: int) -> Projections:
        key, value = self.key_value_weight[:scales].chunk(2, dim=1)
        key_bias, value_bias = self.key_value_bias[:scales].chunk(2, dim=1)
        outputs = self.output_weight[:scales], self.output_bias[:scales]
        return Projections(self.query_weight[:scales], self.query_bias[:scales], key, key_bias, value, value_bias, *outputs)

    def _plainly(self, target: Tensor, sources: Tensor, bias: AttentionBias, with_weights: bool) -> tuple[Tensor, Tensor | None]:
        batch, target_time, dim = target.shape
        scales, heads = len(sources), self.num_heads
        query = nn.functional.linear(target, self.query_weight[:scales].flatten(0, 1), self.query_bias[:scales].flatten())
        query = query.view(batch, target_time, scales * heads, dim // heads).transpose(1, 2)
        packed = torch.baddbmm(self.key_value_bias[:scales, None], sources.flatten(1, 2), self.key_value_weight[:scales].transpose(1, 2))
        packed = packed.view(scales, batch, -1, 2, heads, dim // heads)
        key, value = packed.permute(3, 1, 0, 4, 2, 5).flatten(2, 3).unbind(0)
        attended, weights = attend(query, key, value, bias, dropout=self.dropout if self.training else 0.0, with_weights=with_weights)
        attended = attended.view(batch, scales, heads, target_time, -1).permute(1, 0, 3, 2, 4).reshape(scales, batch * target_time, dim)
        candidates = torch.baddbmm(self.output_bias[:scales, None], attended, self.output_weight[:scales].transpose(1, 2))
        return (
            candidates.view(scales, batch, target_time, dim),
            None if weights is None else weights.unflatten(1, (scales, heads)),
        )


class ScaleAggregation(nn.Module):
    """Weighs a target step's S candidates against each other: self-attention over the S axis with residual, then the mean.

    A learned embedding tells the scales apart. The mean over S of `x + W_O attention(x)` needs only the mean of the
    attention weights over the asking scales, so that is what is computed.

    Source: the "multi-scale attentive layer" of MCMuT; its figure is lost, see docs/decisions/mcmut-open-points.md.
    """

    def __init__(self, dim: int, num_heads: int, num_scales: int, *, dropout: float = 0.0):
        super().__init__()
        self.num_heads = num_heads
        self.embedding = nn.Parameter(torch.randn(num_scales, dim) * 0.02)
        self.in_projection = nn.Linear(dim, 3 * dim)
        self.out_projection = nn.Linear(dim, dim)
        self.weight_dropout = Dropout(dropout)
        nn.init.xavier_uniform_(self.in_projection.weight)
        nn.init.zeros_(self.in_projection.bias)
        nn.init.zeros_(self.out_projection.bias)

    def native_parameters(self, scales: int) -> ScaleParameters:
        """The parameters as the compiled layer takes them, for the lowest scales."""
        packed, output = self.in_projection, self.out_projection
        embedding = self.embedding if scales == len(self.embedding) else self.embedding[:scales]
        return ScaleParameters(embedding, packed.weight, packed.bias, output.weight, output.bias)

    def forward(
        self, candidates: Float[Tensor, "scale batch target dim"], kept: Bool[Tensor, "scale batch"] | None = None
    ) -> Float[Tensor, "batch target dim"]:
        """The S candidates of each target step, as one; scales that are not kept neither ask nor answer."""
        scales, batch, time, dim = candidates.shape
        steps = candidates.flatten(1, 2)
        shares = None if kept is None else _mean_weights(kept, candidates).repeat_interleave(time, dim=1)
        elements = CHUNK_ELEMENTS if candidates.device.type == "cpu" else GPU_CHUNK_ELEMENTS
        length = max(1, elements // (scales * scales * dim))
        chunks = [slice(start, start + length) for start in range(0, batch * time, length)]
        rate = self.weight_dropout.rate if self.training else 0.0
        mask = dropout_mask(candidates.new_empty(scales, scales, self.num_heads, batch * time), rate) if rate > 0.0 else None
        arguments = [(steps[:, chunk], None if shares is None else shares[:, chunk], None if mask is None else mask[..., chunk]) for chunk in chunks]
        if len(chunks) > 1 and torch.is_grad_enabled() and candidates.requires_grad:  # what is in between is computed again in the backward pass
            parts = [checkpoint(self._aggregate, *given, use_reentrant=False, preserve_rng_state=False) for given in arguments]
        else:
            parts = [self._aggregate(*given) for given in arguments]
        return torch.cat(parts).unflatten(0, (batch, time))

    def _aggregate(
        self,
        candidates: Float[Tensor, "scale step dim"],
        shares: Float[Tensor, "scale step"] | None,
        mask: Float[Tensor, "scale scale head step"] | None,
    ) -> Float[Tensor, "step dim"]:
        """Steps come last on the way: with S of them last, sums over the scales would be ten times as slow."""
        labelled = candidates + self.embedding[: len(candidates), None]
        packed = torch.baddbmm(self.in_projection.bias[:, None], self.in_projection.weight.expand(len(candidates), -1, -1), labelled.transpose(1, 2))
        query, key, value = packed.unflatten(1, (3, self.num_heads, -1)).unbind(1)
        scores = (query[:, None] * key).sum(dim=3) * query.shape[2] ** -0.5  # (asking, answering, head, step)
        if shares is not None:
            scores = scores.masked_fill((shares == 0)[None, :, None], float("-inf"))
        weights = scores.softmax(dim=1)
        if mask is not None:
            weights = weights * mask
        weights = weights.mean(dim=0) if shares is None else (weights * shares[:, None, None]).sum(dim=0)
        attended = (weights[:, :, None] * value).sum(dim=0).flatten(0, 1)
        mean = labelled.mean(dim=0) if shares is None else (labelled * shares[..., None]).sum(dim=0)
        return mean + self.out_projection(attended.t())


class ScaleMean(nn.Module):
    """The plain mean of a target step's candidates: the ablation of `ScaleAggregation`."""

    def forward(
        self, candidates: Float[Tensor, "scale batch target dim"], kept: Bool[Tensor, "scale batch"] | None = None
    ) -> Float[Tensor, "batch target dim"]:
        """The S candidates of each target step, as one."""
        return mean_over_scales(candidates, kept)


def mean_over_scales(
    candidates: Float[Tensor, "scale batch target dim"], kept: Bool[Tensor, "scale batch"] | None
) -> Float[Tensor, "batch target dim"]:
    """The mean over the scales that are kept; None keeps all."""
    if kept is None:
        return candidates.mean(dim=0)
    return torch.einsum("sbtd,sb->btd", candidates, _mean_weights(kept, candidates))


def draw_kept_scales(num_scales: int, batch: int, rate: float, device: torch.device) -> Bool[Tensor, "scale batch"]:
    """Scale dropout: which scales each utterance keeps; one above the lowest falls with probability `rate`.

    Higher levels of the source have already seen the target, so that they offer evidence of the whole utterance, pooled.
    A model that may lean on it from the start settles there and is slow to match single steps; see
    docs/decisions/planted-experiments.md. At rate 1 only the lowest scale is left, which makes the layer MulT's.
    """
    kept = torch.rand(num_scales, batch, device=device) >= rate
    kept[0] = True
    return kept


def _mean_weights(kept: Tensor, like: Tensor) -> Tensor:
    return kept.to(like.dtype) / kept.sum(dim=0)


def _stacked_xavier(num_scales: int, out_dim: int, in_dim: int, *, gain: float) -> Tensor:
    weight = torch.empty(num_scales, out_dim, in_dim)
    for scale in weight:
        nn.init.xavier_uniform_(scale, gain=gain)
    return weight
