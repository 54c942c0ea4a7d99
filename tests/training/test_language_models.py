"""Training, resuming, evaluating and comparing with a language model in front."""

import json
import shutil

import numpy as np
import pytest
from small_run import changed

from multigrain.data.language_store import open_store
from multigrain.data.store import StoreWriter
from multigrain.errors import CheckpointError, DataError, TrainingError
from multigrain.evaluation.compare import compare
from multigrain.evaluation.evaluate import evaluate_run
from multigrain.evaluation.robustness import robustness_of_run
from multigrain.language.reader import TextReader
from multigrain.language.settings import TextEncoderSettings
from multigrain.models import load
from multigrain.schema import FeatureSpec, Task, Utterance
from multigrain.training.open_data import open_text_reader, with_languages
from multigrain.training.recipe_file import recipe_from_dict
from multigrain.training.train import train_run
from tiny_encoder import WORDS, write_tiny_encoder

MODES = ("fine_tuned", "lora", "last_layers", "frozen")


@pytest.fixture
def talks(tmp_path):
    """A store whose label is in its words: "good" and "bad" count; audio and vision are noise beside them."""
    generator = np.random.default_rng(0)
    features = {"text": FeatureSpec(dim=0, extractor="words"), "audio": FeatureSpec(dim=3), "vision": FeatureSpec(dim=2)}
    with StoreWriter(tmp_path / "talks.store", task=Task(), features=features) as writer:
        for split, size in (("train", 40), ("valid", 10), ("test", 10)):
            for number in range(size):
                words = generator.choice(WORDS, size=int(generator.integers(1, 9))).tolist()
                label = float(np.clip(words.count("good") + words.count("great") - words.count("bad") - words.count("awful"), -3, 3))
                arrays = {"text": np.zeros((len(words), 0)), "audio": generator.normal(size=(7, 3)), "vision": generator.normal(size=(5, 2))}
                kept = {name: array for name, array in arrays.items() if name == "text" or generator.random() < 0.8}
                identity = {"id": f"{split}{number}", "split": split, "group": f"{split}-{number // 3}"}
                writer.add(Utterance(**identity, features=kept, label=label, words=tuple(words), text=" ".join(words)))
        return writer.finish()


@pytest.fixture
def encoder(tmp_path):
    """A tiny language model of this test's own, with dropout."""
    return write_tiny_encoder(tmp_path / "encoder", dropout=0.1)


@pytest.fixture
def recipe(talks, encoder):
    return recipe_from_dict(
        {
            "name": "small",
            "data": {"store": str(talks), "modalities": ["text"]},
            "text_encoder": {"name": str(encoder), "max_tokens": 16, "learning_rate": 0.01, "layer_decay": 0.9},
            "model": {"name": "mmin", "width": 4, "num_heads": 2, "num_layers": 1},
            "training": {"epochs": 3, "batch_utterances": 8, "num_threads": 1, "accelerator": "cpu", "optimizer": "adamw", "weight_decay": 0.1},
        }
    )


def train(recipe, folder, **options):
    return train_run(recipe, run_folder=folder, seed=3, show_progress=False, **options)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_trains_resumes_to_the_same_numbers_and_can_be_evaluated(recipe, talks, tmp_path, mode):
    recipe = changed(recipe, text_encoder={"mode": mode}, training={"modality_dropout": {}, "warmup_steps": 4})
    results = train(recipe, tmp_path / "whole")
    assert results["text_encoder"]["mode"] == mode
    assert (results["trained_parameters"] < results["parameters"]) == (mode in ("lora", "last_layers"))
    with pytest.MonkeyPatch.context() as patch:  # stopped after the first epoch
        patch.setattr("multigrain.training.progress.Progress.finish_epoch", stopping_after(1))
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "resumed")
    again = train(recipe, tmp_path / "resumed", resume=True)
    assert again["splits"] == results["splits"]
    assert evaluate_run(tmp_path / "whole", talks) == pytest.approx(results["splits"]["test"], abs=1e-5)
    one, other = (load(str(tmp_path / name)).state_dict() for name in ("whole", "resumed"))
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)


