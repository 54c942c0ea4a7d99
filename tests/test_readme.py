"""The README and the docs say what is true: commands parse, code runs, recipes load, links and the tree lead somewhere."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
import torch
import typer
import yaml

from multigrain.cli import build_app
from multigrain.cli.list import LISTS
from multigrain.data.convert import convert
from multigrain.data.planted import PlantedConfig, write_planted_store
from multigrain.data.planted_like import LikeConfig
from multigrain.data.readers import READERS
from multigrain.data.store import Store
from multigrain.models import MODELS, build_model
from multigrain.models.base import MultimodalModel
from multigrain.published.rows import find_row
from multigrain.training.recipe_file import list_recipes, load_recipe, recipe_from_dict

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
ADD_MODEL, ADD_DATASET = ROOT / "docs" / "add-a-model.md", ROOT / "docs" / "add-a-dataset.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "MODEL_CARD.md", *sorted((ROOT / "docs").rglob("*.md"))]
RECIPE_OF_THE_WALK = "planted/mean_pooling"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def block_with(page: Path, language: str, words: str) -> str:
    return next(block for block in blocks(page, language) if words in block)


def shell_lines(page: Path) -> list[str]:
    joined = "\n".join(blocks(page, "bash")).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip()]


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# Commands ---------------------------------------------------------------------------------------------------------

COMMANDS = [(page, line) for page in PAGES for line in shell_lines(page) if line.startswith("multigrain ")]


def parsed(line: str) -> tuple[str, dict]:
    """A command line's command, such as "data convert", and its parameters; fails on whatever the real one would refuse."""
    words = shlex.split(line, comments=True)[1:]
    command, path = typer.main.get_command(build_app()), []
    while hasattr(command, "commands"):
        assert words, f"{line}: names no command"
        assert words[0] in command.commands, f"{line}: there is no command {words[0]!r}"
        path.append(words[0])
        command = command.commands[words.pop(0)]
    context = command.make_context(" ".join(path), words)
    return " ".join(path), context.params


def check_recipe(source: str, overrides: list[str], folder: Path) -> None:
    """Loads a recipe of the package, or one that a page shows (or says how to write), with the overrides."""
    if source == RECIPE_OF_THE_WALK:
        return
    file, _, row = source.partition("#")
    if file.endswith(".yaml"):
        shown = {values["name"]: values for page in PAGES for values in map(yaml.safe_load, blocks(page, "yaml"))}
        shown["my-mult"] = shown["my-mcmut"] | {"name": "my-mult", "model": {"name": "mult"}}
        (folder / file).write_text(yaml.safe_dump(shown[Path(file).stem]), encoding="utf-8")
        source = f"{folder / file}#{row}" if row else str(folder / file)
    load_recipe(source, overrides)


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page_name(page)}: {line}" for page, line in COMMANDS])
def test_commands_parse_against_the_command_line(page: Path, line: str, tmp_path: Path):
    command, parameters = parsed(line)
    if command == "list":
        assert parameters["kind"] in LISTS
    if command == "data convert":
        assert parameters["format"] in READERS
    if command == "data planted":
        dials = [word.removeprefix("--").replace("-", "_") for word in parameters["arguments"] or () if word.startswith("--")]
        assert set(dials) <= {field.name for field in fields(PlantedConfig if parameters["like"] is None else LikeConfig)}
    if command == "train" and not parameters["resume"]:
        check_recipe(parameters["recipe"], parameters["overrides"] or [], tmp_path)
    if command == "compare":
        for word in parameters["recipes"]:
            if "=" not in word:
                check_recipe(word, parameters["overrides"] or [], tmp_path)


def test_the_check_of_commands_can_fail():
    wrong = {"multigrain trian x": "trian", "multigrain train planted/mcmut --sedes 5": "sedes", "multigrain data convert --format mult a": "store"}
    for line, complaint in wrong.items():
        with pytest.raises(Exception, match=complaint):  # typer's own errors live elsewhere in each of its versions
            parsed(line)


def test_every_reader_has_its_command_in_the_readme():
    shown = {parsed(line)[1]["format"] for page, line in COMMANDS if page == README and line.startswith("multigrain data convert")}
    assert shown == set(READERS)


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"`?\bmake ([a-z-]+)`", page.read_text(encoding="utf-8"))}
    named |= {line.split()[-1] for page in PAGES for line in shell_lines(page) if line.startswith("make ")}
    assert {"demo", "test", "setup"} <= named <= targets


