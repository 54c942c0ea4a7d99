import pytest
import torch

from multigrain.layers.gradient_reversal import reversal_weight, reverse_gradient


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 2.5])
def test_forward_is_the_identity_and_backward_its_weighted_opposite(weight: float) -> None:
    states = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn(3, 4, dtype=torch.float64)
    reversed_states = reverse_gradient(states, weight)
    assert torch.equal(reversed_states, states)
    reversed_states.backward(gradient)
    torch.testing.assert_close(states.grad, -weight * gradient, rtol=0, atol=0)


def test_what_is_behind_it_learns_as_usual() -> None:
    """The classifier's own gradient keeps its sign; only what is in front is turned round."""
    states, weight = torch.randn(5, requires_grad=True), torch.randn(5, requires_grad=True)
    plain = torch.autograd.grad((states * weight).sum().tanh(), (states, weight))
    turned = torch.autograd.grad((reverse_gradient(states, 0.5) * weight).sum().tanh(), (states, weight))
    torch.testing.assert_close(turned[0], -0.5 * plain[0])
    torch.testing.assert_close(turned[1], plain[1])


def test_the_weight_rises_from_nothing_to_one() -> None:
    weights = [reversal_weight(step / 20) for step in range(21)]
    assert weights[0] == 0.0
    assert weights == sorted(weights)
    assert weights[-1] == pytest.approx(1.0, abs=1e-4)
    assert weights[10] == pytest.approx(0.98661429815)  # tanh(5 p) at p = 0.5
