"""`multigrain evaluate` and `multigrain compare` as a user types them, on runs that are there already."""

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))
from small_runs import CONFIGS, write_run, write_store

from multigrain.cli import main
from multigrain.data.store import Store
from multigrain.training.recipe_file import load_recipe


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a planted store, two recipes and a completed run of each; tests only read what is there."""
    folder = tmp_path_factory.mktemp("commands")
    store = Store.open(write_store(folder / "planted.store"))
    for name in ("mult", "mmin", "lf_lstm"):
        settings = json.dumps({"name": name, **CONFIGS[name]})
        recipe = folder / f"{name}.yaml"
        run = write_run(folder / "runs" / name / "seed-0", name, store)
        recipe.write_text(f"data: {{store: planted.store}}\nmodel: {settings}\n")
        (run / "recipe.yaml").write_text(load_recipe(recipe).to_yaml())
    return folder


@pytest.fixture
def here(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(prepared)
    return prepared


def test_evaluate_prints_metrics_rounded(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "runs/mult/seed-0"]) == 0
    expected = json.loads((here / "runs/mult/seed-0/results.json").read_text())["splits"]["test"]
    printed = capsys.readouterr().out
    assert f"{expected['mae']:.3f}" in printed
    assert "Acc-2 non0 %" in printed


def test_evaluate_json_is_at_full_precision(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "runs/mult/seed-0", "--split", "valid", "--convention", "mult", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    expected = json.loads((here / "runs/mult/seed-0/results.json").read_text())["splits"]["valid"]
    assert content["metrics"]["correlation"] == expected["correlation"]
    assert (content["split"], content["convention"]) == ("valid", "mult")


def test_evaluate_on_a_store_predicts_afresh(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "runs/mult/seed-0", "--store", "planted.store", "--json"]) == 0
    expected = json.loads((here / "runs/mult/seed-0/results.json").read_text())["splits"]["test"]
    assert json.loads(capsys.readouterr().out)["metrics"]["mae"] == pytest.approx(expected["mae"], abs=1e-5)


def test_evaluate_shows_zero_attention_where_attention_is_sparse(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "runs/mmin/seed-0", "--store", "planted.store", "--json"]) == 0
    shares = json.loads(capsys.readouterr().out)["zero_attention"]
    assert len(shares) == 7
    assert main(["evaluate", "runs/mmin/seed-0", "--store", "planted.store"]) == 0
    printed = capsys.readouterr().out
    assert "attention weights that are exactly zero" in " ".join(printed.split())
    assert f"{100 * shares['audio_to_text']:.1f}" in printed
    assert main(["evaluate", "runs/mult/seed-0", "--store", "planted.store", "--json"]) == 0
    assert "zero_attention" not in json.loads(capsys.readouterr().out)


def test_training_notes_zero_attention_for_evaluate(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    assert main(["train", "mmin.yaml", "training.epochs=1", "training.num_threads=1", "--run-folder", run]) == 0
    capsys.readouterr()
    assert main(["evaluate", run, "--json"]) == 0
    noted = json.loads(capsys.readouterr().out)["zero_attention"]
    assert main(["evaluate", run, "--store", "planted.store", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["zero_attention"] == noted
    assert 0 < noted["all"] < 1


def test_scales_prints_what_each_part_is_worth(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "runs/mmin/seed-0", "--scales"]) == 0
    printed = capsys.readouterr().out
    assert "without CIN" in printed
    assert "without the guided code of vision" in printed
    assert main(["evaluate", "runs/mmin/seed-0", "--scales", "--split", "valid", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)["scales"]
    assert (content["model"], content["split"], content["results"][0]["name"]) == ("mmin", "valid", "all")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs/lf_lstm/seed-0", "--scales"], "This lf_lstm model has nothing that could be left out"),
        (["runs/mmin/seed-0", "--scales", "--robustness"], "Give one of them at a time"),
        (["runs/mmin/seed-0", "--scales", "--plot", "a.svg"], "with --scales, which draws nothing"),
    ],
)
def test_scales_refuses_what_it_cannot_do(arguments: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_robustness_prints_a_table_and_draws_a_picture(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("runs/lf_lstm/seed-0", tmp_path / "run")
    assert main(["evaluate", str(tmp_path / "run"), "--robustness"]) == 0
    captured = capsys.readouterr()
    rows = [line.strip("│").split("│") for line in captured.out.splitlines() if line.startswith("│")]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
    assert list(cells)[:4] == ["all", "text + audio", "text + vision", "audio + vision"]
    assert list(cells)[-5:] == [f"all -{rate} %" for rate in (10, 30, 50, 70, 90)]
    expected = json.loads((tmp_path / "run" / "results.json").read_text())["splits"]["test"]
    assert cells["all"][:2] == [f"{expected['mae']:.3f}", f"{expected['correlation']:.3f}"]
    assert len({tuple(row) for row in cells.values()}) > 20
    assert f"Picture written to {tmp_path / 'run' / 'robustness.svg'}" in captured.err
    assert (tmp_path / "run" / "robustness.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_robustness_in_json_on_another_split(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(tmp_path / "new" / "picture.svg")
    arguments = ["--split", "valid", "--convention", "mult", "--store", "planted.store", "--json", "--robustness", "--plot", place]
    assert main(["evaluate", "runs/mmin/seed-0", *arguments]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["split"], content["convention"], content["plot"]) == ("valid", "mult", place)
    assert content["metrics"] == content["robustness"]["subsets"][0]["metrics"]
    assert len(content["robustness"]["missing_frames"]) == 20
    assert Path(place).is_file()
    assert not Path("runs/mmin/seed-0/robustness.svg").exists()


def test_a_picture_that_cannot_be_written_is_an_error(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["evaluate", "runs/lf_lstm/seed-0", "--robustness", "--plot", str(tmp_path / "file" / "x.svg")]) == 2
    printed, error = capsys.readouterr()
    assert "all -90 %" in printed  # the numbers are not lost
    assert f"The picture {tmp_path / 'file' / 'x.svg'} cannot be written" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "runs/mult/seed-0", "--plot", "x.svg"], "--plot x.svg is given without --robustness, whose picture it names"),
        (["evaluate", "runs/mult/seed-0", "--robustness", "--plot", "x.png"], "--plot is x.png; expected a name that ends in .svg"),
        (["evaluate", "runs/none", "--robustness"], "runs/none is not a run folder: there is no such folder"),
        (["evaluate", "runs/mult/seed-0", "--robustness", "--store", "none.store"], "There is no store at none.store"),
        (["evaluate", "runs/mult/seed-0", "--robustness", "--split", "tset"], "has no split 'tset'"),
        (["evaluate", "runs/mult/seed-0", "--robustness", "--convention", "mulf"], "no metric convention 'mulf'. Did you mean 'mult'"),
        (
            ["train", "mult.yaml", "training.modality_dropout.audo=0.3"],
            "training.modality_dropout.audo is 0.3; expected rates for text, audio, vision",
        ),
        (["evaluate", "runs/none"], "runs/none is not a run folder: there is no such folder"),
        (["evaluate", "runs/mult/seed-0", "--split", "train"], "holds no predictions for the split 'train'"),
        (["evaluate", "runs/mult/seed-0", "--convention", "mulf"], "no metric convention 'mulf'. Did you mean 'mult'"),
        (["evaluate", "runs/mult/seed-0", "--store", "none.store"], "There is no store at none.store"),
        (["compare", "mult.yaml", "--json", "--latex"], "Choose one of --json, --markdown and --latex"),
        (["compare", "mult.yml"], "There is no recipe 'mult.yml'"),
        (["compare", "mult.yaml", "--seeds", "1", "training.epochs=7"], "its training.epochs is 30, not 7"),
    ],
)
def test_mistakes_are_one_paragraph_and_exit_code_2(arguments: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err.replace("\n", " ")
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(("option", "start"), [("--markdown", "**test split"), ("--latex", "% test split"), ("--json", "{")])
def test_compare_prints_in_the_format_asked_for(option: str, start: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "mult.yaml", "lf_lstm.yaml", "--seeds", "1", option]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(start)
    assert "mult seed 0: already trained, reused" in captured.err
    if option == "--json":
        assert [row["name"] for row in json.loads(captured.out)["rows"]] == ["mult", "lf_lstm"]


def test_compare_prints_tables_and_writes_the_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "mult.yaml", "lf_lstm.yaml", "--seeds", "1", "--reference", "mult", "--report", "out/report.html"]) == 0
    printed = capsys.readouterr().out
    assert "oracle (best possible)" in printed
    assert "Corr against mult" in printed
    assert (here / "out" / "report.html").is_file()
