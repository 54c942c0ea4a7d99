"""What the compiled layer is handed: the struct `Layer` of kernel/layer.hpp, field by field in the same order."""

import ctypes

_POINTER = ctypes.c_void_p


class Norm(ctypes.Structure):
    """Scale, shift and epsilon of a layer norm."""

    _fields_ = (("scale", _POINTER), ("shift", _POINTER), ("epsilon", ctypes.c_float))


class Layer(ctypes.Structure):
    """Addresses of float32 tensors without gaps, sizes, and rates in units of 2^-32; see kernel/layer.hpp for the shapes."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("batch", "targets", "sources", "dim", "heads", "scales", "hidden", "threads")),
        *((name, ctypes.c_int32) for name in ("is_self", "adds_to_normalised", "aggregation", "is_normed_source", "is_sparse")),
        *((f"{name}_dropped", ctypes.c_uint32) for name in ("attention", "aggregation", "hidden", "residual")),
        ("seed", ctypes.c_uint64),
        ("target_number", ctypes.c_int32),
        *((name, _POINTER) for name in ("source_numbers", "target", "source_states", "allowed", "present", "kept", "asking")),
        *((name, Norm) for name in ("target_norm", "source_norm", "feed_forward_norm")),
        *((f"{name}_{part}", _POINTER) for name in ("query", "key_value", "output") for part in ("weight", "bias")),
        *((f"scale_{name}", _POINTER) for name in ("embedding", "in_weight", "in_bias", "out_weight", "out_bias")),
        *((name, _POINTER) for name in ("expand_weight", "expand_bias", "contract_weight", "contract_bias")),
        *((name, _POINTER) for name in ("result", "attended", "normalisers", "gradient")),
        *((name, _POINTER) for name in ("target_gradient", "source_gradients", "parameter_gradients")),
    )
