import dataclasses
import math

import numpy as np
import pytest

from multigrain.data.planted import (
    BINDINGS_FILE,
    PlantedConfig,
    allowed_steps,
    correlation_limits,
    expected_label_from_text,
    generate_bound_utterances,
    generate_utterances,
    noiseless_label,
    oracle_mean_absolute_error,
    planted_codes,
    read_bindings,
    write_planted_store,
)
from multigrain.data.planted_chain import link_codes
from multigrain.data.store import Store
from multigrain.errors import DataError, StoreError

SMALL = PlantedConfig(train_size=60, valid_size=20, test_size=20)
LONGER = {"num_keys": 6, "min_words": 5, "max_words": 12, "audio_steps_per_word": 3, "vision_steps_per_word": 4}


def pairs(config, split="test"):
    return list(generate_bound_utterances(config, split))


def same(first, second):
    return (
        first.id == second.id
        and first.label == second.label
        and first.words == second.words
        and all(np.array_equal(first.features[name], second.features[name]) for name in first.features)
    )


# The generator ----------------------------------------------------------------------------------------------------


def test_shapes_and_ranges_of_the_default_instance():
    for utterance, bindings in pairs(SMALL, "train"):
        num_words = len(utterance.words)
        assert 4 <= num_words <= 8
        assert {name: values.shape for name, values in utterance.features.items()} == {
            "text": (num_words, 24),
            "audio": (2 * num_words, 24),
            "vision": (3 * num_words, 24),
        }
        assert 1 <= len(bindings) <= 3
        assert len({binding.key for binding in bindings}) == len(bindings)
        assert utterance.text.split() == list(utterance.words)


def test_without_noise_features_are_exactly_the_codes_of_the_bindings():
    config = dataclasses.replace(SMALL, text_noise=0.0, audio_noise=0.0, vision_noise=0.0, filler_scale=0.0, label_noise=0.0)
    codes = planted_codes(config)
    for utterance, bindings in pairs(config):
        expected = {name: np.zeros_like(values) for name, values in utterance.features.items()}
        for binding in bindings:
            expected["text"][binding.word] += codes.keys["text"][binding.key] + binding.polarity * codes.polarity
            if binding.audio_step is not None:
                expected["audio"][binding.audio_step] += codes.keys["audio"][binding.key] + codes.stress
            if binding.vision_step is not None:
                expected["vision"][binding.vision_step] += codes.keys["vision"][binding.key] + codes.reversal
            assert utterance.words[binding.word] == f"{'good' if binding.polarity == 1 else 'bad'}·k{binding.key}"
        for name, values in utterance.features.items():
            np.testing.assert_array_equal(values, expected[name])
        total = sum(b.polarity * (2 if b.audio_step is not None else 1) * (-1 if b.vision_step is not None else 1) for b in bindings)
        assert utterance.label == pytest.approx(3 * math.tanh(total / 3), abs=1e-12)


def test_same_seed_same_data_other_seed_other_data():
    first, again, other = (generate_utterances(config, "valid") for config in (SMALL, SMALL, dataclasses.replace(SMALL, seed=1)))
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not any(same(a, b) for a, b in zip(first, other, strict=True))


def test_a_split_never_depends_on_the_size_of_another_and_larger_ones_begin_with_smaller_ones():
    larger = dataclasses.replace(SMALL, train_size=700)
    for split in ("valid", "test"):
        assert all(same(a, b) for a, b in zip(generate_utterances(SMALL, split), generate_utterances(larger, split), strict=True))
    train = generate_utterances(larger, "train")
    assert len(train) == 700
    assert all(same(a, b) for a, b in zip(generate_utterances(SMALL, "train"), train, strict=False))
    firsts = [generate_utterances(SMALL, split)[0].features["audio"][:8] for split in ("train", "valid", "test")]
    assert all(np.abs(np.corrcoef(firsts[a].ravel(), firsts[b].ravel())[0, 1]) < 0.5 for a, b in ((0, 1), (0, 2), (1, 2)))


def test_rates_of_events_and_polarity():
    config = PlantedConfig(test_size=1000, stress_probability=0.2, contradiction_probability=0.7)
    bindings = [binding for _, several in pairs(config) for binding in several]
    assert np.mean([b.audio_step is not None for b in bindings]) == pytest.approx(0.2, abs=0.03)
    assert np.mean([b.vision_step is not None for b in bindings]) == pytest.approx(0.7, abs=0.03)
    assert np.mean([b.polarity for b in bindings]) == pytest.approx(0.0, abs=0.06)


