"""Reading one step of a self-attention stack is computing all of it and reading that step."""

import pytest
import torch
from torch import Tensor

from multigrain.layers.attention import AttentionBias
from multigrain.layers.masking import future_mask, read_step
from multigrain.layers.native.library import without_native_kernels
from multigrain.layers.transformer import TransformerSettings, TransformerStack

LENGTHS = [12, 0, 5, 1]
MASK = torch.arange(12) < torch.tensor(LENGTHS)[:, None]
READOUT = torch.tensor(LENGTHS).sub(1).clamp(min=0)


def biases() -> dict[str, AttentionBias]:
    lengths = torch.tensor(LENGTHS)
    return {
        "padding": AttentionBias.from_mask(MASK).of_target(MASK),
        "future": AttentionBias.from_mask(MASK, future_mask(lengths, lengths, 12, 12)),
    }


def gradients(stack: TransformerStack, states: Tensor, bias: AttentionBias, *, reads: bool) -> list[Tensor]:
    states = states.clone().requires_grad_()
    stack.zero_grad()
    read = stack.read(states, bias, READOUT, MASK) if reads else read_step(stack(states, None, bias)[0], READOUT, MASK)
    (read * torch.linspace(-1, 1, read.numel(), dtype=read.dtype).view_as(read)).sum().backward()
    assert states.grad is not None
    return [read.detach(), states.grad, *(parameter.grad.clone() for parameter in stack.parameters() if parameter.grad is not None)]


@pytest.mark.parametrize("kind", ["padding", "future"])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("settings", [TransformerSettings(), TransformerSettings(residual="normalised"), TransformerSettings(is_sparse=True)])
def test_the_step_that_is_read(settings: TransformerSettings, num_layers: int, kind: str) -> None:
    torch.manual_seed(0)
    stack = TransformerStack(20, 4, num_layers, settings, is_crossmodal=False).double()
    states, bias = torch.randn(4, 12, 20, dtype=torch.float64), biases()[kind]
    expected = gradients(stack, states, bias, reads=False)
    for ours, theirs in zip(gradients(stack, states, bias, reads=True), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert (expected[0][1] == 0).all(), "nothing is there to read"
    stack.float()
    for ours, theirs in zip(gradients(stack, states.float(), bias, reads=True), expected, strict=True):  # compiled where it can be
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)


def test_both_ways_drop_as_much() -> None:
    """In training, the mean over many draws is what no dropout gives, where the output is linear in the mask."""
    torch.manual_seed(0)
    stack = TransformerStack(20, 4, 1, TransformerSettings(attention_dropout=0.4), is_crossmodal=False)
    with torch.no_grad():
        layer = next(iter(stack))
        layer.feed_forward.contract.weight.zero_()
        stack.final_norm = torch.nn.Identity()  # type: ignore[assignment]
        states = torch.randn(4, 12, 20).repeat(300, 1, 1)
        mask, readout = MASK.repeat(300, 1), READOUT.repeat(300)
        bias = AttentionBias.from_mask(mask)
        drawn = stack.read(states, bias, readout, mask).view(300, 4, 20)
        stack.eval()
        exact = stack.read(states, bias, readout, mask).view(300, 4, 20)[0]
        stack.train()
        error = drawn.std(dim=0) / 300**0.5 + 1e-5
        assert ((drawn.mean(dim=0) - exact).abs() / error).max() < 6
        with without_native_kernels():
            drawn = stack.read(states, bias, readout, mask).view(300, 4, 20)
        assert ((drawn.mean(dim=0) - exact).abs() / error).max() < 6
