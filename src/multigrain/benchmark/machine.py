"""What was measured where: processor, memory, versions, load."""

import os
import platform
import time
from pathlib import Path
from typing import Any

QUIET_LOAD = 0.5
"""Load of other work, when a measurement starts, above which its times are not worth quoting."""


def machine_facts() -> dict[str, Any]:
    """Date, processor, cores, memory in bytes, system, versions and the load of the last 1, 5 and 15 minutes, as plain JSON values."""
    import torch

    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": _total_memory(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_at_start": load(),
    }


def load() -> list[float]:
    """Processes that want a processor, averaged over 1, 5 and 15 minutes; empty where the system does not say."""
    return list(os.getloadavg()) if hasattr(os, "getloadavg") else []


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _total_memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
