"""Training losses: one scalar from a model's raw prediction and the label.

- `l1`: mean |prediction - label| (regression, the default of MulT and MCMuT);
- `mse`: mean (prediction - label)^2 (regression);
- `cross_entropy`: against the class whose value is nearest to the label, ties as in `Task.nearest_class` (classification), or, for
  emotions, against 0/1 with every emotion of every utterance counted as one two-way decision.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from multigrain.errors import RecipeError, nearest
from multigrain.schema import Task


def l1(
    task: Task, prediction: Float[Tensor, "batch head"], label: Float[Tensor, "batch head"], weights: Float[Tensor, " class"] | None = None
) -> Float[Tensor, ""]:
    """Mean absolute error, in the label's own units."""
    return functional.l1_loss(prediction, label)


def mse(
    task: Task, prediction: Float[Tensor, "batch head"], label: Float[Tensor, "batch head"], weights: Float[Tensor, " class"] | None = None
) -> Float[Tensor, ""]:
    """Mean squared error, in the label's units squared."""
    return functional.mse_loss(prediction, label)


def cross_entropy(
    task: Task, prediction: Float[Tensor, "batch head"], label: Float[Tensor, "batch label"], weights: Float[Tensor, " class"] | None = None
) -> Float[Tensor, ""]:
    """Mean cross-entropy in nats, over utterances (classification) or over utterances x emotions (emotions).

    With class weights each utterance counts as much as its class's weight says, in the sum; the mean is over the number of utterances, so that
    a batch counts by its size, whatever classes are in it.
    """
    if task.kind == "emotions":
        return functional.cross_entropy(prediction.reshape(-1, 2), label.round().long().reshape(-1))
    classes = task.nearest_class(label.squeeze(-1))
    if weights is None:
        return functional.cross_entropy(prediction, classes)
    return functional.cross_entropy(prediction, classes, weight=weights.to(prediction), reduction="sum") / max(1, len(classes))


def balanced_weights(task: Task, labels: Float[Tensor, "utterance label"]) -> Float[Tensor, " class"]:
    """A weight for each class with which all classes that occur count the same together: n / (classes that occur * utterances of the class).

    Args:
        task: of kind classification.
        labels: of the training split.

    Returns:
        0 for a class that never occurs.
    """
    counts = torch.bincount(task.nearest_class(labels.squeeze(-1)), minlength=len(task.class_values)).float()
    return torch.where(counts > 0, counts.sum() / ((counts > 0).sum() * counts.clamp(min=1)), torch.zeros_like(counts))


LOSSES: dict[str, Callable[[Task, Tensor, Tensor, Tensor | None], Tensor]] = {"l1": l1, "mse": mse, "cross_entropy": cross_entropy}
TASK_LOSSES: dict[str, tuple[str, ...]] = {"regression": ("l1", "mse"), "classification": ("cross_entropy",), "emotions": ("cross_entropy",)}


def loss_name(task: Task, kind: str | None) -> str:
    """The loss that `kind` names, checked against the task; None stands for the task's own (the first of `TASK_LOSSES`).

    Raises:
        RecipeError: there is no such loss, or it cannot be used for this kind of task.
    """
    fitting = TASK_LOSSES[task.kind]
    if kind is None:
        return fitting[0]
    if kind not in fitting:
        raise RecipeError(
            f"The loss {kind!r} cannot be used for a {task.kind} task; expected {' or '.join(fitting)}.{nearest(kind, list(fitting))} "
            "Set training.loss to one of these, leave it out for the task's own, or set task.kind."
        )
    return kind


def task_loss(
    task: Task,
    prediction: Float[Tensor, "batch head"],
    label: Float[Tensor, "batch label"],
    kind: str | None = None,
    weights: Float[Tensor, " class"] | None = None,
) -> Float[Tensor, ""]:
    """The loss of a batch.

    Args:
        task: says what the head means.
        prediction: (batch, head_dim), as the model returned it.
        label: (batch, label_dim), in the label's own units; 0/1 for emotions.
        kind: a name in `LOSSES`; None for the task's own.
        weights: of the classes; None where all utterances count the same.

    Returns:
        A scalar, the mean over the batch; computed in float32 whatever the model's precision.

    Raises:
        RecipeError: the loss does not fit the task.
    """
    return LOSSES[loss_name(task, kind)](task, prediction.float(), label.float(), weights)
