import math

import pytest

from multigrain.training.progress import Progress
from multigrain.training.recipe import TrainingRecipe


def finish(recipe: TrainingRecipe, scores: list[float], higher_is_better: bool = True) -> Progress:
    progress = Progress()
    for score in scores:
        progress.finish_epoch(-score if higher_is_better else score, score, higher_is_better, recipe)
    return progress


@pytest.mark.parametrize(("higher_is_better", "best_epoch"), [(True, 2), (False, 3)])
def test_the_best_epoch_follows_the_direction(higher_is_better, best_epoch):
    progress = finish(TrainingRecipe(), [0.2, 0.5, 0.1, 0.5], higher_is_better)
    assert progress.best_epoch == best_epoch


def test_nan_is_never_better_than_a_number():
    assert finish(TrainingRecipe(), [math.nan, 0.1, math.nan]).best_epoch == 2
    assert finish(TrainingRecipe(), [math.nan, math.nan]).best_epoch == 1


def test_every_epoch_is_kept_where_the_last_one_is_wanted():
    for keep, kept in (("best", [True, False, True]), ("last", [True, True, True])):
        progress, recipe = Progress(), TrainingRecipe(keep=keep)
        assert [progress.finish_epoch(0.0, score, True, recipe) for score in (0.2, 0.1, 0.3)] == kept
        assert progress.best_epoch == 3


def test_early_stopping_waits_for_its_patience():
    recipe = TrainingRecipe(early_stopping_patience=2)
    assert not finish(recipe, [0.5, 0.4]).is_finished
    assert finish(recipe, [0.5, 0.4, 0.3]).is_finished
    assert not finish(recipe, [0.5, 0.4, 0.6, 0.5]).is_finished


def test_the_last_epoch_finishes_the_run():
    assert not finish(TrainingRecipe(epochs=3), [1.0, 2.0]).is_finished
    assert finish(TrainingRecipe(epochs=3), [1.0, 2.0, 3.0]).is_finished


def test_the_plateau_lowers_the_rate_after_more_than_its_patience():
    recipe = TrainingRecipe(plateau_patience=1, plateau_factor=0.5)
    assert finish(recipe, [0.5, 0.4]).rate_factor == 1.0
    assert finish(recipe, [0.5, 0.4, 0.4]).rate_factor == 0.5
    assert finish(recipe, [0.5, 0.4, 0.4, 0.4]).rate_factor == 0.5
    assert finish(recipe, [0.5, 0.4, 0.4, 0.4, 0.4]).rate_factor == 0.25
    assert finish(TrainingRecipe(schedule="constant", plateau_patience=0), [0.5, 0.4, 0.4]).rate_factor == 1.0


def test_warm_up_rises_linearly_and_cosine_ends_at_zero():
    recipe = TrainingRecipe(warmup_steps=4, schedule="cosine")
    assert [Progress(step=step).rate(0.0, recipe) for step in (0, 1, 3, 9)] == [0.25, 0.5, 1.0, 1.0]
    assert Progress(step=9).rate(0.5, recipe) == pytest.approx(0.5)
    assert Progress(step=9).rate(1.0, recipe) == pytest.approx(0.0)
