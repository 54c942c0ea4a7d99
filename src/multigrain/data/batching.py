"""Batches of utterances of like length, so that little of a batch is padding.

Attention costs the square of the padded length, and utterances differ in length by a factor of ten or more: batches
of like length, each trimmed to its own longest, are worth more than any faster kernel.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch.utils.data import DataLoader, Dataset, Sampler

from multigrain.data.batchable import BatchableSplit
from multigrain.data.store_draw import StoreDraw
from multigrain.errors import DataError
from multigrain.schema import Batch

_BATCHES_PER_WINDOW = 50  # utterances are sorted by length within a window of so many batches
_LENGTH_NOISE = 0.1  # relative; without it a data set smaller than one window would give the same batches every epoch


class LengthBucketSampler(Sampler[list[int]]):
    """Lists of indices, one a batch; every utterance comes once an epoch, or as often as `draw` says.

    Each epoch the utterances are shuffled, sorted by (slightly noisy) length within windows of 50 batches, cut into batches,
    and the batches shuffled. The same seed and epoch give the same batches. With `contexts` it is the contexts that are shuffled, and the
    utterances of one stand together, cut only where a batch is full.

    With several processes, the budget is that of the *global* batch: batches are made exactly as for one process,
    then each is dealt among the processes in parts that differ by at most one utterance, so that every process
    takes the same number of steps and together they see each utterance once. Parts are equal, and so a mean over
    processes is the mean over the batch, when `batch_utterances` and the number of utterances are multiples of the
    number of processes. A batch with fewer utterances than processes borrows from larger ones; nothing is repeated.

    Args:
        lengths: modality -> (utterances,) number of steps, 0 where absent.
        batch_utterances: utterances in a batch, or None for no such bound.
        batch_steps: bound on a batch's padded steps, utterances x longest, in its widest modality; or None. An
            utterance that is longer by itself is a batch of its own.
        shuffle: False gives the utterances in ascending order of length, the same each epoch.
        seed: of the shuffling.
        draw: chooses the utterances of each epoch, where several stores are sampled by weight; None for all, once.
        contexts: a number for each utterance's context, to keep those of one together; None to go by length. Not with `draw`.
        num_replicas: number of processes.
        rank: this process, 0 .. num_replicas - 1.

    Raises:
        DataError: no budget, a budget below what the processes need, no utterances, or fewer in an epoch than processes.
    """

    def __init__(
        self,
        lengths: Mapping[str, Int[np.ndarray, " utterances"]],
        *,
        batch_utterances: int | None = None,
        batch_steps: int | None = None,
        shuffle: bool,
        seed: int,
        num_replicas: int = 1,
        rank: int = 0,
        draw: StoreDraw | None = None,
        contexts: Int[np.ndarray, " utterances"] | None = None,
    ):
        assert draw is None or contexts is None
        self._draw, self._contexts = draw, contexts
        self._steps = _stacked(lengths)
        _check_budget(batch_utterances, batch_steps, num_replicas, rank)
        if self.num_utterances < num_replicas:
            raise DataError(
                f"{self.num_utterances} utterances cannot be dealt among {num_replicas} processes: each needs at least one. Train in fewer processes."
            )
        self.batch_utterances, self.batch_steps = batch_utterances, batch_steps
        self.shuffle, self.seed, self.num_replicas, self.rank = shuffle, seed, num_replicas, rank
        self.epoch = 0
        self._batches: list[list[int]] | None = None

    @property
    def num_utterances(self) -> int:
        """How many all processes together take an epoch."""
        return self._steps.shape[1] if self._draw is None else self._draw.num_utterances

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, 0 or more, whose batches come next."""
        if epoch != self.epoch:
            self.epoch, self._batches = epoch, None

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._epoch_batches())

    def __len__(self) -> int:
        return len(self._epoch_batches())

    def padding_waste(self) -> float:
        """Share of this epoch's steps, over all modalities and this process's batches, that are padding: 0 .. 1."""
        real, padded = 0, 0
        for batch in self._epoch_batches():
            steps = self._steps[:, batch]
            real += int(steps.sum())
            padded += int(np.maximum(steps.max(axis=1), 1).sum()) * len(batch)
        return 1.0 - real / padded

    def _epoch_batches(self) -> list[list[int]]:
        if self._batches is None:
            generator = np.random.default_rng([self.seed, self.epoch])
            batches = self._cut(self._order(generator))
            if self.shuffle:
                batches = [batches[place] for place in generator.permutation(len(batches))]
            batches = _fill(batches, self.num_replicas)
            self._batches = [batch[self.rank :: self.num_replicas].tolist() for batch in batches]
        return self._batches

    def _order(self, generator: np.random.Generator) -> np.ndarray:
        """All indices in the order in which they are cut into batches."""
        drawn = np.arange(self._steps.shape[1]) if self._draw is None else self._draw.indices(self.epoch)
        cost = self._steps.sum(axis=0).astype(np.float64)[drawn]
        if self._contexts is not None:
            if self.shuffle:
                return np.argsort(generator.permutation(self._contexts.max() + 1)[self._contexts], kind="stable")
            return np.lexsort((self._contexts, cost))
        if not self.shuffle:
            return drawn[np.argsort(cost, kind="stable")]
        order = generator.permutation(cost.size)
        noisy = cost[order] * generator.uniform(1.0 - _LENGTH_NOISE, 1.0 + _LENGTH_NOISE, cost.size)
        window = np.arange(cost.size) // (_BATCHES_PER_WINDOW * self._typical_batch())
        return drawn[order[np.lexsort((noisy, window))]]

    def _typical_batch(self) -> int:
        sizes = [] if self.batch_utterances is None else [self.batch_utterances]
        if self.batch_steps is not None:
            sizes.append(int(self.batch_steps / max(float(self._steps.max(axis=0).mean()), 1.0)))
        return max(1, min(sizes))

    def _cut(self, order: np.ndarray) -> list[np.ndarray]:
        """Cuts the order into batches that keep the budget."""
        most = order.size if self.batch_utterances is None else self.batch_utterances
        if self.batch_steps is None:
            return [order[start : start + most] for start in range(0, order.size, most)]
        longest_of = np.maximum(self._steps.max(axis=0), 1)[order].tolist()
        cuts, longest, start = [], 0, 0
        for place, steps in enumerate(longest_of):
            size = place - start + 1
            if place > start and (size > most or size * max(longest, steps) > self.batch_steps):
                cuts.append(place)
                start, longest = place, 0
            longest = max(longest, steps)
        return np.split(order, cuts)