# Recipes and models -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "yaml")], ids=page_name)
def test_recipes_shown_are_recipes(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(MODELS, "mean_pooling", model_of_the_walk())
    for block in blocks(page, "yaml"):
        values = yaml.safe_load(block)
        if "rows" not in values:
            recipe_from_dict(values, source=page_name(page))
            continue
        (tmp_path / "rows.yaml").write_text(block, encoding="utf-8")
        for row in values["rows"]:
            load_recipe(f"{tmp_path / 'rows.yaml'}#{row}")


def test_the_table_of_models_names_every_model_and_only_recipes_that_exist():
    section = README.read_text(encoding="utf-8").split("## Models")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert {re.match(r"\| `(\w+)`", row).group(1) for row in rows} == set(MODELS)
    recipes = set(re.findall(r"`((?:planted|mosi|mosi_text|mmmo|default|paper/\w+)/\w+)`", section))
    assert recipes <= set(list_recipes())


def test_the_papers_numbers_stand_beside_the_recipe_that_is_that_row():
    section = README.read_text(encoding="utf-8").split("## Models")[1].split("\n## ")[0]
    checked = 0
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 6 or " / " not in cells[3] or "Acc-7" in cells[3]:
            continue
        recipe = re.match(r"`(paper/\S+)`", cells[4])
        assert recipe, f"a published number without its recipe: {line}"
        numbers = re.findall(r"[\d.]+|&ndash;", cells[3].split(" / ", 1)[0].split()[-1] + " " + cells[3].split(" / ", 1)[1])
        row = find_row(load_recipe(recipe[1]).published.rows[0])
        metrics = ("accuracy_7", "accuracy_2_non0", "f1_non0", "mae", "correlation")
        assert numbers == [row.printed.get(name, "&ndash;") for name in metrics], line
        assert cells[3].startswith(f"{row.dataset} {row.setting}")
        checked += 1
    assert checked == 8


def test_recipes_named_in_the_page_of_paper_recipes_exist():
    page = (ROOT / "docs" / "paper-recipes.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(paper/[a-z_]+/\w+)`", page)) <= set(list_recipes())


# Code -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=page_name)
def test_code_compiles(page: Path):
    for block in blocks(page, "python"):
        compile(block, page_name(page), "exec")


def test_python_in_five_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    store = Store.open(write_planted_store("demo/planted.store", PlantedConfig(train_size=4, valid_size=4, test_size=4)))
    model = build_model("mcmut", {"width": 8, "num_heads": 2, "num_blocks": 1, "layers_per_block": 1}, store.task, store.features)
    model.save_pretrained(tmp_path / "demo/runs/planted/mcmut/seed-0/checkpoints/best")
    code = blocks(README, "python")[0]
    assert len([line for line in code.splitlines() if line]) == 5
    exec(code, {})
    assert capsys.readouterr().out.count("tensor(") == 2


def test_folder_of_arrays_becomes_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    exec(block_with(ADD_DATASET, "python", "labels.csv"), {})
    store = Store.open(convert("arrays", "clips", "clips.store"))
    assert {name: len(split) for name, split in store.splits.items()} == {"train": 8, "valid": 4, "test": 4}
    assert store.split("test").records[0]["text"] == "so it is"


def test_writer_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    exec(block_with(ADD_DATASET, "python", "StoreWriter("), {})
    assert capsys.readouterr().out == "torch.Size([2, 50, 74])\n"


def model_of_the_walk() -> type[MultimodalModel]:
    names: dict = {"__name__": "mean_pooling"}
    exec(block_with(ADD_MODEL, "python", "class MeanPooling("), names)
    return names["MeanPooling"]


def test_model_of_the_walk_keeps_the_contract_where_it_is_easily_broken(make_store):
    store = make_store()
    torch.manual_seed(0)
    kind = model_of_the_walk()
    model = kind(kind.config_class(), store.task, store.features).eval()
    split = store.split("train")
    together = model.predict(split.batch([0, 1, 2]))
    for row in range(3):  # company and padding never change a prediction
        torch.testing.assert_close(model.predict(split.batch([row])), together[[row]])
    assert bool(torch.isfinite(model.predict(split.batch([0, 1], ["text"]))).all())


# Links and the tree -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path):
    text = re.sub(r"<!--.*?-->|^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://", "#", "mailto:")):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page_name(page)} links to {target}, which is not there"


def tree_paths() -> list[str]:
    """The paths that the README's tree names: one a line, or several at its head and behind a folder at the root."""
    paths, parents = [], []
    for line in block_with(README, "text", "src/multigrain/").splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names = line.split() if depth == 0 and "   " not in line else line.split()[:1]
        parents = parents[:depth]
        paths += ["".join([*parents, name]) for name in names]
        parents.append(names[0])
    return paths


def test_files_of_the_tree_exist():
    paths = tree_paths()
    assert len(paths) > 25
    for path in paths:
        assert (ROOT / path).exists(), f"the README's tree names {path}, which is not there"
        assert (ROOT / path).is_dir() == path.endswith("/")


def test_the_tree_names_every_part_of_the_package():
    package = ROOT / "src" / "multigrain"
    parts = {f"{path.name}/" if path.is_dir() else path.name for path in package.iterdir() if not path.name.startswith(("_", "."))}
    named = {path.removeprefix("src/multigrain/") for path in tree_paths()}
    assert parts - {"py.typed"} <= named
