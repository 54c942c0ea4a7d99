import torch
from small_run import write_small_store

from multigrain.data.batching import LengthBucketSampler
from multigrain.data.store import Store
from multigrain.training.epoch_batches import EpochBatches


def parts(split, num_replicas, rank, epoch=0, num_workers=0):
    sampler = LengthBucketSampler({"text": split.lengths("text")}, batch_utterances=4, shuffle=True, seed=3)
    sampler.set_epoch(epoch)
    return list(EpochBatches(split, sampler, modalities=["text"], num_replicas=num_replicas, rank=rank, num_workers=num_workers))


def test_processes_share_one_epoch_without_loss_or_repetition(tmp_path):
    split = Store.open(write_small_store(tmp_path / "a.store", sizes=(25, 3, 3))).split("train")  # 25 = 6 x 4 + 1
    alone = parts(split, 1, 0)
    shares = [parts(split, 3, rank) for rank in range(3)]
    assert {len(share) for share in shares} == {len(alone)}
    for number, whole in enumerate(alone):
        counted = [share[number].batch.ids[: share[number].utterances] for share in shares]
        assert sorted(name for ids in counted for name in ids) == sorted(whole.batch.ids)
        assert sum(share[number].weight for share in shares) == torch.tensor(3.0)
        assert all(share[number].batch.size >= 1 for share in shares)
    seen = [name for share in shares for part in share for name in part.batch.ids[: part.utterances]]
    assert sorted(seen) == sorted(split.ids)


def test_weights_make_the_mean_over_processes_the_mean_of_the_batch(tmp_path):
    split = Store.open(write_small_store(tmp_path / "a.store", sizes=(7, 3, 3))).split("train")
    alone, first, second = parts(split, 1, 0), parts(split, 2, 0), parts(split, 2, 1)
    for whole, *shares in zip(alone, first, second, strict=True):
        together = sum(share.weight * share.batch.label.mean() for share in shares) / 2
        torch.testing.assert_close(together, whole.batch.label.mean())


def test_epochs_differ_and_repeat(tmp_path):
    split = Store.open(write_small_store(tmp_path / "a.store")).split("train")
    ids = [[part.batch.ids for part in parts(split, 1, 0, epoch)] for epoch in (0, 1, 0)]
    assert ids[0] == ids[2] != ids[1]


def test_workers_give_the_same_batches(tmp_path):
    split = Store.open(write_small_store(tmp_path / "a.store")).split("train")
    assert [part.batch.ids for part in parts(split, 1, 0)] == [part.batch.ids for part in parts(split, 1, 0, num_workers=1)]