def stopping_after(epochs):
    from multigrain.training.progress import Progress

    finish = Progress.finish_epoch

    def finish_or_stop(self, *arguments):
        if self.epoch == epochs:
            raise KeyboardInterrupt
        return finish(self, *arguments)

    return finish_or_stop


def test_a_fine_tuned_model_learns(recipe, tmp_path):
    """The label is in the words: trained for long enough, training loss falls far below that of a constant."""
    settings = {"epochs": 25, "learning_rate": 0.01, "monitor": "valid_loss"}
    values = recipe.to_dict() | {"model": {"name": "pooled", "pooling": "mean"}}
    train(changed(recipe_from_dict(values), training=settings), tmp_path / "run")
    losses = [json.loads(line)["train_loss"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("frozen", "mult"),
        ("frozen", "mcmut"),
        ("frozen", "mmin"),
        ("fine_tuned", "mmin"),
        pytest.param("fine_tuned", "mult", marks=pytest.mark.slow),
        pytest.param("fine_tuned", "mcmut", marks=pytest.mark.slow),
    ],
)
def test_text_goes_together_with_audio_and_vision(recipe, tmp_path, name, mode):
    values = recipe.to_dict()
    own = {"num_blocks": 1, "layers_per_block": 2} if name == "mcmut" else {"num_layers": 1}
    values["model"] = {"name": name, "width": 8, "num_heads": 2, **own}
    values["data"] |= {"modalities": None, "normalise": True, "clip": 3.0}
    values["text_encoder"]["mode"] = mode
    values["training"] |= {"epochs": 1, "modality_dropout": {"text": 0.3, "audio": 0.3}}
    results = train(recipe_from_dict(values), tmp_path / "run")
    assert np.isfinite(results["splits"]["test"]["mae"])
    measured = robustness_of_run(tmp_path / "run")
    assert measured.complete.metrics == pytest.approx(results["splits"]["test"], abs=1e-5)
    assert {result.condition.modalities for result in measured.subsets} >= {("text",), ("audio", "vision")}


def test_text_alone_under_missing_words(recipe, tmp_path):
    """Cached states know their neighbours: a word that is missing must be missing from what the language model reads."""
    metrics = {}
    for mode in ("frozen", "last_layers"):  # the same untrained encoder, once from the cache
        settings = {"mode": mode, "num_trainable_layers": 1, "learning_rate": 1e-30}
        train(changed(recipe, text_encoder=settings, training={"epochs": 1, "weight_decay": 0.0}), tmp_path / mode)
        if mode == "last_layers":  # with the frozen run's other weights
            frozen, model = load(str(tmp_path / "frozen")), load(str(tmp_path / mode))
            model.load_state_dict({**model.state_dict(), **frozen.state_dict()})
            model.save_pretrained(tmp_path / mode / "checkpoints" / "best")
        metrics[mode] = [result.metrics for result in robustness_of_run(tmp_path / mode).missing_frames]
    assert len({values["mae"] for values in metrics["frozen"]}) > 3
    for cached, run in zip(metrics["frozen"], metrics["last_layers"], strict=True):
        assert cached == pytest.approx(run, abs=1e-4)


