"""Word counts from a file of transcripts, and batches as a plain loader makes them."""

import csv
from pathlib import Path

import numpy as np

from multigrain.benchmark.lengths import MOST_WORDS, draw_words, full_batches
from multigrain.errors import DataError


def word_counts(count: int, source: Path | None, generator: np.random.Generator) -> np.ndarray:
    """Words of `count` utterances, 1 to 50 each.

    Args:
        count: how many utterances.
        source: a CSV file with a `text` column to draw real counts from; None draws from MOSI's law.
        generator: of the draw.

    Raises:
        DataError: the file has no such column, or no rows.
    """
    if source is None:
        return draw_words(count, generator)
    with source.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if "text" not in (reader.fieldnames or []):
            raise DataError(f"{source} has no column `text` (found {reader.fieldnames}). Name a CSV file with one transcript a row.")
        observed = [min(max(len((row["text"] or "").split()), 1), MOST_WORDS) for row in reader]
    if not observed:
        raise DataError(f"{source} has no rows. Name a CSV file with one transcript a row, or leave out --words.")
    return generator.choice(observed, count)


def random_batches(steps: np.ndarray, batch: int, *, seed: int) -> list[np.ndarray]:
    """The full batches of one epoch in random order, as a plain loader makes them."""
    order = np.random.default_rng(seed).permutation(len(steps))
    return full_batches([steps[order[start : start + batch]] for start in range(0, len(order), batch)], batch)
