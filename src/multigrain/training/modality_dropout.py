"""Modality dropout: in training an utterance loses a whole modality now and then, so that the model learns to do without.

What is lost is absent as it would be in a store: no step of it is real. The draw of an epoch is made for the whole split at once from
(seed, epoch) alone, so that it is the same whether or not the run was resumed, however utterances are batched and among however many
processes, and no other random number is touched. Decisions: docs/decisions/missing-modalities.md.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Int

from multigrain.schema import Batch, ModalitySequence

logger = logging.getLogger(__name__)

_STREAM = 1_000_000  # keeps the draw apart from others that are seeded from (seed, epoch) or (seed, epoch, process)


def draw_lost(
    present: Bool[np.ndarray, "utterances modality"], rates: Sequence[float], generator: np.random.Generator
) -> Bool[np.ndarray, "utterances modality"]:
    """Which modalities each utterance loses: each with its rate, independently, but never all that it has.

    Where the draw takes all, one of those, chosen evenly, is kept. So with k modalities present the share that loses one of them is
    its rate less `1/k` of the product of their rates: at 0.1, 0.3, 0.3 that is 0.097, 0.297, 0.297. An utterance's only modality is
    never lost.

    Args:
        present: which modalities each utterance has.
        rates: one per modality, each in 0 .. 1, 1 excluded.
        generator: gives two numbers per utterance and modality, whatever the rates are.
    """
    numbers, chances = generator.random(present.shape), generator.random(present.shape)
    lost = present & (numbers < np.asarray(rates))
    emptied = np.flatnonzero(present.any(axis=1) & (lost == present).all(axis=1))
    kept = np.where(present[emptied], chances[emptied], -1.0).argmax(axis=1)
    lost[emptied, kept] = False
    return lost


def lose(batch: Batch, lost: Mapping[str, Bool[np.ndarray, " batch"]]) -> Batch:
    """The batch with some utterances' modalities absent; text takes its tokens along.

    Args:
        batch: is left as it is.
        lost: modality of the batch -> True where the utterance loses it.
    """
    sequences, tokens = {}, batch.tokens
    for name, rows in lost.items():
        if not rows.any():
            continue
        gone, sequence = torch.from_numpy(rows), batch.modalities[name]
        sequences[name] = ModalitySequence(sequence.features, sequence.mask & ~gone[:, None], sequence.readout.masked_fill(gone, 0))
        if name == "text" and tokens is not None:
            tokens = replace(tokens, mask=tokens.mask & ~gone[:, None])
    return replace(batch.with_modalities(sequences), tokens=tokens) if sequences else batch


class ModalityDropout:
    """Takes modalities away from a split's utterances, anew each epoch.

    Args:
        rates: modality -> share of utterances that lose it, in 0 .. 1, 1 excluded; one that is not named is never lost.
        lengths: modality that the model reads -> (utterances,) steps, 0 where absent.
        seed: of the run.
    """

    def __init__(self, rates: Mapping[str, float], lengths: Mapping[str, Int[np.ndarray, " utterances"]], seed: int):
        self._names = list(lengths)
        self._rates = [rates.get(name, 0.0) for name in self._names]
        self._present = np.stack([values > 0 for values in lengths.values()], axis=1)
        self._seed = seed
        self._epoch, self._lost = -1, np.zeros_like(self._present)

    def apply(self, batch: Batch, indices: Sequence[int], epoch: int) -> Batch:
        """A batch as the model is to see it.

        Args:
            batch: is left as it is.
            indices: its utterances' positions in the split.
            epoch: 0 or more.
        """
        if epoch != self._epoch:
            self._lost = draw_lost(self._present, self._rates, np.random.default_rng([self._seed, epoch, _STREAM]))
            self._epoch = epoch
        return lose(batch, dict(zip(self._names, self._lost[list(indices)].T, strict=True)))


def warn_without_effect(rates: Mapping[str, float], modalities: Sequence[str]) -> None:
    """Says in the log which rates change nothing: those of modalities that the model does not read, or the only one that it reads."""
    unused = [name for name, rate in rates.items() if rate > 0 and (name not in modalities or len(modalities) == 1)]
    if unused:
        logger.warning(
            "training.modality_dropout names %s, which has no effect: the model reads %s, and an utterance never loses all that it has.",
            ", ".join(unused),
            ", ".join(modalities),
        )
