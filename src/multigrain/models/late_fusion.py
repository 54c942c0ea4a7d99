"""Late fusion of evidence: every modality gives a score of its own, and scores count by how much each modality is known to tell.

    c_m = [mean_t h_t ; std_t h_t],   h_t = relu(W1_m x_t + b1_m)
    s_m = W2_m drop(c_m) + b2_m
    y   = sum_m k_m (1 + e_m) s_m / (1 + sum_m k_m e_m),   e_m = r_m / (1 - r_m),   over the modalities that are present

r_m, the `reliability`, is the share of the labels' variance that a modality explains on people who were not learned from. k_m is 1 for
the most reliable modality that is present, and `companion_share` for the others. With k = 1 throughout, and if every score is the best
guess from its own modality, errors are independent given the label, and labels spread around 0, then y is the best guess from all: the
mean of a product of normal densities in which the prior is counted once. A smaller share takes the others' evidence for less than it was
where it was measured, such as on acted speech. A modality alone keeps its own score.

No modality needs another to be learned from, so that each may come from a data set of its own (docs/decisions/default-checkpoint.md),
and the answer for any subset is as it was learned. Nothing is known of how modalities refer to each other: no attention, no links.

Source: decisions of independent classifiers, combined by the product rule with the prior taken out: Kittler, Hatef, Duin and Matas, "On
Combining Classifiers", IEEE TPAMI 1998, Eq. 7. The normal densities are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from multigrain.errors import CheckpointError, RecipeError
from multigrain.layers.dropout import Dropout
from multigrain.layers.masking import mean_of_steps
from multigrain.models.base import MultimodalModel, Paper
from multigrain.models.settings import require, require_rates
from multigrain.schema import MODALITIES, Batch, FeatureSpec, ModalitySequence, ModelOutput, Task


@dataclass(frozen=True, kw_only=True)
class LateFusionConfig:
    """Settings of late fusion.

    Attributes:
        width: of each modality's hidden layer over its steps.
        spread_of: the modalities whose steps' standard deviation is read beside their mean; leave out those that were learned from single
            steps (pictures), where there is none.
        text_reliability, audio_reliability, vision_reliability: r_m, the share of the labels' variance, 0 to below 1, that the modality
            explains on held-out people. They decide nothing where each utterance has one modality, so that they can be set after training.
        companion_share: k, 0..1, how much of its evidence counts of a modality beside a more reliable one; 0 lets the most reliable decide
            alone. Of no effect where each utterance has one modality either.
        input_dropout: on the features.
        hidden_dropout: on the pooled hidden layer.
    """

    width: int = 64
    spread_of: tuple[str, ...] = ("text", "audio")
    text_reliability: float = 0.5
    audio_reliability: float = 0.5
    vision_reliability: float = 0.5
    companion_share: float = 1.0
    input_dropout: float = 0.1
    hidden_dropout: float = 0.3

    def __post_init__(self) -> None:
        """Checks every value."""
        require(self.width >= 1, "late_fusion", "width", self.width, "at least 1")
        is_known = set(self.spread_of) <= set(MODALITIES) and len(set(self.spread_of)) == len(self.spread_of)
        require(is_known, "late_fusion", "spread_of", list(self.spread_of), f"some of {list(MODALITIES)}, each at most once")
        for name in MODALITIES:
            value = getattr(self, f"{name}_reliability")
            require(0.0 <= value < 1.0, "late_fusion", f"{name}_reliability", value, "a share of at least 0 and less than 1")
        require(0.0 <= self.companion_share <= 1.0, "late_fusion", "companion_share", self.companion_share, "a share of at least 0 and at most 1")
        require_rates("late_fusion", {"input_dropout": self.input_dropout, "hidden_dropout": self.hidden_dropout})

    def evidence(self, modality: str) -> float:
        """e_m: what a modality explains against what it leaves open."""
        reliability: float = getattr(self, f"{modality}_reliability")
        return reliability / (1.0 - reliability)


class ModalityScore(nn.Module):
    """One modality's own score: its steps through a hidden layer, pooled, and a linear output."""

    def __init__(self, dim: int, head_dim: int, config: LateFusionConfig, *, has_spread: bool):
        super().__init__()
        self.has_spread = has_spread
        self.input_dropout = Dropout(config.input_dropout)
        self.hidden = nn.Linear(dim, config.width)
        self.hidden_dropout = Dropout(config.hidden_dropout)
        self.output = nn.Linear(config.width * (2 if has_spread else 1), head_dim)

    def forward(self, sequence: ModalitySequence) -> tuple[Float[Tensor, "batch head"], Float[Tensor, "batch dim"]]:
        """The score and the pooled hidden layer; what they are where the modality is absent must not be read."""
        hidden = self.hidden(self.input_dropout(sequence.features)).relu()
        pooled = mean_of_steps(hidden, sequence.mask)
        if self.has_spread:
            variance = mean_of_steps((hidden - pooled.unsqueeze(1)).square(), sequence.mask)
            pooled = torch.cat([pooled, (variance + 1e-6).sqrt()], dim=1)  # the square root has no slope at 0
        return self.output(self.hidden_dropout(pooled)), pooled


