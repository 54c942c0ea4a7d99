"""A recipe: everything that decides a training run except the seed, as frozen dataclasses.

Written in YAML with the sections below, one file per published run; `recipe_file.py` reads it and
checks every key and value.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import yaml

from multigrain.data.joint_store import StoreSource, check_names
from multigrain.errors import RecipeError, require
from multigrain.language.settings import TextEncoderSettings
from multigrain.schema import MODALITIES, Task
from multigrain.training.published import PublishedRecipe

HINTS = ("made_by", "stand_in_by")
"""Keys of the section data that decide nothing."""


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """What is trained on: either one store or several.

    Attributes:
        store: path of a store, written by `multigrain data convert` or `multigrain data planted`.
        stores: several of them, each with its weight and, where needed, how its labels are read.
        modalities: those to use; None for all that the store has, or any of the stores, and the model can read.
        normalise: standardise the inputs with the training split's statistics, pooled over the stores where there are several.
        clip: bound on the inputs' absolute value (in standard deviations when normalising), or None.
        made_by: the command that makes the store out of the file that is needed, shown where the store is missing.
        stand_in_by: a command that plants a store of the same shape, with which the recipe runs meanwhile; shown beside it.
    """

    store: str | None = None
    stores: tuple[StoreSource, ...] | None = None
    modalities: tuple[str, ...] | None = None
    normalise: bool = False
    clip: float | None = None
    made_by: str | None = None
    stand_in_by: str | None = None

    def __post_init__(self) -> None:
        if self.store is None and self.stores is None:
            raise RecipeError(
                "the key 'data.store' is missing. Write `data: {store: path/to/NAME.store}`, or `data: {stores: [a.store, b.store]}` to train "
                "on several."
            )
        if self.store is not None and self.stores is not None:
            raise RecipeError(
                "both data.store and data.stores are given; expected one of them. Leave one out; on the command line write data.store=null beside "
                "data.stores=[a.store, b.store]."
            )
        require(self.stores != (), "data.stores", [], "at least one store")
        check_names(self.stores or ())
        for name in self.modalities or ():
            require(name in MODALITIES, "data.modalities", list(self.modalities or ()), f"some of {list(MODALITIES)}")
        require(self.modalities != (), "data.modalities", [], "at least one modality, or null for all that there are")
        require(self.clip is None or self.clip > 0, "data.clip", self.clip, "a positive number or null")

    @property
    def store_names(self) -> tuple[str, ...]:
        """The names of several stores; empty for one."""
        return tuple(source.name for source in self.stores or ())

    def to_dict(self) -> dict[str, Any]:
        """The section as plain values, with the one of `store` and `stores` that is given."""
        values = {key: value for key, value in asdict(self).items() if key not in ("store", "stores")}
        values = {key: value for key, value in values.items() if key not in HINTS or value is not None}
        if self.stores is None:
            return {"store": self.store, **_plain(values)}
        return {"stores": [_plain_source(source) for source in self.stores], **_plain(values)}


@dataclass(frozen=True, kw_only=True)
class TaskRecipe:
    """What to change about the store's own task; None leaves it as it is. See `multigrain.schema.Task`."""

    kind: Literal["regression", "classification", "emotions"] | None = None
    minimum: float | None = None
    maximum: float | None = None
    class_values: tuple[float, ...] | None = None
    emotions: tuple[str, ...] | None = None

    def apply(self, task: Task) -> Task:
        """The store's task with this recipe's changes."""
        return replace(task, **{key: value for key, value in asdict(self).items() if value is not None})


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """Which model, and all of its settings.

    Attributes:
        name: key in `multigrain.models.MODELS`.
        config: the settings of the model's config dataclass, with plain values.
    """

    name: str
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """How the model is trained.

    Attributes:
        epochs: most epochs that a run takes.
        batch_utterances: utterances a step, over all devices together; or None.
        batch_steps: most padded steps of the longest modality a batch may hold, over all devices; or None.
        batches: `by_length`: utterances of like length together, drawn anew each epoch; `by_context`: those of a video together, where the
            store has them in its context, so that a model that `reads_shared_contexts` computes a video once for all of them.
        loss: a name in `multigrain.losses.LOSSES`; None for the task's own.
        class_weights: for a task of classes, `balanced` lets each class count the same in the loss, however few utterances it has.
        optimizer: `adam` or `adamw`.
        learning_rate: of the optimiser, after warm-up.
        weight_decay: of the optimiser.
        warmup_steps: steps over which the learning rate rises linearly from 0.
        gradient_clip: bound on the norm of all gradients together, or None.
        schedule: `plateau` multiplies the rate by `plateau_factor` when the validation loss has not improved for more
            than `plateau_patience` epochs; `cosine` lets it fall to 0 over all epochs; `constant`.
        plateau_patience, plateau_factor: see `schedule`.
        early_stopping_patience: stop after so many epochs without a better `monitor`; None never stops early.
        modality_dropout: modality -> share of the training utterances that lose it, anew each epoch; never all that an utterance has
            (see `multigrain.training.modality_dropout`). Empty for none.
        monitor: validation metric (or `valid_loss`) that chooses the best epoch.
        keep: which epoch's weights the run ends with: the `best` by `monitor`, or the `last`, where validation cannot be trusted.
        precision: of the arithmetic, in Lightning's words.
        num_threads: CPU threads of one process; None leaves torch's own choice.
        num_workers: processes that prepare batches; 0 prepares them in the training process.
        accelerator: `auto` takes a GPU where there is one.
        devices: number of devices, or of processes on CPU.
        strategy: `ddp` for more than one device.
        loggers: further Lightning loggers by name, such as `wandb`; TensorBoard and CSV are always written.
        log_every: also log the training loss every so many steps; 0 logs once an epoch.
    """

    epochs: int = 30
    batch_utterances: int | None = 32
    batch_steps: int | None = None
    batches: Literal["by_length", "by_context"] = "by_length"
    loss: str | None = None
    class_weights: Literal["none", "balanced"] = "none"
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup_steps: int = 0
    gradient_clip: float | None = 0.8
    schedule: Literal["plateau", "cosine", "constant"] = "plateau"
    plateau_patience: int = 10
    plateau_factor: float = 0.1
    early_stopping_patience: int | None = None
    modality_dropout: dict[str, float] = field(default_factory=dict)
    monitor: str = "valid_loss"
    keep: Literal["best", "last"] = "best"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    num_threads: int | None = None
    num_workers: int = 0
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: int = 1
    strategy: Literal["auto", "ddp"] = "auto"
    loggers: tuple[str, ...] = ()
    log_every: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "devices"):
            require(getattr(self, name) >= 1, f"training.{name}", getattr(self, name), "1 or more")
        for name in ("batch_utterances", "batch_steps", "early_stopping_patience", "num_threads"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"training.{name}", value, "1 or more, or null")
        for name in ("warmup_steps", "plateau_patience", "num_workers", "log_every", "weight_decay"):
            require(getattr(self, name) >= 0, f"training.{name}", getattr(self, name), "0 or more")
        batch = (self.batch_utterances, self.batch_steps)
        require(batch != (None, None), "training.batch_utterances", None, "a number here, in training.batch_steps, or in both")
        require(0 < self.learning_rate < float("inf"), "training.learning_rate", self.learning_rate, "a positive number")
        require(self.gradient_clip is None or self.gradient_clip > 0, "training.gradient_clip", self.gradient_clip, "a positive number or null")
        require(0 < self.plateau_factor < 1, "training.plateau_factor", self.plateau_factor, "a number between 0 and 1")
        keeps_all = not any(self.modality_dropout.values())
        require(self.batches == "by_length" or keeps_all, "training.batches", self.batches, "by_length beside training.modality_dropout")
        for name, rate in self.modality_dropout.items():
            key = f"training.modality_dropout.{name}"
            require(name in MODALITIES, key, rate, f"rates for {', '.join(MODALITIES)} only; {name!r} is no modality")
            require(0 <= rate < 1, key, rate, "a rate from 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class EvaluationRecipe:
    """How the run is scored.

    Attributes:
        convention: of the metrics, as in `docs/conventions.md`.
    """

    convention: Literal["default", "mult", "mmsa", "mag"] = "default"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a run except the seed. Nothing changes it after loading."""

    name: str
    data: DataRecipe
    model: ModelRecipe
    task: TaskRecipe = field(default_factory=TaskRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)
    text_encoder: TextEncoderSettings | None = None
    published: PublishedRecipe = field(default_factory=PublishedRecipe)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values in the form of the YAML file: the model's settings stand beside its name."""
        return {
            "name": self.name,
            **({"published": self.published.to_value()} if self.published.rows else {}),
            "data": self.data.to_dict(),
            **({} if self.text_encoder is None else {"text_encoder": _plain(asdict(self.text_encoder))}),
            "task": _plain({key: value for key, value in asdict(self.task).items() if value is not None}),
            "model": {"name": self.model.name, **_plain(self.model.config)},
            "training": _plain(asdict(self.training)),
            "evaluation": asdict(self.evaluation),
        }

    def decisive(self) -> dict[str, dict[str, Any]]:
        """The sections without the stores' paths, the cache's and hints: what, with the fingerprint of their content, decides a run's numbers."""
        sections = {name: section for name, section in self.to_dict().items() if isinstance(section, dict) and name != "published"}
        stores = [{key: value for key, value in source.items() if key != "path"} for source in sections["data"].get("stores", ())]
        data = {key: value for key, value in sections["data"].items() if key not in ("store", "stores", *HINTS)}
        sections |= {"data": data | ({"stores": stores} if stores else {})}
        if self.text_encoder is not None:  # where the cache lies decides nothing
            sections["text_encoder"] = {key: value for key, value in sections["text_encoder"].items() if key != "cache"}
        return sections

    def to_yaml(self) -> str:
        """The recipe as YAML that `load_recipe` reads back to an equal recipe."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)


def _plain_source(source: StoreSource) -> dict[str, Any]:
    labels = None if source.labels is None else {key: value for key, value in asdict(source.labels).items() if value is not None}
    values = {"path": source.path, "name": source.name, "weight": source.weight}
    return values if labels is None else values | {"labels": _plain(labels)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (tuple, list)) else value
