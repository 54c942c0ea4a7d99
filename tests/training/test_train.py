import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix as reference_confusion
from small_run import changed, write_small_store

from multigrain.cli import main
from multigrain.data.store import Store
from multigrain.errors import CheckpointError, DataError, RecipeError, StoreError, TrainingError
from multigrain.evaluation.predict import read_predictions
from multigrain.metrics import compute_metrics
from multigrain.models import MODELS, load
from multigrain.models.base import MultimodalModel
from multigrain.schema import ModelOutput, Task
from multigrain.training import train as train_module
from multigrain.training.compatibility import check_features
from multigrain.training.recipe import ModelRecipe, Recipe
from multigrain.training.recipe_file import recipe_from_dict
from multigrain.training.run_folder import RunFolder
from multigrain.training.train import TrainingInterrupted, train_run


def run(recipe: Recipe, folder: Path, **options) -> dict:
    return train_run(recipe, run_folder=folder, seed=options.pop("seed", 1), show_progress=False, **options)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def status(folder: Path) -> str:
    return json.loads((folder / "run.json").read_text())["status"]


def test_a_run_leaves_what_the_architecture_says(small_recipe, tmp_path):
    folder = tmp_path / "run"
    results = run(small_recipe, folder)
    metrics = lines(folder / "metrics.jsonl")
    assert [line["epoch"] for line in metrics] == [1, 2, 3]
    assert [line["step"] for line in metrics] == [5, 10, 15]
    assert list(metrics[0]) == ["epoch", "step", "train_loss", "valid_loss", "learning_rate", "valid"]
    assert list(lines(folder / "timing.jsonl")[0]) == ["epoch", "seconds", "utterances_per_second", "padding_waste"]
    assert results == json.loads((folder / "results.json").read_text())
    assert results["best_epoch"] == 1 + int(np.argmin([line["valid_loss"] for line in metrics]))
    assert status(folder) == "completed"
    info = json.loads((folder / "run.json").read_text())
    assert info["store_fingerprint"] == Store.open(small_recipe.data.store).fingerprint
    assert {"model", "seed", "versions", "multigrain_version", "parameters", "started", "command", "name"} <= set(info)
    assert list((folder / "logs" / "tensorboard").glob("events.out.tfevents.*"))
    rows = list(csv.DictReader((folder / "logs" / "csv" / "metrics.csv").read_text().splitlines()))
    assert [float(row["train_loss"]) for row in rows] == [line["train_loss"] for line in metrics]
    assert not list(tmp_path.rglob("*.part*"))
    assert run_metrics(folder, "valid") == pytest.approx(metrics[results["best_epoch"] - 1]["valid"], abs=1e-6)
    for split in ("valid", "test"):
        assert results["splits"][split] == run_metrics(folder, split)


def test_two_trainings_never_share_a_folder(small_recipe, tmp_path):
    folder = tmp_path / "run"
    with RunFolder(folder).locked(), pytest.raises(TrainingError, match="Another process is training in"):
        run(small_recipe, folder)
    assert not folder.exists()
    run(small_recipe, folder)
    assert status(folder) == "completed"
    assert [path.name for path in tmp_path.iterdir() if "lock" in path.name] == []


def run_metrics(folder: Path, split: str) -> dict[str, float]:
    predictions = read_predictions(folder / "predictions" / f"{split}.csv")
    return compute_metrics(Task(), predictions.scores, predictions.labels)


def test_the_same_seed_gives_the_same_run_and_another_does_not(small_recipe, tmp_path):
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        torch.manual_seed(hash(name) % 1000)  # what was drawn before must not matter
        run(small_recipe, tmp_path / name, seed=seed)
    one, again, other = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("one", "again", "other"))
    assert one == again != other


def test_the_model_learns(small_recipe, tmp_path):
    recipe = changed(small_recipe, training={"epochs": 15, "monitor": "correlation"}, model={"width": 16, "hidden_dropout": 0.0})
    results = run(recipe, tmp_path / "run")
    assert lines(tmp_path / "run" / "metrics.jsonl")[-1]["train_loss"] < 0.6 * lines(tmp_path / "run" / "metrics.jsonl")[0]["train_loss"]
    assert results["splits"]["valid"]["correlation"] > 0.6
    best = max(line["valid"]["correlation"] for line in lines(tmp_path / "run" / "metrics.jsonl"))
    assert results["splits"]["valid"]["correlation"] == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains(name, small_store, tmp_path, small_recipe):
    recipe = Recipe(
        name="any",
        data=small_recipe.data,
        model=model_recipe(name),
        training=changed(small_recipe, training={"epochs": 1, "batch_utterances": 25}).training,
    )
    results = run(recipe, tmp_path / "run")
    assert math.isfinite(results["splits"]["test"]["mae"])


