"""Reads a file of `torch.save` by torch's own weights_only loader, after looking at its pickle as at any other.

That loader runs nothing, but it has no limits: keys nested a million deep end the process, and a few bytes can name a tensor a billion
times. So the program is first gone through by our own machine, with stand-ins for torch's names that do nothing.
"""

import mmap
import pickle
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

from multigrain.data.pickle_limits import PickleLimitError, check_content, too_much
from multigrain.data.pickle_machine import MALFORMED, PickleMachine
from multigrain.data.pickle_names import KEYED, STAND_INS, StandIn
from multigrain.errors import DataError, UnsafePickleError

_MOST_PICKLE_BYTES = 256 << 20
"""Of the part of the file that describes its tensors."""
_OLD_FORMAT_PICKLES = 5
"""Magic number, protocol, system, content, names of the storages; then come the storages' bytes."""


def load_torch(path: Path) -> Any:
    """The content of a file of tensors, numbers, text and plain containers, its tensors as arrays.

    Raises:
        UnsafePickleError: it holds anything else.
        DataError: it is damaged, or makes more of its bytes than any data file does.
    """
    import torch

    try:
        check_torch_pickle(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about its own old formats
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        content = _without_tensors(content)
        check_content(content, path.stat().st_size)
    except PickleLimitError as error:
        raise too_much(path, error) from error
    except pickle.UnpicklingError as error:
        raise UnsafePickleError(
            f"{path} was written by torch.save and holds more than tensors and plain containers, so it was refused and nothing in it was run: "
            f"{str(error).splitlines()[0]} Save it again with numpy arrays, or with tensors only."
        ) from error
    except (*MALFORMED, RuntimeError, EOFError, OSError, zipfile.BadZipFile, AssertionError, NotImplementedError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DataError(f"{path} looks like a torch file but cannot be read: {reason[:300]}. Fetch or save it again.") from error
    return content


def check_torch_pickle(path: Path) -> None:
    """Looks for what would take torch's loader all memory, for ever, or down.

    Raises:
        PickleLimitError: there is something of the kind.
        ValueError: the file's outer form is broken (besides what `zipfile` raises).
    """
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        machine = _LookingMachine(whole, path)
        for _ in range(_OLD_FORMAT_PICKLES):
            check_content(machine.run(), len(whole))
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if any(member.compress_type != zipfile.ZIP_STORED for member in members) or unpacked > path.stat().st_size:
            raise ValueError("its parts are packed or overlap each other, which torch never writes")
        for member in members:
            if not member.filename.endswith(".pkl"):
                continue
            if member.file_size > _MOST_PICKLE_BYTES:
                raise ValueError(f"{member.filename} has {member.file_size} bytes without a single tensor's content")
            content = archive.read(member)
            check_content(_LookingMachine(content, path).run(), len(content))


class _Opaque:
    """What one of torch's functions would have made."""


class _LookingMachine(PickleMachine):
    """Goes through a pickle's program and makes nothing of torch's names: what torch allows is torch's to say."""

    def name(self, module: Any, name: Any) -> None:
        """A stand-in for any name; torch refuses those that it does not know before it looks them up."""
        known = STAND_INS.get((_text(module), _text(name)))
        if (_text(module), _text(name)) == ("collections", "Counter"):
            known = STAND_INS["builtins", "set"]  # it hashes what it is given, as a set does
        self.push(known if known in KEYED else StandIn(lambda *_: _Opaque()))

    def build(self) -> None:
        """Takes the state and leaves the object as it is."""
        self.stack.pop()
        if not isinstance(self.stack[-1], (_Opaque, OrderedDict)):
            raise TypeError(f"the state of a {type(self.stack[-1]).__name__} was to be set")

    def refuse_opcode(self, opcode: bytes) -> None:
        """A reference to a storage, or an object of torch's, is allowed."""
        if opcode == b"Q":
            self.stack[-1] = _Opaque()
        elif opcode == b"\x81":
            self.stack[-2:] = [_Opaque()]
        else:
            super().refuse_opcode(opcode)


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


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
