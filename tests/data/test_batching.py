"""Batches: every utterance once an epoch, like lengths together, the same batches for the same seed and epoch."""

import numpy as np
import pytest
import torch

from multigrain.data.batching import LengthBucketSampler, data_loader
from multigrain.errors import DataError
from multigrain.schema import Batch


def lognormal_lengths(count, seed=0):
    words = np.clip(np.random.default_rng(seed).lognormal(2.3, 0.7, count), 1, 50).astype(np.int64)
    return {"text": words, "audio": (7.5 * words).astype(np.int64), "vision": 10 * words}


def sampler(count=200, lengths=None, **options):
    options = {"shuffle": True, "seed": 3, **options}
    if "batch_steps" not in options:
        options.setdefault("batch_utterances", 16)
    return LengthBucketSampler(lengths or lognormal_lengths(count), **options)


def flat(batches):
    return [index for batch in batches for index in batch]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("budget", [{"batch_utterances": 16}, {"batch_steps": 2000}, {"batch_utterances": 8, "batch_steps": 2000}])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 1000])
def test_every_utterance_once_within_the_budget(count, budget, shuffle):
    lengths = lognormal_lengths(count)
    batches = list(subject := sampler(lengths=lengths, shuffle=shuffle, **budget))
    assert sorted(flat(batches)) == list(range(count))
    assert len(subject) == len(batches)
    for batch in batches:
        assert len(batch) <= budget.get("batch_utterances", count)
        assert len(batch) == 1 or len(batch) * lengths["vision"][batch].max() <= budget.get("batch_steps", 10**9)


@pytest.mark.parametrize("shuffle", [True, False])
def test_utterances_of_a_context_stand_together(shuffle):
    contexts = np.random.default_rng(1).permutation(np.repeat(np.arange(20), 11))
    lengths = {"text": 3 + contexts}
    subject = sampler(lengths=lengths, contexts=contexts, shuffle=shuffle)
    orders = []
    for epoch in (0, 1):
        subject.set_epoch(epoch)
        batches = list(subject)
        assert sorted(flat(batches)) == list(range(220))
        assert max(map(len, batches)) == 16
        assert sum(len(set(contexts[batch])) for batch in batches) <= 20 + len(batches)  # a context is cut only where a batch is full
        orders.append([tuple(batch) for batch in batches])
    assert (orders[0] != orders[1]) == shuffle


def test_step_budget_is_used():
    lengths = lognormal_lengths(1000)
    batches = list(sampler(lengths=lengths, batch_steps=4000))
    used = [len(batch) * lengths["vision"][batch].max() for batch in batches]
    assert np.mean(used) > 0.85 * 4000


def test_an_utterance_longer_than_the_budget_is_alone():
    lengths = {"text": np.array([5, 5, 90, 5]), "audio": np.array([1, 1, 1, 1])}
    batches = list(sampler(lengths=lengths, batch_steps=20))
    assert [2] in batches
    assert sorted(map(len, batches)) == [1, 3]


def test_seed_and_epoch_choose_the_batches():
    lengths = {"text": np.arange(1, 201)}  # no two alike: sorted without noise, they would always meet the same others
    subject = sampler(lengths=lengths)
    first = list(subject)
    assert list(subject) == first == list(sampler(lengths=lengths))
    subject.set_epoch(1)
    second = list(subject)
    assert second != first
    assert len({frozenset(batch) for batch in second} & {frozenset(batch) for batch in first}) <= 1  # not only their order
    subject.set_epoch(0)
    assert list(subject) == first
    assert list(sampler(lengths=lengths, seed=4)) != first


def test_batches_come_in_no_order_of_length():
    lengths = lognormal_lengths(640)
    longest = [lengths["text"][batch].max() for batch in sampler(lengths=lengths)]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.5


def test_without_shuffling_in_order_of_length():
    lengths = lognormal_lengths(100)
    subject = sampler(lengths=lengths, shuffle=False)
    first = list(subject)
    assert (np.diff(lengths["text"][flat(first)]) >= 0).all()
    subject.set_epoch(5)
    assert list(subject) == first


