import builtins
import copyreg
import io
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from multigrain.data.safe_pickle import load, release_pages
from multigrain.errors import DataError, UnsafePickleError

ARRAYS = {
    "float32": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "big endian": np.arange(6, dtype=">f8").reshape(3, 2),
    "Fortran": np.asfortranarray(np.arange(600, dtype=np.float32).reshape(20, 30)),
    "transposed": np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
    "bytes": np.array([b"video", b"12.5"]),
    "strings": np.array(["video", "zwölf"]),
    "objects": np.array([b"video", "clip", None, 3.5], dtype=object),
    "truth": np.array([True, False]),
    "empty": np.zeros((0, 50, 300), dtype=np.float32),
    "scalar": np.array(2.5),
}


def written(folder: Path, value: object, protocol: int | None = None) -> Path:
    path = folder / "data.pkl"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_every_kind_and_protocol(tmp_path: Path, kind: str, protocol: int) -> None:
    array = ARRAYS[kind]
    result = load(written(tmp_path, {"a": array, "again": [array]}, protocol))
    np.testing.assert_array_equal(result["a"], array)
    assert result["a"].dtype == array.dtype
    assert result["again"][0] is result["a"]


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values(tmp_path: Path, protocol: int) -> None:
    value = {
        "numbers": [0, -1, 255, 70000, 1 << 70, -(1 << 70), 1.5, True, False, None, 2 - 1j, np.float32(0.25), np.int64(-3)],
        "text": ["", "naïve", "x" * 300, "y" * 70000],
        "bytes": [b"", b"\x00\xff", b"z" * 300],
        "nested": ({"a": (1, 2, 3, 4)}, {1, 2}, frozenset({"b"}), OrderedDict([("k", [1])])),
        "bytearray": bytearray(b"12"),
    }
    assert load(written(tmp_path, value, protocol)) == value


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_large_arrays_are_views_of_a_file(tmp_path: Path, protocol: int) -> None:
    array = np.random.default_rng(0).normal(size=(300, 1000)).astype(np.float32)
    result = load(written(tmp_path, {"text": array}, protocol))["text"]
    base = result
    while isinstance(base, np.ndarray):
        base = base.base
    assert type(base.obj).__name__ == "mmap"
    assert not result.flags.writeable
    release_pages(result)
    np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_names_of_numpy_1_and_2(tmp_path: Path, core: str) -> None:
    other = {"numpy.core": b"numpy._core", "numpy._core": b"numpy.core"}[core]
    raw = pickle.dumps(np.arange(3), protocol=2).replace(other + b".", core.encode() + b".")
    assert core.encode() in raw
    np.testing.assert_array_equal(load(written(tmp_path, raw)), [0, 1, 2])


def python2_array(values: np.ndarray) -> bytes:
    """What Python 2 and numpy 1 wrote with protocol 2: the content is a byte string, and names are byte strings."""
    raw = values.tobytes()
    head = b"\x80\x02}q\x00U\x04textq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04"
    shape = b"".join(b"J" + struct.pack("<i", size) for size in values.shape)
    state = b"(K\x01(" + shape + b"tcnumpy\ndtype\nq\x05U\x02f4K\x00K\x01\x87Rq\x06(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    content = (b"U" + bytes([len(raw)]) if len(raw) < 256 else b"T" + struct.pack("<i", len(raw))) + raw
    return head + state + content + b"tbs."


@pytest.mark.parametrize("count", [3, 100, 100_000])
def test_pickles_of_python_2(tmp_path: Path, count: int) -> None:
    values = np.linspace(-1, 1, 2 * count, dtype=np.float32).reshape(count, 2)
    np.testing.assert_array_equal(load(written(tmp_path, python2_array(values)))["text"], values)
    assert load(written(tmp_path, b"(dp0\nS'caf\\xe9'\np1\n(lp2\nI01\naL5L\naF1.5\nas.")) == {"café": [True, 5, 1.5]}


class Payload:
    """Pickles as a call of any function with any arguments."""

    def __init__(self, function: object, *arguments: object, state: object = None):
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple:
        return self.reduced


class Holder:
    def __setstate__(self, state: str) -> None:
        exec(state)


