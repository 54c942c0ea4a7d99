"""Metrics against scikit-learn and SciPy, and at the edges where other toolkits crash."""

import logging
import warnings

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error
from sklearn.metrics import confusion_matrix as reference_confusion

from multigrain.errors import DataError
from multigrain.evaluation.confusion import confusion_matrix
from multigrain.metrics import CONVENTIONS, METRICS, compute_metrics, metrics_for, why_undefined
from multigrain.schema import Task

CLASSES = Task(kind="classification")
THREE_CLASSES = Task(kind="classification", class_values=(-3.0, 0.0, 3.0))
SIMS = Task(minimum=-1.0, maximum=1.0)
EMOTIONS = Task(kind="emotions")


@pytest.fixture
def scores_and_labels() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(4)
    labels = generator.choice(np.round(np.linspace(-3, 3, 31), 1), size=300)
    scores = labels + generator.normal(size=300) * 1.5
    scores[:5], labels[5:15] = 0.0, 0.0
    return scores[:, None], labels[:, None]


def test_default_metrics_agree_with_independent_code(scores_and_labels: tuple[np.ndarray, np.ndarray]) -> None:
    values = compute_metrics(Task(), *scores_and_labels)
    scores, labels = (column[:, 0] for column in scores_and_labels)
    rest = labels != 0
    assert values == pytest.approx(
        {
            "mae": mean_absolute_error(labels, scores),
            "correlation": stats.pearsonr(labels, scores).statistic,
            "accuracy_7": np.mean(np.round(scores.clip(-3, 3)) == np.round(labels.clip(-3, 3))),
            "accuracy_5": np.mean(np.round(scores.clip(-2, 2)) == np.round(labels.clip(-2, 2))),
            "accuracy_2_has0": accuracy_score(labels >= 0, scores >= 0),
            "f1_has0": f1_score(labels >= 0, scores >= 0, average="weighted"),
            "accuracy_2_non0": accuracy_score(labels[rest] > 0, scores[rest] > 0),
            "f1_non0": f1_score(labels[rest] > 0, scores[rest] > 0, average="weighted"),
        },
        abs=1e-12,
    )


def test_mult_convention_weighs_f1_by_predictions(scores_and_labels: tuple[np.ndarray, np.ndarray]) -> None:
    values = compute_metrics(Task(), *scores_and_labels, "mult")
    scores, labels = (column[:, 0] for column in scores_and_labels)
    rest = labels != 0
    assert values["f1_non0"] == pytest.approx(f1_score(scores[rest] > 0, labels[rest] > 0, average="weighted"))
    assert values["f1_non0"] != pytest.approx(compute_metrics(Task(), *scores_and_labels)["f1_non0"])
    assert values["accuracy_2_has0"] == pytest.approx(accuracy_score(labels > 0, scores > 0))


def test_mag_convention_leaves_out_neutral_utterances(scores_and_labels: tuple[np.ndarray, np.ndarray]) -> None:
    values = compute_metrics(Task(), *scores_and_labels, "mag")
    scores, labels = (
        column[column_labels != 0] for column, column_labels in ((part[:, 0], scores_and_labels[1][:, 0]) for part in scores_and_labels)
    )
    assert values == pytest.approx(
        {
            "mae": mean_absolute_error(labels, scores),
            "correlation": stats.pearsonr(labels, scores).statistic,
            "accuracy_2_non0": accuracy_score(labels > 0, scores >= 0),
            "f1_non0": f1_score(labels > 0, scores >= 0, average="weighted"),
        }
    )


def test_rounding_is_half_to_even() -> None:
    values = compute_metrics(Task(), np.array([[0.5], [1.5], [-2.5]]), np.array([[0.0], [2.0], [-2.0]]))
    assert values["accuracy_7"] == 1.0


def test_sims_cuts_belong_to_the_lower_bin() -> None:
    labels = np.array([[-0.7], [-0.1], [0.0], [0.1], [0.7]], dtype=np.float32)
    lower = np.array([[-0.9], [-0.3], [-0.05], [0.0], [0.5]], dtype=np.float32)
    values = compute_metrics(SIMS, lower, labels)
    assert values["accuracy_5"] == 1.0
    assert values["accuracy_3"] == 1.0
    assert compute_metrics(SIMS, labels + np.float32(0.01), labels)["accuracy_5"] == pytest.approx(1 / 5)
    assert compute_metrics(SIMS, np.array([[0.0], [0.1]]), np.array([[-1.0], [1.0]]))["accuracy_2"] == 1.0


def test_mmsa_clips_sims_scores_and_the_default_does_not() -> None:
    scores, labels = np.array([[2.0], [-0.5]]), np.array([[1.0], [-0.5]])
    assert compute_metrics(SIMS, scores, labels, "mmsa")["mae"] == 0.0
    assert compute_metrics(SIMS, scores, labels)["mae"] == 0.5


