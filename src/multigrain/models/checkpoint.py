"""Finding a checkpoint (folder, run folder or hub id) and building the model that it describes."""

import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch.nn.modules import module as module_hooks

from multigrain.described import checked_value, from_json
from multigrain.errors import CheckpointError, HubError, RecipeError
from multigrain.hub import fetch_from_hub
from multigrain.language.encoder import TextEncoder
from multigrain.language.reader import CHECKPOINT_FOLDER, TextReader
from multigrain.models.base import CARD_FILE, CHECKPOINT_FORMAT_VERSION, CONFIG_FILE, WEIGHTS_FILE, MultimodalModel
from multigrain.schema import MODALITIES, FeatureSpec, Task

_MOST_DESCRIPTION_BYTES = 64 << 20
_PARTS_PER_TENSOR = 100
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
        CheckpointError: the JSON is broken, of a newer format, describes another model than there are weights for, or names an unknown model or
            setting; or the language model is missing.
    """
    path = folder / CONFIG_FILE
    description = read_description(path)
    sizes = _weight_sizes(folder / WEIGHTS_FILE)
    make = _maker(description, path)
    with torch.device("meta"), _not_larger_than(sizes, path):  # takes no memory, and ends where more is made than there are weights for
        make()
    model = make()
    if "text_encoder" in description:
        if not isinstance(description["text_encoder"], dict):
            found = str(description["text_encoder"])[:40]
            raise CheckpointError(f"{path}: text_encoder is {found!r}; expected a mapping. The checkpoint is damaged or was changed; fetch it again.")
        reader = TextReader.from_checkpoint(folder, description["text_encoder"], text_encoder)
        try:
            with _not_larger_than(sizes, path) if not reader.has_weights else nullcontext():
                model.text_encoder = TextEncoder(reader)
        except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError, RuntimeError, ImportError, OSError) as error:
            raise CheckpointError(
                f"The language model that {folder} describes cannot be built ({type(error).__name__}: {str(error)[:300]}). The checkpoint is damaged "
                "or was changed; fetch or train it again."
            ) from error
    return model


def read_description(path: Path) -> dict[str, Any]:
    """A checkpoint's JSON, of this version's format.

    Raises:
        CheckpointError: it is broken, or of another format.
    """
    try:
        if path.stat().st_size > _MOST_DESCRIPTION_BYTES:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        description = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}). The checkpoint is incomplete; fetch or train it again.") from error
    if not isinstance(description, dict):
        raise CheckpointError(f"{path} holds {type(description).__name__}; expected a JSON object. Fetch or train the checkpoint again.")
    version = description.get("format_version")
    if version != CHECKPOINT_FORMAT_VERSION or isinstance(version, bool):
        raise CheckpointError(
            f"{path} has checkpoint format version {str(version)[:40]}; this multigrain reads version {CHECKPOINT_FORMAT_VERSION}. "
            "Update multigrain, or save the checkpoint again with this version."
        )
    return description


def task_of(description: Mapping[str, Any], path: Path) -> Task:
    """What a described model predicts.

    Raises:
        CheckpointError: it does not say, or nothing that can be predicted.
    """
    task = from_json(Task, checked_value(dict[str, Any], description, "task", path), f"{path}, task")
    if task.minimum >= task.maximum or not task.class_values or not task.emotions:
        raise CheckpointError(f"{path} describes a task from {task.minimum:g} to {task.maximum:g} that nothing can be predicted of. Fetch it again.")
    return task


def _maker(description: Mapping[str, Any], path: Path) -> Callable[[], MultimodalModel]:
    """A function that makes the described model, after checking everything that the description says."""
    from multigrain.models import MODELS

    name = checked_value(str, description, "model", path)
    if name not in MODELS:
        raise CheckpointError(f"{path} names the model {name[:100]!r}; this multigrain has {sorted(MODELS)}. Update multigrain.")
    model_class = MODELS[name]
    config: Any = from_json(model_class.config_class, checked_value(dict[str, Any], description, "config", path), f"{path}, config")
    task = task_of(description, path)
    features = {
        modality: from_json(FeatureSpec, values, f"{path}, features of {modality[:40]}")
        for modality, values in checked_value(dict[str, Any], description, "features", path).items()
    }
    for modality, spec in features.items():
        widths = {len(values) for values in (spec.mean, spec.std) if values is not None}
        if modality not in MODALITIES or spec.dim < 0 or widths - {spec.dim}:
            raise CheckpointError(
                f"{path}: the features of {modality[:40]!r} are {spec.dim} wide with statistics of {sorted(widths)}. Fetch it again."
            )
    normalise, clip = checked_value(bool, description, "normalise", path), checked_value(float | None, description, "clip", path)

    def make() -> MultimodalModel:
        try:
            return model_class(config, task, features, normalise=normalise, clip=clip)
        except RecipeError as error:
            raise CheckpointError(f"{path} describes a model that cannot be built: {error}") from error
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, ZeroDivisionError, RuntimeError, OverflowError) as error:
            raise CheckpointError(
                f"{path} describes a model that cannot be built ({type(error).__name__}: {str(error)[:200]}). Fetch or train it again."
            ) from error

    return make


def _weight_sizes(path: Path) -> list[int]:
    """How many numbers each tensor of the weights has, by the file's header."""
    try:
        with safe_open(path, "pt") as file:
            return [math.prod(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118 (no dict)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


@contextmanager
def _not_larger_than(sizes: list[int], path: Path) -> Iterator[None]:
    """Stops the making of a model that has more parameters than there are weights for.

    Raises:
        CheckpointError: within, as soon as that is so.
    """
    thread, made = threading.get_ident(), {"parameters": 0, "numbers": 0, "parts": 0}

    def check(**more: int) -> None:
        if threading.get_ident() != thread:
            return
        for name, count in more.items():
            made[name] += count
        too_large = made["parameters"] > 2 * len(sizes) or made["numbers"] > 2 * sum(sizes) or made["parts"] > _PARTS_PER_TENSOR * len(sizes)
        if too_large:
            raise CheckpointError(
                f"{path} describes a larger model than the {len(sizes)} tensors of {WEIGHTS_FILE} beside it, with {sum(sizes)} numbers, are for. "
                "The checkpoint is damaged or was changed; fetch or train it again."
            )

    handles = [
        module_hooks.register_module_parameter_registration_hook(
            lambda module, name, value: None if value is None else check(parameters=1, numbers=value.numel())
        ),
        module_hooks.register_module_module_registration_hook(lambda module, name, part: check(parts=1)),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def read_weights(model: MultimodalModel, path: Path) -> None:
    """Copies the weights of a safetensors file into a model.

    Raises:
        CheckpointError: the file is truncated, does not fit the model, or holds numbers that are not finite or of another type.
    """
    try:
        weights, own = load_file(path), model.state_dict()
        for name, values in weights.items():
            if name in own and values.is_floating_point() != own[name].is_floating_point():
                raise RuntimeError(f"{name} is of type {str(values.dtype).removeprefix('torch.')}, not {str(own[name].dtype).removeprefix('torch.')}")
            if values.is_floating_point() and not bool(torch.isfinite(values.float()).all()):
                bad = int((~torch.isfinite(values.float())).sum())
                raise RuntimeError(f"{bad} of the {values.numel()} numbers of {name} are NaN or infinite, so that every score would be too")
        model.load_state_dict(weights)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"The weights in {path} cannot be read into the model that {CONFIG_FILE} beside them describes: {str(error)[:1000]}. "
        "The checkpoint is incomplete or was changed; fetch or train it again."
    )
