"""Two small stores that share nothing but their ids, and a recipe that trains on both."""

from pathlib import Path

from small_run import write_small_store

from multigrain.schema import Task
from multigrain.training.recipe import Recipe
from multigrain.training.recipe_file import recipe_from_dict


def write_two_stores(root: Path, sizes: tuple[int, int, int] = (25, 9, 9)) -> list[dict]:
    """Text alone with scores in -3..3, and audio alone with scores in 1..5, as entries of `data.stores`."""
    words = write_small_store(root / "words.store", widths={"text": 4}, sizes=sizes)
    voices = write_small_store(root / "voices.store", widths={"audio": 3}, sizes=sizes, speaking="audio", task=Task(minimum=1.0, maximum=5.0), seed=1)
    return [{"path": str(words)}, {"path": str(voices), "weight": 1.5, "labels": {"from_range": [1, 5], "to_range": [-3, 3]}}]


def joint_recipe(stores: list[dict], **training: object) -> Recipe:
    """A recipe of three epochs on these stores."""
    settings = {"epochs": 3, "batch_utterances": 6, "num_threads": 1, "accelerator": "cpu", "learning_rate": 0.02}
    return recipe_from_dict(
        {
            "name": "joint",
            "data": {"stores": stores, "normalise": True},
            "model": {"name": "lf_lstm", "width": 4, "hidden_dropout": 0.3},
            "training": settings | training,
        }
    )
