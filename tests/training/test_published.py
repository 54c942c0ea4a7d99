"""A recipe shows a published row only where it is that very variant; what was changed on the command line is said."""

import re
from pathlib import Path

import pytest

from multigrain.errors import RecipeError
from multigrain.training.recipe_file import list_recipes, load_recipe, recipe_from_dict

MCMUT = """
data: {store: mosei.store}
published: [mcmut/table_2/unaligned/mcmut, mcmut/table_4/mcmut]
task: {kind: classification}
model: {name: mcmut}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(MCMUT)
    return tmp_path / "mine.yaml"


def test_the_rows_of_a_recipe_survive_its_own_yaml(path: Path):
    recipe = load_recipe(path)
    assert recipe.published.rows == ("mcmut/table_2/unaligned/mcmut", "mcmut/table_4/mcmut")
    assert recipe_from_dict(recipe.to_dict()) == recipe
    path.write_text(recipe.to_yaml())
    assert load_recipe(path) == recipe
    withheld = load_recipe(path, ["model.width=8", "model.num_heads=2"])
    assert recipe_from_dict(withheld.to_dict()) == withheld
    assert "published" not in load_recipe(path, ["published=null"]).to_dict()


def test_rows_decide_nothing_about_a_run(path: Path):
    assert load_recipe(path).decisive() == load_recipe(path, ["published=null"]).decisive()


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["model.width=8", "model.num_heads=2"], "model.width was changed from 40 to 8; model.num_heads was changed from 5 to 2"),
        (["model.layers_per_block=2"], "model.layers_per_block was changed from 3 to 2"),
        (["task.kind=regression"], "task.kind was changed from classification to regression"),
        (["training.loss=l1", "task.kind=regression"], "task.kind was changed from .*; training.loss was changed from nothing to l1"),
        (["data.modalities=[text, audio]"], r"data.modalities was changed from nothing to \('text', 'audio'\)"),
        (["text_encoder.name=minilm", "text_encoder.mode=lora"], "text_encoder.name was changed from nothing to minilm; .*; and 6 more"),
        (["training.modality_dropout.audio=0.2"], r"training.modality_dropout was changed from {} to {'audio': 0.2}"),
        (["model.name=mult"], "model.name was changed from mcmut to mult; "),
    ],
)
def test_a_changed_model_task_loss_or_input_loses_the_rows_and_says_why(path: Path, overrides: list[str], reason: str):
    published = load_recipe(path, overrides).published
    assert published.rows
    assert published.withheld is not None
    assert re.match(reason, published.withheld), published.withheld


def test_what_does_not_change_the_model_keeps_the_rows(path: Path):
    kept = ["data.store=elsewhere.store", "training.epochs=3", "training.num_threads=1", "training.loggers=[]", "model.width=40", "name=other"]
    assert load_recipe(path, kept).published == load_recipe(path).published


def test_a_store_given_on_the_command_line_alone_is_no_change(path: Path):
    path.write_text(MCMUT.replace("data: {store: mosei.store}", ""))
    assert load_recipe(path, ["data.store=a.store"]).published.withheld is None


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("table_4/mcmut]", "table_4/mcmut_dens]", r"no published row 'mcmut/table_4/mcmut_dens'. Did you mean 'mcmut/table_4/mcmut_dense'\?"),
        ("table_4/mcmut]", "table_6/b_3]", r"names mcmut/table_6/b_3, B=3 on MOSEI.*model.num_blocks is 4, and that row has 3\. Mend the setting"),
        ("table_4/mcmut]", "table_4/mult_7]", r"another variant: model.name is 'mcmut', and that row's model is 'mult'"),
        ("table_4/mcmut]", "table_5/mcmut_text_target]", r"model.targets is nothing, and that row has \['text'\]"),
        ("name: mcmut", "name: mcmut, interaction: dense", r"model.interaction is 'dense', and that row has 'block'"),
        ("name: mcmut", "name: mcmut, scale_dropout: 0.5", r"model.scale_dropout is 0.5, and that row has 0.0"),
        ("task: {kind: classification}", "", r"task.kind is nothing, and that row was trained as 'classification'"),
        ("store: mosei.store", "store: a, modalities: [text, audio]", r"data.modalities is text, audio, and that row was given text, audio, vision"),
        ("published: [", "published: 3 #[", r"published is 3; expected a list of published rows, such as \[mcmut/table_1/unaligned/mcmut\], or null"),
        ("published: [", "published: {row: x} #[", r"unknown key 'published.row'. Known here: rows, withheld"),
        ("task: {kind: classification}", "text_encoder: {name: minilm}", r"text_encoder is minilm \(fine_tuned\), and that row read no "),
    ],
)
def test_a_recipe_that_is_not_its_row_is_refused(path: Path, before: str, after: str, message: str):
    assert before in MCMUT
    path.write_text(MCMUT.replace(before, after))
    with pytest.raises(RecipeError, match=message):
        load_recipe(path)


MMIN = """
data: {store: mosi.store}
published: mmin/table_2/without_adversarial
text_encoder: {name: bert-base-uncased}
task: {kind: regression}
model: {name: mmin, adversarial_weight: 0.0}
training: {loss: mse}
"""


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("adversarial_weight: 0.0", "private_weight: 0", r"model.adversarial_weight is 0.1, and that row was trained without that loss; .*private"),
        ("loss: mse", "loss: l1", r"training.loss is 'l1', and that row was trained with 'mse'"),
        ("name: bert-base-uncased", "name: minilm", r"text_encoder is minilm \(fine_tuned\), and that row fine-tuned bert-base-uncased"),
        ("name: bert-base-uncased", "name: bert-base-uncased, mode: lora", r"text_encoder is bert-base-uncased \(lora\)"),
        ("text_encoder: {name: bert-base-uncased}", "", r"text_encoder is absent, and that row fine-tuned bert-base-uncased"),
        ("0.0}", "0.0, attention: softmax}", r"model.attention is 'softmax', and that row has 'sparsemax'"),
        ("0.0}", "0.0, predicts_from_fine: false}", r"model.predicts_from_fine is False, and that row has True"),
    ],
)
def test_a_recipe_of_mmin_is_held_to_its_ablation(path: Path, before: str, after: str, message: str):
    path.write_text(MMIN)
    assert load_recipe(path).published.rows == ("mmin/table_2/without_adversarial",)
    assert before in MMIN
    path.write_text(MMIN.replace(before, after))
    with pytest.raises(RecipeError, match=message):
        load_recipe(path)


def test_recipes_on_other_features_show_no_published_row():
    """`mosi/*`, `mosi_small/*` (one vector an utterance, in context), `mosi_text/*` (transcripts alone), `mmmo_small/*`, `planted/*`."""
    others = [name for name in list_recipes() if not name.startswith("paper/")]
    assert len(others) > 30
    assert {name: load_recipe(name).published.rows for name in others} == dict.fromkeys(others, ())
