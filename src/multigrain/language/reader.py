"""What data and model must agree on where a language model reads the text: which encoder, cut how, and what its states are."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from multigrain.described import checked_value, from_json
from multigrain.errors import CheckpointError, RecipeError
from multigrain.language.pieces import WordPieces
from multigrain.language.settings import TextEncoderSettings
from multigrain.language.source import MINILM, TOKENIZER_FILES, EncoderSource, find_encoder, pools_by_mean
from multigrain.schema import FeatureSpec

logger = logging.getLogger(__name__)

CHECKPOINT_FOLDER = "text_encoder"
"""Within a checkpoint of a model whose language model was trained whole: its description and tokenizer."""

_LENGTH_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length")
_WIDTH_KEYS = ("hidden_size", "d_model", "dim", "n_embd")


@dataclass(frozen=True)
class TextReader:
    """A language model as a recipe or checkpoint asks for it, before its network is loaded. It can be pickled.

    Attributes:
        settings: as in the recipe, with the pooling decided.
        source: where its files are.
        has_weights: False for the description in a checkpoint, which holds the weights itself.
    """

    settings: TextEncoderSettings
    source: EncoderSource
    has_weights: bool = True

    @classmethod
    def from_settings(cls, settings: TextEncoderSettings) -> "TextReader":
        """Finds the encoder of a recipe.

        Raises:
            RecipeError: it is not there, is not complete, or takes fewer tokens than the recipe asks for.
        """
        source = find_encoder(settings.name, settings.revision)
        if settings.revision is not None and (settings.name == MINILM or str(source.folder) == settings.name):
            logger.warning("text_encoder.revision has no effect: %s is no hub id. Leave it out.", settings.name)
        pooling = settings.pooling or ("mean" if pools_by_mean(source.folder) else "first")
        reader = cls(replace(settings, pooling=pooling), source)
        limit = reader.token_limit
        if limit is not None and settings.max_tokens > limit:
            raise RecipeError(f"text_encoder.max_tokens is {settings.max_tokens}; expected at most {limit}, which {settings.name} was made for.")
        return reader

    @classmethod
    def from_checkpoint(cls, folder: Path, description: Mapping[str, Any], name: str | None = None) -> "TextReader":
        """The language model of a trained model: within the checkpoint where it was trained whole, else the one that it was trained on.

        Args:
            folder: of the checkpoint.
            description: what the checkpoint says of it, from `describe`.
            name: where the encoder is now; None for where it was.

        Raises:
            CheckpointError: the encoder is not here, or is another one than the model was trained on.
        """
        path = folder / "config.json"
        if not isinstance(description, Mapping):
            raise CheckpointError(f"{path}, text_encoder is no object with settings. Fetch or train the checkpoint again.")
        values = {key: value for key, value in description.items() if key != "sha256"}
        settings, sha256 = from_json(TextEncoderSettings, values, f"{path}, text_encoder"), checked_value(str, description, "sha256", path)
        own = folder / CHECKPOINT_FOLDER
        if settings.mode == "fine_tuned":
            if not (own / "config.json").is_file():
                raise CheckpointError(f"{own} with the text encoder's description is missing. The checkpoint is incomplete; fetch or train it again.")
            return cls(settings, EncoderSource(name=settings.name, folder=own, sha256=sha256), has_weights=False)
        needs = (
            f"The model in {folder} reads text with the language model {settings.name!r} (content {sha256[:12]}), of which the checkpoint does not "
            f"hold the weights, since it was trained with text_encoder.mode = {settings.mode}. "
        )
        advice = "Bring it here and name its folder: multigrain evaluate --text-encoder FOLDER, or multigrain.load(PATH, text_encoder=FOLDER)."
        try:
            source = find_encoder(name or settings.name, None if name else settings.revision)
        except RecipeError as error:
            raise CheckpointError(f"{needs}It cannot be found here: {error} {advice}") from error
        if source.sha256 != sha256:
            raise CheckpointError(f"{needs}What {name or settings.name!r} names here is another one (content {source.sha256[:12]}). {advice}")
        return cls(settings, source)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The encoder's config.json."""
        try:
            return dict(json.loads((self.source.folder / "config.json").read_text(encoding="utf-8")))
        except ValueError as error:
            raise RecipeError(f"{self.source.folder / 'config.json'} is not valid JSON ({error}). Download the encoder again.") from error

    @property
    def token_limit(self) -> int | None:
        """The most tokens that the encoder takes, or None where its description does not say."""
        limit = next((int(self.config[key]) for key in _LENGTH_KEYS if isinstance(self.config.get(key), int)), None)
        reserved = 2 if self.config.get("model_type") in ("roberta", "xlm-roberta", "camembert") else 0  # positions start behind the padding's
        return None if limit is None or limit < 0 else limit - reserved

    @property
    def width(self) -> int:
        """Features of a state.

        Raises:
            RecipeError: the encoder's description does not say.
        """
        for key in _WIDTH_KEYS:
            if isinstance(self.config.get(key), int):
                return int(self.config[key])
        raise RecipeError(
            f"{self.source.folder / 'config.json'} does not say how wide its states are ({', '.join(_WIDTH_KEYS)}). Use another encoder."
        )

    @property
    def spec(self) -> FeatureSpec:
        """What the states are, so that no model is given those of another encoder."""
        version = f"{self.source.sha256[:16]}, {self.settings.max_tokens} tokens"
        return FeatureSpec(dim=self.width, extractor="language model", version=version, pooling=self.settings.pooling)

    @cached_property
    def pieces(self) -> WordPieces:
        """The tokenizer."""
        return WordPieces(self.source.folder, self.settings.max_tokens)

    def describe(self) -> dict[str, Any]:
        """Everything about it that a checkpoint keeps, as plain JSON values."""
        return {key: value for key, value in asdict(self.settings).items() if key != "cache"} | {"sha256": self.source.sha256}

    def save_files(self, folder: Path) -> None:
        """Copies the encoder's description and tokenizer into a checkpoint's folder."""
        target = folder / CHECKPOINT_FOLDER
        target.mkdir(parents=True, exist_ok=True)
        for path in {path for pattern in ("config.json", *TOKENIZER_FILES) for path in self.source.folder.glob(pattern) if path.is_file()}:
            shutil.copyfile(path, target / path.name)