def _stacked(lengths: Mapping[str, np.ndarray]) -> np.ndarray:
    """(modality, utterances) steps."""
    counts = {name: len(values) for name, values in lengths.items()}
    if not counts or len(set(counts.values())) != 1 or 0 in counts.values():
        raise DataError(f"Batches need the lengths of the same utterances, at least one, in each modality; got this many: {counts or 'none'}.")
    return np.stack([np.asarray(values, dtype=np.int64) for values in lengths.values()])


def _check_budget(batch_utterances: int | None, batch_steps: int | None, num_replicas: int, rank: int) -> None:
    if batch_utterances is None and batch_steps is None:
        raise DataError("A batch needs a budget: give batch_utterances, batch_steps (padded steps), or both.")
    if batch_steps is not None and batch_steps < 1:
        raise DataError(f"batch_steps is {batch_steps}; expected at least 1 padded step a batch, usually some thousands.")
    if batch_utterances is not None and batch_utterances < num_replicas:
        raise DataError(
            f"batch_utterances is {batch_utterances}; expected at least {num_replicas}, one for each process, since it counts the whole "
            "batch over all processes. Use a larger batch or fewer processes."
        )
    assert 0 <= rank < num_replicas, f"rank {rank} of {num_replicas}"


def _fill(batches: list[np.ndarray], smallest: int) -> list[np.ndarray]:
    """The batches with those below `smallest` utterances filled from the largest others, or joined where none can give."""
    batches = list(batches)
    small = [place for place, batch in enumerate(batches) if batch.size < smallest]
    for place in small:
        while 0 < batches[place].size < smallest:
            donor = max(range(len(batches)), key=lambda other: batches[other].size)
            missing = smallest - batches[place].size
            spare = min(missing, batches[donor].size - smallest)
            if spare <= 0:  # no batch can give: join with another that is not empty
                donor = next(other for other, batch in enumerate(batches) if other != place and batch.size)
                spare = batches[donor].size
            batches[place] = np.concatenate([batches[place], batches[donor][batches[donor].size - spare :]])
            batches[donor] = batches[donor][: batches[donor].size - spare]
    return [batch for batch in batches if batch.size]


class _BatchesOf(Dataset[Batch]):
    """A split as a data set whose items are batches: what it is asked for is a list of indices."""

    def __init__(self, split: BatchableSplit, modalities: Sequence[str] | None, shares_contexts: bool):
        self.split, self.modalities, self.shares_contexts = split, modalities, shares_contexts

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, indices: list[int]) -> Batch:
        return self.split.batch(indices, self.modalities, shares_contexts=self.shares_contexts)


def data_loader(
    split: BatchableSplit,
    sampler: Sampler[list[int]],
    *,
    modalities: Sequence[str] | None = None,
    num_workers: int = 0,
    pin_memory: bool = False,
    shares_contexts: bool = False,
) -> DataLoader[Batch]:
    """A loader that gives the sampler's batches of a split.

    The sampler is the loader's own `sampler` (no other batching lies on top), so that Lightning tells it the epoch.

    Args:
        split: what to read.
        sampler: such as a `LengthBucketSampler` over the split's lengths.
        modalities: those to read; by default all.
        num_workers: worker processes; the store is memory-mapped, so 0 is often fastest.
        pin_memory: page-locked batches, for a GPU.
        shares_contexts: see `BatchableSplit.batch`.
    """
    return DataLoader(
        _BatchesOf(split, modalities, shares_contexts),
        batch_size=None,
        sampler=sampler,
        num_workers=num_workers,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
        worker_init_fn=_single_thread,
        generator=torch.Generator(),  # of its own, so that reading data draws nothing from the global random state
    )


def _single_thread(worker: int) -> None:
    torch.set_num_threads(1)
