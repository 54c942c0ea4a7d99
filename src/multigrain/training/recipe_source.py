"""Where recipes are: a YAML file is one recipe, or several that share most of it, with a row of differences for each.

    name: sweep
    data: {store: my.store}
    model: {name: mcmut}
    rows:
      b1: {model.num_blocks: 1}
      b2: {model.num_blocks: 2, training.epochs: 20}

holds the recipes `FILE.yaml#b1` and `FILE.yaml#b2`, called `sweep/b1` and `sweep/b2`. A row's keys are dotted, as in overrides, and its
values replace what the file says (or whole sections of it). In the package the rows of `recipes/FOLDER/FILE.yaml` are `FOLDER/ROW`.
"""

import re
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from multigrain.errors import RecipeError, nearest
from multigrain.training.overrides import set_value

TOP_KEYS = ("name", "published", "data", "text_encoder", "task", "model", "training", "evaluation")
ROWS = "rows"
ROW_NAME = re.compile(r"[\w-]+(/[\w-]+)*")
MOST_NAMES = 12
"""How many rows an error message lists."""


@dataclass(frozen=True)
class RecipeSource:
    """One recipe: a file, and which of its rows where it has several. As text `FILE` or `FILE#ROW`, which every command takes."""

    path: Path
    row: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.row is None else f"{self.path}#{self.row}"


@cache
def list_recipes() -> dict[str, RecipeSource]:
    """The recipes that come with multigrain, by name such as "planted/mcmut" or "paper/mosi_unaligned/mcmut"."""
    folder = Path(str(resources.files("multigrain"))) / "recipes"
    found = {}
    for path in sorted(folder.rglob("*.yaml")):
        own = path.relative_to(folder)
        rows = _rows_of(read_yaml(path), path) if re.search(rf"^{ROWS}:", path.read_text(encoding="utf-8"), flags=re.MULTILINE) else None
        if rows is None:
            found[own.with_suffix("").as_posix()] = RecipeSource(path)
        for row in rows or ():
            found[(own.parent / row).as_posix()] = RecipeSource(path, row)
    return dict(sorted(found.items()))


def find_recipe(path_or_name: str | Path) -> RecipeSource:
    """The recipe given by path, by path and row (`FILE.yaml#ROW`), or by name.

    Raises:
        RecipeError: there is neither such a file nor such a recipe in the package.
    """
    path, name = Path(path_or_name), str(path_or_name)
    if path.is_file():
        return RecipeSource(path)
    before, separator, row = name.rpartition("#")
    if separator and Path(before).is_file():
        return RecipeSource(Path(before), row)
    known = list_recipes()
    if name in known:
        return known[name]
    raise RecipeError(
        f"There is no recipe {name!r}: it is neither a file nor one of the package's recipes.{nearest(name, list(known))} "
        "`multigrain list recipes` shows them all."
    )


def read_values(source: RecipeSource) -> dict[str, Any]:
    """A recipe's plain values as its file says, those of its row put in place; its name filled in.

    Raises:
        RecipeError: the file cannot be read, or has not that row, or has rows and none was named.
    """
    values = read_yaml(source.path)
    values.setdefault("name", source.path.stem)
    rows = _rows_of(values, source.path)
    values.pop(ROWS, None)
    if rows is None and source.row is None:
        return values
    if not rows:
        raise RecipeError(f"{source} names a row, but the file has no `{ROWS}:`. Name the file alone: {source.path}")
    if source.row is None:
        raise RecipeError(f"{source.path} holds {len(rows)} recipes, one for each of its `{ROWS}:`. Name one: {_choices(source.path, list(rows))}")
    if source.row not in rows:
        raise RecipeError(
            f"{source.path} has no row {source.row!r}.{nearest(source.row, list(rows))} Its rows are {_choices(source.path, list(rows))}"
        )
    name = values["name"]
    for key, value in rows[source.row].items():
        set_value(values, key, value, f"{ROWS}.{source.row}.{key}")
    if values["name"] == name:
        values["name"] = f"{name}/{source.row}"
    return values


def _choices(path: Path, rows: list[str]) -> str:
    shown = ", ".join(f"{path.name}#{row}" for row in rows[:MOST_NAMES])
    return f"{shown}, and {len(rows) - MOST_NAMES} more." if len(rows) > MOST_NAMES else f"{shown}."


def read_yaml(path: Path) -> dict[str, Any]:
    """A recipe's file as plain values.

    Raises:
        RecipeError: it cannot be read, is no YAML, or no mapping.
    """
    try:
        values = deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid YAML: {' '.join(str(error).split())}. Mend the file at that place.") from error
    except OSError as error:
        raise RecipeError(f"The recipe {path} cannot be read ({error.strerror}). Check the path and its permissions.") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path} holds {type(values).__name__}; expected a mapping with the keys {', '.join(TOP_KEYS)}.")
    return values


@lru_cache(maxsize=16)
def _parsed(text: str) -> Any:
    """YAML as plain values; kept, since a file with rows is read once for each of them."""
    return yaml.safe_load(text)


def _rows_of(values: dict[str, Any], path: Path) -> dict[str, dict[str, Any]] | None:
    """Row -> its differences by dotted key; None where the file has no rows.

    Raises:
        RecipeError: they are not of that form.
    """
    if ROWS not in values:
        return None
    rows = values[ROWS]
    if not isinstance(rows, dict) or not rows:
        raise RecipeError(f"{path}: `{ROWS}:` holds {rows!r}; expected a mapping such as {{b1: {{model.num_blocks: 1}}}}, a recipe for each entry.")
    for name, row in rows.items():
        if not isinstance(name, str) or not ROW_NAME.fullmatch(name):
            raise RecipeError(f"{path}: the row {name!r} has a name that is no word; expected letters, digits, _ and -, with / between parts.")
        if row is not None and not (isinstance(row, dict) and all(isinstance(key, str) for key in row)):
            raise RecipeError(
                f"{path}: the row {name!r} holds {row!r}; expected dotted keys and values, such as {{model.num_blocks: 1}}, or nothing."
            )
    return {name: row or {} for name, row in rows.items()}