class LateFusion(MultimodalModel):
    """A score from each modality, combined as independent evidence."""

    name: ClassVar[str] = "late_fusion"
    config_class: ClassVar[type] = LateFusionConfig
    paper: ClassVar[Paper] = Paper("On Combining Classifiers (product rule)", "IEEE TPAMI", 1998, "https://doi.org/10.1109/34.667881")
    unmet_contracts: ClassVar[Mapping[str, str]] = {
        "readout": "it pools all steps of an utterance, so that one in its video's context is not told apart"
    }

    def __init__(
        self, config: LateFusionConfig, task: Task, features: Mapping[str, FeatureSpec], *, normalise: bool = False, clip: float | None = None
    ):
        super().__init__(config, task, features, normalise=normalise, clip=clip)
        if all(getattr(config, f"{name}_reliability") == 0.0 for name in self.features):
            raise RecipeError(
                f"The model late_fusion has reliability 0 for every modality that it reads ({', '.join(self.features)}): nothing would be known. "
                "Set at least one of model.text_reliability, model.audio_reliability and model.vision_reliability above 0."
            )
        self.scores = nn.ModuleDict(
            {name: ModalityScore(spec.dim, task.head_dim, config, has_spread=name in config.spread_of) for name, spec in self.features.items()}
        )

    def forward(self, batch: Batch, with_attention: bool = False) -> ModelOutput:
        """Predicts a batch; there is no attention to show. With nothing present the prediction is 0, the middle of the prior."""
        sequences = self.prepare(batch)
        read = {name: self.scores[name](sequence) for name, sequence in sequences.items()}
        scores = torch.stack([score for score, _ in read.values()])
        prediction = self.combine(scores, torch.stack([sequence.is_present for sequence in sequences.values()]))
        pooled = {name: hidden for name, (_, hidden) in read.items()}
        return ModelOutput(prediction, representations={**pooled, "fused": torch.cat([*pooled.values()], dim=1)})

    def combine(self, scores: Float[Tensor, "modality batch head"], is_present: Bool[Tensor, "modality batch"]) -> Float[Tensor, "batch head"]:
        """y for given s_m.

        Args:
            scores: of the model's modalities in their order; what stands where one is absent is not read.
            is_present: which utterance has which; 0 where it has none.
        """
        counted = self._counted(is_present)
        evidence = counted * counted.new_tensor([[[self.config.evidence(name)]] for name in self.features])
        return ((counted + evidence) * scores.masked_fill(~is_present.unsqueeze(-1), 0.0)).sum(dim=0) / (1.0 + evidence.sum(dim=0))

    def _counted(self, is_present: Bool[Tensor, "modality batch"]) -> Float[Tensor, "modality batch 1"]:
        """k_m: 1 for the most reliable modality that is present, less for the others, 0 for those that are absent."""
        reliability = torch.tensor([getattr(self.config, f"{name}_reliability") for name in self.features], device=is_present.device)
        order = torch.where(is_present, reliability.unsqueeze(1), -1.0)
        is_first = nn.functional.one_hot(order.argmax(dim=0), len(reliability)).T.bool()
        return torch.where(is_first, 1.0, self.config.companion_share).masked_fill(~is_present, 0.0).unsqueeze(-1)

    @classmethod
    def joined(cls, parts: Sequence["LateFusion"], reliability: Mapping[str, float], *, companion_share: float = 1.0) -> "LateFusion":
        """One model from several that were trained apart, each on modalities of its own.

        Args:
            parts: alike in task and settings (but for reliabilities and k), and in `normalise` and `clip` where they read other than a
                language model's states; no modality is in two of them.
            reliability: r_m of every modality, measured on held-out people.
            companion_share: k.

        Returns:
            A model in evaluation mode, which holds the parts' own tensors and answers each modality alone as its part does.

        Raises:
            CheckpointError: the parts do not go together, or a reliability is missing.
        """
        names = [name for part in parts for name in part.features]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or set(reliability) != set(names):
            raise CheckpointError(
                f"The models to join read {names}, and reliabilities are given for {sorted(reliability)}. Expected each modality in one model "
                "only, and a reliability for each."
            )
        known: dict[str, Any] = {f"{name}_reliability": value for name, value in reliability.items()}
        config = replace(parts[0].config, **known, companion_share=companion_share)
        later = {f"{name}_reliability": getattr(config, f"{name}_reliability") for name in MODALITIES} | {"companion_share": companion_share}
        first = next((part for part in parts if part.normalisers), parts[0])
        for part in parts:
            own = replace(part.config, **later)
            has_other_inputs = bool(part.normalisers) and (part.normalise, part.clip) != (first.normalise, first.clip)
            if (own, part.task) != (config, parts[0].task) or has_other_inputs:
                raise CheckpointError(
                    f"The models of {list(parts[0].features)} and {list(part.features)} cannot be joined: they differ in task, settings, normalise "
                    f"or clip ({config}, {own}). Train them with the same ones."
                )
        features = {name: spec for part in parts for name, spec in part.features.items()}
        model = cls(config, parts[0].task, features, normalise=first.normalise, clip=first.clip)
        for part in parts:
            model.scores.update(dict(part.scores.items()))
            model.normalisers.update(dict(part.normalisers.items()))
            model.text_encoder = model.text_encoder or part.text_encoder
        return model.eval()
