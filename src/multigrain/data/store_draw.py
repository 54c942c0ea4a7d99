"""Which utterances of several stores an epoch takes, by weight.

A weight is relative to the store's own size: 1 takes every utterance once an epoch, 2 twice, 0.5 half of them, 1.5 all once and
half of them again. The part that is not whole is drawn without replacement, anew each epoch, from (seed, epoch, store) alone.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

_STREAM = 2_000_000  # keeps the draw apart from others that are seeded from (seed, epoch)


class StoreDraw:
    """Draws positions in a split that holds the utterances of several stores one after another.

    Args:
        counts: utterances of each store.
        weights: of each store, above 0.
        seed: of the run.
    """

    def __init__(self, counts: Sequence[int], weights: Sequence[float], seed: int):
        self._counts, self._seed = list(counts), seed
        self._whole = [int(weight) for weight in weights]
        self._part = [int((weight % 1) * count + 0.5) for weight, count in zip(weights, counts, strict=True)]
        for store, count in enumerate(counts):
            if count and self._whole[store] + self._part[store] == 0:
                self._part[store] = 1  # a store with so small a weight still takes part

    @property
    def num_utterances(self) -> int:
        """How many an epoch takes, repeated ones counted each time; the same in every epoch."""
        return sum(whole * count + part for whole, count, part in zip(self._whole, self._counts, self._part, strict=True))

    def indices(self, epoch: int) -> Int[np.ndarray, " drawn"]:
        """The positions that an epoch (0 or more) takes, store by store; one that is taken twice stands there twice."""
        taken, start = [], 0
        for store, count in enumerate(self._counts):
            generator = np.random.default_rng([self._seed, epoch, _STREAM, store])
            part = np.sort(generator.permutation(count)[: self._part[store]])
            own = np.concatenate([np.tile(np.arange(count), self._whole[store]), part])
            taken.append(own + start)
            start += count
        return np.concatenate(taken).astype(np.int64)
