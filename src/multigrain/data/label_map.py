"""How one store's labels become scores of another task: a line from range to range, or a score for each value.

A label that a map says nothing of becomes NaN, for the caller to name with its utterance.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from multigrain.errors import RecipeError
from multigrain.schema import Task

_TOLERANCE = 1e-5
"""Labels are float32: so far from a value, or beyond an end of a range in shares of its width, still counts as there."""


@dataclass(frozen=True, kw_only=True)
class LabelMap:
    """A map from a store's labels to scores; give either both ranges, or `values`.

    Attributes:
        from_range: two different labels, such as (1, 5).
        to_range: the scores that they become, such as (-3, 3); labels between lie on the line. (3, -3) turns the scale around.
        values: each label that there is -> its score. For a store of emotions, each emotion's name -> its score; an utterance
            with several of them gets the mean.
    """

    from_range: tuple[float, float] | None = None
    to_range: tuple[float, float] | None = None
    values: Mapping[float | str, float] | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("from_range", "to_range", "values") if getattr(self, name) is not None]
        if given not in (["from_range", "to_range"], ["values"]):
            raise RecipeError(
                f"labels gives {' and '.join(given) or 'nothing'}; expected either from_range and to_range, such as "
                "{from_range: [1, 5], to_range: [-3, 3]}, or values alone, such as {values: {0: -2, 1: 0, 2: 2}}."
            )
        for name in ("from_range", "to_range"):
            ends = getattr(self, name)
            if ends is not None and not (all(map(math.isfinite, ends)) and ends[0] != ends[1]):
                raise RecipeError(f"labels.{name} is {list(ends)}; expected two different finite numbers, such as [1, 5].")
        if self.values is not None and not (self.values and all(map(math.isfinite, self.values.values()))):
            raise RecipeError(f"labels.values is {dict(self.values)}; expected at least one label with a finite score, such as {{0: -2, 2: 2}}.")

    @property
    def scores(self) -> tuple[float, float]:
        """The lowest and the highest score that comes out."""
        if self.values is not None:
            return min(self.values.values()), max(self.values.values())
        assert self.to_range is not None
        return min(self.to_range), max(self.to_range)

    def apply(self, labels: Float[np.ndarray, "utterances label"], task: Task) -> Float[np.ndarray, "utterances 1"]:
        """Labels as scores.

        Args:
            labels: in the store's own units.
            task: the store's.

        Returns:
            float32; NaN for a label outside `from_range` or not in `values`, and for an utterance with none of the emotions named.

        Raises:
            RecipeError: the map does not fit the kind of label, or names an emotion that the store has not.
        """
        if task.kind == "emotions":
            return self._mean_of_emotions(labels, task.emotions).astype(np.float32)
        column = labels[:, :1].astype(np.float64)
        scores = self._on_the_line(column) if self.values is None else self._looked_up(column)
        return scores.astype(np.float32)

    def _on_the_line(self, labels: np.ndarray) -> np.ndarray:
        assert self.from_range is not None
        assert self.to_range is not None
        (low, high), (first, last) = self.from_range, self.to_range
        share = (labels - low) / (high - low)
        within = (share >= -_TOLERANCE) & (share <= 1 + _TOLERANCE)
        return np.where(within, first + share.clip(0, 1) * (last - first), np.nan)

    def _looked_up(self, labels: np.ndarray) -> np.ndarray:
        assert self.values is not None
        scores = np.full_like(labels, np.nan)
        for value, score in self.values.items():
            if isinstance(value, str):
                raise RecipeError(
                    f"labels.values names {value!r}, but the labels are numbers. Write each number with its score, as in {{0: -2, 2: 2}}."
                )
            scores[np.abs(labels - value) <= _TOLERANCE] = score
        return scores

    def _mean_of_emotions(self, labels: np.ndarray, emotions: tuple[str, ...]) -> np.ndarray:
        if self.values is None or not set(self.values) <= set(emotions):
            given = "ranges" if self.values is None else f"values for {', '.join(map(str, self.values))}"
            raise RecipeError(
                f"labels gives {given}, but the labels are the emotions {', '.join(emotions)}. Write a score for each of these, as in "
                f"{{values: {{{emotions[0]}: 0, {emotions[-1]}: -2}}}}."
            )
        columns = [emotions.index(str(name)) for name in self.values]
        are_set = labels[:, columns] > 0.5
        total = (are_set * np.array(list(self.values.values()))).sum(axis=1, keepdims=True)
        count = are_set.sum(axis=1, keepdims=True)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)