def test_maximum_lag_bounds_the_distance_to_the_own_span():
    config = dataclasses.replace(SMALL, maximum_lag=2, test_size=200, **LONGER)
    distances = []
    for utterance, bindings in pairs(config):
        for binding in bindings:
            if binding.audio_step is not None:
                first, last = binding.word * 3, binding.word * 3 + 2
                distances.append(max(first - binding.audio_step, binding.audio_step - last, 0))
                assert binding.audio_step in allowed_steps(config, "audio", binding.word, len(utterance.words))
    assert max(distances) == 2


def test_aligned_data_has_one_step_a_word():
    for utterance, _ in pairs(dataclasses.replace(SMALL, aligned=True, maximum_lag=0)):
        assert {len(values) for values in utterance.features.values()} == {len(utterance.words)}


def test_distractors_carry_keys_that_no_word_has():
    quiet = {"text_noise": 0.0, "audio_noise": 0.0, "vision_noise": 0.0}
    config = dataclasses.replace(SMALL, **quiet, audio_distractors=2.0, stress_probability=0.0, test_size=300)
    codes, counts = planted_codes(config), []
    for utterance, bindings in pairs(config):
        heard = utterance.features["audio"].sum(axis=0)
        number = heard @ codes.stress / 9
        counts.append(number)
        assert all(heard @ codes.keys["audio"][binding.key] == 0 for binding in bindings)
        assert utterance.features["vision"].any() == any(b.vision_step is not None for b in bindings)
    assert np.mean(counts) == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0])
def test_the_angle_between_the_modalities_codes(angle):
    codes = planted_codes(PlantedConfig(code_angle_degrees=angle))
    for modality in ("audio", "vision"):
        cosines = codes.keys["text"] @ codes.keys[modality].T / 9
        np.testing.assert_allclose(cosines, np.eye(4) * math.cos(math.radians(angle)), atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(codes.keys[modality], axis=1), 3.0, rtol=1e-6)
        assert np.abs(codes.keys[modality] @ np.stack([codes.polarity, codes.stress, codes.reversal]).T).max() == 0
    assert not (codes.fillers @ np.concatenate([*codes.keys.values(), codes.polarity[None]]).T).any()


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"width": 6}, "width is 6, but 4 keys and the codes .* need 7 orthogonal axes. Set width to at least 7"),
        ({"code_angle_degrees": 45.0, "width": 14}, "4 keys in three subspaces .* at least 15"),
        ({"num_keys": 2}, "num_keys is 2, but 3 polar words with distinct keys need 3"),
        ({"num_keys": 3, "audio_distractors": 0.5}, "a distractor with a key of its own need 4"),
        ({"min_words": 2}, "max_polar_words is 3, but the shortest utterance has 2 words"),
        ({"min_words": 13}, "13..8 words"),
        ({"stress_probability": 1.5}, "stress_probability is 1.5; expected a number that is between 0 and 1"),
        ({"audio_noise": -0.1}, "audio_noise is -0.1; expected a number that is at least 0"),
        ({"label_noise": math.nan}, "label_noise is nan"),
        ({"maximum_lag": -1}, "maximum_lag is -1"),
        ({"train_size": 0}, "train_size is 0; expected a number that is at least 1"),
    ],
)
def test_impossible_dials_are_refused(dials, message):
    with pytest.raises(DataError, match=message):
        PlantedConfig(**dials)


def test_unknown_split_is_refused():
    with pytest.raises(DataError, match="there is no split 'dev'"):
        generate_utterances(SMALL, "dev")


# The limits -------------------------------------------------------------------------------------------------------


def correlation(first, second):
    return float(np.corrcoef(first, second)[0, 1])


def test_limits_of_one_polar_word_by_hand():
    config = PlantedConfig(max_polar_words=1, label_noise=0.0)
    limits = correlation_limits(config)
    one, two = 3 * math.tanh(1 / 3), 3 * math.tanh(2 / 3)
    total = 0.6 * one**2 + 0.4 * two**2
    assert limits["oracle"] == pytest.approx(1.0)
    assert limits["pooled"] == pytest.approx(1.0)  # a single polar word leaves nothing to bind
    assert limits["text"] == pytest.approx(0.2 * (0.6 * one + 0.4 * two) / math.sqrt(total))
    assert limits["text_audio"] == pytest.approx(0.2)
    assert limits["text_vision"] == pytest.approx((0.6 * one + 0.4 * two) / math.sqrt(total))


