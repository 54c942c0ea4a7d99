"""npz files that are broken, claim what they do not hold, or hold much in few bytes."""

import io
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigrain.data.readers import npz_files
from multigrain.data.readers.npz_files import load_npy, open_npz
from multigrain.data.safe_pickle import load
from multigrain.errors import DataError


def npy(array: np.ndarray | None = None, *, shape: Any = None, dtype: str = "<f4", content: bytes = b"") -> bytes:
    """An .npy file; with `shape` its header says that, whatever follows."""
    file = io.BytesIO()
    if shape is None:
        np.save(file, array)
        return file.getvalue()
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def packed(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_arrays_of_every_compression(tmp_path: Path, compression: int) -> None:
    arrays = {"small": np.arange(6.0).reshape(2, 3), "large": np.arange(1 << 20, dtype=np.float32), "empty": np.zeros((0, 5, 3))}
    arrays["fortran"] = np.asfortranarray(arrays["small"])
    read = open_npz(packed(tmp_path / "a.npz", {f"{name}.npy": npy(array) for name, array in arrays.items()}, compression))
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch) -> None:
    path = packed(tmp_path / "bomb.npz", {"text.npy": npy(np.zeros(30 << 20, np.uint8))})
    assert path.stat().st_size < 1 << 20
    monkeypatch.setattr(npz_files.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10 << 20})())
    with pytest.raises(DataError, match=r"unpacks to 0\.0 GB, but the disk for temporary files"):
        open_npz(path)


def test_many_small_arrays_do_not_fill_the_memory(tmp_path: Path, monkeypatch) -> None:
    path = packed(tmp_path / "many.npz", {f"{number}.npy": npy(np.full(1000, number)) for number in range(20)})
    monkeypatch.setattr(npz_files, "_KEPT_BYTES", 100_000)
    read = open_npz(path)
    assert all(isinstance(array, np.memmap) and (array == int(name)).all() for name, array in read.items())


@pytest.mark.parametrize(
    ("shape", "content", "message"),
    [
        ((1 << 40, 1 << 40), b"", "impossible shape"),
        ((1 << 40, 0), b"", "impossible shape"),
        ((2**62, 4), b"", "impossible shape"),
        ((-1,), b"", "impossible shape"),
        ((4,), b"\0" * 12, "does not fit the"),
        ((4,), b"\0" * 20, "does not fit the"),
        ((1 << 30,), b"\0" * 20, "does not fit the"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(tmp_path: Path, shape: tuple[int, ...], content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_npz(packed(tmp_path / "a.npz", {"text.npy": npy(shape=shape, content=content)}))


@pytest.mark.parametrize("dtype", ["<M8[s]", "|V8", "|S0"])
def test_other_types_are_refused(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(DataError, match="numbers and text can be read"):
        open_npz(packed(tmp_path / "a.npz", {"text.npy": npy(shape=(2,), dtype=dtype, content=b"\0" * 16)}))


def broken_archives(folder: Path) -> dict[str, Path]:
    whole = packed(folder / "whole.npz", {"text.npy": npy(np.random.default_rng(0).normal(size=500))})
    content = whole.read_bytes()
    central = content.index(b"PK\x01\x02")
    variants = {
        "cut short": content[: len(content) // 2],
        "packed content changed": content[:300] + b"\x55" * 40 + content[340:],
        "encrypted": content[: central + 8] + b"\x01\x00" + content[central + 10 :],
        "unknown method": content[: central + 10] + b"\x63\x00" + content[central + 12 :],
        "another checksum": content[: central + 16] + b"\x00" * 4 + content[central + 20 :],
        "no header within": None,
        "a header that is no dict": None,
        "a header of brackets": None,
        "twice the same": None,
        "not a zip": b"PK\x03\x04 and nothing else",
    }
    made = {}
    for name, raw in variants.items():
        made[name] = folder / f"{name}.npz"
        if raw is not None:
            made[name].write_bytes(raw)
    packed(made["no header within"], {"text.npy": b"\x93NUMPY"})
    packed(made["a header that is no dict"], {"text.npy": b"\x93NUMPY\x01\x00\x05\x00[1]  "})
    brackets = b"(" * 9000
    packed(made["a header of brackets"], {"text.npy": b"\x93NUMPY\x01\x00" + struct.pack("<H", len(brackets)) + brackets})
    with zipfile.ZipFile(made["twice the same"], "w") as archive:
        archive.writestr("text.npy", npy(np.ones(2)))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("text.npy", npy(np.zeros(2)))
    return made


def test_every_fault_is_one_sentence(tmp_path: Path) -> None:
    for name, path in broken_archives(tmp_path).items():
        with pytest.raises(DataError, match="cannot be read as an npz file") as caught:
            open_npz(path)
        assert "\n" not in str(caught.value), name


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", npy(np.array(2.0)), npy(shape=(1 << 40, 0)), npy(shape=(9, 9), content=b"1"), zlib.compress(b"x")],
)
def test_npy_files_that_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as an array of numbers"):
        load_npy(tmp_path / "a.npy")
    packed(tmp_path / "b.npy", {"text.npy": npy(np.ones(2))})
    with pytest.raises(DataError, match="archive of several arrays"):
        load_npy(tmp_path / "b.npy")


@pytest.mark.parametrize("order", "<>")
def test_characters_that_there_are_not(tmp_path: Path, order: str) -> None:
    """numpy makes strings of them, of which Python's own functions fail."""
    bad = np.array([0x41, 0x42, 0x110000, 0x43], dtype=f"{order}u4").view(f"{order}U2")
    good = np.array(["ab", "é😀"], dtype=f"{order}U2")
    assert open_npz(packed(tmp_path / "good.npz", {"split.npy": npy(good)}))["split"].tolist() == ["ab", "é😀"]
    with pytest.raises(DataError, match="an array of text has the character 1114112, which there is not"):
        open_npz(packed(tmp_path / "bad.npz", {"split.npy": npy(bad)}))
    np.save(tmp_path / "bad.npy", bad)
    with pytest.raises(DataError, match="which there is not"):
        load_npy(tmp_path / "bad.npy")
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"train": bad}))
    with pytest.raises(DataError, match="which there is not"):
        load(tmp_path / "bad.pkl")
