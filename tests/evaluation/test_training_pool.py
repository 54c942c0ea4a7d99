from pathlib import Path

import pytest
from small_runs import CONFIGS, write_run

from multigrain.data.store import Store
from multigrain.errors import RecipeError
from multigrain.evaluation.training_pool import PlannedRun, planned_action, training_command
from multigrain.training.recipe_file import recipe_from_dict


@pytest.fixture
def planned(planted: Store, tmp_path: Path) -> PlannedRun:
    return plan(planted, tmp_path / "runs" / "mult" / "seed-0")


def plan(planted: Store, folder: Path, seed: int = 0, **training: object) -> PlannedRun:
    model = {"name": "mult", **CONFIGS["mult"]}
    recipe = recipe_from_dict({"name": "mult", "data": {"store": str(planted.path)}, "model": model, "training": {"epochs": 3, **training}})
    return PlannedRun(
        name="mult",
        recipe_source="mult.yaml",
        recipe=recipe,
        overrides=("training.epochs=3",),
        seed=seed,
        folder=folder,
        store_fingerprint=planted.fingerprint,
    )


def complete(planned: PlannedRun, planted: Store) -> None:
    write_run(planned.folder, "mult", planted, planned.seed)
    (planned.folder / "recipe.yaml").write_text(planned.recipe.to_yaml())


def interrupt(planned: PlannedRun) -> None:
    path = planned.folder / "run.json"
    path.write_text(path.read_text().replace("completed", "running"))


def test_missing_run_is_trained(planned: PlannedRun) -> None:
    assert planned_action(planned) == "train"
    assert training_command(planned, "train")[2:] == [
        *("multigrain", "train", "mult.yaml", "training.epochs=3"),
        *("--seed", "0", "--run-folder", str(planned.folder)),
    ]


def test_completed_run_is_reused(planned: PlannedRun, planted: Store) -> None:
    complete(planned, planted)
    assert planned_action(planned) == "reuse"


def test_settings_without_effect_do_not_matter(planned: PlannedRun, planted: Store) -> None:
    complete(planned, planted)
    assert planned_action(plan(planted, planned.folder, num_threads=1, num_workers=2)) == "reuse"


def test_interrupted_run_is_resumed(planned: PlannedRun, planted: Store) -> None:
    complete(planned, planted)
    interrupt(planned)
    assert planned_action(planned) == "resume"
    assert training_command(planned, "resume")[2:] == ["multigrain", "train", "--resume", str(planned.folder)]


def test_without_reuse_a_completed_run_makes_room(planned: PlannedRun, planted: Store) -> None:
    complete(planned, planted)
    assert planned_action(planned, reuse=False) == "train"
    assert not planned.folder.exists()


def test_run_of_another_recipe_is_never_taken(planned: PlannedRun, planted: Store) -> None:
    complete(planned, planted)
    other = plan(planted, planned.folder, epochs=4)
    with pytest.raises(RecipeError, match=r"another run than mult seed 0: its training\.epochs is 3, not 4.*--overwrite"):
        planned_action(other)
    assert planned.folder.exists()
    assert planned_action(other, overwrite=True) == "train"
    assert not planned.folder.exists()


def test_run_on_another_store_is_never_taken(planned: PlannedRun, planted: Store) -> None:
    complete(planned, planted)
    path = planned.folder / "run.json"
    path.write_text(path.read_text().replace(planted.fingerprint, "0" * 64))
    with pytest.raises(RecipeError, match="it was trained on another store"):
        planned_action(planned)


def test_run_of_another_seed_is_never_taken(planned: PlannedRun, planted: Store) -> None:
    complete(planned, planted)
    with pytest.raises(RecipeError, match="its seed is 0"):
        planned_action(plan(planted, planned.folder, seed=1))
