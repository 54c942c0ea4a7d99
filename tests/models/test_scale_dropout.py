"""Scale dropout leaves out whole scales of whole utterances, never the lowest, and only in training."""

import torch

from multigrain.layers.multi_scale import ScaleDropout


def test_leaves_out_higher_scales_of_whole_utterances_at_its_rate():
    torch.manual_seed(0)
    dropped = ScaleDropout(0.7).train()(torch.ones(3, 4000, 2, 5))
    assert bool((dropped[0] == 1).all())
    per_utterance = dropped[1:].flatten(2)
    assert bool((per_utterance == per_utterance[..., :1]).all())
    shares = per_utterance[..., 0].mean(dim=1)
    torch.testing.assert_close(shares, torch.full((2,), 0.3), rtol=0, atol=0.03)
    assert abs(float((per_utterance[0, :, 0] * per_utterance[1, :, 0]).mean()) - 0.09) < 0.02  # scales fall independently


def test_does_nothing_when_predicting_or_with_one_scale():
    candidates = torch.randn(3, 4, 2, 5)
    assert ScaleDropout(0.7).eval()(candidates) is candidates
    assert ScaleDropout(0.7).train()(candidates[:1]).equal(candidates[:1])
    assert ScaleDropout(0.0).train()(candidates) is candidates
