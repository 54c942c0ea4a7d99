"""The section text_encoder of a recipe."""

import logging

import pytest

from multigrain.errors import RecipeError
from multigrain.language.settings import TextEncoderSettings
from multigrain.training.recipe_file import recipe_from_dict


def recipe(**text_encoder):
    return recipe_from_dict({"data": {"store": "a.store"}, "model": {"name": "mmin"}, "text_encoder": text_encoder})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"'text_encoder.name' is missing. Write `text_encoder: \{name: minilm\}`"),
        ({"name": " "}, "text_encoder.name is ' '; expected minilm, a hub id"),
        ({"name": "minilm", "mod": "lora"}, r"unknown key 'text_encoder.mod'. Did you mean 'text_encoder.mode'"),
        ({"name": "minilm", "mode": "tuned"}, "text_encoder.mode is 'tuned'; expected one of fine_tuned, lora, last_layers, frozen"),
        ({"name": "minilm", "pooling": "max"}, "text_encoder.pooling is 'max'; expected one of first, mean or null"),
        ({"name": "minilm", "max_tokens": 2}, "text_encoder.max_tokens is 2; expected 3 or more"),
        ({"name": "minilm", "learning_rate": 0}, "text_encoder.learning_rate is 0.0; expected a positive number"),
        ({"name": "minilm", "layer_decay": 1.5}, "text_encoder.layer_decay is 1.5; expected a number above 0, and at most 1"),
        ({"name": "minilm", "num_trainable_layers": 0}, "text_encoder.num_trainable_layers is 0; expected 1 or more"),
        ({"name": "minilm", "lora_rank": 0}, "text_encoder.lora_rank is 0; expected 1 or more"),
        ({"name": "minilm", "lora_dropout": 1.0}, "text_encoder.lora_dropout is 1.0; expected a rate"),
        ({"name": "minilm", "lora_targets": []}, "text_encoder.lora_targets is"),
    ],
)
def test_what_is_wrong_is_named(values, message):
    with pytest.raises(RecipeError, match=message):
        recipe(**values)


def test_a_recipe_survives_its_own_yaml_and_one_without_is_as_it_was(tmp_path):
    made = recipe(name="minilm", mode="lora", lora_targets=["query"], cache=str(tmp_path))
    assert recipe_from_dict(made.to_dict()) == made
    assert "cache" not in made.decisive()["text_encoder"]
    plain = recipe_from_dict({"data": {"store": "a.store"}, "model": {"name": "mmin"}})
    assert "text_encoder" not in plain.to_dict()
    assert "text_encoder" not in plain.decisive()


def test_a_folder_becomes_absolute_and_a_hub_id_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "minilm").mkdir()
    assert recipe(name="own").text_encoder.name == str(tmp_path / "own")
    assert recipe(name="minilm").text_encoder.name == "minilm"
    assert recipe(name="bert-base-uncased").text_encoder.name == "bert-base-uncased"


@pytest.mark.parametrize(
    ("changes", "unused"),
    [
        ({"mode": "frozen", "learning_rate": 1e-3, "layer_decay": 0.9}, "text_encoder.learning_rate, text_encoder.layer_decay"),
        ({"mode": "fine_tuned", "lora_rank": 4, "cache": "x"}, "text_encoder.lora_rank, text_encoder.cache"),
        ({"mode": "lora", "num_trainable_layers": 1}, "text_encoder.num_trainable_layers"),
        ({"mode": "lora", "lora_rank": 4, "learning_rate": 1e-3}, None),
    ],
)
def test_settings_without_effect_are_named_in_the_log(changes, unused, caplog):
    with caplog.at_level(logging.WARNING):
        TextEncoderSettings(name="minilm", **changes).warn_without_effect()
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ([unused] if unused else [])
