"""Reading recipes: dotted overrides, and checks of every key and value. Where recipes are found: `recipe_source.py`."""

import os
import types
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import MISSING, asdict, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from multigrain.data.joint_store import StoreSource
from multigrain.data.label_map import LabelMap
from multigrain.errors import RecipeError, nearest
from multigrain.language.settings import TextEncoderSettings
from multigrain.language.source import MINILM
from multigrain.training.overrides import from_text, set_override, store_entry
from multigrain.training.published import PublishedRecipe, changes, check_variant, parse_published
from multigrain.training.recipe import DataRecipe, EvaluationRecipe, ModelRecipe, Recipe, TaskRecipe, TrainingRecipe
from multigrain.training.recipe_source import TOP_KEYS, find_recipe, list_recipes, read_values

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

__all__ = ["SECTIONS", "describe_type", "find_recipe", "list_recipes", "load_recipe", "recipe_from_dict"]

SECTIONS: dict[str, type] = {"data": DataRecipe, "task": TaskRecipe, "training": TrainingRecipe, "evaluation": EvaluationRecipe}


def load_recipe(path_or_name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a recipe and checks it.

    Args:
        path_or_name: a YAML file, one of its rows as `FILE.yaml#ROW`, or the name of one of `list_recipes()`.
        overrides: such as "training.learning_rate=3e-4"; a later one wins.

    Returns:
        The recipe with every setting filled in. A relative path of a store is taken from the current directory.

    Raises:
        RecipeError: there is no such recipe, a key is unknown, or a value has the wrong type or is out of range.
    """
    source = find_recipe(path_or_name)
    return _overridden(read_values(source), overrides, str(source))


def _overridden(values: dict[str, Any], overrides: Sequence[str], source: str) -> Recipe:
    """The recipe with the overrides, without its published rows where they make another model, task or loss of it."""
    written = deepcopy(values)
    for override in overrides:
        set_override(values, override)
    if not overrides or not written.get("published") or values.get("published") != written["published"]:
        return recipe_from_dict(values, source)
    place = {**values["data"], "modalities": (written.get("data") or {}).get("modalities")} if isinstance(values.get("data"), dict) else None
    before = recipe_from_dict({**written, "data": place}, source)
    change = changes(before, recipe_from_dict({**values, "published": None}, source))
    if change is not None:
        values["published"] = PublishedRecipe(rows=before.published.rows, withheld=change).to_value()
    return recipe_from_dict(values, source)


def recipe_from_dict(values: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """A recipe from plain values in the form of the YAML file.

    Args:
        values: as `Recipe.to_dict` gives them; what is left out takes its default.
        source: what error messages call the recipe.

    Raises:
        RecipeError: as `load_recipe`.
    """
    try:
        _check_keys(values, TOP_KEYS, "")
        for section in ("data", "model"):
            if values.get(section) is None:
                raise RecipeError(f"the section {section!r} is missing. {_section_example(section)}")
        parsed = {section: kind(**_parse_section(values.get(section), kind, section)) for section, kind in SECTIONS.items()}
        name = _parse_value(values.get("name", "recipe"), str, "name")
        recipe = Recipe(
            name=name,
            published=parse_published(from_text(values.get("published"))),
            model=_parse_model(values["model"]),
            text_encoder=_parse_text_encoder(values.get("text_encoder")),
            **parsed,
        )
        check_variant(recipe)
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from error
    return replace(recipe, data=_with_absolute_paths(recipe.data))


def _parse_text_encoder(values: Any) -> TextEncoderSettings | None:
    """The section text_encoder, with the paths of folders absolute, so that a run can be resumed from anywhere; None where there is none."""
    values = from_text(values)
    if values is None:
        return None
    settings = TextEncoderSettings(**_parse_section(values, TextEncoderSettings, "text_encoder"))
    is_folder = os.path.isdir(os.path.expanduser(settings.name)) and settings.name != MINILM
    return replace(
        settings,
        name=os.path.abspath(os.path.expanduser(settings.name)) if is_folder else settings.name,
        cache=None if settings.cache is None else os.path.abspath(os.path.expanduser(settings.cache)),
    )


def _with_absolute_paths(data: DataRecipe) -> DataRecipe:
    def absolute(path: str) -> str:
        return os.path.abspath(os.path.expanduser(path))

    if data.stores is None:
        return replace(data, store=absolute(data.store or ""))
    return replace(data, stores=tuple(replace(source, path=absolute(source.path)) for source in data.stores))


def _section_example(section: str) -> str:
    examples = {"data": "Write `data: {store: path/to/NAME.store}`.", "model": "Write `model: {name: mcmut}`."}
    examples["text_encoder"] = "Write `text_encoder: {name: minilm}`, or with a hub id or folder as the name."
    return examples.get(section, "Write each entry of data.stores as a path, or as `{path: path/to/NAME.store, weight: 2.0}`.")


def _check_keys(values: Mapping[str, Any], known: Sequence[str], section: str) -> None:
    prefix = f"{section}." if section else ""
    for key in values:
        if key not in known:
            raise RecipeError(f"unknown key {prefix + str(key)!r}.{_nearest_key(str(key), known, prefix)} Known here: {', '.join(known)}.")


def _nearest_key(key: str, known: Sequence[str], prefix: str) -> str:
    suggestion = nearest(key, list(known))
    return suggestion.replace("'", f"'{prefix}", 1) if suggestion else ""


def _parse_section(values: Any, kind: type, section: str) -> dict[str, Any]:
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise RecipeError(f"the section {section!r} holds {values!r}; expected a mapping of keys to values.")
    _check_keys(values, [entry.name for entry in fields(kind)], section)
    hints = get_type_hints(kind)
    for entry in fields(kind):
        if entry.default is MISSING and entry.default_factory is MISSING and entry.name not in values:
            raise RecipeError(f"the key '{section}.{entry.name}' is missing. {_section_example(section)}".rstrip())
    parsers = {(DataRecipe, "stores"): _parse_stores, (StoreSource, "labels"): _parse_label_map, (LabelMap, "values"): _parse_scores}
    parsed = {}
    for key, value in values.items():
        parse = parsers.get((kind, key))
        own = f"{section}.{key}"
        parsed[key] = _parse_value(value, hints[key], own) if parse is None else parse(from_text(value), own)
    return parsed


def _parse_stores(values: Any, key: str) -> tuple[StoreSource, ...] | None:
    if values is None:
        return None
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise RecipeError(f"{key} is {values!r}; expected a list of stores, such as [a.store, {{path: b.store, weight: 2.0}}].")
    return tuple(_parse_part(store_entry(entry), StoreSource, f"{key}.{number}") for number, entry in enumerate(values))


def _parse_label_map(values: Any, key: str) -> LabelMap | None:
    return None if values is None else _parse_part(values, LabelMap, key)


def _parse_part(values: Any, kind: type, key: str) -> Any:
    parsed = _parse_section(values, kind, key)
    try:
        return kind(**parsed)
    except RecipeError as error:
        raise RecipeError(f"{key}: {error}") from error


def _parse_scores(values: Any, key: str) -> dict[float | str, float] | None:
    if values is None:
        return None
    if not isinstance(values, Mapping):
        raise RecipeError(f"{key} is {values!r}; expected a mapping of labels to scores, such as {{0: -2, 1: 0, 2: 2}}.")
    scores = {}
    for label, score in values.items():
        number = from_text(label)
        is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
        scores[float(number) if is_number else str(label)] = float(_parse_value(score, float, f"{key}.{label}"))
    return scores


def _parse_model(values: Any) -> ModelRecipe:
    from multigrain.models import MODELS

    if isinstance(values, str):
        values = {"name": values}
    if not isinstance(values, Mapping) or "name" not in values:
        raise RecipeError(f"the key 'model.name' is missing. Write `model: {{name: NAME}}` with a NAME of {', '.join(MODELS)}.")
    name = values["name"]
    if name not in MODELS:
        raise RecipeError(
            f"model.name is {name!r}, which is no model of multigrain.{nearest(str(name), list(MODELS))} There are {', '.join(MODELS)}."
        )
    config_class = MODELS[name].config_class
    settings = {key: value for key, value in values.items() if key != "name"}
    _check_keys(settings, ["name", *(entry.name for entry in fields(config_class))], "model")
    hints = get_type_hints(config_class)
    parsed = {key: _parse_value(value, hints[key], f"model.{key}") for key, value in settings.items()}
    try:
        config = config_class(**parsed)
    except (ValueError, TypeError, RecipeError) as error:
        raise RecipeError(f"the settings of the model {name!r} do not go together: {error}") from error
    return ModelRecipe(name=name, config=asdict(config))


def _parse_value(value: Any, kind: Any, key: str) -> Any:
    """One value, converted to its declared type by jsonargparse (text from the command line included)."""
    if _is_of(value, kind):
        return value
    from jsonargparse import ArgumentError

    try:
        return _parser(kind).parse_object({"value": value}, defaults=False).value
    except (ArgumentError, TypeError, ValueError) as error:
        raise RecipeError(f"{key} is {value!r}; expected {describe_type(kind)}. Change it in the recipe or on the command line.") from error


@cache
def _parser(kind: Any) -> "ArgumentParser":
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False, default_env=False)
    parser.add_argument("--value", type=kind)
    return parser


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value is of its type already, as most of a YAML file are, so that jsonargparse need not be asked."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return not isinstance(value, str) and any(_is_of(value, entry) for entry in get_args(kind))
    return value in get_args(kind) if origin is Literal else kind in (int, float, bool, type(None)) and type(value) is kind


def describe_type(kind: Any) -> str:
    """A type in words for an error message, such as "a whole number or null"."""
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null", Any: "any value"}
    if kind in names:
        return names[kind]
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin in (Union, types.UnionType):
        return " or ".join(describe_type(entry) for entry in inner)
    if origin in (tuple, list):
        return f"a list such as [a, b], each entry {describe_type(inner[0])}" if inner else "a list"
    if origin in (dict, Mapping):
        return "a mapping of keys to values" + (f", each {describe_type(inner[1])}" if inner else "")
    return str(getattr(kind, "__name__", kind))