def test_another_range_is_measured_about_its_middle(scores_and_labels: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = scores_and_labels
    around_four = compute_metrics(Task(minimum=1.0, maximum=7.0), scores + 4, labels + 4)
    assert around_four == pytest.approx(compute_metrics(Task(), scores, labels), abs=1e-9)
    narrow = compute_metrics(Task(minimum=1.0, maximum=5.0), np.array([[3.5], [2.0], [2.0]]), np.array([[5.0], [3.0], [1.0]]))
    assert "accuracy_7" not in narrow
    assert narrow["accuracy_2_has0"] == pytest.approx(2 / 3)
    assert narrow["accuracy_2_non0"] == 1.0


def test_emotions_have_a_metric_each_and_their_means() -> None:
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, size=(50, 4))
    scores = (labels * 0.4 + generator.random((50, 4)) * 0.6).clip(0, 1)
    values = compute_metrics(EMOTIONS, scores, labels)
    accuracies = [accuracy_score(labels[:, index], scores[:, index] > 0.5) for index in range(4)]
    f1 = [f1_score(labels[:, index], scores[:, index] > 0.5, average="weighted") for index in range(4)]
    assert [values[f"accuracy_{name}"] for name in EMOTIONS.emotions] == pytest.approx(accuracies)
    assert [values[f"f1_{name}"] for name in EMOTIONS.emotions] == pytest.approx(f1)
    assert (values["accuracy_mean"], values["f1_mean"]) == pytest.approx((np.mean(accuracies), np.mean(f1)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["prediction", "label"])
def test_a_non_finite_number_is_an_error_that_names_the_utterance(value: float, name: str) -> None:
    columns = {"prediction": np.linspace(-1, 1, 4)[:, None], "label": np.linspace(-1, 1, 4)[:, None]}
    columns[name][2:] = value
    with pytest.raises(DataError, match=rf"2 of 4 utterances have a {name} that is NaN or infinite; the first is utterance 'c'"):
        compute_metrics(Task(), *columns.values(), ids=["a", "b", "c", "d"])
    with pytest.raises(DataError, match="the first is row 2"):
        compute_metrics(Task(), *columns.values())


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
def test_a_constant_prediction_has_correlation_zero_and_a_warning(value: float) -> None:
    scores, labels = np.full((7, 1), value, dtype=np.float32), np.linspace(-3, 3, 7)[:, None]
    with pytest.warns(UserWarning, match="The prediction is the same .* for all 7 utterances: the correlation is undefined and reported as 0"):
        assert compute_metrics(Task(), scores, labels)["correlation"] == 0.0


def test_all_neutral_labels_leave_sign_metrics_undefined_and_say_why(caplog: pytest.LogCaptureFixture) -> None:
    scores = np.array([[0.5], [-1.0]])
    with caplog.at_level(logging.WARNING), pytest.warns(UserWarning, match="The label is the same"):
        values = compute_metrics(Task(), scores, np.zeros((2, 1)))
    assert np.isnan(values["accuracy_2_non0"])
    assert np.isnan(values["f1_non0"])
    assert values["mae"] == 0.75
    assert "accuracy_2_non0, f1_non0 undefined: the labels of all 2 utterances are neutral." in caplog.text


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_one_utterance_is_enough(convention: str) -> None:
    with pytest.warns(UserWarning, match="for all 1 utterances"):
        values = compute_metrics(Task(), np.array([[1.0]]), np.array([[1.5]]), convention)
    assert values["mae"] == 0.5
    assert values["correlation"] == 0.0
    if convention == "default":  # the others are as their authors print them
        assert np.isnan(values["accuracy_2_non0"])
    else:
        assert values["accuracy_2_non0"] == 1.0


def test_what_has_one_class_to_tell_from_nothing_is_undefined_with_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    scores, labels = np.array([[0.4], [-0.2], [2.0]]), np.array([[1.0], [0.0], [2.0]])
    with caplog.at_level(logging.WARNING):
        values = compute_metrics(Task(), scores, labels)
    assert all(np.isnan(values[name]) for name in ("accuracy_2_has0", "f1_has0", "accuracy_2_non0", "f1_non0"))
    assert values["accuracy_7"] == pytest.approx(2 / 3)
    assert "accuracy_2_has0, f1_has0, accuracy_2_non0, f1_non0 undefined: the counted labels are of one class" in caplog.text
    emotions = compute_metrics(EMOTIONS, np.full((3, 4), 0.7), np.array([[1, 0, 0, 1], [0, 0, 0, 1], [1, 0, 1, 1]]))
    assert np.isnan(emotions[f"accuracy_{EMOTIONS.emotions[1]}"])
    assert np.isnan(emotions[f"f1_{EMOTIONS.emotions[3]}"])
    assert emotions[f"accuracy_{EMOTIONS.emotions[0]}"] == pytest.approx(2 / 3)


def test_macro_f1_and_confusion_agree_with_independent_code() -> None:
    generator = np.random.default_rng(2)
    task = Task(kind="classification", class_values=(-1.0, 0.0, 1.0), minimum=-1.0, maximum=1.0)
    labels = generator.choice([-1.0, 0.0, 1.0], p=[0.7, 0.2, 0.1], size=(80, 1))
    chosen = np.where(generator.random((80, 1)) < 0.6, labels, generator.choice([-1.0, 0.0, 1.0], size=(80, 1)))
    answers = np.concatenate([chosen * 0.8, chosen], axis=1)
    assert compute_metrics(task, answers, labels)["f1_macro"] == pytest.approx(f1_score(labels[:, 0], chosen[:, 0], average="macro"))
    np.testing.assert_array_equal(confusion_matrix(task, answers, labels), reference_confusion(labels[:, 0], chosen[:, 0]))


def test_what_is_undefined_has_a_reason() -> None:
    neutral, positive = (np.full((4, 1), value) for value in (0.0, 1.5))
    scores = np.array([[0.1], [0.2], [-0.3], [1.0]])
    assert why_undefined(Task(), scores, neutral)["accuracy_2_non0"] == "the labels of all 4 utterances are neutral"
    assert why_undefined(Task(), scores, positive)["accuracy_2_non0"].startswith("the counted labels are of one class")
    assert "mae" not in why_undefined(Task(), scores, positive)
    assert why_undefined(Task(), scores, np.array([[1.0], [-1.0], [2.0], [-2.0]])) == {}
    emotions = np.array([[1.0, 0.0, 0.0, 0.0]] * 4)
    for task, labels, answers in ((Task(), neutral, scores), (Task(), positive, scores), (EMOTIONS, emotions, emotions * 0.8)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            values = compute_metrics(task, answers, labels)
        assert {name for name, value in values.items() if np.isnan(value)} == set(why_undefined(task, answers, labels))


def test_mag_with_neutral_labels_only_is_undefined_not_a_crash() -> None:
    with pytest.warns(UserWarning, match="The label is the same"):
        values = compute_metrics(Task(), np.array([[1.0], [2.0]]), np.zeros((2, 1)), "mag")
    assert all(np.isnan(value) for value in values.values())


def test_unknown_convention_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"no metric convention 'mmas'\. Did you mean 'mmsa'"):
        compute_metrics(Task(), np.ones((2, 1)), np.ones((2, 1)), "mmas")


def test_convention_that_was_never_defined_for_a_range_is_refused() -> None:
    with pytest.raises(DataError, match=r"'mag' was published for labels in -3\.\.3 only"):
        metrics_for(SIMS, "mag")


@pytest.mark.parametrize("shape", [(3, 1), (0, 1), (2, 4)])
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, int]) -> None:
    labels = np.ones((2, 1)) if shape[0] else np.ones(shape)
    with pytest.raises(DataError, match="predictions of shape"):
        compute_metrics(Task(), np.ones(shape), labels)


