"""MulT: every modality asks every other one, step by step, without alignment.

For each ordered pair (source beta -> target alpha), a stack of D crossmodal layers lets the target's steps attend the
source's low-level steps; per target the two streams are concatenated, pass a self-attention stack, and the step that
stands for the utterance is read out:

    X^_m = Conv1D(X_m)                                                       (Eq. 1)
    Z_m^[0] = sqrt(d) X^_m + PE(T_m)                                         (Eq. 2)
    Z^ = CM(LN(Z^[i-1]), LN(Z_beta^[0])) + Z^[i-1];  Z^[i] = FFN(LN(Z^)) + Z^   (Eqs. 3-5)
    Z_alpha = SelfAttention([Z_{beta->alpha}^[D], Z_{gamma->alpha}^[D]])      (section 3.2)

Source: Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL 2019.

Departures from the authors' code: padded steps are never attended and the last *real* step is read out (theirs attends
padding and reads the last row of the tensor); target and source have layer norms of their own unless `tied_norms`;
the future mask counts real lengths. `MulT.from_official` sets everything as theirs has it, and agrees with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from multigrain.layers.attention import AttentionBias
from multigrain.layers.dropout import Dropout
from multigrain.layers.head import ResidualHead
from multigrain.layers.masking import future_mask
from multigrain.layers.temporal_projection import TemporalProjection
from multigrain.layers.transformer import Climb, PositionalInput, Reading, TransformerSettings, TransformerStack, climb_together, read_together
from multigrain.models.base import MultimodalModel, Paper
from multigrain.models.settings import directions, number_for, require, require_heads, require_per_modality, require_rates, require_targets
from multigrain.schema import MODALITIES, Batch, FeatureSpec, ModalitySequence, ModelOutput, Task


@dataclass(frozen=True, kw_only=True)
class MulTConfig:
    """Settings of MulT.

    Attributes:
        width: d, the common width of the modalities.
        num_heads: attention heads; divides width.
        num_layers: D, layers of each crossmodal stack.
        num_summary_layers: layers of the self-attention stack over each target's concatenated streams.
        targets: the modalities that ask; None for all that the data has, as in the paper's full model.
        kernel_size: of the convolution over time, odd; or one per modality, as `{text: 1, audio: 3, vision: 3}`.
        text_dropout: on the text features before the convolution.
        attention_dropout_text, attention_dropout_audio, attention_dropout_vision: on attention weights, by source.
        hidden_dropout, residual_dropout, embedding_dropout, output_dropout: see `TransformerSettings` and `ResidualHead`.
        residual: of the crossmodal layers: `plain` as published, or `normalised` as in MCMuT's Eq. 5.
        query_key_gain: factor on the initial query and key projections of crossmodal attention; above 1, steps are told apart from
            the start, and matching by content is found sooner (docs/decisions/planted-experiments.md).
        tied_norms: one layer norm for target and source, as in the authors' code.
        future_mask: step t may only attend source steps up to t + |U - T|, as in the authors' command line.
    """

    width: int = 40
    num_heads: int = 5
    num_layers: int = 5
    num_summary_layers: int = 3
    targets: tuple[str, ...] | None = None
    kernel_size: int | dict[str, int] = 1
    text_dropout: float = 0.2
    attention_dropout_text: float = 0.1
    attention_dropout_audio: float = 0.0
    attention_dropout_vision: float = 0.0
    hidden_dropout: float = 0.1
    residual_dropout: float = 0.1
    embedding_dropout: float = 0.2
    output_dropout: float = 0.0
    residual: Literal["plain", "normalised"] = "plain"
    query_key_gain: float = 1.0
    tied_norms: bool = False
    future_mask: bool = False

    def __post_init__(self) -> None:
        """Checks every value."""
        require_heads("mult", self.width, self.num_heads)
        require(self.num_layers >= 1, "mult", "num_layers", self.num_layers, "at least 1")
        require(self.num_summary_layers >= 1, "mult", "num_summary_layers", self.num_summary_layers, "at least 1")
        require_per_modality("mult", "kernel_size", self.kernel_size, lambda number: number % 2 == 1 and number > 0, "an odd number")
        require(self.query_key_gain > 0.0, "mult", "query_key_gain", self.query_key_gain, "a positive number")
        require_targets("mult", self.targets)
        require_rates("mult", {name: getattr(self, name) for name in self.__dataclass_fields__ if name.endswith("dropout")})
        require_rates("mult", {f"attention_dropout_{name}": self.attention_dropout(name) for name in MODALITIES})

    def attention_dropout(self, source: str) -> float:
        """The attention dropout of stacks that `source` answers."""
        return {"text": self.attention_dropout_text, "audio": self.attention_dropout_audio, "vision": self.attention_dropout_vision}[source]

    def settings(
        self, attention_dropout: float, residual: Literal["plain", "normalised"] = "plain", query_key_gain: float = 1.0
    ) -> TransformerSettings:
        """What the layers of one stack share."""
        return TransformerSettings(
            attention_dropout=attention_dropout,
            hidden_dropout=self.hidden_dropout,
            residual_dropout=self.residual_dropout,
            residual=residual,
            query_key_gain=query_key_gain,
            tied_norms=self.tied_norms,
        )


class MulT(MultimodalModel):
    """The multimodal Transformer for unaligned sequences."""

    name: ClassVar[str] = "mult"
    reads_shared_contexts: ClassVar[bool] = True
    config_class: ClassVar[type] = MulTConfig
    paper: ClassVar[Paper] = Paper(
        "Multimodal Transformer for Unaligned Multimodal Language Sequences", "ACL", 2019, "https://aclanthology.org/P19-1656"
    )

    def __init__(self, config: MulTConfig, task: Task, features: Mapping[str, FeatureSpec], *, normalise: bool = False, clip: float | None = None):
        super().__init__(config, task, features, normalise=normalise, clip=clip)
        self.sources = directions("mult", config.targets, self.features)
        self.projections = nn.ModuleDict(
            {
                name: TemporalProjection(spec.dim, config.width, kernel_size=number_for("mult", "kernel_size", config.kernel_size, name))
                for name, spec in self.features.items()
            }
        )
        self.text_dropout = Dropout(config.text_dropout)
        self.low_level_input = PositionalInput(config.width, dropout=config.embedding_dropout)
        crossmodal_settings = {
            name: config.settings(config.attention_dropout(name), config.residual, config.query_key_gain) for name in self.features
        }
        self.crossmodal = nn.ModuleDict(
            {
                f"{source}_to_{target}": TransformerStack(
                    config.width, config.num_heads, config.num_layers, crossmodal_settings[source], is_crossmodal=True
                )
                for target, sources in self.sources.items()
                for source in sources
            }
        )
        target_width = config.width * (len(self.features) - 1)
        self.summary_input = PositionalInput(target_width, dropout=config.embedding_dropout)
        self.summary = nn.ModuleDict(
            {
                target: TransformerStack(
                    target_width, config.num_heads, config.num_summary_layers, config.settings(config.attention_dropout_text), is_crossmodal=False
                )
                for target in self.sources
            }
        )
        self.head = ResidualHead(target_width * len(self.sources), task.head_dim, dropout=config.output_dropout)

    def forward(self, batch: Batch, with_attention: bool = False) -> ModelOutput:
        """Predicts a batch; `attention["audio_to_text"]` holds one tensor per crossmodal layer."""
        sequences = self.prepare(batch)
        low_level = {name: self._low_level(name, sequence) for name, sequence in sequences.items()}  # Eqs. 1-2
        climbs = {}
        for target, sources in self.sources.items():
            for source in sources:
                stack, bias = cast(TransformerStack, self.crossmodal[f"{source}_to_{target}"]), self._bias(sequences[target], sequences[source])
                climbs[f"{source}_to_{target}"] = Climb(stack, low_level[target], low_level[source], bias)
        streams = dict(zip(climbs, climb_together(list(climbs.values()), with_weights=with_attention), strict=True))  # Eqs. 3-5
        readings = []
        for target, sources in self.sources.items():
            states = self.summary_input(torch.cat([streams[f"{source}_to_{target}"][0] for source in sources], dim=-1))
            sequence, stack = sequences[target], cast(TransformerStack, self.summary[target])
            readings.append(Reading(stack, states, self._bias(sequence, sequence), sequence.readout, sequence.mask, sequence.rows))
        summaries = read_together(readings)
        attention = {direction: weights for direction, (_, weights) in streams.items()}
        fused = torch.cat(summaries, dim=-1)
        prediction, hidden = self.head(fused)
        return ModelOutput(prediction, representations={"fused": fused, "hidden": hidden}, attention=attention if with_attention else {})

    def _low_level(self, name: str, sequence: ModalitySequence) -> Tensor:
        features = self.text_dropout(sequence.features) if name == "text" else sequence.features
        return self.low_level_input(self.projections[name](features, sequence.mask))

    def _bias(self, target: ModalitySequence, source: ModalitySequence) -> AttentionBias:
        if not self.config.future_mask:
            return AttentionBias.from_mask(source.mask).of_target(target.mask)
        future = future_mask(target.lengths, source.lengths, target.mask.shape[1], source.mask.shape[1])
        return AttentionBias.from_mask(source.mask, future)

    @classmethod
    def from_official(cls, state_dict: Mapping[str, Any], *, num_heads: int, future_mask: bool = False) -> "MulT":
        """A model with the weights of a checkpoint of the authors' code; see `multigrain.models.mult_official`."""
        from multigrain.models.mult_official import model_from_official

        return model_from_official(state_dict, num_heads=num_heads, future_mask=future_mask)
