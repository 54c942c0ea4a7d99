"""Sparsemax against its definition: a projection onto the simplex, found here by bisection over the threshold."""

import numpy as np
import pytest
import torch

from multigrain.layers.sparsemax import sparsemax


def projected(scores: np.ndarray) -> np.ndarray:
    """The nearest point of the simplex: `max(z - tau, 0)` where tau is such that the sum is one."""
    low, high = scores.max() - 1.0, scores.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(scores - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(scores - low, 0)


def random_scores(*shape: int, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def random_mask(*shape: int, seed: int = 0) -> torch.Tensor:
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.6
    mask[..., 0] = True
    return mask


@pytest.mark.parametrize("length", [1, 2, 7, 64, 500])
@pytest.mark.parametrize("scale", [1e-4, 0.02, 0.3, 1.0, 50.0])
def test_is_the_projection_onto_the_simplex(length: int, scale: float) -> None:
    scores = random_scores(5, length, scale=scale) + 3.0
    shares = sparsemax(scores)
    for row in range(5):
        np.testing.assert_allclose(shares[row].numpy(), projected(scores[row].numpy()), atol=1e-12)
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(5, dtype=torch.float64), rtol=0, atol=1e-12)


def test_known_values() -> None:
    given = torch.tensor([[0.5, 0.5, 0.5, 0.5], [3.0, 0.0, 0.0, 0.0], [1.0, 0.5, 0.0, -9.0]])
    expected = torch.tensor([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0], [0.75, 0.25, 0.0, 0.0]])
    torch.testing.assert_close(sparsemax(given), expected, rtol=0, atol=0)


@pytest.mark.parametrize("length", [9, 300])
def test_masked_scores_get_exactly_zero_and_count_for_nothing(length: int) -> None:
    scores, mask = random_scores(4, length), random_mask(4, length)
    spoiled = scores.masked_fill(~mask, float("nan"))
    shares = sparsemax(spoiled, mask)
    assert bool((shares[~mask] == 0).all())
    for row in range(4):
        torch.testing.assert_close(shares[row][mask[row]], sparsemax(scores[row][mask[row]]), rtol=0, atol=1e-15)
    torch.testing.assert_close(sparsemax(scores.masked_fill(~mask, 1e30), mask), shares, rtol=0, atol=0)


@pytest.mark.parametrize("length", [5, 300])
def test_a_row_with_nothing_to_attend_is_zero(length: int) -> None:
    scores, mask = random_scores(3, length).requires_grad_(), random_mask(3, length)
    mask[1] = False
    shares = sparsemax(scores, mask)
    shares.square().sum().backward()
    assert bool((shares[1] == 0).all())
    assert bool((scores.grad[1] == 0).all())
    assert bool(torch.isfinite(shares).all() and torch.isfinite(scores.grad).all())
    torch.testing.assert_close(shares.sum(dim=-1), torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))


def test_a_mask_broadcasts_over_heads_and_targets() -> None:
    scores, mask = random_scores(2, 3, 4, 6), random_mask(2, 1, 1, 6)
    torch.testing.assert_close(sparsemax(scores, mask), sparsemax(scores, mask.expand(scores.shape)), rtol=0, atol=0)


@pytest.mark.parametrize("length", [6, 67])
@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_gradient_is_the_derivative(length: int, scale: float) -> None:
    scores, mask = random_scores(3, length, scale=scale, seed=2).requires_grad_(), random_mask(3, length)
    mask[2] = False
    assert torch.autograd.gradcheck(sparsemax, (scores,))
    assert torch.autograd.gradcheck(sparsemax, (scores, mask))
    assert torch.autograd.gradgradcheck(sparsemax, (scores, mask))


def test_gradient_is_the_papers_jacobian() -> None:
    scores = torch.tensor([0.3, 1.0, 0.8, -2.0, 0.75], dtype=torch.float64)
    support = (sparsemax(scores) > 0).double()
    expected = torch.diag(support) - torch.outer(support, support) / support.sum()  # their Eq. 11
    assert support.tolist() == [0, 1, 1, 0, 1]
    torch.testing.assert_close(torch.autograd.functional.jacobian(sparsemax, scores), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_type_is_kept_and_large_scores_overflow_nothing(dtype: torch.dtype) -> None:
    scores = (random_scores(4, 200) * 1e4).to(dtype)
    shares = sparsemax(scores)
    assert shares.dtype == dtype
    torch.testing.assert_close(shares.float(), sparsemax(scores.double()).float(), rtol=1e-2, atol=1e-3)


def test_scores_are_not_changed_and_need_not_be_contiguous() -> None:
    scores = random_scores(6, 4).T
    before = scores.clone()
    shares = sparsemax(scores)
    assert torch.equal(scores, before)
    torch.testing.assert_close(shares, sparsemax(scores.contiguous()), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(3, 2, 5, 9), (1, 4, 5, 9), (2, 4, 5), (7, 9)])
@pytest.mark.parametrize("masked", ["nowhere", "everywhere", "by source", "for all alike"])
def test_parts_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], masked: str) -> None:
    scores, above = random_scores(*shape), random_scores(*shape, seed=3)
    of_source = (shape[0],) + (1,) * (len(shape) - 2) + shape[-1:]
    masks = {"nowhere": None, "everywhere": random_mask(*shape), "by source": random_mask(*of_source), "for all alike": random_mask(shape[-1])}
    mask = masks[masked]

    def both() -> list[torch.Tensor]:
        given = scores.clone().requires_grad_()
        shares = sparsemax(given, mask)
        shares.backward(above)
        assert given.grad is not None
        return [shares.detach(), given.grad]

    whole = both()
    for most in (1, 20, 100):
        monkeypatch.setattr("multigrain.layers.sparsemax.PART_ELEMENTS", most)
        for part, expected in zip(both(), whole, strict=True):
            torch.testing.assert_close(part, expected, rtol=0, atol=0)
