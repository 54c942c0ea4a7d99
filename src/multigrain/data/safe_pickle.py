"""Reads a pickle without running anything that it asks for, and without holding its arrays in memory.

A pickle is a program: the usual loader imports and calls whatever the file names. This one is a machine of its own
that knows only the opcodes for numbers, strings and plain containers, and answers the handful of names that numpy
writes with stand-ins of ours. Every other name is refused before it is looked up, so there is nothing to be run.

The file is memory-mapped. Bytes that become an array are never copied: the array is a read-only view of the file
(see `release_pages`). Only what old protocols store as text is decoded into an unnamed temporary file.
"""

import codecs
import math
import mmap
import pickle
import re
import struct
import tempfile
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from multigrain.errors import DataError, UnsafePickleError

VIEW_BYTES = 1024
"""Payloads of at least this many bytes are kept as views of the file."""
SPILL_BYTES = 1 << 20
"""Decoded payloads of at least this many bytes go to a temporary file."""
CHUNK_BYTES = 4 << 20
PYTHON2_STRING_BYTES = 64 << 10
"""A Python 2 string of at least this many bytes is taken for an array's content, and is not decoded."""

_DTYPE = re.compile(r"[<>|=]?[biufcSUO?][0-9]*")
_LATIN1 = {"latin1", "latin-1", "latin_1", "iso-8859-1", "iso8859-1"}
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_TORCH_ZIP = b"PK\x03\x04"
_MALFORMED = (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError, struct.error, RecursionError, MemoryError)


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
        DataError: there is no such file, or it is truncated or not a pickle.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"There is no file {path}. Check the path; a pickle file was expected there.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes); a pickle was expected. Fetch or copy the file again.")
    with path.open("rb") as file:
        if file.read(4) == _TORCH_ZIP:
            return _load_torch(path, is_zip=True)
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    machine = _Machine(data, path)
    try:
        value = machine.run()
    except _MALFORMED as error:
        raise DataError(
            f"{path} is not a whole pickle: reading it failed at byte {machine.position} of {len(data)} ({type(error).__name__}: {error}). "
            "The file is truncated, damaged or of another format; compare its size with the original and fetch it again."
        ) from error
    return _load_torch(path, is_zip=False) if type(value) is int and value == _TORCH_MAGIC else value


