"""Training several runs at once, each in a process of its own, with a line of progress whenever one has news.

A run's folder decides what happens to it: completed by the same recipe on the same store, it is reused; interrupted, it is
resumed; missing, it is trained; anything else is an error, since a run of another recipe must never stand in for this one.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from multigrain.errors import RecipeError
from multigrain.evaluation.evaluate import read_run
from multigrain.training.recipe import Recipe
from multigrain.training.run_folder import RunFolder

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.3
KEYS_WITHOUT_EFFECT = ("num_threads", "num_workers", "loggers", "log_every")
"""Training settings that do not change a run's numbers."""

Progress = Callable[[str], None]
"""Takes one line to show to the user."""


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a comparison.

    Attributes:
        name: the recipe's name in the comparison.
        recipe_source: the recipe's file or name, as the training command takes it.
        recipe: the same, resolved with the overrides.
        overrides: dotted overrides, as the training command takes them.
        seed: the run's seed.
        folder: where the run is or will be.
        store_fingerprint: of the store that it trains on.
    """

    name: str
    recipe_source: str
    recipe: Recipe
    overrides: tuple[str, ...]
    seed: int
    folder: Path
    store_fingerprint: str

    @property
    def title(self) -> str:
        """The run in the words of progress lines."""
        return f"{self.name} seed {self.seed}"

    @property
    def log(self) -> Path:
        """What the training command printed."""
        return self.folder.with_name(self.folder.name + ".log")


@dataclass(frozen=True)
class FailedRun:
    """A run that ended without results, and the last line that it printed."""

    name: str
    seed: int
    reason: str


@dataclass
class _Active:
    run: PlannedRun
    process: "subprocess.Popen[bytes]"
    log: IO[bytes]
    lines_seen: int = 0


def train_runs(
    runs: Sequence[PlannedRun], *, workers: int = 1, reuse: bool = True, overwrite: bool = False, progress: Progress = logger.info
) -> list[FailedRun]:
    """Trains every run that is not there yet, `workers` at a time.

    Args:
        runs: in the order in which to start them.
        workers: processes at once; with more than one each computes on a single thread.
        reuse: take completed runs of the same recipe, seed and store as they are; False trains all anew.
        overwrite: delete runs of another recipe or store that stand in the way.
        progress: shown one line at a time.

    Returns:
        The runs that failed; the others have their results in their folders.

    Raises:
        RecipeError: a folder holds a run of another recipe, seed or store and `overwrite` is False.
    """
    actions = [(run, planned_action(run, reuse=reuse, overwrite=overwrite)) for run in runs]
    for run, action in actions:
        if action == "reuse":
            progress(f"{run.title}: already trained, reused ({run.folder})")
    waiting = [(run, action) for run, action in actions if action != "reuse"]
    active: list[_Active] = []
    failed: list[FailedRun] = []
    try:
        while waiting or active:
            while waiting and len(active) < workers:
                run, action = waiting.pop(0)
                progress(f"{run.title}: {'resumed' if action == 'resume' else 'training'} ({run.folder})")
                active.append(_start(run, action, workers))
            time.sleep(POLL_SECONDS)
            for entry in list(active):
                _report_epochs(entry, progress)
                if entry.process.poll() is not None:
                    active.remove(entry)
                    entry.log.close()
                    failed.extend(_ended(entry, progress))
    finally:
        _stop(active)
    return failed


def planned_action(run: PlannedRun, *, reuse: bool = True, overwrite: bool = False) -> str:
    """What is to be done about a run: `reuse`, `resume` or `train`; deletes what `train` is to replace.

    Args:
        run: the planned run.
        reuse: take what the same recipe, seed and store left.
        overwrite: delete another run that is in the way.

    Raises:
        RecipeError: another run is in the way and `overwrite` is False.
    """
    folder = RunFolder(run.folder)
    if not run.folder.exists():
        return "train"
    difference = _difference(run, folder)
    if difference is None and not folder.is_run:
        return "train"
    if difference is None and reuse:
        return "reuse" if read_run(run.folder).is_completed else "resume"
    if difference is None or overwrite:
        if folder.is_run:
            shutil.rmtree(run.folder)
        return "train"
    raise RecipeError(
        f"{run.folder} holds another run than {run.title}: {difference}. It is not taken for this one. Add --overwrite to delete it and "
        "train anew, or name another folder with --runs-root."
    )


def _difference(run: PlannedRun, folder: RunFolder) -> str | None:
    """How what is in the folder differs from the planned run, or None."""
    if not folder.is_run:
        return None
    info = read_run(run.folder).run
    if info.get("seed") != run.seed:
        return f"its seed is {info.get('seed')}"
    if info.get("store_fingerprint") != run.store_fingerprint:
        return f"it was trained on another store ({info.get('store')}, whose content differs)"
    there, planned = _flat(folder.recipe()), _flat(run.recipe)
    for key in sorted(there.keys() | planned.keys()):
        if there.get(key) != planned.get(key):
            return f"its {key} is {there.get(key)!r}, not {planned.get(key)!r}"
    return None


def _flat(recipe: Recipe) -> dict[str, Any]:
    """The settings that decide a run's numbers, by dotted name; the store counts by its content alone."""
    ignored = {f"training.{key}" for key in KEYS_WITHOUT_EFFECT}
    flat = {f"{name}.{key}": value for name, section in recipe.decisive().items() for key, value in section.items()}
    return {key: value for key, value in flat.items() if key not in ignored}


