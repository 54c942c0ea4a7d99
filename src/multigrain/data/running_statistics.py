"""Mean and standard deviation of features that come a few rows at a time."""

import numpy as np
from jaxtyping import Bool, Float


class RunningStatistics:
    """Mean and standard deviation of each feature over finite values, merged block by block (Chan et al., 1979)."""

    def __init__(self, dim: int):
        self.count, self.mean, self.squares = np.zeros(dim), np.zeros(dim), np.zeros(dim)

    def add(self, values: Float[np.ndarray, "time dim"], finite: Bool[np.ndarray, "time dim"] | None) -> None:
        """Takes in (time, dim) values, all of them or only those where `finite` is True."""
        block = values.astype(np.float64)
        if finite is None:
            count = np.full(block.shape[1], float(len(block)))
            mean = block.mean(axis=0)
            squares = ((block - mean) ** 2).sum(axis=0)
        else:
            count = finite.sum(axis=0).astype(np.float64)
            mean = np.where(finite, block, 0.0).sum(axis=0) / np.maximum(count, 1.0)
            squares = (np.where(finite, block - mean, 0.0) ** 2).sum(axis=0)
        total = self.count + count
        share = count / np.maximum(total, 1.0)
        step = mean - self.mean
        self.squares += squares + step**2 * self.count * share
        self.mean += step * share
        self.count = total

    def summary(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """(mean, standard deviation), or None before any value; 0 for a feature without a finite value."""
        if not self.count.any():
            return None
        return tuple(self.mean.tolist()), tuple(np.sqrt(self.squares / np.maximum(self.count, 1.0)).tolist())