def release_pages(array: np.ndarray) -> None:
    """Gives back the memory of a file-backed array that was read through; it is read from the file again when needed."""
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    if base is not None and hasattr(base, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def _load_torch(path: Path, is_zip: bool) -> Any:
    import torch

    try:
        return _without_tensors(torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip))
    except pickle.UnpicklingError as error:
        raise UnsafePickleError(
            f"{path} was written by torch.save and holds more than tensors and plain containers, so it was refused and nothing in it was run: "
            f"{str(error).splitlines()[0]} Save it again with numpy arrays, or with tensors only."
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise DataError(f"{path} looks like a torch file but cannot be read: {error}. Fetch or save it again.") from error


def _without_tensors(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().float().numpy() if value.dtype == torch.bfloat16 else value.detach().numpy()
    if isinstance(value, dict):
        return {key: _without_tensors(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_without_tensors(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


# Stand-ins for the few names that a pickle of arrays contains -----------------------------------------------------


class _Pending(ABC):
    """An object whose state follows in a BUILD; `keys` are the memo places that must then hold the finished object."""

    def __init__(self) -> None:
        self.keys: list[int] = []

    @abstractmethod
    def build(self, state: Any) -> Any:
        """The finished object."""


class _PendingArray(_Pending):
    def build(self, state: Any) -> np.ndarray:
        shape, dtype, is_fortran, data = state[-4:]
        return _array(shape, _dtype_of(dtype), "F" if is_fortran else "C", data)


class _PendingType(_Pending):
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


def _array(shape: Any, dtype: np.dtype, order: Any, data: Any) -> np.ndarray:
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"an array of shape {shape}")
    count = math.prod(shape)
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
    values = np.frombuffer(raw, dtype=dtype)
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


class _Name:
    """What a name in the file stands for: a function of ours that may be called with the arguments in the file."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function


def _refuse_call(*_arguments: Any) -> Any:
    raise TypeError("numpy.ndarray called directly")


_ARRAY = _Name(_refuse_call)
_CORES = ("numpy.core", "numpy._core")
_BUILTINS = ("builtins", "__builtin__")
_NAMES: dict[tuple[str, str], _Name] = {
    ("numpy", "ndarray"): _ARRAY,
    ("numpy", "dtype"): _Name(_make_dtype),
    ("_codecs", "encode"): _Name(_encode),
    ("collections", "OrderedDict"): _Name(OrderedDict),
    **{(f"{core}.multiarray", "_reconstruct"): _Name(_make_pending_array) for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _Name(_make_scalar) for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _Name(_make_from_buffer) for core in _CORES},
    **{(module, "set"): _Name(set) for module in _BUILTINS},
    **{(module, "frozenset"): _Name(frozenset) for module in _BUILTINS},
    **{(module, "complex"): _Name(complex) for module in _BUILTINS},
    **{(module, "bytearray"): _Name(_make_bytearray) for module in _BUILTINS},
    **{(module, "bytes"): _Name(_make_bytes) for module in _BUILTINS},
}


# The machine ------------------------------------------------------------------------------------------------------


class _Machine:
    """A pickle's stack and memo, with the opcodes that `_OPCODES` lists and no others."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self.data, self.path = data, path
        self.view = memoryview(data)
        self.position = 0
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Executes the program until STOP and returns what is on top of the stack."""
        while True:
            opcode = self.read(1)
            if opcode == b".":
                return self.stack.pop()
            action = _OPCODES.get(opcode)
            if action is None:
                self.refuse_opcode(opcode)
            else:
                action(self)

    def read(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count < 0 or self.position + count > len(self.data):
            raise ValueError(f"{count} bytes were to follow, but only {len(self.data) - self.position} are left")
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self, code: str) -> int:
        """The next little-endian integer, by its `struct` code."""
        return int(struct.unpack("<" + code, self.read(struct.calcsize("<" + code)))[0])

    def line(self) -> bytes:
        """The bytes up to the next newline, which is passed over."""
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise ValueError("a line has no end")
        line = self.data[self.position : end]
        self.position = end + 1
        return line

    def payload(self, code: str) -> bytes | memoryview:
        """A counted run of bytes: a copy when short, else a view of the file."""
        count = self.number(code)
        if count < VIEW_BYTES:
            return self.read(count)
        start = self.position
        if start + count > len(self.data):
            raise ValueError(f"{count} bytes were to follow, but only {len(self.data) - start} are left")
        self.position = start + count
        return self.view[start : self.position]

    def text(self, code: str, encoding: str, kept_bytes: int) -> Any:
        """A counted string; one of `kept_bytes` or more (only ever an array's content) stays a view of the file."""
        raw = self.payload(code)
        return raw if len(raw) >= kept_bytes else bytes(raw).decode(encoding, "strict" if encoding == "latin-1" else "surrogatepass")

    def push(self, value: Any) -> None:
        """Puts a value on the stack."""
        self.stack.append(value)

    def mark(self) -> None:
        """Opens a group of values."""
        self.marks.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """The values since the last mark."""
        values, self.stack = self.stack, self.marks.pop()
        return values

    def popped(self, count: int) -> tuple[Any, ...]:
        """The last `count` values as a tuple."""
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        return values

    def put(self, key: int) -> None:
        """Remembers the value on top of the stack."""
        self.memo[key] = self.stack[-1]
        if isinstance(self.stack[-1], _Pending):
            self.stack[-1].keys.append(key)

    def extend(self, values: list[Any]) -> None:
        """Appends to the list, or adds to the set, on top of the stack."""
        target = self.stack[-1]
        if type(target) is set:
            target.update(values)
        elif type(target) is list:
            target.extend(values)
        else:
            raise TypeError(f"values to append to a {type(target).__name__}")

    def set_items(self, values: list[Any]) -> None:
        """Sets keys and values, given alternately, in the dict on top of the stack."""
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict):
            raise TypeError(f"items to set in a {type(target).__name__}")
        target.update(zip(values[::2], values[1::2], strict=True))

    def pop(self) -> None:
        """Throws away the value on top, or an open mark."""
        if self.stack:
            self.stack.pop()
        else:
            self.marked()

    def reduce(self) -> None:
        """Calls one of our stand-ins; nothing else can be called."""
        function, arguments = self.popped(2)
        if not isinstance(function, _Name):
            raise TypeError(f"a {type(function).__name__} was to be called")
        self.push(function.function(*arguments))

    def build(self) -> None:
        """Gives an unfinished array or array type its state; nothing else has a state."""
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, _Pending) or type(state) is not tuple:
            self.refuse(f"to set the inner state of a {type(target).__name__}")
        else:
            self.stack[-1] = target.build(state)
            for key in target.keys:
                self.memo[key] = self.stack[-1]

    def name(self, module: Any, name: Any) -> None:
        """Puts our stand-in for a name on the stack, or refuses it."""
        module, name = (part.decode("utf-8") if isinstance(part, bytes) else str(part) for part in (module, name))
        if (module, name) not in _NAMES:
            self.refuse(f"for {module}.{name}")
        self.push(_NAMES[module, name])

    def refuse_opcode(self, opcode: bytes) -> None:
        """Says in words what an opcode that we do not have would do."""
        if opcode == b"i":
            self.name(self.line(), self.line())
        if opcode not in _REFUSED_OPCODES:
            raise ValueError(f"the byte {opcode!r} is not a pickle instruction")
        self.refuse(_REFUSED_OPCODES[opcode])

    def refuse(self, what: str) -> None:
        """Raises UnsafePickleError."""
        hint = "Ask whoever made it for a file that holds numpy arrays only, or take out the other objects where you trust the file."
        if "torch" in what:
            hint = "Tensors: save them as numpy arrays (tensor.numpy()), or with torch.save, which is read by its weights_only loader."
        raise UnsafePickleError(
            f"{self.path} was refused: at byte {self.position} it asks {what}. A data file needs only numpy arrays, numbers, strings, bytes and "
            f"plain containers, and a pickle that asks for more could run any program. Nothing in it was run. {hint}"
        )


_REFUSED_OPCODES = {
    b"i": "to make an object of its own",
    b"o": "to make an object of its own",
    b"\x81": "to make an object of its own",
    b"\x92": "to make an object of its own",
    b"\x82": "for an object by extension code",
    b"\x83": "for an object by extension code",
    b"\x84": "for an object by extension code",
    b"P": "for an object kept outside the file",
    b"Q": "for an object kept outside the file",
    b"\x97": "for a buffer kept outside the file",
    b"\x98": "for a buffer kept outside the file",
}


def _python2_line(machine: _Machine) -> str:
    line = machine.line().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise ValueError("a string without quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin-1")


def _integer_line(machine: _Machine) -> int | bool:
    line = machine.line()
    return line == b"01" if line in (b"00", b"01") else int(line.rstrip(b"L"), 0)


_OPCODES: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": lambda m: _check_protocol(m.number("B")),
    b"\x95": lambda m: _ignore(m.read(8)),  # frames only help a reader that fetches ahead
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": lambda m: m.push(_integer_line(m)),
    b"L": lambda m: m.push(_integer_line(m)),
    b"J": lambda m: m.push(m.number("i")),
    b"K": lambda m: m.push(m.number("B")),
    b"M": lambda m: m.push(m.number("H")),
    b"\x8a": lambda m: m.push(int.from_bytes(m.read(m.number("B")), "little", signed=True)),
    b"\x8b": lambda m: m.push(int.from_bytes(m.read(m.number("i")), "little", signed=True)),
    b"F": lambda m: m.push(float(m.line())),
    b"G": lambda m: m.push(struct.unpack(">d", m.read(8))[0]),
    b"S": lambda m: m.push(_python2_line(m)),
    b"T": lambda m: m.push(m.text("i", "latin-1", PYTHON2_STRING_BYTES)),
    b"U": lambda m: m.push(m.text("B", "latin-1", PYTHON2_STRING_BYTES)),
    b"V": lambda m: m.push(m.line().decode("raw-unicode-escape")),
    b"X": lambda m: m.push(m.text("I", "utf-8", SPILL_BYTES)),
    b"\x8c": lambda m: m.push(m.text("B", "utf-8", SPILL_BYTES)),
    b"\x8d": lambda m: m.push(m.text("Q", "utf-8", SPILL_BYTES)),
    b"C": lambda m: m.push(m.payload("B")),
    b"B": lambda m: m.push(m.payload("I")),
    b"\x8e": lambda m: m.push(m.payload("Q")),
    b"\x96": lambda m: m.push(m.payload("Q")),
    b"(": lambda m: m.mark(),
    b")": lambda m: m.push(()),
    b"\x85": lambda m: m.push(m.popped(1)),
    b"\x86": lambda m: m.push(m.popped(2)),
    b"\x87": lambda m: m.push(m.popped(3)),
    b"t": lambda m: m.push(tuple(m.marked())),
    b"]": lambda m: m.push([]),
    b"l": lambda m: m.push(m.marked()),
    b"}": lambda m: m.push({}),
    b"d": lambda m: _push_dict(m, m.marked()),
    b"\x8f": lambda m: m.push(set()),
    b"\x91": lambda m: m.push(frozenset(m.marked())),
    b"a": lambda m: m.extend(list(m.popped(1))),
    b"e": lambda m: m.extend(m.marked()),
    b"\x90": lambda m: m.extend(m.marked()),
    b"s": lambda m: m.set_items(list(m.popped(2))),
    b"u": lambda m: m.set_items(m.marked()),
    b"0": lambda m: m.pop(),
    b"1": lambda m: _ignore(m.marked()),
    b"2": lambda m: m.push(m.stack[-1]),
    b"p": lambda m: m.put(int(m.line())),
    b"q": lambda m: m.put(m.number("B")),
    b"r": lambda m: m.put(m.number("I")),
    b"\x94": lambda m: m.put(len(m.memo)),
    b"g": lambda m: m.push(m.memo[int(m.line())]),
    b"h": lambda m: m.push(m.memo[m.number("B")]),
    b"j": lambda m: m.push(m.memo[m.number("I")]),
    b"c": lambda m: m.name(m.line(), m.line()),
    b"\x93": lambda m: m.name(*m.popped(2)),
    b"R": lambda m: m.reduce(),
    b"b": lambda m: m.build(),
}


def _check_protocol(protocol: int) -> None:
    if protocol > 5:
        raise ValueError(f"pickle protocol {protocol} is unknown; 0 to 5 can be read")


def _ignore(_value: Any) -> None:
    return None


def _push_dict(machine: _Machine, values: list[Any]) -> None:
    machine.push({})
    machine.set_items(values)
