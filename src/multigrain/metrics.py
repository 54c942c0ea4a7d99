"""Sentiment metrics, with the conventions under which papers have published them.

One utterance contributes a row of numbers to each metric (an absolute error, a place in a 2x2 table, ...), and the
metric is a function of the sums of those rows. That is why a metric here is two functions, `statistics` and
`from_sums`: the value on a set of utterances and on ten thousand resamples of it are the same few lines
(`multigrain.evaluation.significance` multiplies the rows by resampling counts).

Labels are (utterance, label) arrays in the label's own units, and so are scores; emotions' scores are probabilities in 0..1. A model of
classes answers with a second column beside the score, the value of its most probable class (`Task.answers`): accuracies over classes are
made from that column, everything else from the score.
`docs/conventions.md` defines each metric under each convention, with units and ranges.
"""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Num

from multigrain.errors import DataError, nearest
from multigrain.schema import IEMOCAP_EMOTIONS, Task

logger = logging.getLogger(__name__)

_TABLE_COLUMNS = 4
CONVENTIONS: dict[str, str] = {
    "default": "sign of every utterance (has0) and of the non-neutral ones (non0); F1 weighted by the labels' support",
    "mult": "as MulT's code prints it: prediction > 0 against label > 0, F1 weighted by the predictions' support",
    "mmsa": "as MMSA prints it, unrounded: the default's definitions; on a -1..1 range scores and labels are clipped first",
    "mag": "as MAG-BERT's code prints it: everything, mean absolute error and correlation too, on non-neutral utterances only",
}

Statistics = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(utterance, label) scores and labels -> (utterance, statistic)."""

FromSums = Callable[[np.ndarray], np.ndarray]
"""(set, statistic) sums over sets of utterances -> (set,) values."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number that tells how good predictions are.

    Attributes:
        description: what it measures, in a sentence.
        unit: "label units", "fraction" (printed as percent) or "coefficient".
        minimum, maximum: the range of its values; infinity where there is no bound.
        higher_is_better: False for errors.
        statistics: (utterance, answer) scores and (utterance, label) labels -> (utterance, statistic), what each utterance contributes.
        from_sums: (set, statistic) sums of those -> (set,) values; NaN where the metric is undefined.
    """

    description: str
    unit: str
    minimum: float
    maximum: float
    higher_is_better: bool
    statistics: Statistics
    from_sums: FromSums

    def function(self, scores: Num[np.ndarray, "utterance answer"], labels: Num[np.ndarray, "utterance label"]) -> float:
        """The metric's value on these utterances, unrounded; NaN where it is undefined."""
        rows = self.statistics(scores.astype(np.float64), labels.astype(np.float64))
        return float(self.from_sums(rows.sum(axis=0, keepdims=True))[0])


# What an utterance contributes ------------------------------------------------------------------------------------


def _is_constant(values: np.ndarray) -> bool:
    """True when all values are equal up to float32 rounding."""
    return bool(np.ptp(values) <= 1e-6 * max(1.0, float(np.abs(values).max(initial=0.0)))) if values.size else True


