"""Evaluating a finished run: from its own predictions, or afresh on a store."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multigrain.errors import CheckpointError, DataError
from multigrain.evaluation.by_store import metrics_by_store
from multigrain.evaluation.confusion import confusion_matrix
from multigrain.evaluation.predict import Predictions, predict_split, read_predictions
from multigrain.metrics import compute_metrics, why_undefined
from multigrain.models.checkpoint import read_description, task_of
from multigrain.schema import Task

if TYPE_CHECKING:
    from multigrain.data.joint_store import JointStore
    from multigrain.data.store import Store
    from multigrain.language.reader import TextReader
    from multigrain.models.base import MultimodalModel


@dataclass(frozen=True)
class RunFacts:
    """What a run folder says about itself (see `docs/architecture.md`).

    Attributes:
        folder: the run folder.
        run: content of `run.json`.
        results: content of `results.json`; empty while the run has not completed.
    """

    folder: Path
    run: dict[str, Any]
    results: dict[str, Any]

    @property
    def is_completed(self) -> bool:
        """True when training has ended as it should."""
        return self.run.get("status") == "completed" and bool(self.results)

    @property
    def task(self) -> Task:
        """What the run's model predicts, from its checkpoint.

        Raises:
            CheckpointError: the run has no checkpoint, or a damaged one.
        """
        path = self.folder / "checkpoints" / "best" / "config.json"
        try:
            return task_of(read_description(path), path)
        except CheckpointError as error:
            raise CheckpointError(
                f"{error} The run has not finished an epoch or was damaged; resume it with `multigrain train --resume` or train it again."
            ) from error

    def predictions(self, split: str) -> Predictions:
        """The run's own predictions on a split.

        Raises:
            DataError: the run has none for that split, or they are an earlier version's and lack the classes.
        """
        path = self.folder / "predictions" / f"{split}.csv"
        if not path.is_file():
            there = sorted(entry.stem for entry in path.parent.glob("*.csv"))
            raise DataError(
                f"The run {self.folder} holds no predictions for the split {split!r}; it has {there or 'none at all'}. "
                "Name one of these, or give the store with --store to predict afresh."
            )
        predictions = read_predictions(path)
        if self.task.kind == "classification" and predictions.classes is None:
            raise DataError(
                f"{path} holds scores but no column 'class', without which there is no accuracy over the classes that this run was trained on: "
                "it was written by an earlier version. Predict afresh with --store STORE, or train the run again."
            )
        return predictions


def read_run(run_folder: str | os.PathLike[str]) -> RunFacts:
    """Reads what a run folder says about itself.

    Raises:
        DataError: the folder is missing, is no run folder, or its JSON is damaged.
    """
    folder = Path(run_folder)
    path = folder / "run.json"
    if not path.is_file():
        reason = "there is no such folder" if not folder.exists() else "it holds no run.json"
        raise DataError(f"{folder} is not a run folder: {reason}. Give a folder that `multigrain train` or `compare` has written{_run_near(folder)}.")
    results = folder / "results.json"
    return RunFacts(folder, _read_json(path), _read_json(results) if results.is_file() else {})


def _run_near(folder: Path) -> str:
    """The run that somebody will have meant: `train` writes one to runs/NAME, several seeds and `compare` to runs/NAME/seed-N."""
    seeds = sorted(path.parent for path in folder.glob("seed-*/run.json"))
    near = [folder.parent] if (folder.parent / "run.json").is_file() else seeds
    return f": {near[0]} is one" if near else ", such as runs/NAME, or runs/NAME/seed-0 where there are several seeds"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}). The run was damaged; train it again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds {type(content).__name__}; expected a JSON object. The run was damaged; train it again.")
    return content


def evaluate_run(
    run_folder: str | os.PathLike[str],
    store: "str | os.PathLike[str] | None" = None,
    split: str = "test",
    convention: str = "default",
    *,
    text_encoder: str | None = None,
) -> dict[str, float]:
    """The metrics of a run on a split.

    Args:
        run_folder: as `multigrain train` wrote it.
        store: without one, the predictions that the run itself wrote are scored, so that the data is not read
            again; with one, the run's best checkpoint predicts that store's split afresh.
        split: `train`, `valid` or `test`.
        convention: key of `multigrain.metrics.CONVENTIONS`.
        text_encoder: with a store, where the language model is that the run was trained on but its checkpoint does not hold.

    Returns:
        Metric name -> value, unrounded (see `multigrain.metrics.compute_metrics`).

    Raises:
        DataError: no such run, split or predictions; a split without labels; NaN anywhere.
        CheckpointError: the store's features or task are not those that the model was trained on.
    """
    return examine_run(run_folder, store, split, convention, text_encoder=text_encoder).metrics


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A run's result on a split.

    Attributes:
        metrics: name -> value, unrounded; NaN where undefined.
        undefined: those that are, and why.
        classes: the values that the classes stand for; empty for a task without classes.
        confusion: utterances of each class (row) that were taken for each class (column); None for a task without classes.
    """

    metrics: dict[str, float]
    undefined: dict[str, str]
    classes: tuple[float, ...] = ()
    confusion: list[list[int]] | None = None


