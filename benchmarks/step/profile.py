"""What a step's time is spent on: operations of torch's profiler, grouped into a few kinds."""

import ctypes
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile

from multigrain.layers.native.library import load_profiled

OPTIMIZER = "optimiser and clipping"
DISPATCH = "dispatch and Python"
OTHER = "custom functions, unknown"
COMPILED = "compiled layers"
# Of the compiled layers, in the order of kernel/profile.hpp.
COMPILED_KINDS = (
    "products",
    "weights' gradients",
    "attention forward",
    "attention backward",
    "between scales",
    "layer norms",
    "element-wise",
    "layout",
)

# Kind -> names without "aten::" and a trailing underscore. Composite operations (linear, matmul, einsum) take no time of their own
# but dispatch; `exp` and maxima come from softmaxes that are written out; bits and shifts from generators that are.
KINDS = {
    "matrix products": """
        mm addmm bmm baddbmm mv addmv dot _convolution convolution_backward mkldnn_convolution thnn_conv2d _slow_conv2d_forward
        _slow_conv2d_backward mkldnn_linear mkldnn_linear_backward""",
    "fused attention": """
        _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention_for_cpu_backward""",
    "softmax": """
        _softmax _softmax_backward_data _log_softmax _log_softmax_backward_data exp exp2 amax max logsumexp""",
    "random numbers": """
        bernoulli uniform normal random rand randn randint randperm native_dropout native_dropout_backward dropout bitwise_and
        bitwise_or bitwise_xor bitwise_not bitwise_left_shift bitwise_right_shift __and__ __or__ __xor__ __lshift__ __rshift__
        __ilshift__ __irshift__ __iand__ __ior__ __ixor__ remainder""",
    "layer norm": """
        native_layer_norm native_layer_norm_backward layer_norm""",
    "copies": """
        copy clone cat stack index index_put _index_put_impl index_select index_add gather scatter scatter_add fill zero repeat
        constant_pad_nd masked_select select_backward slice_backward repeat_interleave roll flip new_zeros zeros ones""",
    "element-wise": """
        add sub rsub mul div addcmul addcdiv relu clamp clamp_min clamp_max threshold_backward gelu sigmoid tanh masked_fill where
        neg sin cos abs sgn sign sqrt rsqrt reciprocal pow sum mean var var_mean cumsum eq ne lt le gt ge logical_and logical_or
        logical_not all any arange linspace maximum minimum square isfinite isnan l1_loss mse_loss nan_to_num floor round log log1p
        expm1 linalg_vector_norm norm lerp tril triu""",
    DISPATCH: """
        view _unsafe_view reshape _reshape_alias transpose t permute expand expand_as as_strided unsqueeze squeeze select slice
        narrow unbind split split_with_sizes chunk flatten unflatten movedim swapaxes detach alias linear matmul einsum
        scaled_dot_product_attention _fused_sdp_choice contiguous to _to_copy empty empty_like empty_strided new_empty
        new_empty_strided new_full full full_like zeros_like ones_like resize resize_as item _local_scalar_dense is_nonzero conv1d
        convolution softmax set_data lift_fresh numpy_T mT mH result_type can_cast is_same_size is_pinned type_as view_as
        broadcast_tensors real _has_compatible_shallow_copy_type unsafe_split unsafe_chunk pad resolve_conj resolve_neg""",
}
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names.split()}
ORDER = [COMPILED, *(kind for kind in KINDS if kind != DISPATCH), OPTIMIZER, OTHER, DISPATCH]


def kind_of(operation: str) -> str:
    """The kind of an operation of the profiler, such as "aten::bmm"."""
    if operation.startswith("Optimizer.") or "_adam" in operation or "_foreach" in operation:
        return OPTIMIZER
    if operation.startswith("_NativeLayer"):
        return COMPILED
    if operation.startswith("autograd::") or operation.startswith("torch::autograd") or operation.startswith("ProfilerStep"):
        return DISPATCH
    name = operation.partition("::")[2] or operation
    found = KIND_OF.get(name) or KIND_OF.get(name.removesuffix("_"))
    if found:
        return found
    # A node of torch's own backward pass, such as "MulBackward0", calls kernels that have entries of their own. A custom function's
    # own time is Python between its products, or a kernel of its own, which cannot be told apart here.
    return DISPATCH if re.search(r"Backward\d+$", operation) else OTHER


def spent_on(steps: list[Callable[[], Any]]) -> dict[str, Any]:
    """Profiles some steps.

    Returns:
        `seconds`: kind -> seconds a step; `wall_seconds` a step under the profiler; `largest`: the costliest operations with their
        kind and seconds a step, and `unknown`: those that no kind names; `compiled`: what the time within compiled layers is spent on, as
        shares of it, empty where there are none.
    """
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
        start = time.perf_counter()
        for step in steps:
            step()
        wall = time.perf_counter() - start
    compiled = _within_compiled(steps)
    own = {event.key: event.self_cpu_time_total / 1e6 / len(steps) for event in profiler.key_averages()}
    seconds: Counter[str] = Counter(dict.fromkeys(ORDER, 0.0))
    for name, taken in own.items():
        seconds[kind_of(name)] += taken
    wall /= len(steps)
    seconds[DISPATCH] += max(0.0, wall - sum(seconds.values()))  # between the operations: Python
    costliest = sorted(own.items(), key=lambda entry: -entry[1])
    return {
        "seconds": dict(seconds),
        "wall_seconds": wall,
        "largest": [[name, kind_of(name), taken] for name, taken in costliest[:12]],
        "compiled": compiled,
        "unknown": [[name, taken] for name, taken in costliest if kind_of(name) == OTHER][:8],
    }


def _within_compiled(steps: list[Callable[[], Any]]) -> dict[str, float]:
    """Runs the steps once more, on kernels that take their times."""
    kernels = load_profiled()
    if kernels is None:
        return {}
    seconds = (ctypes.c_double * (1 + len(COMPILED_KINDS)))()
    steps[0]()
    kernels.multigrain_profile(seconds)
    for step in steps:
        step()
    kernels.multigrain_profile(seconds)
    shares = {kind: taken / seconds[0] for kind, taken in zip(COMPILED_KINDS, seconds[1:], strict=True)} if seconds[0] else {}
    return shares | {"the rest": 1.0 - sum(shares.values())} if shares else {}
