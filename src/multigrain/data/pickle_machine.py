"""The machine that goes through a pickle's program; it knows the opcodes of numbers, strings and plain containers, and no others."""

import codecs
import mmap
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from multigrain.data.pickle_limits import Budget
from multigrain.data.pickle_names import KEYED, ORDERED_DICT, SPILL_BYTES, STAND_INS, Pending, StandIn
from multigrain.errors import UnsafePickleError

VIEW_BYTES = 1024
"""Payloads of at least this many bytes are kept as views of the file."""
PYTHON2_STRING_BYTES = 64 << 10
"""A Python 2 string of at least this many bytes is taken for an array's content, and is not decoded."""
MALFORMED = (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError, struct.error, RecursionError, MemoryError)
"""What a file that is no whole pickle can lead to."""

_STOP = ord(".")
_NUMBER_CODES = {"B": (1, False), "H": (2, False), "I": (4, False), "Q": (8, False), "i": (4, True)}
_MEMO_PLACES = 1 << 32
_HASHING = 8  # looking at a key and hashing it takes so many times as long as copying it


class PickleMachine:
    """A pickle's stack and memo, with the opcodes that `_OPCODES` lists and no others.

    Args:
        data: the file, or a part of it that is a whole pickle.
        path: of the file, for messages.
    """

    def __init__(self, data: mmap.mmap | bytes, path: Path) -> None:
        self.data, self.path = data, path
        self.view = memoryview(data)
        self.budget = Budget(len(data))
        self.position = 0
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Executes the program until STOP and returns what is on top of the stack."""
        data, actions, size = self.data, _ACTIONS, len(self.data)
        while self.position < size:
            opcode = data[self.position]
            self.position += 1
            if opcode == _STOP:
                return self.stack.pop()
            action = actions[opcode]
            if action is None:
                self.refuse_opcode(bytes((opcode,)))
            else:
                action(self)
        raise ValueError("it ends before its end")

    def read(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count < 0 or self.position + count > len(self.data):
            raise ValueError(f"{count} bytes were to follow, but only {len(self.data) - self.position} are left")
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self, code: str) -> int:
        """The next little-endian integer, by its `struct` code."""
        size, is_signed = _NUMBER_CODES[code]
        return int.from_bytes(self.read(size), "little", signed=is_signed)

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

    def make(self, container: Any) -> None:
        """Puts a new container on the stack."""
        self.budget.count_object()
        self.stack.append(container)

    def mark(self) -> None:
        """Opens a group of values."""
        self.budget.count_object()
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
        if not 0 <= key < _MEMO_PLACES:
            raise ValueError(f"{key:.3e} is no place to remember a value at")
        self.budget.count_object()
        self.memo[key] = self.stack[-1]
        if isinstance(self.stack[-1], Pending):
            self.stack[-1].keys.append(key)

    def extend(self, values: list[Any]) -> None:
        """Appends to the list, or adds to the set, on top of the stack."""
        target = self.stack[-1]
        if type(target) is set:
            self.budget.check_keys(values)
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
        self.budget.check_keys(values[::2])
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
        if not isinstance(function, StandIn):
            raise TypeError(f"a {type(function).__name__} was to be called")
        self.budget.spend(arguments)
        if function in KEYED:
            self.push_keyed(function, arguments)
        else:
            self.push(function.function(*arguments))

    def push_keyed(self, kind: StandIn, arguments: tuple[Any, ...]) -> None:
        """Makes a set, or a dict of (key, value) pairs, whose keys are checked before they are hashed."""
        if len(arguments) > 1 or not all(type(argument) in (list, tuple, dict) for argument in arguments):
            raise TypeError("a set or dict made of something other than a list")
        members = list(arguments[0]) if arguments else []
        self.budget.spend([members] * _HASHING)
        if kind is ORDERED_DICT:
            self.budget.spend(members)
            self.push(OrderedDict())
            self.set_items([part for key, value in members for part in (key, value)])
        else:
            self.budget.check_keys(members)
            self.push(kind.function(members))

    def build(self) -> None:
        """Gives an unfinished array or array type its state; nothing else has a state."""
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, Pending) or type(state) is not tuple:
            self.refuse(f"to set the inner state of a {type(target).__name__}")
        else:
            self.budget.spend(state)
            self.stack[-1] = target.build(state)
            for key in target.keys:
                self.memo[key] = self.stack[-1]

    def name(self, module: Any, name: Any) -> None:
        """Puts our stand-in for a name on the stack, or refuses it."""
        module, name = (part.decode("utf-8") if isinstance(part, bytes) else str(part) for part in (module, name))
        if (module, name) not in STAND_INS:
            self.refuse(f"for {module}.{name}")
        self.push(STAND_INS[module, name])

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


def _python2_line(machine: PickleMachine) -> str:
    line = machine.line().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise ValueError("a string without quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin-1")


def _integer_line(machine: PickleMachine) -> int | bool:
    line = machine.line()
    return line == b"01" if line in (b"00", b"01") else int(line.rstrip(b"L"), 0)


_OPCODES: dict[bytes, Callable[[PickleMachine], None]] = {
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
    b"\x85": lambda m: m.make(m.popped(1)),
    b"\x86": lambda m: m.make(m.popped(2)),
    b"\x87": lambda m: m.make(m.popped(3)),
    b"t": lambda m: m.make(tuple(m.marked())),
    b"]": lambda m: m.make([]),
    b"l": lambda m: m.push(m.marked()),
    b"}": lambda m: m.make({}),
    b"d": lambda m: _push_dict(m, m.marked()),
    b"\x8f": lambda m: m.make(set()),
    b"\x91": lambda m: _push_frozenset(m, m.marked()),
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


def _push_frozenset(machine: PickleMachine, values: list[Any]) -> None:
    machine.budget.check_keys(values)
    machine.make(frozenset(values))


def _push_dict(machine: PickleMachine, values: list[Any]) -> None:
    machine.push({})
    machine.set_items(values)


_ACTIONS = [_OPCODES.get(bytes((code,))) for code in range(256)]
