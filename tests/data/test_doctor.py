import json
import re
from pathlib import Path

import numpy as np
import pytest

from multigrain.data.doctor import Diagnosis, examine
from multigrain.data.doctor_scan import CHUNK_BYTES, scan_values
from multigrain.data.planted import PlantedConfig, write_planted_store
from multigrain.data.store import Store, StoreWriter
from multigrain.data.store_format import map_tensors
from multigrain.schema import FeatureSpec, Task, Utterance

SPECS = {"text": FeatureSpec(dim=6), "audio": FeatureSpec(dim=5)}
SIZES = {"train": 30, "valid": 12, "test": 12}


def utterances(seed=0):
    """A healthy data set, which each test spoils in its own way."""
    random = np.random.default_rng(seed)
    for split, size in SIZES.items():
        for index in range(size):
            steps = int(random.integers(3, 9))
            yield Utterance(
                id=f"{split}{index}",
                split=split,
                group=f"{split}-video{index // 4}",
                features={"text": random.standard_normal((steps, 6)), "audio": random.standard_normal((3 * steps, 5))},
                label=float(np.clip(random.normal(), -3, 3)),
            )


def diagnose(tmp_path, spoil=None, task=None, **settings) -> Diagnosis:
    path = tmp_path / "some.store"
    with StoreWriter(path, task=task or Task(), features=SPECS, **settings) as writer:
        for utterance in utterances():
            spoilt = utterance if spoil is None else spoil(utterance)
            if spoilt is not None:
                writer.add(spoilt)
    return examine(Store.open(path))


def messages(diagnosis, topic, level):
    found = [finding.message for finding in diagnosis.findings if finding.topic == topic]
    assert found, f"{topic} is not among {[finding.topic for finding in diagnosis.findings]}"
    assert {finding.level for finding in diagnosis.findings if finding.topic == topic} == {level}
    assert diagnosis.is_healthy == (level == "note")
    return " | ".join(found)


def test_a_healthy_store_has_no_findings(tmp_path):
    diagnosis = diagnose(tmp_path)
    assert diagnosis.findings == ()
    assert diagnosis.is_healthy
    assert diagnosis.to_text().endswith("Healthy: no problems, 0 notes.\n")


def test_counts_lengths_and_labels_are_those_of_the_data(tmp_path):
    diagnosis = diagnose(tmp_path)
    train = [utterance for utterance in utterances() if utterance.split == "train"]
    lengths = [len(utterance.features["audio"]) for utterance in train]
    audio = diagnosis.splits["train"].modalities["audio"]
    assert (diagnosis.splits["train"].utterances, diagnosis.splits["train"].groups) == (30, 8)
    assert (audio.present, audio.absent, audio.steps) == (30, 0, sum(lengths))
    assert audio.lengths["minimum"] == min(lengths)
    assert audio.lengths["maximum"] == max(lengths)
    assert audio.lengths["mean"] == pytest.approx(np.mean(lengths))
    assert audio.lengths["median"] == np.median(lengths)
    assert sum(audio.length_histogram) == 30
    labels = diagnosis.splits["train"].labels
    assert labels.mean == pytest.approx(np.mean([utterance.label for utterance in train]), abs=1e-6)
    assert sum(labels.histogram) == 30
    assert labels.edges[0] == pytest.approx(-3.25)


# Each fault -------------------------------------------------------------------------------------------------------


def test_group_in_two_splits(tmp_path):
    def spoil(utterance):
        utterance.group = "video9" if utterance.id in ("train1", "train2", "test3") else utterance.group
        return utterance

    text = messages(diagnose(tmp_path, spoil), "group_in_two_splits", "problem")
    assert "1 group (video or speaker) in two splits: both in 'train' (2 utterances) and in 'test' (1): video9" in text


def test_unknown_groups_are_no_leak(tmp_path):
    def spoil(utterance):
        utterance.group = ""
        return utterance

    diagnosis = diagnose(tmp_path, spoil)
    assert "train, valid, test have no group" in messages(diagnosis, "groups_unknown", "note")


