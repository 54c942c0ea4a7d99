"""One modality, pooled and a linear head: the plainest model there is over a language model's states.

    y = W drop(pool(X)) + b

With `pooling: mean` and a fine-tuned language model it is the usual sentence classifier, and what any larger model over the same
states must beat. Source of mean pooling over a Transformer's states: Reimers and Gurevych, "Sentence-BERT", EMNLP 2019, section 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from multigrain.errors import RecipeError
from multigrain.layers.dropout import Dropout
from multigrain.layers.masking import first_step, mean_of_steps, read_step
from multigrain.models.base import MultimodalModel, Paper
from multigrain.models.settings import require_rates
from multigrain.schema import Batch, FeatureSpec, ModelOutput, Task


@dataclass(frozen=True, kw_only=True)
class PooledConfig:
    """Settings of the pooled model.

    Attributes:
        modality: the one that is read; others in the data are ignored.
        pooling: the `mean` of all steps; the `first` step, which of a language model is [CLS]; or `readout`, the step that stands for the
            utterance, which is the last unless the utterance is given in its video's context.
        output_dropout: on the pooled vector.
    """

    modality: Literal["text", "audio", "vision"] = "text"
    pooling: Literal["readout", "mean", "first"] = "readout"
    output_dropout: float = 0.0

    def __post_init__(self) -> None:
        """Checks every value."""
        require_rates("pooled", {"output_dropout": self.output_dropout})


class Pooled(MultimodalModel):
    """One modality's steps, pooled, and a linear head."""

    name: ClassVar[str] = "pooled"
    config_class: ClassVar[type] = PooledConfig
    paper: ClassVar[Paper] = Paper(
        "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks (mean pooling)", "EMNLP", 2019, "https://aclanthology.org/D19-1410"
    )
    unmet_contracts: ClassVar[Mapping[str, str]] = {"overfit": "a linear function of given vectors cannot learn any eight labels by heart"}

    def __init__(self, config: PooledConfig, task: Task, features: Mapping[str, FeatureSpec], *, normalise: bool = False, clip: float | None = None):
        modality = config.modality
        if modality not in features:
            raise RecipeError(f"The model pooled reads {modality}, but the data has only {sorted(features)}. Change model.modality.")
        super().__init__(config, task, {modality: features[modality]}, normalise=normalise, clip=clip)
        self.output_dropout = Dropout(config.output_dropout)
        self.output = nn.Linear(features[modality].dim, task.head_dim)

    def forward(self, batch: Batch, with_attention: bool = False) -> ModelOutput:
        """Predicts a batch; there is no attention to show."""
        sequence = self.prepare(batch)[self.config.modality]
        if self.config.pooling == "readout":
            pooled = read_step(sequence.features, sequence.readout, sequence.mask)
        else:
            pooled = (first_step if self.config.pooling == "first" else mean_of_steps)(sequence.features, sequence.mask)
        return ModelOutput(self.output(self.output_dropout(pooled)), representations={"fused": pooled})
