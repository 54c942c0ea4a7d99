"""The models: one explicit table, and two ways to get one (build it fresh, load a trained one)."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from multigrain.errors import RecipeError, nearest
from multigrain.language.encoder import TextEncoder
from multigrain.language.reader import TextReader
from multigrain.models.base import MultimodalModel
from multigrain.models.baselines.late_fusion_lstm import LateFusionLSTM
from multigrain.models.late_fusion import LateFusion
from multigrain.models.mcmut import MCMuT
from multigrain.models.mmin import MMIN
from multigrain.models.mult import MulT
from multigrain.models.pooled import Pooled
from multigrain.models.unimodal import Unimodal
from multigrain.schema import FeatureSpec, Task

MODELS: dict[str, type[MultimodalModel]] = {
    "mcmut": MCMuT,
    "mult": MulT,
    "mmin": MMIN,
    "lf_lstm": LateFusionLSTM,
    "unimodal": Unimodal,
    "pooled": Pooled,
    "late_fusion": LateFusion,
}

__all__ = [
    "MMIN",
    "MODELS",
    "LateFusion",
    "LateFusionLSTM",
    "MCMuT",
    "MulT",
    "MultimodalModel",
    "Pooled",
    "Unimodal",
    "build_model",
    "load",
    "model_class",
]


def model_class(name: str) -> type[MultimodalModel]:
    """The class registered under `name`.

    Raises:
        RecipeError: no such model; the message lists those there are.
    """
    if name not in MODELS:
        raise RecipeError(f"There is no model {name!r}.{nearest(name, list(MODELS))} Models are {', '.join(sorted(MODELS))}.")
    return MODELS[name]


def build_model(
    name: str,
    config: Mapping[str, Any],
    task: Task,
    features: Mapping[str, FeatureSpec],
    *,
    normalise: bool = False,
    clip: float | None = None,
    text_reader: TextReader | None = None,
) -> MultimodalModel:
    """A fresh model.

    Args:
        name: key in MODELS.
        config: settings that differ from the defaults of the model's config class.
        task: what is predicted.
        features: specification of each modality that the model is to read.
        normalise, clip: see `MultimodalModel`.
        text_reader: the language model that reads the text, whose states `features["text"]` then describes; None for given vectors.

    Raises:
        RecipeError: unknown model, unknown setting, or a value out of range.
    """
    chosen = model_class(name)
    known = [field.name for field in fields(chosen.config_class)]
    for key in config:
        if key not in known:
            raise RecipeError(f"The model {name} has no setting {key!r}.{nearest(key, known)} Its settings are {', '.join(known)}.")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
    model = chosen(chosen.config_class(**values), task, features, normalise=normalise, clip=clip)
    if text_reader is not None and "text" in model.features:
        model.text_encoder = TextEncoder(text_reader)
    return model


def load(path_or_hub_id: str, *, revision: str | None = None, text_encoder: str | None = None) -> MultimodalModel:
    """A trained model, ready to predict, from a checkpoint folder, a run folder, or the hub.

    Args:
        path_or_hub_id: where it is.
        revision: of a hub id.
        text_encoder: folder or hub id of the language model that the checkpoint was trained on but does not hold (frozen, LoRA or last
            layers only); None looks where it was in training.

    Raises:
        CheckpointError: it cannot be found or does not fit this version of multigrain.
    """
    return MultimodalModel.from_pretrained(str(path_or_hub_id), revision=revision, text_encoder=text_encoder)
