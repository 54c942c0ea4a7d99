"""Disks that are full or read-only: a small file system in memory stands for them."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from small_run import changed

from multigrain.errors import TrainingError
from multigrain.training.train import train_run


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode != 0:
        pytest.skip(f"mounting a file system in memory is not allowed here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(small_recipe, tmp_path):
    recipe = changed(small_recipe, training={"epochs": 4})
    with mounted(tmp_path / "disk", "size=4m") as disk:
        filler = disk / "filler"
        written = []

        class Fill:
            """Takes what is left of the disk after the first epoch."""

            def __init__(self, append):
                self.append = append

            def __call__(self, folder, path, values) -> None:
                self.append(folder, path, values)
                written.append(path.name)
                if written.count("timing.jsonl") == 1 and not filler.exists():
                    space = os.statvfs(disk)
                    filler.write_bytes(b"0" * (space.f_bavail * space.f_frsize))

        from multigrain.training.run_folder import RunFolder

        fill = Fill(RunFolder.append)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RunFolder, "append", lambda *arguments: fill(*arguments))
            message = r"The run folder .*disk/run cannot be written: .*No space left on device.* Free some space .* continue with --resume"
            with pytest.raises(TrainingError, match=message):
                train_run(recipe, run_folder=disk / "run", seed=1, show_progress=False)
        filler.unlink()
        assert json.loads((disk / "run" / "run.json").read_text())["status"] in ("running", "failed")
        train_run(recipe, run_folder=disk / "run", seed=1, resume=True, show_progress=False)
        train_run(recipe, run_folder=tmp_path / "whole", seed=1, show_progress=False)
        assert (disk / "run" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_a_read_only_disk_is_named(small_recipe, tmp_path):
    with mounted(tmp_path / "disk", "size=1m,ro") as disk:
        message = r"The run folder .*disk/run cannot be written: Read-only file system .* or choose another --run-folder"
        with pytest.raises(TrainingError, match=message):
            train_run(small_recipe, run_folder=disk / "run", seed=1, show_progress=False)


def test_a_run_folder_that_became_read_only_is_named(small_recipe, tmp_path):
    with mounted(tmp_path / "disk", "size=4m") as disk:
        train_run(changed(small_recipe, training={"epochs": 1}), run_folder=disk / "run", seed=1, show_progress=False)
        info = disk / "run" / "run.json"
        info.write_text(json.dumps({**json.loads(info.read_text()), "status": "running"}))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(TrainingError, match="cannot be written: Read-only file system"):
            train_run(changed(small_recipe, training={"epochs": 1}), run_folder=disk / "run", seed=1, resume=True, show_progress=False)
