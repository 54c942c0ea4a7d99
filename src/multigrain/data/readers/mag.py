"""MAG-BERT's pickle: `{train|dev|test: [((words, vision, audio), label, segment)]}`, aligned by words, nothing padded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multigrain.data.readers.base import SPLIT_NAMES, Reader, ReadOptions, ReadResult, missing_split
from multigrain.data.readers.misa import WORD_OPTIONS, read_items
from multigrain.data.safe_pickle import load
from multigrain.errors import DataError
from multigrain.schema import SPLITS


def read(source: Path, options: ReadOptions) -> ReadResult:
    """Opens a MAG-BERT pickle.

    Raises:
        DataError: a split is missing, an item has another form, widths differ, or a label is not a number.
    """
    content = load(source)
    if not isinstance(content, Mapping):
        raise DataError(f"{source} holds a {type(content).__name__}; expected a dict with train, dev and test. Check --format.")
    lists = {SPLIT_NAMES[str(key)]: value for key, value in content.items() if str(key) in SPLIT_NAMES}
    for split in options.source_splits:
        if split not in lists:
            raise missing_split(source, split, [str(key) for key in content])
    wanted = {split: lists[split] for split in options.source_splits}
    return read_items(wanted, source, options, options.splits or SPLITS, _parts)


def _parts(inputs: Any) -> tuple[Any, Any, Any]:
    words, vision, audio = inputs
    return words, vision, audio


READER = Reader(name="mag", description="MAG-BERT's pickle with words: MOSI, MOSEI, aligned by words", options=WORD_OPTIONS, read=read)
