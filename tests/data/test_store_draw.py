import numpy as np
import pytest

from multigrain.data.batching import LengthBucketSampler
from multigrain.data.store_draw import StoreDraw
from multigrain.errors import DataError


def counts_of(draw: StoreDraw, epoch: int, size: int) -> np.ndarray:
    return np.bincount(draw.indices(epoch), minlength=size)


def test_a_weight_is_relative_to_the_stores_own_size():
    draw = StoreDraw([10, 4, 6], [1.0, 2.5, 0.5], seed=1)
    assert draw.num_utterances == 10 + 10 + 3
    for epoch in range(3):
        counts = counts_of(draw, epoch, 20)
        assert (counts[:10] == 1).all()
        assert sorted(counts[10:14]) == [2, 2, 3, 3]
        assert sorted(counts[14:]) == [0, 0, 0, 1, 1, 1]


def test_the_part_is_drawn_anew_each_epoch_and_is_the_same_for_the_same_seed():
    draw = StoreDraw([40, 40], [0.5, 0.5], seed=1)
    first, second = draw.indices(0), draw.indices(1)
    assert not np.array_equal(first, second)
    assert np.array_equal(draw.indices(0), first)  # whatever was drawn between
    assert np.array_equal(StoreDraw([40, 40], [0.5, 0.5], seed=1).indices(1), second)
    assert not np.array_equal(StoreDraw([40, 40], [0.5, 0.5], seed=2).indices(0), first)
    assert not np.array_equal(first[first < 40], first[first >= 40] - 40)  # each store for itself
    seen = np.unique(np.concatenate([draw.indices(epoch) for epoch in range(30)]))
    assert seen.size == 80


def test_one_stores_weight_does_not_change_what_is_drawn_of_another():
    one, other = (StoreDraw([40, 40], [weight, 0.5], seed=1).indices(3) for weight in (0.25, 1.5))
    assert np.array_equal(one[one >= 40], other[other >= 40])


def test_a_small_weight_takes_at_least_one():
    assert StoreDraw([3, 5], [0.01, 1.0], seed=0).num_utterances == 6


def test_whole_weights_of_one_are_the_order_of_the_split():
    assert StoreDraw([3, 2], [1.0, 1.0], seed=0).indices(7).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("budget", [{"batch_utterances": 4}, {"batch_steps": 30}])
def test_batches_hold_what_was_drawn(budget):
    lengths, draw = {"text": np.arange(1, 21)}, StoreDraw([10, 10], [2.0, 0.3], seed=5)
    sampler = LengthBucketSampler(lengths, shuffle=True, seed=5, draw=draw, **budget)
    assert sampler.num_utterances == 23
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert sorted(index for batch in batches for index in batch) == sorted(draw.indices(epoch).tolist())
        assert len(sampler) == len(batches)


def test_without_shuffling_what_was_drawn_is_in_order_of_length():
    lengths, draw = {"text": np.arange(20, 0, -1)}, StoreDraw([10, 10], [2.0, 0.3], seed=5)
    order = [index for batch in LengthBucketSampler(lengths, shuffle=False, seed=5, draw=draw, batch_utterances=4) for index in batch]
    assert (np.diff(lengths["text"][order]) >= 0).all()
    assert sorted(order) == sorted(draw.indices(0).tolist())


def test_weights_of_one_change_no_batch():
    lengths = {"text": np.random.default_rng(0).integers(1, 50, 60)}
    plain, drawn = (LengthBucketSampler(lengths, shuffle=True, seed=2, batch_utterances=7, draw=draw) for draw in (None, StoreDraw([60], [1.0], 2)))
    assert list(plain) == list(drawn)


def test_fewer_drawn_than_processes_is_an_error():
    draw = StoreDraw([10], [0.1], seed=0)
    with pytest.raises(DataError, match=r"1 utterances cannot be dealt among 2 processes"):
        LengthBucketSampler({"text": np.arange(1, 11)}, shuffle=True, seed=0, batch_utterances=4, num_replicas=2, draw=draw)
