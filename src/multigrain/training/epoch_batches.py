"""One pass over a split for one of the processes that train together.

Every process draws the same batches from the same sampler and takes its part of each: rank r of R takes every R-th
utterance. So R processes see what one would, and no utterance is seen twice, whatever R is. A part's weight makes
up for parts of unequal size: the mean over processes of weight x mean loss is the mean loss of the whole batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import Sampler

from multigrain.data.batchable import BatchableSplit
from multigrain.data.batching import LengthBucketSampler, data_loader
from multigrain.schema import Batch
from multigrain.training.modality_dropout import ModalityDropout


@dataclass
class BatchPart:
    """A process's part of a batch.

    Attributes:
        batch: its utterances.
        utterances: how many of them count: 0 when the whole batch has fewer utterances than there are processes
            and one was repeated to keep the processes in step, else all.
        weight: utterances x processes / utterances of the whole batch; 1 with one process.
    """

    batch: Batch
    utterances: int
    weight: float

    def to(self, device: torch.device | str) -> "BatchPart":
        """The same part on another device."""
        return BatchPart(self.batch.to(device), self.utterances, self.weight)


def part_of(indices: Sequence[int], num_replicas: int, rank: int) -> tuple[list[int], int]:
    """The utterances of a batch that a process takes, and how many of them count."""
    own = list(indices[rank::num_replicas])
    return (own, len(own)) if own else (list(indices[:1]), 0)


class PartSampler(Sampler[list[int]]):
    """This process's part of each batch that a sampler draws."""

    def __init__(self, sampler: LengthBucketSampler, num_replicas: int, rank: int):
        self.sampler, self.num_replicas, self.rank = sampler, num_replicas, rank

    def __iter__(self) -> Iterator[list[int]]:
        return (part_of(indices, self.num_replicas, self.rank)[0] for indices in self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)


class EpochBatches:
    """The batches of one epoch, as an iterable with a length; `bucket_sampler.set_epoch` chooses the epoch."""

    def __init__(
        self,
        split: BatchableSplit,
        sampler: LengthBucketSampler,
        *,
        modalities: Sequence[str],
        num_workers: int = 0,
        pin_memory: bool = False,
        num_replicas: int = 1,
        rank: int = 0,
        modality_dropout: ModalityDropout | None = None,
        shares_contexts: bool = False,
    ):
        """Prepares a pass.

        Args:
            split: what the indices point into.
            sampler: draws whole batches, the same in every process.
            modalities: those to read.
            num_workers: processes that prepare batches; 0 for none.
            pin_memory: prepare batches for copies to a GPU.
            num_replicas: processes that train together.
            rank: which of them this is.
            modality_dropout: takes modalities away, in training; None for none.
            shares_contexts: read what utterances share in a context once; see `BatchableSplit.batch`.
        """
        self.split, self.bucket_sampler = split, sampler
        self.num_replicas, self.rank = num_replicas, rank
        self.modality_dropout = modality_dropout
        parts = PartSampler(sampler, num_replicas, rank)
        self._loader = data_loader(
            split, parts, modalities=tuple(modalities), num_workers=num_workers, pin_memory=pin_memory, shares_contexts=shares_contexts
        )

    def __len__(self) -> int:
        return len(self.bucket_sampler)

    def __iter__(self) -> Iterator[BatchPart]:
        for batch, indices in zip(self._loader, self.bucket_sampler, strict=True):
            own, counted = part_of(indices, self.num_replicas, self.rank)
            if self.modality_dropout is not None:
                batch = self.modality_dropout.apply(batch, own, self.bucket_sampler.epoch)
            yield BatchPart(batch, counted, counted * self.num_replicas / len(indices))
