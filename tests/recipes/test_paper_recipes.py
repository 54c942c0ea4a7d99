"""The recipes with the papers' settings: which published row each is and why, and that each trains on a store of its data set's shape."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from multigrain.cli import build_app, main
from multigrain.data.planted_like import LikeConfig, write_like_store
from multigrain.models import MODELS
from multigrain.published.rows import PublishedRow, published_rows
from multigrain.schema import MODALITIES
from multigrain.training.recipe import Recipe
from multigrain.training.recipe_file import list_recipes, load_recipe
from multigrain.training.train import train_run

NAMES = [name for name in list_recipes() if name.startswith("paper/")]
FOLDERS = [f"{dataset}_{setting}" for dataset in ("mosi", "mosei", "iemocap") for setting in ("aligned", "unaligned")]
RECIPES: dict[str, Recipe] = {name: load_recipe(name) for name in NAMES}

WITHOUT_ROW = {
    "paper/mosei_unaligned/mcmut_global": "the paper's text names the variant, its Table 4 has no row of it",
    "paper/iemocap_aligned/mult": "MCMuT's Table 3 has no row of MulT for aligned sequences",
}

# Every shape of store, task and kind of model once; the others run with `-m slow`: all of them take some minutes of one core.
REPRESENTATIVE = (
    "paper/mosi_aligned/lf_lstm",
    "paper/mosi_unaligned/mcmut",
    "paper/mosei_aligned/mult",
    "paper/mosei_unaligned/audio",
    "paper/iemocap_aligned/lf_lstm",
    "paper/iemocap_unaligned/lf_lstm",
    "paper/mosi_unaligned/mmin",
    "paper/mosi_unaligned/mmin_without_text",
)


def test_there_are_the_recipes_that_the_tables_ask_for():
    assert {name.split("/")[1] for name in NAMES} == set(FOLDERS)
    assert len(NAMES) == 50
    assert all(RECIPES[name].name == name for name in NAMES)


# Which published row, and why ------------------------------------------------------------------------------------


def settings_of(row: PublishedRow) -> dict[str, object]:
    """What a recipe must say to be a row, from the row's own columns; written down here a second time, apart from the package's check."""
    expected: dict[str, object] = {"model": row.model, "modalities": row.modalities or MODALITIES}
    if row.dataset == "IEMOCAP":
        expected |= {"kind": "emotions", "loss": "cross_entropy"}
    elif row.paper == "mcmut" and row.model in ("mcmut", "unimodal"):
        expected |= {"kind": "classification", "loss": "cross_entropy"}
    else:
        expected |= {"kind": "regression", "loss": "mse" if row.model == "mmin" else "l1"}
    targets = None if row.targets is None else row.targets
    if row.model == "mcmut":
        expected |= {"interaction": row.interaction, "num_blocks": row.num_blocks, "layers_per_block": row.layers_per_block, "targets": targets}
        expected |= {"uses_scale_attention": True, "source_scales": "all", "scale_dropout": 0.0, "query_key_gain": 1.0}
    if row.model == "mult":
        expected |= {"num_layers": row.num_layers, "targets": targets, "residual": "plain", "query_key_gain": 1.0}
    if row.model == "mmin":
        expected |= {"attention": "sparsemax", "predicts_from_coarse": row.without != "coarse", "predicts_from_fine": row.without != "fine"}
        expected |= {f"has_{loss}": row.without != loss for loss in ("separation", "adversarial", "private")}
        expected["encoder"] = "bert-base-uncased" if "text" in (row.modalities or MODALITIES) else None
    return expected


def settings_in(recipe: Recipe) -> dict[str, object]:
    """The same, from the recipe."""
    config = recipe.model.config
    modalities = (config["modality"],) if recipe.model.name == "unimodal" else recipe.data.modalities or MODALITIES
    found: dict[str, object] = {"model": recipe.model.name, "modalities": modalities, "kind": recipe.task.kind, "loss": recipe.training.loss}
    found |= {f"has_{name.removesuffix('_weight')}": config[name] > 0 for name in config if name.endswith("_weight")}
    found |= {"encoder": None if recipe.text_encoder is None else recipe.text_encoder.name}
    return {**config, **found}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_the_very_variant_of_its_rows(name: str):
    recipe = RECIPES[name]
    assert bool(recipe.published.rows) != (name in WITHOUT_ROW), "a row of its own, or a reason why there is none"
    for identifier in recipe.published.rows:
        row = published_rows()[identifier]
        assert name.split("/")[1] == f"{row.dataset.lower()}_{row.setting}"
        assert recipe.data.store is not None
        assert Path(recipe.data.store).name.startswith(f"{row.dataset.lower()}_{row.setting}")
        found = settings_in(recipe)
        assert {key: found[key] for key in settings_of(row)} == settings_of(row)
        assert recipe.evaluation.convention == row.convention


def test_every_row_of_a_model_of_ours_is_shown_by_one_recipe_or_has_its_reason():
    shown: dict[str, list[str]] = {}
    for name, recipe in ((name, load_recipe(name)) for name in list_recipes()):
        for identifier in recipe.published.rows:
            shown.setdefault(identifier, []).append(name)
    for identifier, row in published_rows().items():
        if row.model in MODELS:
            count = len(shown.get(identifier, []))
            assert count == (0 if row.no_recipe else 1), f"{identifier} is shown by {shown.get(identifier)}; no_recipe: {row.no_recipe!r}"


@pytest.mark.parametrize("name", [name for name in NAMES if RECIPES[name].model.name in ("mcmut", "unimodal")])
def test_mcmut_is_trained_as_its_appendix_says(name: str):
    recipe, training = RECIPES[name], RECIPES[name].training
    assert (training.epochs, training.batch_utterances, training.batch_steps) == (100, 64, None)
    assert (training.optimizer, training.learning_rate, training.warmup_steps) == ("adam", 1e-3, 0)
    assert (training.gradient_clip, training.modality_dropout) == (0.8, {})
    assert recipe.model.config["attention_dropout"] == 0.2
    assert {recipe.model.config[f"{where}_dropout"] for where in ("hidden", "residual", "output")} == {0.1}
    if recipe.task.kind == "classification":
        assert recipe.task.class_values == (-3, -2, -1, 0, 1, 2, 3)


def test_rows_of_one_table_differ_in_nothing_else():
    """Table 6's B and L, Table 4's depths, Table 2 of MMIN: the change that the row names is the only one."""
    base = RECIPES["paper/mosei_unaligned/mcmut"]
    for number in (1, 2, 3, 5):
        other = RECIPES[f"paper/mosei_unaligned/mcmut_b{number}"]
        assert other.model.config | {"num_blocks": 4} == base.model.config
        assert replace(other, name=base.name, published=base.published, model=base.model) == base
    depths = [RECIPES[f"paper/mosei_unaligned/mult_{number}_layers"] for number in (7, 10, 12)]
    assert [recipe.model.config["num_layers"] for recipe in depths] == [7, 10, 12]
    assert len({repr((recipe.model.config | {"num_layers": 0}, recipe.training)) for recipe in depths}) == 1
    full = RECIPES["paper/mosi_unaligned/mmin"]
    for name in NAMES:
        if "mmin_without" in name:
            assert RECIPES[name].training == full.training


# Where the data comes from ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_how_its_store_is_made(name: str):
    data = RECIPES[name].data
    assert data.store is not None
    assert data.made_by is not None
    assert data.stand_in_by is not None
    store = Path(data.store).name
    command = typer.main.get_command(build_app()).commands["data"].commands["convert"]  # type: ignore[attr-defined]
    parameters = command.make_context("convert", shlex.split(data.made_by)[3:]).params
    assert str(parameters["store"]) == store
    assert ("noalign" in str(parameters["source"]) or "unaligned" in str(parameters["source"])) == ("unaligned" in store)
    words = shlex.split(data.stand_in_by)
    assert words[:4] == ["multigrain", "data", "planted", store]
    assert words[4:6] == ["--like", store.split("_")[0]]
    assert ("--aligned" in words) == ("unaligned" not in store)


def test_a_missing_store_is_said_with_the_command_that_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    for command in (["train", "paper/mosi_unaligned/mcmut"], ["compare", "paper/mosi_unaligned/mcmut"]):
        assert main(command) == 2
        said = " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().err).split())
        assert f"no store at {tmp_path / 'mosi_unaligned.store'}, which the recipe paper/mosi_unaligned/mcmut trains on" in said
        assert "multigrain data convert --format mult mosi_data_noalign.pkl mosi_unaligned.store --replace-nonfinite 0" in said
        assert "multigrain data planted mosi_unaligned.store --like mosi" in said
    assert not (tmp_path / "runs").exists()


# Each runs -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small planted store in each shape."""
    folder = tmp_path_factory.mktemp("shapes")
    sizes = {"train_size": 6, "valid_size": 4, "test_size": 4}
    return {
        f"{like}_{setting}": write_like_store(
            folder / f"{like}_{setting}.store", LikeConfig(like=like, aligned=setting == "aligned", length_share=0.08, **sizes)
        )
        for like in ("mosi", "mosei", "iemocap")
        for setting in ("aligned", "unaligned")
    }


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in REPRESENTATIVE else pytest.mark.slow) for name in NAMES])
def test_a_recipe_trains_for_a_step(name: str, stores: dict[str, Path], tiny_encoder: Path, tmp_path: Path):
    overrides = [f"data.store={stores[name.split('/')[1]]}", "training.epochs=1", "training.num_threads=1", "training.accelerator=cpu"]
    if RECIPES[name].text_encoder is not None:
        overrides += [f"text_encoder.name={tiny_encoder}", "text_encoder.max_tokens=40"]  # no more than the tiny one takes
    recipe = load_recipe(name, overrides)
    assert recipe.model == RECIPES[name].model, "the network is the paper's"
    results = train_run(recipe, run_folder=tmp_path / "run", seed=0, show_progress=False)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 1)]
    assert lines[0]["train_loss"] > 0
    assert results["splits"]["test"]


def test_the_representative_recipes_cover_every_model_shape_and_task():
    of = {name: RECIPES[name] for name in REPRESENTATIVE}
    assert {recipe.model.name for recipe in of.values()} == {recipe.model.name for recipe in RECIPES.values()}
    assert {name.split("/")[1] for name in of} == set(FOLDERS)
    assert {recipe.task.kind for recipe in of.values()} == {"regression", "classification", "emotions"}