def payloads(marker: Path) -> dict[str, tuple[object, str]]:
    code = f"open({str(marker)!r}, 'w').write('x')"
    path = str(marker)
    hidden = np.empty(1, dtype=object)
    hidden[0] = Payload(os.system, f"touch {path}")
    reconstruct = np.zeros(1).__reduce__()[0]
    state = Payload(reconstruct, np.ndarray, (0,), b"b", state=Payload(builtins.eval, code))
    registered = f"cos\nsystem\n(S'touch {path}'\ntR.".encode()
    return {
        "os.system": (Payload(os.system, f"touch {path}"), r"posix\.system|nt\.system"),
        "eval": (Payload(builtins.eval, code), r"builtins\.eval"),
        "exec in a dict in a list": ([{"train": Payload(builtins.exec, code)}], r"builtins\.exec"),
        "in an object array": (hidden, r"posix\.system|nt\.system"),
        "getattr": (Payload(getattr, Payload(__import__, "os"), "system"), r"builtins\.getattr"),
        "import": (Payload(__import__, "os"), r"builtins\.__import__"),
        "open": (Payload(io.open, path, "w"), r"io\.open|_io\.open"),
        "state of an object": (Payload(Holder, state=code), r"Holder"),
        "state of an array": (state, r"builtins\.eval"),
        "reconstructor": (Payload(copyreg._reconstructor, Holder, object, None), r"copyreg\._reconstructor|copy_reg\._reconstructor"),
        "numpy.load": (Payload(np.load, path), r"numpy\.load"),
        "torch tensor": ({"text": torch.zeros(2)}, r"torch\._utils\._rebuild_tensor_v2"),
        "protocol 0": (registered, r"os\.system"),
        "INST": (f"(S'touch {path}'\nios\nsystem\n.".encode(), r"os\.system"),
        "OBJ": (b"(cos\nsystem\n" + f"S'touch {path}'\no.".encode(), r"os\.system"),
        "NEWOBJ": (b"\x80\x02cnumpy\nndarray\n)\x81.", "object of its own"),
        "persistent id": (b"Psecret\n.", "kept outside the file"),
        "binary persistent id": (b"U\x01xQ.", "kept outside the file"),
        "extension code": (b"\x80\x02\x82\x01.", "extension code"),
        "dotted name": (b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.tofile.\x93.", r"numpy\.ndarray\.tofile"),
        "stack name": (b"\x80\x04\x8c\x02os\x8c\x06system\x93" + f"\x8c{chr(len(path) + 6)}touch {path}\x85R.".encode("latin-1"), r"os\.system"),
        "state of a dict": (b"\x80\x02}}b.", "inner state of a dict"),
        "named array subclass": (Payload(np.matrixlib.defmatrix.matrix, "1"), r"numpy\.matrix|defmatrix"),
    }


@pytest.mark.parametrize("name", payloads(Path("marker")))
def test_payload_is_refused_by_name_and_never_runs(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"
    value, asked = payloads(marker)[name]
    path = written(tmp_path, value)
    with pytest.raises(UnsafePickleError, match=asked) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "Nothing in it was run" in str(caught.value)
    assert not marker.exists()


def test_the_payloads_do_run_elsewhere(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(payloads(marker)["os.system"][0]))
    assert marker.exists()


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80\x02cnumpy\nndarray\nK\x05\x85R.",  # numpy.ndarray called
        b"\x80\x02]K\x01R.",  # a list called
        b"\x80\x02cnumpy\ndtype\nU\x05f4,i4K\x00K\x01\x87R.",  # records
        b"\x80\x02c_codecs\nencode\nU\x01xU\x05punic\x86R.",  # another codec
        b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.",  # two gigabytes out of ten bytes
        b"\x80\x09.",  # protocol 9
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x0fabc.",  # more than the file holds
        b"h\x05.",
        b"not a pickle",
        b"\xff\xd8\xff\xe0",
    ],
)
def test_odd_files_give_a_clear_error(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(DataError, match=r"not a whole pickle: reading it failed at byte"):
        load(written(tmp_path, raw))


def test_truncated_at_every_length(tmp_path: Path) -> None:
    raw = pickle.dumps({"text": np.ones((2, 3), np.float32), "id": ["a", "b"]}, protocol=4)
    for length in range(1, len(raw)):
        with pytest.raises(DataError, match=r"truncated, damaged or of another format"):
            load(written(tmp_path, raw[:length]))


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no file"):
        load(tmp_path / "absent.pkl")
    with pytest.raises(DataError, match=r"is empty \(0 bytes\)"):
        load(written(tmp_path, b""))


@pytest.mark.parametrize("is_zip", [True, False])
def test_torch_files_only_by_weights_only(tmp_path: Path, is_zip: bool) -> None:
    path, marker = tmp_path / "data.pt", tmp_path / "marker"
    torch.save({"text": torch.ones(2, 3), "id": ["a"]}, path, _use_new_zipfile_serialization=is_zip)
    result = load(path)
    np.testing.assert_array_equal(result["text"], np.ones((2, 3)))
    torch.save({"text": torch.ones(1), "x": Payload(os.system, f"touch {marker}")}, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(UnsafePickleError, match=r"written by torch.save and holds more than tensors"):
        load(path)
    assert not marker.exists()
