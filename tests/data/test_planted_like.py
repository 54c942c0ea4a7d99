"""Planted stores in the shape of MOSI, MOSEI and IEMOCAP."""

from pathlib import Path

import numpy as np
import pytest

from multigrain.cli import main
from multigrain.data.planted import read_bindings
from multigrain.data.planted_generator import noiseless_label
from multigrain.data.planted_like import FILLERS, OPPOSITES, SHAPES, LikeConfig, emotions_of, generate_like, like_world, write_like_store
from multigrain.data.store import Store
from multigrain.errors import DataError
from multigrain.schema import MODALITIES

SIZES = {"train_size": 40, "valid_size": 20, "test_size": 20}


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("like", list(SHAPES))
def test_a_store_has_the_data_sets_widths_lengths_and_task(like: str, aligned: bool, tmp_path: Path):
    store = Store.open(write_like_store(tmp_path / "x.store", LikeConfig(like=like, aligned=aligned, length_share=0.4, **SIZES)))
    shape = SHAPES[like]
    assert {name: spec.dim for name, spec in store.features.items()} == shape.widths
    assert store.task == shape.task
    split = store.split("train")
    words = split.lengths("text")
    assert words.min() >= 3
    assert words.max() <= 0.4 * shape.longest
    rates = {"audio": 1 if aligned else shape.audio_steps_per_word, "vision": 1 if aligned else shape.vision_steps_per_word}
    for name, rate in rates.items():
        assert (split.lengths(name) == words * rate).all()
    labels = split.labels.numpy()
    if like == "iemocap":
        assert (labels.sum(axis=1) == 1).all()
        assert (labels.sum(axis=0) > 0).all(), "every emotion occurs"
    else:
        assert abs(labels).max() <= 3
        assert store.manifest["extra"]["planted"]["oracle"]["test"]["correlation"] > 0.97


def test_the_longest_utterance_is_as_long_as_the_published_files_at_most():
    published = {"mosi": (50, 375, 500), "mosei": (50, 500, 500), "iemocap": (20, 400, 500)}
    for like, (text, audio, vision) in published.items():
        planted = LikeConfig(like=like, length_share=1.0).planted
        assert planted.max_words == text
        assert audio * 0.9 <= text * planted.audio_steps_per_word <= audio
        assert text * planted.vision_steps_per_word == vision


def test_transcripts_are_words_of_english_that_agree_with_the_label_and_the_vectors():
    config = LikeConfig(like="mosei", **SIZES)
    world, known = like_world(config), {*FILLERS, *(word for pair in OPPOSITES for word in pair)}
    vectors: dict[str, list[np.ndarray]] = {}
    for utterance, bindings in generate_like(config, "train"):
        assert utterance.text.split() == list(utterance.words)
        assert set(utterance.words) <= known
        for binding in bindings:
            assert utterance.words[binding.word] == OPPOSITES[binding.key][0 if binding.polarity > 0 else 1]
        assert abs(utterance.label - noiseless_label(bindings)) < 1
        for word, vector in zip(utterance.words, utterance.features["text"], strict=True):
            vectors.setdefault(word, []).append(vector)
    means = {word: np.mean(found, axis=0) for word, found in vectors.items() if len(found) > 4}
    for word, found in vectors.items():
        if word in means:  # a step is nearest to its own word's vector
            nearest = [min(means, key=lambda other: float(np.linalg.norm(means[other] - vector))) for vector in found]
            assert np.mean([name == word for name in nearest]) > 0.95
    for turn in world.turns.values():
        np.testing.assert_allclose(turn @ turn.T, np.eye(len(turn)), atol=1e-5)


def test_emotions_follow_polarity_and_stress():
    names = ("neutral", "happy", "sad", "angry")
    found = {}
    for _, bindings in generate_like(LikeConfig(like="iemocap", **SIZES), "train"):
        emotion = names[int(emotions_of(bindings).argmax())]
        found.setdefault(emotion, bindings)
        score, is_stressed = noiseless_label(bindings), any(binding.audio_step is not None for binding in bindings)
        assert {"happy": score > 0.5, "neutral": abs(score) <= 0.5, "sad": score < -0.5 and not is_stressed, "angry": score < -0.5 and is_stressed}[
            emotion
        ]
    assert set(found) == set(names)


def test_the_same_seed_gives_the_same_store_and_its_bindings_are_read(tmp_path: Path):
    first, again, other = (
        write_like_store(tmp_path / f"{number}.store", LikeConfig(like="mosi", seed=seed, **SIZES)) for number, seed in enumerate((1, 1, 2))
    )
    assert Store.open(first).fingerprint == Store.open(again).fingerprint != Store.open(other).fingerprint
    assert len(read_bindings(first)) == 80
    assert set(Store.open(first).features) == set(MODALITIES)


def test_the_command_plants_and_names_what_it_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "planted", "m.store", "--like", "iemocap", "--aligned", "--train-size", "8", "--test-size=5"]) == 0
    assert "8 train, 50 valid, 5 test utterances; features text 300, audio 74, vision 35" in capsys.readouterr().out
    assert main(["data", "planted", "--like", "mosi", "--dials"]) == 0
    assert "--length-share 0.2" in capsys.readouterr().out
    for words, complaint in (
        (["n.store", "--like", "mosie"], "--like mosie: expected one of mosi, mosei, iemocap."),
        (["n.store", "--like", "mosi", "--num-keys", "3"], "has no dial --num-keys."),
        (["n.store", "--like", "mosi", "--length-share", "0"], "length_share is 0.0; expected a share above 0"),
        (["n.store", "--like", "mosi", "--train-size", "0"], "train_size is 0; expected a number that is at least 1"),
    ):
        assert main(["data", "planted", *words]) == 2
        assert complaint in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "n.store").exists()


def test_a_share_beyond_the_published_lengths_is_refused():
    with pytest.raises(DataError, match=r"like mosei: length_share is 1.5; expected a share above 0, and at most 1"):
        LikeConfig(like="mosei", length_share=1.5)