def _absolute_error(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.stack([np.abs(scores - labels)[:, 0], np.ones(len(scores))], axis=1)


def _moments(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Count, x, y, xx, yy, xy about the means, so that sums of squares lose no digits."""
    columns = [np.zeros(len(values)) if _is_constant(values) else values - values.mean() for values in (scores[:, 0], labels[:, 0])]
    x, y = columns
    return np.stack([np.ones(len(x)), x, y, x * x, y * y, x * y], axis=1)


def _equality(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.stack([(scores == labels)[:, 0].astype(np.float64), np.ones(len(scores))], axis=1)


def _table(predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """True positive, false positive, false negative, true negative, one of them 1 in each row."""
    return np.stack([predicted & actual, predicted & ~actual, ~predicted & actual, ~predicted & ~actual], axis=1).astype(np.float64)


def _rounded(limit: float) -> Statistics:
    """Equality after clipping to +-limit and rounding half to even."""
    return lambda scores, labels: _equality(np.rint(scores.clip(-limit, limit)), np.rint(labels.clip(-limit, limit)))


def _binned(*cuts: float) -> Statistics:
    """Equality of the bins between the cuts, each bin with its upper cut; in float32, as the labels are stored."""

    def statistics(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        edges = np.asarray(cuts, dtype=np.float32)
        bins = [np.searchsorted(edges, values.astype(np.float32), side="left") for values in (scores, labels)]
        return _equality(*bins)

    return statistics


def _signs(at_zero: bool) -> Statistics:
    """Positive or negative; `at_zero` says on which side a value of exactly 0 falls."""

    def statistics(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        positive = [(values >= 0 if at_zero else values > 0)[:, 0] for values in (scores, labels)]
        return _table(*positive)

    return statistics


def _emotion(index: int) -> Statistics:
    return lambda scores, labels: _table(scores[:, index] > 0.5, labels[:, index] > 0.5)


def _without_neutral(statistics: Statistics) -> Statistics:
    """The same with nothing contributed by utterances whose label is 0."""

    def of_the_rest(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        kept = labels[:, 0] != 0
        if not kept.any():
            return np.zeros_like(statistics(scores, labels))
        part = statistics(scores[kept], labels[kept])
        rows = np.zeros((len(scores), part.shape[1]))
        rows[kept] = part
        return rows

    return of_the_rest


def _of_score(statistics: Statistics) -> Statistics:
    """The same from the score of answers that have the most probable class beside it."""
    return lambda answers, labels: statistics(answers[:, :1], labels)


def _of_class(task: Task, limit: float | None = None) -> Statistics:
    """Equality of the most probable class and the label's own, both clipped to `limit` about the middle of the range where there is one.

    Answers that are scores alone, of a model without classes that stands beside one with them, count as the class that is nearest.
    """
    values, middle = np.asarray(task.class_values), (task.minimum + task.maximum) / 2

    def statistics(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
        chosen, actual = (values[task.nearest_class(torch.from_numpy(part)).numpy()] for part in (answers[:, -1:], labels))
        if limit is not None:
            chosen, actual = (part.clip(middle - limit, middle + limit) for part in (chosen, actual))
        return _equality(chosen, actual)

    return statistics


def _classes(task: Task) -> Statistics:
    """For each class one after another: chosen rightly, chosen wrongly, wrongly not chosen."""

    def statistics(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
        chosen, actual = (task.nearest_class(torch.from_numpy(part[:, -1:])).numpy() for part in (answers, labels))
        which = np.arange(len(task.class_values))
        is_chosen, is_actual = chosen.reshape(-1, 1) == which, actual.reshape(-1, 1) == which
        parts = np.stack([is_chosen & is_actual, is_chosen & ~is_actual, ~is_chosen & is_actual], axis=2)
        return parts.reshape(len(parts), -1).astype(np.float64)

    return statistics


def _shifted(statistics: Statistics, middle: float) -> Statistics:
    return lambda scores, labels: statistics(scores - middle, labels - middle)


def _clipped(statistics: Statistics, limit: float) -> Statistics:
    return lambda scores, labels: statistics(scores.clip(-limit, limit), labels.clip(-limit, limit))


def _together(parts: Sequence[Statistics]) -> Statistics:
    return lambda scores, labels: np.concatenate([part(scores, labels) for part in parts], axis=1)


# From sums to values ----------------------------------------------------------------------------------------------


def _ratio(numerator: np.ndarray, denominator: np.ndarray, undefined: float) -> np.ndarray:
    defined = denominator > 0
    return np.asarray(np.where(defined, numerator / np.where(defined, denominator, 1.0), undefined))


def _mean(sums: np.ndarray) -> np.ndarray:
    return _ratio(sums[..., 0], sums[..., 1], np.nan)


def _mean_as_mult_prints_it(sums: np.ndarray) -> np.ndarray:
    """MulT's code takes the mean in float32 and prints that number's shortest decimal."""
    return np.asarray(_mean(sums).astype(np.float32).astype(str).astype(np.float64))


def _correlation(sums: np.ndarray) -> np.ndarray:
    """Pearson's coefficient; 0 where either side does not vary, NaN where there is no utterance."""
    count, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    safe = np.maximum(count, 1.0)
    spread = np.sqrt(np.maximum(xx - x * x / safe, 0.0) * np.maximum(yy - y * y / safe, 0.0))
    value = np.clip(_ratio(xy - x * y / safe, np.where(spread > 1e-12, spread, 0.0), 0.0), -1.0, 1.0)
    return np.where(count > 0, value, np.nan)


def _table_accuracy(sums: np.ndarray) -> np.ndarray:
    return _ratio(sums[..., 0] + sums[..., 3], sums.sum(axis=-1), np.nan)


def _table_f1(weighted_by_predictions: bool) -> FromSums:
    """The two classes' F1 averaged by support: the labels' (right) or the predictions' (MulT's swapped arguments)."""

    def value(sums: np.ndarray) -> np.ndarray:
        true_positive, false_positive, false_negative, true_negative = np.moveaxis(sums, -1, 0)
        wrong = false_positive + false_negative
        positive = _ratio(2 * true_positive, 2 * true_positive + wrong, 0.0)
        negative = _ratio(2 * true_negative, 2 * true_negative + wrong, 0.0)
        support = true_positive + (false_positive if weighted_by_predictions else false_negative)
        total = sums.sum(axis=-1)
        return _ratio(positive * support + negative * (total - support), total, np.nan)

    return value


def _macro_f1(sums: np.ndarray) -> np.ndarray:
    """The mean of the classes' F1, over those that occur as label or as answer."""
    right, wrong, missed = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 3), -1, 0)
    total = 2 * right + wrong + missed
    return _ratio(_ratio(2 * right, total, 0.0).sum(axis=-1), (total > 0).sum(axis=-1), np.nan)


