"""What masks mean in computations: which steps may be attended, and what an absent modality contributes."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def read_step(
    states: Float[Tensor, "sequence time dim"],
    readout: Int[Tensor, " batch"],
    mask: Bool[Tensor, "sequence time"],
    rows: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, "batch dim"]:
    """Each utterance's state at its readout step; zeros where the modality is absent.

    `rows` says in which sequence each utterance is, where several share one; None: each has its own.
    """
    present = mask.any(dim=1, keepdim=True).to(states.dtype)
    if rows is None:
        return states[torch.arange(states.shape[0], device=states.device), readout] * present
    return states[rows, readout] * present[rows]


def first_step(states: Float[Tensor, "batch time dim"], mask: Bool[Tensor, "batch time"]) -> Float[Tensor, "batch dim"]:
    """Each row's first state, which of a language model is that of [CLS]; zeros where the modality is absent."""
    return states[:, 0] * mask.any(dim=1, keepdim=True).to(states.dtype)


def mean_of_steps(states: Float[Tensor, "batch time dim"], mask: Bool[Tensor, "batch time"]) -> Float[Tensor, "batch dim"]:
    """Each row's mean over its real steps; zeros where the modality is absent."""
    total = states.masked_fill(~mask.unsqueeze(-1), 0.0).sum(dim=1)
    return total / mask.sum(dim=1, keepdim=True).clamp(min=1).to(states.dtype)


def attention_mask(source_mask: Bool[Tensor, "batch source"]) -> tuple[Bool[Tensor, "batch 1 1 source"] | None, Bool[Tensor, " batch"] | None]:
    """The mask to hand to an attention kernel, and which rows have a source at all.

    A row whose source is absent would leave softmax with nothing to sum over. Such a row is let attend its padded
    steps (so that no kernel divides by zero) and its result must be multiplied with the second value. On a CPU either
    value is None where it would change nothing, which keeps full batches on the fastest kernel; a GPU would have to be waited for
    to know that, which a CUDA graph forbids.
    """
    if source_mask.device.type != "cpu":
        present = source_mask.any(dim=1)
        return (source_mask | ~present[:, None])[:, None, None, :], present
    if bool(source_mask.all()):
        return None, None
    present = source_mask.any(dim=1)
    if bool(present.all()):
        return source_mask[:, None, None, :], None
    return (source_mask | ~present[:, None])[:, None, None, :], present


def real_lengths(mask: Bool[Tensor, "batch time"]) -> Int[Tensor, " batch"]:
    """Steps up to the last real one, int32."""
    steps = torch.arange(1, mask.shape[1] + 1, dtype=torch.int32, device=mask.device)
    return (steps * mask).amax(dim=1)


def future_mask(
    target_lengths: Int[Tensor, " batch"], source_lengths: Int[Tensor, " batch"], target: int, source: int
) -> Bool[Tensor, "batch 1 target source"]:
    """True where target step t may attend source step u: `u <= t + |U - T|`, with each row's own real lengths U and T.

    Source: the authors' code of MulT (which uses the padded lengths, so that padding changes its numbers).
    """
    device = target_lengths.device
    shift = (source_lengths - target_lengths).abs()
    last_allowed = torch.arange(target, device=device)[None, :] + shift[:, None]
    return (torch.arange(source, device=device)[None, None, :] <= last_allowed[:, :, None])[:, None]