def examine_run(
    run_folder: str | os.PathLike[str],
    store: "str | os.PathLike[str] | None" = None,
    split: str = "test",
    convention: str = "default",
    *,
    text_encoder: str | None = None,
) -> Examined:
    """All that `multigrain evaluate` says of a run on a split: its metrics, why some are undefined, which class was taken for which.

    Args:
        run_folder, store, split, convention, text_encoder: as for `evaluate_run`.

    Raises:
        DataError, CheckpointError: as `evaluate_run` does.
    """
    facts = read_run(run_folder)
    if store is None:
        task, predictions = facts.task, facts.predictions(split)
    else:
        model, opened = open_model_and_store(facts, store, text_encoder)
        task, predictions = model.task, predict_split(model, opened.split(split))
    metrics = score(task, predictions, split, convention)
    assert predictions.labels is not None
    undefined = why_undefined(task, predictions.answers, predictions.labels, convention)
    if task.kind != "classification":
        return Examined(metrics=metrics, undefined=undefined)
    confusion = confusion_matrix(task, predictions.answers, predictions.labels).tolist()
    return Examined(metrics=metrics, undefined=undefined, classes=task.class_values, confusion=confusion)


def evaluate_stores_of_run(run_folder: str | os.PathLike[str], split: str = "test", convention: str = "default") -> dict[str, dict[str, float]]:
    """The metrics of a run on each of the stores that it was trained on, from its own predictions.

    Args:
        run_folder, split, convention: as for `evaluate_run`.

    Returns:
        Store's name -> metric -> value; empty for a run on a single store.

    Raises:
        DataError: no such run, split or predictions; a split without labels.
    """
    facts = read_run(run_folder)
    names = [str(entry["name"]) for entry in facts.run.get("stores", ())]
    if not names:
        return {}
    task, predictions = facts.task, facts.predictions(split)
    if predictions.labels is None:
        raise DataError(f"The split {split!r} has no labels, so there is nothing to score against. Evaluate a labelled split.")
    return metrics_by_store(task, predictions.answers, predictions.labels, predictions.ids, names, convention)


def score(task: Task, predictions: Predictions, split: str, convention: str) -> dict[str, float]:
    """The metrics of predictions, unrounded (see `multigrain.metrics.compute_metrics`).

    Raises:
        DataError: the split has no labels; NaN anywhere.
    """
    if predictions.labels is None:
        raise DataError(f"The split {split!r} has no labels, so there is nothing to score against. Evaluate a labelled split.")
    return compute_metrics(task, predictions.answers, predictions.labels, convention, predictions.ids)


def open_model_and_store(
    facts: RunFacts, path: "str | os.PathLike[str] | None", text_encoder: str | None = None
) -> "tuple[MultimodalModel, Store | JointStore]":
    """A run's best checkpoint, and a store that it can predict: that at a path, or without one what the run was trained on.

    Args:
        facts: of the run.
        path: of the store.
        text_encoder: where the language model is that the run was trained on but its checkpoint does not hold; None for where it was.

    Raises:
        DataError: there is no such store, or the run's own is gone or has changed.
        CheckpointError: the run has no checkpoint, or the store's features or task are not those that the model was trained on.
    """
    from multigrain.data.language_store import open_store
    from multigrain.models import load
    from multigrain.training.compatibility import check_features

    model = load(str(facts.folder / "checkpoints" / "best"), text_encoder=text_encoder)
    reader = None if model.text_encoder is None else model.text_encoder.reader
    store = own_store(facts, reader) if path is None else open_store(Path(path), reader)
    check_features(model, store)
    _check_labels(model, store)
    return model, store


def verify_data_of_run(run_folder: str | os.PathLike[str], path: "str | os.PathLike[str] | None" = None) -> None:
    """Reads all of the store, or of what the run was trained on, and compares its content with what was written.

    Raises:
        DataError: it was changed, or is gone.
    """
    from multigrain.data.store import Store
    from multigrain.data.store_verify import check_content

    check_content(own_store(read_run(run_folder)) if path is None else Store.open(Path(path)))


def _check_labels(model: "MultimodalModel", store: "Store | JointStore") -> None:
    if model.task.labels_in_words != store.task.labels_in_words:
        raise CheckpointError(
            f"The {model.name} model predicts {model.task.labels_in_words}, but {store} is labelled with {store.task.labels_in_words}. "
            "Evaluate it on a store with the labels that it was trained on."
        )


def own_store(facts: RunFacts, reader: "TextReader | None" = None) -> "Store | JointStore":
    """The store, or the stores, that a run was trained on, after checking that the content still is the same.

    Args:
        facts: of the run.
        reader: the language model that is to read the transcripts; None for text as the store has it.

    Raises:
        DataError: a store is gone or has changed.
    """
    from multigrain.data.language_store import open_store
    from multigrain.training.open_data import open_data
    from multigrain.training.run_folder import RunFolder

    paths = [str(entry["path"]) for entry in facts.run.get("stores", ())] or [str(facts.run.get("store", ""))]
    for path in paths:
        if not os.path.isdir(path):
            raise DataError(f"The run {facts.folder} was trained on the store {path!r}, which is not there. Say where it is now with --store.")
    store = open_data(RunFolder(facts.folder).recipe(), reader) if "stores" in facts.run else open_store(paths[0], reader)
    if store.fingerprint != facts.run.get("store_fingerprint"):
        raise DataError(
            f"The store {store} has changed since the run {facts.folder} was trained on it. Name it with --store to evaluate on it as it is now."
        )
    return store
