"""The chunked feed-forward block against plain autograd."""

import pytest
import torch
from torch import nn

from multigrain.layers import feed_forward as module
from multigrain.layers.dropout import Dropout
from multigrain.layers.feed_forward import FeedForward

DIM = 3


def _block(hidden=0.0, residual=0.0):
    torch.manual_seed(0)
    feed_forward, norm = FeedForward(DIM, hidden_dropout=hidden).double(), nn.LayerNorm(DIM).double()
    for parameter in [*feed_forward.parameters(), *norm.parameters()]:
        nn.init.normal_(parameter)
    return feed_forward, norm, Dropout(residual)


@pytest.fixture(params=[24, 1], ids=["two steps a chunk", "a step a chunk"])
def chunk_elements(request, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", request.param)


@pytest.mark.usefixtures("chunk_elements")
def test_agrees_with_plain_autograd():
    feed_forward, norm, residual = _block()
    states = torch.randn(2, 3, DIM, dtype=torch.float64, requires_grad=True)
    inputs = [states, *norm.parameters(), *feed_forward.parameters()]
    plain, chunked = states + feed_forward(norm(states)), feed_forward.add_to(states, norm, residual)
    gradient = torch.randn_like(plain)
    assert torch.allclose(chunked, plain, atol=1e-12)
    for own, other in zip(torch.autograd.grad(chunked, inputs, gradient), torch.autograd.grad(plain, inputs, gradient), strict=True):
        assert torch.allclose(own, other, atol=1e-12)


@pytest.mark.usefixtures("chunk_elements")
def test_gradient_with_dropout_is_the_derivative():
    feed_forward, norm, residual = _block(hidden=0.3, residual=0.2)
    states = torch.randn(5, DIM, dtype=torch.float64, requires_grad=True)
    parameters = [*norm.parameters(), *feed_forward.parameters()]

    def seeded(states, *_):
        torch.manual_seed(1)
        return feed_forward.add_to(states, norm, residual)

    assert torch.autograd.gradcheck(seeded, (states, *parameters))


@pytest.mark.usefixtures("chunk_elements")
def test_dropout_averages_to_none_and_has_the_plain_spread():
    feed_forward, norm, residual = _block(hidden=0.4, residual=0.5)
    states = torch.randn(4, DIM, dtype=torch.float64, requires_grad=True)
    draws = 1500
    torch.manual_seed(3)
    chunked = torch.stack([feed_forward.add_to(states, norm, residual).detach() for _ in range(draws)])
    with torch.no_grad():  # the plain way
        plain = torch.stack([feed_forward.add_to(states, norm, residual) for _ in range(draws)])
    error = (chunked.mean(dim=0) - plain.mean(dim=0)).abs() / (chunked.var(dim=0) / draws + plain.var(dim=0) / draws).sqrt()
    assert float(error.max()) < 5
    assert torch.allclose(chunked.std(dim=0), plain.std(dim=0), rtol=0.2)


def test_evaluation_drops_nothing():
    feed_forward, norm, residual = _block(hidden=0.4, residual=0.5)
    for part in (feed_forward, norm, residual):
        part.eval()
    states = torch.randn(4, DIM, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(feed_forward.add_to(states, norm, residual), states + feed_forward(norm(states)), atol=1e-12)