def test_copies_across_splits_and_within_one(tmp_path):
    kept = {}

    def spoil(utterance):
        kept[utterance.id] = utterance.features
        source = {"test5": "train7", "train9": "train8"}.get(utterance.id)
        if source:
            utterance.features = kept[source]
        return utterance

    diagnosis = diagnose(tmp_path, spoil)
    assert "1 utterance of 'test' with the same features, value for value, as one of 'train': train7 = test5" in messages(
        diagnosis, "copies_across_splits", "problem"
    )
    assert "1 utterance within 'train' with the same features as another: train8 = train9" in diagnosis.to_text()


def test_a_copy_with_one_other_value_is_no_copy(tmp_path):
    kept = {}

    def spoil(utterance):
        kept[utterance.id] = utterance.features
        if utterance.id == "test5":
            utterance.features = {name: values.copy() for name, values in kept["train7"].items()}
            utterance.features["audio"][1, 2] += 1
        return utterance

    assert diagnose(tmp_path, spoil).is_healthy


@pytest.mark.parametrize(("label", "level"), [(3.2, "note"), (40.0, "problem")])
def test_label_out_of_range(tmp_path, label, level):
    def spoil(utterance):
        utterance.label = label if utterance.id == "train4" else utterance.label
        return utterance

    text = messages(diagnose(tmp_path, spoil), "label_out_of_range", level)
    assert f"1 of the 30 labels of 'train' outside the task's range -3..3, by at most {label - 3:.3g}; the first is {label:.4g} of train4" in text


def test_constant_labels(tmp_path):
    def spoil(utterance):
        utterance.label = 1.0 if utterance.split == "valid" else utterance.label
        return utterance

    assert "All 12 utterances of 'valid' have the same label: score (1)" in messages(diagnose(tmp_path, spoil), "label_constant", "problem")


def test_emotions_that_are_constant_or_not_binary(tmp_path):
    def spoil(utterance):
        number = int(re.sub(r"\D", "", utterance.id))
        utterance.label = np.array([number % 2, number % 3 == 0, 0.0, 1.0 if utterance.id != "test2" else 2.0])
        return utterance

    diagnosis = diagnose(tmp_path, spoil, task=Task(kind="emotions"))
    text = messages(diagnosis, "label_constant", "problem")
    assert "All 30 utterances of 'train' have the same label: sad (0), angry (1)" in text
    assert "1 utterance of 'test' with an emotion label that is neither 0 nor 1, the first test2 with [0.0, 0.0, 0.0, 2.0]" in diagnosis.to_text()
    assert diagnosis.splits["train"].labels.rates["neutral"] == 0.5
    assert "neutral" in diagnosis.to_html()


def test_missing_split_and_unlabelled_split(tmp_path):
    def spoil(utterance):
        if utterance.split == "valid":
            return None
        utterance.label = None if utterance.split == "test" else utterance.label
        return utterance

    diagnosis = diagnose(tmp_path, spoil)
    assert "There is no split 'valid'" in messages(diagnosis, "split_missing", "note")
    assert "The split 'test' has no labels" in messages(diagnosis, "unlabelled", "note")
    assert diagnosis.splits["test"].labels is None


def test_absent_modalities(tmp_path):
    def spoil(utterance):
        if utterance.split == "test" or utterance.id == "train3":
            del utterance.features["audio"]
        return utterance

    diagnosis = diagnose(tmp_path, spoil)
    assert "audio is absent from 1 of 30 in 'train'" in diagnosis.to_text()
    assert "No utterance of test has audio, though other splits have it" in messages(diagnosis, "modality_missing", "problem")
    assert diagnosis.splits["test"].modalities["audio"].absent == 12
    assert diagnosis.to_html()


def test_features_that_carry_nothing(tmp_path):
    def spoil(utterance):
        utterance.features["text"][:, 2] = 0.0
        utterance.features["text"][:, 4] = 7.0
        utterance.features["audio"][:] = 1.0
        return utterance

    diagnosis = diagnose(tmp_path, spoil)
    assert "1 of the 6 features of text always 0 in 'train': feature 2." in diagnosis.to_text()
    assert "1 of the 6 features of text always the same value in 'train': feature 4." in diagnosis.to_text()
    assert "All 5 features of audio in 'train' have the same value" in messages(diagnosis, "modality_constant", "problem")


