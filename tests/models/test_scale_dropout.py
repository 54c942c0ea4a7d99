"""Scale dropout leaves out whole scales of whole utterances, never the lowest, and only in training."""

import torch

from multigrain.layers.multi_scale import ScaleDropout
from multigrain.models import build_model
from multigrain.schema import Batch, FeatureSpec, Task


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


def test_at_rate_one_training_starts_at_the_lowest_scale_and_ends_with_all():
    torch.manual_seed(0)
    rates = {"attention_dropout": 0.0, "hidden_dropout": 0.0, "residual_dropout": 0.0, "output_dropout": 0.0, "scale_dropout": 1.0}
    size = {"width": 8, "num_heads": 2, "num_blocks": 2, "layers_per_block": 1, "num_summary_layers": 1, "uses_scale_attention": False}
    model = build_model("mcmut", {**size, **rates}, Task(), {"text": FeatureSpec(dim=3), "audio": FeatureSpec(dim=4)})
    batch = Batch.from_arrays(text=torch.randn(2, 5, 3), audio=torch.randn(2, 7, 4))
    with torch.no_grad():
        everything = model.eval()(batch).prediction
        model.train().set_progress(0.0)
        lowest = model(batch).prediction
        for stream in model.streams.values():
            stream[1].crossmodal.output_weight[1] = 0.0
            stream[1].crossmodal.output_bias[1] = 0.0
        assert torch.equal(model(batch).prediction, lowest)
        torch.testing.assert_close(model.eval()(batch).prediction, lowest)
        assert not torch.allclose(everything, lowest, atol=1e-4)
        model.train().set_progress(1.0)
        torch.testing.assert_close(model(batch).prediction, lowest)
