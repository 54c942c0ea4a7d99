"""MMIN's Fine-grained Interaction Network (its section 2.3): which steps of one modality matter to which of another.

    pairwise:       X'_alpha = X_alpha + W_alpha [CA(X_alpha, X_beta) ; CA(X_alpha, X_gamma)]
    coarse-guided:  F = CA(CA(CA(G, X'_L), X'_V), X'_A),   G = [h_L^C ; h_V^C ; h_A^C];   h_m^F = F_m

CA is a stack of CA modules (Fig. 2b): layer norm on both inputs, multi-head attention with sparsemax, residual, and a feed-forward layer
with residual; the source is the given sequence at every layer. Each CA has parameters of its own.
"""

from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from multigrain.layers.attention import AttentionBias
from multigrain.layers.transformer import Climb, TransformerSettings, TransformerStack, climb_together


class FineNetwork(nn.Module):
    """Pairwise interaction of all modalities, then the common codes ask each of them in turn; one modality alone skips the first."""

    def __init__(self, modalities: tuple[str, ...], width: int, num_heads: int, num_layers: int, settings: TransformerSettings):
        super().__init__()
        self.sources = {target: [source for source in modalities if source != target] for target in modalities}
        directions = [f"{source}_to_{target}" for target, sources in self.sources.items() for source in sources]

        def stack() -> TransformerStack:
            return TransformerStack(width, num_heads, num_layers, settings, is_crossmodal=True)

        self.pairwise = nn.ModuleDict({direction: stack() for direction in directions})
        self.joins = nn.ModuleDict({target: nn.Linear(len(sources) * width, width) for target, sources in self.sources.items() if sources})
        self.guided = nn.ModuleDict({source: stack() for source in modalities})

    def forward(
        self,
        states: dict[str, Float[Tensor, "batch _ dim"]],
        common: Float[Tensor, "modality batch dim"],
        biases: dict[str, AttentionBias],
        masks: dict[str, Bool[Tensor, "batch _"]],
        *,
        with_weights: bool = False,
    ) -> tuple[Float[Tensor, "modality batch dim"], dict[str, list[Tensor]]]:
        """The vectors h_m^F, and the pairwise attention when asked for."""
        enriched, attention = self._enrich(states, biases, masks, with_weights)
        guides = common.transpose(0, 1)
        for source, stack in self.guided.items():
            guides, _ = stack(guides, enriched[source], biases[source])
        return guides.transpose(0, 1), attention

    def _enrich(
        self, states: dict[str, Tensor], biases: dict[str, AttentionBias], masks: dict[str, Tensor], with_weights: bool
    ) -> tuple[dict[str, Tensor], dict[str, list[Tensor]]]:
        """X' of all modalities; their padded steps are never read."""
        pairs = [(source, target) for target, sources in self.sources.items() for source in sources]
        climbs = [
            Climb(
                cast(TransformerStack, self.pairwise[f"{source}_to_{target}"]),
                states[target],
                states[source],
                biases[source].of_target(masks[target]),
            )
            for source, target in pairs
        ]
        streams = dict(zip(pairs, climb_together(climbs, with_weights=with_weights), strict=True))
        enriched = dict(states)
        for target, join in self.joins.items():
            heard = torch.cat([streams[source, target][0] for source in self.sources[target]], dim=-1)
            enriched[target] = states[target] + join(heard)
        return enriched, {f"{source}_to_{target}": weights for (source, target), (_, weights) in streams.items() if with_weights}