def training_command(run: PlannedRun, action: str) -> list[str]:
    """The command that trains or resumes a run."""
    command = [sys.executable, "-m", "multigrain", "train"]
    if action == "resume":
        return [*command, "--resume", str(run.folder)]
    return [*command, run.recipe_source, *run.overrides, "--seed", str(run.seed), "--run-folder", str(run.folder)]


def _start(run: PlannedRun, action: str, workers: int) -> _Active:
    environment = {**os.environ, "COLUMNS": "2000", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    if workers > 1:
        environment |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    log = run.log.open("wb")
    process = subprocess.Popen(training_command(run, action), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment)
    return _Active(run, process, log, lines_seen=len(_epochs(run.folder)))


def _epochs(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _report_epochs(entry: _Active, progress: Progress) -> None:
    epochs = _epochs(entry.run.folder)
    for epoch in epochs[entry.lines_seen :]:
        parts = [f"{entry.run.title}: epoch {epoch['epoch']}"]
        parts += [f"{name.replace('_', ' ')} {epoch[name]:.4f}" for name in ("train_loss", "valid_loss") if epoch.get(name) is not None]
        correlation = (epoch.get("valid") or {}).get("correlation")
        parts += [] if correlation is None else [f"valid correlation {correlation:.3f}"]
        progress(", ".join(parts))
    entry.lines_seen = len(epochs)


def _ended(entry: _Active, progress: Progress) -> list[FailedRun]:
    run, code = entry.run, entry.process.returncode
    if code == 0 and run.folder.exists() and read_run(run.folder).is_completed:
        progress(f"{run.title}: done")
        return []
    reason = f"{_last_line(run.log) or 'it printed nothing'} (exit code {code}; all of its output is in {run.log})"
    progress(f"{run.title}: FAILED: {reason}")
    return [FailedRun(run.name, run.seed, reason)]


def _last_line(path: Path) -> str:
    lines = [line.strip(" │╭╰─╮╯") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")


def _stop(active: Sequence[_Active]) -> None:
    """Ends what still runs (after Ctrl-C), so that nothing trains on unseen; each run can be resumed."""
    for entry in active:
        entry.process.terminate()
    for entry in active:
        try:
            entry.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            entry.process.kill()
            entry.process.wait()
        entry.log.close()