def test_zero_steps_and_zero_utterances(tmp_path):
    def spoil(utterance):
        if utterance.id in ("train0", "train1"):
            utterance.features["audio"][:] = 0.0
        utterance.features["text"][0] = 0.0
        return utterance

    diagnosis = diagnose(tmp_path, spoil)
    assert "2 utterances of 'train' with audio that is 0 throughout, such as train0, train1" in messages(diagnosis, "utterance_all_zero", "note")
    assert re.search(r"30 of \d+ steps \(\d+%\) in text of 'train' hold nothing but zeros", messages(diagnosis, "zero_steps", "note"))


def test_outliers_and_stand_in_values(tmp_path):
    def spoil(utterance):
        if utterance.id == "train0":
            utterance.features["audio"][1, 3] = 1e6
        if utterance.split == "valid":
            utterance.features["audio"][2, 1] = -255.0
        return utterance

    text = messages(diagnose(tmp_path, spoil), "outliers", "note")
    assert re.search(r"1 feature of audio of 'train' with values more than 20 .* mean: 3 \(1e\+06, 2\d standard deviations\)", text)
    assert "12 values of audio of 'valid' exactly 255 or -255, as extractors write where they have nothing to say (feature 1)" in text


def test_another_scale_in_one_split(tmp_path):
    def spoil(utterance):
        if utterance.split == "test":
            utterance.features["audio"] *= 100
        return utterance

    assert "100% of the features of audio are on another scale in 'test' than in 'train'" in messages(
        diagnose(tmp_path, spoil), "scale_differs", "problem"
    )


def test_lengths_that_look_like_padding(tmp_path):
    def spoil(utterance):
        utterance.features["text"] = np.resize(utterance.features["text"], (50, 6)) + np.arange(50)[:, None] / 1000
        return utterance

    assert "All 30 text sequences of 'train' have 50 steps" in messages(diagnose(tmp_path, spoil), "length_constant", "note")


def test_nonfinite_values_and_labels_in_a_store_that_was_changed_by_hand(tmp_path):
    """The writer lets none in, so they are put into the files."""
    diagnose(tmp_path)
    path = tmp_path / "some.store"
    split = Store.open(path).split("test")
    place = int(split.starts("audio")[4]) + 2
    change(path / "test.safetensors", "audio/values", (place, 1), np.float32(np.inf))
    change(path / "test.safetensors", "labels", (6, 0), np.float32(np.nan))
    diagnosis = examine(Store.open(path))
    text = messages(diagnosis, "not_finite", "problem")
    assert "1 value of audio of 'test' NaN or infinite; the first is inf in utterance test4, step 2, feature 1." in text
    assert "1 label of 'test' NaN or infinite: test6." in messages(diagnosis, "label_not_finite", "problem")
    assert diagnosis.splits["test"].modalities["audio"].num_nonfinite == 1
    json.dumps(diagnosis.to_dict(), allow_nan=False)


def change(path: Path, tensor: str, place: tuple[int, ...], value: np.float32) -> None:
    mapped = map_tensors(path)[tensor]
    content = bytearray(path.read_bytes())
    original = mapped.tobytes()
    offset = content.find(original)
    assert offset > 0
    offset += int(np.ravel_multi_index(place, mapped.shape)) * 4
    content[offset : offset + 4] = value.tobytes()
    path.write_bytes(bytes(content))


def test_ids_that_occur_twice_in_a_store_that_was_changed_by_hand(tmp_path):
    diagnose(tmp_path)
    path = tmp_path / "some.store" / "test.utterances.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"test11"', '"test10"'), encoding="utf-8")
    diagnosis = examine(Store.open(tmp_path / "some.store")) if same_size(tmp_path) else None
    assert diagnosis is not None
    assert "1 id more than once: test10 (test, test)" in messages(diagnosis, "id_twice", "problem")


