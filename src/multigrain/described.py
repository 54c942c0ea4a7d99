"""Values out of a checkpoint's JSON, which anybody may have written: each is checked against the field that it is for."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from multigrain.errors import CheckpointError, RecipeError

Described = TypeVar("Described")

MOST = 1_000_000
"""No whole number of a model's description is larger: widths, numbers of layers, features a step."""


def from_json(kind: type[Described], values: Any, where: str) -> Described:
    """A dataclass from what JSON holds of it.

    Args:
        kind: a dataclass whose fields are numbers, text, choices, and tuples or dicts of these.
        values: from `json.loads`.
        where: of the values, for messages.

    Raises:
        CheckpointError: a field is unknown, missing, of another type, not finite or beyond every use; or the dataclass itself refuses it.
    """
    if not isinstance(values, Mapping):
        raise _refused(where, values, "an object with settings")
    hints, known = get_type_hints(kind), {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise CheckpointError(f"{where} sets {unknown[:5]}, which this version of multigrain does not have. Update multigrain.")
    missing = [name for name, field in known.items() if name not in values and field.default is MISSING and field.default_factory is MISSING]
    if missing:
        raise CheckpointError(f"{where} does not say {missing}. The checkpoint is incomplete; fetch or train it again.")
    checked = {name: _checked(hints[name], value, f"{where}, {name}") for name, value in values.items()}
    try:
        return kind(**checked)
    except RecipeError as error:
        raise CheckpointError(f"{where} cannot be used: {error}") from error
    except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError, OverflowError) as error:
        raise CheckpointError(f"{where} cannot be used ({type(error).__name__}: {error}). Fetch or train the checkpoint again.") from error


def checked_value(hint: Any, description: Mapping[str, Any], name: str, path: Path) -> Any:
    """One value of a description.

    Raises:
        CheckpointError: it is not there, or is of another type than `hint`.
    """
    if name not in description:
        raise CheckpointError(f"{path} does not say {name!r}. The checkpoint is incomplete; fetch or train it again.")
    return _checked(hint, description[name], f"{path}, {name}")


def _checked(hint: Any, value: Any, where: str) -> Any:
    """The value as the hint has it, lists as tuples."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        for choice in arguments:
            if _is_like(choice, value):
                return _checked(choice, value, where)
    elif origin is Literal:
        if isinstance(value, str | int) and value in arguments:
            return value
    elif origin is tuple:
        if isinstance(value, list | tuple) and len(value) <= MOST:
            return tuple(_checked(arguments[0], item, where) for item in value)
    elif origin in (dict, Mapping):
        if isinstance(value, dict):
            return {_checked(arguments[0], key, where): _checked(arguments[1], item, where) for key, item in value.items()}
    elif _is_like(hint, value):
        if hint is float and not math.isfinite(value):
            raise _refused(where, value, "a finite number")
        if hint is int and abs(value) > MOST:
            raise _refused(where, value, f"a whole number of at most {MOST}")
        return value
    raise _refused(where, value, _in_words(hint))


def _is_like(hint: Any, value: Any) -> bool:
    if hint is Any:
        return True
    origin = get_origin(hint)
    kinds: Any = {int: int, float: int | float, str: str, bool: bool, NoneType: NoneType, tuple: list | tuple, dict: dict, Mapping: dict}
    if origin is Literal:
        return isinstance(value, str | int) and value in get_args(hint)
    return isinstance(value, kinds.get(origin or hint, ())) and (hint is bool or not isinstance(value, bool))


def _in_words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(hint, str(hint).replace("typing.", ""))


def _refused(where: str, value: Any, expected: str) -> CheckpointError:
    shown = repr(value)[:60] if not isinstance(value, int) or abs(value) < 10**50 else "a number of many digits"
    return CheckpointError(f"{where} is {shown}; expected {expected}. The checkpoint is damaged or was changed; fetch or train it again.")
