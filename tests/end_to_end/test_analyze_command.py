"""`multigrain analyze` and `multigrain calibrate` as a user types them."""

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))
from small_runs import write_run, write_store

from made_clips import spoken_like, write_tracks
from multigrain.analysis.result import Analysis
from multigrain.cli import main
from multigrain.data.store import Store
from multigrain.language.reader import TextReader
from multigrain.language.settings import TextEncoderSettings
from multigrain.models import build_model
from multigrain.schema import Task


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    reader = TextReader.from_settings(TextEncoderSettings(name=str(tiny_encoder), max_tokens=24))
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("analyze") / "checkpoint"
    build_model("pooled", {}, Task(), {"text": reader.spec}, text_reader=reader).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrate")
    return write_run(folder / "runs" / "mult" / "seed-0", "mult", Store.open(write_store(folder / "planted.store")))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments]) == 2
    return " ".join(capsys.readouterr().err.split())


def test_a_text_to_table_json_csv_and_report(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {kind: tmp_path / "out" / f"a.{kind}" for kind in ("json", "csv", "html")}
    options = ["--json", str(files["json"]), "--csv", str(files["csv"]), "--report", str(files["html"])]
    assert main(["analyze", "--text", "the film was good\nso awful", "--checkpoint", str(checkpoint), *options]) == 0
    printed = capsys.readouterr()
    found = Analysis.read_json(files["json"])
    assert [one.text for one in found.utterances] == ["the film was good", "so awful"]
    assert f"{found.utterances[0].score:+.2f}".replace("-", "−") in printed.out
    rows = list(csv.DictReader(io.StringIO(files["csv"].read_text())))
    assert [float(row["score"]) for row in rows] == [one.score for one in found.utterances]
    assert "so awful" not in files["html"].read_text()  # each word stands in an element of its own
    assert ">awful</span>" in files["html"].read_text()
    assert printed.err.count("Wrote ") == 3


def test_a_text_from_the_input(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("good\n"))
    assert main(["analyze", "--text", "-", "--checkpoint", str(checkpoint), "--json", str(tmp_path / "a.json")]) == 0
    assert json.loads((tmp_path / "a.json").read_text())["utterances"][0]["text"] == "good"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either a video or --text TEXT; got neither"),
        (["a.mp4", "--text", "x"], "got both"),
        (["--text", "x", "--media", "embed"], "without --report"),
        (["--text", "x", "--media", "inside", "--report", "a.html"], "expected one of auto, embed, link, none"),
        (["--text", "x", "--transcript", "a.srt"], "--transcript a.srt is given with --text"),
        (["--text", " "], "no words"),
        (["a.mp4", "--checkpoint", "/nowhere/at/all"], "There is no video at"),
        (["--text", "good", "--audio-track", "2"], "--audio-track 2 is given with --text, which has no sound"),
    ],
)
def test_what_a_user_can_get_wrong(arguments: list[str], message: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = arguments if "--checkpoint" in arguments else [*arguments, "--checkpoint", str(checkpoint)]
    assert message in refused(capsys, "analyze", *given)


def test_the_track_of_sound_that_is_asked_for(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_tracks(tmp_path / "dubbed.mka", [(spoken_like(1.2)[None], "eng"), (spoken_like(1.2)[None], "ger")])
    given = ["analyze", str(path), "--checkpoint", str(checkpoint), "--audio-track"]
    assert main([*given, "de", "--json", str(tmp_path / "a.json")]) == 0
    capsys.readouterr()
    assert "The file has 2 tracks of sound: 1 (eng), 2 (ger); 2 was used." in Analysis.read_json(tmp_path / "a.json").notes
    assert "has no track of sound 'fr'; it has 1 (eng), 2 (ger)" in refused(capsys, *given, "fr")


def test_a_result_that_cannot_be_written(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    message = refused(capsys, "analyze", "--text", "good", "--checkpoint", str(checkpoint), "--json", str(tmp_path / "file" / "a.json"))
    assert "cannot be written" in message


def test_a_checkpoint_that_cannot_be_used_is_refused(run: Path, silence: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "'planted'" in refused(capsys, "analyze", str(silence), "--checkpoint", str(run))
    assert "There is no folder /nowhere/at/all" in refused(capsys, "analyze", str(silence), "--checkpoint", "/nowhere/at/all")


def test_calibrate_writes_intervals_and_says_how_well_they_hold(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    assert main(["calibrate", str(copy)]) == 0
    printed = capsys.readouterr().out
    assert "text + audio + vision" in printed
    assert "In brackets" in printed
    assert (copy / "checkpoints" / "best" / "conformal.json").is_file()
    assert "--check" in refused(capsys, "calibrate", str(copy), "--check", "valid")


def test_what_libraries_print_is_dropped_and_what_python_prints_is_not() -> None:
    code = """
import os, sys
from multigrain.cli.analyze import quiet_libraries
with quiet_libraries():
    os.write(2, b"W0000 inference_feedback_manager.cc")
    print("kept", file=sys.stderr)
os.write(2, b"again")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.split() == ["kept", "again"]
