"""The cheap dropout against its plain definition, statistically."""

import pytest
import torch

from multigrain.layers.dropout import POOL_ELEMENTS, Dropout, draw_mask, dropout_mask


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("elements", [1000, POOL_ELEMENTS])
def test_rate_and_scale_are_those_asked_for(rate, elements):
    torch.manual_seed(0)
    like = torch.ones(elements)
    masks = [dropout_mask(like, rate) for _ in range(3 if elements == POOL_ELEMENTS else 400)]
    values = torch.cat(masks)
    kept = values != 0
    tolerance = 5 * (rate * (1 - rate) / min(len(values), POOL_ELEMENTS / 4)) ** 0.5 + 1 / 65536  # five standard errors
    assert abs(float(kept.double().mean()) - (1 - rate)) < tolerance
    assert torch.allclose(values[kept], torch.tensor(1 / (1 - rate)), rtol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 4097])
def test_any_number_of_elements(count):
    assert draw_mask((count,), 0.5, torch.float64).shape == (count,)
    assert dropout_mask(torch.ones(count), 0.5).shape == (count,)


@pytest.mark.parametrize(("rate", "value"), [(0.0, 1.0), (1.0, 0.0)])
def test_never_and_always(rate, value):
    assert torch.equal(dropout_mask(torch.ones(2000), rate), torch.full((2000,), value))


def test_two_uses_are_uncorrelated_in_every_place():
    """Products of two masks must average 1 as products of independent ones do, else stacked layers would be biased."""
    torch.manual_seed(3)
    like = torch.ones(2000)
    products = torch.stack([dropout_mask(like, 0.5) * dropout_mask(like, 0.5) for _ in range(2000)])
    assert abs(float(products.mean()) - 1.0) < 5 * 3**0.5 / 2000  # the product's variance is 3
    neighbours = torch.stack([dropout_mask(like, 0.5) for _ in range(2000)])
    assert abs(float((neighbours[:, 1:] * neighbours[:, :-1]).mean()) - 1.0) < 5 * 3**0.5 / 2000
    per_place = neighbours.mean(dim=0)
    assert float((per_place - 1).abs().max()) < 6 / 2000**0.5  # a mask's standard deviation is 1


def test_gradient_averages_to_that_without_dropout():
    torch.manual_seed(1)
    base = torch.randn(64, dtype=torch.float64, requires_grad=True)
    dropout = Dropout(0.3)
    gradients = []
    for _ in range(4000):
        (gradient,) = torch.autograd.grad((dropout(base) ** 2).sum(), base)
        gradients.append(gradient)
    stacked = torch.stack(gradients)
    expected = 2 * base.detach() / 0.7  # E[m^2] = 1 / (1 - rate)
    error = (stacked.mean(dim=0) - expected).abs() / (stacked.std(dim=0) / 4000**0.5)
    assert float(error.max()) < 5


def test_equal_seeds_give_equal_masks_whatever_came_before():
    like = torch.ones(500)
    torch.manual_seed(7)
    first = [dropout_mask(like, rate) for rate in (0.1, 0.2)]
    for seed in range(8):  # crowds the pools of seed 7 out
        torch.manual_seed(seed + 100)
        dropout_mask(like, 0.1)
    torch.manual_seed(7)
    assert all(torch.equal(mask, dropout_mask(like, rate)) for mask, rate in zip(first, (0.1, 0.2), strict=True))
    torch.manual_seed(8)
    assert not torch.equal(first[0], dropout_mask(like, 0.1))


def test_adds_what_it_would_give():
    dropout = Dropout(0.4)
    base, update = torch.randn(50), torch.randn(50)
    torch.manual_seed(5)
    expected = base + dropout(update)
    torch.manual_seed(5)
    assert torch.allclose(dropout.add_to(base, update), expected)
    dropout.eval()
    assert torch.equal(dropout.add_to(base, update), base + update)
    assert torch.equal(dropout(update), update)
