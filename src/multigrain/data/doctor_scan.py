"""One pass over a modality's stored values, a few megabytes at a time: ranges, non-finite values, zero steps, outliers."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

CHUNK_BYTES = 8 << 20
OUTLIER_DEVIATIONS = 20.0
STAND_IN_VALUES = (255.0,)
"""Absolute values that extractors write where they have nothing to say (COVAREP's rows hold +-255)."""


@dataclass(frozen=True)
class Outliers:
    """Values of one feature that are far from the rest.

    Attributes:
        feature: its index.
        count: how many of its values are.
        extreme: the one farthest from the mean.
        deviations: how far that is, in standard deviations of all the feature's values.
        is_stand_in: True when they all are +-255.
    """

    feature: int
    count: int
    extreme: float
    deviations: float
    is_stand_in: bool


@dataclass(frozen=True)
class ValueScan:
    """What the stored values of one modality of one split are like.

    Attributes:
        minimum, maximum, mean, std: per feature over finite values; NaN for a feature that has none.
        num_nonfinite: NaN and infinite values.
        first_nonfinite: step (row of the stored values), feature and value of the first of them, or None.
        is_zero: per step, True where all features are 0.
        outliers: features that have any, those with the farthest first.
    """

    minimum: Float[np.ndarray, " dim"]
    maximum: Float[np.ndarray, " dim"]
    mean: Float[np.ndarray, " dim"]
    std: Float[np.ndarray, " dim"]
    num_nonfinite: int
    first_nonfinite: tuple[int, int, float] | None
    is_zero: Bool[np.ndarray, " step"]
    outliers: tuple[Outliers, ...]

    @property
    def constant_features(self) -> tuple[int, ...]:
        """Features with one and the same value (not 0) at every step."""
        return tuple(np.flatnonzero((self.minimum == self.maximum) & (self.minimum != 0)).tolist())

    @property
    def zero_features(self) -> tuple[int, ...]:
        """Features that are 0 at every step."""
        return tuple(np.flatnonzero((self.minimum == 0) & (self.maximum == 0)).tolist())


def scan_values(values: Float[np.ndarray, "step dim"]) -> ValueScan:
    """Reads all values once (and features with far values once more), in chunks that keep memory small."""
    steps, dim = values.shape
    count, total, squares = np.zeros(dim), np.zeros(dim), np.zeros(dim)
    minimum, maximum = np.full(dim, np.inf), np.full(dim, -np.inf)
    is_zero = np.zeros(steps, dtype=bool)
    num_nonfinite, first = 0, None
    shift = np.zeros(dim, dtype=np.float32)
    for start, chunk in _chunks(values):
        finite = np.isfinite(chunk)
        if not finite.all():
            if first is None:
                row, feature = np.argwhere(~finite)[0].tolist()
                first = (start + row, feature, float(chunk[row, feature]))
            num_nonfinite += int(finite.size - finite.sum())
        if start == 0:
            shift = np.where(finite[0], chunk[0], 0.0).astype(np.float32)  # sums about a typical value lose no digits
        is_zero[start : start + len(chunk)] = ~chunk.any(axis=1) if dim else False  # words without vectors are not zeros
        minimum = np.minimum(minimum, np.where(finite, chunk, np.inf).min(axis=0) if num_nonfinite else chunk.min(axis=0))
        maximum = np.maximum(maximum, np.where(finite, chunk, -np.inf).max(axis=0) if num_nonfinite else chunk.max(axis=0))
        centred = np.subtract(np.where(finite, chunk, shift) if num_nonfinite else chunk, shift, dtype=np.float64)
        count += finite.sum(axis=0) if num_nonfinite else len(chunk)
        total += centred.sum(axis=0)
        squares += np.einsum("ij,ij->j", centred, centred)
    has_any = count > 0
    safe = np.maximum(count, 1)
    mean, std = total / safe + shift, np.sqrt(np.maximum(squares / safe - (total / safe) ** 2, 0.0))
    minimum, maximum, mean, std = (np.where(has_any, column, np.nan) for column in (minimum, maximum, mean, std))
    return ValueScan(minimum, maximum, mean, std, num_nonfinite, first, is_zero, _outliers(values, minimum, maximum, mean, std))


def _chunks(values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    rows = max(1, CHUNK_BYTES // max(1, values.shape[1] * values.itemsize))
    for start in range(0, len(values), rows):
        yield start, values[start : start + rows]


def _outliers(
    values: Float[np.ndarray, "step dim"],
    minimum: Float[np.ndarray, " dim"],
    maximum: Float[np.ndarray, " dim"],
    mean: Float[np.ndarray, " dim"],
    std: Float[np.ndarray, " dim"],
) -> tuple[Outliers, ...]:
    far = np.maximum(mean - minimum, maximum - mean) > OUTLIER_DEVIATIONS * std
    stand_in = np.isin(np.abs(minimum), STAND_IN_VALUES) | np.isin(np.abs(maximum), STAND_IN_VALUES)
    suspects = np.flatnonzero((far | stand_in) & (std > 0))
    if not len(suspects):
        return ()
    far_counts, stand_in_counts = np.zeros(len(suspects), dtype=int), np.zeros(len(suspects), dtype=int)
    for _, chunk in _chunks(values):
        columns = chunk[:, suspects]
        is_stand_in = np.isin(np.abs(columns), STAND_IN_VALUES)
        with np.errstate(invalid="ignore"):
            is_far = np.isfinite(columns) & (np.abs(columns - mean[suspects]) > OUTLIER_DEVIATIONS * std[suspects])
        stand_in_counts += is_stand_in.sum(axis=0)
        far_counts += (is_far & ~is_stand_in).sum(axis=0)
    found = []
    for index, feature in enumerate(suspects.tolist()):
        extreme = float(minimum[feature] if mean[feature] - minimum[feature] > maximum[feature] - mean[feature] else maximum[feature])
        deviations = abs(extreme - float(mean[feature])) / float(std[feature])
        count = int(far_counts[index] + stand_in_counts[index])
        if count:
            found.append(Outliers(feature, count, extreme, deviations, bool(far_counts[index] == 0)))
    return tuple(sorted(found, key=lambda outliers: -outliers.deviations))
