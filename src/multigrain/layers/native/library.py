"""Compiles the kernels with the machine's C++ compiler when they are first needed, keeps the result in the user's cache, and loads it.

Where there is no compiler, or `MULTIGRAIN_NATIVE=0` is set, everything runs on PyTorch's own kernels; `unavailable` says why.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from filelock import FileLock

from multigrain.layers.native.arguments import Layer

SWITCH = "MULTIGRAIN_NATIVE"
"""Environment variable: 0 leaves the compiled kernels out."""

_SOURCES = Path(__file__).parent / "kernel"
_COMPILERS = ("c++", "g++", "clang++")
_FLAGS: tuple[str, ...] = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fPIC", "-shared", "-pthread", "-w")
PROFILED = "-DMULTIGRAIN_PROFILE"
"""Added to the flags, gives a library that tells where its time goes; see kernel/profile.hpp."""
_SECONDS = 300

_log = logging.getLogger(__name__)
_is_left_out = False


def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be had or are switched off; the first call may compile for some ten seconds."""
    return None if _is_left_out or os.environ.get(SWITCH) == "0" else _load()[0]


def unavailable() -> str | None:
    """Why there are no compiled kernels on this machine, in a sentence; None where there are."""
    if os.environ.get(SWITCH) == "0":
        return f"{SWITCH}=0 leaves them out."
    return _load()[1]


@contextmanager
def without_native_kernels() -> Iterator[None]:
    """Everything inside runs on PyTorch's kernels: for comparisons."""
    global _is_left_out
    before, _is_left_out = _is_left_out, True
    try:
        yield
    finally:
        _is_left_out = before


def load_profiled() -> ctypes.CDLL | None:
    """Replaces the kernels of this process with slower ones that take their times; see `multigrain_profile` in kernel/profile.hpp."""
    global _FLAGS
    if PROFILED not in _FLAGS:
        _FLAGS = (*_FLAGS, PROFILED)
        _load.cache_clear()
    return library()


@cache
def _load() -> tuple[ctypes.CDLL | None, str | None]:
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        return None, f"No C++ compiler was found ({', '.join(_COMPILERS)})."
    try:
        kernels = ctypes.CDLL(str(_compiled(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()
        _log.warning("The fast kernels could not be compiled, so that PyTorch's are used: %s", reason[-500:])
        return None, f"{compiler} could not compile them: {reason[-500:]}"
    if kernels.multigrain_layer_size() != ctypes.sizeof(Layer):
        raise AssertionError("kernel/layer.hpp and arguments.py differ")
    for function in (kernels.multigrain_layers_forward, kernels.multigrain_layers_backward):
        function.argtypes, function.restype = [ctypes.POINTER(Layer), ctypes.c_int32, ctypes.c_int32], None
    kernels.multigrain_mask.argtypes = [ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint32, *[ctypes.c_int32] * 3, ctypes.c_void_p]
    kernels.multigrain_mask.restype = None
    return kernels, None


def _compiled(compiler: str) -> Path:
    """The library's file, compiled by whichever process comes first."""
    folder = _folder()
    target = folder / f"layer-{_key(compiler)}.so"
    with FileLock(folder / "compile.lock"):
        if not target.is_file():
            _log.warning("Compiling the fast kernels for this processor (once; about ten seconds) ...")
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                made = Path(scratch) / target.name
                command = [compiler, *_FLAGS, "-o", str(made), str(_SOURCES / "layer.cpp")]
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)
                made.replace(target)
    return target


def _folder() -> Path:
    """Where libraries are kept: the user's cache, or a folder that lives as long as this process where that cannot be written to."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "multigrain" / "native"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(_own_folder().name)


@cache
def _own_folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="multigrain-native-")


def _key(compiler: str) -> str:
    """Names what the library depends on: sources, compiler, flags and processor."""
    digest = hashlib.sha256()
    for source in sorted(_SOURCES.iterdir()):
        digest.update(source.name.encode() + source.read_bytes())
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True, timeout=_SECONDS).stdout
    digest.update(version + " ".join(_FLAGS).encode() + _processor().encode())
    return digest.hexdigest()[:16]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    kinds = ("model name", "flags", "Features", "CPU part")
    return platform.machine() + platform.processor() + "".join(sorted({line for line in lines if line.startswith(kinds)}))
