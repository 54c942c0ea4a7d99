"""Reads a pickle without running anything that it asks for, and without holding its arrays in memory.

A pickle is a program: the usual loader imports and calls whatever the file names. This one is a machine of its own
that knows only the opcodes for numbers, strings and plain containers, and answers the handful of names that numpy
writes with stand-ins of ours. Every other name is refused before it is looked up, so there is nothing to be run.

What it makes is bounded by the file's size (`pickle_limits.py`): a few bytes can otherwise ask for hours of work.

The file is memory-mapped. Bytes that become an array are never copied: the array is a read-only view of the file
(see `release_pages`). Only what old protocols store as text is decoded into an unnamed temporary file.
"""

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from multigrain.data.file_start import check_start
from multigrain.data.pickle_limits import PickleLimitError, check_content, too_much
from multigrain.data.pickle_machine import MALFORMED, PickleMachine
from multigrain.data.torch_files import load_torch
from multigrain.errors import DataError

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_TORCH_ZIP = b"PK\x03\x04"


def load(path: Path | str) -> Any:
    """The content of a pickle that holds only arrays, numbers, strings, bytes and plain containers.

    Args:
        path: a pickle of any protocol from Python 2 or 3 with arrays of numpy 1 or 2, or a file written by `torch.save`
            (read by torch's own `weights_only` loader, its tensors given as arrays).

    Returns:
        Dicts, lists, tuples, sets, strings, numbers and read-only arrays. Bytes of 1 KiB and more that belong to no
        array are given as a `memoryview`. Strings of Python 2 are decoded as latin-1.

    Raises:
        UnsafePickleError: the file asks for anything else; the message names it, and nothing was run.
        DataError: there is no such file, it is truncated or not a pickle, or it makes more of its bytes than any data file does.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"There is no file {path}. Check the path; a pickle file was expected there.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes); a pickle was expected. Fetch or copy the file again.")
    check_start(path)
    with path.open("rb") as file:
        if file.read(4) == _TORCH_ZIP:
            return load_torch(path)
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    machine = PickleMachine(data, path)
    try:
        value = machine.run()
        check_content(value, len(data))
    except PickleLimitError as error:
        raise too_much(path, error) from error
    except MALFORMED as error:
        raise DataError(
            f"{path} is not a whole pickle: reading it failed at byte {machine.position} of {len(data)} ({type(error).__name__}: {error}). "
            "The file is truncated, damaged or of another format; compare its size with the original and fetch it again."
        ) from error
    return load_torch(path) if type(value) is int and value == _TORCH_MAGIC else value


def release_pages(array: np.ndarray) -> None:
    """Gives back the memory of a file-backed array that was read through; it is read from the file again when needed."""
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    if base is not None and hasattr(base, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
