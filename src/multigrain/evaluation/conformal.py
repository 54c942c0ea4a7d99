"""Intervals with a stated coverage around scores: split conformal prediction on the residuals of held-out utterances.

With the n absolute residuals r of a calibration set, sorted, the half-width for coverage c is

    q = r_(k),  k = ceil((n + 1) c),

and infinite where k > n. If a new utterance and those of the calibration set are exchangeable, its label lies within score +- q with a
probability of at least c, whatever the model and the distribution of its errors. Intervals are cut at the ends of the label's range, which
loses no coverage. Utterances of one speaker are more like each other than exchangeable ones; over new speakers the coverage then varies more
than n suggests (docs/decisions/explanations.md).

A model errs more where a modality is missing, so that each subset of modalities is calibrated by itself.

Source: Papadopoulos et al., "Inductive Confidence Machines for Regression", ECML 2002; Lei et al., "Distribution-Free Predictive Inference
for Regression", JASA 2018, section 2.2.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from multigrain.errors import CheckpointError, DataError
from multigrain.evaluation.evaluate import open_model_and_store, read_run
from multigrain.evaluation.predict import Alteration, Predictions, predict_split
from multigrain.evaluation.robustness import subset_conditions
from multigrain.evaluation.tables import Table
from multigrain.schema import MODALITIES, Batch

if TYPE_CHECKING:
    from multigrain.data.batchable import BatchableSplit
    from multigrain.models.base import MultimodalModel
    from multigrain.schema import Task

CONFORMAL_FILE = "conformal.json"
FORMAT_VERSION = 1
COVERAGE = 0.9
COVERAGES: tuple[float, ...] = (0.5, 0.8, 0.9, 0.95)


def half_width(residuals: Float[np.ndarray, " utterance"], coverage: float) -> float:
    """The half-width of intervals with a coverage; infinite where there are too few residuals for it.

    Args:
        residuals: absolute errors on utterances that the model was not trained on.
        coverage: in 0..1, both excluded.

    >>> half_width(np.array([0.3, 0.1, 0.4, 0.2]), 0.5)
    0.3
    """
    rank = math.ceil((len(residuals) + 1) * coverage - 1e-9)
    return float(np.sort(residuals)[rank - 1]) if rank <= len(residuals) else math.inf


@dataclass(frozen=True, kw_only=True)
class Conformal:
    """What is needed for the intervals of a checkpoint.

    Attributes:
        half_widths: modalities that are present, such as "text + audio" -> coverage -> half-width in label units (infinite: whole range).
        num_utterances: the same -> utterances of the calibration set.
        num_groups: the same -> their videos or speakers.
        minimum, maximum: the label's range.
        calibrated_on: in words, such as "validation split of mosi_text".
    """

    half_widths: Mapping[str, Mapping[float, float]]
    num_utterances: Mapping[str, int]
    num_groups: Mapping[str, int]
    minimum: float
    maximum: float
    calibrated_on: str

    @classmethod
    def from_residuals(
        cls,
        residuals: Mapping[str, Float[np.ndarray, " utterance"]],
        task: "Task",
        calibrated_on: str,
        num_groups: Mapping[str, int] | None = None,
        coverages: Sequence[float] = COVERAGES,
    ) -> "Conformal":
        """Calibrates.

        Args:
            residuals: modalities that are present (`modality_key`) -> absolute errors of held-out utterances, at least one.
            task: regression or classification.
            calibrated_on: in words.
            num_groups: the same -> number of videos or speakers that the utterances are of, where known.
            coverages: that intervals will be asked for.

        Raises:
            DataError: no residuals, residuals that are not finite or negative, or a task of emotions.
        """
        if task.kind == "emotions":
            raise DataError("Intervals are for scores, and this task predicts probabilities of emotions. Calibrate a model with a score.")
        for key, values in residuals.items():
            if len(values) == 0 or not bool(np.isfinite(values).all()) or bool((np.asarray(values) < 0).any()):
                raise DataError(f"Calibration with {key} needs at least one residual, and all of them finite and not negative; got {len(values)}.")
        return cls(
            half_widths={key: {coverage: half_width(values, coverage) for coverage in coverages} for key, values in residuals.items()},
            num_utterances={key: len(values) for key, values in residuals.items()},
            num_groups=dict(num_groups or {}),
            minimum=task.minimum,
            maximum=task.maximum,
            calibrated_on=calibrated_on,
        )

    def interval(self, score: float, present: Sequence[str], coverage: float = COVERAGE) -> tuple[float, float] | None:
        """The interval around a score, cut at the ends of the label's range.

        Args:
            score: of the model.
            present: the modalities that it was given.
            coverage: one of those that were calibrated.

        Returns:
            Its ends, or None where utterances with just these modalities were not calibrated.

        Raises:
            DataError: a coverage that was not calibrated.
        """
        widths = self.half_widths.get(modality_key(present))
        if widths is None:
            return None
        if coverage not in widths:
            raise DataError(f"Intervals were calibrated for coverages {sorted(widths)}; got {coverage}. Ask for one of them, or calibrate again.")
        within = min(max(score, self.minimum), self.maximum)
        return max(self.minimum, min(within, score - widths[coverage])), min(self.maximum, max(within, score + widths[coverage]))

    def in_words(self) -> str:
        """How the intervals were made."""
        counts = sorted({f"{count} utterances" for count in self.num_utterances.values()})
        return f"split conformal prediction on {self.calibrated_on} ({', '.join(counts)}), for each subset of modalities by itself"

    # With the checkpoint ------------------------------------------------------------------------------------------

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Writes it into a checkpoint's folder, whole or not at all; returns the file."""
        target = Path(folder) / CONFORMAL_FILE
        values = asdict(self) | {
            "format_version": FORMAT_VERSION,
            "half_widths": {
                key: {repr(coverage): None if math.isinf(width) else width for coverage, width in widths.items()}
                for key, widths in self.half_widths.items()
            },
        }
        beside = target.with_name(target.name + ".part")
        beside.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        os.replace(beside, target)
        return target

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> "Conformal | None":
        """What `write` left in a checkpoint's folder, or None where nothing is.

        Raises:
            CheckpointError: the file is damaged or of a newer format.
        """
        path = Path(folder) / CONFORMAL_FILE
        if not path.is_file():
            return None
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("format_version") != FORMAT_VERSION:
                raise ValueError("its format_version is another")
            widths = {
                key: {float(coverage): math.inf if width is None else float(width) for coverage, width in own.items()}
                for key, own in values.pop("half_widths").items()
            }
            return cls(half_widths=widths, **values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{path} does not hold intervals that this multigrain can read ({error}). Delete it, or calibrate the checkpoint again with "
                "`multigrain calibrate`."
            ) from error


