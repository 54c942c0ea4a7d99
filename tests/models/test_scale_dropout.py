"""Scale dropout leaves out whole scales of whole utterances, never the lowest, and only in training."""

import pytest
import torch

from multigrain.layers import projected_attention
from multigrain.layers.multi_scale import ScaleAggregation, ScaleMean, draw_kept_scales
from multigrain.models import build_model, load
from multigrain.models.mcmut import MultiScaleLayer
from multigrain.schema import Batch, FeatureSpec, Task


def test_higher_scales_fall_independently_at_the_rate_and_the_lowest_stays():
    torch.manual_seed(0)
    kept = draw_kept_scales(3, 8000, 0.7, torch.device("cpu"))
    assert bool(kept[0].all())
    torch.testing.assert_close(kept[1:].float().mean(dim=1), torch.full((2,), 0.3), rtol=0, atol=0.03)
    assert abs(float((kept[1] & kept[2]).float().mean()) - 0.09) < 0.02


@pytest.mark.parametrize("aggregation", [ScaleMean(), ScaleAggregation(8, 2, 3)], ids=["mean", "attention"])
def test_a_scale_that_is_left_out_changes_nothing_and_the_rest_are_weighed_as_if_alone(aggregation):
    torch.manual_seed(0)
    candidates = torch.randn(3, 4, 5, 8)
    kept = torch.tensor([[True] * 4, [True] * 4, [False] * 4])
    changed = candidates.clone()
    changed[2] = 100.0
    torch.testing.assert_close(aggregation(changed, kept), aggregation(candidates, kept))
    if isinstance(aggregation, ScaleMean):
        torch.testing.assert_close(aggregation(candidates, kept), aggregation(candidates[:2]))
    torch.testing.assert_close(aggregation(candidates, torch.ones(3, 4, dtype=torch.bool)), aggregation(candidates))


def small_model(**settings):
    size = {"width": 8, "num_heads": 2, "num_blocks": 2, "layers_per_block": 1, "num_summary_layers": 1, "uses_scale_attention": False}
    rates = {"attention_dropout": 0.0, "hidden_dropout": 0.0, "residual_dropout": 0.0, "output_dropout": 0.0}
    return build_model("mcmut", {**size, **rates, **settings}, Task(), {"text": FeatureSpec(dim=3), "audio": FeatureSpec(dim=4)})


def test_at_rate_one_training_starts_at_the_lowest_scale_and_ends_with_all():
    torch.manual_seed(0)
    model = small_model(scale_dropout=1.0)
    batch = Batch.from_arrays(text=torch.randn(2, 5, 3), audio=torch.randn(2, 7, 4))
    with torch.no_grad():
        model.set_progress(1.0)
        everything = model.eval()(batch).prediction
        model.train()
        torch.testing.assert_close(model(batch).prediction, everything)
        model.set_progress(0.0)
        lowest = model(batch).prediction
        torch.testing.assert_close(model.eval()(batch).prediction, lowest)  # validation runs no scales that are not trained yet
        assert not torch.allclose(everything, lowest, atol=1e-4)
        for stream in model.streams.values():
            for name, value in stream[1].crossmodal.named_parameters():
                value[1] = 7.0 if "bias" in name else value[1] * 3  # the higher scale's weights
        torch.testing.assert_close(model(batch).prediction, lowest)


@pytest.mark.parametrize("progress", [0.5, 0.9, 1.0])
def test_a_checkpoint_predicts_with_the_scales_that_its_epoch_had(progress, tmp_path):
    torch.manual_seed(0)
    model = small_model(scale_dropout=1.0).eval()
    model.set_progress(progress)
    batch = Batch.from_arrays(text=torch.randn(2, 5, 3), audio=torch.randn(2, 7, 4))
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(load(str(tmp_path)).predict(batch), model.predict(batch))


def test_what_is_left_out_is_not_computed():
    torch.manual_seed(0)
    model = small_model(scale_dropout=1.0, targets=("text",)).train()
    batch = Batch.from_arrays(text=torch.randn(2, 5, 3), audio=torch.randn(2, 7, 4))
    for progress, computed in ((0.0, False), (0.75, False), (0.9, True)):
        model.set_progress(progress)
        model.zero_grad()
        model(batch).prediction.sum().backward()
        above = model.streams["text_to_audio"][0].crossmodal.query_weight.grad
        assert (above is not None) == computed
        own = model.streams["audio_to_text"][1].crossmodal.query_weight.grad
        assert bool(own[0].any())
        assert bool(own[1].any()) == computed
    assert model.skips_parameters
    assert not small_model(scale_dropout=0.9).skips_parameters


@pytest.mark.parametrize("uses_scale_attention", [False, True], ids=["mean", "attention"])
@pytest.mark.parametrize("fused_weights", [0, 1 << 30], ids=["fused", "plain"])
def test_leaving_out_by_not_computing_gives_what_masks_give(uses_scale_attention, fused_weights, monkeypatch):
    monkeypatch.setattr(projected_attention, "FUSED_WEIGHTS", fused_weights)
    torch.manual_seed(0)
    model = small_model(scale_dropout=1.0, uses_scale_attention=uses_scale_attention, interaction="dense").train()
    batch = Batch.from_arrays(text=torch.randn(2, 5, 3), audio=torch.randn(2, 7, 4))
    skipped = model(batch).prediction
    monkeypatch.setattr(MultiScaleLayer, "has_lowest_only", False)
    torch.testing.assert_close(model(batch).prediction, skipped)