def test_limits_agree_with_the_best_predictions_on_many_utterances():
    config = PlantedConfig(test_size=4000)
    labels, oracle, text, pooled = [], [], [], []
    groups: dict[tuple, list[float]] = {}
    for utterance, bindings in pairs(config):
        labels.append(utterance.label)
        oracle.append(noiseless_label(bindings))
        text.append(expected_label_from_text(config, tuple(b.polarity for b in bindings)))
        events = sorted((b.audio_step is not None, b.vision_step is not None) for b in bindings)
        pooled.append((tuple(events), sum(b.polarity for b in bindings)))
        groups.setdefault(pooled[-1], []).append(oracle[-1])
    limits = correlation_limits(config)
    assert correlation(oracle, labels) == pytest.approx(limits["oracle"], abs=0.002)
    assert correlation(text, labels) == pytest.approx(limits["text"], abs=0.04)
    assert correlation([np.mean(groups[key]) for key in pooled], labels) == pytest.approx(limits["pooled"], abs=0.03)
    assert np.abs(np.subtract(oracle, labels)).mean() == pytest.approx(oracle_mean_absolute_error(config), abs=0.005)


def test_the_order_of_the_limits():
    limits = correlation_limits(PlantedConfig())
    assert limits["audio"] == limits["vision"] == limits["audio_vision"] == 0.0
    assert limits["text"] < limits["text_audio"] < limits["same_place"] < limits["pooled"] < limits["text_vision"] < limits["oracle"]
    aligned = correlation_limits(PlantedConfig(aligned=True, maximum_lag=0))
    assert aligned["same_place"] == pytest.approx(aligned["oracle"])
    assert correlation_limits(PlantedConfig(max_polar_words=4))["pooled"] < limits["pooled"]


def test_ridge_on_pooled_features_is_far_from_the_oracle():
    config = PlantedConfig(train_size=1500, test_size=500)

    def design(split):
        utterances = generate_utterances(config, split)
        pooled = np.stack([np.concatenate([u.features[name].mean(axis=0) for name in ("text", "audio", "vision")]) for u in utterances])
        return np.column_stack([pooled, np.ones(len(pooled))]), np.array([u.label for u in utterances])

    inputs, labels = design("train")
    weights = np.linalg.solve(inputs.T @ inputs + np.eye(inputs.shape[1]), inputs.T @ labels)
    held_out, actual = design("test")
    assert correlation(held_out @ weights, actual) < 0.35
    text_only = inputs[:, :24]
    weights = np.linalg.solve(text_only.T @ text_only + np.eye(24), text_only.T @ labels)
    assert correlation(held_out[:, :24] @ weights, actual) < correlation_limits(config)["text"] + 0.12  # 500 utterances: standard error 0.045


# The store --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted_store(tmp_path_factory):
    return write_planted_store(tmp_path_factory.mktemp("planted") / "planted.store", SMALL)


def test_store_holds_the_generated_utterances_and_their_bindings(planted_store):
    store = Store.open(planted_store)
    assert {name: len(split) for name, split in store.splits.items()} == {"train": 60, "valid": 20, "test": 20}
    stored = read_bindings(planted_store)
    for index, (utterance, bindings) in enumerate(pairs(SMALL)):
        read = store.split("test").utterance(index)
        assert read.words == utterance.words
        assert read.label == pytest.approx(utterance.label, abs=1e-6)
        np.testing.assert_array_equal(read.features["vision"], utterance.features["vision"])
        assert stored[utterance.id] == list(bindings)


def test_manifest_holds_the_dials_the_oracle_and_the_limits(planted_store):
    facts = Store.open(planted_store).manifest["extra"]["planted"]
    assert PlantedConfig(**facts["config"]) == SMALL
    labels = np.array([u.label for u, _ in pairs(SMALL)])
    oracle = np.array([noiseless_label(bindings) for _, bindings in pairs(SMALL)])
    assert facts["oracle"]["test"]["mae"] == pytest.approx(np.abs(labels - oracle).mean(), abs=1e-9)
    assert facts["oracle"]["test"]["correlation"] == pytest.approx(correlation(labels, oracle), abs=1e-9)
    assert "accuracy_7" in facts["oracle"]["valid"]
    assert facts["limits"] == correlation_limits(SMALL)


