"""What the store's writer and reader must agree on: file names, format version, and the header of a safetensors file.

A safetensors file is an 8-byte little-endian header length, a JSON header (tensor name -> dtype, shape, byte range),
and the tensors' bytes one after another. Both sides here work on the file itself, so that a tensor of any size is
written in chunks and read through a read-only memory map (a private writable map, which the library's own reader
makes, counts against the machine's memory limit although nothing is ever written to it).
"""

import hashlib
import json
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from multigrain.errors import DataError, StoreError

STORE_FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
PARTIAL_MARK = ".partial-"
COPY_CHUNK_BYTES = 4 << 20
HEADER_LIMIT_BYTES = 1 << 20  # ours hold about a dozen tensors: some 1,000 bytes
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I64": np.dtype("<i8")}


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """Name, type ("F32" or "I64") and shape of one tensor of a safetensors file."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Size of the tensor's data in the file."""
        return math.prod(self.shape) * _DTYPES[self.dtype].itemsize


def tensors_file(split: str) -> str:
    """Name of the file that holds a split's tensors."""
    return f"{split}.safetensors"


def utterances_file(split: str) -> str:
    """Name of the file that holds a split's ids, groups and transcripts, one JSON line each."""
    return f"{split}.utterances.jsonl"


def safetensors_header(entries: list[TensorEntry]) -> bytes:
    """The leading bytes of a safetensors file whose tensors' data follow in the order of `entries`.

    The length is a multiple of 8, so that entries with 8-byte values, if they come first, are aligned in a memory map.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for entry in entries:
        header[entry.name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [offset, offset + entry.num_bytes]}
        offset += entry.num_bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def read_header(path: Path) -> bytes:
    """The leading bytes of a safetensors file, as `safetensors_header` made them.

    Raises:
        StoreError: the file does not start like a safetensors file.
    """
    with path.open("rb") as file:
        start = file.read(8)
        size = int.from_bytes(start, "little")
        text = file.read(size) if len(start) == 8 and size <= HEADER_LIMIT_BYTES else b""
    if len(text) != size or not text.startswith(b"{"):
        raise StoreError(f"{path} is not a safetensors file: its header cannot be read. The store is damaged; convert the data set again.")
    return start + text


def map_tensors(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of a safetensors file as a read-only memory-mapped array; nothing is read until it is used.

    Raises:
        StoreError: the header is damaged or names a type that stores do not use.
    """
    raw = read_header(path)
    header = json.loads(raw[8:])
    header.pop("__metadata__", None)
    arrays: dict[str, np.ndarray] = {}
    for name, entry in header.items():
        dtype = _DTYPES.get(entry["dtype"])
        if dtype is None:
            raise StoreError(f"{path}: tensor {name!r} has type {entry['dtype']!r}, where a store holds F32 and I64. Convert the data set again.")
        shape = tuple(entry["shape"])
        if math.prod(shape) == 0:  # an empty range cannot be mapped
            arrays[name] = np.zeros(shape, dtype)
            continue
        mapped = np.memmap(path, dtype=dtype, mode="r", offset=len(raw) + entry["data_offsets"][0], shape=shape)
        arrays[name] = mapped.view(np.ndarray)  # the plain view keeps the map alive and indexes faster
    return arrays


def header_digest(header: bytes) -> str:
    """SHA-256 of a file's header, in hexadecimal: tells a file that was exchanged from the one that was written."""
    return hashlib.sha256(header).hexdigest()


@dataclass(frozen=True, kw_only=True)
class WrittenFile:
    """Facts about a safetensors file that was written: its size, and digests of its header and of the whole."""

    num_bytes: int
    header_sha256: str
    content_sha256: str


class _DigestingFile:
    """A file that keeps the SHA-256 of what goes through it."""

    def __init__(self, file: BinaryIO):
        self.file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self.file.write(data)


def write_safetensors(path: Path, parts: list[tuple[TensorEntry, np.ndarray | Path]]) -> WrittenFile:
    """Writes a safetensors file, in chunks.

    Args:
        path: the file to write.
        parts: each tensor's entry with its array, or with a file of its raw bytes, which is deleted once copied.

    Raises:
        OSError: the disk is full, or another failure of writing.
    """
    header = safetensors_header([entry for entry, _ in parts])
    with path.open("wb") as file:
        target = _DigestingFile(file)
        target.write(header)
        for entry, data in parts:
            before = file.tell()
            if isinstance(data, Path):
                with data.open("rb") as source:
                    shutil.copyfileobj(source, cast(BinaryIO, target), COPY_CHUNK_BYTES)
                data.unlink()
            else:
                target.write(data.tobytes())
            assert file.tell() - before == entry.num_bytes, f"{entry.name}: {file.tell() - before} bytes, {entry.num_bytes} declared"
        flush_to_disk(file)
        size = file.tell()
    return WrittenFile(num_bytes=size, header_sha256=header_digest(header), content_sha256=target.digest.hexdigest())


def flush_to_disk(file: BinaryIO) -> None:
    """Has what was written to a file reach the disk before anything that follows."""
    file.flush()
    os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Has a folder's entries (names of new and renamed files) reach the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_destination(path: Path, overwrite: bool) -> None:
    """Checks that a store may be made at a path.

    Raises:
        DataError: something is there that is not a store.
        StoreError: a store is there and `overwrite` is False.
    """
    if not path.exists() and not path.is_symlink():
        return
    is_store = path.is_dir() and ((path / MANIFEST_FILE).is_file() or not any(path.iterdir()))
    if not is_store:
        raise DataError(f"{path} exists and is not a store, so it is left alone. Choose another name for the store, or remove it yourself.")
    if not overwrite:
        raise StoreError(
            f"There is already a store at {path}. Choose another name, delete it, or have it replaced: `--overwrite` (in Python, overwrite=True)."
        )
