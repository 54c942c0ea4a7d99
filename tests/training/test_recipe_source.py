"""A file of several recipes: what they share, and a row of differences for each."""

from pathlib import Path

import pytest

from multigrain.errors import RecipeError, StoreError
from multigrain.training.open_data import open_data
from multigrain.training.recipe_file import load_recipe, recipe_from_dict
from multigrain.training.recipe_source import RecipeSource, find_recipe, list_recipes

SWEEP = """
name: sweep
data: {store: my.store}
model: {name: mcmut, width: 8, num_heads: 2}
training: {epochs: 5}
rows:
  b1: {model.num_blocks: 1}
  deep/b3: {model.num_blocks: {text: 3, audio: 1, vision: 1}, training.epochs: 20, data.modalities: [text, audio]}
  other: {name: another, model: {name: lf_lstm}}
  same:
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    return tmp_path / "sweep.yaml"


def test_a_row_is_a_recipe_with_its_differences(path: Path):
    recipe = load_recipe(f"{path}#b1")
    assert (recipe.name, recipe.model.config["num_blocks"], recipe.model.config["width"], recipe.training.epochs) == ("sweep/b1", 1, 8, 5)
    deep = load_recipe(f"{path}#deep/b3")
    assert (deep.name, deep.training.epochs, deep.data.modalities) == ("sweep/deep/b3", 20, ("text", "audio"))
    assert deep.model.config["num_blocks"] == {"text": 3, "audio": 1, "vision": 1}
    other = load_recipe(f"{path}#other")
    assert (other.name, other.model.name) == ("another", "lf_lstm")
    assert load_recipe("sweep.yaml#same").model.config["num_blocks"] == 4


def test_a_row_resolved_is_complete_and_survives_its_own_yaml(path: Path, tmp_path: Path):
    recipe = load_recipe(f"{path}#deep/b3", ["training.epochs=7", "model.num_blocks.text=2"])
    assert (recipe.training.epochs, recipe.model.config["num_blocks"]["text"]) == (7, 2)
    (tmp_path / "resolved.yaml").write_text(recipe.to_yaml())
    assert "rows" not in recipe.to_dict()
    assert load_recipe(tmp_path / "resolved.yaml") == recipe


def test_rows_of_a_file_do_not_touch_each_other(path: Path):
    load_recipe(f"{path}#deep/b3", ["model.num_blocks.text=1"])
    assert load_recipe(f"{path}#deep/b3").model.config["num_blocks"]["text"] == 3


def test_a_name_without_its_own_takes_the_files(path: Path):
    path.write_text(SWEEP.replace("name: sweep\n", "", 1))
    assert load_recipe(f"{path}#b1").name == "sweep/b1"


def test_a_source_as_text_finds_the_same_recipe(path: Path):
    for source in (
        find_recipe("sweep.yaml#b1"),
        find_recipe("planted/lf_lstm"),
        find_recipe("planted/mcmut"),
        find_recipe("paper/mosei_unaligned/mcmut_b1"),
    ):
        assert find_recipe(str(source)) == source
    strange = path.parent / "a#b.yaml"
    strange.write_text(SWEEP)
    assert find_recipe(strange) == RecipeSource(strange)
    assert find_recipe(f"{strange}#b1") == RecipeSource(strange, "b1")


@pytest.mark.parametrize(
    ("rows", "source", "message"),
    [
        (None, "", r"sweep.yaml holds 4 recipes, one for each of its `rows:`. Name one: sweep.yaml#b1, sweep.yaml#deep/b3"),
        (None, "#b2", r"sweep.yaml has no row 'b2'. Did you mean 'b1'\? Its rows are sweep.yaml#b1, "),
        ("{b1: {model.num_block: 1}}", "#b1", r"sweep.yaml#b1: unknown key 'model.num_block'. Did you mean 'model.num_blocks'\?"),
        ("{b1: {model.num_blocks: many}}", "#b1", r"sweep.yaml#b1: model.num_blocks is 'many'; expected a whole number"),
        ("{b1: {rows: 1}}", "#b1", r"sweep.yaml#b1: unknown key 'rows'"),
        ("[b1]", "#b1", r"sweep.yaml: `rows:` holds \['b1'\]; expected a mapping such as {b1: {model.num_blocks: 1}}"),
        ("{}", "#b1", r"sweep.yaml: `rows:` holds {}; expected a mapping"),
        ("{b1: 3}", "#b1", r"sweep.yaml: the row 'b1' holds 3; expected dotted keys and values"),
        ("{../b1: {}}", "#b1", r"sweep.yaml: the row '../b1' has a name that is no word; expected letters, digits"),
        ("{1: {}}", "#1", r"sweep.yaml: the row 1 has a name that is no word"),
        ("gone", "#b1", r"sweep.yaml#b1 names a row, but the file has no `rows:`. Name the file alone: .*sweep.yaml"),
    ],
)
def test_what_is_wrong_with_rows_is_named(path: Path, rows: str | None, source: str, message: str):
    shared = SWEEP.split("rows:")[0]
    path.write_text(SWEEP if rows is None else shared if rows == "gone" else f"{shared}rows: {rows}\n")
    with pytest.raises(RecipeError, match=message):
        load_recipe(f"{path}{source}")


def test_the_packages_rows_are_listed_under_the_names_that_they_have():
    names = list_recipes()
    assert names["paper/mosei_unaligned/mcmut_b1"].row == "mosei_unaligned/mcmut_b1"
    assert names["planted/lf_lstm"].row is None
    assert names["planted/mcmut"].row == "mcmut"
    assert "paper/mcmut" not in names


def test_hints_about_the_store_decide_nothing_and_are_kept(path: Path):
    hints = ["data.made_by=multigrain data convert --format mult x.pkl my.store", "data.stand_in_by=multigrain data planted my.store"]
    recipe = load_recipe(f"{path}#b1", hints)
    assert recipe.decisive() == load_recipe(f"{path}#b1").decisive()
    assert recipe_from_dict(recipe.to_dict()) == recipe
    assert "made_by" not in load_recipe(f"{path}#b1").to_dict()["data"]
    with pytest.raises(StoreError, match=r"no store at .*my.store, which the recipe sweep/b1.*`multigrain data convert .*planted my.store`"):
        open_data(recipe)
    several = load_recipe(f"{path}#b1", [*hints, "data.store=null", "data.stores=[one.store, two.store]"])
    with pytest.raises(StoreError, match=r"no store at .*one.store, which the recipe sweep/b1 trains on"):
        open_data(several)