def modality_key(present: Sequence[str]) -> str:
    """How a set of modalities is named, such as "text + vision"; "none" for none."""
    return " + ".join(name for name in MODALITIES if name in present) or "none"


def calibrate(model: "MultimodalModel", split: "BatchableSplit", calibrated_on: str, coverages: Sequence[float] = COVERAGES) -> Conformal:
    """Calibrates a model on a labelled split that it was not trained on, for each subset of the modalities that both have.

    Args:
        model: a trained model.
        split: of a store opened for the model, such as `valid`.
        calibrated_on: in words.
        coverages: that intervals will be asked for.

    Raises:
        DataError: the split has no labels, or the model predicts emotions.
    """
    residuals, groups = subset_residuals(model, split)
    return Conformal.from_residuals(residuals, model.task, calibrated_on, groups, coverages)


def calibrate_run(
    run_folder: str | os.PathLike[str],
    store: str | os.PathLike[str] | None = None,
    split: str = "valid",
    check: str | None = "test",
    *,
    text_encoder: str | None = None,
) -> tuple[Path, Table]:
    """Calibrates a run's best checkpoint, writes that beside its weights, and measures the coverage.

    Args:
        run_folder: as `multigrain train` wrote it.
        store: to calibrate on; without one, the store that the run was trained on.
        split: of it.
        check: split on which the coverage is measured; None for none. One that the store lacks is left out.
        text_encoder: where the language model is that the run was trained on but its checkpoint does not hold; None for where it was.

    Returns:
        The file, and a table of half-widths and measured coverages.

    Raises:
        DataError: no such run, store or split; the split has no labels; or the task is one of emotions.
        CheckpointError: the run has no checkpoint, or the store does not fit the model.
    """
    facts = read_run(run_folder)
    model, opened = open_model_and_store(facts, store, text_encoder)
    if check == split:
        raise DataError(f"Coverage cannot be checked on the split {split!r} that it was calibrated on. Name another split with --check.")
    name = f"the {split} split of {Path(str(opened)).name}"
    conformal = calibrate(model, opened.split(split), name)
    path = conformal.write(facts.folder / "checkpoints" / "best")
    checked = opened.split(check) if check is not None and check in opened.splits else None
    measured = {coverage: {} if checked is None else coverage_on(conformal, model, checked, coverage) for coverage in COVERAGES}
    rows = []
    for key, widths in conformal.half_widths.items():
        cells = [
            f"± {widths[coverage]:.2f}" + (f" ({100 * measured[coverage][key]:.0f} %)" if key in measured[coverage] else "") for coverage in COVERAGES
        ]
        rows.append((key, str(conformal.num_utterances[key]), str(conformal.num_groups.get(key, "")), *cells))
    notes = [] if checked is None else [f"In brackets: the share of labels of the {check} split ({len(checked)} utterances) within their interval."]
    columns = ("modalities", "utterances", "groups", *(f"{100 * coverage:.0f} %" for coverage in COVERAGES))
    return path, Table(f"Half-widths of intervals, calibrated on {name}", columns, tuple(rows), tuple(notes))


