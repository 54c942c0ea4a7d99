"""The fused attention sublayer against the same layers through plain autograd."""

import pytest
import torch
from torch import nn

from multigrain.layers import attention, multi_scale, projected_attention
from multigrain.layers import tiled_attention as tiles
from multigrain.layers.attention import AttentionBias, MultiHeadAttention
from multigrain.layers.multi_scale import MultiScaleAttention

BATCH, TARGET, SOURCE, DIM, HEADS = 3, 4, 5, 6, 2


class _OneScale(nn.Module):
    """MultiHeadAttention in the form of MultiScaleAttention."""

    def __init__(self, dropout):
        super().__init__()
        self.attention = MultiHeadAttention(DIM, HEADS, dropout=dropout)

    def forward(self, target, sources, bias, **options):
        return self.attention(target, sources[0], bias, **options)


def _layer(kind, dropout=0.0):
    torch.manual_seed(0)
    layer = _OneScale(dropout) if kind == "one" else MultiScaleAttention(DIM, HEADS, 3, dropout=dropout)
    norm = nn.LayerNorm(DIM)
    for parameter in [*layer.parameters(), *norm.parameters()]:
        nn.init.normal_(parameter, std=0.7)
    count = 1 if kind == "one" else 3
    inputs = [torch.randn(BATCH, time, DIM, dtype=torch.float64, requires_grad=True) for time in (TARGET, *[SOURCE] * count)]
    return layer.double(), norm.double(), inputs


def _biases():
    padded = torch.ones(BATCH, SOURCE, dtype=torch.bool)
    padded[0, 3:] = False
    absent = padded.clone()
    absent[1] = False
    future = torch.ones(BATCH, 1, TARGET, SOURCE, dtype=torch.bool).tril(1)
    whole = torch.ones(BATCH, SOURCE, dtype=torch.bool)
    return {
        "all": AttentionBias.from_mask(whole),
        "padded": AttentionBias.from_mask(padded),
        "absent": AttentionBias.from_mask(absent),
        "future": AttentionBias.from_mask(padded, future),
    }


@pytest.fixture(autouse=True)
def always_fused(monkeypatch):
    monkeypatch.setattr(projected_attention, "FUSED_WEIGHTS", 0)


@pytest.fixture(params=[1 << 17, 50, 10], ids=["one tile", "tiles of pairs", "tiles of steps"])
def tile_elements(request, monkeypatch):
    monkeypatch.setattr(tiles, "TILE_ELEMENTS", request.param)


@pytest.mark.usefixtures("tile_elements")
@pytest.mark.parametrize("kind", ["one", "three"])
@pytest.mark.parametrize("bias", ["all", "padded", "absent", "future"])
@pytest.mark.parametrize("has_norm", [True, False])
def test_agrees_with_plain_autograd(kind, bias, has_norm, monkeypatch):
    layer, norm, inputs = _layer(kind)
    norm = norm if has_norm else None
    wanted = [*inputs, *layer.parameters(), *(norm.parameters() if norm else [])]
    fused, none = layer(inputs[0], inputs[1:], _biases()[bias], source_norm=norm)
    assert none is None
    gradient = torch.randn_like(fused)
    gradients = torch.autograd.grad(fused, wanted, gradient)
    for module in (attention, multi_scale):
        monkeypatch.setattr(module, "is_fused", lambda *_: False)
    plain, _ = layer(inputs[0], inputs[1:], _biases()[bias], source_norm=norm)
    assert torch.allclose(fused, plain, atol=1e-11)
    for own, other in zip(gradients, torch.autograd.grad(plain, wanted, gradient), strict=True):
        assert torch.allclose(own, other, atol=1e-10)


@pytest.mark.usefixtures("tile_elements")
@pytest.mark.parametrize("kind", ["one", "three"])
def test_gradient_with_dropout_is_the_derivative(kind):
    layer, norm, inputs = _layer(kind, dropout=0.3)
    bias = _biases()["padded"]

    def seeded(target, *rest):
        torch.manual_seed(1)
        return layer(target, list(rest[: len(inputs) - 1]), bias, source_norm=norm)[0]

    assert torch.autograd.gradcheck(seeded, (*inputs, *layer.parameters()), fast_mode=True)


def test_self_attention_sums_both_gradients():
    layer, _, (states, _) = _layer("one")
    bias = AttentionBias.from_mask(torch.ones(BATCH, TARGET, dtype=torch.bool))
    fused, _ = layer(states, [states], bias)
    plain, _ = layer(states, [states], bias, with_weights=True)
    gradient = torch.randn_like(fused)
    (own,), (other,) = torch.autograd.grad(fused, [states], gradient), torch.autograd.grad(plain, [states], gradient)
    assert torch.allclose(own, other, atol=1e-11)


def test_equal_with_and_without_gradients():
    layer, norm, inputs = _layer("three")
    bias = _biases()["absent"]
    fused, _ = layer(inputs[0], inputs[1:], bias, source_norm=norm)
    with torch.no_grad():
        predicted, _ = layer(inputs[0], inputs[1:], bias, source_norm=norm)
    assert torch.allclose(fused, predicted, atol=1e-11)
