"""What the device can do at most, as measured, and what a step makes it do."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from card.precision import products_in, wait_for

_NOT_WRITTEN = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")


def product_peak(device: torch.device, precision: str, *, size: int, repeats: int = 9) -> float:
    """Operations a second of a large matrix product, the median."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(left)
    with products_in(precision):
        return 2 * size**3 / _median_seconds(lambda: torch.mm(left, right, out=out), device, repeats)


def bandwidth(device: torch.device, *, elements: int, repeats: int = 9) -> float:
    """Bytes a second that are read and written when a large tensor is copied, the median."""
    source = torch.randn(elements, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _median_seconds(lambda: target.copy_(source), device, repeats)


def _median_seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    for _ in range(3):
        work()
    wait_for(device)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        wait_for(device)
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


class _Traffic(TorchDispatchMode):
    """Adds up what every operation reads and writes; views cost nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        if not getattr(operation, "is_view", False) and operation.overloadpacket.__name__ not in _NOT_WRITTEN:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors if not _is_repeated(tensor))
        return result


def _is_repeated(tensor: torch.Tensor) -> bool:
    """Whether one element stands for all, as in an expanded scalar."""
    return tensor.numel() > 1 and not any(tensor.stride())


def bytes_moved(work: Callable[[], object]) -> int:
    """What all operations of `work` read and write: each tensor once for each operation that it goes into or comes out of."""
    with _Traffic() as traffic:
        work()
    return traffic.bytes
