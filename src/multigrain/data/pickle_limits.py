"""How much a pickle may make out of how few bytes.

A few bytes can name the same tuple twice, thirty times over, which takes minutes to walk through, or nest a million tuples, which
overflows the interpreter's stack where they are hashed. Data files do neither: what they hold grows with their size.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from multigrain.errors import DataError

DEEPEST = 64
"""Containers within each other; the published files have six."""
TIMES_FILE_SIZE = 16
"""So many times the file's bytes may be made of it, counting what is shared each time that it is reached."""
FREE_OBJECTS, FREE_BYTES = 1 << 20, 16 << 20
"""Allowed whatever the file's size."""
MOST_NUMBER_TUPLES = 10_000
"""Keys that are tuples of numbers alone: whoever chooses the numbers chooses their hashes too, and many equal ones take for ever."""

_PLAIN_KEYS = (str, bytes, int, float, type(None))
_KEY_BITS = 64


class PickleLimitError(ValueError):
    """A pickle makes more of its bytes than any data file does; the message says what."""


class Budget:
    """What a pickle may still make while it is read.

    Args:
        file_bytes: the file's size.
    """

    def __init__(self, file_bytes: int) -> None:
        self.file_bytes = file_bytes
        self.units = FREE_BYTES + TIMES_FILE_SIZE * file_bytes
        self.objects = FREE_OBJECTS + file_bytes // 4
        self.number_tuples = MOST_NUMBER_TUPLES

    def spend(self, values: Iterable[Any]) -> None:
        """Counts what a call works through: the lengths of its arguments.

        Raises:
            PickleLimitError: too much was made.
        """
        self.units -= 1 + sum(len(value) for value in values if hasattr(value, "__len__") and not isinstance(value, np.ndarray))
        if self.units < 0:
            raise PickleLimitError(f"it copies more than {TIMES_FILE_SIZE} times the file's {self.file_bytes} bytes")

    def count_object(self) -> None:
        """Counts a container, or a value that is remembered.

        Raises:
            PickleLimitError: there are too many for the file's size.
        """
        self.objects -= 1
        if self.objects < 0:
            raise PickleLimitError(f"it makes more than {FREE_OBJECTS + self.file_bytes // 4} objects of {self.file_bytes} bytes")

    def check_keys(self, keys: Iterable[Any]) -> None:
        """Checks keys of a dict, or members of a set, before they are hashed.

        Raises:
            PickleLimitError: one is something other than text, bytes, a number or a flat tuple of these.
        """
        for key in keys:
            if type(key) is str:
                continue
            if type(key) is not tuple:
                _check_plain(key)
                continue
            for part in key:
                _check_plain(part)
            if not any(isinstance(part, (str, bytes)) for part in key):
                self.number_tuples -= 1
                if self.number_tuples < 0:
                    raise PickleLimitError(f"it has more than {MOST_NUMBER_TUPLES} keys that are tuples of numbers")


def _check_plain(key: Any) -> None:
    is_plain = isinstance(key, _PLAIN_KEYS) or (isinstance(key, np.generic) and key.dtype.kind in "biufSU")
    if not is_plain or (isinstance(key, int) and key.bit_length() > _KEY_BITS):
        what = "an integer of more than 64 bits" if isinstance(key, int) else f"a {type(key).__name__}"
        raise PickleLimitError(f"it has {what} for a key, where text, bytes, numbers and flat tuples of these can be read")


def check_content(content: Any, file_bytes: int) -> None:
    """Walks through all that a file holds, without recursion, each container once.

    Raises:
        PickleLimitError: containers are nested too deeply or within themselves, or whoever walked through all of it would meet far more than
            the file has bytes.
    """
    most_objects, most_bytes = FREE_OBJECTS + TIMES_FILE_SIZE * file_bytes, FREE_BYTES + TIMES_FILE_SIZE * file_bytes
    totals: dict[int, tuple[int, int, int]] = {}  # of a container: depth, objects, bytes of arrays
    path: list[_Visit] = []
    is_open: set[int] = set()
    here = _Visit([content])
    while True:
        value = next(here.rest, here)
        if value is here:
            if not path:
                return
            done, here = here, path.pop()
            is_open.discard(done.key)
            totals[done.key] = (done.depth + 1, done.objects, done.num_bytes)
            here.add(*totals[done.key])
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            here.add(0, 1, value.nbytes)
        elif not isinstance(value, (dict, list, tuple, np.ndarray)):
            here.add(0, 1 + (len(value) if isinstance(value, (set, frozenset)) else 0), 0)
        elif id(value) in totals:
            here.add(*totals[id(value)])
        elif id(value) in is_open:
            raise PickleLimitError("a container in it holds itself")
        else:
            path.append(here)
            here = _Visit(value)
            is_open.add(here.key)
            if len(path) > DEEPEST:
                raise PickleLimitError(f"containers in it lie more than {DEEPEST} deep within each other")
        if here.depth > DEEPEST:
            raise PickleLimitError(f"containers in it lie more than {DEEPEST} deep within each other")
        if here.objects > most_objects or here.num_bytes > most_bytes:
            raise PickleLimitError(f"its {file_bytes} bytes name the same parts so often that over {TIMES_FILE_SIZE} times as much comes of them")


class _Visit:
    """A container that is being walked through, and what was found in it so far."""

    def __init__(self, container: Any) -> None:
        self.key = id(container)
        self.rest: Iterator[Any] = iter(container.values() if isinstance(container, dict) else getattr(container, "flat", container))
        self.depth, self.objects, self.num_bytes = 0, 1, 0

    def add(self, depth: int, objects: int, num_bytes: int) -> None:
        """Adds a member."""
        self.depth, self.objects, self.num_bytes = max(self.depth, depth), self.objects + objects, self.num_bytes + num_bytes


def too_much(path: Path, error: PickleLimitError) -> DataError:
    """The error for a file that goes beyond these limits."""
    return DataError(
        f"{path} was refused: {error}. No program that saves data sets writes such a file; reading it could take all memory or never end. "
        "Fetch the file again from where it comes from."
    )
