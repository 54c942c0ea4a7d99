"""Opening what a recipe names as its data: one store, or several as one, and the language model that reads the transcripts."""

import logging
import os
from dataclasses import replace

from multigrain.data.joint_store import JointStore, common_task
from multigrain.data.language_split import words_of
from multigrain.data.language_store import has_transcripts, no_transcripts, open_store, read_text_with
from multigrain.data.store import Store
from multigrain.errors import StoreError
from multigrain.language.languages import main_languages, names_of
from multigrain.language.reader import TextReader
from multigrain.language.words import join_words
from multigrain.schema import Task
from multigrain.training.recipe import Recipe

logger = logging.getLogger(__name__)

_TRANSCRIPTS_READ = 500  # as many, spread over the training split, say what languages it is in


def open_text_reader(recipe: Recipe) -> TextReader | None:
    """The language model that reads the text, or None where the recipe takes the store's text vectors.

    Raises:
        RecipeError: it cannot be found.
    """
    if recipe.text_encoder is None:
        return None
    if recipe.data.modalities is not None and "text" not in recipe.data.modalities:
        logger.warning("The recipe has a text_encoder, which has no effect: data.modalities leaves text out.")
        return None
    recipe.text_encoder.warn_without_effect()
    return TextReader.from_settings(recipe.text_encoder)


def with_languages(reader: TextReader, store: Store | JointStore) -> TextReader:
    """The reader with the languages of the training transcripts, which the checkpoint will name; as it is where the recipe names them."""
    if reader.settings.languages is not None or "train" not in store.splits:
        return reader
    records = store.split("train").records
    chosen = records[:: max(1, len(records) // _TRANSCRIPTS_READ)]
    found = main_languages([join_words(words_of(record)) for record in chosen])
    if not found:
        return reader
    logger.info("The training transcripts are in %s, which the checkpoint names.", names_of(found))
    return replace(reader, settings=replace(reader.settings, languages=found))


def open_data(recipe: Recipe, reader: TextReader | None = None) -> Store | JointStore:
    """The store, or the stores as one, with their common task as the recipe changes it.

    Args:
        recipe: names the data.
        reader: the language model that reads the transcripts; None for text as the stores have it.

    Raises:
        StoreError: there is no such store, or the stores do not go together.
        DataError: a language model is to read the text, and a store has no transcripts.
        RecipeError: labels that do not fit the common task and are not mapped to it.
    """
    data, change = recipe.data, recipe.task
    for path in [data.store] if data.store is not None else [source.path for source in data.stores or ()]:
        if data.made_by is not None and not os.path.exists(path):
            raise _missing_store(recipe, path)
    if data.stores is None:
        assert data.store is not None
        return open_store(data.store, reader)
    stores = [Store.open(source.path) for source in data.stores]
    if reader is not None:
        if not any(has_transcripts(store) for store in stores):
            raise no_transcripts(", ".join(map(str, stores)))
        stores = [read_text_with(store, reader) if has_transcripts(store) else store for store in stores]
    is_told = change.minimum is not None and change.maximum is not None and all(source.labels is not None for source in data.stores)
    base = Task() if is_told else common_task(data.stores, stores)
    return JointStore(data.stores, stores, change.apply(base), data.modalities)


def _missing_store(recipe: Recipe, path: str) -> StoreError:
    """The error for a store that is not there, of a recipe that says how it is made."""
    data = recipe.data
    stand_in = "" if data.stand_in_by is None else f" Until you have that file, `{data.stand_in_by}` plants a store of the same shape to run it on."
    return StoreError(
        f"There is no store at {path}, which the recipe {recipe.name} trains on. Make it out of the published file: `{data.made_by}`; or say "
        f"where it is with data.store=PATH.{stand_in}"
    )
