"""Frames that are missing: what a model is given when a tracker loses the face, or a transcript has gaps.

A missing frame is taken out, and the frames after it move up: the sequence is shorter, and nothing stands where the frame was. This is
the same for every model. A hole that is only masked would not be: attention passes it over, but a recurrent network reads it as a step of
zeros. Decisions: docs/decisions/missing-modalities.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from multigrain.schema import MODALITIES, Batch, ModalitySequence, TokenSequence

if TYPE_CHECKING:
    from multigrain.data.batchable import BatchableSplit

FRAME_SEED = 0
"""Of the choice of missing frames; the same for every run, so that runs are compared on the same frames."""


def keep_steps(sequence: ModalitySequence, kept: Bool[Tensor, "batch time"]) -> ModalitySequence:
    """The sequence with the kept steps alone, in their order, moved together.

    The step that stands for the utterance stays the same one; where it is not kept, the last kept one before it takes its place, or the
    first kept one after it. A row of which no step is kept is an absent modality.

    Args:
        sequence: is left as it is.
        kept: True where a step stays; what it says of padding has no effect.
    """
    kept = kept & sequence.mask
    lengths = kept.sum(dim=1)
    order = (~kept).long().argsort(dim=1, stable=True)[:, : max(1, int(lengths.max()))]
    features = sequence.features.gather(1, order.unsqueeze(-1).expand(-1, -1, sequence.features.shape[-1]))
    kept_up_to_readout = kept.cumsum(dim=1).gather(1, sequence.readout.unsqueeze(1)).squeeze(1)
    return ModalitySequence.from_lengths(features, lengths, (kept_up_to_readout - 1).clamp(min=0))


def keep_tokens(tokens: TokenSequence, kept: Bool[Tensor, "batch token"]) -> TokenSequence:
    """The kept word-pieces alone, in their order, moved together; see `keep_steps`."""
    kept = kept & tokens.mask
    lengths = kept.sum(dim=1)
    order = (~kept).long().argsort(dim=1, stable=True)[:, : max(1, int(lengths.max()))]
    mask = torch.arange(order.shape[1], device=lengths.device)[None, :] < lengths[:, None]
    return TokenSequence(tokens.ids.gather(1, order), mask, tokens.word.gather(1, order).masked_fill(~mask, -1))


class MissingFrames:
    """Which frames of a split are missing at each rate.

    Every frame has a number in 0 .. 1, drawn once, and is missing at the rates above it. So a frame that is missing at one rate is missing
    at every higher one, utterances that share a video's frames miss the same ones, and neither the batch nor the other modalities matter.

    Args:
        split: whose frames.
        modalities: those that the model reads.
        is_aligned: all modalities of an utterance miss the same steps, since the model needs as many steps in each.
        seed: of the numbers.
    """

    def __init__(self, split: "BatchableSplit", modalities: Sequence[str], *, is_aligned: bool = False, seed: int = FRAME_SEED):
        self._split, self._modalities, self._is_aligned = split, tuple(modalities), is_aligned
        self._numbers = {
            name: split.numbers_together(name, np.random.default_rng([seed, MODALITIES.index(name)]).random(split.num_steps(name), dtype=np.float32))
            for name in modalities
        }

    def remove(self, batch: Batch, indices: Sequence[int] | np.ndarray, rates: Mapping[str, float]) -> Batch:
        """A batch without its missing frames; where a language model reads the text, it reads what is left of the transcript.

        Args:
            batch: is left as it is.
            indices: its utterances' positions in the split.
            rates: modality of the batch -> share of its frames that are missing, 0 .. 1.
        """
        if not rates:
            return batch
        assert batch.speakers is None, "speakers would have to lose their steps too"
        shorter, tokens = {}, batch.tokens
        for name, rate in rates.items():
            sequence = batch.modalities[name]
            kept = torch.from_numpy(self._step_numbers(name, indices, sequence.mask.shape[1]) >= rate).to(sequence.mask.device)
            if name == "text" and tokens is not None:  # cached states know the words that are gone: they are left out, to be made anew
                tokens, sequence = keep_tokens(tokens, kept), replace(sequence, features=sequence.features[..., :0])
            shorter[name] = keep_steps(sequence, kept)
        return replace(batch.with_modalities(shorter), tokens=tokens)

    def _step_numbers(self, modality: str, indices: Sequence[int] | np.ndarray, time: int) -> Float[np.ndarray, "batch time"]:
        """The number of each step; 1 in the padding."""
        numbers = np.ones((len(indices), time), dtype=np.float32)
        for row, index in enumerate(indices):
            drawn = self._first_present(int(index)) if self._is_aligned else modality
            start, length = int(self._split.starts(drawn)[index]), int(self._split.lengths(drawn)[index])
            own = self._numbers[drawn][start : start + min(length, time)]
            numbers[row, : len(own)] = own
        return numbers

    def _first_present(self, index: int) -> str:
        present = (name for name in self._modalities if self._split.lengths(name)[index] > 0)
        return next(present, self._modalities[0])
