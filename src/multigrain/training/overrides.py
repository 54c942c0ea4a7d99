"""Changes to a recipe's plain values, before they are checked: `KEY=VALUE` of the command line, and dotted keys of a file's rows."""

from typing import Any

import yaml

from multigrain.errors import RecipeError


def set_override(values: dict[str, Any], override: str) -> None:
    """Changes plain values of a recipe as an override such as "training.epochs=10" says; the value stays text.

    Raises:
        RecipeError: it is not of that form, or names an entry that a list has not.
    """
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise RecipeError(f"The override {override!r} is not of the form KEY=VALUE. Write for instance training.epochs=10.")
    set_value(values, key, value, override)


def set_value(values: dict[str, Any], key: str, value: Any, source: str) -> None:
    """Sets what a dotted key such as "training.epochs" names; mappings on the way are made where there are none.

    Args:
        values: of the recipe; changed in place.
        key: dotted.
        value: to be put there.
        source: what error messages call the change.

    Raises:
        RecipeError: the key names an entry that a list has not.
    """
    *parents, last = key.split(".")
    place: Any = values
    for parent in parents:
        place = _entry_of(place, parent, source)
    if isinstance(place, list):
        place[_index_in(place, last, source)] = value
    else:
        place[last] = value


def _entry_of(place: Any, key: str, source: str) -> Any:
    """The mapping or list that an override goes into; a mapping is made where there is none."""
    index: Any = _index_in(place, key, source) if isinstance(place, list) else key
    entry = place[index] if isinstance(place, list) else place.get(index)
    if isinstance(entry, str) and isinstance(place, list):  # a store that is given by its path alone
        entry = place[index] = store_entry(entry)
    if isinstance(entry, str):  # set by an earlier override, as text
        entry = place[index] = from_text(entry)
    if not isinstance(entry, (dict, list)):
        entry = place[index] = {}
    return entry


def _index_in(place: list[Any], key: str, source: str) -> int:
    if key.isdecimal() and int(key) < len(place):
        return int(key)
    raise RecipeError(f"The override {source!r} names the entry {key!r} of a list of {len(place)}; expected a number from 0 to {len(place) - 1}.")


def from_text(value: Any) -> Any:
    """What an override says, which comes as text, in the form of the YAML file."""
    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        return value


def store_entry(entry: Any) -> Any:
    """A store of the list, which may be a path alone, as a mapping."""
    values = from_text(entry)
    return {"path": entry} if isinstance(entry, str) and not isinstance(values, (dict, list)) else values
