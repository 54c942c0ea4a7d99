"""SIGTERM at any moment, alone and among several processes; a process that dies; one run folder under two names; what is on disk when."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_run import changed, write_small_store

from multigrain.errors import TrainingError
from multigrain.training.interruption import Terminated, interrupt_held_back, terminated_by_sigterm
from multigrain.training.run_folder import RunFolder
from multigrain.training.train import TrainingInterrupted, train_run

LIMIT_SECONDS = 200.0


def test_sigterm_is_an_interrupt_once_and_then_nothing():
    former = signal.getsignal(signal.SIGTERM)

    def terminated_twice() -> None:
        with terminated_by_sigterm():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)  # must not disturb what the first one began

    with pytest.raises(Terminated):
        terminated_twice()
    assert signal.getsignal(signal.SIGTERM) is former


def test_sigterm_waits_for_what_must_be_whole():
    done = []

    def terminated() -> None:
        with terminated_by_sigterm(), interrupt_held_back():
            signal.raise_signal(signal.SIGTERM)
            done.append("whole")

    with pytest.raises(Terminated):
        terminated()
    assert done == ["whole"]


def test_a_run_ended_by_sigterm_is_resumed_to_the_same(small_recipe, tmp_path, monkeypatch):
    from multigrain.training.module import TrainingModule

    step, count = TrainingModule.training_step, []

    def interrupted(self, *arguments):
        count.append(1)
        if len(count) == 7:
            signal.raise_signal(signal.SIGTERM)
        return step(self, *arguments)

    monkeypatch.setattr(TrainingModule, "training_step", interrupted)
    with pytest.raises(TrainingInterrupted, match=r"Ended by SIGTERM\. Continue with: multigrain train --resume") as caught:
        train_run(small_recipe, run_folder=tmp_path / "run", seed=0, show_progress=False)
    assert caught.value.is_by_sigterm
    assert RunFolder(tmp_path / "run").info()["status"] == "interrupted"
    monkeypatch.undo()
    train_run(small_recipe, run_folder=tmp_path / "run", seed=0, resume=True, show_progress=False)
    train_run(small_recipe, run_folder=tmp_path / "whole", seed=0, show_progress=False)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


# Several processes ------------------------------------------------------------------------------------------------


@pytest.fixture
def long_recipe(small_recipe, tmp_path) -> Path:
    store = write_small_store(tmp_path / "some.store", sizes=(60, 9, 7))
    recipe = changed(small_recipe, data={"store": str(store)}, training={"epochs": 3000, "devices": 2})
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    return tmp_path / "recipe.yaml"


def started(recipe: Path, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "multigrain", "train", str(recipe), "--run-folder", str(folder)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def awaited(what, process: subprocess.Popen):
    """What becomes true, once it does; the process must not end before."""
    end = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    raise AssertionError("it did not come to that")


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="this system has no /proc")


@needs_proc
@pytest.mark.parametrize("to", ["first", pytest.param("second", marks=pytest.mark.slow)])
def test_sigterm_ends_all_processes_and_leaves_a_resumable_run(long_recipe, tmp_path, to):
    folder = tmp_path / "run"
    process = started(long_recipe, folder)
    try:
        awaited(lambda: (folder / "checkpoints" / "last" / "state.pt").is_file(), process)
        (second,) = children(process.pid)
        os.kill({"first": process.pid, "second": second}[to], signal.SIGTERM)
        _, printed = process.communicate(timeout=LIMIT_SECONDS)
    finally:
        process.kill()
    assert process.returncode == 143, printed
    assert "Ended by SIGTERM. Continue with" in " ".join(printed.split())
    assert "Traceback" not in printed
    assert not is_running(second)
    assert RunFolder(folder).info()["status"] == "interrupted"
    assert RunFolder(folder).load_last()["progress"]["epoch"] <= len((folder / "metrics.jsonl").read_text().splitlines())


@needs_proc
def test_a_process_that_dies_is_named(long_recipe, tmp_path):
    folder = tmp_path / "run"
    process = started(long_recipe, folder)
    try:
        awaited(lambda: (folder / "checkpoints" / "last" / "state.pt").is_file(), process)
        (second,) = children(process.pid)
        os.kill(second, signal.SIGKILL)
        _, printed = process.communicate(timeout=LIMIT_SECONDS)
    finally:
        process.kill()
    assert process.returncode == 2, printed
    assert f"process 1 of 2 (number {second}) was killed by signal 9" in " ".join(printed.split())
    assert "Traceback" not in printed
    assert RunFolder(folder).info()["status"] == "failed"


@needs_proc
@pytest.mark.parametrize("when", ["the second starts", pytest.param("they train", marks=pytest.mark.slow)])
def test_nobody_outlives_a_first_process_that_is_killed(long_recipe, tmp_path, when):
    folder = tmp_path / "run"
    process = started(long_recipe, folder)
    try:
        if when == "they train":
            awaited(lambda: (folder / "checkpoints" / "last" / "state.pt").is_file(), process)
        (second,) = awaited(lambda: children(process.pid), process)
    finally:
        process.kill()
        process.wait()
    end = time.monotonic() + LIMIT_SECONDS
    while is_running(second) and time.monotonic() < end:
        time.sleep(0.1)
    survived = is_running(second)
    if survived:
        os.kill(second, signal.SIGKILL)
    process.stderr.close()
    assert not survived


# The folder -------------------------------------------------------------------------------------------------------


def test_a_link_to_the_folder_is_the_same_run(small_recipe, tmp_path):
    folder, link, above = tmp_path / "a" / "run", tmp_path / "link", tmp_path / "other"
    folder.parent.mkdir()
    link.symlink_to(folder)
    above.symlink_to(folder.parent)
    for first, second in ((folder, link), (link, folder), (folder, above / "run"), (above / "run", link)):
        with RunFolder(first).locked(), pytest.raises(TrainingError, match="Another process is training"), RunFolder(second).locked():
            pass
    train_run(small_recipe, run_folder=link, seed=0, show_progress=False)
    assert link.is_symlink()
    assert RunFolder(folder).info()["status"] == "completed"
    train_run(small_recipe, run_folder=link, seed=1, overwrite=True, show_progress=False)
    assert link.is_symlink()
    assert RunFolder(folder).info()["seed"] == 1


def test_the_record_is_on_disk_before_the_state_that_counts_on_it(small_recipe, tmp_path, monkeypatch):
    folder, events, fsync, replace = tmp_path / "run", [], os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        events.append(("on disk", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        fsync(descriptor)

    def noted_replace(source, target) -> None:
        events.append(("named", Path(target).name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    train_run(changed(small_recipe, training={"epochs": 1}), run_folder=folder, seed=0, show_progress=False)
    named = events.index(("named", "state.pt"))
    for name in ("metrics.jsonl", "timing.jsonl", "model.safetensors", "config.json", "run", "state.pt.part"):
        assert ("on disk", name) in events[:named], name


@pytest.mark.parametrize("spoil", ["content", "shape", "hostile"])
def test_a_state_that_does_not_fit_is_one_sentence(small_recipe, tmp_path, monkeypatch, spoil):
    folder = RunFolder(tmp_path / "run")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("multigrain.training.train.finish", interrupt)
    with pytest.raises(TrainingInterrupted):
        train_run(small_recipe, run_folder=folder.path, seed=0, show_progress=False)
    monkeypatch.undo()
    state = folder.load_last()
    state["progress"] |= {"epoch": 1, "is_finished": False}
    if spoil == "content":
        state["progress"] |= {"epoch": "x"}
    elif spoil == "shape":
        state["model"] = {name: torch.zeros(1) for name in state["model"]}
    torch.save(state, folder.last_file)
    if spoil == "hostile":
        folder.last_file.write_bytes(b"\x80\x02}" + b")" + b"\x85" * 30_000 + b"K\x01s.")
    with pytest.raises(TrainingError, match="is damaged"):
        train_run(small_recipe, run_folder=folder.path, seed=0, resume=True, show_progress=False)


@pytest.mark.parametrize("fault", [OSError(5, "Input/output error"), MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_a_fault_of_disk_or_memory_tells_nobody_to_delete_the_run(tmp_path, fault):
    with pytest.raises(TrainingError, match="could not be read") as caught, RunFolder(tmp_path / "run").state_errors():
        raise fault
    assert "--overwrite" not in str(caught.value)
