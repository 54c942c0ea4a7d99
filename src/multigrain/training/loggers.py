"""Loggers of a run: TensorBoard and CSV always, other Lightning loggers by name."""

import shutil
from collections.abc import Callable
from typing import Any

from multigrain.errors import RecipeError, nearest
from multigrain.training.run_folder import RunFolder


def _wandb(folder: RunFolder, name: str) -> Any:
    from lightning.pytorch.loggers import WandbLogger

    return WandbLogger(name=name, save_dir=folder.logs)


def _mlflow(folder: RunFolder, name: str) -> Any:
    from lightning.pytorch.loggers import MLFlowLogger

    return MLFlowLogger(experiment_name="multigrain", run_name=name, save_dir=str(folder.logs / "mlflow"))


def _comet(folder: RunFolder, name: str) -> Any:
    from lightning.pytorch.loggers import CometLogger

    return CometLogger(name=name)


OTHER_LOGGERS: dict[str, Callable[[RunFolder, str], Any]] = {"wandb": _wandb, "mlflow": _mlflow, "comet": _comet}


def check_loggers(names: tuple[str, ...]) -> None:
    """Checks the names of further loggers.

    Raises:
        RecipeError: a logger is unknown.
    """
    for name in names:
        if name not in OTHER_LOGGERS:
            raise RecipeError(
                f"training.loggers names {name!r}; expected some of {', '.join(OTHER_LOGGERS)}.{nearest(name, list(OTHER_LOGGERS))} "
                "TensorBoard and CSV logs are written in any case."
            )


def make_loggers(folder: RunFolder, names: tuple[str, ...]) -> list[Any]:
    """TensorBoard and CSV loggers under `logs/`, emptied (the record is played back into them), and those named.

    Raises:
        RecipeError: a logger is unknown, or its package is not installed or not set up.
    """
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    check_loggers(names)
    for kind in ("tensorboard", "csv"):
        shutil.rmtree(folder.logs / kind, ignore_errors=True)
    loggers: list[Any] = [
        TensorBoardLogger(save_dir=str(folder.logs), name="tensorboard", version="", default_hp_metric=False),
        CSVLogger(save_dir=str(folder.logs), name="csv", version=""),
    ]
    for name in names:
        try:
            loggers.append(OTHER_LOGGERS[name](folder, folder.path.name))
        except (ImportError, ValueError) as error:
            raise RecipeError(
                f"The logger {name!r} of training.loggers cannot be used: {error}. Install and set up its package (pip install {name}), "
                "or take it out of the recipe."
            ) from error
    return loggers
