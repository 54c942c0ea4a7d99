import dataclasses
import logging

import numpy as np
import pytest
import torch
from small_run import changed, write_small_store

from multigrain.data.batching import LengthBucketSampler
from multigrain.data.store import Store
from multigrain.schema import Batch, TokenSequence
from multigrain.training.epoch_batches import EpochBatches
from multigrain.training.modality_dropout import ModalityDropout, draw_lost, lose, warn_without_effect
from multigrain.training.train import prepare_model, train_run

RATES = {"text": 0.1, "audio": 0.3, "vision": 0.6}


def drawn(present: np.ndarray, rates: list[float], seed: int = 0) -> np.ndarray:
    return draw_lost(present, rates, np.random.default_rng(seed))


# The draw ---------------------------------------------------------------------------------------------------------


def test_each_modality_is_lost_at_its_rate_less_what_is_kept():
    rates = list(RATES.values())
    shares = drawn(np.ones((200_000, 3), bool), rates).mean(axis=0)
    np.testing.assert_allclose(shares, np.array(rates) - np.prod(rates) / 3, atol=0.004)


def test_modalities_are_lost_independently():
    lost = drawn(np.ones((200_000, 3), bool), [0.5, 0.4, 0.0])
    assert (lost[:, 0] & lost[:, 1]).mean() == pytest.approx(0.5 * 0.4, abs=0.004)
    assert not lost[:, 2].any()


def test_never_all_that_an_utterance_has_and_the_kept_one_is_chosen_evenly():
    present = np.random.default_rng(1).random((50_000, 3)) < 0.6
    lost = drawn(present, [0.99, 0.99, 0.99])
    has_any = present.any(axis=1)
    assert (present & ~lost)[has_any].any(axis=1).all()
    assert not (lost & ~present).any()
    alone = present.sum(axis=1) == 1
    assert not lost[alone].any()
    kept = (present & ~lost)[present.all(axis=1)].mean(axis=0)
    np.testing.assert_allclose(kept, 0.01 + 0.99**3 / 3, atol=0.02)


def test_utterances_without_anything_are_left_alone():
    assert not drawn(np.zeros((5, 3), bool), [0.9, 0.9, 0.9]).any()


def test_other_rates_take_as_many_random_numbers():
    one, other = np.random.default_rng(0), np.random.default_rng(0)
    draw_lost(np.ones((10, 3), bool), [0.1, 0.0, 0.0], one)
    draw_lost(np.ones((10, 3), bool), [0.9, 0.9, 0.9], other)
    assert one.random() == other.random()


# What a model is given --------------------------------------------------------------------------------------------


def test_what_is_lost_is_absent_as_in_a_store():
    batch = Batch.from_arrays(text=np.ones((3, 4, 2)), audio=np.ones((3, 5, 2)), lengths={"text": [4, 2, 3]})
    mask = batch.text.mask.clone()
    altered = lose(batch, {"text": np.array([False, True, False]), "audio": np.array([False] * 3)})
    assert altered.text.is_present.tolist() == [True, False, True]
    assert altered.text.readout.tolist() == [3, 0, 2]
    assert altered.text.lengths.tolist() == [4, 0, 3]
    assert altered.audio is batch.audio
    assert torch.equal(batch.text.mask, mask)


def test_text_takes_its_tokens_along():
    tokens = TokenSequence(torch.ones(2, 3, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.long))
    batch = dataclasses.replace(Batch.from_arrays(text=np.ones((2, 4, 2)), audio=np.ones((2, 4, 2))), tokens=tokens)
    assert lose(batch, {"audio": np.array([True, True])}).tokens is tokens
    assert lose(batch, {"text": np.array([True, False])}).tokens.mask.tolist() == [[False] * 3, [True] * 3]


def lost_by_id(split, *, epoch: int, num_replicas: int = 1, batch_utterances: int = 4, seed: int = 3) -> dict[str, tuple[bool, ...]]:
    """Which modalities each utterance has lost, as the processes' batches say."""
    lengths = {name: split.lengths(name) for name in split.modalities}
    found = {}
    for rank in range(num_replicas):
        sampler = LengthBucketSampler(lengths, batch_utterances=batch_utterances, shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        dropout = ModalityDropout({"text": 0.5, "vision": 0.5}, lengths, seed)
        for part in EpochBatches(split, sampler, modalities=list(lengths), num_replicas=num_replicas, rank=rank, modality_dropout=dropout):
            absent = torch.stack([~sequence.is_present for sequence in part.batch.modalities.values()], dim=1)
            found |= {name: tuple(row) for name, row in zip(part.batch.ids, absent.tolist(), strict=True)}
    return found


def test_the_draw_depends_on_seed_and_epoch_alone(tmp_path):
    split = Store.open(write_small_store(tmp_path / "a.store")).split("train")
    first = lost_by_id(split, epoch=2)
    assert len(first) == 25
    assert 0 < sum(map(sum, first.values())) < 50
    assert not any(audio for _, audio, _ in first.values())
    torch.manual_seed(1)  # what else is drawn does not matter
    assert first == lost_by_id(split, epoch=2)
    assert first == lost_by_id(split, epoch=2, num_replicas=3)
    assert first == lost_by_id(split, epoch=2, batch_utterances=7)
    assert first != lost_by_id(split, epoch=3)
    assert first != lost_by_id(split, epoch=2, seed=4)


# In a run ---------------------------------------------------------------------------------------------------------


def metrics(recipe, folder) -> bytes:
    train_run(recipe, run_folder=folder, seed=1, show_progress=False)
    return (folder / "metrics.jsonl").read_bytes()


def test_only_runs_that_ask_for_it_change(small_recipe, tmp_path):
    plain = metrics(small_recipe, tmp_path / "plain")
    assert metrics(changed(small_recipe, training={"modality_dropout": {"text": 0.0}}), tmp_path / "zero") == plain
    dropping = changed(small_recipe, training={"modality_dropout": RATES})
    first = metrics(dropping, tmp_path / "first")
    assert first != plain
    assert metrics(dropping, tmp_path / "again") == first


def test_validation_loses_nothing(small_recipe, tmp_path, monkeypatch):
    seen = []
    apply = ModalityDropout.apply
    monkeypatch.setattr(ModalityDropout, "apply", lambda self, batch, *rest: seen.extend(batch.ids) or apply(self, batch, *rest))
    metrics(changed(small_recipe, training={"modality_dropout": RATES, "epochs": 1}), tmp_path / "run")
    assert len(seen) == 25
    assert all(name.startswith("train") for name in seen)


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"data": {"modalities": ["text", "audio"]}}, "names vision, which has no effect: the model reads text, audio"),
        ({"data": {"modalities": ["audio"]}}, "names text, audio, vision, which has no effect: the model reads audio"),
        ({}, None),
    ],
)
def test_rates_without_effect_are_named(small_recipe, change, warning, caplog):
    recipe = changed(small_recipe, training={"modality_dropout": RATES}, **change)
    with caplog.at_level(logging.WARNING):
        prepare_model(recipe, Store.open(recipe.data.store), 0)
    assert (warning in caplog.text) if warning else not caplog.text


def test_a_rate_of_zero_is_no_mistake(caplog):
    warn_without_effect({"vision": 0.0}, ["text"])
    assert not caplog.text