def test_recipes_with_and_without_training_of_the_language_model_are_compared(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for mode in ("fine_tuned", "frozen"):
        own = changed(recipe, text_encoder={"mode": mode}, training={"epochs": 1}).to_dict() | {"name": mode}
        (tmp_path / f"{mode}.yaml").write_text(recipe_from_dict(own).to_yaml())
        train_run(recipe_from_dict(own), run_folder=tmp_path / "runs" / mode / "seed-0", seed=0, show_progress=False)
    compared = compare(["fine_tuned.yaml", "frozen.yaml"], seeds=1, runs_root=tmp_path / "runs")
    assert [row.name for row in compared.rows] == ["fine_tuned", "frozen"]
    assert compared.failures == ()


def test_words_without_vectors_need_a_language_model(recipe, tmp_path):
    values = recipe.to_dict()
    del values["text_encoder"]
    with pytest.raises(DataError, match=r"is words without vectors, .*`text_encoder: \{name: minilm\}`"):
        train(recipe_from_dict(values), tmp_path / "run")


def test_a_language_model_that_nothing_reads_is_named_in_the_log(recipe, tmp_path, caplog):
    values = recipe.to_dict() | {"model": {"name": "unimodal", "modality": "audio", "width": 4, "num_heads": 2, "num_layers": 1}}
    values["data"]["modalities"] = None
    train(changed(recipe_from_dict(values), training={"epochs": 1}), tmp_path / "run")
    assert "text_encoder, which has no effect: the model unimodal reads audio" in caplog.text
    assert open_text_reader(changed(recipe, data={"modalities": ["audio"]})) is None
    assert "text_encoder, which has no effect: data.modalities leaves text out" in caplog.text


def test_resuming_and_evaluating_with_another_language_model_are_refused(recipe, talks, encoder, tmp_path):
    recipe = changed(recipe, text_encoder={"mode": "lora"}, training={"epochs": 1})
    train(recipe, tmp_path / "run")
    shutil.rmtree(encoder)
    write_tiny_encoder(encoder, seed=8)
    with pytest.raises(TrainingError, match=r"was started with the text encoder .*: it has changed"):
        train(recipe, tmp_path / "run", resume=True)
    with pytest.raises(CheckpointError, match="is another one"):
        evaluate_run(tmp_path / "run", talks)
    with pytest.raises(TrainingError, match=r"was started with text_encoder.lora_rank = 8, not 4"):
        train(changed(recipe, text_encoder={"lora_rank": 4}), tmp_path / "run", resume=True)
    before = write_tiny_encoder(tmp_path / "before", dropout=0.1)
    assert evaluate_run(tmp_path / "run", talks, text_encoder=str(before))


def test_frozen_training_never_loads_the_network_twice(recipe, tmp_path, monkeypatch):
    train(changed(recipe, text_encoder={"mode": "frozen"}), tmp_path / "first")

    def refuse(*_, **__):
        raise AssertionError("the states are cached")

    monkeypatch.setattr("multigrain.language.encoder._load_network", refuse)
    results = train(changed(recipe, text_encoder={"mode": "frozen"}), tmp_path / "second")
    assert results["splits"] == json.loads((tmp_path / "first" / "results.json").read_text())["splits"]
    model = load(str(tmp_path / "second"))
    assert model.text_encoder is not None
    with pytest.raises(AssertionError, match="cached"):
        model.predict(model.text_batch(["so it is"]))


def test_a_checkpoint_names_the_languages_of_the_training_transcripts(recipe, tmp_path, encoder):
    sentences = ("I watched the new film with my sister.", "It was so long and boring for all of us.", "Yes.")
    with StoreWriter(tmp_path / "english.store", task=Task(), features={"text": FeatureSpec(dim=0, extractor="words")}) as writer:
        for number, text in enumerate(sentences):
            words = tuple(text.split())
            kept = {"text": np.zeros((len(words), 0))}
            writer.add(Utterance(id=str(number), split="train", group=str(number), features=kept, label=0.0, words=words, text=text))
    reader = TextReader.from_settings(TextEncoderSettings(name=str(encoder), max_tokens=40))
    store = open_store(tmp_path / "english.store", reader)
    assert with_languages(reader, store).settings.languages == ("en",)
    named = TextReader.from_settings(TextEncoderSettings(name=str(encoder), max_tokens=40, languages=("de",)))
    assert with_languages(named, store) is named
    assert with_languages(reader, store).describe()["languages"] == ("en",)
