from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from multigrain.errors import RecipeError
from multigrain.training import recipe_source
from multigrain.training.overrides import set_override
from multigrain.training.recipe_file import list_recipes, load_recipe, recipe_from_dict
from multigrain.training.recipe_source import RecipeSource

TEXT = """
name: small
data: {store: data/small.store, modalities: [text, audio]}
model: {name: lf_lstm, width: 8}
training: {epochs: 5, learning_rate: 1e-3}
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(TEXT)
    return tmp_path / "small.yaml"


def test_a_recipe_is_read_with_its_types(path):
    recipe = load_recipe(path)
    assert recipe.training.learning_rate == 1e-3
    assert recipe.data.modalities == ("text", "audio")
    assert recipe.model.config["width"] == 8
    assert recipe.model.config["hidden_dropout"] == 0.1  # defaults are resolved
    assert recipe.data.store == str(path.parent / "data" / "small.store")
    with pytest.raises(FrozenInstanceError):
        recipe.training.epochs = 3


def test_a_recipe_survives_its_own_yaml(path):
    recipe = load_recipe(path, ["training.loggers=[wandb]", "task.kind=classification", "task.class_values=[-1, 0, 1]"])
    path.write_text(recipe.to_yaml())
    assert load_recipe(path) == recipe


def test_overrides_are_parsed_by_type_and_the_last_wins(path):
    overrides = ["training.epochs=7", "training.epochs=9", "training.learning_rate=3e-4", "data.modalities=null", "model.is_bidirectional=true"]
    recipe = load_recipe(path, [*overrides, "training.gradient_clip=null", "name=other", "training.loss=mse", "data.modalities=[vision]"])
    assert (recipe.training.epochs, recipe.training.learning_rate, recipe.training.gradient_clip) == (9, 3e-4, None)
    assert recipe.data.modalities == ("vision",)
    assert recipe.model.config["is_bidirectional"] is True
    assert (recipe.name, recipe.training.loss) == ("other", "mse")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learning_rat=1", r"small.yaml: unknown key 'training.learning_rat'. Did you mean 'training.learning_rate'\? Known here"),
        ("trainig.epochs=1", r"unknown key 'trainig'. Did you mean 'training'\?"),
        ("model.widht=3", r"unknown key 'model.widht'. Did you mean 'model.width'\?"),
        ("model.name=lf_lstn", r"model.name is 'lf_lstn', which is no model of multigrain. Did you mean 'lf_lstm'\? There are mcmut, mult"),
        ("training.epochs=many", r"training.epochs is 'many'; expected a whole number"),
        ("training.epochs=1.5", r"training.epochs is '1.5'; expected a whole number"),
        ("training.epochs=0", r"training.epochs is 0; expected 1 or more"),
        ("training.learning_rate=-1", r"training.learning_rate is -1.0; expected a positive number"),
        ("training.schedule=plato", r"training.schedule is 'plato'; expected one of plateau, cosine, constant"),
        ("training.batch_utterances=null", r"training.batch_utterances is None; expected a number here, in training.batch_steps, or in both"),
        ("training=3", r"the section 'training' holds '3'; expected a mapping"),
        ("model.width=wide", r"model.width is 'wide'; expected a whole number"),
        ("model.width=0", r"the settings of the model 'lf_lstm' do not go together: .*width = 0; expected at least 1"),
        ("data.modalities=[taste]", r"data.modalities is \['taste'\]; expected some of \['text', 'audio', 'vision'\]"),
        ("data.modalities=[]", r"data.modalities is \[\]; expected at least one modality"),
        ("evaluation.convention=mine", r"evaluation.convention is 'mine'; expected one of default, mult, mmsa, mag"),
        (
            "training.modality_dropout.smell=0.1",
            r"training.modality_dropout.smell is 0.1; expected rates for text, audio, vision only; 'smell' is no mod",
        ),
        ("training.modality_dropout.audio=1", r"training.modality_dropout.audio is 1.0; expected a rate from 0 to below 1"),
        ("training.modality_dropout.audio=-0.1", r"training.modality_dropout.audio is -0.1; expected a rate from 0 to below 1"),
        ("training.modality_dropout.audio=.nan", r"training.modality_dropout.audio is nan; expected a rate from 0 to below 1"),
        (
            "training.modality_dropout.audio=often",
            r"training.modality_dropout is {'audio': 'often'}; expected a mapping of keys to values, each a number",
        ),
        ("training.modality_dropout=0.3", r"training.modality_dropout is '0.3'; expected a mapping of keys to values, each a number"),
        ("epochs", r"The override 'epochs' is not of the form KEY=VALUE"),
    ],
)
def test_what_is_wrong_is_named(path, override, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(path, [override])


def test_modality_dropout_is_read_as_a_mapping_and_by_entry(path):
    assert load_recipe(path).training.modality_dropout == {}
    recipe = load_recipe(path, ["training.modality_dropout={text: 0.1, vision: 0}", "training.epochs=2"])
    assert recipe.training.modality_dropout == {"text": 0.1, "vision": 0.0}
    path.write_text(recipe.to_yaml())
    assert load_recipe(path) == recipe
    entries = load_recipe(path, ["training.modality_dropout.text=0.2", "training.modality_dropout.audio=0.3"])
    assert entries.training.modality_dropout == {"text": 0.2, "audio": 0.3, "vision": 0.0}


def test_a_missing_recipe_names_the_nearest(monkeypatch, tmp_path):
    monkeypatch.setattr(recipe_source, "list_recipes", lambda: {"planted/mcmut": RecipeSource(tmp_path / "mcmut.yaml")})
    with pytest.raises(RecipeError, match=r"There is no recipe 'planted/mcmt'.* Did you mean 'planted/mcmut'\? `multigrain list recipes`"):
        load_recipe("planted/mcmt")


def test_broken_files_are_named(path):
    path.write_text("data: [unclosed")
    with pytest.raises(RecipeError, match=r"small.yaml is not valid YAML: .*line 1"):
        load_recipe(path)
    path.write_text("- a list")
    with pytest.raises(RecipeError, match=r"holds list; expected a mapping with the keys name, published, data"):
        load_recipe(path)
    path.write_text("model: {name: lf_lstm}")
    with pytest.raises(RecipeError, match=r"the section 'data' is missing. Write `data:"):
        load_recipe(path)
    path.write_text("model: {name: lf_lstm}\ndata: {clip: 3.0}")
    with pytest.raises(RecipeError, match=r"the key 'data.store' is missing"):
        load_recipe(path)
    path.write_text("model: {width: 3}\ndata: {store: a}")
    with pytest.raises(RecipeError, match=r"the key 'model.name' is missing"):
        load_recipe(path)


def test_a_nested_override_sets_one_entry_of_a_mapping():
    values = {"data": {"store": "a"}, "model": {"name": "mcmut"}}
    set_override(values, "model.num_blocks.text=3")
    set_override(values, "model.num_blocks.audio=1")
    set_override(values, "model.num_blocks.vision=1")
    assert recipe_from_dict(values).model.config["num_blocks"] == {"text": 3, "audio": 1, "vision": 1}


def test_every_recipe_of_the_package_loads():
    for name in list_recipes():
        assert load_recipe(name).name


SEVERAL = """
name: several
data:
  stores:
    - a.store
    - {path: data/b.store, name: voices, weight: 2.0, labels: {from_range: [1, 5], to_range: [-3, 3]}}
    - {path: c.store, labels: {values: {0: -2, 1.5: 0, 2: 2}}}
    - {path: d.store, labels: {values: {happy: 2, sad: -2}}}
