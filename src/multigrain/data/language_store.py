"""A store whose transcripts a language model reads: cut into word-pieces once, and with a frozen model's states from the cache."""

import hashlib
import json
import logging
from pathlib import Path

from multigrain.data.language_split import LanguageSplit, words_of
from multigrain.data.state_cache import cached_states
from multigrain.data.store import Store
from multigrain.errors import DataError
from multigrain.language.pieces import TokenTable
from multigrain.language.reader import TextReader

logger = logging.getLogger(__name__)


def open_store(path: str | Path, reader: TextReader | None) -> Store:
    """Opens a store, with its transcripts read by a language model where there is one; see `Store.open` and `read_text_with`."""
    store = Store.open(path)
    return store if reader is None else read_text_with(store, reader)


def has_transcripts(store: Store) -> bool:
    """Whether any utterance has words."""
    return any(words_of(record) for split in store.splits.values() for record in split.records)


def no_transcripts(where: str) -> DataError:
    """The error for stores without a single transcript."""
    return DataError(
        f"A text encoder is to read the transcripts, but no utterance of {where} has one. Convert the data set with its transcripts (the column "
        "text of `--format transcripts` or `arrays`), or take the section text_encoder out of the recipe."
    )


def read_text_with(store: Store, reader: TextReader) -> Store:
    """The store with its transcripts as word-pieces in place of whatever text features it has.

    Args:
        store: with transcripts; an utterance that has none is without text.
        reader: the language model. A frozen one's states are computed here, unless they are cached for this very store and encoder.

    Raises:
        DataError: no utterance has a transcript, or the cache cannot be written.
        RecipeError: the encoder's tokenizer or weights cannot be read.
    """
    if not has_transcripts(store):
        raise no_transcripts(str(store))
    transcripts = {name: [words_of(record) for record in split.records] for name, split in store.splits.items()}
    tables = {name: reader.pieces.split(words) for name, words in transcripts.items()}
    _warn_of_cut(store, reader, tables)
    states = cached_states(store, reader, tables, _digest(transcripts)) if reader.settings.is_frozen else {}
    splits = {name: LanguageSplit(split, tables[name], states.get(name)) for name, split in store.splits.items()}
    return store.with_text(reader.spec, splits)


def _digest(transcripts: dict[str, list[list[str]]]) -> str:
    """SHA-256 over all words, since a store's fingerprint says nothing of transcripts beside text vectors."""
    return hashlib.sha256(json.dumps(transcripts, ensure_ascii=False).encode()).hexdigest()


def _warn_of_cut(store: Store, reader: TextReader, tables: dict[str, TokenTable]) -> None:
    counts = {name: table.num_cut for name, table in tables.items() if table.num_cut}
    if counts:
        longest, limit = max(table.longest for table in tables.values()), reader.token_limit
        logger.warning(
            "%s of %s have more than text_encoder.max_tokens = %d word-pieces (up to %d); what is beyond was cut off. %s",
            " and ".join(f"{count} of {len(tables[name].lengths)} transcripts in {name!r}" for name, count in counts.items()),
            store,
            reader.settings.max_tokens,
            longest,
            "The language model takes no more."
            if limit == reader.settings.max_tokens
            else f"Raise it{'' if limit is None else f', to {limit} at most'}, if they are to be read whole.",
        )
