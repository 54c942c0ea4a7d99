"""A process's memory, as the kernel counts it."""

import contextlib
import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
HOW = (
    "peak memory: the most that was resident during a step (VmHWM, reset before it; ru_maxrss of the whole process where there is no /proc), minus "
    "what was resident when all imports were done, torch's own late ones included; so it holds parameters, gradients, Adam's moments, one batch "
    "and the step's tensors. `typical` is the median over the timed steps, `costliest` the most of any, with the epoch's costliest batch at the end"
)


def resident() -> int:
    """Bytes that are resident now (elsewhere than on Linux: the most so far)."""
    return _status("VmRSS")


def peak() -> int:
    """The most bytes that were resident since `reset_peak`."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Forgets the peak of the imports, where the system allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def available() -> int | None:
    """Bytes that the machine can still give, or None where it does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return None


def keep_within_free_memory(share: float = 0.9) -> None:
    """Makes an allocation beyond `share` of the free memory fail in this process, instead of the system killing some process."""
    free = available()
    if free is not None and sys.platform == "linux":
        limit = resident() + int(share * free)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _status(name: str) -> int:
    try:
        for line in STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
