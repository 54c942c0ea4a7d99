"""Our stand-ins for the few names that a pickle of numpy arrays contains; none of them does more than build a value."""

import codecs
import math
import mmap
import re
import sys
import tempfile
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

SPILL_BYTES = 1 << 20
"""Decoded payloads of at least this many bytes go to a temporary file."""
CHUNK_BYTES = 4 << 20

_MOST_AXES, _LONGEST_AXIS, _LONGEST_EMPTY = 32, 1 << 48, 1 << 24
_DTYPE = re.compile(r"[<>|=]?[biufcSUO?][0-9]*")
_LATIN1 = {"latin1", "latin-1", "latin_1", "iso-8859-1", "iso8859-1"}


class Pending(ABC):
    """An object whose state follows in a BUILD; `keys` are the memo places that must then hold the finished object."""

    def __init__(self) -> None:
        self.keys: list[int] = []

    @abstractmethod
    def build(self, state: Any) -> Any:
        """The finished object."""


class _PendingArray(Pending):
    def build(self, state: Any) -> np.ndarray:
        shape, dtype, is_fortran, data = state[-4:]
        return _array(shape, _dtype_of(dtype), "F" if is_fortran else "C", data)


class _PendingType(Pending):
    def __init__(self, dtype: np.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def build(self, state: Any) -> np.dtype:
        if any(item is not None for item in state[2:5]):
            raise ValueError("arrays of records are not supported")
        return self.dtype.newbyteorder(state[1]) if state[1] in ("<", ">") else self.dtype


def _dtype_of(value: Any) -> np.dtype:
    if isinstance(value, _PendingType):
        return value.dtype
    if not isinstance(value, np.dtype):
        raise TypeError(f"expected an array's type, got {type(value).__name__}")
    return value


def check_shape(shape: Any) -> int:
    """The number of elements of an array.

    Raises:
        ValueError: no array can have this shape, or an array without elements claims steps without end, which a reader would count.
    """
    if len(shape) > _MOST_AXES or not all(isinstance(size, int) and 0 <= size < _LONGEST_AXIS for size in shape):
        raise ValueError("an array of an impossible shape")
    if math.prod(size for size in shape if size) > (_LONGEST_EMPTY if 0 in shape else _LONGEST_AXIS):
        raise ValueError(f"an array of the impossible shape {tuple(shape)}")
    return math.prod(shape)


def check_characters(values: np.ndarray) -> np.ndarray:
    """The array, whose text consists of characters that there are: Python fails on others at some later place, with words that say nothing.

    Raises:
        ValueError: it does not.
    """
    if values.dtype.kind == "U" and values.size:
        codes = np.ascontiguousarray(values).reshape(-1).view(values.dtype.byteorder + "u4")
        if int(codes.max()) > sys.maxunicode:
            raise ValueError(f"an array of text has the character {int(codes.max())}, which there is not")
    return values


def _array(shape: Any, dtype: np.dtype, order: Any, data: Any) -> np.ndarray:
    count = check_shape(shape)
    if dtype.hasobject:
        if type(data) is not list or len(data) != count:
            raise ValueError(f"an array of {count} objects with other content")
        values = np.empty(count, dtype=object)
        for index, item in enumerate(data):
            values[index] = item
        return values.reshape(shape, order=order)
    raw = _raw_bytes(data)
    if len(raw) != count * dtype.itemsize:
        raise ValueError(f"an array of shape {tuple(shape)} and type {dtype} needs {count * dtype.itemsize} bytes but has {len(raw)}")
    if count == 0:
        return np.empty(shape, dtype=dtype)
    values = check_characters(np.frombuffer(raw, dtype=dtype))
    values.flags.writeable = False
    return values.reshape(shape, order=order)


def _raw_bytes(data: Any) -> Any:
    if isinstance(data, str):
        return _kept((data.encode("latin-1"),), len(data))
    if isinstance(data, (bytes, bytearray, memoryview)):
        return data
    raise TypeError(f"an array's content is a {type(data).__name__}")


def _kept(chunks: Iterable[bytes], size: int) -> Any:
    """Bytes in memory when they are few, else in an unnamed temporary file that is mapped."""
    if size < SPILL_BYTES:
        return b"".join(chunks)
    with tempfile.TemporaryFile() as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _make_dtype(name: Any, *_flags: Any) -> _PendingType:
    name = name.decode("ascii") if isinstance(name, bytes) else name
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise ValueError(f"an array of type {name!r}; numbers, strings and bytes can be read")
    return _PendingType(np.dtype(name))


def _make_scalar(dtype: Any, data: Any = b"") -> Any:
    kind = _dtype_of(dtype)
    return data if kind.hasobject else _array((1,), kind, "C", data)[0]


def _make_from_buffer(data: Any, dtype: Any, shape: Any, order: Any, axis_order: Any = None) -> np.ndarray:
    if order == "K" and axis_order is not None:
        return _array(shape, _dtype_of(dtype), "C", data).transpose(axis_order)
    return _array(shape, _dtype_of(dtype), order, data)


def _make_pending_array(kind: Any, _shape: Any, _type: Any) -> _PendingArray:
    if kind is not _ARRAY:
        raise TypeError("a kind of array other than numpy.ndarray")
    return _PendingArray()


def _encode(text: Any, encoding: str = "utf-8") -> Any:
    if encoding.lower() not in _LATIN1:
        raise ValueError(f"text encoded as {encoding!r}")
    if isinstance(text, str):
        return text.encode("latin-1")
    decoder = codecs.getincrementaldecoder("utf-8")()
    pieces = (text[start : start + CHUNK_BYTES] for start in range(0, len(text), CHUNK_BYTES))
    return _kept((decoder.decode(piece).encode("latin-1") for piece in pieces), len(text))


def _make_bytearray(data: Any = b"", encoding: str = "latin-1") -> Any:
    if isinstance(data, str) and encoding.lower() in _LATIN1:
        return bytearray(data.encode("latin-1"))
    if not isinstance(data, (bytes, bytearray)):
        raise TypeError("a bytearray made of something other than bytes")
    return bytearray(data)


def _make_bytes() -> bytes:
    return b""


class StandIn:
    """What a name in the file stands for: a function of ours that may be called with the arguments in the file."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function


def _refuse_call(*_arguments: Any) -> Any:
    raise TypeError("numpy.ndarray called directly")


_ARRAY = StandIn(_refuse_call)
ORDERED_DICT, _SET, _FROZENSET = StandIn(OrderedDict), StandIn(set), StandIn(frozenset)
KEYED = (ORDERED_DICT, _SET, _FROZENSET)
"""Those whose arguments are hashed."""
_CORES = ("numpy.core", "numpy._core")
_BUILTINS = ("builtins", "__builtin__")
STAND_INS: dict[tuple[str, str], StandIn] = {
    ("numpy", "ndarray"): _ARRAY,
    ("numpy", "dtype"): StandIn(_make_dtype),
    ("_codecs", "encode"): StandIn(_encode),
    ("collections", "OrderedDict"): ORDERED_DICT,
    **{(f"{core}.multiarray", "_reconstruct"): StandIn(_make_pending_array) for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): StandIn(_make_scalar) for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): StandIn(_make_from_buffer) for core in _CORES},
    **{(module, "set"): _SET for module in _BUILTINS},
    **{(module, "frozenset"): _FROZENSET for module in _BUILTINS},
    **{(module, "complex"): StandIn(complex) for module in _BUILTINS},
    **{(module, "bytearray"): StandIn(_make_bytearray) for module in _BUILTINS},
    **{(module, "bytes"): StandIn(_make_bytes) for module in _BUILTINS},
}
