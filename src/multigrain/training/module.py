"""The step of the one training loop: any model, its loss, its learning rate, and the stop at a loss that is not finite."""

import math
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
import torch.distributed
from torch import Tensor

from multigrain.errors import TrainingError
from multigrain.losses import balanced_weights, loss_name, task_loss
from multigrain.models.base import MultimodalModel
from multigrain.schema import ModelOutput
from multigrain.training.epoch_batches import BatchPart, EpochBatches
from multigrain.training.progress import Progress
from multigrain.training.recipe import TrainingRecipe


class TrainingModule(lightning.LightningModule):
    """Wraps a model for Lightning; uses the model's hooks `parameter_groups`, `set_progress` and `after_step`.

    Attributes:
        model: what is trained.
        progress: where the run stands.
        train_loss_sum, train_utterances: of the running epoch, over this process's utterances.
        valid_prediction, valid_label: of the last validation, over the whole split: (utterances, head_dim), (utterances, label_dim).
        valid_ids: the utterances' ids, in the same order.
    """

    def __init__(self, model: MultimodalModel, recipe: TrainingRecipe, train_batches: EpochBatches, valid_batches: EpochBatches):
        super().__init__()
        self.model, self.recipe = model, recipe
        self.train_batches, self.valid_batches = train_batches, valid_batches
        self.progress = Progress()
        self.optimizer_state: dict[str, Any] | None = None
        self.loss = loss_name(model.task, recipe.loss)
        self.class_weights: Tensor | None = None
        if recipe.class_weights == "balanced":
            labels = train_batches.split.labels
            assert labels is not None  # checked before training begins
            self.class_weights = balanced_weights(model.task, labels)
        self.base_rates: list[float] = []
        self.train_loss_sum, self.train_utterances, self.learning_rate = 0.0, 0, 0.0
        self.valid_prediction, self.valid_label = torch.empty(0, 0), torch.empty(0, 0)
        self.valid_ids: tuple[str, ...] = ()
        self._valid_parts: list[tuple[Tensor, Tensor, tuple[str, ...]]] = []
        self._step: tuple[BatchPart, ModelOutput, float] | None = None

    # Data and optimiser -----------------------------------------------------------------------------------------

    def train_dataloader(self) -> EpochBatches:
        """The coming epoch's batches; asked for anew every epoch."""
        self.train_batches.bucket_sampler.set_epoch(self.progress.epoch)
        return self.train_batches

    def val_dataloader(self) -> EpochBatches:
        """The validation split."""
        return self.valid_batches

    def transfer_batch_to_device(self, batch: BatchPart, device: torch.device, dataloader_idx: int) -> BatchPart:
        """Moves a part; nothing is copied on CPU."""
        return batch if device.type == "cpu" else batch.to(device)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam or AdamW over the model's own parameter groups, as it stood when the run is resumed."""
        recipe = self.recipe
        groups = self.model.parameter_groups(recipe.learning_rate)
        self.base_rates = [group.get("lr", recipe.learning_rate) for group in groups]
        kind: type[torch.optim.Adam] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
        fused = recipe.precision != "16-mixed"  # gradients are unscaled before they are clipped, which a fused step cannot have
        optimizer = kind(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=fused)
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
            self.optimizer_state = None
        return optimizer

    # Training ---------------------------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        """Starts the epoch's sums."""
        self.train_loss_sum, self.train_utterances = 0.0, 0

    def training_step(self, part: BatchPart, batch_index: int) -> Tensor:
        """The loss of a batch: the task's, and the model's own auxiliary terms."""
        share_done = (self.progress.epoch + batch_index / len(self.train_batches)) / self.recipe.epochs
        self._set_learning_rate(share_done)
        self.model.set_progress(share_done)
        output = self.model(part.batch)
        assert part.batch.label is not None
        loss = task_loss(self.model.task, output.prediction, part.batch.label, self.loss, self.class_weights)
        for term in output.losses.values():
            loss = loss + term
        value = loss.item()
        self._step = (part, output, value)
        if self.trainer.world_size == 1 and not math.isfinite(value):
            self._stop("the loss", value, part.batch.ids)
        self.train_loss_sum += value * part.utterances
        self.train_utterances += part.utterances
        return loss if part.weight == 1.0 else loss * part.weight

    def _set_learning_rate(self, share_done: float) -> None:
        factor = self.progress.rate(share_done, self.recipe)
        groups = self.trainer.optimizers[0].param_groups
        for group, base_rate in zip(groups, self.base_rates, strict=True):
            group["lr"] = base_rate * factor
        self.learning_rate = groups[0]["lr"]

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: int | float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips the norm of all gradients together, and stops where it is not finite."""
        limit = math.inf if self.recipe.gradient_clip is None else self.recipe.gradient_clip
        trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]  # listed there once, not found anew each step
        norm = torch.nn.utils.clip_grad_norm_(trained, limit).item()
        if math.isfinite(norm) or self.recipe.precision == "16-mixed":  # there the scaler skips such a step and lowers its scale
            return
        assert self._step is not None
        part, _, value = self._step
        what, found, ids = ("the gradient", norm, part.batch.ids) if math.isfinite(value) else ("the loss", value, part.batch.ids)
        if self.trainer.world_size > 1:  # every process gets here, since gradients are shared: name the one whose loss it was
            reports: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(reports, (what, found, ids))
            what, found, ids = min(reports, key=lambda report: report[0] != "the loss")
        self._stop(what, found, ids)

    def _stop(self, what: str, value: float, ids: tuple[str, ...]) -> None:
        progress = self.progress
        kept = f"The checkpoints of epoch {progress.epoch} are intact" if progress.epoch else "No epoch was finished"
        raise TrainingError(
            f"In epoch {progress.epoch + 1}, step {progress.step + 1}, {what} is {value}. The batch's utterances: {', '.join(ids)}. {kept}. "
            "Look for extreme features with `multigrain data doctor`, set data.normalise and data.clip, or lower training.learning_rate."
        )

    def on_train_batch_end(self, outputs: Any, part: BatchPart, batch_index: int) -> None:
        """Lets the model follow the step (moving averages, pseudo-labels)."""
        assert self._step is not None
        self.model.after_step(part.batch, self._step[1])
        self._step = None
        self.progress.step += 1

    # Validation -------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Starts an empty list of predictions."""
        self._valid_parts = []

    def validation_step(self, part: BatchPart, batch_index: int) -> None:
        """Predicts a batch; nothing is averaged over batches."""
        count = part.utterances
        if count:
            assert part.batch.label is not None
            prediction = self.model(part.batch).prediction.float()
            self._valid_parts.append((prediction[:count].cpu(), part.batch.label[:count].cpu(), part.batch.ids[:count]))

    def on_validation_epoch_end(self) -> None:
        """Puts the whole split together, from all processes."""
        parts = self._valid_parts
        if self.trainer.world_size > 1:
            gathered: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(gathered, parts)
            parts = [part for process in gathered for part in process]
        self.valid_prediction = torch.cat([prediction for prediction, _, _ in parts])
        self.valid_label = torch.cat([label for _, label, _ in parts])
        self.valid_ids = tuple(name for _, _, names in parts for name in names)
        self._valid_parts = []
        wrong = np.flatnonzero(~torch.isfinite(self.valid_prediction).all(dim=1).numpy())
        if wrong.size:
            self._stop("a validation prediction", math.nan, tuple(self.valid_ids[index] for index in wrong[:10]))

    def train_loss(self) -> float:
        """Mean loss over the epoch's utterances, those of all processes."""
        sums = torch.tensor([self.train_loss_sum, float(self.train_utterances)], dtype=torch.float64)
        if self.trainer.world_size > 1:
            gathered: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(gathered, sums.tolist())
            sums = torch.tensor(gathered, dtype=torch.float64).sum(dim=0)
        return float(sums[0] / sums[1])
