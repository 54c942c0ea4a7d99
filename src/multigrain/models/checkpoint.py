"""Finding a checkpoint (folder, run folder or hub id) and building the model that it describes."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from multigrain.errors import CheckpointError, HubError
from multigrain.hub import fetch_from_hub
from multigrain.language.encoder import TextEncoder
from multigrain.language.reader import CHECKPOINT_FOLDER, TextReader
from multigrain.models.base import CARD_FILE, CHECKPOINT_FORMAT_VERSION, CONFIG_FILE, WEIGHTS_FILE, MultimodalModel
from multigrain.schema import FeatureSpec, Task

HUB_PATTERNS = (CONFIG_FILE, WEIGHTS_FILE, "conformal.json", CARD_FILE, f"{CHECKPOINT_FOLDER}/*")
"""Files of a repository that belong to a checkpoint: the model, its intervals and its card where they are there, its language model's files."""


def fetch_checkpoint(path_or_hub_id: str, hub: dict[str, Any]) -> Path:
    """The local folder of a checkpoint: the folder itself, a run's best checkpoint, or a download from the hub.

    Raises:
        CheckpointError: there is no such folder and the hub does not have it or cannot be reached.
    """
    path = Path(path_or_hub_id)
    for folder in (path, path / "checkpoints" / "best"):
        if _is_checkpoint(folder):
            return folder
    if path.exists():
        raise CheckpointError(
            f"{path} holds no checkpoint: expected {CONFIG_FILE} and {WEIGHTS_FILE} in it, or in its checkpoints/best. "
            "Name a run folder whose training has finished an epoch, or a folder written by save_pretrained."
        )
    if path_or_hub_id.count("/") != 1 or path_or_hub_id.startswith((".", "~", "/")):
        raise CheckpointError(f"There is no folder {path_or_hub_id}, and it is no hub id (owner/name) either. Check the path.")
    try:
        return fetch_from_hub(path_or_hub_id, HUB_PATTERNS, _is_checkpoint, prefers_cache=False, **hub)
    except HubError as error:
        raise CheckpointError(
            f"There is no folder {path_or_hub_id}, and as a hub id it could not be fetched ({error}). With a network, check the name at "
            f"https://huggingface.co/{path_or_hub_id}. Without one, download the checkpoint where there is one (`hf download {path_or_hub_id} "
            "--local-dir FOLDER`), copy the folder here, and name it."
        ) from error


def _is_checkpoint(folder: Path) -> bool:
    return (folder / CONFIG_FILE).is_file() and (folder / WEIGHTS_FILE).is_file()


def build_from_description(folder: Path, text_encoder: str | None = None) -> MultimodalModel:
    """The model that a checkpoint's JSON describes, with fresh weights.

    Args:
        folder: of the checkpoint.
        text_encoder: where the language model is that it was trained on; None for where it was.

    Raises:
        CheckpointError: the JSON is broken, of a newer format, or names an unknown model or setting; or the language model is missing.
    """
    from multigrain.models import MODELS

    path = folder / CONFIG_FILE
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}). The checkpoint is incomplete; fetch or train it again.") from error
    version = description.get("format_version")
    if version != CHECKPOINT_FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has checkpoint format version {version}; this multigrain reads version {CHECKPOINT_FORMAT_VERSION}. "
            "Update multigrain, or save the checkpoint again with this version."
        )
    name = description.get("model")
    if name not in MODELS:
        raise CheckpointError(f"{path} names the model {name!r}; this multigrain has {sorted(MODELS)}. Update multigrain.")
    model_class = MODELS[name]
    known = {field.name for field in fields(model_class.config_class)}
    unknown = sorted(set(description["config"]) - known)
    if unknown:
        raise CheckpointError(f"{path} sets {unknown}, which {name} does not have in this version of multigrain. Update multigrain.")
    config = model_class.config_class(**{key: _tuples(value) for key, value in description["config"].items()})
    model = model_class(
        config,
        Task.from_dict(description["task"]),
        {modality: FeatureSpec.from_dict(values) for modality, values in description["features"].items()},
        normalise=description["normalise"],
        clip=description["clip"],
    )
    if "text_encoder" in description:
        model.text_encoder = TextEncoder(TextReader.from_checkpoint(folder, description["text_encoder"], text_encoder))
    return model


def read_weights(model: MultimodalModel, path: Path) -> None:
    """Copies the weights of a safetensors file into a model.

    Raises:
        CheckpointError: the file is truncated, or does not fit the model.
    """
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise CheckpointError(
            f"The weights in {path} cannot be read into the model that {CONFIG_FILE} beside them describes: {error}. "
            "The checkpoint is incomplete or was changed; fetch or train it again."
        ) from error


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
