"""Predictions of a model on a split, and the CSV file that keeps them.

`predictions/SPLIT.csv` has one row an utterance: `id`, `group`, `label`, `score`; for classes also `class`, the value of the most probable
one; for emotions `label_happy`, `score_happy` and so on. Numbers are the shortest text that reads back as the same float32.
"""

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from multigrain.errors import DataError
from multigrain.schema import Batch, Task

if TYPE_CHECKING:
    from multigrain.data.batchable import BatchableSplit
    from multigrain.models.base import MultimodalModel


Alteration = Callable[[Batch, np.ndarray], Batch]
"""A batch and its utterances' positions in the split -> the batch that the model is given instead."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a model says about each utterance of a split, beside the labels.

    Attributes:
        ids: the utterances' ids, in the split's order.
        groups: their videos or speakers.
        labels: (utterance, label_dim) float32, or None when the split has no labels.
        scores: (utterance, label_dim) float32, in the label's units (see `Task.scores`).
        classes: (utterance, 1) float32, the value of the most probable class; None for a model that has no classes.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: Float[np.ndarray, "utterance label"] | None
    scores: Float[np.ndarray, "utterance label"]
    classes: Float[np.ndarray, "utterance 1"] | None = None

    @property
    def answers(self) -> Float[np.ndarray, "utterance answer"]:
        """What metrics are made from (see `Task.answers`): the scores, with the classes beside them where there are any."""
        return self.scores if self.classes is None else np.concatenate([self.scores, self.classes], axis=1)


def predict_split(model: "MultimodalModel", split: "BatchableSplit", *, batch_utterances: int = 64, alter: Alteration | None = None) -> Predictions:
    """Scores every utterance of a split, shortest first so that little is padded, and puts them back in the split's order.

    Args:
        model: in any mode; it predicts without dropout and without gradients, on the device that it is on.
        split: of a store whose features fit the model.
        batch_utterances: utterances per batch, at least 1; has no effect on the scores beyond rounding.
        alter: takes something away from each batch, such as a modality; None predicts the split as it is.
    """
    modalities = tuple(name for name in model.features if name in split.modalities)
    longest = np.stack([split.lengths(name) for name in modalities]).max(axis=0) if modalities else np.zeros(len(split))
    contexts = split.contexts(modalities) if alter is None and model.reads_shared_contexts else None
    order = np.argsort(longest, kind="stable") if contexts is None else np.lexsort((contexts, longest))
    answers = np.empty((len(split), model.task.answer_dim), dtype=np.float32)
    for start in range(0, len(split), batch_utterances):
        indices = order[start : start + batch_utterances]
        batch = split.batch(indices.tolist(), modalities, shares_contexts=contexts is not None)
        answers[indices] = model.answer(batch if alter is None else alter(batch, indices)).cpu().numpy()
    labels = None if split.labels is None else split.labels.numpy().astype(np.float32)
    scores, classes = np.split(answers, [model.task.label_dim], axis=1)
    return Predictions(ids=tuple(split.ids), groups=tuple(split.groups), labels=labels, scores=scores, classes=classes if classes.shape[1] else None)


def _columns(prefix: str, task: Task) -> list[str]:
    return [f"{prefix}_{emotion}" for emotion in task.emotions] if task.kind == "emotions" else [prefix]


def write_predictions(path: str | os.PathLike[str], predictions: Predictions, task: Task) -> None:
    """Writes predictions as CSV, whole or not at all.

    Args:
        path: the file; its folder is made where missing.
        predictions: of one split.
        task: names the columns.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(target.name + ".part")
    with open(beside, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        last = [] if predictions.classes is None else ["class"]
        writer.writerow(["id", "group", *_columns("label", task), *_columns("score", task), *last])
        for index, (name, group) in enumerate(zip(predictions.ids, predictions.groups, strict=True)):
            labels = [""] * task.label_dim if predictions.labels is None else _texts(predictions.labels[index])
            writer.writerow([name, group, *labels, *_texts(predictions.answers[index])])
    os.replace(beside, target)


def _texts(values: np.ndarray) -> list[str]:
    return [str(value) for value in values.astype(np.float32)]


def read_predictions(path: str | os.PathLike[str]) -> Predictions:
    """Reads what `write_predictions` wrote.

    Raises:
        DataError: the file is missing, empty, lacks a column, or holds something that is not a number.
    """
    source = Path(path)
    if not source.is_file():
        raise DataError(f"There is no predictions file {source}. Give a run folder whose training has completed, or evaluate it with --store.")
    with open(source, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    header = rows[0] if rows else []
    labels = [index for index, name in enumerate(header) if name == "label" or name.startswith("label_")]
    scores = [index for index, name in enumerate(header) if name == "score" or name.startswith("score_")]
    if header[:2] != ["id", "group"] or not scores or len(labels) != len(scores) or len(rows) < 2:
        raise DataError(
            f"{source} is not a predictions file: expected the columns id, group, label, score and at least one row, got {header} and "
            f"{max(len(rows) - 1, 0)} rows. It was cut short or written by something else; evaluate the run again with --store."
        )
    _check_widths(source, rows)
    actual = None if all(row[labels[0]] == "" for row in rows[1:]) else _numbers(source, rows, labels)
    classes = [index for index, name in enumerate(header) if name == "class"]
    return Predictions(
        ids=tuple(row[0] for row in rows[1:]),
        groups=tuple(row[1] for row in rows[1:]),
        labels=actual,
        scores=_numbers(source, rows, scores),
        classes=_numbers(source, rows, classes) if classes else None,
    )


def _check_widths(source: Path, rows: Sequence[Sequence[str]]) -> None:
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise DataError(
                f"{source}, line {line}: expected {len(rows[0])} columns, got {len(row)}. The file was cut short; "
                "evaluate the run again with --store."
            )


def _numbers(source: Path, rows: Sequence[Sequence[str]], columns: Sequence[int]) -> np.ndarray:
    values = np.empty((len(rows) - 1, len(columns)), dtype=np.float32)
    for index, row in enumerate(rows[1:]):
        for place, column in enumerate(columns):
            try:
                values[index, place] = float(row[column])
            except ValueError:
                raise DataError(
                    f"{source}, line {index + 2}, column {rows[0][column]!r}: expected a number, got {row[column]!r}. "
                    "Evaluate the run again with --store."
                ) from None
    return values
