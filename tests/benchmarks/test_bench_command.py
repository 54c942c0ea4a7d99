"""`multigrain bench`: one pair of processes measured for real, the table made of it, and what a user can get wrong."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from multigrain.benchmark.run import REAL, Choices, measure
from multigrain.benchmark.table import COMPILED, bench_rows, bench_table
from multigrain.cli import main
from multigrain.layers.native.library import unavailable


def test_a_pair_of_cells_is_measured_and_told() -> None:
    found = measure(Choices(batch=2, threads=1, seconds=0.1, device="cpu", models=("mult",), inputs=(REAL,)))
    json.dumps(found)
    assert [cell["error"] for cell in found["cells"]] == [None] * len(found["cells"])
    assert [cell["is_native"] for cell in found["cells"]] == ([False] if unavailable() else [True, False])
    for cell in found["cells"]:
        assert len(cell["train"]) == len(cell["predict"]) == 1
        assert cell["train"][0]["utterances_per_second"] == pytest.approx(2 / cell["train"][0]["seconds"])
        assert 5e6 < cell["train"][0]["peak_bytes"] < 2e9
    assert 0 < found["padding_waste"] < 0.5
    console = Console(width=300, record=True, quiet=True)
    console.print(bench_table(found))
    rows = bench_rows(found)
    assert [row[0] for row in rows] == ["MulT train, real lengths"] * len(found["cells"]) + ["MulT predict, real lengths"] * len(found["cells"])
    assert all((row[-1] != "") == (row[1] == COMPILED) for row in rows)


def test_a_failed_cell_says_why_in_its_row() -> None:
    cell = {"model": "mult", "input": REAL, "is_native": False, "batch": 2, "prediction_batch": None, "train": [], "predict": [], "error": "too slow"}
    assert bench_rows({"cells": [cell]}) == [("MulT train, real lengths", "PyTorch's", "2", "no number: too slow", "", "", "")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch", "0"], "--batch is 0; expected 1 to 1284 utterances"),
        (["--threads", "0"], "--threads is 0; expected at least 1"),
        (["--seconds", "-1"], "--seconds is -1.0; expected a number above 0"),
        (["--device", "tpu"], "--device is 'tpu'; expected auto, cpu or cuda"),
        (["--model", "bert"], "--model is 'bert'; expected mult or mcmut"),
        (["--json", "nowhere/at/all.json"], "--json nowhere/at/all.json: its folder is not there"),
    ],
)
def test_wrong_options_are_one_paragraph(words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *words]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
