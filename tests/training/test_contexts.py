"""Training in context: a video is computed once for all of its utterances, and nothing else about a run changes."""

from dataclasses import replace

import numpy as np
import pytest
from small_run import changed, write_small_store, write_small_videos

from multigrain.data.store import Store
from multigrain.errors import DataError, RecipeError
from multigrain.evaluation.predict import predict_split, read_predictions
from multigrain.models import load
from multigrain.training.module import TrainingModule
from multigrain.training.recipe import ModelRecipe
from multigrain.training.train import train_run


@pytest.fixture
def videos(tmp_path):
    return write_small_videos(tmp_path / "videos.store")


def test_a_run_computes_a_video_once_and_predicts_as_if_it_had_not(videos, small_recipe, tmp_path, monkeypatch):
    recipe = changed(small_recipe, data={"store": str(videos)}, training={"batches": "by_context", "batch_utterances": 8, "epochs": 2})
    sequences: list[tuple[int, int]] = []
    step = TrainingModule.training_step

    def counted(module, part, index):
        sequences.append((part.batch.text.features.shape[0], part.batch.size))
        return step(module, part, index)

    monkeypatch.setattr(TrainingModule, "training_step", counted)
    train_run(recipe, run_folder=tmp_path / "run", seed=0, show_progress=False)
    train = Store.open(videos).split("train")
    assert sum(utterances for _, utterances in sequences) == 2 * len(train)
    assert sum(read for read, _ in sequences) <= 2 * (6 + -(-len(train) // 8))  # each video once, and again where a batch was full
    model, written = load(str(tmp_path / "run")), read_predictions(tmp_path / "run" / "predictions" / "test.csv")
    monkeypatch.setattr(type(model), "reads_shared_contexts", False)
    alone = predict_split(model, Store.open(videos).split("test"))
    assert alone.ids == written.ids
    np.testing.assert_allclose(alone.scores, written.scores, rtol=0, atol=2e-6)


def test_a_model_that_cannot_share_is_given_each_utterance_its_own(videos, small_recipe, tmp_path):
    recipe = changed(small_recipe, data={"store": str(videos)}, training={"batches": "by_context", "epochs": 1})
    recipe = replace(recipe, model=ModelRecipe(name="late_fusion", config={}))
    train_run(recipe, run_folder=tmp_path / "run", seed=0, show_progress=False)
    test = Store.open(videos).split("test")
    assert read_predictions(tmp_path / "run" / "predictions" / "test.csv").ids == test.ids


def test_contexts_that_are_not_there_are_refused(small_recipe, tmp_path):
    recipe = changed(small_recipe, data={"store": str(write_small_store(tmp_path / "x.store"))}, training={"batches": "by_context"})
    with pytest.raises(DataError, match=r"no utterances of the training split share their video's sequences.*--context"):
        train_run(recipe, run_folder=tmp_path / "run", seed=0, show_progress=False)
    assert not (tmp_path / "run").exists()


def test_several_stores_are_refused_by_their_own_sentence(small_recipe, videos, tmp_path):
    other = write_small_store(tmp_path / "other.store")
    recipe = changed(small_recipe, data={"store": None, "stores": [str(videos), str(other)]}, training={"batches": "by_context"})
    with pytest.raises(RecipeError, match=r"takes one store's videos whole, but data\.stores joins 2.*by_length"):
        train_run(recipe, run_folder=tmp_path / "run", seed=0, show_progress=False)
    assert not (tmp_path / "run").exists()


def test_no_modality_is_lost_by_one_utterance_of_a_context_alone(small_recipe):
    with pytest.raises(RecipeError, match=r"training\.batches.*by_length beside training.modality_dropout"):
        changed(small_recipe, training={"batches": "by_context", "modality_dropout": {"audio": 0.5}})
