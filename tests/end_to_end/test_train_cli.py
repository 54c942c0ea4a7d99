"""`multigrain train` and `multigrain list` as a user types them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from multigrain import __version__
from multigrain.cli import main
from multigrain.data.store import StoreWriter
from multigrain.models import MODELS
from multigrain.schema import FeatureSpec, Task, Utterance
from multigrain.training.recipe_file import list_recipes

RECIPE = """
name: tiny
data: {store: tiny.store}
model: {name: lf_lstm, width: 4}
training: {epochs: 2, batch_utterances: 6, num_threads: 1, accelerator: cpu}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store and a recipe, which is the current one."""
    generator = np.random.default_rng(0)
    with StoreWriter(tmp_path / "tiny.store", task=Task(), features={"text": FeatureSpec(dim=3), "audio": FeatureSpec(dim=2)}) as writer:
        for split, size in (("train", 20), ("valid", 6), ("test", 6)):
            for number in range(size):
                features = {"text": generator.normal(size=(4, 3)).astype(np.float32), "audio": generator.normal(size=(6, 2)).astype(np.float32)}
                label = float(generator.uniform(-3, 3))
                writer.add(Utterance(id=f"{split}{number}", split=split, group=f"{split}{number}", features=features, label=label))
        writer.finish()
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fails(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """The message of a command that ends with exit code 2: one paragraph, no traceback."""
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "Traceback" not in output.err
    return output.err


def fails_in_one_line(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    message = fails(capsys, *arguments)
    assert message.startswith("Error: ")
    assert message.count("\n") == 1
    return message


def test_train_prints_a_line_an_epoch_and_the_scores(place, capsys):
    assert main(["train", "tiny.yaml", "training.epochs=3", "--seed", "5"]) == 0
    output = capsys.readouterr()
    epochs = re.findall(r"epoch +(\d)/3  train loss [\d.]+  valid loss [\d.]+  mae [\d.]+  [\d,]+ utterances/s  padding \d+ %  [\d.]+ s", output.err)
    assert epochs == ["1", "2", "3"]
    assert "lf_lstm: " in output.err
    assert "mae" in output.out
    assert "seed 5" in output.out
    assert "Written to runs/tiny" in output.out
    assert json.loads((place / "runs" / "tiny" / "results.json").read_text())["seed"] == 5


def test_seeds_go_into_folders_of_their_own_and_are_summed_up(place, capsys):
    assert main(["train", "tiny.yaml", "--seeds", "2", "--run-folder", "here"]) == 0
    output = capsys.readouterr().out
    values = [json.loads((place / "here" / f"seed-{seed}" / "results.json").read_text())["splits"]["test"]["mae"] for seed in (0, 1)]
    assert "2 seeds" in output
    assert f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}" in output
    capsys.readouterr()
    assert main(["train", "--resume", "here"]) == 0
    assert capsys.readouterr().err.count("is complete; there is nothing to resume") == 2


@pytest.mark.parametrize(
    ("accelerator", "reason"),
    [("gpu", r"no GPU can be used here: (this torch was built without CUDA|the driver shows none)"), ("mps", r"has no Apple GPU")],
)
def test_a_device_that_is_not_there_leaves_no_run(place, capsys, monkeypatch, accelerator, reason):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    message = fails_in_one_line(capsys, "train", "tiny.yaml", f"training.accelerator={accelerator}")
    assert re.search(rf"training.accelerator is '{accelerator}', but .*{reason}.*Set it to auto or cpu", message)
    assert sorted(path.name for path in place.iterdir()) == ["tiny.store", "tiny.yaml"]


def test_more_devices_than_there_are_leave_no_run(place, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    message = fails_in_one_line(capsys, "train", "tiny.yaml", "training.accelerator=gpu", "training.devices=2")
    assert "training.devices is 2, but there is 1 GPU here" in message
    assert not (place / "runs").exists()


def test_resuming_what_has_no_saved_state_says_that_it_begins_anew(place, capsys, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("multigrain.training.train.fit", interrupted)
        assert main(["train", "tiny.yaml"]) == 130
    assert "multigrain train --resume runs/tiny" in capsys.readouterr().err
    assert not (place / "runs" / "tiny" / "checkpoints" / "last").exists()
    assert main(["train", "--resume", "runs/tiny"]) == 0
    assert "runs/tiny holds no saved state, since no epoch was finished: it begins anew." in capsys.readouterr().err
    assert json.loads((place / "runs" / "tiny" / "run.json").read_text())["status"] == "completed"


def test_resuming_where_there_is_no_run_says_that_it_begins_anew(place, capsys):
    assert main(["train", "tiny.yaml", "--resume"]) == 0
    assert "There is no run at runs/tiny to resume: it begins anew." in capsys.readouterr().err
    assert main(["train", "tiny.yaml", "--resume"]) == 0
    assert "anew" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], r"There is no recipe 'nowhere': it is neither a file nor one of the package's recipes"),
        (["tiny.yaml", "model.name=lf_lstn"], r"tiny.yaml: model.name is 'lf_lstn', which is no model of multigrain. Did you mean 'lf_lstm'\?"),
        (["tiny.yaml", "training.epoch=3"], r"unknown key 'training.epoch'. Did you mean 'training.epochs'\?"),
        (["tiny.yaml", "data.store=gone.store"], r"There is no store at .*gone.store"),
        (["tiny.yaml", "data.modalities=[text, vision]"], r"asks for the modality 'vision' .*has only text, audio"),
        (["tiny.yaml", "--seed", "1", "--seeds", "2"], r"Both --seed and --seeds are given"),
        (["tiny.yaml", "--resume", "--overwrite"], r"Both --resume and --overwrite are given"),
        (["--resume", ".", "training.epochs=3"], r"A run folder is resumed with what it was started with"),
        (["--resume", "."], r"is not a run folder: expected recipe.yaml and run.json in it"),
        (["tiny.yaml", "--seeds", "2", "training.devices=2"], r"--seeds trains one run after the other"),
    ],
)
def test_what_a_user_can_mend_is_one_line(place, capsys, arguments, message):
    assert re.search(message, fails_in_one_line(capsys, "train", *arguments))
    assert not (place / "runs").exists()


def test_a_run_that_is_there_tells_both_ways_out(place, capsys):
    assert main(["train", "tiny.yaml", "training.epochs=1"]) == 0
    capsys.readouterr()
    message = fails_in_one_line(capsys, "train", "tiny.yaml", "training.epochs=1")
    assert "--resume" in message
    assert "--overwrite" in message
    assert main(["train", "tiny.yaml", "training.epochs=1", "--overwrite"]) == 0


def test_unknown_commands_and_options_end_with_2(capsys):
    assert "No such command" in fails(capsys, "trian")
    assert "No such option" in fails(capsys, "train", "tiny.yaml", "--sed", "1")


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"multigrain {__version__}"
    assert main(["train", "--help"]) == 0
    assert "--seeds" in capsys.readouterr().out


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom multigrain.cli import main\nassert main(['--help']) == 0\n"
        "assert not {'torch', 'lightning', 'numpy', 'scipy', 'matplotlib', 'h5py'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_lists_come_from_the_registries(capsys, monkeypatch):
    assert main(["list", "models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(MODELS)
    assert all(row["parameters"] > 0 and row["paper"] and row["year"] >= 1990 for row in rows)
    for kind in ("metrics", "readers", "recipes"):
        assert main(["list", kind, "--json"]) == 0
        assert isinstance(json.loads(capsys.readouterr().out), list)
        assert main(["list", kind]) == 0
        assert capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["list", "recipes"]) == 0
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert printed.count("paper/mosei_unaligned/...") == 3  # MCMuT's, MulT's and the single modalities' rows, each on a line
    assert main(["list", "recipes", "--json"]) == 0
    named = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(named) == set(list_recipes())
    assert named["paper/mosei_unaligned/mcmut_b5"]["published"] == ["mcmut/table_6/b_5"]
    assert "There is no list of 'model'; expected one of models, readers, metrics, recipes. Did you mean 'models'?" in fails(capsys, "list", "model")


def test_ctrl_c_ends_with_130_and_tells_how_to_go_on(place):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "multigrain", "train", "tiny.yaml", "training.epochs=100000"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = place / "runs" / "tiny" / "metrics.jsonl"
    deadline = time.monotonic() + 100
    while not (metrics.is_file() and metrics.read_text()) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    assert metrics.is_file(), "no epoch was done"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1] == "Interrupted. Continue with: multigrain train --resume runs/tiny"
    assert "Traceback" not in errors
    assert json.loads((place / "runs" / "tiny" / "run.json").read_text())["status"] == "interrupted"
    assert main(["list", "recipes"]) == 0
