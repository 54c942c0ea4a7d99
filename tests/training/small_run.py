"""Small data and changed recipes, also for the processes that tests start."""

from pathlib import Path
from typing import Any

import numpy as np

from multigrain.data.store import StoreWriter
from multigrain.schema import FeatureSpec, Task, Utterance
from multigrain.training.recipe import Recipe
from multigrain.training.recipe_file import recipe_from_dict

WIDTHS = {"text": 4, "audio": 3, "vision": 2}


def write_small_store(
    path: Path,
    *,
    task: Task | None = None,
    widths: dict[str, int] = WIDTHS,
    sizes: tuple[int, int, int] = (25, 9, 9),
    label: float | None = None,
    steps: int | None = None,
    speaking: str = "text",
    seed: int = 0,
) -> Path:
    """A store whose label is about the mean of the first feature of `speaking`; `label` makes all of them equal, `steps` all lengths."""
    generator = np.random.default_rng(seed)
    task = task or Task()
    with StoreWriter(path, task=task, features={name: FeatureSpec(dim=dim) for name, dim in widths.items()}) as writer:
        for split, size in zip(("train", "valid", "test"), sizes, strict=True):
            for number in range(size):
                features = {
                    name: generator.normal(size=(steps or int(generator.integers(2, 9)), dim)).astype(np.float32) for name, dim in widths.items()
                }
                middle, half = (task.maximum + task.minimum) / 2, (task.maximum - task.minimum) / 2
                score = middle + float(np.clip(half * features[speaking][:, 0].mean(), -half, half)) if label is None else label
                target = (generator.random(len(task.emotions)) < 0.5).astype(np.float32) if task.kind == "emotions" else score
                writer.add(Utterance(id=f"{split}{number}", split=split, group=f"{split}-{number // 3}", features=features, label=target))
        return writer.finish()


def changed(recipe: Recipe, **sections: dict[str, Any]) -> Recipe:
    """The recipe with some keys of some sections changed."""
    values = recipe.to_dict()
    return recipe_from_dict({key: {**entry, **sections.get(key, {})} if isinstance(entry, dict) else entry for key, entry in values.items()})


def write_small_videos(path: Path) -> Path:
    """A store of videos with three to six utterances in context, one vector each."""
    generator = np.random.default_rng(0)
    with StoreWriter(path, task=Task(), features={name: FeatureSpec(dim=dim) for name, dim in WIDTHS.items()}) as writer:
        for split, count in (("train", 6), ("valid", 3), ("test", 3)):
            for video in (f"{split}{number}" for number in range(count)):
                steps = int(generator.integers(3, 7))
                features = {name: generator.normal(size=(steps, dim)).astype(np.float32) for name, dim in WIDTHS.items()}
                for step in range(steps):
                    label = float(np.clip(features["text"][step, 0], -3, 3))
                    name = f"{video}_{step}"
                    writer.add(Utterance(id=name, split=split, group=video, features=features, label=label, context_key=video, readout=step))
    return path
