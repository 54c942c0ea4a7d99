"""One modality alone: a self-attention stack, the readout step, the head.

The single-modality rows of the papers' tables (MulT Table 4, MCMuT Table 5); its depth is that of the crossmodal model
it stands beside.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from multigrain.errors import RecipeError
from multigrain.layers.attention import AttentionBias
from multigrain.layers.dropout import Dropout
from multigrain.layers.head import ResidualHead
from multigrain.layers.masking import read_step
from multigrain.layers.temporal_projection import TemporalProjection
from multigrain.layers.transformer import PositionalInput, TransformerSettings, TransformerStack
from multigrain.models.base import MultimodalModel, Paper
from multigrain.models.settings import require, require_heads, require_rates
from multigrain.schema import Batch, FeatureSpec, ModelOutput, Task


@dataclass(frozen=True, kw_only=True)
class UnimodalConfig:
    """Settings of the single-modality Transformer.

    Attributes:
        modality: the one that is read; others in the data are ignored.
        width, num_heads, num_layers, kernel_size: as in `MulTConfig`.
        input_dropout: on the features.
        attention_dropout, hidden_dropout, residual_dropout, embedding_dropout, output_dropout: as in `MulTConfig`.
    """

    modality: Literal["text", "audio", "vision"] = "text"
    width: int = 40
    num_heads: int = 5
    num_layers: int = 5
    kernel_size: int = 1
    input_dropout: float = 0.0
    attention_dropout: float = 0.1
    hidden_dropout: float = 0.1
    residual_dropout: float = 0.1
    embedding_dropout: float = 0.2
    output_dropout: float = 0.0

    def __post_init__(self) -> None:
        """Checks every value."""
        require_heads("unimodal", self.width, self.num_heads)
        require(self.num_layers >= 1, "unimodal", "num_layers", self.num_layers, "at least 1")
        require(self.kernel_size % 2 == 1 and self.kernel_size > 0, "unimodal", "kernel_size", self.kernel_size, "an odd number")
        require_rates("unimodal", {name: getattr(self, name) for name in self.__dataclass_fields__ if name.endswith("dropout")})


class Unimodal(MultimodalModel):
    """A Transformer over a single modality."""

    name: ClassVar[str] = "unimodal"
    reads_shared_contexts: ClassVar[bool] = True
    config_class: ClassVar[type] = UnimodalConfig
    paper: ClassVar[Paper] = Paper(
        "Multimodal Transformer for Unaligned Multimodal Language Sequences (single-modality rows)",
        "ACL",
        2019,
        "https://aclanthology.org/P19-1656",
    )

    def __init__(
        self, config: UnimodalConfig, task: Task, features: Mapping[str, FeatureSpec], *, normalise: bool = False, clip: float | None = None
    ):
        modality = config.modality
        if modality not in features:
            raise RecipeError(f"The model unimodal reads {modality}, but the data has only {sorted(features)}. Change model.modality.")
        super().__init__(config, task, {modality: features[modality]}, normalise=normalise, clip=clip)
        self.projection = TemporalProjection(features[modality].dim, config.width, kernel_size=config.kernel_size)
        settings = TransformerSettings(
            attention_dropout=config.attention_dropout, hidden_dropout=config.hidden_dropout, residual_dropout=config.residual_dropout
        )
        self.input_dropout = Dropout(config.input_dropout)
        self.low_level_input = PositionalInput(config.width, dropout=config.embedding_dropout)
        self.stack = TransformerStack(config.width, config.num_heads, config.num_layers, settings, is_crossmodal=False)
        self.head = ResidualHead(config.width, task.head_dim, dropout=config.output_dropout)

    def forward(self, batch: Batch, with_attention: bool = False) -> ModelOutput:
        """Predicts a batch; `attention["text_to_text"]` holds one tensor per layer."""
        modality = self.config.modality
        sequence = self.prepare(batch)[modality]
        states = self.low_level_input(self.projection(self.input_dropout(sequence.features), sequence.mask))
        bias, attention = AttentionBias.from_mask(sequence.mask).of_target(sequence.mask), {}
        if with_attention:
            states, attention[f"{modality}_to_{modality}"] = self.stack(states, None, bias, with_weights=True)
            fused = read_step(states, sequence.readout, sequence.mask, sequence.rows)
        else:
            fused = self.stack.read(states, bias, sequence.readout, sequence.mask, sequence.rows)
        prediction, hidden = self.head(fused)
        return ModelOutput(prediction, representations={"fused": fused, "hidden": hidden}, attention=attention)
