"""Pickles and torch files that make much of few bytes: refused within a moment, without a crash; real ones are not."""

import json
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from multigrain.data import pickle_limits
from multigrain.data.pickle_limits import DEEPEST, MOST_NUMBER_TUPLES
from multigrain.data.safe_pickle import load
from multigrain.errors import DataError

ONE = b"K\x01"
DOUBLED = ONE + b"2\x86" * 60  # a tuple of a tuple twice, sixty times over: 2 ** 60 numbers to walk through
NEST = b"\x85" * 5_000
LONG_LIST = b"\x80\x02(" + b"N" * 10_000 + b"lq\x00"
LONG_TEXT = b"\x80\x02X\x10\x27\x00\x00" + b"x" * 10_000 + b"q\x00"
COLLIDING = b"".join(b"\x8a\x0a" + (number * (2**61 - 1)).to_bytes(10, "little") + b"N" for number in range(1, 1_000))

TOO_MUCH = {
    "a nested key": (b"\x80\x02})" + NEST + ONE + b"s.", "a tuple for a key"),
    "a nested member of a set": (b"\x80\x04\x8f()" + NEST + b"\x90.", "a tuple for a key"),
    "a nested member of a frozenset": (b"\x80\x04()" + NEST + b"\x91.", "a tuple for a key"),
    "a nested member of a set that is called": (b"\x80\x02cbuiltins\nset\n(" + b")" + NEST + b"l\x85R.", "a tuple for a key"),
    "a nested key of an OrderedDict": (b"\x80\x02ccollections\nOrderedDict\n((" + b")" + NEST + b"Nll\x85R.", "a tuple for a key"),
    "nested lists": (b"\x80\x02" + b"]" * 3000 + b"a" * 2999 + b".", "deep within each other"),
    "nested through the memo": (b"\x80\x02]q\x00" + b"]h\x00aq\x00" * 3000 + b".", "deep within each other"),
    "a list in itself": (b"\x80\x02]q\x00h\x00a.", "holds itself"),
    "a doubled key": (b"\x80\x02}" + DOUBLED + ONE + b"s.", "a tuple for a key"),
    "a doubled value": (b"\x80\x02}" + ONE + DOUBLED + b"s.", "so often"),
    "numbers with equal hashes": (b"\x80\x02}(" + COLLIDING + b"u.", "an integer of more than 64 bits"),
    "places without end": (b"\x80\x04N" + b"\x94" * 20_000 + b".", "objects of"),
    "lists without end": (b"\x80\x02" + b"]" * 20_000 + b".", "objects of"),
    "marks without end": (b"(" * 20_000, "objects of"),
    "a long list made a set again and again": (LONG_LIST + b"c__builtin__\nset\nq\x01" + b"h\x01h\x00\x85R0" * 5_000 + b".", "it copies more"),
    "a long text encoded again and again": (
        LONG_TEXT + b"c_codecs\nencode\nq\x01X\x06\x00\x00\x00latin1q\x02" + b"h\x01h\x00h\x02\x86R0" * 5_000 + b".",
        "it copies more",
    ),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_few_bytes_that_ask_for_much_are_refused_at_once(tmp_path: Path, monkeypatch, name: str) -> None:
    monkeypatch.setattr(pickle_limits, "FREE_OBJECTS", 10_000)
    monkeypatch.setattr(pickle_limits, "FREE_BYTES", 100_000)
    raw, reason = TOO_MUCH[name]
    path = tmp_path / "data.pkl"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=reason) as caught:
        load(path)
    assert "was refused" in str(caught.value)
    assert "Fetch the file again" in str(caught.value)


def test_many_tuples_of_numbers_are_no_keys(tmp_path: Path) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps({(number, 1): None for number in range(MOST_NUMBER_TUPLES)}))
    assert len(load(path)) == MOST_NUMBER_TUPLES
    path.write_bytes(pickle.dumps({(number, 1): None for number in range(MOST_NUMBER_TUPLES + 1)}))
    with pytest.raises(DataError, match="keys that are tuples of numbers"):
        load(path)


