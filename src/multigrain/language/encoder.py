"""The language model as part of a model: word-pieces in, one state a piece out; what of it is trained, and at which rate."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from multigrain.errors import RecipeError
from multigrain.language.reader import TextReader

_LAYER_NUMBER = re.compile(r"\.(\d+)\.")


class TextEncoder(nn.Module):
    """A language model whose last layer's states stand in place of text features.

    What is not trained is not saved: `state_dict` leaves it out, and loading takes it from the encoder's own files. A frozen network is
    no part of the module at all; it is loaded when first needed, for the states of an utterance are cached.
    """

    def __init__(self, reader: TextReader):
        """Loads the network, unless it is frozen.

        Args:
            reader: which encoder, and what of it is trained.

        Raises:
            RecipeError: the weights cannot be read, or the settings do not fit this encoder.
        """
        super().__init__()
        self.reader = reader
        self._frozen: list[nn.Module] = []  # in a list, so that torch does not take it for a part of this module
        if not reader.settings.is_frozen:
            self.network = _load_network(reader)
            self._choose_trained()
            self.register_state_dict_post_hook(_leave_out_frozen)  # type: ignore[no-untyped-call]
            self.register_load_state_dict_pre_hook(_fill_in_frozen)  # type: ignore[no-untyped-call]

    def forward(self, ids: Int[Tensor, "batch token"], mask: Bool[Tensor, "batch token"]) -> Float[Tensor, "batch token dim"]:
        """The state of every piece; those of padding are 0. A row that is all padding (no text) is let read one padding token."""
        if self.reader.settings.is_frozen:
            with torch.no_grad():
                return self._states(self._frozen_network(ids.device), ids, mask)
        return self._states(self.network, ids, mask)

    def _states(self, network: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
        read = mask.clone()
        read[:, 0] |= ~mask.any(dim=1)
        padding = self.reader.config.get("pad_token_id")
        states = network(input_ids=ids.masked_fill(~mask, padding or 0), attention_mask=read.long()).last_hidden_state
        return states.float().masked_fill(~mask.unsqueeze(-1), 0.0)

    def _frozen_network(self, device: torch.device) -> nn.Module:
        if not self._frozen:
            self._frozen.append(_load_network(self.reader).requires_grad_(False))
        return self._frozen[0].to(device).eval()

    # What is trained --------------------------------------------------------------------------------------------

    def _choose_trained(self) -> None:
        settings = self.reader.settings
        if settings.mode == "lora":
            self.network.requires_grad_(False)
            _add_lora(self.network, self.reader)
        if settings.mode == "last_layers":
            if settings.num_trainable_layers > self.num_layers:
                raise RecipeError(
                    f"text_encoder.num_trainable_layers is {settings.num_trainable_layers}; expected at most {self.num_layers}, the layers of "
                    f"{settings.name}. To train all of it, set text_encoder.mode to fine_tuned."
                )
            for name, parameter in self.network.named_parameters():
                parameter.requires_grad_(self._depth(name) > self.num_layers - settings.num_trainable_layers)

    @property
    def num_layers(self) -> int:
        """Layers of the encoder, its embeddings not counted."""
        numbers = [match for name, _ in self.network.named_parameters() if (match := _LAYER_NUMBER.search(f".{name}"))]
        return 1 + max((int(match.group(1)) for match in numbers), default=-1)

    def _depth(self, name: str) -> int:
        """0 for embeddings, 1 for the first layer and so on; what belongs to no layer comes after the last."""
        match = _LAYER_NUMBER.search(f".{name}")
        if match:
            return int(match.group(1)) + 1
        return 0 if re.search(r"embed|wte|wpe|shared", name) else self.num_layers

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimiser groups by depth: the last layer has the full rate; biases and norms are not decayed towards 0."""
        if self.reader.settings.is_frozen:
            return []
        settings, deepest = self.reader.settings, self.num_layers
        groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                groups.setdefault((self._depth(name), parameter.ndim < 2), []).append(parameter)
        return [
            {"params": groups[depth, is_plain], "lr": settings.learning_rate * settings.layer_decay ** (deepest - depth)}
            | ({"weight_decay": 0.0} if is_plain else {})
            for depth, is_plain in sorted(groups)
        ]


def _leave_out_frozen(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            state.pop(prefix + name, None)


def _fill_in_frozen(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            state.setdefault(prefix + name, parameter.detach())


def _load_network(reader: TextReader) -> nn.Module:
    """The encoder, without the pooling head that some have and nothing here reads; with weights of its own where the checkpoint has them."""
    from transformers import AutoConfig, AutoModel

    folder = reader.source.folder
    try:
        with _quiet_transformers():
            if reader.has_weights:
                network = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
            else:
                config = AutoConfig.from_pretrained(folder, local_files_only=True)
                network = AutoModel.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise RecipeError(
            f"The text encoder {reader.source.name!r} in {folder} cannot be loaded ({type(error).__name__}: {' '.join(str(error).split())[:300]}). "
            "It must be an encoder that this version of transformers knows; download it again, or name another."
        ) from error
    if getattr(network.config, "is_encoder_decoder", False):
        network = network.get_encoder()
    if getattr(network, "pooler", None) is not None:
        network.pooler = None
    return network


def _add_lora(network: nn.Module, reader: TextReader) -> None:
    """Puts trained low-rank matrices beside linear layers of a network, in place."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise RecipeError(
            "text_encoder.mode is 'lora', which needs the package peft. Install it: pip install 'multigrain[language]'; or train the last layers "
            "only: text_encoder.mode=last_layers."
        ) from error
    settings = reader.settings
    targets = None if settings.lora_targets is None else list(settings.lora_targets)
    config = LoraConfig(r=settings.lora_rank, lora_alpha=settings.lora_alpha, lora_dropout=settings.lora_dropout, target_modules=targets)
    try:
        inject_adapter_in_model(config, network)
    except ValueError as error:
        linear = sorted({name.rsplit(".", 1)[-1] for name, module in network.named_modules() if isinstance(module, nn.Linear)})
        raise RecipeError(
            f"text_encoder.lora_targets is {targets!r}, which fits no layer of {settings.name} ({' '.join(str(error).split())[:200]}). Name some of "
            f"its linear layers: {', '.join(linear)}."
        ) from error


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bar and no report on heads that are not used while weights are read."""
    from transformers.utils import logging as transformers_logging

    logger = logging.getLogger("transformers")
    level, had_bar = logger.level, transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        if had_bar:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
