"""What a run carries from epoch to epoch: the best one so far, the plateau schedule, early stopping."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from multigrain.training.recipe import TrainingRecipe


@dataclass
class Progress:
    """Where a run stands after its last whole epoch; the resume state holds exactly this beside weights and optimiser.

    Attributes:
        epoch: whole epochs done; also the number of the last one, counted from 1.
        step: optimiser steps done.
        best_epoch: epoch of the best validation score; 0 before the first.
        best_score: that score.
        plateau_loss: lowest validation loss that the plateau schedule has seen.
        plateau_wait: epochs since then, or since the rate was last lowered.
        rate_factor: what the plateau schedule has made of the learning rate so far.
        is_finished: True when no further epoch is due.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_score: float = math.nan
    plateau_loss: float = math.inf
    plateau_wait: int = 0
    rate_factor: float = 1.0
    is_finished: bool = False

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Progress":
        """The inverse of `to_dict`.

        Raises:
            TypeError, KeyError: a value is missing or of another type.
        """
        for entry in fields(cls):
            kinds: Any = (int, float) if entry.type is float else entry.type
            if not isinstance(values[entry.name], kinds):
                raise TypeError(f"{entry.name} is {values[entry.name]!r}")
        return cls(**values)

    def finish_epoch(self, valid_loss: float, score: float, higher_is_better: bool, recipe: TrainingRecipe) -> bool:
        """Takes note of an epoch's validation, and decides on the learning rate and on stopping.

        Args:
            valid_loss: of the whole validation split.
            score: of the metric that is monitored; never better than another when it is NaN.
            higher_is_better: direction of `score`.
            recipe: patience, factor and number of epochs.

        Returns:
            True when this epoch's weights are to be kept: it is the best so far, or `recipe.keep` is `last`.
        """
        self.epoch += 1
        sign = 1.0 if higher_is_better else -1.0
        is_best = self.best_epoch == 0 or sign * score > sign * self.best_score or (math.isnan(self.best_score) and not math.isnan(score))
        if is_best:
            self.best_epoch, self.best_score = self.epoch, score
        if recipe.schedule == "plateau":
            self._watch_plateau(valid_loss, recipe)
        patience = recipe.early_stopping_patience
        has_stalled = patience is not None and self.epoch - self.best_epoch >= patience
        self.is_finished = has_stalled or self.epoch >= recipe.epochs
        return is_best or recipe.keep == "last"

    def _watch_plateau(self, valid_loss: float, recipe: TrainingRecipe) -> None:
        if valid_loss < self.plateau_loss:
            self.plateau_loss, self.plateau_wait = valid_loss, 0
            return
        self.plateau_wait += 1
        if self.plateau_wait > recipe.plateau_patience:
            self.rate_factor *= recipe.plateau_factor
            self.plateau_wait = 0

    def rate(self, share_done: float, recipe: TrainingRecipe) -> float:
        """What the base learning rate is multiplied by in the coming step.

        Args:
            share_done: of the whole training, 0..1.
            recipe: schedule and warm-up.
        """
        warm = min(1.0, (self.step + 1) / recipe.warmup_steps) if recipe.warmup_steps else 1.0
        if recipe.schedule == "cosine":
            return warm * 0.5 * (1.0 + math.cos(math.pi * share_done))
        return warm * self.rate_factor

    def to_dict(self) -> dict[str, Any]:
        """The state as plain values."""
        return asdict(self)
