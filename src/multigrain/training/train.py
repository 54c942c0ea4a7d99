"""Training one run from a recipe and a seed: the only training loop there is."""

import datetime
import logging
import os
import platform
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from rich.console import Console

from multigrain import __version__
from multigrain.data.batchable import BatchableSplit
from multigrain.data.batching import LengthBucketSampler
from multigrain.data.joint_store import JointStore
from multigrain.data.store import Store
from multigrain.data.store_draw import StoreDraw
from multigrain.errors import MultigrainError, RecipeError, TrainingError, nearest
from multigrain.language.reader import TextReader
from multigrain.losses import loss_name
from multigrain.metrics import metrics_for
from multigrain.models import MODELS, build_model
from multigrain.models.base import MultimodalModel
from multigrain.schema import Task
from multigrain.training.callbacks import ConsoleProgress, EpochRecorder, log_epoch, reseed
from multigrain.training.compatibility import (
    check_accelerator,
    check_alignment,
    check_contexts,
    check_every_store_is_read,
    check_labels,
    check_vectors,
    choose_modalities,
)
from multigrain.training.epoch_batches import EpochBatches
from multigrain.training.finish import finish
from multigrain.training.interruption import Terminated, terminated_by_sigterm
from multigrain.training.loggers import check_loggers, make_loggers
from multigrain.training.modality_dropout import ModalityDropout, warn_without_effect
from multigrain.training.module import TrainingModule
from multigrain.training.open_data import open_data, open_text_reader, with_languages
from multigrain.training.processes import follow_the_first, further_processes, last_words_held_back, process_rank
from multigrain.training.progress import Progress
from multigrain.training.recipe import Recipe, TrainingRecipe
from multigrain.training.resume_check import check_resume, text_encoder_facts
from multigrain.training.run_folder import RunFolder, write_errors

