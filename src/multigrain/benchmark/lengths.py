"""How long the utterances of the benchmarks are, and how they fall into batches.

Words per utterance follow MOSI; audio has 7.5 steps a word and vision 10, which is what MOSI looks like under its padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multigrain.errors import DataError

MODALITIES = ("text", "audio", "vision")
DIMS = {"text": 300, "audio": 5, "vision": 20}
STEPS_PER_WORD = (1.0, 7.5, 10.0)
MOST_WORDS = 50
UNALIGNED_PADDING = [50, 375, 500]
ALIGNED_PADDING = [50, 50, 50]

# Words per utterance of MOSI's 2,199 utterances, at most 50: the 0/32, 1/32, ... 32/32 quantiles.
WORD_QUANTILES = (1, 4, 4, 5, 5, 5, 6, 6, 7, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 14, 15, 16, 17, 18, 20, 21, 23, 27, 32, 50)

Steps = list[int]  # of text, audio and vision, of one utterance
BatchSteps = list[Steps]


def draw_words(count: int, generator: np.random.Generator) -> np.ndarray:
    """Words of `count` utterances, 1 to 50 each, as MOSI has them."""
    places = np.linspace(0.0, 1.0, len(WORD_QUANTILES))
    return np.rint(np.interp(generator.uniform(size=count), places, WORD_QUANTILES)).astype(int)


def steps_of(words: np.ndarray | Sequence[int | float]) -> np.ndarray:
    """(utterances, 3) steps of text, audio and vision."""
    return np.rint(np.asarray(words)[:, None] * np.asarray(STEPS_PER_WORD)[None, :]).astype(int)


def padded_pairs(batch: np.ndarray) -> int:
    """(target, source) pairs that MulT's attention covers in a batch that is trimmed to its longest, over all nine directions."""
    return int(batch.shape[0] * batch.max(axis=0).sum() ** 2)


def padding_waste(batches: list[np.ndarray]) -> float:
    """Share of all steps, over the modalities, that are padding."""
    real = sum(int(batch.sum()) for batch in batches)
    padded = sum(int(batch.shape[0] * batch.max(axis=0).sum()) for batch in batches)
    return 1.0 - real / padded


@dataclass(frozen=True)
class Plan:
    """The batches that a cell measures.

    Attributes:
        batches: an even sample of the epoch's batches, by cost; a round goes through them.
        costliest: the epoch's costliest batch, which decides how much memory training needs; None where all are alike.
        waste: share of padding over the whole epoch.
        cost_share: mean attention pairs of the sample, over the epoch's mean; near 1 where the sample stands for the epoch.
    """

    batches: list[BatchSteps]
    costliest: BatchSteps | None
    waste: float
    cost_share: float


def plan_of(batches: list[np.ndarray], count: int) -> Plan:
    """A plan of at most `count` batches: of equal strata of cost the one next to its mean, so that long batches have their fair part."""
    costs = np.array([padded_pairs(batch) for batch in batches])
    order = np.argsort(costs, kind="stable")
    count = min(count, len(batches))
    strata = [order[place * len(order) // count : (place + 1) * len(order) // count] for place in range(count)]
    nearest = [stratum[np.abs(costs[stratum] - costs[stratum].mean()).argmin()] for stratum in strata]
    picked = sorted(nearest)  # in the sampler's order, not by length
    return Plan(
        batches=[batches[place].tolist() for place in picked],
        costliest=batches[order[-1]].tolist(),
        waste=padding_waste(batches),
        cost_share=float(costs[picked].mean() / costs.mean()),
    )


def bucketed_batches(steps: np.ndarray, batch: int, *, shuffle: bool, seed: int) -> list[np.ndarray]:
    """The full batches of one epoch as multigrain's sampler makes them."""
    from multigrain.data.batching import LengthBucketSampler  # not at the top: environments without our libraries import this file too

    lengths = {name: steps[:, place] for place, name in enumerate(MODALITIES)}
    sampler = LengthBucketSampler(lengths, batch_utterances=batch, shuffle=shuffle, seed=seed)
    return full_batches([steps[indices] for indices in sampler], batch)


def full_batches(batches: list[np.ndarray], batch: int) -> list[np.ndarray]:
    """Those of exactly so many utterances.

    Raises:
        DataError: there is none.
    """
    full = [rows for rows in batches if len(rows) == batch]
    if not full:
        total = sum(len(rows) for rows in batches)
        raise DataError(f"{total} utterances are fewer than one batch of {batch}. Use a smaller batch, or more utterances.")
    return full