def coverage_on(conformal: Conformal, model: "MultimodalModel", split: "BatchableSplit", coverage: float = COVERAGE) -> dict[str, float]:
    """The share of a labelled split's utterances whose label lies within its interval, by the modalities that are left."""
    shares = {}
    for present, predictions in predictions_by_subset(model, split):
        key = modality_key(present)
        if key in conformal.half_widths and predictions.labels is not None:
            ends = [conformal.interval(score, present, coverage) for score in predictions.scores[:, 0].tolist()]
            labels = predictions.labels[:, 0].tolist()
            shares[key] = float(np.mean([end is not None and end[0] <= label <= end[1] for end, label in zip(ends, labels, strict=True)]))
    return shares


def subset_residuals(model: "MultimodalModel", split: "BatchableSplit") -> tuple[dict[str, Float[np.ndarray, " utterance"]], dict[str, int]]:
    """Absolute errors on a labelled split by the modalities that are left, and of how many videos or speakers they are."""
    residuals, groups = {}, {}
    for present, predictions in predictions_by_subset(model, split):
        assert predictions.labels is not None
        residuals[modality_key(present)] = np.abs(predictions.scores[:, 0].astype(np.float64) - predictions.labels[:, 0])
        groups[modality_key(present)] = len(set(predictions.groups))
    return residuals, groups


def predictions_by_subset(model: "MultimodalModel", split: "BatchableSplit") -> list[tuple[tuple[str, ...], Predictions]]:
    """What a model says when only some modalities are left, for each non-empty subset of them.

    Args:
        model: a trained model.
        split: labelled, of a store opened for the model.

    Returns:
        (modalities that are left, predictions of the utterances that have all of these), larger subsets first; without those that
        no utterance has.

    Raises:
        DataError: the split has no labels.
    """
    if split.labels is None:
        raise DataError(f"The split {split.name!r} has no labels, so that nothing can be calibrated or checked on it. Name a labelled split.")
    names = [name for name in MODALITIES if name in model.features and name in split.modalities]
    found = []
    for condition in subset_conditions(names):
        has_all = np.all([split.lengths(name) > 0 for name in condition.modalities], axis=0)
        if has_all.any():
            predictions = predict_split(model, split, alter=_only(condition.modalities))
            assert predictions.labels is not None
            rows = np.flatnonzero(has_all)
            chosen = Predictions(
                ids=tuple(predictions.ids[row] for row in rows),
                groups=tuple(predictions.groups[row] for row in rows),
                labels=predictions.labels[rows],
                scores=predictions.scores[rows],
                classes=None if predictions.classes is None else predictions.classes[rows],
            )
            found.append((condition.modalities, chosen))
    return found


def _only(modalities: tuple[str, ...]) -> Alteration:
    def alter(batch: Batch, indices: np.ndarray) -> Batch:
        left = batch.with_modalities({name: None for name in batch.modalities if name not in modalities})
        return left if "text" in modalities else replace(left, tokens=None)

    return alter
