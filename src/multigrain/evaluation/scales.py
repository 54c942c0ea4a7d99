"""What are a model's scales, or its codes, worth to it? The same weights predict with some of them left out.

A multi-scale model need not use its scales. MCMuT is asked to predict with the lowest scale alone and without each scale, in every layer that
asks several; MMIN without CIN, without FIN, without each kind of code and each guided code. Nothing is trained: a difference says
what these weights lean on, not what a model that was trained without the part would reach.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from multigrain.errors import DataError
from multigrain.evaluation.evaluate import open_model_and_store, read_run, score
from multigrain.evaluation.predict import Predictions, predict_split
from multigrain.evaluation.significance import PairedTest, paired_bootstrap
from multigrain.metrics import metrics_for

if TYPE_CHECKING:
    from multigrain.data.batchable import BatchableSplit
    from multigrain.models.base import MultimodalModel

ALL = "all"
RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class AblationResult:
    """How the model does without some of its parts.

    Attributes:
        name: of the ablation, such as "only scale 0"; "all" for the model as it is.
        metrics: metric -> value, unrounded.
        against_all: metric -> difference from the model as it is, with its 95 % interval over utterances; empty for "all".
    """

    name: str
    metrics: dict[str, float]
    against_all: dict[str, PairedTest]


@dataclass(frozen=True, kw_only=True)
class Scales:
    """A model's results under all of its ablations, the model as it is first.

    Attributes:
        model: its key in `MODELS`.
        split: which was predicted.
        num_utterances: in it.
        convention: of the metrics.
        results: one for each ablation.
    """

    model: str
    split: str
    num_utterances: int
    convention: str
    results: tuple[AblationResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return asdict(self)


def measure_scales(
    model: "MultimodalModel", split: "BatchableSplit", *, convention: str = "default", progress: Callable[[str], None] = lambda line: None
) -> Scales:
    """Predicts a split once as it is and once under each of the model's ablations.

    Args:
        model: in any mode; it predicts without dropout, on the device that it is on.
        split: labelled, of a store whose features fit the model.
        convention: key of `multigrain.metrics.CONVENTIONS`.
        progress: shown one line an ablation.

    Raises:
        DataError: the model has no parts that it could do without; no labels; an unknown convention.
    """
    ablations = model.ablations
    if not ablations:
        raise DataError(
            f"This {model.name} model has nothing that could be left out: expected an MCMuT with a layer that asks several scales (two blocks or "
            "more), or an MMIN that predicts from several codes. Name such a run."
        )
    metrics = metrics_for(model.task, convention)
    predictions: dict[str, Predictions] = {}
    for name, parts in {ALL: frozenset[str](), **ablations}.items():
        progress(name)
        with model.without(parts):
            predictions[name] = predict_split(model, split)
    results = []
    for name, found in predictions.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of constant predictions
            values = score(model.task, found, split.name, convention)
        against = {} if name == ALL else paired_bootstrap([found], [predictions[ALL]], metrics, resamples=RESAMPLES)
        results.append(AblationResult(name=name, metrics=values, against_all=against))
    return Scales(model=model.name, split=split.name, num_utterances=len(split), convention=convention, results=tuple(results))


def scales_of_run(
    run_folder: str | os.PathLike[str],
    store: str | os.PathLike[str] | None = None,
    split: str = "test",
    convention: str = "default",
    *,
    progress: Callable[[str], None] = lambda line: None,
    text_encoder: str | None = None,
) -> Scales:
    """What `measure_scales` says of a run's best checkpoint.

    Args:
        run_folder: as `multigrain train` wrote it.
        store: whose split is predicted; without one, the store that the run was trained on.
        split: `train`, `valid` or `test`.
        convention: key of `multigrain.metrics.CONVENTIONS`.
        progress: shown one line an ablation.
        text_encoder: where the language model is that the run was trained on but its checkpoint does not hold; None for where it was.

    Raises:
        DataError: no such run, store or split; the model has nothing to leave out; a split without labels.
        CheckpointError: the run has no checkpoint, or the store's features or task are not those that the model was trained on.
    """
    model, opened = open_model_and_store(read_run(run_folder), store, text_encoder)
    return measure_scales(model, opened.split(split), convention=convention, progress=progress)
