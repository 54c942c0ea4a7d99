"""What is special to MMIN beside its equations: ablations, edges of the losses, settings that are refused."""

import numpy as np
import pytest
import torch

from multigrain import Batch, FeatureSpec, Task
from multigrain.errors import RecipeError
from multigrain.layers.gradient_reversal import reversal_weight
from multigrain.models import build_model
from multigrain.models.mmin_coarse import separation_loss

DIMS = {"text": 6, "vision": 5, "audio": 4}


def small_model(modalities=tuple(DIMS), **settings):
    torch.manual_seed(0)
    dropouts = {f"{name}_dropout": 0.0 for name in ("attention", "hidden", "residual", "text", "embedding", "output")}
    size = {"width": 8, "num_heads": 2, "num_layers": 2}
    return build_model("mmin", {**size, **dropouts, **settings}, Task(), {name: FeatureSpec(dim=DIMS[name]) for name in modalities})


def random_batch(modalities=tuple(DIMS), size=5):
    generator = np.random.default_rng(0)
    return Batch.from_arrays(**{name: generator.normal(size=(size, 6, DIMS[name])) for name in modalities})


def test_a_single_utterance_has_no_normalised_separation_and_finite_gradients():
    common, private = (torch.randn(3, 1, 8, requires_grad=True) for _ in range(2))
    present = torch.tensor([[True], [True], [False]])
    loss = separation_loss(common, private, present, "normalised")
    loss.backward()
    assert loss.item() == 0.0
    assert bool(torch.isfinite(common.grad).all() and torch.isfinite(private.grad).all())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_utterances_have_no_alignment_and_finite_gradients(count):
    common, private = (torch.randn(3, count, 8, requires_grad=True) for _ in range(2))
    loss = separation_loss(common, private, torch.ones(3, count, dtype=torch.bool), "alignment")
    loss.backward()
    assert loss.item() == 0.0
    assert not bool(common.grad.any() or private.grad.any())


@pytest.mark.parametrize("width", [16, 128])
@pytest.mark.parametrize("batch", [8, 64])
def test_alignment_means_the_same_at_any_width_batch_and_scale(width, batch):
    """Unrelated codes: 0 on average; equal ones: 1 for each of the products. What is padded away changes nothing."""
    torch.manual_seed(0)
    present = torch.ones(3, batch, dtype=torch.bool)
    unrelated = [separation_loss(*torch.randn(2, 3, batch, width), present, "alignment").item() / 6 for _ in range(60)]
    assert abs(np.mean(unrelated)) < 3 * np.std(unrelated) / 60**0.5
    code = torch.randn(1, batch, width).expand(3, -1, -1)
    assert separation_loss(code * 100, code, present, "alignment").item() == pytest.approx(6.0, rel=1e-4)
    longer = torch.cat([code, torch.randn(3, 5, width)], dim=1)
    with_absent = torch.cat([present, torch.zeros(3, 5, dtype=torch.bool)], dim=1)
    assert separation_loss(longer, longer, with_absent, "alignment").item() == pytest.approx(6.0, rel=1e-4)


def test_the_prediction_can_do_without_each_code():
    model, batch = small_model(), random_batch()
    whole = model(batch).prediction
    names = ["without CIN", "without FIN", "without private codes", "without common codes"]
    assert list(model.ablations) == [*names, *(f"without the guided code of {name}" for name in ("text", "vision", "audio"))]
    seen = []
    for parts in model.ablations.values():
        with model.without(parts):
            seen.append(model(batch).prediction)
        assert not torch.allclose(seen[-1], whole, atol=1e-5)
    torch.testing.assert_close(model(batch).prediction, whole)
    with torch.no_grad():  # without FIN its weights change nothing
        for parameter in model.fine.parameters():
            parameter.mul_(2.0)
        with model.without(model.ablations["without FIN"]):
            torch.testing.assert_close(model(batch).prediction, seen[1])


def test_normalised_separation_does_not_grow_with_the_codes_scale():
    common, private = torch.randn(3, 16, 8).double(), torch.randn(3, 16, 8).double()
    present = torch.ones(3, 16, dtype=torch.bool)
    plain, scaled = (separation_loss(common * scale, private * scale, present, "normalised").item() for scale in (1.0, 100.0))
    assert scaled == pytest.approx(plain, rel=1e-4)
    literal = separation_loss(common * 10, private * 10, present, "literal").item()
    assert literal == pytest.approx(1e4 * separation_loss(common, private, present, "literal").item())


@pytest.mark.parametrize(
    ("settings", "terms"),
    [
        (
            {},
            (
                "separation",
                "adversarial",
                "private",
            ),
        ),
        (
            {"separation_weight": 0.0},
            (
                "adversarial",
                "private",
            ),
        ),
        (
            {"adversarial_weight": 0.0},
            (
                "separation",
                "private",
            ),
        ),
        (
            {"private_weight": 0.0},
            (
                "separation",
                "adversarial",
            ),
        ),
        ({"adversarial_weight": 0.0, "private_weight": 0.0}, ("separation",)),
        ({"predicts_from_coarse": False, "separation_weight": 0.0, "private_weight": 0.0}, ("adversarial",)),
        (
            {"predicts_from_coarse": False},
            (
                "separation",
                "adversarial",
                "private",
            ),
        ),
        (
            {"predicts_from_fine": False},
            (
                "separation",
                "adversarial",
                "private",
            ),
        ),
    ],
    ids=str,
)
def test_ablations_build_only_what_is_trained(settings, terms):
    model = small_model(**settings)
    model.set_progress(0.5)
    output = model(random_batch(), with_attention=True)
    assert set(output.losses) == set(terms)
    (output.prediction.square().sum() + sum(output.losses.values())).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.ndim < 2 or bool((parameter.grad != 0).any()), name
    assert len(output.attention) == (6 if model.config.predicts_from_fine else 0)


def test_a_modality_alone_has_nothing_to_tell_apart():
    model = small_model(("text",))
    output = model(random_batch(("text",)), with_attention=True)
    assert model.discriminator is None
    assert set(output.losses) == {"separation"}
    assert output.attention == {}


def test_reversal_starts_at_nothing_and_follows_the_progress():
    model = small_model()
    assert model.reversal_weight == 0.0
    model.set_progress(0.3)
    assert model.reversal_weight == reversal_weight(0.3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_heads": 3}, r"mmin has num_heads = 3; expected a number that divides width \(8\)"),
        ({"num_layers": 0}, "num_layers = 0; expected at least 1"),
        ({"private_weight": -1.0}, "private_weight = -1.0; expected at least 0"),
        ({"hidden_dropout": 1.0}, "hidden_dropout = 1.0; expected a rate"),
        ({"predicts_from_coarse": False, "predicts_from_fine": False}, "the prediction must read something"),
        ({"num_layer": 2}, "has no setting 'num_layer'. Did you mean 'num_layers'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        small_model(**settings)