def _average(part: FromSums, count: int) -> FromSums:
    return lambda sums: np.asarray(np.mean([part(chunk) for chunk in np.split(sums, count, axis=-1)], axis=0))


# The metrics of each task -----------------------------------------------------------------------------------------


def _error(statistics: Statistics = _absolute_error, from_sums: FromSums = _mean) -> Metric:
    return Metric(
        description="mean absolute error",
        unit="label units",
        minimum=0.0,
        maximum=np.inf,
        higher_is_better=False,
        statistics=statistics,
        from_sums=from_sums,
    )


def _coefficient(statistics: Statistics = _moments) -> Metric:
    return Metric(
        description="Pearson correlation of scores and labels; 0 when either is constant",
        unit="coefficient",
        minimum=-1.0,
        maximum=1.0,
        higher_is_better=True,
        statistics=statistics,
        from_sums=_correlation,
    )


def _fraction(description: str, statistics: Statistics, from_sums: FromSums = _mean) -> Metric:
    return Metric(
        description=description,
        unit="fraction",
        minimum=0.0,
        maximum=1.0,
        higher_is_better=True,
        statistics=statistics,
        from_sums=from_sums,
    )


def _emotion_metrics(emotions: Sequence[str]) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {}
    tables = [_emotion(index) for index in range(len(emotions))]
    for emotion, table in zip(emotions, tables, strict=True):
        metrics[f"accuracy_{emotion}"] = _fraction(f"share of utterances judged rightly as {emotion} or not", table, _table_accuracy)
        metrics[f"f1_{emotion}"] = _fraction(f"F1 of {emotion} and of its absence, averaged by support", table, _table_f1(False))
    count = len(emotions)
    metrics["accuracy_mean"] = _fraction("mean of the emotions' accuracies", _together(tables), _average(_table_accuracy, count))
    metrics["f1_mean"] = _fraction("mean of the emotions' F1", _together(tables), _average(_table_f1(False), count))
    return metrics


