"""A small store and a small recipe: a run of a few epochs takes well under a second."""

from pathlib import Path

import pytest
from small_run import write_small_store

from multigrain.training.recipe import Recipe
from multigrain.training.recipe_file import recipe_from_dict


@pytest.fixture
def small_store(tmp_path: Path) -> Path:
    return write_small_store(tmp_path / "small.store")


@pytest.fixture
def small_recipe(small_store: Path) -> Recipe:
    return recipe_from_dict(
        {
            "name": "small",
            "data": {"store": str(small_store)},
            "model": {"name": "lf_lstm", "width": 4, "hidden_dropout": 0.3},
            "training": {"epochs": 3, "batch_utterances": 6, "num_threads": 1, "accelerator": "cpu", "learning_rate": 0.02},
        }
    )
