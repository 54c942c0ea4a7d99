from pathlib import Path

import pytest
import torch
from small_runs import CONFIGS

from multigrain.data.store import Store
from multigrain.evaluation.zero_attention import count_zeros, zero_attention, zero_attention_of_run
from multigrain.models import build_model
from multigrain.models.base import MultimodalModel


def model_of(store: Store, name: str, **settings: object) -> MultimodalModel:
    torch.manual_seed(0)
    return build_model(name, {**CONFIGS[name], **settings}, store.task, store.features)


def test_only_weights_between_real_steps_count() -> None:
    weights = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0]]).expand(2, 1, 3, 3, 4)
    targets = torch.tensor([[True, True, False], [True, False, False]])
    sources = torch.tensor([[True, True, True, False], [False, False, False, False]])
    assert count_zeros(weights, targets, sources) == (3 * 4, 3 * 6)  # row 0: zeros at (0, 0), (0, 2), (1, 1), (1, 2) of 6; no source in row 1


def test_share_is_that_of_all_utterances_and_batches_do_not_matter(planted: Store) -> None:
    model, split = model_of(planted, "mmin"), planted.split("test")
    shares = zero_attention(model.train(), split)
    assert model.training
    assert shares == zero_attention(model, split, batch_utterances=3)
    zeros = total = 0
    with torch.no_grad():
        for index in range(len(split)):
            for layer in model.eval()(split.batch([index]), with_attention=True).attention["vision_to_audio"]:
                zeros += int((layer == 0).sum())  # alone in its batch, an utterance has no padding
                total += layer.numel()
    assert shares["vision_to_audio"] == zeros / total
    assert set(shares) == {f"{a}_to_{b}" for a in planted.features for b in planted.features if a != b} | {"all"}
    assert all(0 < share < 1 for share in shares.values())


def test_a_model_without_sparse_attention_has_no_share(planted: Store) -> None:
    for model in (model_of(planted, "mult"), model_of(planted, "mmin", attention="softmax"), model_of(planted, "mmin", predicts_from_fine=False)):
        assert zero_attention(model, planted.split("test")) == {}


def test_without_a_store_there_is_what_the_run_noted(run: Path) -> None:
    assert zero_attention_of_run(run) == {}
    (run / "results.json").write_text('{"zero_attention": {"valid": {"all": 0.5}, "test": {"all": 0.25}}}')
    assert zero_attention_of_run(run) == {"all": 0.25}
    assert zero_attention_of_run(run, split="valid") == {"all": 0.5}
    assert zero_attention_of_run(run, split="train") == {}


def test_softmax_gives_no_exact_zero_between_real_steps(planted: Store) -> None:
    """What the count would be for a dense model: padding alone makes its zeros."""
    model, batch = model_of(planted, "mult").eval(), planted.split("test").batch([0, 1, 2, 3])
    with torch.no_grad():
        (weights, *_) = model(batch, with_attention=True).attention["audio_to_text"]
    assert bool((weights == 0).any())
    assert count_zeros(weights, batch.text.mask, batch.audio.mask)[0] == 0


@pytest.mark.parametrize("modalities", [("text",), ("text", "audio")])
def test_fewer_modalities(make_store, modalities: tuple[str, ...]) -> None:
    store = make_store(modalities=modalities)
    shares = zero_attention(model_of(store, "mmin"), store.split("test"))
    assert set(shares) == ({"all", "audio_to_text", "text_to_audio"} if len(modalities) == 2 else set())
