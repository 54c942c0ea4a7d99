"""What can go wrong through a user's doing, each with a message that says how to mend it.

The command line prints any `MultigrainError` as one paragraph and exits with code 2. Every message says
what is wrong, where, what was expected, what was found, and what to do next.
"""

from collections.abc import Sequence


class MultigrainError(Exception):
    """Base of every error that a user of multigrain can cause and mend."""


class DataError(MultigrainError):
    """A data file or store holds something that cannot be used as it is (NaN, missing split, wrong width...)."""


class UnsafePickleError(DataError):
    """A pickle asks for something other than arrays, numbers, strings and plain containers."""


class StoreError(DataError):
    """A store folder is missing, truncated, of a newer format, or does not fit the model."""


class VideoError(DataError):
    """A video, its sound, its subtitles or its labels cannot be read, or are larger than the limits allow."""


class RecipeError(MultigrainError):
    """A recipe or an override names an unknown key, an unknown model, or a value out of range."""


class CheckpointError(MultigrainError):
    """A checkpoint is missing, incomplete, or was trained on other features than it is given."""


class HubError(MultigrainError):
    """Something could not be fetched from the Hugging Face hub; who asked for it says what to do instead."""


class TrainingError(MultigrainError):
    """Training cannot go on: the loss is not finite, the run folder cannot be written, the disk is full."""


class ServerError(MultigrainError):
    """The server cannot be started as asked: an unsafe address, a port or folder in use, a database that does not open."""


def require(is_right: bool, key: str, value: object, expected: str) -> None:
    """Checks one setting of a recipe.

    Raises:
        RecipeError: `is_right` is False; the message names the key, the value and what was expected.
    """
    if not is_right:
        raise RecipeError(f"{key} is {value!r}; expected {expected}.")


def first_few(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and how many more there are.

    >>> first_few(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def nearest(name: str, choices: list[str]) -> str:
    """` Did you mean 'x'?` for the choice most like `name`, or an empty string when none is like it."""
    import difflib

    matches = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    return f" Did you mean '{matches[0]}'?" if matches else ""
