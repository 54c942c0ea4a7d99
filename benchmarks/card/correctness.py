"""Whether the device computes what a CPU does, and a replayed step what a launched one does."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from card.cells import drawn, launched_step
from card.fixed_steps import FixedSteps, length_shapes
from card.precision import products_in, wait_for
from multigrain.benchmark.lengths import BatchSteps, steps_of
from multigrain.benchmark.models import TrainingStep, published_config
from multigrain.layers.native.library import without_native_kernels
from multigrain.schema import Batch

TOLERANCE = 1e-4
"""Of the largest magnitude in the tensor; float32 sums in another order differ by some 1e-6 of it."""

GRADIENT_TOLERANCE, WHOLE_GRADIENT_TOLERANCE = 1e-2, 1e-3
"""Of a parameter's gradient and of all together. Of MCMuT's millions of hidden values some lie so near 0 that rounding decides whether their
ReLU is open, which changes a parameter's gradient by some 1e-3; a mistake changes it by far more."""

STEPS_TOLERANCE = 1e-3
"""Of a loss after some steps: Adam's first steps have a fixed size, so that rounding decides the sign of those whose gradient is nearly 0."""

WORDS = (11, 3, 8, 1, 14, 6)
_STEPS_COMPARED = 6


@dataclass(frozen=True)
class Check:
    """One comparison: the largest difference, relative to the largest magnitude, and what is allowed."""

    name: str
    difference: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether it is small enough."""
        return self.difference <= self.allowed

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"name": self.name, "difference": self.difference, "allowed": self.allowed, "holds": self.holds}


def checks(device: torch.device) -> Iterator[Check]:
    """All comparisons, in float32 and, but for the last, without dropout."""
    for model in ("mult", "mcmut"):
        yield from _outputs_and_gradients(model, device)
        yield _steps(model, device)
        yield _masks_differ(model, device)


def _quiet(model: str) -> dict[str, Any]:
    """The published sizes without any dropout."""
    names = {"mult": ("attention_dropout_text", "attention_dropout_audio", "attention_dropout_vision"), "mcmut": ("attention_dropout",)}[model]
    rates = ("text_dropout", "hidden_dropout", "residual_dropout", "embedding_dropout", "output_dropout")
    return {**published_config(model), **dict.fromkeys((*names, *rates), 0.0)}


def _batch(*, is_partly_absent: bool) -> Batch:
    steps: BatchSteps = steps_of(WORDS).tolist()
    if is_partly_absent:
        steps[1][1] = 0  # no audio
        steps[3][2] = 0  # no face
    return drawn(steps, 0)


def _outputs_and_gradients(model: str, device: torch.device) -> Iterator[Check]:
    for is_partly_absent in (False, True):
        batch = _batch(is_partly_absent=is_partly_absent)
        with without_native_kernels():
            expected = _one_pass(model, batch, torch.device("cpu"), with_attention=True)
        for with_attention, way in ((False, "as it is trained"), (True, "with its attention weights")):
            found = _one_pass(model, batch, device, with_attention=with_attention)
            kind = "some modalities absent" if is_partly_absent else "all there"
            for name, allowed in (("outputs", TOLERANCE), ("gradients", GRADIENT_TOLERANCE)):
                least = 1e-3 * max(float(part.abs().max()) for part in expected[name])  # a gradient that should be 0 is rounding alone
                worst = max(relative_difference(ours, theirs, least) for ours, theirs in zip(found[name], expected[name], strict=True))
                yield Check(f"{model}, {kind}, {way}: {name}", worst, allowed)
            flat = [torch.cat([part.flatten() for part in parts["gradients"]]) for parts in (found, expected)]
            yield Check(f"{model}, {kind}, {way}: all gradients, root mean square", rms_difference(*flat), WHOLE_GRADIENT_TOLERANCE)


def _one_pass(model: str, batch: Batch, device: torch.device, *, with_attention: bool) -> dict[str, list[torch.Tensor]]:
    torch.manual_seed(0)
    step = TrainingStep(model, _quiet(model), device=device)
    with products_in("float32"):
        output = step.model(batch.to(device), with_attention=with_attention)
        assert batch.label is not None
        (output.prediction - batch.label.to(device)).square().mean().backward()
    gradients = [parameter.grad.cpu() for parameter in step.model.parameters() if parameter.grad is not None]
    return {"outputs": [output.prediction.detach().cpu(), output.representations["fused"].detach().cpu()], "gradients": gradients}


def _steps(model: str, device: torch.device) -> Check:
    """Losses of some steps, launched one by one on trimmed batches, and in buckets (as graphs, on a GPU) from the same parameters."""
    batches = [drawn(steps_of(WORDS[: 6 - number % 2]).tolist(), number).to(device) for number in range(_STEPS_COMPARED)]
    losses = []
    for is_fixed in (False, True):
        torch.manual_seed(0)
        step = TrainingStep(model, _quiet(model), device=device, is_capturable=device.type == "cuda")
        fixed = FixedSteps(step, len(WORDS), length_shapes((10, 17, 23)), "float32") if is_fixed else None
        taken = [(fixed.take(batch) if fixed else launched_step(step, batch, precision="float32")).clone() for batch in batches]
        wait_for(device)
        losses.append(torch.stack(taken).cpu())
    return Check(f"{model}: losses of {_STEPS_COMPARED} steps in buckets and trimmed", relative_difference(losses[1], losses[0]), STEPS_TOLERANCE)


def _masks_differ(model: str, device: torch.device) -> Check:
    """Dropout draws anew at each replay: two steps at learning rate 0 on one batch have different losses."""
    torch.manual_seed(0)
    step = TrainingStep(model, published_config(model), device=device, is_capturable=device.type == "cuda")
    for group in step.optimizer.param_groups:
        group["lr"] = 0.0
    fixed, batch = FixedSteps(step, len(WORDS), length_shapes((17,)), "float32"), _batch(is_partly_absent=False).to(device)
    first, second = (float(fixed.take(batch)) for _ in range(2))
    return Check(f"{model}: dropout draws anew in each step (0 where it does)", float(first == second), 0.0)


def rms_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The length of the difference over the length of what is expected; infinite where either is not finite."""
    difference = float((found - expected).norm())
    return difference / float(expected.norm()) if math.isfinite(difference) else math.inf


def relative_difference(found: torch.Tensor, expected: torch.Tensor, least: float = 1e-6) -> float:
    """The largest difference over the largest magnitude of what is expected, `least` at least; infinite where either is not finite."""
    difference = float((found - expected).abs().max())
    return difference / max(float(expected.abs().max()), least) if math.isfinite(difference) else math.inf