def model_recipe(name: str) -> ModelRecipe:
    return recipe_from_dict({"data": {"store": "a"}, "model": {"name": name}}).model


@pytest.mark.parametrize("kind", ["classification", "emotions"])
def test_other_tasks_train(kind, small_recipe, tmp_path):
    store = write_small_store(tmp_path / "other.store", task=Task(kind="emotions" if kind == "emotions" else "regression"))
    section = {} if kind == "emotions" else {"kind": "classification", "class_values": [-3, -1, 1, 3]}
    recipe = changed(small_recipe, data={"store": str(store)}, task=section, training={"monitor": "f1_mean" if kind == "emotions" else "accuracy_7"})
    results = run(recipe, tmp_path / "run")
    assert results["splits"]["test"]
    assert load(str(tmp_path / "run")).task.kind == kind


@pytest.mark.parametrize(
    "setting",
    [
        {"schedule": "cosine", "warmup_steps": 4, "optimizer": "adamw", "weight_decay": 0.1},
        {"batch_utterances": None, "batch_steps": 30},
        {"precision": "bf16-mixed"},
        {"batch_utterances": 1},
        {"num_workers": 1},
        {"log_every": 2},
    ],
)
def test_settings_train(setting, small_recipe, tmp_path):
    run(changed(small_recipe, training=setting), tmp_path / "run")
    metrics = lines(tmp_path / "run" / "metrics.jsonl")
    assert all(math.isfinite(line["train_loss"]) for line in metrics)
    if "schedule" in setting:
        assert 0 < metrics[-1]["learning_rate"] < metrics[1]["learning_rate"] <= small_recipe.training.learning_rate
    if "log_every" in setting:
        assert "running_train_loss" in (tmp_path / "run" / "logs" / "csv" / "metrics.csv").read_text()


def test_all_neutral_labels_and_a_validation_of_one(small_recipe, tmp_path):
    store = write_small_store(tmp_path / "neutral.store", label=0.0, sizes=(5, 1, 1))
    with pytest.warns(UserWarning, match="correlation is undefined"):
        results = run(changed(small_recipe, data={"store": str(store)}), tmp_path / "run")
    assert results["splits"]["test"]["accuracy_2_non0"] is None
    assert results["undefined"]["test"]["accuracy_2_non0"] == "the labels of all 1 utterances are neutral"
    assert math.isfinite(results["splits"]["test"]["mae"])