def _sims_metrics(convention: str) -> dict[str, Metric]:
    """MMSA's metrics for CH-SIMS, range -1..1."""
    error, moments = _absolute_error, _moments
    if convention == "mmsa":
        error, moments = _clipped(_absolute_error, 1.0), _clipped(_moments, 1.0)  # type: ignore[assignment]
    signs = _signs(at_zero=False)
    return {
        "mae": _error(error),
        "correlation": _coefficient(moments),
        "accuracy_2": _fraction("share with the right side of 0, 0 itself counted as negative", signs, _table_accuracy),
        "accuracy_3": _fraction("share in the right one of 3 bins, cut at +-0.1", _binned(-0.1, 0.1)),
        "accuracy_5": _fraction("share in the right one of 5 bins, cut at +-0.7 and +-0.1", _binned(-0.7, -0.1, 0.1, 0.7)),
        "f1": _fraction("F1 of the two sides of 0, averaged by support", signs, _table_f1(False)),
    }


def _score_metrics(task: Task, convention: str) -> dict[str, Metric]:
    """Metrics of a score whose neutral value is the middle of its range (0 for -3..3)."""
    middle = (task.minimum + task.maximum) / 2
    all_signs = _shifted(_signs(at_zero=convention != "mult"), middle)
    non_neutral_signs = _shifted(_without_neutral(_signs(at_zero=convention == "mag")), middle)
    f1 = _table_f1(weighted_by_predictions=convention == "mult")
    non_neutral = {
        "accuracy_2_non0": _fraction("share with the right sign among utterances whose label is not neutral", non_neutral_signs, _table_accuracy),
        "f1_non0": _fraction("F1 of the two signs averaged by support, among utterances whose label is not neutral", non_neutral_signs, f1),
    }
    if convention == "mag":
        error, moments = (_shifted(_without_neutral(part), middle) for part in (_absolute_error, _moments))
        return {"mae": _error(error), "correlation": _coefficient(moments), **non_neutral}
    mean = _mean_as_mult_prints_it if convention == "mult" else _mean
    metrics = {"mae": _error(from_sums=mean), "correlation": _coefficient()}
    if task.maximum - task.minimum == 6.0:
        metrics["accuracy_7"] = _fraction("share equal after rounding to the 7 integers of the range", _shifted(_rounded(3.0), middle))
        metrics["accuracy_5"] = _fraction("share equal after clipping to +-2 about the middle and rounding", _shifted(_rounded(2.0), middle))
    side = "positive" if convention != "mult" else "negative"
    metrics["accuracy_2_has0"] = _fraction(f"share with the right sign among all utterances, neutral counted as {side}", all_signs, _table_accuracy)
    metrics["f1_has0"] = _fraction(f"F1 of the two signs averaged by support, neutral counted as {side}", all_signs, f1)
    return metrics | non_neutral


def _class_metrics(task: Task, of_score: dict[str, Metric]) -> dict[str, Metric]:
    """The metrics of a model of classes: of its score as they are, and accuracies over classes by the most probable class.

    Where a metric over classes can be made from the score as well, that one is `NAME_expected`, since the score is the expected value.
    """
    found: dict[str, Metric] = {}
    is_seven = task.class_values == tuple(float(value) for value in np.arange(task.minimum, task.maximum + 1)) and len(task.class_values) == 7
    for name, metric in of_score.items():
        expected = replace(metric, statistics=_of_score(metric.statistics))
        if is_seven and name in ("accuracy_7", "accuracy_5"):
            clipped = "" if name == "accuracy_7" else ", both clipped to +-2 about the middle"
            description = f"share of utterances whose most probable class is the label's{clipped}"
            found[name] = _fraction(description, _of_class(task, None if name == "accuracy_7" else 2.0))
            found[f"{name}_expected"] = replace(expected, description=f"{metric.description}, from the expected value")
        else:
            found[name] = expected
    if not is_seven:
        found["accuracy_class"] = _fraction("share of utterances whose most probable class is the label's", _of_class(task))
    found["f1_macro"] = _fraction("mean of the classes' F1, each class counting the same, over those that occur", _classes(task), _macro_f1)
    return found


