"""float32, TF32 and bfloat16, and waiting for a device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = ("float32", "tf32", "bf16")


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Matrix products of float32 inside are exact to float32, or may use TF32 (with `tf32`, and for what `bf16` leaves in float32)."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def autocast_in(precision: str, device: torch.device) -> torch.autocast:
    """What a forward pass is computed in; with bf16, cast weights are not kept: a CUDA graph would go on reading those of its capture."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


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
