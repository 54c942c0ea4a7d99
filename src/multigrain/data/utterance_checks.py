"""What every utterance must satisfy before it goes into a store, each with a message that names the utterance."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from multigrain.errors import DataError
from multigrain.schema import Task


def checked_features(name: str, dim: int, value: Shaped[np.ndarray, "..."], where: str) -> Float[np.ndarray, "time dim"]:
    """A modality's features as contiguous float32.

    Args:
        name: the modality.
        dim: features a step that it must have.
        value: the array to check.
        where: the utterance, as the message's subject.

    Raises:
        DataError: not (steps, dim), or not numbers.
    """
    if value.ndim != 2:
        raise DataError(f"{where}: {name} has shape {value.shape}; expected (steps, {dim}): one row a step, even for a single step.")
    if value.shape[1] != dim:
        raise DataError(
            f"{where}: {name} has {value.shape[1]} features a step, where this store's {name} has {dim}. All splits and utterances "
            "of a data set must have the same width; extract the features of this one again."
        )
    if value.dtype.kind not in "fiub":
        raise DataError(f"{where}: {name} holds values of type {value.dtype}; expected numbers. Convert the array to float32.")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is then reported
        return np.ascontiguousarray(value, dtype="<f4")


def checked_label(task: Task, label: Any, where: str) -> Float[np.ndarray, " label"] | None:
    """A label as (label_dim,) numbers, or None where there is none.

    Raises:
        DataError: another number of labels than the task has, or one that is NaN or infinite.
    """
    if label is None:
        return None
    values = np.asarray(label, dtype=np.float64).reshape(-1)
    if values.size != task.label_dim:
        what = f"{task.label_dim}, one for each of {', '.join(task.emotions)}" if task.kind == "emotions" else "one score"
        raise DataError(f"{where} has {values.size} labels; the task {task.kind!r} expects {what}. Mend the labels or the task.")
    if not np.isfinite(values).all():
        raise DataError(
            f"{where} has the label {values.tolist()}, which is not a finite number. Remove the utterance or mend its label; a split "
            "without any labels is allowed, a label that is missing in places is not."
        )
    return values


def is_in_range(task: Task, label: Float[np.ndarray, " label"]) -> bool:
    """True when a label lies in the task's range: minimum .. maximum, or 0 or 1 for each emotion."""
    if task.kind == "emotions":
        return bool(np.isin(label, (0.0, 1.0)).all())
    return bool(task.minimum <= label[0] <= task.maximum)


def check_readout(readout: int | None, arrays: Mapping[str, Float[np.ndarray, "_ _"]], where: str) -> None:
    """Checks that the readout step exists in every modality that is there.

    Raises:
        DataError: it does not.
    """
    for name, values in arrays.items():
        if readout is not None and not 0 <= readout < len(values):
            raise DataError(
                f"{where}: readout step {readout} lies outside its {name}, which has {len(values)} steps (counted from 0). The readout "
                "is the step of the context's sequence that stands for this utterance."
            )
