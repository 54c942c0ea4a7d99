"""LSTMs under mixed precision on processors that have no such arithmetic."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def precision_of_recurrence(features: Tensor) -> Iterator[None]:
    """Within it an LSTM over `features` runs in float32 where the processor has no kernel for it in the precision of autocast.

    PyTorch raises "could not create a primitive descriptor for the LSTM" there, in place of falling back as it does elsewhere: bfloat16
    LSTMs on a CPU need AVX-512 or better. On such processors mixed precision is no faster anyway.
    """
    lacks_kernel = features.device.type == "cpu" and torch.is_autocast_enabled("cpu") and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if lacks_kernel:
        with torch.autocast("cpu", enabled=False):
            yield
    else:
        yield
