"""From words to word-pieces and back: each piece knows the word that it is of.

A transcript's words are joined as they are written (`words.join_words`) and cut by the encoder's own tokenizer; a piece belongs to the word that
its last character lies in. So the pieces are those of the plain transcript, whatever kind of tokenizer it is. Special tokens belong to no word.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from multigrain.errors import RecipeError
from multigrain.language.words import gaps, join_words
from multigrain.schema import ModalitySequence, TokenSequence

NO_WORD = -1
"""The word of special tokens and padding."""


@dataclass(frozen=True, kw_only=True)
class TokenTable:
    """The word-pieces of many utterances, one after another.

    Attributes:
        ids: vocabulary ids.
        word: the word of its utterance, from 0, that each piece is of; -1 for special tokens.
        lengths: pieces of each utterance; 0 for one without words.
        num_cut: utterances whose end was cut off.
        longest: pieces of the longest utterance, before cutting.
    """

    ids: Int[np.ndarray, " token"]
    word: Int[np.ndarray, " token"]
    lengths: Int[np.ndarray, " utterance"]
    num_cut: int
    longest: int

    @cached_property
    def starts(self) -> Int[np.ndarray, " utterance"]:
        """The first piece of each utterance among all."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths)[:-1]]) if len(self.lengths) else np.zeros(0, np.int64)

    def sequence(self, rows: Int[np.ndarray, " batch"]) -> ModalitySequence:
        """Which pieces of some utterances are real, padded on the right to the longest (at least one), with features of width 0.

        The step that stands for the utterance is the last token, as everywhere: a recurrent model has then read all of them.
        """
        lengths = torch.from_numpy(self.lengths[rows])
        return ModalitySequence.from_lengths(torch.zeros(len(rows), max(1, int(lengths.max())), 0), lengths)

    def tokens(self, rows: Int[np.ndarray, " batch"]) -> TokenSequence:
        """The pieces of some utterances, padded on the right as `sequence` is."""
        mask = self.sequence(rows).mask
        ids, word = torch.zeros(mask.shape, dtype=torch.long), torch.full(mask.shape, NO_WORD)
        chosen = np.concatenate([np.arange(start, start + length) for start, length in zip(self.starts[rows], self.lengths[rows], strict=True)])
        ids[mask], word[mask] = torch.from_numpy(self.ids[chosen]), torch.from_numpy(self.word[chosen])
        return TokenSequence(ids, mask, word)


class WordPieces:
    """The tokenizer of an encoder. It can be pickled: the tokenizer is opened when first used.

    Args:
        folder: the encoder's.
        max_tokens: pieces of an utterance at most, special ones included.
    """

    def __init__(self, folder: Path, max_tokens: int):
        self.folder, self.max_tokens = folder, max_tokens

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "max_tokens": self.max_tokens}

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else it warns of every process that is forked later, to prepare batches
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        except (OSError, ValueError, ImportError, TypeError, AttributeError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise RecipeError(
                f"The tokenizer of the text encoder in {self.folder} cannot be opened ({reason}). "
                "Put the tokenizer's files beside the weights: `AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)`."
            ) from error
        if not tokenizer.is_fast:
            raise RecipeError(
                f"The tokenizer of the text encoder in {self.folder} cannot say which characters a piece is made of, so that no piece could be "
                "traced to its word. Use an encoder with a tokenizer.json."
            )
        return tokenizer

    @property
    def unknown_id(self) -> int | None:
        """The id of a piece that the encoder does not know; None where it knows all, such as bytes."""
        return self._tokenizer.unk_token_id

    def count(self, transcripts: Sequence[Sequence[str]]) -> list[int]:
        """The pieces of each transcript in full, special ones included, however many the encoder takes; 0 for one without words."""
        texts = [join_words(words) for words in transcripts]
        found = self._tokenizer([text or " " for text in texts], truncation=False, verbose=False).encodings if texts else []
        return [len(encoding.ids) if text.strip() else 0 for text, encoding in zip(texts, found, strict=True)]

    def split(self, transcripts: Sequence[Sequence[str]]) -> TokenTable:
        """The pieces of each transcript, given as its words; one without words has none, not even special ones."""
        spoken = [join_words(words) for words in transcripts]
        texts = [text for text in spoken if text.strip()]
        encodings = self._tokenizer(texts, truncation=True, max_length=self.max_tokens, verbose=False).encodings if texts else []
        found = iter(encodings)
        ids: list[int] = []
        word: list[int] = []
        lengths = np.zeros(len(spoken), np.int64)
        for index, text in enumerate(spoken):
            if not text.strip():
                continue
            encoding = next(found)
            ids += encoding.ids
            word += _words_of_pieces(encoding, transcripts[index]).tolist()
            lengths[index] = len(encoding.ids)
        cut = [encoding for encoding in encodings if encoding.overflowing]
        specials = [sum(encoding.special_tokens_mask) for encoding in cut]
        beyond = [sum(len(part.ids) - special for part in encoding.overflowing) for encoding, special in zip(cut, specials, strict=True)]
        longest = max([int(lengths.max(initial=0)), *(len(encoding.ids) + more for encoding, more in zip(cut, beyond, strict=True))])
        return TokenTable(ids=np.array(ids, np.int64), word=np.array(word, np.int64), lengths=lengths, num_cut=len(cut), longest=longest)


def _words_of_pieces(encoding: Any, words: Sequence[str]) -> Int[np.ndarray, " token"]:
    """Which word each piece of a text is of: that in which its last character lies, or that which follows where the piece is but a space."""
    spaces = np.array([len(gap) for gap in gaps(words)], np.int64)
    lengths = np.array([len(word) for word in words], np.int64)
    starts = np.cumsum(spaces + lengths) - lengths
    ends = np.array([end for _, end in encoding.offsets])
    last = ends - 1
    found = np.searchsorted(starts, last + np.isin(last, starts[spaces > 0] - 1), side="right") - 1
    return np.where(np.array(encoding.special_tokens_mask, bool), NO_WORD, np.maximum(found, 0))
