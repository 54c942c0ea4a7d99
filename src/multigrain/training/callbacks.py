"""What happens around an epoch: seeds before it; metrics, logs, best checkpoint and resume state after it; a line on the console."""

import json
import random
import time
import warnings
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from multigrain.evaluation.by_store import metrics_by_store
from multigrain.losses import task_loss
from multigrain.metrics import compute_metrics
from multigrain.training.interruption import interrupt_held_back
from multigrain.training.module import TrainingModule
from multigrain.training.recipe import Recipe
from multigrain.training.run_folder import RunFolder, finite, write_errors

VISIBLE_SECONDS = 20.0
"""Within a long epoch, a line is printed at least this often."""


def reseed(seed: int, epoch: int, rank: int = 0) -> None:
    """Seeds every generator from (seed, epoch, rank), so that an epoch is the same whether or not the run was resumed before it."""
    value = int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


class EpochRecorder(Callback):
    """Seeds each epoch and keeps its record: metrics.jsonl and timing.jsonl first, then the best checkpoint, then the resume state."""

    def __init__(self, recipe: Recipe, folder: RunFolder, seed: int, higher_is_better: bool):
        self.recipe, self.folder, self.seed, self.higher_is_better = recipe, folder, seed, higher_is_better
        self.record: dict[str, Any] = {}
        self.timing: dict[str, Any] = {}
        self._started, self._trained = 0.0, 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Seeds the epoch."""
        assert isinstance(pl_module, TrainingModule)
        reseed(self.seed, pl_module.progress.epoch + 1, trainer.global_rank)
        self._started = time.perf_counter()

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Logs a step, where the recipe asks for it."""
        every = self.recipe.training.log_every
        assert isinstance(pl_module, TrainingModule)
        if every and (pl_module.progress.step + 1) % every == 0 and trainer.is_global_zero:
            mean = pl_module.train_loss_sum / max(1, pl_module.train_utterances)
            with write_errors(self.folder.path), interrupt_held_back():
                for logger in trainer.loggers:
                    logger.log_metrics({"running_train_loss": mean}, step=pl_module.progress.step + 1)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Takes the time of the training part."""
        self._trained = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keeps the epoch's record."""
        module = pl_module
        assert isinstance(module, TrainingModule)
        train_loss = module.train_loss()
        task, progress = module.model.task, module.progress
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a constant prediction is nothing to warn of in the first epochs
            answers = task.answers(module.valid_prediction).numpy()
            valid = compute_metrics(task, answers, module.valid_label.numpy(), self.recipe.evaluation.convention)
            valid_of = metrics_by_store(
                task, answers, module.valid_label.numpy(), module.valid_ids, self.recipe.data.store_names, self.recipe.evaluation.convention
            )
        valid_loss = task_loss(task, module.valid_prediction, module.valid_label, module.loss, module.class_weights).item()
        monitor = self.recipe.training.monitor
        score = valid_loss if monitor == "valid_loss" else valid[monitor]
        is_kept = progress.finish_epoch(valid_loss, score, self.higher_is_better, self.recipe.training)
        trainer.should_stop = trainer.should_stop or progress.is_finished
        self.record = {
            "epoch": progress.epoch,
            "step": progress.step,
            "train_loss": train_loss,
            "valid_loss": valid_loss,
            "learning_rate": module.learning_rate,
            "valid": valid,
        } | ({"valid_by_store": valid_of} if valid_of else {})
        self.timing = self._timing(module)
        if trainer.is_global_zero:
            self._write(trainer, module, is_kept)
        trainer.strategy.barrier("epoch recorded")

    def _timing(self, module: TrainingModule) -> dict[str, Any]:
        now = time.perf_counter()
        return {
            "epoch": module.progress.epoch,
            "seconds": now - self._started,
            "utterances_per_second": module.train_batches.bucket_sampler.num_utterances / max(1e-9, self._trained - self._started),
            "padding_waste": module.train_batches.bucket_sampler.padding_waste(),
        }

    def _write(self, trainer: lightning.Trainer, module: TrainingModule, is_kept: bool) -> None:
        with write_errors(self.folder.path), interrupt_held_back():
            self.folder.append(self.folder.metrics_file, self.record)
            self.folder.append(self.folder.timing_file, self.timing)
            if is_kept:
                self.folder.save_best(module.model)
            log_epoch(trainer.loggers, json.loads(json.dumps(self.record)), self.timing)
            self.folder.save_last(
                {
                    "progress": module.progress.to_dict(),
                    "model": module.model.state_dict(),
                    "optimizer": trainer.optimizers[0].state_dict(),
                    "precision": trainer.precision_plugin.state_dict(),
                }
            )


def log_epoch(loggers: list[Any], record: dict[str, Any], timing: dict[str, Any]) -> None:
    """Passes an epoch's numbers to TensorBoard, CSV and the others."""
    values = {key: record[key] for key in ("train_loss", "valid_loss", "learning_rate")}
    values |= {f"valid/{name}": value for name, value in record["valid"].items()}
    values |= {f"valid/{store}/{name}": value for store, own in record.get("valid_by_store", {}).items() for name, value in own.items()}
    values |= {name: timing[name] for name in ("seconds", "utterances_per_second", "padding_waste")}
    known = {name: value for name, value in finite(values).items() if value is not None}
    for logger in loggers:
        logger.log_metrics({**known, "epoch": record["epoch"]}, step=record["step"])
        logger.save()


class ConsoleProgress(Callback):
    """Prints one line an epoch, and within a long epoch how far it has come."""

    def __init__(self, recorder: EpochRecorder, console: Console, monitor: str):
        self.recorder, self.console, self.monitor = recorder, console, monitor
        self._printed = time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Prints what is trained."""
        assert isinstance(pl_module, TrainingModule)
        model, module = pl_module.model, pl_module
        parameters = sum(parameter.numel() for parameter in model.parameters())
        self._print(
            f"{model.name}: {parameters:,} parameters; {module.train_batches.bucket_sampler.num_utterances:,} utterances to train on, "
            f"{len(module.valid_batches.split):,} to validate; {len(module.train_batches):,} steps an epoch, at most {module.recipe.epochs} epochs"
        )

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Shows life in a long epoch."""
        if time.monotonic() - self._printed > VISIBLE_SECONDS:
            assert isinstance(pl_module, TrainingModule)
            mean = pl_module.train_loss_sum / max(1, pl_module.train_utterances)
            total = len(pl_module.train_batches)
            self._print(f"  epoch {pl_module.progress.epoch + 1}: step {batch_idx + 1} of {total}, train loss so far {mean:.4f}")

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Prints the epoch's line; runs after the recorder."""
        assert isinstance(pl_module, TrainingModule)
        record, timing, progress = self.recorder.record, self.recorder.timing, pl_module.progress
        shown = self.monitor if self.monitor in record["valid"] else next(iter(record["valid"]))
        self._print(
            f"epoch {record['epoch']:>3}/{pl_module.recipe.epochs}  train loss {record['train_loss']:.4f}  valid loss {record['valid_loss']:.4f}  "
            f"{shown} {record['valid'][shown]:.4f}  {timing['utterances_per_second']:,.0f} utterances/s  "
            f"padding {100 * timing['padding_waste']:.0f} %  {timing['seconds']:.1f} s{'  best' if progress.best_epoch == progress.epoch else ''}"
        )

    def _print(self, line: str) -> None:
        self._printed = time.monotonic()
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
