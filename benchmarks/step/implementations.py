"""The models that are compared, each with its own trainer's optimiser and clipping, behind one small interface."""

import importlib
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from multigrain.benchmark.lengths import DIMS, UNALIGNED_PADDING
from multigrain.benchmark.models import GRADIENT_CLIP, LEARNING_RATE, MCMUT_CONFIG, NUM_HEADS, NUM_LAYERS, WIDTH, TrainingStep, mult_config
from step.spec import DROPOUTS, CellSpec

MULT_PARAMETERS = 1_071_211

# Two lines of the authors' code stop today's torch: an in-place product on one of several views, and `view` of a strided tensor.
OFFICIAL_REPAIRS = {
    "multihead_attention": ("q *= self.scaling", "q = q * self.scaling"),
    "position_embedding": ("positions.view(-1)", "positions.reshape(-1)"),
}


@dataclass
class Contender:
    """A model and how its own code trains it.

    Attributes:
        module: the model.
        optimizer: as its trainer makes it.
        pack: features (batch, time, dim) and lengths (batch,) by modality, and the label -> what the others are called with.
        loss: packed input, label -> scalar.
        clip: limits the gradients.
        predict: packed input -> scores, without gradients.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    pack: Callable[[dict[str, Tensor], dict[str, Tensor], Tensor], Any]
    loss: Callable[[Any, Tensor], Tensor]
    clip: Callable[[], object]
    predict: Callable[[Any], Tensor]


def load_libraries(spec: CellSpec) -> None:
    """All imports that a cell needs, so that they are done before memory is measured."""
    importlib.import_module("torch._dynamo")  # torch imports it by itself when an optimiser is first used
    if spec.implementation == "ours":
        import multigrain.losses
        import multigrain.models  # noqa: F401
    elif spec.implementation == "mmsa":
        import MMSA.config
        import MMSA.models  # noqa: F401
    else:
        _official_class(spec)


def build(spec: CellSpec) -> Contender:
    """The model of a cell, in training mode."""
    torch.manual_seed(spec.seed)
    if spec.model in ("mmin", "mmin_coarse", "misa"):
        from step.mmin import misa_contender, mmin_contender

        return misa_contender(spec) if spec.model == "misa" else mmin_contender(spec)
    return {"ours": _ours, "mmsa": _mmsa, "official": _official}[spec.implementation](spec)


def ours_config(spec: CellSpec) -> dict[str, Any]:
    """The settings of our model that differ from the defaults."""
    return MCMUT_CONFIG if spec.model == "mcmut" else mult_config(DROPOUTS[spec.dropouts], future_mask=spec.future_mask)


def _ours(spec: CellSpec) -> Contender:
    from multigrain.schema import Batch

    step = TrainingStep(spec.model, ours_config(spec))
    if spec.model == "mult":
        _check_parameters(step.model, "our MulT")
    return Contender(
        module=step.model,
        optimizer=step.optimizer,
        pack=lambda features, lengths, label: Batch.from_arrays(**features, lengths=lengths, label=label),
        loss=step.loss,
        clip=step.clip,
        predict=step.model.predict,
    )


def _mmsa(spec: CellSpec) -> Contender:
    from MMSA.config import get_config_regression
    from MMSA.models import AMIO

    rates = DROPOUTS[spec.dropouts]
    config = get_config_regression("mult", "mosi")
    config.update(
        dst_feature_dim_nheads=[WIDTH, NUM_HEADS],
        nlevels=NUM_LAYERS,
        feature_dims=list(DIMS.values()),
        seq_lens=list(spec.pad_to or UNALIGNED_PADDING),
        train_mode="regression",
        **_their_dropouts(rates),
        text_dropout=rates["text"],
        output_dropout=rates["output"],
        **{f"conv1d_kernel_size_{letter}": 1 for letter in "lav"},
    )
    model = AMIO(config).train()
    _check_parameters(model, "MMSA's MulT")
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return _theirs(model, "M", config.learning_rate, lambda: nn.utils.clip_grad_value_(trained, GRADIENT_CLIP))


def _official(spec: CellSpec) -> Contender:
    rates = DROPOUTS[spec.dropouts]
    settings = types.SimpleNamespace(
        **dict(zip(("orig_d_l", "orig_d_a", "orig_d_v"), DIMS.values(), strict=True)),
        **dict.fromkeys(("lonly", "aonly", "vonly"), True),
        num_heads=NUM_HEADS,
        layers=NUM_LAYERS,
        **_their_dropouts(rates),
        out_dropout=rates["output"],
        attn_mask=True,
        output_dim=1,
    )
    model = _official_class(spec)(settings).train()
    _check_parameters(model, "the authors' MulT")
    return _theirs(model, 0, LEARNING_RATE, lambda: nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP))


def _their_dropouts(rates: dict[str, float]) -> dict[str, float]:
    """The rates that the authors' code and MMSA call alike."""
    names = {"attention_text": "", "attention_audio": "_a", "attention_vision": "_v"}
    others = {"relu_dropout": rates["hidden"], "res_dropout": rates["residual"], "embed_dropout": rates["embedding"]}
    return {f"attn_dropout{letter}": rates[name] for name, letter in names.items()} | others


def _theirs(model: nn.Module, answer: str | int, learning_rate: float, clip: Callable[[], object]) -> Contender:
    """A model that is called with padded features alone and gives its scores under `answer`."""

    def scores(features: dict[str, Tensor]) -> Tensor:
        return model(*features.values())[answer]

    return Contender(
        module=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=learning_rate),
        pack=lambda features, lengths, label: features,
        loss=lambda features, label: nn.functional.l1_loss(scores(features), label),
        clip=clip,
        predict=_evaluated(model, scores),
    )


def _official_class(spec: CellSpec) -> Callable[[types.SimpleNamespace], nn.Module]:
    """`MULTModel` of the checkout, repaired in memory; its files stay as they are."""
    assert spec.official is not None
    folder = Path(spec.official).resolve()
    needed = ["src/models.py", "modules/transformer.py", *(f"modules/{name}.py" for name in OFFICIAL_REPAIRS)]
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} is no checkout of the authors' MulT: it has no {', '.join(missing)}. Pass --official its top folder.")
    sys.path.insert(0, str(folder))
    for name, (broken, repaired) in OFFICIAL_REPAIRS.items():
        path = folder / "modules" / f"{name}.py"
        module = types.ModuleType(f"modules.{name}")
        sys.modules[module.__name__] = module
        exec(compile(path.read_text(encoding="utf-8").replace(broken, repaired), str(path), "exec"), module.__dict__)
    from src.models import MULTModel

    return MULTModel


def _evaluated(model: nn.Module, forward: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    """`forward` in evaluation mode, without gradients."""

    def predict(inputs: Any) -> Tensor:
        model.eval()
        with torch.no_grad():
            return forward(inputs)

    return predict


def _check_parameters(model: nn.Module, name: str) -> None:
    count = sum(parameter.numel() for parameter in model.parameters())
    if count != MULT_PARAMETERS:
        raise ValueError(f"{name} has {count:,} parameters at the authors' sizes; expected {MULT_PARAMETERS:,}. It is another version of the model.")
