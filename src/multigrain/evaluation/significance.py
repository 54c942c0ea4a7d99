"""How sure one may be of a number: an interval over seeds, and a paired test of two models.

The interval is Student's t for the mean over seeds: what another set of seeds would give on the same test split.

The paired test resamples utterances, the same ones for both models, and seeds, of each model on its own: it asks
whether the difference would hold on other utterances and other seeds. Resample b holds utterance i `counts[b, i]` times, and
since every metric is a function of sums over utterances (`multigrain.metrics`), all resamples are one matrix product.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from multigrain.errors import DataError
from multigrain.evaluation.predict import Predictions
from multigrain.metrics import Metric

CONFIDENCE = 0.95
RESAMPLES = 10_000
ROUNDING = 1e-12
"""Differences below this are no difference: what is left when equal sums are added in another order."""
CHUNK_NUMBERS = 2_000_000
"""Resampling counts held in memory at a time (16 MB)."""


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; the bounds are NaN where one value is all there is."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """A model against a reference on the same utterances.

    Attributes:
        difference: mean over the model's seeds minus mean over the reference's, in the metric's unit.
        low, high: 95 % bootstrap interval of the difference.
        p_value: two-sided; how often resampling turns the difference's sign, doubled.
    """

    difference: float
    low: float
    high: float
    p_value: float


def interval_over_seeds(values: Sequence[float]) -> Interval:
    """Mean and 95 % interval (Student's t) of a metric over seeds.

    Args:
        values: one per seed, at least one.

    >>> interval_over_seeds([1.0, 2.0, 3.0]).mean
    2.0
    """
    from scipy.special import stdtrit  # here, since it takes longer to load than the rest of what explains a single video

    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if len(array) == 1:
        return Interval(mean, float("nan"), float("nan"))
    half = float(stdtrit(len(array) - 1, (1 + CONFIDENCE) / 2) * array.std(ddof=1) / np.sqrt(len(array)))
    return Interval(mean, mean - half, mean + half)


def paired_bootstrap(
    model: Sequence[Predictions],
    reference: Sequence[Predictions],
    metrics: Mapping[str, Metric],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, PairedTest]:
    """Tests a model against a reference, over utterances and seeds at once.

    Args:
        model: predictions of each of its seeds, on the same utterances in the same order.
        reference: the same for the reference; the number of seeds may differ.
        metrics: those to test, by name.
        resamples: number of bootstrap resamples.
        seed: of the resampling; the same seed gives the same result.

    Returns:
        One test per metric.

    Raises:
        DataError: the predictions are not of the same utterances, or have no labels.
    """
    _check_same_utterances([*model, *reference])
    generator = np.random.default_rng(seed)
    runs = [*model, *reference]
    tables = {name: [_statistics(metric, run) for run in runs] for name, metric in metrics.items()}
    num_utterances = len(runs[0].ids)
    draws: dict[str, list[np.ndarray]] = {name: [] for name in metrics}
    chunk = max(1, min(resamples, CHUNK_NUMBERS // num_utterances))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        counts = _counts(generator, size, num_utterances, num_utterances)
        weights = [_counts(generator, size, len(part), len(part)) / len(part) for part in (model, reference)]
        for name, metric in metrics.items():
            draws[name].append(_differences(metric, counts, tables[name], weights))
    return {name: _test(metrics[name], tables[name], len(model), np.concatenate(parts)) for name, parts in draws.items()}


def _check_same_utterances(runs: Sequence[Predictions]) -> None:
    for run in runs:
        if run.labels is None:
            raise DataError("A paired test needs labels, but the predictions have none. Compare the runs on a split that has labels.")
        if run.ids != runs[0].ids or not np.array_equal(run.labels, _labels(runs[0])):
            raise DataError(
                f"A paired test needs predictions of the same utterances in the same order; got {len(runs[0].ids)} utterances that begin with "
                f"{list(runs[0].ids[:2])} and {len(run.ids)} that begin with {list(run.ids[:2])}, or other labels. "
                "Compare runs of one store and one split."
            )


def _labels(run: Predictions) -> Float[np.ndarray, "utterance label"]:
    assert run.labels is not None
    return run.labels


def _statistics(metric: Metric, run: Predictions) -> Float[np.ndarray, "utterance statistic"]:
    return metric.statistics(run.answers.astype(np.float64), _labels(run).astype(np.float64))


def _counts(generator: np.random.Generator, resamples: int, choices: int, draws: int) -> Float[np.ndarray, "resample choice"]:
    """How often each of `choices` things comes up in `draws` draws with replacement, for each resample."""
    drawn = generator.integers(0, choices, size=(resamples, draws)) + np.arange(resamples)[:, None] * choices
    return np.bincount(drawn.ravel(), minlength=resamples * choices).reshape(resamples, choices).astype(np.float64)


def _differences(metric: Metric, counts: np.ndarray, tables: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> Float[np.ndarray, " resample"]:
    """The difference of the two models' mean over drawn seeds, on each resample."""
    sums = np.split(counts @ np.concatenate(tables, axis=1), len(tables), axis=1)
    values = np.stack([metric.from_sums(part) for part in sums], axis=1)
    first = weights[0].shape[1]
    return np.asarray((values[:, :first] * weights[0]).sum(axis=1) - (values[:, first:] * weights[1]).sum(axis=1))


def _test(metric: Metric, tables: Sequence[np.ndarray], num_model_seeds: int, draws: np.ndarray) -> PairedTest:
    values = [float(metric.from_sums(table.sum(axis=0, keepdims=True))[0]) for table in tables]
    difference = float(np.mean(values[:num_model_seeds]) - np.mean(values[num_model_seeds:]))
    defined = draws[~np.isnan(draws)]
    if len(defined) == 0 or np.isnan(difference):
        return PairedTest(difference, float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    turned = min(int((defined <= ROUNDING).sum()), int((defined >= -ROUNDING).sum()))
    return PairedTest(difference, float(low), float(high), min(1.0, 2 * (turned + 1) / (len(defined) + 1)))
