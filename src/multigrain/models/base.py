"""The contract that every model keeps, so that one loop trains, evaluates, saves and explains all of them.

A model is built from a frozen config, a `Task` and the `FeatureSpec` of each modality it reads. It is called with a
`Batch` and answers with a `ModelOutput`. Everything that a paper does out of the ordinary goes through a hook
below with a default; there is never a second training loop.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from huggingface_hub import ModelHubMixin
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from multigrain import __version__
from multigrain.errors import CheckpointError
from multigrain.language.encoder import TextEncoder
from multigrain.language.words import cut_words
from multigrain.schema import MODALITIES, Batch, FeatureSpec, ModalitySequence, ModelOutput, Task, TokenSequence

CHECKPOINT_FORMAT_VERSION = 1
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CARD_FILE = "README.md"
CARD = """---
library_name: multigrain
tags: [multimodal-sentiment-analysis]
---
# {name}

A `{name}` model ({paper.title}, {paper.venue} {paper.year}, {paper.url}) for {task}, saved by multigrain {version}.

It reads features of exactly these kinds, and no others:

{inputs}

```python
import multigrain

model = multigrain.load("PATH_OR_HUB_ID")
scores = model.predict(batch)  # batch: multigrain.Batch
```

What it was trained on, how well it does on people whom it has not seen, and the licence that follows from its data are for whoever
publishes it to write here. A score is an estimate of what was expressed, not of what a person feels.
"""


@dataclass(frozen=True)
class Paper:
    """Where a model was published."""

    title: str
    venue: str
    year: int
    url: str


class InputNormaliser(nn.Module):
    """Standardises one modality's features with the training split's statistics and clips outliers.

    `clip` is in standard deviations when normalising, in the features' own units otherwise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: FeatureSpec, *, normalise: bool, clip: float | None):
        super().__init__()
        use = normalise and spec.mean is not None and spec.std is not None
        mean = torch.tensor(spec.mean) if use and spec.mean is not None else torch.zeros(spec.dim)
        std = torch.tensor(spec.std) if use and spec.std is not None else torch.ones(spec.dim)
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", torch.where(std > 1e-8, std, torch.ones_like(std)).float())
        self.is_identity = not use
        self.clip = clip

    def forward(self, features: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch time dim"]:
        """The features, standardised and clipped."""
        if not self.is_identity:
            features = (features - self.mean) / self.std
        return features if self.clip is None else features.clamp(-self.clip, self.clip)


class MultimodalModel(nn.Module, ModelHubMixin, ABC, library_name="multigrain", tags=["multimodal-sentiment-analysis"]):
    """Base of every model.

    Class attributes that a model declares:
        name: key in `MODELS`.
        paper: where it was published.
        config_class: its frozen, keyword-only config dataclass.
        modalities: those it can read.
        reads_shared_contexts: True when what it computes of a sequence can be shared by the utterances in it, up to the step that each reads
            (see `ModalitySequence.rows`); another model is given each utterance's sequence by itself.
        needs_alignment: True when all modalities must have one step a word.
        skips_parameters: True when some training steps leave parameters without a gradient.
        unmet_contracts: contract test -> why this model cannot meet it; empty for nearly all.
    """

    name: ClassVar[str]
    paper: ClassVar[Paper]
    config_class: ClassVar[type]
    modalities: ClassVar[tuple[str, ...]] = MODALITIES
    reads_shared_contexts: ClassVar[bool] = False
    needs_alignment: ClassVar[bool] = False
    skips_parameters: bool = False
    unmet_contracts: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: Any, task: Task, features: Mapping[str, FeatureSpec], *, normalise: bool = False, clip: float | None = None):
        """Builds the parts that all models share.

        Args:
            config: the model's own config dataclass.
            task: what is predicted.
            features: specification of each modality the model is to read; a modality left out is not read.
            normalise: standardise inputs with the specifications' statistics.
            clip: bound on the (standardised) inputs' absolute value, or None.
        """
        super().__init__()
        self.config, self.task = config, task
        self.features = {name: features[name] for name in MODALITIES if name in features and name in self.modalities}
        self.normalise, self.clip = normalise, clip
        self.normalisers = nn.ModuleDict(
            {name: InputNormaliser(spec, normalise=normalise, clip=clip) for name, spec in self.features.items() if spec.pooling is None}
        )
        self.text_encoder: TextEncoder | None = None
        self.left_out: frozenset[str] = frozenset()
        """Parts that the model predicts without; see `without`."""
        self.loaded_from: Path | None = None
        """The folder of the checkpoint whose weights these are, as it was found or fetched; None for a model that was built."""

    # What a model provides ------------------------------------------------------------------------------------

    @abstractmethod
    def forward(self, batch: Batch, with_attention: bool = False) -> ModelOutput:
        """Predicts a batch.

        Args:
            batch: any subset of the modalities may be missing, in whole or in some rows.
            with_attention: also return attention weights, where the model has any.
        """

    # Hooks with defaults: what some papers need beyond forward and loss -----------------------------------------

    @property
    def has_sparse_attention(self) -> bool:
        """Whether attention weights can be exactly zero, so that their share is worth showing."""
        return False

    @property
    def ablations(self) -> dict[str, frozenset[str]]:
        """What a trained model can be asked to predict without, from the same weights: a name such as "without scale 1" -> parts left out."""
        return {}

    @contextmanager
    def without(self, parts: frozenset[str]) -> Iterator[None]:
        """Within it the model predicts without these parts of its `ablations`."""
        before, self.left_out = self.left_out, parts
        try:
            yield
        finally:
            self.left_out = before

    def set_progress(self, progress: float) -> None:
        """Called before each training step with the share of training done, 0..1 (schedules inside a model)."""

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Optimiser groups; by default all parameters at one rate, and those of a language model at their own."""
        language = [] if self.text_encoder is None else self.text_encoder.parameter_groups()
        taken = {id(parameter) for group in language for parameter in group["params"]}
        own = [parameter for parameter in self.parameters() if parameter.requires_grad and id(parameter) not in taken]
        return [{"params": own, "lr": learning_rate}, *language]

    def after_step(self, batch: Batch, output: ModelOutput) -> None:
        """Called after each optimiser step (pseudo-labels, moving averages)."""

    # What every model shares ------------------------------------------------------------------------------------

    def prepare(self, batch: Batch) -> dict[str, ModalitySequence]:
        """The modalities that this model reads, normalised, with padded steps set to zero.

        Every modality of the model is there: one that the batch lacks comes as a single padded step. Where a language model reads the
        text, its states are the text's features, neither normalised nor clipped.
        """
        if not self.reads_shared_contexts:
            batch = batch.unshared()
        present = batch.modalities
        if "text" in present and self.text_encoder is not None and "text" in self.features:
            present["text"] = self._read_text(self.text_encoder, present["text"], batch.tokens)
        reference = next((sequence.features for sequence in present.values()), next(iter(self.parameters())))
        sequences: dict[str, ModalitySequence] = {}
        for name, spec in self.features.items():
            sequence = present.get(name)
            if sequence is None:
                sequences[name] = batch.absent(spec.dim, reference)
                continue
            if sequence.features.shape[-1] != spec.dim:
                raise CheckpointError(
                    f"{name} has {sequence.features.shape[-1]} features a step, but this {self.name} model was built for {spec.dim} "
                    f"(extractor {spec.extractor!r}). Use data with the features that the model was trained on, or train a new model."
                )
            values = self.normalisers[name](sequence.features) if name in self.normalisers else sequence.features
            values = values.masked_fill(~sequence.mask.unsqueeze(-1), 0.0)  # never multiply: 0 * NaN in padding is NaN
            sequences[name] = ModalitySequence(values, sequence.mask, sequence.readout, sequence.rows)
        return sequences

    def _read_text(self, encoder: TextEncoder, sequence: ModalitySequence, tokens: TokenSequence | None) -> ModalitySequence:
        """The text's states in place of features of width 0; cached states of a frozen language model stay as they are."""
        rest = (sequence.mask, sequence.readout)
        if sequence.features.shape[-1] != 0:
            if encoder.reader.settings.is_frozen:
                return sequence
            raise CheckpointError(
                f"text has {sequence.features.shape[-1]} features a step, but this {self.name} model reads transcripts with the language model "
                f"{encoder.reader.settings.name!r}. Give it a batch of its own: model.text_batch([...]), or a store with transcripts."
            )
        if tokens is None:
            raise CheckpointError(
                f"The text of the batch holds words without vectors and no tokens, which this {self.name} model needs. Make the batch with "
                "model.text_batch([...]), or take it from a store that was opened for the model's text encoder."
            )
        if encoder.reader.settings.is_frozen and not bool(sequence.mask.any()):  # nothing that its network would be loaded for
            return ModalitySequence(torch.zeros(*sequence.mask.shape, self.features["text"].dim, device=sequence.mask.device), *rest)
        return ModalitySequence(encoder(tokens.ids, sequence.mask), *rest)

    def text_batch(self, transcripts: Sequence[str]) -> Batch:
        """A batch of transcripts alone, for a model that reads text with a language model.

        Args:
            transcripts: at least one; one without words is absent text.

        Raises:
            CheckpointError: this model reads text vectors, which only their own extractor can make.
        """
        if self.text_encoder is None:
            raise CheckpointError(f"This {self.name} model reads no transcripts but vectors: it has no text encoder. Give it a Batch with vectors.")
        table, rows = self.text_encoder.reader.pieces.split([cut_words(transcript) for transcript in transcripts]), np.arange(len(transcripts))
        return Batch(text=table.sequence(rows), tokens=table.tokens(rows), ids=tuple(map(str, rows)))

    def predict(self, batch: Batch) -> Float[Tensor, "batch label"]:
        """Scores in the label's own units (see `Task.scores`), without dropout and without gradients."""
        return self.answer(batch)[:, : self.task.label_dim]

    @torch.no_grad()
    def answer(self, batch: Batch) -> Float[Tensor, "batch answer"]:
        """Scores as `predict` gives them, and for a model of classes the value of the most probable one beside (see `Task.answers`)."""
        was_training = self.training
        self.eval()
        try:
            device = next(iter(self.parameters())).device
            return self.task.answers(self(batch.to(device)).prediction.float())
        finally:
            self.train(was_training)

    # Checkpoints: safetensors + JSON -----------------------------------------------------------------------------

    def description(self) -> dict[str, Any]:
        """Everything but the weights that is needed to build this model again, as plain JSON values."""
        return {
            "format_version": CHECKPOINT_FORMAT_VERSION,
            "multigrain_version": __version__,
            "model": self.name,
            "config": asdict(self.config),
            "task": self.task.to_dict(),
            "features": {name: spec.to_dict() for name, spec in self.features.items()},
            "normalise": self.normalise,
            "clip": self.clip,
            **({} if self.text_encoder is None else {"text_encoder": self.text_encoder.reader.describe()}),
        }

    def _save_pretrained(self, save_directory: Path) -> None:
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(state, save_directory / WEIGHTS_FILE, metadata={"format": "pt"})
        (save_directory / CONFIG_FILE).write_text(json.dumps(self.description(), indent=2) + "\n", encoding="utf-8")
        (save_directory / CARD_FILE).write_text(self.card(), encoding="utf-8")
        if self.text_encoder is not None and self.text_encoder.reader.settings.mode == "fine_tuned":
            self.text_encoder.reader.save_files(save_directory)

    def card(self) -> str:
        """The checkpoint's model card, in Markdown with the hub's metadata; to be completed by whoever publishes it."""
        inputs = [f"- {name}: {spec.dim} features a step, extractor {spec.extractor!r} {spec.version}" for name, spec in self.features.items()]
        if self.text_encoder is not None:
            reader = self.text_encoder.reader
            inputs.append(
                f"\nText is read by the language model {reader.source.name} ({reader.settings.mode}): `model.text_batch([...])` makes a batch."
            )
        return CARD.format(name=self.name, paper=self.paper, task=self.task.kind, inputs="\n".join(inputs), version=__version__)

    @classmethod
    def from_pretrained(  # type: ignore[override]  # no config or constructor arguments: the checkpoint has them
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        text_encoder: str | None = None,
    ) -> "MultimodalModel":
        """A trained model in evaluation mode, from a checkpoint folder, a run folder or the hub.

        Replaces the mixin's method, which would try to decode our JSON into constructor arguments by itself. `text_encoder` says where the
        language model is that the checkpoint was trained on but does not hold; None looks where it was.

        Raises:
            CheckpointError: it cannot be found, is incomplete, or holds another model than this class.
        """
        from multigrain.models.checkpoint import build_from_description, fetch_checkpoint, read_weights

        options = {
            "revision": revision,
            "cache_dir": cache_dir,
            "force_download": force_download,
            "local_files_only": local_files_only,
            "token": token,
        }
        folder = fetch_checkpoint(str(pretrained_model_name_or_path), options)
        model = build_from_description(folder, text_encoder)
        if not isinstance(model, cls):
            raise CheckpointError(f"{folder} holds a {model.name!r} model, not {cls.name!r}. Load it with multigrain.load(...).")
        read_weights(model, folder / WEIGHTS_FILE)
        model.loaded_from = folder
        return model.eval()
