"""float32, TF32 and bfloat16, and waiting for a device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = ("float32", "tf32", "bf16")


@contextmanager
def computing_in(precision: str, device: torch.device) -> Iterator[None]:
    """Everything inside is computed in a precision.

    With bf16, autocast keeps no cast weights: a CUDA graph would go on reading those of the step that it was captured in.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    try:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def wait_for(device: torch.device) -> None:
    """Returns when the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak(device: torch.device) -> None:
    """Forgets the most memory so far."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int | None:
    """The most memory of the GPU that tensors took since `reset_peak`; None on a CPU, where it is not measured here."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