def test_padding_waste_counts_padded_steps():
    lengths = {"text": np.array([1, 3]), "audio": np.array([0, 0])}
    assert sampler(lengths=lengths, batch_utterances=2).padding_waste() == pytest.approx(1 - 4 / 8)  # text 2 x 3, audio 2 x 1
    assert sampler(lengths={"text": np.full(10, 7)}).padding_waste() == 0.0


@pytest.mark.parametrize("count", [1284, 16327])
def test_bucketing_leaves_little_padding(count):
    lengths = lognormal_lengths(count)
    by_chance = np.random.default_rng(0).permutation(count)
    words = lengths["text"][by_chance[: count // 16 * 16]].reshape(-1, 16)
    assert 1 - words.sum() / (16 * words.max(axis=1)).sum() > 0.5  # what unsorted batches waste
    assert sampler(lengths=lengths).padding_waste() < 0.12


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("replicas", [2, 3, 4])
@pytest.mark.parametrize("budget", [{"batch_utterances": 12}, {"batch_steps": 1500}])
@pytest.mark.parametrize("count", [5, 13, 97, 240])
def test_processes_share_each_global_batch(count, budget, replicas, shuffle):
    lengths = lognormal_lengths(count)
    ranks = [list(sampler(lengths=lengths, shuffle=shuffle, num_replicas=replicas, rank=rank, **budget)) for rank in range(replicas)]
    assert len({len(batches) for batches in ranks}) == 1
    assert sorted(flat(flat(ranks))) == list(range(count))
    for parts in zip(*ranks, strict=True):
        sizes = [len(part) for part in parts]
        assert min(sizes) >= 1
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("replicas", [2, 4])
def test_processes_together_see_the_batches_of_one(replicas):
    lengths = lognormal_lengths(200)
    alone = sampler(lengths=lengths, batch_utterances=16)
    ranks = [sampler(lengths=lengths, batch_utterances=16, num_replicas=replicas, rank=rank) for rank in range(replicas)]
    for epoch in range(3):
        for subject in (alone, *ranks):
            subject.set_epoch(epoch)
        for whole, *parts in zip(alone, *ranks, strict=True):
            assert sorted(flat(parts)) == sorted(whole)
            assert {len(part) for part in parts} == {len(whole) // replicas}  # 200 and 16 are multiples of both


def test_single_leftover_is_dealt_without_repeating():
    ranks = [list(sampler(33, batch_utterances=16, num_replicas=2, rank=rank)) for rank in (0, 1)]
    assert [len(batches) for batches in ranks] == [3, 3]
    assert sorted(flat(flat(ranks))) == list(range(33))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 3, "num_replicas": 4}, "3 utterances cannot be dealt among 4 processes"),
        ({"batch_utterances": 2, "num_replicas": 4}, "batch_utterances is 2; expected at least 4"),
        ({"batch_utterances": 0}, "batch_utterances is 0; expected at least 1"),
        ({"batch_utterances": None}, "needs a budget"),
        ({"batch_steps": 0}, "batch_steps is 0"),
        ({"lengths": {"text": np.arange(3), "audio": np.arange(4)}}, "same utterances"),
        ({"lengths": {"text": np.zeros(0, np.int64)}}, "at least one"),
    ],
)
def test_impossible_requests(options, message):
    with pytest.raises(DataError, match=message):
        sampler(**options)


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_gives_the_samplers_batches(make_store, workers):
    split = make_store(counts={"train": 20}).split("train")
    subject = sampler(lengths={name: split.lengths(name) for name in split.modalities}, batch_utterances=6)
    loader = data_loader(split, subject, modalities=["text", "vision"], num_workers=workers)
    assert len(loader) == 4
    assert loader.sampler is subject  # where Lightning looks for set_epoch
    for epoch in range(2):
        subject.set_epoch(epoch)
        batches = list(loader)
        assert [batch.ids for batch in batches] == [tuple(split.ids[index] for index in indices) for indices in subject]
    batch = batches[0]
    assert isinstance(batch, Batch)
    assert batch.audio is None
    expected = split.batch(next(iter(subject)))
    assert torch.equal(batch.vision.features, expected.vision.features)
    assert torch.equal(batch.label, expected.label)


def test_loading_leaves_the_global_random_state_alone(make_store):
    split = make_store().split("train")
    before = torch.get_rng_state()
    list(data_loader(split, sampler(lengths={"text": split.lengths("text")})))
    assert torch.equal(torch.get_rng_state(), before)
