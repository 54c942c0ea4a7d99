"""Opens an npz without holding its large arrays in memory, and never unpickles.

What an array is to have by its own header is compared with what the archive says before anything is unpacked, so that a few bytes that
unpack to terabytes, or claim to, cost nothing.
"""

import lzma
import shutil
import tempfile
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from multigrain.data.file_start import check_start
from multigrain.data.pickle_names import CHUNK_BYTES, SPILL_BYTES, check_characters, check_shape
from multigrain.data.readers.base import existing
from multigrain.errors import DataError

_KEPT_BYTES = 256 << 20
"""Arrays of less than `SPILL_BYTES` are kept in memory, unless all of them together are more than this."""
_ZIP_FAULTS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, OSError)
_HEADER_FAULTS = (ValueError, TypeError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError, OverflowError)


def open_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz by name; those of 1 MiB and more are unpacked to unnamed temporary files and mapped read-only.

    Raises:
        DataError: the file is missing or damaged, holds arrays of objects, which only a pickle could restore, or unpacks to more than its arrays
            say or the disk for temporary files has room for.
    """
    existing(path, "npz file")
    check_start(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            _check_sizes(members, path)
            is_kept = sum(member.file_size for member in members if member.file_size < SPILL_BYTES) < _KEPT_BYTES
            spill_bytes = SPILL_BYTES if is_kept else 1
            return {member.filename.removesuffix(".npy"): _member(archive, member, path, spill_bytes) for member in members}
    except (*_ZIP_FAULTS, *_HEADER_FAULTS) as error:
        raise DataError(
            f"{path} cannot be read as an npz file: {_sentence(error)}. It is truncated, damaged or of another format; fetch or save it again."
        ) from error


def load_npy(path: Path) -> np.ndarray:
    """An .npy file, memory-mapped and never unpickled; DataError when it is damaged, holds objects or has no axis."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(values, np.ndarray):  # an npz under that name
            values.close()
            raise ValueError("it is an archive of several arrays")
        check_shape(values.shape)
        if values.ndim == 0:
            raise ValueError("it holds a single number without any axis")
        return check_characters(np.asarray(values))
    except (*_ZIP_FAULTS, *_HEADER_FAULTS) as error:
        raise DataError(f"{path} cannot be read as an array of numbers: {_sentence(error)}. Save it again with numpy.save as float32.") from error


def _sentence(error: Exception) -> str:
    return (str(error) or type(error).__name__).rstrip(".").replace("\n", " ")[:300]


def _check_sizes(members: list[zipfile.ZipInfo], path: Path) -> None:
    names = [member.filename for member in members]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"the array {twice[0].removesuffix('.npy')!r} is in it more than once")
    if sum(member.compress_size for member in members) > path.stat().st_size:
        raise ValueError("its arrays overlap each other")
    unpacked = sum(member.file_size for member in members)
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if unpacked > free:
        raise DataError(
            f"{path} unpacks to {unpacked / 1e9:.1f} GB, but the disk for temporary files ({tempfile.gettempdir()}) has {free / 1e9:.1f} GB free. If "
            "the file is from somebody you trust, name a folder with more room in the environment variable TMPDIR."
        )


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, spill_bytes: int) -> np.ndarray:
    name = member.filename.removesuffix(".npy")
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        header: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = header(stream)
        if dtype.hasobject:
            raise DataError(
                f"{path}: the array {name!r} holds Python objects (type {dtype}), which can only be restored by running a pickle. "
                "It was refused. Save sequences of different lengths as one padded (utterances, steps, features) array with `<modality>_lengths`, "
                "or as a folder with one .npy file an utterance."
            )
        count = check_shape(shape)
        if dtype.kind not in "biufcSU" or dtype.itemsize == 0:
            raise ValueError(f"the array {name!r} is of type {dtype}; numbers and text can be read")
        if stream.tell() + count * dtype.itemsize != member.file_size:
            raise ValueError(f"the array {name!r} of shape {shape} and type {dtype} does not fit the {member.file_size} bytes that it unpacks to")
        order = "F" if is_fortran else "C"
        if count * dtype.itemsize < spill_bytes:
            return check_characters(np.frombuffer(stream.read(), dtype=dtype)).reshape(shape, order=order)  # type: ignore[call-overload]
        with tempfile.TemporaryFile() as file:
            while chunk := stream.read(CHUNK_BYTES):
                file.write(chunk)
            file.flush()
            return check_characters(np.memmap(file, dtype=dtype, mode="r", shape=shape, order=order))  # type: ignore[call-overload]
