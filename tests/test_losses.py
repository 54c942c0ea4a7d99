import math

import pytest
import torch

from multigrain.errors import RecipeError
from multigrain.losses import LOSSES, TASK_LOSSES, balanced_weights, task_loss
from multigrain.schema import Task

LABEL = torch.tensor([[-3.0], [0.4], [0.0]])


def test_regression_losses_by_hand():
    prediction = torch.tensor([[-1.0], [0.4], [1.0]])
    assert task_loss(Task(), prediction, LABEL).item() == pytest.approx((2 + 0 + 1) / 3)
    assert task_loss(Task(), prediction, LABEL, "mse").item() == pytest.approx((4 + 0 + 1) / 3)


def test_classification_takes_the_nearest_class():
    task = Task(kind="classification", class_values=(-1.0, 0.0, 1.0))
    prediction = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]])
    right = -math.log(math.exp(2) / (math.exp(2) + 2))
    wrong = -math.log(1 / (math.exp(2) + 2))
    assert task_loss(task, prediction, LABEL).item() == pytest.approx((right + right + wrong) / 3)


def test_ties_between_classes_are_trained_as_rounding_half_to_even_scores_them():
    labels = torch.arange(-7, 8).reshape(-1, 1) / 2.0  # -3.5, -3, ..., 3.5
    task = Task(kind="classification")
    classes = torch.tensor(task.class_values)[task.nearest_class(labels)]
    assert classes.tolist() == labels.clamp(-3, 3).round().tolist()
    confident = torch.nn.functional.one_hot(task.nearest_class(labels).squeeze(1), 7).float() * 50
    assert task_loss(task, confident, labels).item() < 1e-6
    thirds = Task(kind="classification", class_values=(-1.0, -1 / 3, 1 / 3, 1.0))
    assert thirds.nearest_class(torch.tensor([0.0, 0.4, 0.9])).tolist() == [1, 2, 3]


def test_emotions_count_every_emotion_of_every_utterance():
    task = Task(kind="emotions", emotions=("happy", "sad"))
    prediction = torch.tensor([[0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0]])
    label = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    right, even, wrong = (-math.log(value) for value in (math.exp(3) / (math.exp(3) + 1), 0.5, 1 / (math.exp(3) + 1)))
    assert task_loss(task, prediction, label).item() == pytest.approx((right + even + even + wrong) / 4)


@pytest.mark.parametrize(("kind", "wrong"), [("regression", "cross_entropy"), ("classification", "l1"), ("emotions", "mse"), ("regression", "l2")])
def test_a_loss_that_does_not_fit_is_refused(kind, wrong):
    task = Task(kind=kind)
    with pytest.raises(RecipeError, match=f"loss '{wrong}' cannot be used for a {kind} task; expected .*training.loss"):
        task_loss(task, torch.zeros(2, task.head_dim), torch.zeros(2, task.label_dim), wrong)


def test_every_loss_serves_some_task_and_a_batch_of_one():
    assert {name for names in TASK_LOSSES.values() for name in names} == set(LOSSES)
    for kind, names in TASK_LOSSES.items():
        task = Task(kind=kind)
        for name in names:
            prediction = torch.zeros(1, task.head_dim, requires_grad=True, dtype=torch.float32)
            loss = task_loss(task, prediction, torch.zeros(1, task.label_dim), name)
            loss.backward()
            assert math.isfinite(loss.item())


def test_low_precision_predictions_are_compared_in_float32():
    prediction = torch.full((4, 1), 1.0, dtype=torch.bfloat16)
    label = torch.full((4, 1), 1.001)
    assert task_loss(Task(), prediction, label).item() == pytest.approx(0.001, rel=1e-3)


def test_balanced_weights_let_each_class_count_the_same():
    task = Task(kind="classification", class_values=(-1.0, 0.0, 1.0))
    labels = torch.tensor([[-1.0]] * 6 + [[0.0]] * 2)
    weights = balanced_weights(task, labels)
    torch.testing.assert_close(weights, torch.tensor([8 / 12, 2.0, 0.0]))
    prediction = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    each = -prediction.log_softmax(dim=1)[torch.arange(8), task.nearest_class(labels[:, 0])]
    expected = (each[:6].mean() + each[6:].mean()) / 2
    torch.testing.assert_close(task_loss(task, prediction, labels, weights=weights), expected)
