"""What the doctor writes down of a data set: one small record per split and modality, and a list of findings."""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from multigrain.data.doctor_scan import ValueScan
from multigrain.data.store import Split
from multigrain.schema import Task

NUM_LABEL_BINS = 13
"""Bins of the label histogram, the first centred on the task's minimum and the last on its maximum: for -3..3 each is 0.5 wide."""

NUM_LENGTH_BINS = 16


@dataclass(frozen=True)
class Finding:
    """One thing that the doctor found.

    Attributes:
        level: `problem` makes results wrong or training fail; `note` is worth knowing.
        topic: a short name for programs, such as "group_in_two_splits".
        message: what, where, how many, and what to do.
    """

    level: Literal["problem", "note"]
    topic: str
    message: str


@dataclass(frozen=True)
class ModalitySummary:
    """One modality of one split.

    Attributes:
        present, absent: utterances that have it and that do not.
        steps: stored steps; utterances in one video's context share theirs.
        lengths: of the utterances that have it: minimum, percentiles 5, 50, 95 and 99, mean, maximum; empty when none has.
        length_histogram: utterances by length, in bins between `length_edges`.
        num_nonfinite: NaN and infinite values.
        zero_steps: steps whose features are all 0.
        zero_utterances: utterances that have the modality, with nothing but such steps.
        constant_features, zero_features: features with the same value at every step, other than 0 and 0.
        num_outlier_features: features with values that are far from the rest.
    """

    present: int
    absent: int
    steps: int
    lengths: dict[str, float]
    length_edges: list[float]
    length_histogram: list[int]
    num_nonfinite: int
    zero_steps: int
    zero_utterances: int
    constant_features: list[int]
    zero_features: list[int]
    num_outlier_features: int


@dataclass(frozen=True)
class LabelSummary:
    """The labels of one split.

    Attributes:
        minimum, maximum, mean, std: over utterances (and emotions).
        edges, histogram: utterances by score; what lies outside the range is in the first or last bin. Empty for emotions.
        rates: for emotions, the share of utterances that have each; empty otherwise.
    """

    minimum: float
    maximum: float
    mean: float
    std: float
    edges: list[float] = field(default_factory=list)
    histogram: list[int] = field(default_factory=list)
    rates: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SplitSummary:
    """One split: how many utterances and groups, its labels (None when unlabelled) and each modality."""

    utterances: int
    groups: int
    labels: LabelSummary | None
    modalities: dict[str, ModalitySummary]


def summarise_labels(labels: Float[np.ndarray, "utterance label"], task: Task) -> LabelSummary:
    """A split's labels; those that are not numbers are left out."""
    values = labels[np.isfinite(labels).all(axis=1)].astype(np.float64)
    if not len(values):
        return LabelSummary(math.nan, math.nan, math.nan, math.nan)
    facts = (float(values.min()), float(values.max()), float(values.mean()), float(values.std()))
    if task.kind == "emotions":
        rates = {emotion: float(values[:, column].mean()) for column, emotion in enumerate(task.emotions)}
        return LabelSummary(*facts, rates=rates)
    width = (task.maximum - task.minimum) / (NUM_LABEL_BINS - 1)
    edges = task.minimum - width / 2 + width * np.arange(NUM_LABEL_BINS + 1)
    counts, _ = np.histogram(values[:, 0].clip(edges[0], edges[-1]), edges)
    return LabelSummary(*facts, edges=edges.tolist(), histogram=counts.tolist())


def summarise_modality(split: Split, modality: str, scan: ValueScan) -> ModalitySummary:
    """One modality of a split, from its lengths and what the scan of its values found."""
    lengths = split.lengths(modality)
    present = lengths[lengths > 0]
    facts: dict[str, float] = {}
    edges: np.ndarray = np.zeros(0)
    histogram: np.ndarray = np.zeros(0, dtype=int)
    if len(present):
        low, median, high, highest = np.percentile(present, (5, 50, 95, 99)).tolist()
        facts = {"minimum": float(present.min()), "percentile_5": low, "median": median, "mean": float(present.mean())}
        facts |= {"percentile_95": high, "percentile_99": highest, "maximum": float(present.max())}
        width = -(-(int(np.ptp(present)) + 1) // NUM_LENGTH_BINS)  # whole steps, so that no bin holds more values than another
        edges = np.arange(int(present.min()), int(present.max()) + width + 1, width) - 0.5
        histogram, _ = np.histogram(present, edges)
    return ModalitySummary(
        present=len(present),
        absent=int((lengths == 0).sum()),
        steps=len(scan.is_zero),
        lengths=facts,
        length_edges=edges.tolist(),
        length_histogram=histogram.tolist(),
        num_nonfinite=scan.num_nonfinite,
        zero_steps=int(scan.is_zero.sum()),
        zero_utterances=int((zero_steps_of_utterances(split, modality, scan) == lengths)[lengths > 0].sum()),
        constant_features=list(scan.constant_features),
        zero_features=list(scan.zero_features),
        num_outlier_features=len(scan.outliers),
    )


def zero_steps_of_utterances(split: Split, modality: str, scan: ValueScan) -> Int[np.ndarray, " utterance"]:
    """How many of each utterance's steps are all 0."""
    before = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(scan.is_zero)])
    starts, lengths = split.starts(modality), split.lengths(modality)
    return before[starts + lengths] - before[starts]
