import pytest
import torch

from multigrain.layers.attention import AttentionBias, MultiHeadAttention
from multigrain.layers.sparse_attention import SparseMultiHeadAttention
from multigrain.layers.transformer import TransformerSettings, TransformerStack


def test_parameters_are_those_of_dense_attention() -> None:
    states = []
    for kind in (MultiHeadAttention, SparseMultiHeadAttention):
        torch.manual_seed(0)
        states.append(kind(8, 2, query_key_gain=2.0).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_padding_and_absent_sources_answer_nothing() -> None:
    torch.manual_seed(0)
    layer, target, source = SparseMultiHeadAttention(8, 2), torch.randn(3, 4, 8), torch.randn(3, 6, 8)
    mask = torch.arange(6)[None, :] < torch.tensor([6, 2, 0])[:, None]
    expected, weights = layer(target, source, AttentionBias.from_mask(mask), with_weights=True)
    changed, _ = layer(target, source.masked_fill(~mask.unsqueeze(-1), 1e3), AttentionBias.from_mask(mask))
    torch.testing.assert_close(changed, expected, rtol=0, atol=0)
    torch.testing.assert_close(expected[2], layer.out_projection.bias.expand(4, 8))
    alone, _ = layer(target[[1]], source[[1], :2], AttentionBias.from_mask(mask[[1], :2]))
    torch.testing.assert_close(alone[0], expected[1], rtol=0, atol=1e-6)
    assert bool((weights[1, ..., 2:] == 0).all() and (weights[2] == 0).all())


@pytest.mark.parametrize("is_sparse", [True, False])
def test_a_stack_attends_sparsely_where_it_is_told_to(is_sparse: bool) -> None:
    torch.manual_seed(0)
    stack = TransformerStack(8, 2, 2, TransformerSettings(is_sparse=is_sparse), is_crossmodal=True)
    target, source = torch.randn(2, 5, 8), torch.randn(2, 9, 8) * 3
    states, layers = stack(target, source, AttentionBias(None, None), with_weights=True)
    assert states.shape == target.shape
    assert all(bool((weights == 0).any()) == is_sparse for weights in layers)
    assert all(torch.allclose(weights.sum(dim=-1), torch.ones(())) for weights in layers)


def test_dropout_falls_on_the_weights_in_training_alone() -> None:
    torch.manual_seed(0)
    layer, target, source = SparseMultiHeadAttention(8, 2, dropout=0.5), torch.randn(2, 3, 8), torch.randn(2, 7, 8)
    bias = AttentionBias(None, None)
    assert not torch.equal(layer(target, source, bias)[0], layer(target, source, bias)[0])
    layer.eval()
    assert torch.equal(layer(target, source, bias)[0], layer(target, source, bias)[0])