def metrics_for(task: Task, convention: str = "default") -> dict[str, Metric]:
    """The metrics of a task under a convention, by name, in the order of our tables.

    Args:
        task: its kind and range decide: emotions; -1..1 as CH-SIMS; any other range about its middle; and for classes those of the most
            probable class.
        convention: key of `CONVENTIONS`.

    Raises:
        DataError: an unknown convention, or one that was never defined for the task's range.
    """
    if convention not in CONVENTIONS:
        raise DataError(
            f"There is no metric convention {convention!r}.{nearest(convention, list(CONVENTIONS))} Choose one of {', '.join(CONVENTIONS)}."
        )
    if task.kind == "emotions":
        return _emotion_metrics(task.emotions)
    of_score = _metrics_of_score(task, convention)
    return _class_metrics(task, of_score) if task.kind == "classification" else of_score


def _metrics_of_score(task: Task, convention: str) -> dict[str, Metric]:
    if (task.minimum, task.maximum) == (-1.0, 1.0):
        if convention not in ("default", "mmsa"):
            raise DataError(
                f"The metric convention {convention!r} was published for labels in -3..3 only, but this task's labels lie in -1..1 (CH-SIMS). "
                "Use the convention 'default' or 'mmsa'."
            )
        return _sims_metrics(convention)
    return _score_metrics(task, convention)


METRICS: dict[str, Metric] = {
    **metrics_for(Task(kind="classification", class_values=(-3.0, 0.0, 3.0))),
    **metrics_for(Task(kind="classification")),
    **_score_metrics(Task(), "default"),
    **{name: metric for name, metric in _sims_metrics("default").items() if name in ("accuracy_2", "accuracy_3", "f1")},
    **_emotion_metrics(IEMOCAP_EMOTIONS),
}
"""Every metric under the default convention, by name. On a -1..1 range `accuracy_5` has CH-SIMS's cuts; for a model of classes `accuracy_7`
and `accuracy_5` are made from the most probable class (see `metrics_for`)."""


def _check(name: str, values: np.ndarray, ids: Sequence[str] | None) -> None:
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        first = int(bad.argmax())
        where = f"utterance {ids[first]!r}" if ids is not None else f"row {first} (counted from 0)"
        raise DataError(
            f"{int(bad.sum())} of {len(values)} utterances have a {name} that is NaN or infinite; the first is {where}: {values[first].tolist()}. "
            f"Metrics need finite numbers. " + _REMEDIES[name]
        )


_REMEDIES = {
    "prediction": "Look for non-finite features with `multigrain data doctor`, or lower the learning rate if training diverged.",
    "label": "Drop these utterances or give them a label when converting the data; `multigrain data doctor` lists them.",
}


