"""A language model as a user types it: transcripts to a store, train, evaluate, compare with its report; and what is said when it is not there."""

import json
from pathlib import Path

import numpy as np
import pytest

from multigrain.cli import main
from tiny_encoder import WORDS, write_tiny_encoder

RECIPE = """
data: {{store: talks.store}}
text_encoder: {{name: encoder, max_tokens: 16, mode: {mode}}}
model: {{name: mmin, width: 8, num_heads: 2, num_layers: 1}}
training: {{epochs: 1, batch_utterances: 8, num_threads: 1, accelerator: cpu}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of transcripts, a language model and two recipes."""
    root, generator = tmp_path_factory.mktemp("talks"), np.random.default_rng(0)
    lines = ["name,fold,said,verdict"]
    for split, count in (("train", 24), ("dev", 8), ("test", 8)):
        for index in range(count):
            words = " ".join(generator.choice(WORDS, size=int(generator.integers(1, 12)))).upper()
            lines.append(f"{split}_{index},{split},{words},{generator.choice(['bad', 'fair', 'good'])}")
    (root / "talks.csv").write_text("\n".join(lines) + "\n")
    write_tiny_encoder(root / "encoder")
    for mode in ("lora", "frozen"):
        (root / f"{mode}.yaml").write_text(RECIPE.format(mode=mode))
    return root


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    if not Path("talks.store").exists():
        columns = [argument for name in ("id=name", "split=fold", "text=said", "label=verdict") for argument in ("--column", name)]
        values = [argument for value in ("bad=-2", "fair=0", "good=2") for argument in ("--label-value", value)]
        assert main(["data", "convert", "--format", "transcripts", "talks.csv", "talks.store", "--lower-case", *columns, *values]) == 0
        assert main(["train", "lora.yaml", "--run-folder", "runs/lora/seed-0"]) == 0
        assert main(["train", "frozen.yaml", "--run-folder", "runs/frozen/seed-0"]) == 0
    return folder


def test_a_run_is_evaluated_on_its_store_and_under_missing_words(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in ("runs/lora/seed-0", "runs/frozen/seed-0"):
        results = json.loads(Path(run, "results.json").read_text())
        capsys.readouterr()
        assert main(["evaluate", run, "--store", "talks.store", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["metrics"]["mae"] == pytest.approx(results["splits"]["test"]["mae"], abs=1e-5)
        assert main(["evaluate", run, "--robustness", "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)["robustness"]["missing_frames"]) == 5


def test_runs_are_compared_with_a_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "lora.yaml", "frozen.yaml", "--seeds", "1", "--report", "report.html"]) == 0
    assert "frozen" in capsys.readouterr().out
    assert "lora" in Path("report.html").read_text()


def test_a_language_model_that_was_moved_is_named_with_a_flag(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = Path("encoder").rename("elsewhere")
    try:
        assert main(["evaluate", "runs/lora/seed-0", "--store", "talks.store"]) == 2
        assert "--text-encoder FOLDER" in capsys.readouterr().err
        assert main(["evaluate", "runs/lora/seed-0", "--store", "talks.store", "--text-encoder", str(moved)]) == 0
    finally:
        moved.rename("encoder")
    assert main(["evaluate", "runs/lora/seed-0", "--text-encoder", "encoder"]) == 2
    assert "Give a store with --store, or leave it out" in capsys.readouterr().err


def test_what_is_wrong_is_one_paragraph(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.HfApi.repo_info", unreachable)
    for override, message in (
        ("text_encoder.name=bert-base-uncased", "as a hub id it could not be fetched"),
        ("text_encoder.name=./nowhere", "there is no such folder"),
        ("text_encoder.mode=tuned", "expected one of fine_tuned, lora, last_layers, frozen"),
        ("text_encoder.max_tokens=4000", "expected at most 40"),
        ("text_encoder=null", "is words without vectors"),
    ):
        capsys.readouterr()
        assert main(["train", "lora.yaml", override, "--run-folder", "runs/wrong"]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert message in line
        assert not Path("runs/wrong").exists()