@pytest.mark.parametrize("shape", [(1 << 60, 0), (0,) * 40, (1 << 40, 1 << 40), (10**300,), (2**31, 0, 300)])
def test_impossible_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.zeros(3, np.float32)
    rebuild, arguments, state = array.__reduce__()

    class Odd:
        def __reduce__(self) -> tuple:
            return rebuild, arguments, (state[0], shape, array.dtype, False, b"")

    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(Odd(), protocol=2))
    with pytest.raises(DataError, match="impossible shape"):
        load(path)


def test_what_data_files_hold_stays_readable(tmp_path: Path) -> None:
    shared = np.zeros((1, 47), np.float32)
    words = ["a", "b"] * 50
    content = {
        "keys": {"text": 1, b"bytes": 2, 3: 4, 2.5: 6, None: 7, True: 8, ("video", 3): 9, np.int64(11): 10, np.float32(0.5): 11},
        "sets": [{1, "a", ("b", 2)}, frozenset({b"c"}), OrderedDict([("k", [1])])],
        "shared": [(words, shared, {"again": words}) for _ in range(300)],
        "deep": [[[[[["six"]]]]]],
        "many": [[float(number), [number]] for number in range(200)],
    }
    for protocol in range(6):
        path = tmp_path / "data.pkl"
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        read = load(path)
        assert read["keys"] == content["keys"]
        assert read["sets"] == content["sets"]
        assert len(read["shared"]) == 300
        assert read["many"][-1] == [199.0, [199]]
    nested: list = []
    for _ in range(DEEPEST - 3):
        nested = [nested]
    path.write_bytes(pickle.dumps(nested))
    load(path)


def hostile_torch_file(path: Path, program: bytes) -> Path:
    """A file of torch.save with another program in the place of its own."""
    torch.save({"text": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {member.filename: archive.read(member) for member in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, program if name.endswith("data.pkl") else content)
    return path


TORCH_CASES = ("a nested key", "a nested member of a set that is called", "nested lists", "a doubled key", "a doubled value")


def test_torch_files_have_the_same_limits(tmp_path: Path) -> None:
    """In a process of its own, which torch's loader once took down."""
    paths = {}
    for name in TORCH_CASES:
        raw = TOO_MUCH[name][0].replace(NEST, NEST * 40)  # deep enough to end a process
        paths[f"{name}, zip"] = str(hostile_torch_file(tmp_path / f"{name}.pt", raw))
        path = tmp_path / f"{name}.old.pt"
        torch.save({"text": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
        whole = path.read_bytes()
        start = whole.index(b"\x80\x02}q\x00X\x04\x00\x00\x00text")
        path.write_bytes(whole[:start] + raw + whole[start:])
        paths[f"{name}, old"] = str(path)
    code = "\n".join(
        [
            "import json, sys",
            "from multigrain.data.safe_pickle import load",
            "from multigrain.errors import DataError",
            "for name, path in json.loads(sys.argv[1]).items():",
            "    try: load(path)",
            "    except DataError as error: print(json.dumps([name, str(error)]), flush=True)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(paths)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    errors = dict(json.loads(line) for line in done.stdout.splitlines())
    assert len(errors) == len(paths)
    for name, error in errors.items():
        assert TOO_MUCH[name.rsplit(",", 1)[0]][1] in error, name


def test_odd_torch_files_are_a_sentence(tmp_path: Path) -> None:
    path = hostile_torch_file(tmp_path / "data.pt", b"\x80\x02K\x01")
    with pytest.raises(DataError, match="looks like a torch file but cannot be read"):
        load(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"N0" * 10_000_000 + b"N.")
    with pytest.raises(DataError, match="packed or overlap each other"):
        load(path)
    torch.save({"text": torch.ones(1).expand(1 << 40)}, path)
    with pytest.raises(DataError, match="so often"):
        load(path)
    model = torch.nn.Linear(2, 3)
    torch.save(model.state_dict(), path)
    assert set(load(path)) == {"weight", "bias"}
