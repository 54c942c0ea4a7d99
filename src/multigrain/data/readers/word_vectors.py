"""Word vectors from a file, for sources that give words but no text features."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from multigrain.data.readers.base import existing
from multigrain.data.readers.npz_files import open_npz
from multigrain.errors import DataError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WordVectors:
    """Vectors of the words that a source needs.

    Attributes:
        name: of the file, which stands as the text's extractor.
        dim: length of a vector.
        vectors: by word as spelt in the file.
    """

    name: str
    dim: int
    vectors: dict[str, Float[np.ndarray, " dim"]]

    def features(self, words: Sequence[str]) -> Float[np.ndarray, "word dim"]:
        """One vector a word; zeros for a word that has none, so that the steps stay those of the words."""
        empty = np.zeros(self.dim, dtype=np.float32)
        return (
            np.stack([self.vectors.get(word, self.vectors.get(word.lower(), empty)) for word in words])
            if words
            else np.zeros((0, self.dim), np.float32)
        )

    def coverage(self, words: Iterable[str]) -> str:
        """How many of the words have a vector, as a sentence."""
        every = list(words)
        found = sum(word in self.vectors or word.lower() in self.vectors for word in every)
        share = 100 * found / max(len(every), 1)
        return f"word vectors of {self.name}: {found} of {len(every)} words ({share:.1f} %) have one, the others are steps of zeros"


def load_word_vectors(path: Path, needed: set[str]) -> WordVectors:
    """The vectors of the needed words (as spelt, or in lower case) out of a file, read line by line.

    Args:
        path: text with a word and its numbers on each line (GloVe), or npz with `words` (n,) and `vectors` (n, dim).
        needed: the words of the source.

    Raises:
        DataError: the file is missing or of another form.
    """
    existing(path, "file of word vectors")
    spellings = needed | {word.lower() for word in needed}
    vectors = _from_npz(path, spellings) if path.suffix == ".npz" else _from_text(path, spellings)
    if not vectors:
        raise DataError(f"{path} has a vector for none of the {len(needed)} words of the source. Give word vectors of the source's language.")
    return WordVectors(name=path.stem, dim=len(next(iter(vectors.values()))), vectors=vectors)


def _from_npz(path: Path, spellings: set[str]) -> dict[str, np.ndarray]:
    arrays = open_npz(path)
    missing = [name for name in ("words", "vectors") if name not in arrays]
    if missing:
        raise DataError(
            f"{path} has no array {missing[0]!r}; it holds {sorted(arrays)}. An npz of word vectors needs `words` (n,) and `vectors` (n, dim)."
        )
    words, values = arrays["words"], arrays["vectors"]
    if words.ndim != 1 or values.ndim != 2 or len(values) != len(words) or values.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: `vectors` has shape {values.shape} and type {values.dtype} for words of shape {words.shape}; expected a row of numbers a word."
        )
    return {str(word): values[index].astype(np.float32) for index, word in enumerate(words) if str(word) in spellings}


def _from_text(path: Path, spellings: set[str]) -> dict[str, np.ndarray]:
    vectors: dict[str, np.ndarray] = {}
    dim: int | None = None
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            parts = line.rstrip("\n").split(" ")
            if number == 1 and len(parts) == 2:
                continue  # word2vec's heading: count and width
            dim = len(parts) - 1 if dim is None else dim
            word = " ".join(parts[:-dim]) if dim else parts[0]  # some of GloVe's words hold spaces
            if word not in spellings or word in vectors:
                continue
            try:
                vectors[word] = np.array(parts[-dim:], dtype=np.float32)
            except ValueError as error:
                raise DataError(
                    f"{path}, line {number}: expected a word and {dim} numbers; got {line[:60]!r}. Is it a file of word vectors?"
                ) from error
    return vectors
