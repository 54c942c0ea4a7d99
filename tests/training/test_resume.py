"""Kill -9 at any moment, resume, and end as if nothing had happened."""

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from small_run import changed

from multigrain.models import load
from multigrain.training import run_folder
from multigrain.training.recipe_file import recipe_from_dict

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["multigrain.training.train"])  # so that a process costs milliseconds, not seconds


def train(values: dict, folder: str, resume: bool, die_in: str | None = None, count: int = 0) -> None:
    """Runs in a process of its own; dies (SIGKILL) in the `count`-th call of the function that `die_in` names."""
    from multigrain.training.train import train_run

    if die_in is not None:
        make_deadly(die_in, count)
    train_run(recipe_from_dict(values), run_folder=folder, seed=4, resume=resume, show_progress=False)


def make_deadly(name: str, count: int) -> None:
    calls = 0
    if name == "torch.save":

        def save_half(state, file) -> None:
            nonlocal calls
            calls += 1
            if calls == count:
                file.write(b"half of a checkpoint")
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            save(state, file)

        save, torch.save = torch.save, save_half
    elif name == "os.rename":  # between the two renames that exchange checkpoints/best

        def rename_then_die(source, target) -> None:
            nonlocal calls
            rename(source, target)
            if str(target).endswith("best.former"):
                calls += 1
                if calls == count:
                    os.kill(os.getpid(), signal.SIGKILL)

        rename, run_folder.os.rename = os.rename, rename_then_die
    else:  # in the middle of a line of metrics.jsonl

        def append_half(self, path, line) -> None:
            nonlocal calls
            calls += 1
            if calls == count:
                with path.open("a") as file:
                    file.write(json.dumps(line)[:20])
                os.kill(os.getpid(), signal.SIGKILL)
            append(self, path, line)

        append, run_folder.RunFolder.append = run_folder.RunFolder.append, append_half


def run(values: dict, folder: Path, *, resume: bool, kill_after: float | None = None, die_in: str | None = None, count: int = 0) -> int | None:
    """The exit code of a training process, which is killed after some seconds or kills itself."""
    process = PROCESSES.Process(target=train, args=(values, str(folder), resume, die_in, count))
    process.start()
    process.join(kill_after)
    if process.is_alive():
        process.kill()
    process.join()
    return process.exitcode


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """An uninterrupted run, and the seconds that it took."""
    from small_run import write_small_store

    root = tmp_path_factory.mktemp("whole")
    values = {
        "name": "small",
        "data": {"store": str(write_small_store(root / "small.store"))},
        "model": {"name": "lf_lstm", "width": 4, "hidden_dropout": 0.3},
        "training": {
            "epochs": 8,
            "batch_utterances": 6,
            "num_threads": 1,
            "accelerator": "cpu",
            "learning_rate": 0.05,
            "plateau_patience": 0,
            "warmup_steps": 7,
            "monitor": "correlation",
        },
    }
    values = changed(recipe_from_dict(values)).to_dict()
    assert run(values, root / "first", resume=False) == 0  # pays for starting the fork server
    started = time.monotonic()
    assert run(values, root / "run", resume=False) == 0
    return values, root / "run", time.monotonic() - started


def assert_equal_runs(folder: Path, whole: Path) -> None:
    assert (folder / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert len((folder / "timing.jsonl").read_text().splitlines()) == 8
    for name in ("predictions/valid.csv", "predictions/test.csv"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    for ours, theirs in zip(load(str(folder)).parameters(), load(str(whole)).parameters(), strict=True):
        assert torch.equal(ours, theirs)
    last, expected = (torch.load(path / "checkpoints" / "last" / "state.pt", weights_only=True) for path in (folder, whole))
    assert last["progress"] == expected["progress"]
    assert all(torch.equal(last["model"][name], value) for name, value in expected["model"].items())
    assert len((folder / "logs" / "csv" / "metrics.csv").read_text().splitlines()) == 9
    assert not list(folder.rglob("*.part")) + list(folder.rglob("*.former"))


def test_kills_at_random_moments(whole_run, tmp_path):
    values, whole, seconds = whole_run
    generator = random.Random(os.environ.get("KILL_SEED", "1"))
    kills, resume = 0, False
    folder = tmp_path / "run"
    for _ in range(6):
        code = run(values, folder, resume=resume, kill_after=generator.uniform(0.05, 1.0) * seconds)
        kills += code == -signal.SIGKILL
        resume = folder.exists()
    assert kills >= 2
    assert run(values, folder, resume=resume) == 0
    assert_equal_runs(folder, whole)


@pytest.mark.parametrize(("die_in", "count"), [("torch.save", 1), ("torch.save", 4), ("os.rename", 1), ("append", 1), ("append", 7), ("append", 8)])
def test_a_kill_in_the_middle_of_writing(whole_run, tmp_path, die_in, count):
    values, whole, _ = whole_run
    folder = tmp_path / "run"
    assert run(values, folder, resume=False, die_in=die_in, count=count) == -signal.SIGKILL
    assert json.loads((folder / "run.json").read_text())["status"] == "running"
    assert run(values, folder, resume=True) == 0
    assert_equal_runs(folder, whole)


def test_a_run_whose_last_epoch_is_done_only_finishes(whole_run, tmp_path):
    import shutil

    values, whole, _ = whole_run
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**info, "status": "running"}))
    (folder / "results.json").unlink()
    shutil.rmtree(folder / "predictions")
    assert run(values, folder, resume=True) == 0
    assert_equal_runs(folder, whole)


@pytest.mark.parametrize(("die_in", "count"), [("append", 4), ("torch.save", 3)])
def test_modality_dropout_is_the_same_after_a_kill(whole_run, tmp_path, die_in, count):
    plain, whole, _ = whole_run
    rates = {"text": 0.3, "audio": 0.5, "vision": 0.5}
    values = changed(recipe_from_dict(plain), training={"modality_dropout": rates}).to_dict()
    assert run(values, tmp_path / "whole", resume=False) == 0
    assert (tmp_path / "whole" / "metrics.jsonl").read_bytes() != (whole / "metrics.jsonl").read_bytes()
    assert run(values, tmp_path / "run", resume=False, die_in=die_in, count=count) == -signal.SIGKILL
    assert run(values, tmp_path / "run", resume=True) == 0
    assert_equal_runs(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(("die_in", "count"), [("append", 4), ("torch.save", 3)])
def test_several_stores_are_drawn_the_same_after_a_kill(whole_run, tmp_path, die_in, count):
    from several_stores import write_two_stores

    plain, _, _ = whole_run
    stores = write_two_stores(tmp_path)
    values = {**plain, "data": {"stores": [{**stores[0], "weight": 0.6}, stores[1]], "normalise": True}}
    assert run(values, tmp_path / "whole", resume=False) == 0
    assert run(values, tmp_path / "run", resume=False, die_in=die_in, count=count) == -signal.SIGKILL
    assert run(values, tmp_path / "run", resume=True) == 0
    assert_equal_runs(tmp_path / "run", tmp_path / "whole")