def compute_metrics(
    task: Task,
    scores: Num[np.ndarray, "utterance answer"],
    labels: Num[np.ndarray, "_ _"],
    convention: str = "default",
    ids: Sequence[str] | None = None,
) -> dict[str, float]:
    """All metrics of a task on a set of utterances, unrounded.

    Args:
        task: what is predicted; decides which metrics there are.
        scores: (utterance, answer_dim), in the label's units, probabilities in 0..1 for emotions (see `Task.answers`).
        labels: (utterance, label_dim), in the label's units, 0 or 1 for emotions.
        convention: key of `CONVENTIONS`.
        ids: utterance ids, for error messages.

    Returns:
        Metric name -> value. Accuracies and F1 are fractions in 0..1. A metric that is undefined here (sign accuracy
        without neutral utterances when all are neutral) is NaN, and the reason is logged. A constant prediction has
        correlation 0, with a warning.

    Raises:
        DataError: no utterance, a NaN or infinite prediction or label (how many, and the first), shapes that differ,
            or a convention that does not fit.

    >>> values = compute_metrics(Task(), np.array([[1.2], [-0.4]]), np.array([[2.0], [-1.0]]))
    >>> round(values["mae"], 6), values["accuracy_2_has0"]
    (0.7, 1.0)
    """
    metrics = metrics_for(task, convention)
    expected = ((len(labels), task.answer_dim), (len(labels), task.label_dim))
    if (scores.shape, labels.shape) != expected or len(labels) == 0:
        beside = "" if task.answer_dim == task.label_dim else ", the most probable class beside each score,"
        raise DataError(
            f"Metrics need predictions of shape (utterances, {task.answer_dim}){beside} and labels of shape (utterances, {task.label_dim}) with "
            f"at least one utterance; got predictions {scores.shape} and labels {labels.shape}. Compare the predictions with the split that "
            "they were made for; those of a run by an earlier version are made anew with --store."
        )
    _check("prediction", scores, ids)
    _check("label", labels, ids)
    values = {name: metric.function(scores, labels) for name, metric in metrics.items()}
    if "correlation" in values:
        _warn_if_constant(scores[:, :1], labels)
    reasons = _undefined(values, metrics, task, labels, convention)
    for reason in dict.fromkeys(reasons.values()):
        logger.warning("%s undefined: %s.", ", ".join(name for name, other in reasons.items() if other == reason), reason)
    values |= dict.fromkeys(reasons, np.nan)
    return values


def _warn_if_constant(scores: np.ndarray, labels: np.ndarray) -> None:
    for name, values in (("prediction", scores), ("label", labels)):
        if _is_constant(values.astype(np.float64)):
            warnings.warn(
                f"The {name} is the same ({float(values[0, 0]):g}) for all {len(values)} utterances: the correlation is undefined and reported as 0.",
                UserWarning,
                stacklevel=3,
            )
            return


def why_undefined(
    task: Task, scores: Num[np.ndarray, "utterance answer"], labels: Num[np.ndarray, "utterance label"], convention: str = "default"
) -> dict[str, str]:
    """Which of `compute_metrics`' numbers are NaN, and why: metric -> reason, without a full stop.

    Args:
        task, scores, labels, convention: as for `compute_metrics`.
    """
    metrics = metrics_for(task, convention)
    return _undefined({name: metric.function(scores, labels) for name, metric in metrics.items()}, metrics, task, labels, convention)


def _undefined(values: Mapping[str, float], metrics: Mapping[str, Metric], task: Task, labels: np.ndarray, convention: str) -> dict[str, str]:
    count = len(labels)
    neutral = bool((labels == 0).all()) and task.kind != "emotions"
    none_counted = f"the labels of all {count} utterances are neutral" if neutral else f"none of the {count} utterances counts for it"
    reasons = {name: none_counted for name, value in values.items() if np.isnan(value)}
    if convention == "default":
        of_one = "the counted labels are of one class, which anybody who always says it gets right"
        reasons |= {name: of_one for name, metric in metrics.items() if name not in reasons and _is_of_one_class(metric, task, labels)}
    return reasons


def _is_of_one_class(metric: Metric, task: Task, labels: np.ndarray) -> bool:
    """Whether an accuracy or F1 has a single class to tell from nothing."""
    if metric.unit != "fraction":
        return False
    labels = labels.astype(np.float64)
    perfect = np.concatenate([labels, labels], axis=1) if task.kind == "classification" else labels
    rows = metric.statistics(perfect, labels)
    if rows.shape[1] == _TABLE_COLUMNS:
        right_positive, _, _, right_negative = rows.sum(axis=0)
        return bool(right_positive == 0 or right_negative == 0)
    return task.kind != "emotions" and _is_constant(labels)