def test_classes_get_weights_a_confusion_matrix_and_a_macro_f1(small_recipe, tmp_path, capsys):
    recipe = changed(small_recipe, task={"kind": "classification", "class_values": (-1.0, 0.0, 1.0)}, training={"loss": "cross_entropy"})
    plain = run(recipe, tmp_path / "plain")
    balanced = run(changed(recipe, training={"class_weights": "balanced"}), tmp_path / "balanced")
    test = Store.open(recipe.data.store).split("test")
    for results in (plain, balanced):
        assert np.array(results["confusion"]["test"]).shape == (3, 3)
        assert np.sum(results["confusion"]["test"]) == len(test)
        assert 0 <= results["splits"]["test"]["f1_macro"] <= 1
    predictions = read_predictions(tmp_path / "plain" / "predictions" / "test.csv")
    assert predictions.classes is not None
    assert plain["confusion"]["test"] == reference_confusion(test.labels.clamp(-1, 1).round(), predictions.classes, labels=[-1, 0, 1]).tolist()
    losses = [lines(tmp_path / name / "metrics.jsonl")[0]["train_loss"] for name in ("plain", "balanced")]
    assert losses[0] != losses[1]
    assert main(["evaluate", str(tmp_path / "plain"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["classes"], told["confusion"]) == ([-1.0, 0.0, 1.0], plain["confusion"]["test"])
    assert main(["evaluate", str(tmp_path / "plain")]) == 0
    assert "taken for -1" in capsys.readouterr().out


def test_the_last_epoch_can_be_kept_in_place_of_the_best(small_recipe, tmp_path):
    setting = {"epochs": 6, "learning_rate": 0.5, "schedule": "constant"}
    best = run(changed(small_recipe, training=setting), tmp_path / "best")
    last = run(changed(small_recipe, training={**setting, "keep": "last"}), tmp_path / "last")
    metrics = lines(tmp_path / "last" / "metrics.jsonl")
    assert best["kept_epoch"] == best["best_epoch"] == last["best_epoch"] < last["kept_epoch"] == 6
    assert last["splits"]["valid"] == pytest.approx(metrics[-1]["valid"], abs=1e-6)
    assert best["splits"]["valid"] == pytest.approx(metrics[best["best_epoch"] - 1]["valid"], abs=1e-6)


def test_early_stopping_and_plateau_follow_validation(small_recipe, tmp_path):
    setting = {"epochs": 30, "learning_rate": 0.3, "early_stopping_patience": 2, "plateau_patience": 0, "plateau_factor": 0.5}
    results = run(changed(small_recipe, training=setting), tmp_path / "run")
    metrics = lines(tmp_path / "run" / "metrics.jsonl")
    assert len(metrics) == results["best_epoch"] + 2 < 30
    assert metrics[-1]["learning_rate"] < 0.3


# What goes wrong ------------------------------------------------------------------------------------------------------


def poison(monkeypatch: pytest.MonkeyPatch, at_step: int, value: float = math.nan) -> None:
    """Makes the loss of one training step `value`."""
    forward, seen = MODELS["lf_lstm"].forward, []

    def forward_then_poison(self: MultimodalModel, batch, with_attention: bool = False) -> ModelOutput:
        output = forward(self, batch, with_attention)
        if self.training:
            seen.append(batch.ids)
            if len(seen) == at_step:
                output.losses["poison"] = output.prediction.sum() * value
        return output

    monkeypatch.setattr(MODELS["lf_lstm"], "forward", forward_then_poison)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run(value, small_recipe, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    poison(monkeypatch, at_step=8, value=value)
    message = r"In epoch 2, step 8, the loss is -?(nan|inf). The batch's utterances: train\d+(, train\d+)*. The checkpoints of epoch 1 are intact"
    with pytest.raises(TrainingError, match=message):
        run(small_recipe, folder)
    assert status(folder) == "failed"
    assert not (folder / "results.json").exists()
    assert len(lines(folder / "metrics.jsonl")) == 1
    assert all(torch.isfinite(parameter).all() for parameter in load(str(folder)).parameters())
    monkeypatch.undo()
    run(small_recipe, folder, resume=True)
    assert status(folder) == "completed"


def test_a_gradient_that_is_not_finite_stops_the_run(small_recipe, tmp_path, monkeypatch):
    class BadGradient(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value):
            return value.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * math.nan

    forward = MODELS["lf_lstm"].forward

    def bad(self, batch, with_attention: bool = False) -> ModelOutput:
        output = forward(self, batch, with_attention)
        output.prediction = BadGradient.apply(output.prediction)
        return output

    monkeypatch.setattr(MODELS["lf_lstm"], "forward", bad)
    with pytest.raises(TrainingError, match=r"In epoch 1, step 1, the gradient is nan. The batch's utterances: train.*No epoch was finished"):
        run(small_recipe, tmp_path / "run")


def test_what_does_not_go_together_is_named_before_training(small_recipe, small_store, tmp_path):
    def fails(error: type[Exception], message: str, **sections) -> None:
        with pytest.raises(error, match=message):
            run(changed(small_recipe, **sections), tmp_path / "run")
        assert not (tmp_path / "run").exists()

    fails(StoreError, "There is no store at .*nowhere.store", data={"store": str(tmp_path / "nowhere.store")})
    fails(RecipeError, r"training.monitor is 'mea'; expected one of valid_loss, mae.* Did you mean 'mae'\?", training={"monitor": "mea"})
    fails(RecipeError, r"loss 'cross_entropy' cannot be used for a regression task", training={"loss": "cross_entropy"})
    fails(RecipeError, r"training.loggers names 'wandbb'.* Did you mean 'wandb'\?", training={"loggers": ["wandbb"]})
    fails(RecipeError, "task.kind is 'emotions', but the store .* has labels for 'regression'", task={"kind": "emotions"})
    text_only = write_small_store(tmp_path / "text.store", widths={"text": 4})
    fails(
        DataError,
        r"The recipe asks for the modality 'vision' \(data.modalities\), but the store .*text.store has only text",
        data={"store": str(text_only), "modalities": ["text", "vision"]},
    )


def test_a_logger_that_is_not_installed_is_named(small_recipe, tmp_path):
    with pytest.raises(RecipeError, match=r"The logger 'comet' of training.loggers cannot be used: .*pip install comet"):
        run(changed(small_recipe, training={"loggers": ["comet"]}), tmp_path / "run")


def test_a_model_that_needs_alignment_refuses_unaligned_data(small_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(MODELS["lf_lstm"], "needs_alignment", True)
    message = (
        r"'lf_lstm' needs aligned data .* in split 'train' \d+ of 25 utterances are not; the first is 'train0' with text \d, audio \d, vision \d"
    )
    with pytest.raises(DataError, match=message):
        run(small_recipe, tmp_path / "run")
    aligned = write_small_store(tmp_path / "aligned.store", steps=4)
    run(changed(small_recipe, data={"store": str(aligned)}, training={"epochs": 1}), tmp_path / "run")


def test_a_checkpoint_of_other_features_is_refused(small_recipe, tmp_path):
    run(changed(small_recipe, training={"epochs": 1}), tmp_path / "run")
    model = load(str(tmp_path / "run"))
    check_features(model, Store.open(small_recipe.data.store))
    other = Store.open(write_small_store(tmp_path / "wide.store", widths={"text": 5, "audio": 3, "vision": 2}))
    with pytest.raises(CheckpointError, match=r"trained on other text features than the store .*wide.store holds: dim 4 against 5"):
        check_features(model, other)
    text_only = Store.open(write_small_store(tmp_path / "text.store", widths={"text": 4}))
    with pytest.raises(CheckpointError, match=r"other audio features .* it is not in the store"):
        check_features(model, text_only)


def test_an_existing_run_is_neither_lost_nor_mixed(small_recipe, tmp_path):
    folder = tmp_path / "run"
    short = changed(small_recipe, training={"epochs": 1})
    run(short, folder)
    with pytest.raises(TrainingError, match=r"already holds a run .status 'completed'.. Add --resume to continue it, --overwrite to delete it"):
        run(short, folder)
    before = (folder / "metrics.jsonl").read_bytes()
    assert run(short, folder, resume=True) == json.loads((folder / "results.json").read_text())
    assert (folder / "metrics.jsonl").read_bytes() == before
    with pytest.raises(TrainingError, match=r"was started with training.epochs = 1, not 3. A run is resumed with what it was started with"):
        run(small_recipe, folder, resume=True)
    with pytest.raises(TrainingError, match=r"was started with seed 1, not 2"):
        run(short, folder, resume=True, seed=2)
    (folder / "stray.txt").write_text("of the old run")
    run(short, folder, overwrite=True, seed=2)
    assert not (folder / "stray.txt").exists()
    assert (folder / "metrics.jsonl").read_bytes() != before


def test_a_changed_store_is_not_resumed(small_recipe, small_store, tmp_path, monkeypatch):
    poison(monkeypatch, at_step=8)
    with pytest.raises(TrainingError):
        run(small_recipe, tmp_path / "run")
    shutil.rmtree(small_store)
    write_small_store(small_store, seed=5)
    with pytest.raises(TrainingError, match=r"was started on a store with the fingerprint \w{12}..., but .* its content has changed"):
        run(small_recipe, tmp_path / "run", resume=True)


def test_another_folder_is_never_deleted(small_recipe, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(TrainingError, match=r"exists and is not a run folder, so it is left alone"):
            run(small_recipe, tmp_path / "mine", overwrite=overwrite)
    with pytest.raises(TrainingError, match=r"is not a run folder: expected recipe.yaml and run.json"):
        run(small_recipe, tmp_path / "mine", resume=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_ctrl_c_leaves_a_run_that_can_be_resumed(small_recipe, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    save_last = train_module.RunFolder.save_last

    def interrupt(self, state) -> None:
        save_last(self, state)
        if state["progress"]["epoch"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(train_module.RunFolder, "save_last", interrupt)
    with pytest.raises(TrainingInterrupted, match=f"Interrupted. Continue with: multigrain train --resume {folder}"):
        run(small_recipe, folder)
    assert status(folder) == "interrupted"
    monkeypatch.undo()
    run(small_recipe, folder, resume=True)
    run(small_recipe, tmp_path / "whole")
    assert (folder / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("damage", [b"", b"no archive", "half"], ids=["empty", "garbage", "truncated"])
def test_a_damaged_resume_state_is_named(small_recipe, tmp_path, damage):
    run(small_recipe, tmp_path / "run")
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(info | {"status": "running"}))
    state = RunFolder(tmp_path / "run").last_file
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2] if damage == "half" else damage)
    with pytest.raises(TrainingError, match=r"The resume state .* is damaged \(.*\), so that the run cannot go on. Start it anew with --overwrite"):
        run(small_recipe, tmp_path / "run", resume=True)


def test_a_resume_state_that_cannot_be_opened_is_not_called_damaged(small_recipe, tmp_path, monkeypatch):
    run(small_recipe, tmp_path / "run")

    def refused(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)  # file modes do not stop root, as whom tests may run
    with pytest.raises(TrainingError, match=r"cannot be opened \(Permission denied\). Make it readable"):
        RunFolder(tmp_path / "run").load_last()
