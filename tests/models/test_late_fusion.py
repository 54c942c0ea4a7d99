"""Late fusion: the formula against arithmetic by hand, any subset, and models that were trained apart and joined."""

import pytest
import torch

from multigrain.errors import CheckpointError, RecipeError
from multigrain.models.late_fusion import LateFusion, LateFusionConfig
from multigrain.schema import Batch, FeatureSpec, ModalitySequence, Task

FEATURES = {"text": FeatureSpec(dim=6), "audio": FeatureSpec(dim=4), "vision": FeatureSpec(dim=5)}
RELIABILITY = {"text": 0.5, "audio": 0.2, "vision": 0.4}


def config(**changes: object) -> LateFusionConfig:
    settings = {"width": 8, **{f"{name}_reliability": value for name, value in RELIABILITY.items()}}
    return LateFusionConfig(**{**settings, **changes})


def model_of(*names: str, seed: int = 0, **changes: object) -> LateFusion:
    torch.manual_seed(seed)
    return LateFusion(config(**changes), Task(), {name: FEATURES[name] for name in names}).eval()


def batch_of(*names: str) -> Batch:
    generator = torch.Generator().manual_seed(0)
    sequences = {}
    for name in FEATURES:
        features = torch.randn(3, 7, FEATURES[name].dim, generator=generator)
        sequences[name] = ModalitySequence.from_lengths(features, torch.tensor([7, 1, 4]))
    return Batch(**{name: sequences[name] for name in names}, ids=("0", "1", "2"))


def test_the_score_is_the_mean_of_a_product_of_normal_densities():
    model = model_of("text", "audio", "vision")
    alone = {name: model.predict(batch_of(name)) for name in FEATURES}
    together = model.predict(batch_of(*FEATURES))
    # prior N(0, v); score s_m is the mean of N(0, v) times a likelihood of precision e_m / v about l_m, so s_m = e_m l_m / (1 + e_m)
    variance = 2.5
    precision, total = 1.0 / variance, torch.zeros(3, 1)
    for name, share in RELIABILITY.items():
        evidence = share / (1 - share)
        likelihood_mean = alone[name] * (1 + evidence) / evidence
        precision += evidence / variance
        total += likelihood_mean * evidence / variance
    torch.testing.assert_close(together, total / precision)


def test_agreement_strengthens_and_a_modality_alone_keeps_its_score():
    model = model_of("text", "audio")
    for score, value in (("text", 1.0), ("audio", 1.0)):
        torch.nn.init.zeros_(model.scores[score].output.weight)
        torch.nn.init.constant_(model.scores[score].output.bias, value)
    assert model.predict(batch_of("audio"))[0, 0] == pytest.approx(1.0)
    assert model.predict(batch_of("text", "audio"))[0, 0] > 1.3


def test_companions_count_for_their_share_of_evidence_beside_the_most_reliable():
    model = model_of("audio", "vision", companion_share=0.25)
    audio, vision = model.predict(batch_of("audio")), model.predict(batch_of("vision"))
    first, second = 0.4 / 0.6, 0.25 * 0.2 / 0.8  # vision is the more reliable one
    expected = ((1 + first) * vision + (0.25 + second) * audio) / (1 + first + second)
    torch.testing.assert_close(model.predict(batch_of("audio", "vision")), expected)
    torch.testing.assert_close(model_of("audio", "vision", companion_share=0.0).predict(batch_of("audio", "vision")), vision)


def test_nothing_present_is_neutral():
    model = model_of("text", "audio")
    empty = Batch(text=ModalitySequence.absent(2, 6, torch.zeros(1)), ids=("0", "1"))
    assert torch.equal(model.predict(empty), torch.zeros(2, 1))


def test_a_single_step_has_no_spread_and_a_finite_gradient():
    model = model_of("audio").train()
    one = Batch(audio=ModalitySequence.from_lengths(torch.randn(2, 1, 4), torch.tensor([1, 1])), ids=("0", "1"))
    model(one).prediction.sum().backward()
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in model.parameters())


def test_joined_models_answer_each_modality_as_before():
    parts = [model_of("text", seed=1), model_of("audio", seed=2), model_of("vision", seed=3)]
    joined = LateFusion.joined(parts, RELIABILITY, companion_share=0.25)
    for part, name in zip(parts, FEATURES, strict=True):
        assert torch.equal(joined.predict(batch_of(name)), part.predict(batch_of(name)))
    assert (joined.config.audio_reliability, joined.config.companion_share) == (0.2, 0.25)
    assert not torch.allclose(joined.predict(batch_of("text", "audio")), joined.predict(batch_of("text")))


def test_models_that_do_not_go_together_are_refused():
    with pytest.raises(CheckpointError, match="each modality in one model"):
        LateFusion.joined([model_of("text"), model_of("text")], {"text": 0.5})
    with pytest.raises(CheckpointError, match="a reliability for each"):
        LateFusion.joined([model_of("text"), model_of("audio")], {"text": 0.5})
    with pytest.raises(CheckpointError, match="cannot be joined"):
        LateFusion.joined([model_of("text"), model_of("audio", width=9)], {"text": 0.5, "audio": 0.1})
    clipped = LateFusion(config(), Task(), {"audio": FEATURES["audio"]}, clip=5.0)
    with pytest.raises(CheckpointError, match="cannot be joined"):
        LateFusion.joined([model_of("text"), clipped], {"text": 0.5, "audio": 0.1})


def test_how_inputs_are_normalised_means_nothing_where_a_language_model_reads():
    words = LateFusion(config(), Task(), {"text": FeatureSpec(dim=6, pooling="mean")})
    clipped = LateFusion(config(), Task(), {"audio": FEATURES["audio"]}, clip=5.0)
    assert LateFusion.joined([words, clipped], {"text": 0.5, "audio": 0.1}).clip == 5.0


def test_settings_are_checked():
    with pytest.raises(RecipeError, match="audio_reliability"):
        config(audio_reliability=1.0)
    with pytest.raises(RecipeError, match="companion_share"):
        config(companion_share=1.5)
    with pytest.raises(RecipeError, match="spread_of"):
        config(spread_of=("audio", "audio"))
    with pytest.raises(RecipeError, match="nothing would be known"):
        model_of("text", text_reliability=0.0)
