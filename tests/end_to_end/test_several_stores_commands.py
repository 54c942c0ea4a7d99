"""Training on several stores as a user types it: train, evaluate, robustness, compare with its report."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from small_run import write_small_store

from multigrain.cli import main
from multigrain.schema import Task

RECIPE = """
data:
  stores:
    - words.store
    - {{path: voices.store, weight: 1.5, labels: {{from_range: [1, 5], to_range: [-3, 3]}}}}
model: {model}
training: {{epochs: 2, batch_utterances: 8, num_threads: 1, accelerator: cpu}}
"""
MODELS = {
    "lf_lstm": "{name: lf_lstm, width: 4}",
    "mult": "{name: mult, width: 8, num_heads: 2, num_layers: 1, num_summary_layers: 1}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stores, a recipe of each model on both, and a run."""
    root = tmp_path_factory.mktemp("several")
    write_small_store(root / "words.store", widths={"text": 4}, steps=8)
    write_small_store(root / "voices.store", widths={"audio": 3}, speaking="audio", task=Task(minimum=1.0, maximum=5.0))
    for name, settings in MODELS.items():
        (root / f"{name}.yaml").write_text(RECIPE.format(model=settings))
    return root


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    if not Path("runs/lf_lstm").exists():
        assert main(["train", "lf_lstm.yaml", "--run-folder", "runs/lf_lstm/seed-0"]) == 0
    return folder


def test_train_prints_the_union_and_each_store(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "mult.yaml", "--run-folder", "mult-run", "--overwrite", "data.stores.1.weight=0.5"]) == 0
    captured = capsys.readouterr()
    assert "test of words" in captured.out
    assert "test of voices" in captured.out
    assert "38 utterances to train on, 18 to validate" in captured.err  # 25 + 13 of 25


def test_evaluate_shows_each_store(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "runs/lf_lstm/seed-0", "--json"]) == 0
    content, results = json.loads(capsys.readouterr().out), json.loads(Path("runs/lf_lstm/seed-0/results.json").read_text())
    assert content["metrics"]["mae"] == pytest.approx(results["splits"]["test"]["mae"])
    assert content["stores"]["voices"]["mae"] == pytest.approx(results["stores"]["voices"]["test"]["mae"])
    assert main(["evaluate", "runs/lf_lstm/seed-0"]) == 0
    assert "of these, those of the store voices" in " ".join(capsys.readouterr().out.split())


def test_robustness_predicts_the_runs_own_stores(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["evaluate", "runs/lf_lstm/seed-0", "--robustness", "--json"]) == 0
    content, results = json.loads(capsys.readouterr().out), json.loads(Path("runs/lf_lstm/seed-0/results.json").read_text())
    assert content["metrics"]["mae"] == pytest.approx(results["splits"]["test"]["mae"], abs=1e-5)
    subsets = {tuple(entry["condition"]["modalities"]): entry for entry in content["robustness"]["subsets"]}
    assert subsets[("text",)]["utterances_without_input"] == 9  # those of the other store
    assert (here / "runs/lf_lstm/seed-0/robustness.svg").is_file()


def test_compare_reuses_runs_and_writes_a_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compare", "mult.yaml", "lf_lstm.yaml", "--seeds", "1", "--report", "report.html"]
    assert main([*command, "--json"]) == 0
    captured = capsys.readouterr()
    comparison = json.loads(captured.out)
    assert "lf_lstm seed 0: already trained, reused" in captured.err
    assert [row["name"] for row in comparison["rows"]] == ["mult", "lf_lstm"]
    assert comparison["store"] == f"{here / 'words.store'}, {here / 'voices.store'}"
    assert comparison["num_utterances"] == 18
    report = (here / "report.html").read_text()
    assert str(here / "voices.store") in report
    assert "Predicted against actual" in report
    (here / "other.yaml").write_text((here / "mult.yaml").read_text().replace("to_range: [-3, 3]", "to_range: [3, -3]"))
    assert main(["compare", "other.yaml", "lf_lstm.yaml", "--seeds", "1"]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "The recipes train on different data: other on" in message
    assert "or the same ones with the same names and label maps" in message


def test_a_range_that_does_not_fit_is_one_paragraph(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "lf_lstm.yaml", "data.stores.1.labels=null", "--run-folder", "wrong"]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert message.startswith("Error: The store 'voices'")
    assert "labels: {from_range: [1, 5], to_range: [-3, 3]}}" in message
    assert not (here / "wrong").exists()
