"""Checkpoints of the MulT authors' code, read into our `MulT`.

Their names: `proj_l` (text), `proj_a`, `proj_v`; `trans_l_with_a` is the stack in which text asks and audio answers;
`trans_l_mem` is the self-attention stack of target text (made, but unused, also where text is no target); `proj1`,
`proj2`, `out_layer` are the head. Widths, numbers of
layers and which targets exist are read off the weights. Where an input already has the common width their forward pass
skips the convolution (its weight is there, unused): the input is then taken as it is.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from multigrain.errors import CheckpointError
from multigrain.models.mult import MulT, MulTConfig
from multigrain.schema import FeatureSpec, Task

LETTERS = {"text": "l", "audio": "a", "vision": "v"}


def model_from_official(state_dict: Mapping[str, Any], *, num_heads: int, future_mask: bool) -> MulT:
    """Builds our model and copies every weight; in evaluation mode.

    Args:
        state_dict: the authors' names (without a `weight/` prefix) -> numpy arrays or tensors.
        num_heads: attention heads, which weights do not tell.
        future_mask: as the checkpoint was trained; on by default in the authors' command line.

    Raises:
        CheckpointError: a weight is missing, left over, or of another shape than the rest implies.
    """
    weights = {name.removeprefix("module."): _tensor(value) for name, value in state_dict.items()}
    targets = tuple(name for name, letter in LETTERS.items() if f"trans_{letter}_with_{_other(name)}.layer_norm.weight" in weights)
    if not targets:
        raise CheckpointError(
            "This state dict has no trans_l_with_a, trans_a_with_l or trans_v_with_l weights, so it is no checkpoint of the MulT authors' code. "
            f"Found names such as {sorted(weights)[:3]}. Pass the state dict itself, with the authors' parameter names."
        )
    width = _shape(weights, f"trans_{LETTERS[targets[0]]}_with_{_other(targets[0])}.layer_norm.weight")[0]
    features = {name: FeatureSpec(dim=_input_dim(weights, letter, width), extractor="official") for name, letter in LETTERS.items()}
    config = MulTConfig(
        width=width,
        num_heads=num_heads,
        num_layers=_num_layers(weights, f"trans_{LETTERS[targets[0]]}_with_{_other(targets[0])}"),
        num_summary_layers=_num_layers(weights, f"trans_{LETTERS[targets[0]]}_mem"),
        targets=targets,
        tied_norms=True,
        future_mask=future_mask,
        text_dropout=0.0,
    )
    head_dim = _shape(weights, "out_layer.weight")[0]
    model = MulT(config, _task(head_dim), features)
    ours = _renamed(weights, targets)
    for name, spec in features.items():
        if spec.dim == width:  # their forward pass skips the convolution
            ours[f"projections.{name}.convolution.weight"] = torch.eye(width).unsqueeze(-1)
    _copy(model, ours)
    return model.eval()


def _tensor(value: Any) -> Tensor:
    return value.detach().float().cpu() if isinstance(value, Tensor) else torch.from_numpy(np.asarray(value, dtype=np.float32))


def _other(target: str) -> str:
    return next(letter for name, letter in LETTERS.items() if name != target)


def _shape(weights: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    if name not in weights:
        raise CheckpointError(f"The official MulT state dict lacks {name}. The checkpoint is incomplete; check how it was saved.")
    return tuple(weights[name].shape)


def _input_dim(weights: Mapping[str, Tensor], letter: str, width: int) -> int:
    name = f"proj_{letter}.weight"
    return weights[name].shape[1] if name in weights else width


def _num_layers(weights: Mapping[str, Tensor], stack: str) -> int:
    found = {int(match.group(1)) for name in weights if (match := re.match(rf"{stack}\.layers\.(\d+)\.", name))}
    if not found:
        raise CheckpointError(f"The official MulT state dict has no layers under {stack}. The checkpoint is incomplete.")
    return max(found) + 1


def _task(head_dim: int) -> Task:
    if head_dim == 1:
        return Task()
    return Task(kind="emotions") if head_dim == 8 else Task(kind="classification", class_values=tuple(float(index) for index in range(head_dim)))


_LAYER = {
    "self_attn.in_proj_weight": "attention.in_projection.weight",
    "self_attn.in_proj_bias": "attention.in_projection.bias",
    "self_attn.out_proj.weight": "attention.out_projection.weight",
    "self_attn.out_proj.bias": "attention.out_projection.bias",
    "fc1.weight": "feed_forward.expand.weight",
    "fc1.bias": "feed_forward.expand.bias",
    "fc2.weight": "feed_forward.contract.weight",
    "fc2.bias": "feed_forward.contract.bias",
    "layer_norms.0.weight": "target_norm.weight",
    "layer_norms.0.bias": "target_norm.bias",
    "layer_norms.1.weight": "feed_forward_norm.weight",
    "layer_norms.1.bias": "feed_forward_norm.bias",
}
_HEAD = {"proj1": "head.first", "proj2": "head.second", "out_layer": "head.output"}


def _renamed(weights: Mapping[str, Tensor], targets: tuple[str, ...]) -> dict[str, Tensor]:
    stacks = {f"trans_{LETTERS[target]}_mem": f"summary.{target}" for target in targets}
    for target in targets:
        for source, letter in LETTERS.items():
            if source != target:
                stacks[f"trans_{LETTERS[target]}_with_{letter}"] = f"crossmodal.{source}_to_{target}"
    unused = {f"trans_{letter}_mem" for name, letter in LETTERS.items() if name not in targets}
    ours: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        part, _, rest = name.partition(".")
        if part in _HEAD:
            ours[f"{_HEAD[part]}.{rest}"] = tensor
        elif part.startswith("proj_"):
            modality = next(key for key, letter in LETTERS.items() if part == f"proj_{letter}")
            ours[f"projections.{modality}.convolution.{rest}"] = tensor
        elif part in stacks and rest.startswith("layer_norm."):
            ours[f"{stacks[part]}.final_norm.{rest.removeprefix('layer_norm.')}"] = tensor
        elif part in stacks and (match := re.match(r"layers\.(\d+)\.(.+)", rest)) and match.group(2) in _LAYER:
            ours[f"{stacks[part]}.layers.{match.group(1)}.{_LAYER[match.group(2)]}"] = tensor
        elif part not in unused and not rest.endswith(("version", "_float_tensor")):  # buffers that hold no weight
            raise CheckpointError(f"The official MulT state dict has {name}, which MulT does not. Check that the checkpoint is MulT's.")
    return ours


def _copy(model: MulT, ours: Mapping[str, Tensor]) -> None:
    expected = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("normalisers.")}
    missing, extra = sorted(set(expected) - set(ours)), sorted(set(ours) - set(expected))
    if missing or extra:
        raise CheckpointError(f"The official MulT state dict does not fit: missing {missing[:5]}, left over {extra[:5]} (our names).")
    wrong = [name for name in expected if expected[name].shape != ours[name].shape]
    if wrong:
        raise CheckpointError(
            f"The official MulT state dict has {wrong[0]} (our name) of shape {tuple(ours[wrong[0]].shape)}; the rest of the weights "
            f"implies {tuple(expected[wrong[0]].shape)}. The checkpoint is inconsistent."
        )
    model.load_state_dict(dict(ours), strict=False)
