"""Attention in tiles against PyTorch's own, and its dropout against the definition."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from multigrain.layers import tiled_attention as module
from multigrain.layers.tiled_attention import Tiles


class _Attention(torch.autograd.Function):
    """Tiles as a function of (batch, head, time, width)."""

    @staticmethod
    def forward(ctx, query, key, value, allowed, dropout):
        ctx.scale, ctx.lead = query.shape[-1] ** -0.5, query.shape[:2]
        ctx.tiles = Tiles(_time_last(query * ctx.scale), _time_last(key), _time_last(value), allowed, dropout)
        ctx.output, ctx.row_sums = ctx.tiles.attend()
        return _time_third(ctx.output, ctx.lead)

    @staticmethod
    def backward(ctx, gradient):
        query, key, value = ctx.tiles.gradients(ctx.output, ctx.row_sums, _time_last(gradient))
        return *(_time_third(part, ctx.lead) for part in (query * ctx.scale, key, value)), None, None


def _time_last(states):
    return states.transpose(-1, -2).flatten(0, 1).contiguous()


def _time_third(states, lead):
    return states.unflatten(0, lead).transpose(-1, -2)


tiled_attention = _Attention.apply

BATCH, HEADS, TARGET, SOURCE, WIDTH = 2, 2, 4, 5, 3


def _inputs(scale=1.0, dtype=torch.float64):
    torch.manual_seed(0)
    shapes = ((TARGET, scale), (SOURCE, scale), (SOURCE, 1.0))
    return [(torch.randn(BATCH, time, HEADS, WIDTH, dtype=dtype) * size).transpose(1, 2).requires_grad_() for time, size in shapes]


def _masks():
    padding = torch.ones(BATCH, 1, 1, SOURCE, dtype=torch.bool)
    padding[1, ..., 3:] = False
    future = torch.ones(BATCH, 1, TARGET, SOURCE, dtype=torch.bool).tril(2)
    return {"none": None, "padding": padding, "future": future, "both": padding & future}


@pytest.fixture(params=[1 << 17, 40, 10], ids=["one tile", "tiles of pairs", "tiles of steps"])
def tile_elements(request, monkeypatch):
    monkeypatch.setattr(module, "TILE_ELEMENTS", request.param)


@pytest.mark.usefixtures("tile_elements")
@pytest.mark.parametrize("mask", ["none", "padding", "future", "both"])
@pytest.mark.parametrize("scale", [1.0, 30.0], ids=["small scores", "scores beyond exp's range"])
def test_agrees_with_the_fused_kernel(mask, scale):
    inputs, allowed = _inputs(scale), _masks()[mask]
    gradient = torch.randn(BATCH, HEADS, TARGET, WIDTH, dtype=torch.float64)
    ours, theirs = tiled_attention(*inputs, allowed, 0.0), scaled_dot_product_attention(*inputs, attn_mask=allowed)
    assert torch.allclose(ours, theirs, atol=1e-12)
    for own, other in zip(torch.autograd.grad(ours, inputs, gradient), torch.autograd.grad(theirs, inputs, gradient), strict=True):
        assert torch.allclose(own, other, atol=1e-11)


@pytest.mark.usefixtures("tile_elements")
@pytest.mark.parametrize("mask", ["none", "padding", "future"])
def test_gradient_with_dropout_is_the_derivative(mask):
    allowed = _masks()[mask]

    def seeded(*inputs):
        torch.manual_seed(1)
        return tiled_attention(*inputs, allowed, 0.3)

    assert torch.autograd.gradcheck(seeded, _inputs(), fast_mode=True)


@pytest.mark.usefixtures("tile_elements")
def test_dropout_follows_the_definition():
    """With one-hot values the output is the dropped weights themselves: each is 0 at the rate, and P / (1 - rate) else."""
    query, key, _ = _inputs(dtype=torch.float32)
    value = torch.eye(SOURCE).expand(BATCH, HEADS, SOURCE, SOURCE).contiguous().requires_grad_()
    weights = tiled_attention(query, key, value, None, 0.0).detach()
    rate, draws = 0.2, 800
    torch.manual_seed(2)
    kept = torch.zeros_like(weights)
    for _ in range(draws):
        dropped = tiled_attention(query, key, value, None, rate).detach()
        is_kept = dropped != 0
        assert torch.allclose(dropped[is_kept], (weights / (1 - rate))[is_kept], rtol=1e-4)
        kept += is_kept
    standard_error = (rate * (1 - rate) / draws) ** 0.5
    assert abs(float(kept.mean()) / draws - (1 - rate)) < 5 * (rate * (1 - rate) / draws / kept.numel()) ** 0.5
    assert float((kept / draws - (1 - rate)).abs().max()) < 5 * standard_error


def test_gradients_average_to_those_without_dropout():
    """The output is linear in the mask, so that the value's gradient must average to that of plain attention."""
    inputs = _inputs()
    gradient = torch.randn(BATCH, HEADS, TARGET, WIDTH, dtype=torch.float64)
    (expected,) = torch.autograd.grad(tiled_attention(*inputs, None, 0.0), inputs[2], gradient)
    draws = torch.stack([torch.autograd.grad(tiled_attention(*inputs, None, 0.5), inputs[2], gradient)[0] for _ in range(1000)])
    error = (draws.mean(dim=0) - expected).abs() / (draws.std(dim=0) / 1000**0.5)
    assert float(error.max()) < 5


def test_memory_does_not_grow_with_the_square(monkeypatch):
    """No tensor that is kept, or made on the way, is larger than a tile or than the inputs."""
    target, source = 700, 900
    inputs = [torch.randn(1, 2, time, 8, requires_grad=True) for time in (target, source, source)]
    largest = []
    original = torch.bmm

    def watched(*arguments, **named):
        result = original(*arguments, **named)
        largest.append(result.numel())
        return result

    monkeypatch.setattr(torch, "bmm", watched)
    tiled_attention(*inputs, None, 0.1).sum().backward()
    assert len(largest) > 10
    assert max(largest) <= module.TILE_ELEMENTS < target * source