model: {name: lf_lstm}
"""


@pytest.fixture
def several(path) -> Path:
    path.write_text(SEVERAL)
    return path


def test_several_stores_are_read_with_their_weights_and_label_maps(several):
    stores = load_recipe(several).data.stores
    assert load_recipe(several).data.store is None
    assert [source.path for source in stores] == [str(several.parent / name) for name in ("a.store", "data/b.store", "c.store", "d.store")]
    assert load_recipe(several).data.store_names == ("a", "voices", "c", "d")
    assert [source.weight for source in stores] == [1.0, 2.0, 1.0, 1.0]
    assert stores[0].labels is None
    assert (stores[1].labels.from_range, stores[1].labels.to_range) == ((1.0, 5.0), (-3.0, 3.0))
    assert stores[2].labels.values == {0.0: -2.0, 1.5: 0.0, 2.0: 2.0}
    assert stores[3].labels.values == {"happy": 2.0, "sad": -2.0}


def test_several_stores_survive_their_own_yaml(several):
    recipe = load_recipe(several)
    several.write_text(recipe.to_yaml())
    assert load_recipe(several) == recipe
    assert recipe_from_dict(recipe.to_dict()) == recipe
    assert "store" not in recipe.to_dict()["data"]


def test_the_section_of_one_store_is_as_it_was(path):
    assert list(load_recipe(path).to_dict()["data"]) == ["store", "modalities", "normalise", "clip"]


def test_several_stores_are_overridden_whole_and_by_entry(several, path):
    stores = load_recipe(
        several, ["data.stores.0.weight=0.5", "data.stores.1.labels.to_range=[-1, 1]", "data.stores.2.labels.values.2=3"]
    ).data.stores
    assert (stores[0].path, stores[0].weight) == (str(several.parent / "a.store"), 0.5)
    assert stores[1].labels.to_range == (-1.0, 1.0)
    assert stores[2].labels.values == {0.0: -2.0, 1.5: 0.0, 2.0: 3.0}
    stores = load_recipe(several, ["data.stores.0.labels.values={0: -1, 1: 1}", "data.stores.1=e.store", "data.stores.2.labels=null"]).data.stores
    assert stores[0].labels.values == {0.0: -1.0, 1.0: 1.0}
    assert (stores[1].name, stores[1].labels, stores[2].labels) == ("e", None, None)
    stores = load_recipe(several, ["data.stores=[x.store, {path: y.store}]", "data.stores.1.weight=3"]).data.stores
    assert [(source.name, source.weight) for source in stores] == [("x", 1.0), ("y", 3.0)]
    single = load_recipe(several, ["data.stores=null", "data.store=z.store"])
    assert (single.data.store, single.data.stores) == (str(several.parent / "z.store"), None)
    path.write_text(TEXT)
    assert load_recipe(path, ["data.store=null", "data.stores=[x.store]"]).data.store_names == ("x",)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.store=z.store", r"both data.store and data.stores are given; expected one of them. Leave one out; .*data.store=null beside"),
        ("data.stores=null", r"the key 'data.store' is missing. Write `data: {store: .*}`, or `data: {stores: \[a.store, b.store\]}`"),
        ("data.stores=[]", r"data.stores is \[\]; expected at least one store"),
        ("data.stores=a.store", r"data.stores is 'a.store'; expected a list of stores, such as \[a.store, {path: b.store, weight: 2.0}\]"),
        ("data.stores.4=e.store", r"names the entry '4' of a list of 4; expected a number from 0 to 3"),
        ("data.stores.first.weight=2", r"names the entry 'first' of a list of 4; expected a number from 0 to 3"),
        ("data.stores.1.wieght=2", r"unknown key 'data.stores.1.wieght'. Did you mean 'data.stores.1.weight'\?"),
        ("data.stores.1.weight=0", r"data.stores.1: weight is 0.0; expected a positive number"),
        ("data.stores.1.weight=much", r"data.stores.1.weight is 'much'; expected a number"),
        ("data.stores.1.name=x/y", r"data.stores.1: name is 'x/y'; expected one without '/'"),
        ("data.stores.1.name=c", r"data.stores names two stores 'c': data/b.store and c.store. Give one of them another name"),
        ("data.stores.1={weight: 2}", r"the key 'data.stores.1.path' is missing. Write each entry of data.stores as a path, or as"),
        ("data.stores.1=[a]", r"the section 'data.stores.1' holds \['a'\]; expected a mapping"),
        ("data.stores.1.labels={from_range: [1, 5]}", r"data.stores.1.labels: labels gives from_range; expected either from_range and to_range"),
        ("data.stores.1.labels.from_range=[1]", r"data.stores.1.labels.from_range is '\[1\]'; expected"),
        ("data.stores.1.labels.from_range=[1, 1]", r"data.stores.1.labels: labels.from_range is \[1.0, 1.0\]; expected two different finite numbers"),
        ("data.stores.1.labels=high", r"the section 'data.stores.1.labels' holds 'high'; expected a mapping"),
        ("data.stores.2.labels.values=[1]", r"data.stores.2.labels.values is \[1\]; expected a mapping of labels to scores"),
        ("data.stores.2.labels.values={0: low}", r"data.stores.2.labels.values.0 is 'low'; expected a number"),
    ],
)
def test_what_is_wrong_with_several_stores_is_named(several, override, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(several, [override])
