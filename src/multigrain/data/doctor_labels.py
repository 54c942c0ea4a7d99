"""What the doctor says of labels beyond their range: whether somebody changed them, and whether they are what they are taken for."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from multigrain.data.doctor_summary import Finding
from multigrain.data.store import Store
from multigrain.data.store_verify import changed_splits
from multigrain.schema import Task

MANY = 0.8
"""Share of the utterances that one class, or one side of the middle, may have before that is named."""
_FEW_CLASSES = 12
_ENOUGH = 20  # utterances, below which shares say little


def check_changes(store: Store) -> Iterator[Finding]:
    """Content that is not what was written, such as labels that were negated in place."""
    for name in changed_splits(store):
        yield Finding(
            "problem",
            "content_changed",
            f"The content of {name!r} is not what was written: its labels, features, ids or groups were changed in place, or damaged on the disk. "
            "Copy the store again from where it came, or convert the data set again.",
        )


def check_label_use(store: Store) -> Iterator[Finding]:
    """Labels that never fall below the middle of the range, look like numbers of classes, are very uneven, or leave classes out."""
    task = store.task
    labels = {}
    for name, split in store.splits.items():
        if split.labels is not None:
            values = split.labels.numpy().astype(np.float64)
            labels[name] = values[np.isfinite(values).all(axis=1)]
    every = np.concatenate(list(labels.values())) if labels else np.zeros((0, 1))
    if len(every) < _ENOUGH:
        return
    if task.kind == "emotions":
        yield from _check_emotions(task, every)
        return
    column = every[:, 0]
    if task.kind == "regression":
        yield from _check_middle(task, column)
        yield from _check_classes_as_scores(task, column)
    else:
        yield from _check_class_counts(task, {name: values[:, 0] for name, values in labels.items()})


def _check_middle(task: Task, labels: np.ndarray) -> Iterator[Finding]:
    middle = (task.minimum + task.maximum) / 2
    shares = {"below": float((labels < middle).mean()), "above": float((labels > middle).mean())}
    if np.ptp(labels) == 0:
        return
    empty = next((side for side, share in shares.items() if share == 0), None)
    if empty is not None:
        low, high = int(np.floor(labels.min())), int(np.ceil(labels.max()))
        yield Finding(
            "problem",
            "label_one_sided",
            f"No label lies {empty} the middle {middle:g} of the range {task.minimum:g}..{task.maximum:g}; all {len(labels)} lie in "
            f"{labels.min():g}..{labels.max():g}. Either the range is another (convert with --range {low} {high}), or the labels are of another "
            "kind. Accuracies and F1 of two sides would be of one.",
        )
        return
    for side, other in (("below", "above"), ("above", "below")):
        if shares[side] > MANY:
            yield Finding(
                "note",
                "label_imbalance",
                f"{shares[side]:.0%} of the labels lie {side} the middle {middle:g}, {shares[other]:.0%} {other} it. A model that always says "
                f"{side} has that accuracy; look at correlation and macro F1 beside it.",
            )


def _check_classes_as_scores(task: Task, labels: np.ndarray) -> Iterator[Finding]:
    values = np.unique(labels)
    is_counted = len(values) <= _FEW_CLASSES and np.array_equal(values, np.arange(len(values))) and len(values) > 1
    if is_counted and task.minimum < 0:
        yield Finding(
            "problem",
            "label_looks_like_classes",
            f"All labels are the whole numbers 0 to {len(values) - 1}, while scores go from {task.minimum:g} to {task.maximum:g}: they look like the "
            "numbers of classes, not like scores. Give each its score (--label-value), convert with the right --range, or train classes.",
        )


def _check_class_counts(task: Task, labels: dict[str, np.ndarray]) -> Iterator[Finding]:
    names = tuple(f"{value:g}" for value in task.class_values)
    for name, values in labels.items():
        nearest = np.abs(values[:, None] - np.array(task.class_values)).argmin(axis=1)
        counts = Counter(nearest.tolist())
        absent = [names[index] for index in range(len(names)) if index not in counts]
        if absent and len(values):
            yield Finding(
                "problem" if name == "train" else "note",
                "class_missing",
                f"{'Classes' if len(absent) > 1 else 'The class'} {', '.join(absent)} never occur{'' if len(absent) > 1 else 's'} in {name!r}. "
                + ("A model cannot learn what it never sees. " if name == "train" else "What a model makes of it cannot be measured there. ")
                + "Leave the class out, or make the splits so that each has every class.",
            )
        most, count = counts.most_common(1)[0] if counts else (0, 0)
        if len(values) >= _ENOUGH and count > MANY * len(values):
            yield Finding(
                "note",
                "label_imbalance",
                f"{count} of the {len(values)} utterances of {name!r} are of the class {names[most]}. A model that always says so has an accuracy of "
                f"{count / len(values):.0%}; look at macro F1 beside it.",
            )


def _check_emotions(task: Task, labels: np.ndarray) -> Iterator[Finding]:
    rates = labels.mean(axis=0)
    for name, rate in zip(task.emotions, rates, strict=True):
        if 0 < rate < 1 and max(rate, 1 - rate) > 0.95:
            yield Finding(
                "note",
                "label_imbalance",
                f"{name} is {'present' if rate > 0.5 else 'absent'} in {max(rate, 1 - rate):.1%} of the utterances: look at F1.",
            )