def test_every_metric_stays_in_its_range_and_is_best_when_right(scores_and_labels: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = scores_and_labels
    for name, metric in metrics_for(Task()).items():
        assert metric.minimum <= metric.function(scores, labels) <= metric.maximum, name
        assert metric.function(labels, labels) == pytest.approx(metric.maximum if metric.higher_is_better else metric.minimum), name


def test_registry_holds_the_metrics_of_every_task() -> None:
    names = {name for task in (Task(), SIMS, EMOTIONS, CLASSES, THREE_CLASSES) for name in metrics_for(task)}
    assert set(METRICS) == names
    assert all(metric.unit in ("label units", "fraction", "coefficient") for metric in METRICS.values())


def test_accuracy_of_a_model_of_classes_is_that_of_its_most_probable_class() -> None:
    """Half of the probability on -2, half on 2: the score is 0, the class is not."""
    prediction = torch.tensor([[0.0, 5.1, 0.0, 0.0, 0.0, 5.0, 0.0], [0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 5.0, 4.9, 0.0, 0.0]])
    labels = np.array([[-2.0], [0.5], [0.4]])
    answers = CLASSES.answers(prediction).numpy()
    assert answers[:, 1].tolist() == [-2.0, 0.0, 0.0]
    values = compute_metrics(CLASSES, answers, labels)
    assert values["accuracy_7"] == 1.0  # the tie at 0.5 counts as 0, as it is trained
    assert values["accuracy_7_expected"] == pytest.approx(2 / 3)
    assert values["mae"] == pytest.approx(np.abs(answers[:, :1] - labels).mean())
    assert list(values)[:4] == ["mae", "correlation", "accuracy_7", "accuracy_7_expected"]


def test_other_classes_have_an_accuracy_of_their_own() -> None:
    task = Task(kind="classification", class_values=(-3.0, -1.0, 1.0, 3.0))
    values = compute_metrics(task, np.array([[0.1, 3.0], [0.0, -1.0]]), np.array([[2.5], [0.9]]))
    assert values["accuracy_class"] == 0.5
    assert "accuracy_7_expected" not in values


def test_classes_are_asked_for_where_a_model_has_them() -> None:
    with pytest.raises(DataError, match="most probable class beside each score"):
        compute_metrics(CLASSES, np.array([[0.1]]), np.array([[2.5]]))
