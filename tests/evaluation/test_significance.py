import time

import numpy as np
import pytest
from scipy import stats

from multigrain.errors import DataError
from multigrain.evaluation.predict import Predictions
from multigrain.evaluation.significance import interval_over_seeds, paired_bootstrap
from multigrain.metrics import compute_metrics, metrics_for
from multigrain.schema import Task


def predictions(labels: np.ndarray, noise: float, seed: int) -> Predictions:
    ids = tuple(f"u{index}" for index in range(len(labels)))
    scores = labels + noise * np.random.default_rng(seed).normal(size=labels.shape)
    return Predictions(ids=ids, groups=ids, labels=labels.astype(np.float32)[:, None], scores=scores.astype(np.float32)[:, None])


def some_labels(count: int = 200) -> np.ndarray:
    return np.random.default_rng(9).choice(np.linspace(-3, 3, 13), size=count)


def test_interval_is_students_t() -> None:
    values = [0.70, 0.72, 0.69, 0.75, 0.71]
    result = interval_over_seeds(values)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (result.mean, result.low, result.high) == pytest.approx((np.mean(values), low, high))


def test_interval_of_one_seed_has_no_bounds() -> None:
    result = interval_over_seeds([0.5])
    assert result.mean == 0.5
    assert np.isnan([result.low, result.high]).all()


def test_bootstrap_agrees_with_a_plain_loop_over_resamples() -> None:
    """Independent transcription: draw utterances and seeds, compute every metric anew, take quantiles."""
    labels = some_labels(60)
    model = [predictions(labels, 1.0, seed) for seed in range(3)]
    reference = [predictions(labels, 1.4, seed) for seed in range(10, 12)]
    metrics = {name: metrics_for(Task())[name] for name in ("mae", "correlation", "f1_non0")}
    result = paired_bootstrap(model, reference, metrics, resamples=4000, seed=1)
    generator = np.random.default_rng(2)
    draws: dict[str, list[float]] = {name: [] for name in metrics}
    for _ in range(400):
        rows = generator.integers(0, 60, size=60)
        means = []
        for side in (model, reference):
            runs = [side[index] for index in generator.integers(0, len(side), size=len(side))]
            means.append({name: np.mean([metric.function(run.scores[rows], run.labels[rows]) for run in runs]) for name, metric in metrics.items()})
        for name in metrics:
            draws[name].append(means[0][name] - means[1][name])
    for name, test in result.items():
        low, high = np.quantile(draws[name], [0.025, 0.975])
        spread = np.std(draws[name])
        assert test.low == pytest.approx(low, abs=0.35 * spread), name
        assert test.high == pytest.approx(high, abs=0.35 * spread), name


def test_difference_is_the_difference_of_the_means_over_seeds() -> None:
    labels = some_labels()
    model, reference = ([predictions(labels, noise, seed) for seed in range(3)] for noise in (0.5, 1.5))
    result = paired_bootstrap(model, reference, metrics_for(Task()), resamples=500)
    means = [np.mean([compute_metrics(Task(), run.scores, run.labels)["mae"] for run in side]) for side in (model, reference)]
    assert result["mae"].difference == pytest.approx(means[0] - means[1])
    assert result["mae"].low < result["mae"].difference < result["mae"].high < 0
    assert result["mae"].p_value < 0.01


def test_a_model_against_itself_is_no_different() -> None:
    labels = some_labels()
    runs = [predictions(labels, 1.0, 0)]
    result = paired_bootstrap(runs, runs, metrics_for(Task()), resamples=200)
    assert all(test.difference == 0 and test.low == pytest.approx(0, abs=1e-12) and test.p_value == 1.0 for test in result.values())


def test_equal_models_are_rarely_called_different() -> None:
    found = 0
    for trial in range(40):
        labels = some_labels(80)
        sides = [[predictions(labels, 1.0, 1000 * trial + side * 10 + seed) for seed in range(3)] for side in (0, 1)]
        found += paired_bootstrap(*sides, {"mae": metrics_for(Task())["mae"]}, resamples=400)["mae"].p_value < 0.05
    assert found <= 6


def test_same_seed_gives_the_same_result() -> None:
    labels = some_labels()
    sides = [[predictions(labels, noise, 3)] for noise in (1.0, 1.1)]
    metrics = metrics_for(Task())
    assert paired_bootstrap(*sides, metrics, resamples=300, seed=5) == paired_bootstrap(*sides, metrics, resamples=300, seed=5)
    assert paired_bootstrap(*sides, metrics, resamples=300, seed=5) != paired_bootstrap(*sides, metrics, resamples=300, seed=6)


def test_ten_thousand_resamples_of_mosi_with_five_seeds_are_quick() -> None:
    labels = some_labels(686)
    sides = [[predictions(labels, noise, seed) for seed in range(5)] for noise in (1.0, 1.1)]
    metrics = {name: metrics_for(Task())[name] for name in ("mae", "correlation", "accuracy_2_non0")}
    start = time.process_time()
    paired_bootstrap(*sides, metrics)
    assert time.process_time() - start < 4.0  # 0.6 s on a quiet machine


def test_other_utterances_are_refused() -> None:
    labels = some_labels()
    first, second = predictions(labels, 1.0, 0), predictions(labels[:-1], 1.0, 0)
    with pytest.raises(DataError, match="same utterances in the same order; got 200 utterances"):
        paired_bootstrap([first], [second], metrics_for(Task()), resamples=10)


def test_undefined_metric_stays_undefined() -> None:
    runs = [predictions(np.zeros(20), 1.0, 0)]
    assert np.isnan(paired_bootstrap(runs, runs, metrics_for(Task()), resamples=50)["accuracy_2_non0"].p_value)
