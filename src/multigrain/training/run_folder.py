"""The folder of one run: what is in it, and how it is written so that a kill at any moment leaves it whole.

Small files are written beside and renamed; `metrics.jsonl` and `timing.jsonl` grow by one line an epoch, before the
resume state of that epoch is saved, and are cut back to it on resuming. The format is in `docs/architecture.md`.
"""

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout

from multigrain.data.torch_files import check_torch_pickle
from multigrain.errors import TrainingError
from multigrain.training.recipe import Recipe
from multigrain.training.recipe_file import recipe_from_dict

if TYPE_CHECKING:
    from multigrain.models.base import MultimodalModel


class RunFolder:
    """Paths and files of a run."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.recipe_file = self.path / "recipe.yaml"
        self.info_file = self.path / "run.json"
        self.metrics_file = self.path / "metrics.jsonl"
        self.timing_file = self.path / "timing.jsonl"
        self.results_file = self.path / "results.json"
        self.logs = self.path / "logs"
        self.best = self.path / "checkpoints" / "best"
        self.last_file = self.path / "checkpoints" / "last" / "state.pt"

    def predictions_file(self, split: str) -> Path:
        """Where a split's predictions are."""
        return self.path / "predictions" / f"{split}.csv"

    @property
    def is_run(self) -> bool:
        """True when a run was started here."""
        return self.info_file.is_file() and self.recipe_file.is_file()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training in this folder; the operating system takes the lock back when this one is killed.

        Raises:
            TrainingError: another process is training here, or nothing can be written beside the folder.
        """
        whole = self.path.resolve()  # a link to the folder, or to one above it, is another name of the same run
        with write_errors(self.path):
            whole.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(whole.with_name(f".{whole.name}.lock"), timeout=0)
            try:
                lock.acquire()
            except Timeout as error:
                raise TrainingError(f"Another process is training in {self.path}. Wait for it or stop it, or choose another --run-folder.") from error
        try:
            yield
        finally:
            Path(lock.lock_file).unlink(missing_ok=True)  # nobody waits for it: who finds it taken gives up at once
            lock.release()

    # Starting ---------------------------------------------------------------------------------------------------

    def create(self, recipe: Recipe, info: dict[str, Any], *, overwrite: bool = False) -> None:
        """Makes the folder of a new run, whole or not at all.

        Raises:
            TrainingError: there is a run or something else in it already, or it cannot be written.
        """
        if self.is_run and not overwrite:
            raise TrainingError(
                f"{self.path} already holds a run (status {self.info().get('status')!r}). Add --resume to continue it, --overwrite to "
                "delete it and start anew, or choose another --run-folder."
            )
        if not self.is_run and self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise TrainingError(
                f"{self.path} exists and is not a run folder, so it is left alone. Choose another --run-folder, or empty this one yourself."
            )
        with write_errors(self.path):
            if self.is_run:
                shutil.rmtree(self.path.resolve())
            place = self.path.resolve()
            beside = place.with_name(f".{place.name}.part-{os.getpid()}")
            beside.mkdir(parents=True)
            try:
                (beside / self.recipe_file.name).write_text(recipe.to_yaml(), encoding="utf-8")
                write_json(beside / self.info_file.name, info)
                os.rename(beside, place)
            except BaseException:
                shutil.rmtree(beside, ignore_errors=True)
                raise

    def recipe(self) -> Recipe:
        """The run's resolved recipe.

        Raises:
            TrainingError: this is no run folder.
            RecipeError: the recipe was edited into something that is not one.
        """
        if not self.is_run:
            raise TrainingError(
                f"{self.path} is not a run folder: expected recipe.yaml and run.json in it. Name the folder of a run, such as runs/NAME; "
                "to start a new run name a recipe."
            )
        return recipe_from_dict(yaml.safe_load(self.recipe_file.read_text(encoding="utf-8")), source=str(self.recipe_file))

    def info(self) -> dict[str, Any]:
        """The content of run.json."""
        return dict(json.loads(self.info_file.read_text(encoding="utf-8")))

    def set_status(self, status: str) -> None:
        """Changes the status in run.json."""
        write_json(self.info_file, {**self.info(), "status": status})

    # During training --------------------------------------------------------------------------------------------

    def append(self, path: Path, values: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl or timing.jsonl."""
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(values)) + "\n")
            file.flush()
            os.fsync(file.fileno())  # before the resume state says that this epoch is done

    def cut_back(self, epochs: int) -> None:
        """Drops what was written after the given number of whole epochs, and what a kill left half done.

        Raises:
            TrainingError: fewer epochs are on record than the resume state holds.
        """
        for path in (self.metrics_file, self.timing_file):
            lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
            if len(lines) < epochs:
                raise TrainingError(
                    f"{path} has {len(lines)} epochs, but the resume state in {self.last_file.parent} holds {epochs}: the folder was "
                    "changed since. Start the run anew with --overwrite."
                )
            write_text(path, "".join(line + "\n" for line in lines[:epochs]))
        beside = _former(self.best)
        if beside.is_dir() and not self.best.exists():  # killed between the two renames of save_best
            os.rename(beside, self.best)
        for leftover in [beside, *self.path.rglob("*.part")]:
            shutil.rmtree(leftover, ignore_errors=True) if leftover.is_dir() else leftover.unlink(missing_ok=True)

    def save_best(self, model: "MultimodalModel") -> None:
        """Replaces checkpoints/best by the model as it is; a kill leaves the old or the new one, never half of one."""
        beside, former = self.best.with_name("best.part"), _former(self.best)
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)
        try:
            beside.mkdir(parents=True)
            model.save_pretrained(beside)
            for path in [*beside.rglob("*"), beside]:
                _to_disk(path)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        if self.best.exists():
            os.rename(self.best, former)
        os.rename(beside, self.best)
        _to_disk(self.best.parent)
        shutil.rmtree(former, ignore_errors=True)

    def save_last(self, state: dict[str, Any]) -> None:
        """Replaces the resume state; a kill leaves the old or the new one."""
        import torch

        self.last_file.parent.mkdir(parents=True, exist_ok=True)
        _to_disk(self.path)  # the names of the files that this state counts on
        with _replacing(self.last_file) as beside, beside.open("wb") as file:
            torch.save(state, file)

    def load_last(self) -> dict[str, Any] | None:
        """The resume state, or None when no epoch has been finished.

        Raises:
            TrainingError: the file may not be read, or is damaged.
        """
        import torch

        if not self.last_file.is_file():
            return None
        try:
            file = self.last_file.open("rb")
        except OSError as error:
            raise TrainingError(
                f"The resume state {self.last_file} cannot be opened ({error.strerror}). Make it readable, and resume again."
            ) from error
        with file, self.state_errors():
            check_torch_pickle(self.last_file)
            return dict(torch.load(file, map_location="cpu", weights_only=True))

    @contextmanager
    def state_errors(self) -> Iterator[None]:
        """Turns what a damaged resume state leads to into one message: it fails in any of a dozen ways, from the zip archive to the model.

        Raises:
            TrainingError: something failed. Where the disk or the memory did, the state may be whole, and nobody is told to delete it.
        """
        import torch

        try:
            yield
        except (OSError, MemoryError, torch.OutOfMemoryError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise TrainingError(
                f"The resume state {self.last_file} could not be read ({reason}). That is no fault of its content. See that the "
                "disk answers and that there is memory, and resume again."
            ) from error
        except Exception as error:
            raise TrainingError(
                f"The resume state {self.last_file} is damaged ({type(error).__name__}), so that the run cannot go on. Start it anew with "
                "--overwrite, which deletes what is in the folder."
            ) from error

    def lines(self, path: Path) -> list[dict[str, Any]]:
        """The epochs on record in metrics.jsonl or timing.jsonl."""
        if not path.is_file():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def results(self) -> dict[str, Any]:
        """The content of results.json."""
        return dict(json.loads(self.results_file.read_text(encoding="utf-8")))


def _former(path: Path) -> Path:
    return path.with_name(path.name + ".former")


def finite(values: Any) -> Any:
    """The same values with NaN and infinities as None, which JSON has a word for."""
    if isinstance(values, dict):
        return {key: finite(value) for key, value in values.items()}
    return None if isinstance(values, float) and not math.isfinite(values) else values


def _to_disk(path: Path) -> None:
    """Waits until a file's content, or the names in a folder, would survive a loss of power."""
    if path.is_dir() and os.name == "nt":
        return  # there folders cannot be opened
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    beside = path.with_name(path.name + ".part")
    try:
        yield beside
        _to_disk(beside)
        os.replace(beside, path)
        _to_disk(path.parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a small file, whole or not at all."""
    with _replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes a JSON file, whole or not at all; NaN and infinities become null."""
    write_text(path, json.dumps(finite(values), indent=2) + "\n")


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Turns failures to write into one message.

    Raises:
        TrainingError: the disk is full, or the folder cannot be written.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        place = getattr(error, "filename", None) or folder
        raise TrainingError(
            f"The run folder {folder} cannot be written: {reason} ({place}). Free some space or mend its permissions, then continue "
            "with --resume; or choose another --run-folder."
        ) from error
