"""A split whose text a language model reads: its transcripts as word-pieces, the other modalities as they are."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from multigrain.data.batchable import BatchableSplit
from multigrain.data.store_format import map_tensors
from multigrain.language.pieces import NO_WORD, TokenTable
from multigrain.language.words import cut_words
from multigrain.schema import MODALITIES, ModalitySequence, TokenSequence, Utterance

STATES = "text/states"
"""Name of the tensor with cached states: one row a piece, in the order of the split's `TokenTable`."""


def words_of(record: dict[str, Any]) -> list[str]:
    """The words of an utterance's record: those that it lists, else its transcript's, also of scripts without spaces; none where it has neither."""
    return list(record["words"]) if record.get("words") else cut_words(str(record.get("text") or ""))


class LanguageSplit(BatchableSplit):
    """Utterances of a store's split with word-pieces for text. It can be pickled and used in worker processes.

    Attributes:
        name: `train`, `valid` or `test`.
        modalities: those of the split, and text.
        table: all pieces of the split.
    """

    def __init__(self, split: BatchableSplit, table: TokenTable, states: Path | None = None):
        """Puts word-pieces in the place of a split's text.

        Args:
            split: whose other modalities, labels and records these are.
            table: the pieces of its utterances, in order.
            states: the safetensors file of a frozen language model's states; None where the model makes them.
        """
        self.name, self.table = split.name, table
        self.modalities = tuple(name for name in MODALITIES if name == "text" or name in split.modalities)
        self._split, self._states_file = split, states

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: not the memory map."""
        return {key: value for key, value in self.__dict__.items() if key != "_states"}

    def __len__(self) -> int:
        return len(self._split)

    @cached_property
    def _states(self) -> Float[np.ndarray, "token dim"] | None:
        return None if self._states_file is None else map_tensors(self._states_file)[STATES]

    @property
    def ids(self) -> tuple[str, ...]:
        """The utterances' ids, in order."""
        return self._split.ids

    @property
    def groups(self) -> tuple[str, ...]:
        """The utterances' videos or speakers, in order."""
        return self._split.groups

    @property
    def labels(self) -> Float[Tensor, "utterances label"] | None:
        """Labels in the task's own units, or None when the split is unlabelled."""
        return self._split.labels

    @property
    def records(self) -> list[dict[str, Any]]:
        """Each utterance's id, group, text, words, start_seconds, end_seconds."""
        return self._split.records

    def lengths(self, modality: str) -> Int[np.ndarray, " utterances"]:
        """Steps of each utterance: of text, word-pieces; 0 where the modality is absent."""
        return self.table.lengths if modality == "text" else self._split.lengths(modality)

    def starts(self, modality: str) -> Int[np.ndarray, " utterances"]:
        """Where each utterance's sequence begins among all steps of the modality."""
        return self.table.starts if modality == "text" else self._split.starts(modality)

    def num_steps(self, modality: str) -> int:
        """Steps of all sequences of a modality."""
        return len(self.table.ids) if modality == "text" else self._split.num_steps(modality)

    def utterance(self, index: int) -> Utterance:
        """One utterance as a reader would yield it, with the text that its store has.

        Raises:
            IndexError: no such utterance.
        """
        return self._split.utterance(index)

    def check_modalities(self, modalities: Sequence[str]) -> None:
        """Raises DataError for one that is not there; text always is."""
        self._split.check_modalities([name for name in modalities if name != "text"])

    def sequences(self, rows: Int[np.ndarray, " batch"], modalities: Sequence[str]) -> dict[str, ModalitySequence]:
        """The modalities of some utterances; text with its cached states, or with features of width 0 beside `tokens`."""
        found = self._split.sequences(rows, [name for name in modalities if name != "text"])
        if "text" in modalities:
            text = self.table.sequence(rows)
            found["text"] = text if self._states is None else ModalitySequence(self._read_states(rows, text.mask), text.mask, text.readout)
        return found

    def _read_states(self, rows: np.ndarray, mask: Tensor) -> Float[Tensor, "batch token dim"]:
        assert self._states is not None
        states = torch.zeros(*mask.shape, self._states.shape[1])
        for row, (start, length) in enumerate(zip(self.table.starts[rows], self.table.lengths[rows], strict=True)):
            states[row, :length] = torch.from_numpy(self._states[start : start + length].copy())
        return states

    def tokens(self, rows: Int[np.ndarray, " batch"]) -> TokenSequence:
        """The word-pieces of some utterances, padded as their text is."""
        return self.table.tokens(rows)

    def numbers_together(self, modality: str, numbers: Float[np.ndarray, " steps"]) -> Float[np.ndarray, " steps"]:
        """Of text: a word's pieces share the first one's number, and special tokens have the largest of their utterance, so that they stay last."""
        if modality != "text":
            return self._split.numbers_together(modality, numbers)
        table, shared = self.table, numbers.copy()
        for start, length in zip(table.starts, table.lengths, strict=True):
            word, own = table.word[start : start + length], shared[start : start + length]
            is_piece = word != NO_WORD
            _, first, which = np.unique(word[is_piece], return_index=True, return_inverse=True)
            own[is_piece] = own[is_piece][first][which]
            own[~is_piece] = own[is_piece].max(initial=0.0)
        return shared
