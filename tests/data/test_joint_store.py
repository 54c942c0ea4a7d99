"""Several stores as one: the same interface, ids that stay apart, absent modalities, one task, pooled statistics."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from multigrain.data.joint_split import rows_by_store
from multigrain.data.joint_store import JointStore, StoreSource, pooled_features
from multigrain.data.label_map import LabelMap
from multigrain.data.store import Store, StoreWriter
from multigrain.errors import DataError, RecipeError, StoreError
from multigrain.schema import FeatureSpec, Task, Utterance

FIVE = Task(minimum=1.0, maximum=5.0)
TO_THREE = LabelMap(from_range=(1.0, 5.0), to_range=(-3.0, 3.0))


@pytest.fixture
def words(make_store) -> Store:
    return make_store(name="words.store", modalities=("text", "vision"), seed=1)


@pytest.fixture
def voices(make_store) -> Store:
    """Scores from 1 to 5; ids and groups are those of `words`."""
    return make_store(name="voices.store", modalities=("audio", "vision"), task=FIVE, counts={"train": 8, "test": 5}, seed=2)


def source(store: Store, **values) -> StoreSource:
    return StoreSource(path=str(store.path), **values)


@pytest.fixture
def joint(words, voices) -> JointStore:
    return JointStore.open([source(words), source(voices, labels=TO_THREE, weight=2.0)])


def test_a_union_has_the_modalities_and_splits_of_all(joint, words, voices):
    assert tuple(joint.features) == joint.split("train").modalities == ("text", "audio", "vision")
    assert {name: len(split) for name, split in joint.splits.items()} == {"train": 20, "valid": 6, "test": 11}
    assert joint.task == words.task
    assert str(joint) == f"{words.path}, {voices.path}"


def test_ids_and_groups_of_two_stores_stay_apart(joint, words):
    train = joint.split("train")
    assert train.ids[0] == "words/train_video_0_0"
    assert train.ids[12] == "voices/train_video_0_0"
    assert len(set(train.ids)) == 20
    assert len(set(train.groups)) == 4 + 3  # of the same names in both
    assert [record["id"] for record in train.records] == list(train.ids)
    assert train.records[12]["group"] == "voices/train_video_0"
    assert {name: rows.tolist() for name, rows in rows_by_store(train.ids[10:14], ["words", "voices", "other"]).items()} == {
        "words": [0, 1],
        "voices": [2, 3],
    }


def test_a_mixed_batch_holds_what_each_store_holds(joint, words, voices):
    batch = joint.split("train").batch([13, 2, 19, 0])
    own, other = words.split("train").batch([2, 0]), voices.split("train").batch([1, 7])
    assert batch.ids == ("voices/train_video_0_1", "words/train_video_0_2", "voices/train_video_2_1", "words/train_video_0_0")
    assert batch.groups[0] == "voices/train_video_0"
    for places, part, modalities in (([1, 3], own, ("text", "vision")), ([0, 2], other, ("audio", "vision"))):
        for name in modalities:
            merged, expected = batch.modalities[name], part.modalities[name]
            time = expected.features.shape[1]
            assert torch.equal(merged.features[places, :time], expected.features)
            assert torch.equal(merged.mask[places, :time], expected.mask)
            assert not merged.mask[places, time:].any()
            assert not merged.features[places, time:].any()
            assert torch.equal(merged.readout[places], expected.readout)
    assert batch.text.is_present.tolist() == [False, True, False, True]
    assert batch.audio.is_present.tolist() == [True, False, True, False]
    assert batch.audio.readout[[1, 3]].tolist() == [0, 0]
    assert torch.equal(batch.label[[1, 3]], own.label)
    torch.testing.assert_close(batch.label[[0, 2]], (other.label - 1) / 4 * 6 - 3)


def test_every_row_is_the_utterance_of_that_place(joint):
    train = joint.split("train")
    whole = train.batch(np.arange(20))
    assert whole.ids == tuple(utterance.id for utterance in (train[index] for index in range(20))) == train.ids
    for name, sequence in whole.modalities.items():
        assert sequence.lengths.tolist() == train.lengths(name).tolist()
        for index in range(20):
            features = train[index].features.get(name, np.zeros((0, sequence.features.shape[2]), np.float32))
            assert np.array_equal(sequence.features[index][sequence.mask[index]].numpy(), features)


def test_a_batch_of_one_store_still_has_the_other_modalities_as_absent(joint):
    batch = joint.split("train").batch([0, 1])
    assert batch.audio.features.shape[1] == 1
    assert not batch.audio.mask.any()
    assert list(joint.split("train").batch([0, 15], ("audio",)).modalities) == ["audio"]


def test_lengths_and_starts_are_those_of_the_stores(joint, words, voices):
    train = joint.split("train")
    assert train.lengths("text").tolist() == [*words.split("train").lengths("text"), *[0] * 8]
    assert train.num_steps("vision") == words.split("train").num_steps("vision") + voices.split("train").num_steps("vision")
    assert train.num_steps("audio") == voices.split("train").num_steps("audio")
    assert train.starts("vision")[12:].tolist() == (voices.split("train").starts("vision") + words.split("train").num_steps("vision")).tolist()
    assert train.starts("audio")[12:].tolist() == voices.split("train").starts("audio").tolist()


def test_an_utterance_is_the_stores_own_with_the_names_and_label_of_the_union(joint, voices):
    ours, theirs = joint.split("train")[13], voices.split("train")[1]
    assert (ours.id, ours.group) == (f"voices/{theirs.id}", f"voices/{theirs.group}")
    assert ours.label == pytest.approx((theirs.label - 1) / 4 * 6 - 3, abs=1e-5)
    assert np.array_equal(ours.features["audio"], theirs.features["audio"])
    with pytest.raises(IndexError, match="utterance 20 of split 'train', which has 20"):
        joint.split("train")[20]


def test_what_a_union_has_not_is_named(joint):
    with pytest.raises(DataError, match=r"takes at least one index between 0 and 19; got 3 to 20"):
        joint.split("train").batch([3, 20])
    with pytest.raises(DataError, match=r"None of the stores words, voices has the modality 'smell'; together they have text, audio, vision"):
        joint.split("train").lengths("smell")
    with pytest.raises(StoreError, match=r"None of the stores .*words.store, .*voices.store has utterances in a split 'dev'; together they have"):
        joint.split("dev")


def test_a_split_goes_to_worker_processes(joint):
    joint.split("train").batch([0, 15])
    state = pickle.dumps(joint.split("train"))
    assert len(state) < 10_000
    copy, own = pickle.loads(state).batch([13, 2]), joint.split("train").batch([13, 2])
    assert copy.ids == own.ids
    assert torch.equal(copy.vision.features, own.vision.features)
    assert torch.equal(copy.label, own.label)


def test_sequences_in_context_keep_their_readout(tmp_path):
    generator, sources = np.random.default_rng(0), []
    for name in ("a", "b"):
        with StoreWriter(tmp_path / f"{name}.store", task=Task(), features={"text": FeatureSpec(dim=2)}) as writer:
            video = generator.normal(size=(4, 2)).astype(np.float32)
            for place in range(4):
                readout = {"context_key": "video", "readout": place} if name == "b" else {}
                writer.add(Utterance(id=str(place), split="train", group="video", features={"text": video}, label=0.0, **readout))
        sources.append(StoreSource(path=str(tmp_path / f"{name}.store")))
    train = JointStore.open(sources).split("train")
    assert train.batch([5, 0, 7]).text.readout.tolist() == [1, 3, 3]
    assert train.starts("text").tolist() == [0, 4, 8, 12, 16, 16, 16, 16]
    assert train.num_steps("text") == 20
    assert train[5].context_key == "b/text:0"


def test_statistics_are_those_of_all_steps_together(words, voices):
    joint = JointStore.open([source(words), source(voices, labels=TO_THREE)])
    steps = np.concatenate([np.array(store.split("train").values("vision")) for store in (words, voices)]).astype(np.float64)
    np.testing.assert_allclose(joint.features["vision"].mean, steps.mean(axis=0), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(joint.features["vision"].std, steps.std(axis=0), rtol=1e-6)
    assert joint.features["text"] == words.features["text"]  # of one store alone: to the last digit


def test_statistics_count_each_step_as_often_as_an_epoch_shows_it(words, voices):
    joint = JointStore.open([source(words), source(voices, labels=TO_THREE, weight=3.0)])
    parts = [np.array(store.split("train").values("vision")) for store in (words, voices, voices, voices)]
    np.testing.assert_allclose(joint.features["vision"].std, np.concatenate(parts).astype(np.float64).std(axis=0), rtol=1e-6)


def test_statistics_of_a_store_that_has_none_do_not_count():
    known = FeatureSpec(dim=1, mean=(1.0,), std=(2.0,), rate_hz=50.0)
    assert pooled_features([FeatureSpec(dim=1), known], [5.0, 5.0]) == replace(known, rate_hz=None)
    assert pooled_features([known, FeatureSpec(dim=1, mean=(9.0,), std=(9.0,), rate_hz=50.0)], [5.0, 0.0]) == known
    assert pooled_features([known, known], [0.0, 0.0]) == known  # no step to train on: nothing is divided by


def test_the_fingerprint_covers_stores_names_and_maps_but_not_weights(make_store, words, voices):
    def fingerprint(*sources: StoreSource) -> str:
        return JointStore.open(list(sources)).fingerprint

    first = fingerprint(source(words), source(voices, labels=TO_THREE))
    assert fingerprint(source(words), source(voices, labels=TO_THREE, weight=2.0)) == first
    other = LabelMap(from_range=(1.0, 5.0), to_range=(3.0, -3.0))
    assert fingerprint(source(words), source(voices, labels=other)) != first
    assert fingerprint(source(words, name="speech"), source(voices, labels=TO_THREE)) != first
    changed = make_store(name="changed/words.store", modalities=("text", "vision"), seed=9)
    assert fingerprint(source(changed), source(voices, labels=TO_THREE)) != first


def test_labels_that_do_not_fit_are_named_with_what_to_write(make_store, words, voices):
    message = (
        r"The store 'voices' \(.*\) is labelled with scores in 1..5, but the task of this training is scores in -3..3. Say in data.stores how its "
        r"labels are to be read, as in {path: .*voices.store, labels: {from_range: \[1, 5\], to_range: \[-3, 3\]}}"
    )
    with pytest.raises(RecipeError, match=message):
        JointStore.open([source(words), source(voices)])
    emotions = make_store(name="emotions.store", task=Task(kind="emotions", emotions=("happy", "sad")))
    message = r"'emotions' .* is labelled with emotions happy, sad, .*labels: {values: {happy: 0, sad: 0}}} with a score in -3..3 for each"
    with pytest.raises(RecipeError, match=message):
        JointStore.open([source(words), source(emotions)])
    with pytest.raises(RecipeError, match=r"'words' .*but the task of this training is emotions happy, sad.*labels cannot be mapped to emotions"):
        JointStore.open([source(emotions), source(words)])
    wide = LabelMap(from_range=(1.0, 5.0), to_range=(-9.0, 3.0))
    with pytest.raises(RecipeError, match=r"'voices' .* are mapped to scores in -9..3, but .* is scores in -3..3.*`task: {minimum: -9, maximum: 3}`"):
        JointStore.open([source(words), source(voices, labels=wide)])
    with pytest.raises(RecipeError, match=r"Every store of data.stores maps its labels.*`task: {minimum: -3, maximum: 3}`"):
        JointStore.open([source(voices, labels=TO_THREE)])


def test_a_label_that_the_map_does_not_cover_is_named(words, voices):
    narrow = LabelMap(from_range=(2.0, 4.0), to_range=(-3.0, 3.0))
    message = (
        r"The labels of the store 'voices' are mapped with from_range \[2.0, 4.0\], which says nothing of \d of 8 labels in split 'train'; the "
        r"first is \[.*\] of 'train_video_\d_\d'. Widen the map"
    )
    with pytest.raises(DataError, match=message):
        JointStore.open([source(words), source(voices, labels=narrow)]).split("train").batch([0])


def test_features_that_differ_name_both_stores(make_store, tmp_path, words):
    with StoreWriter(tmp_path / "other.store", task=Task(), features={"vision": FeatureSpec(dim=5, extractor="openface")}) as writer:
        writer.add(Utterance(id="a", split="train", group="a", features={"vision": np.ones((2, 5), np.float32)}, label=0.0))
    other = Store.open(tmp_path / "other.store")
    message = r"The stores 'words' \(.*\) and 'other' \(.*\) hold different vision features: extractor 'random' against 'openface'. One model cannot"
    with pytest.raises(StoreError, match=message):
        JointStore.open([source(words), source(other)])
    JointStore([source(words), source(other)], [words, other], Task(), ["text"])  # not looked at


def test_two_stores_of_one_name_are_an_error(make_store, words, tmp_path):
    twin = make_store(name="elsewhere/words.store")
    with pytest.raises(RecipeError, match=r"data.stores names two stores 'words': .*words.store and .*elsewhere/words.store. .*name: other"):
        JointStore.open([source(words), source(twin)])


def test_a_source_that_is_none_is_named():
    for weight in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(RecipeError, match=r"weight is .*; expected a positive number, such as 2.0. To do without the store, leave it out"):
            StoreSource(path="a.store", weight=weight)
    with pytest.raises(RecipeError, match=r"name is 'a/b'; expected one without '/'"):
        StoreSource(path="a.store", name="a/b")
    assert StoreSource(path="data/mosi.store").name == "mosi"


def unlabelled(path: Path, splits: tuple[str, ...], labelled: tuple[str, ...]) -> Store:
    with StoreWriter(path, task=Task(), features={"text": FeatureSpec(dim=6, extractor="random")}) as writer:
        for split in splits:
            for number in range(3):
                features = {"text": np.full((2, 6), number, np.float32)}
                label = float(number) if split in labelled else None
                writer.add(Utterance(id=f"{split}{number}", split=split, group=f"{split}{number}", features=features, label=label))
    return Store.open(path)


def test_training_needs_utterances_and_labels_of_every_store(make_store, words, tmp_path):
    only_test = make_store(name="late.store", modalities=("text",), counts={"test": 3})
    with pytest.raises(StoreError, match=r"The store 'late' \(.*\) has no utterances in its split 'train', so there is nothing to learn from it"):
        JointStore.open([source(words), source(only_test)])
    silent = unlabelled(tmp_path / "silent.store", ("train", "valid"), ("train",))
    with pytest.raises(StoreError, match=r"The split 'valid' of the store 'silent' \(.*\) has no labels; training needs labelled ones"):
        JointStore.open([source(words), source(silent)])


def test_a_test_split_without_labels_is_left_out_beside_one_with(words, tmp_path, caplog):
    silent = unlabelled(tmp_path / "silent.store", ("train", "test"), ("train",))
    with caplog.at_level("WARNING"):
        assert list(JointStore.open([source(words), source(silent)]).split("test").parts) == ["words"]
    assert "The test split of the store silent has no labels and is left out" in caplog.text
    alone = JointStore.open([source(silent)]).split("test")
    assert alone.labels is None
    assert alone.batch([0]).label is None
