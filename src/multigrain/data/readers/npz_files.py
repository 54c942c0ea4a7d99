"""Opens an npz without holding its large arrays in memory, and never unpickles."""

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from multigrain.data.pickle_names import CHUNK_BYTES, SPILL_BYTES
from multigrain.data.readers.base import existing
from multigrain.errors import DataError


def open_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz by name; those of 1 MiB and more are unpacked to unnamed temporary files and mapped read-only.

    Raises:
        DataError: the file is missing or damaged, or holds arrays of objects, which only a pickle could restore.
    """
    existing(path, "npz file")
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy"): _member(archive, name, path) for name in archive.namelist() if name.endswith(".npy")}
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise DataError(
            f"{path} cannot be read as an npz file: {error}. It is truncated, damaged or of another format; fetch or save it again."
        ) from error


def load_npy(path: Path) -> np.ndarray:
    """An .npy file, memory-mapped and never unpickled; DataError when it is damaged or holds objects."""
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path} cannot be read as an array of numbers: {error}. Save it again with numpy.save as float32.") from error


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> np.ndarray:
    with archive.open(name) as stream:
        version = np.lib.format.read_magic(stream)
        header: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = header(stream)
        if dtype.hasobject:
            raise DataError(
                f"{path}: the array {name.removesuffix('.npy')!r} holds Python objects (type {dtype}), which can "
                "only be restored by running a pickle. "
                "It was refused. Save sequences of different lengths as one padded (utterances, steps, features) array with `<modality>_lengths`, "
                "or as a folder with one .npy file an utterance."
            )
        count = int(np.prod(shape, dtype=np.int64))
        order = "F" if is_fortran else "C"
        if count * dtype.itemsize < SPILL_BYTES:
            values = np.frombuffer(stream.read(), dtype=dtype)
            return values[:count].reshape(shape, order=order)  # type: ignore[call-overload]
        with tempfile.TemporaryFile() as file:
            while chunk := stream.read(CHUNK_BYTES):
                file.write(chunk)
            file.flush()
            return np.memmap(file, dtype=dtype, mode="r", shape=shape, order=order)  # type: ignore[call-overload]
