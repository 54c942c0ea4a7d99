"""Two processes on CPU (gloo) against one: the same data once an epoch, the same result."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from several_stores import joint_recipe, write_two_stores
from small_run import changed, write_small_store, write_small_videos

from multigrain.models import load
from multigrain.training.recipe import ModelRecipe, Recipe
from multigrain.training.train import train_run


def train_in_processes(recipe: Recipe, folder: Path, devices: int) -> subprocess.CompletedProcess:
    (folder.parent / "recipe.yaml").write_text(recipe.to_yaml())
    arguments = ["train", str(folder.parent / "recipe.yaml"), f"training.devices={devices}", "--run-folder", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-m", "multigrain", *arguments], env=environment, capture_output=True, text=True, timeout=200
    )


@pytest.fixture
def odd_recipe(small_recipe, tmp_path) -> Recipe:
    """25 utterances in batches of 6 among two processes: one batch leaves one process without any.

    Squared errors, because the gradient of absolute ones often cancels to zero but for rounding, which Adam then blows up.
    """
    store = write_small_store(tmp_path / "odd.store", sizes=(25, 9, 7))
    return changed(small_recipe, data={"store": str(store)}, model={"hidden_dropout": 0.0, "output_dropout": 0.0}, training={"loss": "mse"})


@pytest.mark.parametrize(
    "modality_dropout",
    [
        pytest.param({}, id="all modalities"),
        pytest.param({"text": 0.4, "audio": 0.6, "vision": 0.6}, id="modality dropout", marks=pytest.mark.slow),
    ],
)
def test_two_processes_do_what_one_does(odd_recipe, tmp_path, modality_dropout):
    recipe = changed(odd_recipe, training={"modality_dropout": modality_dropout})
    assert_two_do_what_one_does(recipe, tmp_path)


def assert_two_do_what_one_does(recipe: Recipe, tmp_path: Path) -> None:
    results = train_run(recipe, run_folder=tmp_path / "one", seed=0, show_progress=False)
    done = train_in_processes(recipe, tmp_path / "two", 2)
    assert done.returncode == 0, done.stderr
    one, two = ([json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()] for name in ("one", "two"))
    assert len(two) == len(one) == 3
    for alone, together in zip(one, two, strict=True):
        assert together["step"] == alone["step"]
        assert together["train_loss"] == pytest.approx(alone["train_loss"], rel=1e-4)
        assert together["valid_loss"] == pytest.approx(alone["valid_loss"], rel=1e-4)
        assert together["valid"]["mae"] == pytest.approx(alone["valid"]["mae"], rel=1e-4)
    for ours, theirs in zip(load(str(tmp_path / "two")).parameters(), load(str(tmp_path / "one")).parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    assert json.loads((tmp_path / "two" / "results.json").read_text())["splits"]["test"]["mae"] == pytest.approx(
        results["splits"]["test"]["mae"], rel=1e-3
    )
    assert done.stderr.count("epoch   1/3") == 1  # one process speaks
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_two_processes_draw_the_same_of_several_stores(tmp_path):
    stores = write_two_stores(tmp_path)
    recipe = joint_recipe([{**stores[0], "weight": 0.6}, stores[1]], loss="mse")
    recipe = changed(recipe, model={"hidden_dropout": 0.0, "output_dropout": 0.0})
    assert_two_do_what_one_does(recipe, tmp_path)
    by_store = [json.loads((tmp_path / name / "results.json").read_text())["stores"] for name in ("one", "two")]
    assert by_store[1]["voices"]["test"]["mae"] == pytest.approx(by_store[0]["voices"]["test"]["mae"], rel=1e-3)


@pytest.mark.slow
def test_two_processes_read_videos_whole(odd_recipe, tmp_path):
    videos = write_small_videos(tmp_path / "videos.store")
    assert_two_do_what_one_does(changed(odd_recipe, data={"store": str(videos)}, training={"batches": "by_context"}), tmp_path)


@pytest.mark.slow
def test_steps_that_leave_parameters_out_do_not_stop_it(odd_recipe, tmp_path):
    """MCMuT does not compute its higher scales while they are all left out, so that their parameters have no gradient."""
    settings = {"width": 4, "num_heads": 2, "num_blocks": 2, "layers_per_block": 1, "targets": ["text"], "scale_dropout": 1.0}
    recipe = dataclasses.replace(odd_recipe, model=ModelRecipe(name="mcmut", config=settings))
    done = train_in_processes(recipe, tmp_path / "two", 2)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "two" / "metrics.jsonl").read_text().splitlines()) == 3