logger = logging.getLogger(__name__)


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; the message says how to go on.

    Attributes:
        is_by_sigterm: which of them.
    """

    def __init__(self, message: str, *, is_by_sigterm: bool = False) -> None:
        super().__init__(message)
        self.is_by_sigterm = is_by_sigterm


def train_run(
    recipe: Recipe, *, run_folder: str | Path, seed: int, resume: bool = False, overwrite: bool = False, show_progress: bool = True
) -> dict[str, Any]:
    """Trains a model, chooses the best epoch by validation, and scores it once on the valid and test splits.

    Args:
        recipe: from `load_recipe`.
        run_folder: where everything of this run goes, and nothing of any other; see `docs/architecture.md`.
        seed: of the weights, the order of the data and dropout.
        resume: continue a run that was interrupted; a completed one is left as it is.
        overwrite: delete a run that is in the folder.
        show_progress: print a line an epoch to stderr.

    Returns:
        What results.json holds.

    Raises:
        MultigrainError: what is wrong with recipe, store or folder; or a loss that is not finite.
        TrainingInterrupted: Ctrl-C or SIGTERM; the run can be resumed.
    """
    if process_rank() > 0:  # the other processes of DDP run this function too
        follow_the_first()
        with last_words_held_back():
            return _train(recipe, RunFolder(run_folder), seed, resume=resume, overwrite=overwrite, show_progress=False)
    with terminated_by_sigterm():
        return _train(recipe, RunFolder(run_folder), seed, resume=resume, overwrite=overwrite, show_progress=show_progress)


def _train(recipe: Recipe, folder: RunFolder, seed: int, *, resume: bool, overwrite: bool, show_progress: bool) -> dict[str, Any]:
    is_first = process_rank() == 0
    console = Console(stderr=True, quiet=not show_progress)
    reader = open_text_reader(recipe)
    if reader is not None:
        console.print(f"Text encoder {reader.source.in_words}; {reader.settings.mode}", highlight=False, markup=False, soft_wrap=True)
    check_accelerator(recipe.training)
    store = open_data(recipe, reader)
    reader = None if reader is None else with_languages(reader, store)
    model, higher_is_better = prepare_model(recipe, store, seed, reader)
    with folder.locked() if is_first else nullcontext():
        return _train_in(folder, recipe, store, model, seed, higher_is_better, console, resume=resume, overwrite=overwrite)


def _train_in(
    folder: RunFolder,
    recipe: Recipe,
    store: Store | JointStore,
    model: MultimodalModel,
    seed: int,
    higher_is_better: bool,
    console: Console,
    *,
    resume: bool,
    overwrite: bool,
) -> dict[str, Any]:
    is_first = process_rank() == 0
    if is_first:
        if resume and folder.path.exists():
            check_resume(folder, recipe, store, seed, model)
            if folder.info()["status"] == "completed":
                console.print(f"The run {folder.path} is complete; there is nothing to resume.", highlight=False, soft_wrap=True)
                return folder.results()
            if not folder.last_file.is_file():
                console.print(f"{folder.path} holds no saved state, since no epoch was finished: it begins anew.", highlight=False, soft_wrap=True)
            with write_errors(folder.path):
                folder.set_status("running")
        else:
            if resume:
                console.print(f"There is no run at {folder.path} to resume: it begins anew.", highlight=False, soft_wrap=True)
            folder.create(recipe, _run_info(folder, recipe, store, seed, model), overwrite=overwrite)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(recipe.training.num_threads or threads)
        fit(recipe, folder, store, model, seed, higher_is_better, console)
        return finish(recipe, folder, store, model) if is_first else {}
    except KeyboardInterrupt as error:
        _note_status(folder, "interrupted")
        is_by_sigterm = isinstance(error, Terminated)
        how = "Ended by SIGTERM" if is_by_sigterm else "Interrupted"
        raise TrainingInterrupted(f"{how}. Continue with: multigrain train --resume {folder.path}", is_by_sigterm=is_by_sigterm) from error
    except Exception:  # whatever it was, the run is no longer running; it goes on to the caller
        _note_status(folder, "failed")
        raise
    finally:
        torch.set_num_threads(threads)


def prepare_model(recipe: Recipe, store: Store | JointStore, seed: int, reader: TextReader | None = None) -> tuple[MultimodalModel, bool]:
    """A fresh model for a store, after checking that recipe, store and model go together.

    Args:
        recipe: names the model and everything about it.
        store: from `open_data`.
        seed: of its weights.
        reader: the language model that `store` was opened for, or None.

    Returns:
        The model, and whether a higher value of the monitored metric is better.

    Raises:
        MultigrainError: they do not.
    """
    task = recipe.task.apply(store.task)
    if task.label_dim != store.task.label_dim:
        raise RecipeError(f"task.kind is {task.kind!r}, but the store {store} has labels for {store.task.kind!r}. Leave task.kind out.")
    loss_name(task, recipe.training.loss)
    if recipe.training.class_weights != "none" and task.kind != "classification":
        raise RecipeError(
            f"training.class_weights is {recipe.training.class_weights!r}, but the task is of kind {task.kind!r} without classes. Set it to none, or "
            "set task.kind to classification."
        )
    check_loggers(recipe.training.loggers)
    higher_is_better = monitor_direction(recipe.training.monitor, task, recipe.evaluation.convention)
    names = choose_modalities(store, MODELS[recipe.model.name].modalities, recipe.data.modalities)
    check_vectors(store, names)
    for split in ("train", "valid"):
        check_labels(store.split(split), task.label_dim)
    reseed(seed, 0)
    features = {name: store.features[name] for name in names}
    chosen, data = recipe.model, recipe.data
    model = build_model(chosen.name, chosen.config, task, features, normalise=data.normalise, clip=data.clip, text_reader=reader)
    if reader is not None and model.text_encoder is None:
        logger.warning("The recipe has a text_encoder, which has no effect: the model %s reads %s.", model.name, ", ".join(model.features))
    check_every_store_is_read(model, store)
    check_alignment(model, list(store.splits.values()))
    check_contexts(recipe.training, model, store)
    warn_without_effect(recipe.training.modality_dropout, list(model.features))
    return model, higher_is_better


def monitor_direction(monitor: str, task: Task, convention: str) -> bool:
    """Whether a higher value of a validation metric is better.

    Raises:
        RecipeError: the task has no such metric under this convention.
    """
    if monitor == "valid_loss":
        return False
    metrics = metrics_for(task, convention)
    if monitor not in metrics:
        known = ["valid_loss", *metrics]
        raise RecipeError(
            f"training.monitor is {monitor!r}; expected one of {', '.join(known)} (a {task.kind} task, convention {convention!r})."
            f"{nearest(monitor, known)}"
        )
    return metrics[monitor].higher_is_better


def _run_info(folder: RunFolder, recipe: Recipe, store: Store | JointStore, seed: int, model: MultimodalModel) -> dict[str, Any]:
    return {
        "name": folder.path.name,
        "status": "running",
        "seed": seed,
        "recipe": recipe.name,
        "model": recipe.model.name,
        "multigrain_version": __version__,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": version("lightning"),
            "numpy": np.__version__,
        },
        "store": str(store),
        **({"stores": store.facts()} if isinstance(store, JointStore) else {}),
        "store_fingerprint": store.fingerprint,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **text_encoder_facts(model),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
    }


def fit(
    recipe: Recipe, folder: RunFolder, store: Store | JointStore, model: MultimodalModel, seed: int, higher_is_better: bool, console: Console
) -> None:
    """Trains from where the run folder stands to the last epoch; everything is left in the run folder."""
    training, is_first = recipe.training, process_rank() == 0
    state = folder.load_last()
    progress = Progress()
    if state:
        with folder.state_errors():
            progress = Progress.from_dict(state["progress"])
            model.load_state_dict(state["model"])
    if is_first:
        with write_errors(folder.path):
            folder.cut_back(progress.epoch)
    if progress.is_finished:
        return
    draw = store.draw(seed) if isinstance(store, JointStore) else None
    train_batches = _batches(store.split("train"), recipe, model, seed=seed, is_training=True, draw=draw)
    valid_batches = _batches(store.split("valid"), recipe, model, seed=seed, is_training=False)
    module = TrainingModule(model, training, train_batches, valid_batches)
    module.progress = progress
    recorder = EpochRecorder(recipe, folder, seed, higher_is_better)
    callbacks = [recorder, ConsoleProgress(recorder, console, training.monitor)]
    with _quiet_lightning(), write_errors(folder.path):
        loggers = _loggers(folder, training.loggers) if is_first else []
        trainer = _trainer(training, folder, loggers, callbacks, epochs=training.epochs - progress.epoch, skips_parameters=model.skips_parameters)
        if state:
            with folder.state_errors():
                module.optimizer_state = state["optimizer"]
                trainer.precision_plugin.load_state_dict(state["precision"])
        with _watched(training.devices, folder, console):
            _fit(trainer, module)


@contextmanager
def _watched(devices: int, folder: RunFolder, console: Console) -> Iterator[None]:
    """The time of training together: the further processes are started, and where one dies, that is the error.

    Raises:
        TrainingError: one died.
    """

    def in_words(death: str) -> str:
        return (
            f"Training in {folder.path} cannot go on: {death}. Where the system killed it, memory was probably too small: train with fewer devices "
            f"or smaller batches. Continue with: multigrain train --resume {folder.path}"
        )

    def give_up(death: str) -> None:
        _note_status(folder, "failed")
        console.print(f"Error: {in_words(death)}", highlight=False, markup=False, soft_wrap=True)
        os._exit(2)

    with further_processes(devices, give_up) as ranks:
        try:
            yield
        except MultigrainError:
            raise
        except (KeyboardInterrupt, Exception) as error:
            is_users = isinstance(error, KeyboardInterrupt) and not isinstance(error, Terminated)
            death = ranks.death if is_users or isinstance(error, Terminated) else ranks.await_death()
            if death is None or is_users:
                raise
            raise TrainingError(in_words(death)) from error


def _trainer(
    training: TrainingRecipe, folder: RunFolder, loggers: list[Any], callbacks: list[Any], *, epochs: int, skips_parameters: bool
) -> lightning.Trainer:
    """Lightning's trainer without whatever costs time in each step or prints: checkpoints, logs and lines are our callbacks'."""
    strategy = "ddp_find_unused_parameters_true" if skips_parameters else "ddp"
    return lightning.Trainer(
        accelerator=training.accelerator,
        devices=training.devices,
        strategy="auto" if training.devices == 1 else strategy,
        precision=training.precision,
        max_epochs=epochs,
        logger=loggers,
        callbacks=callbacks,
        default_root_dir=folder.path,
        use_distributed_sampler=False,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=10**9,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _batches(
    split: BatchableSplit, recipe: Recipe, model: MultimodalModel, *, seed: int, is_training: bool, draw: StoreDraw | None = None
) -> EpochBatches:
    names = list(model.features)
    training, lengths = recipe.training, {name: split.lengths(name) for name in names}
    is_by_context = training.batches == "by_context" if is_training else model.reads_shared_contexts
    contexts = split.contexts(names) if is_by_context else None
    sampler = LengthBucketSampler(
        lengths,
        batch_utterances=training.batch_utterances,
        batch_steps=training.batch_steps,
        shuffle=is_training,
        seed=seed,
        draw=draw,
        contexts=contexts,
    )
    drops = is_training and any(training.modality_dropout.get(name) for name in names)
    return EpochBatches(
        split,
        sampler,
        modalities=names,
        num_workers=training.num_workers,
        pin_memory=training.accelerator in ("auto", "gpu") and torch.cuda.is_available(),
        num_replicas=training.devices,
        rank=process_rank(),
        modality_dropout=ModalityDropout(training.modality_dropout, lengths, seed) if drops else None,
        shares_contexts=contexts is not None and model.reads_shared_contexts,
    )


def _loggers(folder: RunFolder, names: tuple[str, ...]) -> list[Any]:
    """The run's loggers, with the epochs that are already on record played back into TensorBoard and CSV."""
    loggers = make_loggers(folder, names)
    for record, timing in zip(folder.lines(folder.metrics_file), folder.lines(folder.timing_file), strict=True):
        log_epoch(loggers[:2], record, timing)
    return loggers


def _fit(trainer: lightning.Trainer, module: TrainingModule) -> None:
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if is_main else None
    # Lightning's own handler of SIGTERM waits for the other processes in the middle of whatever they do, and they for this one
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    try:
        trainer.fit(module)
    except SystemExit as error:  # Lightning makes an exit of a KeyboardInterrupt, which it is the context of
        raise (error.__context__ if isinstance(error.__context__, KeyboardInterrupt) else KeyboardInterrupt()) from error
    finally:
        if is_main:
            signal.signal(signal.SIGINT, handler)
        for entry in trainer.loggers:
            entry.finalize("success")


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning's notes on hardware, tips and its own settings say nothing to our users."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def _note_status(folder: RunFolder, status: str) -> None:
    """Notes how a run ended; where even that cannot be written, the error that ended it is what the user hears of."""
    try:
        if folder.is_run and process_rank() == 0:
            folder.set_status(status)
    except (OSError, MultigrainError) as error:
        logger.warning("The status %r could not be written into %s: %s", status, folder.info_file, error)
