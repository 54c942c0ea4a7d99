"""MMIN beside MMSA's MISA: a language model's states are given to both, as one that is frozen and cached gives them.

MISA is the nearest that MMSA has: private and common codes, their losses, and a Transformer layer over the codes. It has no attention
between steps, and of audio and vision it reads only as many steps as the text has tokens (`alignment` in its `MISA.py` gives the text's
lengths to both LSTMs): at 50/375/500 it leaves nine tenths of them unread. So the two do not do the same work; the table says what each costs.
"""

import importlib
from typing import Any

import torch
from torch import Tensor, nn

from step.implementations import GRADIENT_CLIP, LEARNING_RATE, Contender
from step.spec import STATE_WIDTH, CellSpec

WIDTH, NUM_HEADS = 128, 4  # MISA's hidden size in MMSA's registry is MMIN's default
MISA_MODULE = "MMSA.models.singleTask.MISA"


MMIN = {"width": WIDTH, "num_heads": NUM_HEADS, "num_layers": 3}  # the defaults, which the paper leaves open


def mmin_contender(spec: CellSpec) -> Contender:
    """Ours: the loss of its paper, with all four terms; `mmin_coarse` is its "w/o FIN", which has the parts that MISA has too."""
    from multigrain.losses import task_loss
    from multigrain.models import build_model
    from multigrain.schema import Batch, FeatureSpec, Task

    task = Task()
    features = {name: FeatureSpec(dim=dim, pooling="first" if name == "text" else None) for name, dim in spec.dims.items()}
    model = build_model("mmin", {**MMIN, "predicts_from_fine": spec.model == "mmin"}, task, features).train()

    def loss(batch: Any, label: Tensor) -> Tensor:
        output = model(batch)
        return task_loss(task, output.prediction, label, "mse") + sum(output.losses.values())

    return Contender(
        module=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True),
        pack=lambda inputs, lengths, label: Batch.from_arrays(**inputs, lengths=lengths, label=label),
        loss=loss,
        clip=lambda: nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP),
        predict=model.predict,
    )


def misa_contender(spec: CellSpec) -> Contender:
    """MMSA's, with its own optimiser and clipping, which steps after each batch instead of every second."""
    model = Misa().train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def predict(inputs: Any) -> Tensor:
        model.eval()
        with torch.no_grad():
            return model(inputs)

    return Contender(
        module=model,
        optimizer=torch.optim.Adam(trained, lr=model.settings.learning_rate),
        pack=misa_inputs,
        loss=model.loss,
        clip=lambda: nn.utils.clip_grad_value_(trained, model.settings.grad_clip),
        predict=predict,
    )


class CachedStates(nn.Module):
    """Stands where MISA has BERT: the states are what the batch brings."""

    def __init__(self, **_: Any):
        super().__init__()
        self.states: Tensor | None = None

    def forward(self, text: Tensor) -> Tensor:
        """The states of (batch, 3, tokens) ids, mask and segments."""
        assert self.states is not None
        return self.states


class Misa(nn.Module):
    """MMSA's MISA with cached states, and the loss of its own trainer."""

    def __init__(self) -> None:
        super().__init__()
        importlib.import_module("MMSA.models")
        importlib.import_module(MISA_MODULE).BertTextEncoder = CachedStates
        from MMSA.config import get_config_regression
        from MMSA.models import AMIO

        self.settings = get_config_regression("misa", "mosi")
        self.settings.update(feature_dims=[STATE_WIDTH, 5, 20], train_mode="regression", hidden_size=WIDTH)
        self.model = AMIO(self.settings)
        self.trainer = importlib.import_module("MMSA.trains.singleTask.MISA").MISA(self.settings)
        self.trainer.model = self.model

    def forward(self, inputs: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        """Scores of (states, text, audio, vision)."""
        states, text, audio, vision = inputs
        self.model.Model.bertmodel.states = states
        return self.model(text, audio, vision)["M"]

    def loss(self, inputs: tuple[Tensor, Tensor, Tensor, Tensor], label: Tensor) -> Tensor:
        """As its trainer puts it together."""
        trainer, settings = self.trainer, self.settings
        similarity = trainer.get_cmd_loss if settings.use_cmd_sim else trainer.get_domain_loss
        return (
            trainer.criterion(self(inputs), label)
            + settings.diff_weight * trainer.get_diff_loss()
            + settings.sim_weight * similarity()
            + settings.recon_weight * trainer.get_recon_loss()
        )


def misa_inputs(features: dict[str, Tensor], lengths: dict[str, Tensor], label: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States, and (batch, 3, tokens) ids, mask and segments of which MISA reads the mask; audio and vision."""
    states = features["text"]
    mask = (torch.arange(states.shape[1]) < lengths["text"][:, None]).to(states.dtype)
    return states, torch.stack([torch.zeros_like(mask), mask, torch.zeros_like(mask)], dim=1), features["audio"], features["vision"]