def test_an_existing_store_is_left_alone(planted_store):
    with pytest.raises(StoreError, match="already a store"):
        write_planted_store(planted_store, SMALL)


def test_bindings_of_a_store_that_lost_them(tmp_path):
    path = write_planted_store(tmp_path / "lost.store", dataclasses.replace(SMALL, train_size=5, valid_size=2, test_size=2))
    lines = (path / BINDINGS_FILE).read_text(encoding="utf-8").splitlines(keepends=True)
    (path / BINDINGS_FILE).write_text("".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(StoreError, match="bindings for 8 utterances, but the store holds 9"):
        read_bindings(path)
    (path / BINDINGS_FILE).write_text("not json\n", encoding="utf-8")
    with pytest.raises(StoreError, match="line 1: not a planted utterance's bindings"):
        read_bindings(path)
    (path / BINDINGS_FILE).unlink()
    with pytest.raises(StoreError, match="is missing"):
        read_bindings(path)


# Chains -----------------------------------------------------------------------------------------------------------

CHAIN = PlantedConfig(train_size=60, valid_size=20, test_size=40, num_keys=4, max_polar_words=2, min_words=6, text_noise=0.0, vision_noise=0.0)


@pytest.mark.parametrize("length", [2, 3, 4])
def test_a_chain_can_be_followed_link_by_link_to_the_reversal(length):
    """Whoever starts at the polar word and looks for the code that the last link carried, in vision and text by turns, finds the label."""
    config = dataclasses.replace(CHAIN, chain_length=length, filler_scale=0.0, label_noise=0.0)
    codes, links = planted_codes(config), link_codes(config)
    seen = set()
    for utterance, bindings in pairs(config):
        total = 0
        for binding in bindings:
            code, place = codes.keys["vision"][binding.key], 0
            while True:
                steps = utterance.features["vision" if place % 2 == 0 else "text"]
                (found,) = [step for step in range(len(steps)) if steps[step] @ code > 0.5 * code @ code and (place % 2 == 0 or step != binding.word)]
                assert found == (binding.vision_step, *binding.chain)[place]
                if place == length - 1:
                    break
                code, place = links[place][int((links[place] @ steps[found]).argmax())], place + 1
            is_reversed = bool(steps[found] @ codes.reversal > 0.5 * codes.reversal @ codes.reversal)
            assert binding.is_contradicted == is_reversed
            seen.add(is_reversed)
            total += binding.polarity * (2 if binding.audio_step is not None else 1) * (-1 if is_reversed else 1)
        assert utterance.label == pytest.approx(3 * math.tanh(total / 3), abs=1e-12)
    assert seen == {True, False}


def test_chains_of_an_utterance_share_no_step_and_no_code():
    for utterance, bindings in pairs(dataclasses.replace(CHAIN, chain_length=3)):
        assert len({binding.vision_step for binding in bindings} | {binding.chain[1] for binding in bindings}) == 2 * len(bindings)
        words = [binding.word for binding in bindings] + [binding.chain[0] for binding in bindings]
        assert len(set(words)) == 2 * len(bindings)
        assert len({utterance.words[binding.chain[0]] for binding in bindings}) == len(bindings)


def test_a_store_of_chains_reads_back_and_knows_its_limits(tmp_path):
    config = dataclasses.replace(CHAIN, chain_length=3)
    path = write_planted_store(tmp_path / "chain.store", config)
    assert set(correlation_limits(config)) == {"oracle", "text_vision", "pooled"}
    bindings = read_bindings(path)
    assert all(tuple(bindings[utterance.id]) == own for utterance, own in pairs(config))
    assert "chain3" in Store.open(path).features["text"].version


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"chain_length": 4, "min_words": 5}, "max_polar_words is 2 and 2 words of a chain for each.*Set min_words to at least 6"),
        ({"chain_length": 2, "vision_distractors": 1.0, "num_keys": 6}, "no vision_distractors and no maximum_lag"),
        ({"chain_length": 0}, "chain_length is 0; expected a number that is at least 1"),
        ({"chain_length": 9, "min_words": 10, "max_words": 12}, "Set width to at least 39"),
    ],
)
def test_chains_that_cannot_be_are_refused(dials, message):
    with pytest.raises(DataError, match=message):
        dataclasses.replace(CHAIN, **dials)
