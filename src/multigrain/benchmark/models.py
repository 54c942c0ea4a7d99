"""MulT and MCMuT at their published sizes, and a training step of theirs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from multigrain.benchmark.lengths import DIMS

if TYPE_CHECKING:
    from multigrain.models.base import MultimodalModel
    from multigrain.schema import Batch

WIDTH, NUM_HEADS, NUM_LAYERS = 30, 5, 5
"""MulT's sizes in its authors' code: five crossmodal and five self-attention layers."""

GRADIENT_CLIP = 0.8
LEARNING_RATE = 1e-3

AUTHORS_DROPOUTS: dict[str, float] = {
    "text": 0.2,
    "attention_text": 0.1,
    "attention_audio": 0.0,
    "attention_vision": 0.0,
    "hidden": 0.1,
    "residual": 0.1,
    "embedding": 0.2,
    "output": 0.0,
}
"""MulT's rates on its authors' command line."""

MCMUT_CONFIG: dict[str, Any] = {"width": 40, "num_heads": 5, "num_blocks": 4, "layers_per_block": 3, "attention_dropout": 0.2}
MODELS = ("mult", "mcmut")


def mult_config(dropouts: Mapping[str, float] = AUTHORS_DROPOUTS, *, future_mask: bool = False) -> dict[str, Any]:
    """MulT's settings at its authors' sizes."""
    sizes = {"width": WIDTH, "num_heads": NUM_HEADS, "num_layers": NUM_LAYERS, "num_summary_layers": NUM_LAYERS}
    attention = {f"attention_dropout_{name}": dropouts[f"attention_{name}"] for name in DIMS}
    others = {f"{name}_dropout": dropouts[name] for name in ("text", "hidden", "residual", "embedding", "output")}
    return {**sizes, **attention, **others, "tied_norms": True, "future_mask": future_mask}


def published_config(model: str) -> dict[str, Any]:
    """The settings of `mult` or `mcmut` that differ from the defaults."""
    return mult_config() if model == "mult" else dict(MCMUT_CONFIG)


class TrainingStep:
    """A model and what trains it: forward pass, L1, backward pass, clipping, Adam.

    Attributes:
        model: in training mode.
        optimizer: Adam, fused.
    """

    def __init__(self, model: str, config: Mapping[str, Any], *, device: str | torch.device = "cpu", is_capturable: bool = False):
        """Builds the model with the parameters that torch's present seed gives.

        Args:
            model: key in `MODELS`.
            config: its settings.
            device: where it computes.
            is_capturable: Adam counts its steps on a GPU, so that a CUDA graph can hold it.
        """
        from multigrain.models import build_model
        from multigrain.schema import FeatureSpec, Task

        self.task = Task()
        features = {name: FeatureSpec(dim=dim) for name, dim in DIMS.items()}
        self.model: MultimodalModel = build_model(model, dict(config), self.task, features).to(device).train()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE, fused=True, capturable=is_capturable)

    def loss(self, batch: "Batch", label: Tensor) -> Tensor:
        """The L1 loss of a batch."""
        from multigrain.losses import task_loss

        return task_loss(self.task, self.model(batch).prediction, label)

    def clip(self) -> Tensor:
        """Limits the norm of all gradients together, and gives what it was."""
        return torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_CLIP)

    def take(self, batch: "Batch", label: Tensor) -> Tensor:
        """One step; gives the loss."""
        self.optimizer.zero_grad()
        loss = self.loss(batch, label)
        loss.backward()
        self.clip()
        self.optimizer.step()
        return loss.detach()
