"""How well does a model do without? Its metrics under every subset of the modalities, and with a share of the frames missing.

A modality that is left out is absent, as in a store that lacks it. Frames are taken out as `missing_frames` says, the same ones for
every model. Decisions: docs/decisions/missing-modalities.md.
"""

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from multigrain.evaluation.evaluate import open_model_and_store, read_run, score
from multigrain.evaluation.missing_frames import FRAME_SEED, MissingFrames
from multigrain.evaluation.predict import predict_split
from multigrain.schema import MODALITIES, Batch

if TYPE_CHECKING:
    from multigrain.data.batchable import BatchableSplit
    from multigrain.models.base import MultimodalModel

logger = logging.getLogger(__name__)

MISSING_RATES: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shares of the frames that are missing."""

Progress = Callable[[str], None]
"""Takes one line to show to the user."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What the model is given.

    Attributes:
        modalities: those that are there.
        frames_missing_in: those of them whose frames are missing; empty where only whole modalities are.
        missing_rate: share of these frames that are missing, 0 .. 1.
    """

    modalities: tuple[str, ...]
    frames_missing_in: tuple[str, ...] = ()
    missing_rate: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ConditionResult:
    """How the model does under a condition.

    Attributes:
        condition: what the model was given.
        metrics: metric -> value, unrounded.
        utterances_without_input: those of which nothing at all was left to the model.
        is_constant: every utterance got the same scores, so that a correlation is 0 for want of anything to correlate.
    """

    condition: Condition
    metrics: dict[str, float]
    utterances_without_input: int
    is_constant: bool


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """A model's results under all conditions.

    Attributes:
        modalities: those that the model reads.
        split: which was predicted.
        num_utterances: in it.
        convention: of the metrics.
        seed: of the choice of missing frames.
        subsets: one result for each non-empty subset of the modalities, larger ones first.
        missing_frames: for each modality, and for all together, one result a rate, rates rising.
    """

    modalities: tuple[str, ...]
    split: str
    num_utterances: int
    convention: str
    seed: int
    subsets: tuple[ConditionResult, ...]
    missing_frames: tuple[ConditionResult, ...]

    @property
    def complete(self) -> ConditionResult:
        """With nothing missing."""
        return self.subsets[0]

    @property
    def results(self) -> tuple[ConditionResult, ...]:
        """All of them, that with nothing missing first."""
        return self.subsets + self.missing_frames

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return asdict(self)


def subset_conditions(modalities: Sequence[str]) -> list[Condition]:
    """Every non-empty subset: all first, then smaller ones, each size in the usual order."""
    return [Condition(modalities=subset) for size in range(len(modalities), 0, -1) for subset in combinations(modalities, size)]


def missing_frame_conditions(modalities: Sequence[str], rates: Sequence[float] = MISSING_RATES, *, is_aligned: bool = False) -> list[Condition]:
    """Each modality's frames at each rate, then those of all together.

    With one modality there is no together; for a model that needs as many steps in every modality there is nothing else.
    """
    names = tuple(modalities)
    affected = [names] if is_aligned or len(names) == 1 else [*((name,) for name in names), names]
    return [Condition(modalities=names, frames_missing_in=missing, missing_rate=rate) for missing in affected for rate in rates]


def measure_robustness(
    model: "MultimodalModel",
    split: "BatchableSplit",
    *,
    convention: str = "default",
    rates: Sequence[float] = MISSING_RATES,
    seed: int = FRAME_SEED,
    progress: Progress = logger.info,
) -> Robustness:
    """Predicts a split once under each condition, and scores it.

    Args:
        model: in any mode; it predicts without dropout, on the device that it is on.
        split: labelled, of a store whose features fit the model.
        convention: key of `multigrain.metrics.CONVENTIONS`.
        rates: shares of the frames that are missing, each in 0 .. 1.
        seed: of the choice of missing frames.
        progress: shown one line a condition.

    Raises:
        DataError: no labels, or an unknown convention.
    """
    names = tuple(name for name in MODALITIES if name in model.features)
    frames = MissingFrames(split, names, is_aligned=model.needs_alignment, seed=seed)
    subsets = subset_conditions(names)
    conditions = subsets + missing_frame_conditions(names, rates, is_aligned=model.needs_alignment)
    results = []
    for number, condition in enumerate(conditions, start=1):
        progress(f"condition {number} of {len(conditions)}")
        results.append(_measure(model, split, condition, frames, convention))
    return Robustness(
        modalities=names,
        split=split.name,
        num_utterances=len(split),
        convention=convention,
        seed=seed,
        subsets=tuple(results[: len(subsets)]),
        missing_frames=tuple(results[len(subsets) :]),
    )


def _measure(model: "MultimodalModel", split: "BatchableSplit", condition: Condition, frames: MissingFrames, convention: str) -> ConditionResult:
    without_input = 0

    def alter(batch: Batch, indices: np.ndarray) -> Batch:
        nonlocal without_input
        altered = apply_condition(batch, indices, condition, frames)
        without_input += int((~np.stack([sequence.is_present.numpy() for sequence in altered.modalities.values()]).any(axis=0)).sum())
        return altered

    predictions = predict_split(model, split, alter=alter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of constant predictions, which the result tells of itself
        metrics = score(model.task, predictions, split.name, convention)
    is_constant = bool(np.ptp(predictions.scores, axis=0).max() <= 1e-6)
    return ConditionResult(condition=condition, metrics=metrics, utterances_without_input=without_input, is_constant=is_constant)


def apply_condition(batch: Batch, indices: np.ndarray, condition: Condition, frames: MissingFrames) -> Batch:
    """A batch as the model is given it under a condition.

    Args:
        batch: with the modalities that the model reads; is left as it is.
        indices: its utterances' positions in the split.
        condition: what is missing.
        frames: which frames are.
    """
    left = batch.with_modalities({name: None for name in batch.modalities if name not in condition.modalities})
    if "text" not in condition.modalities:
        left = replace(left, tokens=None)
    return frames.remove(left, indices, dict.fromkeys(condition.frames_missing_in, condition.missing_rate))


def robustness_of_run(
    run_folder: str | os.PathLike[str],
    store: str | os.PathLike[str] | None = None,
    split: str = "test",
    convention: str = "default",
    *,
    progress: Progress = logger.info,
    text_encoder: str | None = None,
) -> Robustness:
    """What `measure_robustness` says of a run's best checkpoint.

    Args:
        run_folder: as `multigrain train` wrote it.
        store: whose split is predicted; without one, the store that the run was trained on.
        split: `train`, `valid` or `test`.
        convention: key of `multigrain.metrics.CONVENTIONS`.
        progress: shown one line a condition.
        text_encoder: where the language model is that the run was trained on but its checkpoint does not hold; None for where it was.

    Raises:
        DataError: no such run, store or split; the run's own store has changed; a split without labels.
        CheckpointError: the run has no checkpoint, or the store's features or task are not those that the model was trained on.
    """
    facts = read_run(run_folder)
    model, opened = open_model_and_store(facts, store, text_encoder)
    return measure_robustness(model, opened.split(split), convention=convention, progress=progress)