def same_size(tmp_path: Path) -> bool:
    manifest = json.loads((tmp_path / "some.store" / "manifest.json").read_text(encoding="utf-8"))
    expected = manifest["splits"]["test"]["files"]["test.utterances.jsonl"]["bytes"]
    return (tmp_path / "some.store" / "test.utterances.jsonl").stat().st_size == expected


# The scan ---------------------------------------------------------------------------------------------------------


def test_scan_over_several_chunks_agrees_with_numpy():
    random = np.random.default_rng(0)
    dim = 64
    values = (random.standard_normal((2 * CHUNK_BYTES // (4 * dim) + 17, dim)) * 3 + 1000).astype(np.float32)
    values[::1000] = 0.0
    values[-2, 5] = np.nan
    scan = scan_values(values)
    np.testing.assert_allclose(scan.mean, np.nanmean(values.astype(np.float64), axis=0), rtol=1e-9)
    np.testing.assert_allclose(scan.std, np.nanstd(values.astype(np.float64), axis=0), rtol=1e-6)
    np.testing.assert_array_equal(scan.minimum, np.nanmin(values, axis=0))
    np.testing.assert_array_equal(scan.maximum, np.nanmax(values, axis=0))
    assert scan.is_zero.sum() == len(range(0, len(values), 1000))
    assert scan.num_nonfinite == 1
    assert scan.first_nonfinite[:2] == (len(values) - 2, 5)


def test_scan_of_nothing_and_of_nothing_finite():
    empty = scan_values(np.zeros((0, 3), dtype=np.float32))
    assert np.isnan(empty.mean).all()
    assert empty.zero_features == empty.constant_features == ()
    broken = scan_values(np.full((4, 3), np.nan, dtype=np.float32))
    assert broken.num_nonfinite == 12
    assert np.isnan(broken.minimum).all()


# The reports ------------------------------------------------------------------------------------------------------


def test_planted_data_is_healthy_and_its_page_is_self_contained(tmp_path):
    path = write_planted_store(tmp_path / "planted.store", PlantedConfig(train_size=80, valid_size=20, test_size=20))
    diagnosis = examine(Store.open(path))
    assert diagnosis.is_healthy
    page = diagnosis.to_html()
    assert page.count("<svg") == 6  # three modalities and the labels of three splits
    links = re.findall(r'(?:src|href)="([^"#][^"]*)"', page)
    assert not links
    assert "<script" not in page
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    references = re.findall(r'(?:url\(|href=")#([^")]+)', page)
    assert set(references) <= set(identifiers)
    assert json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))["is_healthy"] is True


def test_names_are_escaped_in_the_page(tmp_path):
    def spoil(utterance):
        utterance.group = "<b>&video" if utterance.id in ("train1", "test3") else utterance.group
        return utterance

    page = diagnose(tmp_path, spoil).to_html()
    assert "<b>&video" not in page
    assert "&lt;b&gt;&amp;video" in page


def test_text_says_how_many_problems(tmp_path):
    def spoil(utterance):
        utterance.label = 0.0 if utterance.split == "test" else utterance.label
        return utterance

    text = diagnose(tmp_path, spoil).to_text()
    assert text.splitlines()[0] == "some.store: 54 utterances: 30 train (8 groups), 12 valid (3 groups), 12 test (3 groups)"
    assert text.endswith("Not healthy: 1 problem, 0 notes.\n")


def test_utterances_in_one_context_are_no_copies_of_each_other(tmp_path):
    random = np.random.default_rng(0)
    path = tmp_path / "context.store"
    with StoreWriter(path, task=Task(), features={"text": FeatureSpec(dim=6)}) as writer:
        for split in SIZES:
            for video in range(4):
                sequence = random.standard_normal((11 + video, 6))
                for step in range(len(sequence)):
                    name = f"{split}-{video}"
                    label = float(np.clip(random.normal(), -3, 3))
                    writer.add(
                        Utterance(
                            id=f"{name}-{step}",
                            split=split,
                            group=name,
                            features={"text": sequence},
                            label=label,
                            context_key=name,
                            readout=step,
                        )
                    )
    diagnosis = examine(Store.open(path))
    assert diagnosis.findings == ()
    assert diagnosis.splits["train"].modalities["text"].steps == 11 + 12 + 13 + 14
