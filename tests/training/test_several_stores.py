"""Several stores in one training: what is learned, recorded and checked; and that one store is as it always was."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from several_stores import joint_recipe, write_two_stores
from small_run import changed, write_small_store

from multigrain.data.joint_store import JointStore
from multigrain.errors import DataError, RecipeError, StoreError, TrainingError
from multigrain.evaluation.evaluate import evaluate_run, evaluate_stores_of_run, own_store, read_run
from multigrain.evaluation.predict import read_predictions
from multigrain.models import load
from multigrain.schema import Task
from multigrain.training.module import TrainingModule
from multigrain.training.open_data import open_data
from multigrain.training.recipe import Recipe
from multigrain.training.train import train_run


def run(recipe: Recipe, folder: Path, **options) -> dict:
    return train_run(recipe, run_folder=folder, seed=options.pop("seed", 1), show_progress=False, **options)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def two_stores(tmp_path) -> list[dict]:
    return write_two_stores(tmp_path)


def test_a_model_learns_text_from_one_store_and_audio_from_the_other(tmp_path):
    stores = write_two_stores(tmp_path, sizes=(120, 30, 60))
    recipe = changed(joint_recipe(stores, epochs=20), model={"width": 8, "hidden_dropout": 0.0}, training={"batch_utterances": 16})
    results = run(recipe, tmp_path / "both")["stores"]
    assert results["words"]["test"]["correlation"] > 0.9
    assert results["voices"]["test"]["correlation"] > 0.9
    assert results["voices"]["test"]["mae"] < 0.4  # in the common units, -3..3


def test_a_store_alone_in_the_list_trains_as_data_store_does(small_recipe, small_store, tmp_path):
    plain = changed(small_recipe, data={"normalise": True}, training={"modality_dropout": {"audio": 0.3}})
    values = plain.to_dict()
    values["data"] = {"stores": [str(small_store)], "normalise": True}
    from multigrain.training.recipe_file import recipe_from_dict

    results, expected = run(recipe_from_dict(values), tmp_path / "list"), run(plain, tmp_path / "plain")
    for ours, theirs in zip(lines(tmp_path / "list" / "metrics.jsonl"), lines(tmp_path / "plain" / "metrics.jsonl"), strict=True):
        assert ours.pop("valid_by_store") == {"small": theirs["valid"]}
        assert ours == theirs
    weights = [(tmp_path / name / "checkpoints" / "best" / "model.safetensors").read_bytes() for name in ("list", "plain")]
    assert weights[0] == weights[1]
    assert load(str(tmp_path / "list")).features == load(str(tmp_path / "plain")).features
    assert results["splits"] == expected["splits"]
    assert results["stores"] == {"small": expected["splits"]}
    ours, theirs = (read_predictions(tmp_path / name / "predictions" / "test.csv") for name in ("list", "plain"))
    assert ours.ids == tuple(f"small/{name}" for name in theirs.ids)
    assert np.array_equal(ours.scores, theirs.scores)


def test_a_joint_run_leaves_what_the_architecture_says(two_stores, tmp_path):
    folder = tmp_path / "run"
    results = run(joint_recipe(two_stores), folder)
    record = lines(folder / "metrics.jsonl")[0]
    assert list(record)[-1] == "valid_by_store"
    assert list(record["valid_by_store"]) == ["words", "voices"]
    assert record["step"] == 11  # 25 + 1.5 x 25 (38) utterances, 6 a step
    assert list(results["stores"]) == ["words", "voices"]
    assert set(results["stores"]["words"]) == {"valid", "test"}
    predictions = read_predictions(folder / "predictions" / "test.csv")
    assert len(set(predictions.ids)) == len(predictions.ids) == 18
    assert len(set(predictions.groups)) == 6  # three of each store, of the same names
    both = [results["stores"][store]["test"]["mae"] for store in ("words", "voices")]
    assert results["splits"]["test"]["mae"] == pytest.approx(np.mean(both))
    assert evaluate_run(folder) == pytest.approx(results["splits"]["test"])
    assert evaluate_stores_of_run(folder)["voices"] == pytest.approx(results["stores"]["voices"]["test"])
    info = json.loads((folder / "run.json").read_text())
    assert [store["name"] for store in info["stores"]] == ["words", "voices"]
    assert info["stores"][1]["path"] == two_stores[1]["path"]
    assert info["stores"][1]["weight"] == 1.5
    assert info["stores"][1]["labels"]["from_range"] == [1.0, 5.0]
    assert info["store"] == f"{two_stores[0]['path']}, {two_stores[1]['path']}"
    headers = (folder / "logs" / "csv" / "metrics.csv").read_text().splitlines()[0]
    assert "valid/voices/mae" in headers


def test_each_epoch_shows_what_was_drawn(two_stores, tmp_path, monkeypatch):
    seen: list[list[str]] = []
    start, step = TrainingModule.on_train_epoch_start, TrainingModule.training_step
    monkeypatch.setattr(TrainingModule, "on_train_epoch_start", lambda self: (seen.append([]), start(self))[1])
    monkeypatch.setattr(TrainingModule, "training_step", lambda self, part, index: (seen[-1].extend(part.batch.ids), step(self, part, index))[1])
    recipe = joint_recipe(two_stores)
    run(recipe, tmp_path / "run")
    store = open_data(recipe)
    for epoch, ids in enumerate(seen):
        assert sorted(ids) == sorted(store.split("train").ids[index] for index in store.draw(1).indices(epoch))
    assert sorted(seen[0]) != sorted(seen[1])


def test_the_checkpoint_holds_the_pooled_statistics(small_store, tmp_path):
    other = write_small_store(tmp_path / "other.store", widths={"text": 4, "audio": 3}, seed=3)
    recipe = joint_recipe([{"path": str(small_store)}, {"path": str(other), "weight": 2.0}], epochs=1)
    run(recipe, tmp_path / "run")
    model, store = load(str(tmp_path / "run")), open_data(recipe)
    assert model.features == store.features
    assert torch.equal(model.normalisers["text"].mean, torch.tensor(store.features["text"].mean))
    assert store.features["text"].mean != store.stores["small"].features["text"].mean


def test_a_store_without_validation_contributes_none(two_stores, tmp_path):
    write_small_store(tmp_path / "more.store", widths={"text": 4}, sizes=(10, 0, 0), seed=4)
    run(joint_recipe([two_stores[0], {"path": str(tmp_path / "more.store")}]), tmp_path / "run")
    assert list(lines(tmp_path / "run" / "metrics.jsonl")[0]["valid_by_store"]) == ["words"]
    assert json.loads((tmp_path / "run" / "results.json").read_text())["stores"]["more"] == {}
    with pytest.raises(StoreError, match=r"None of the stores .*more.store has utterances in a split 'valid'; together they have train"):
        run(joint_recipe([{"path": str(tmp_path / "more.store")}]), tmp_path / "none")


def test_the_recipes_task_changes_that_of_the_stores(two_stores):
    voices = two_stores[1]
    recipe = changed(joint_recipe([voices]), task={"minimum": -3.0, "maximum": 3.0})
    assert open_data(recipe).task == Task()
    with pytest.raises(RecipeError, match=r"Every store of data.stores maps its labels, so that none says what they are mapped to"):
        open_data(joint_recipe([voices]))
    with pytest.raises(RecipeError, match=r"'words' .* is labelled with scores in -3..3, but the task of this training is scores in -4..4"):
        open_data(changed(joint_recipe(two_stores), task={"minimum": -4.0, "maximum": 4.0}))
    classes = changed(joint_recipe(two_stores), task={"kind": "classification", "class_values": [-1.0, 0.0, 1.0]})
    assert open_data(classes).task.kind == "classification"


def test_what_does_not_go_together_is_named_before_training(two_stores, small_store, tmp_path):
    def fails(error: type[Exception], message: str, recipe: Recipe) -> None:
        with pytest.raises(error, match=message):
            run(recipe, tmp_path / "run")
        assert not (tmp_path / "run").exists()

    text_only = changed(joint_recipe(two_stores), data={"modalities": ["text"]})
    fails(DataError, r"The model reads text, of which the store 'voices' \(.*voices.store\) has none: it has", text_only)
    fails(
        DataError,
        r"asks for the modality 'vision' \(data.modalities\), but the store .*words.store, .*voices.store has only text, audio",
        changed(joint_recipe(two_stores), data={"modalities": ["text", "vision"]}),
    )
    narrow = {**two_stores[1], "labels": {"from_range": [2, 3], "to_range": [-3, 3]}}
    fails(DataError, r"The labels of the store 'voices' are mapped with from_range \[2.0, 3.0\]", joint_recipe([two_stores[0], narrow]))
    other = write_small_store(tmp_path / "wide.store", widths={"text": 5})
    fails(
        StoreError,
        r"The stores 'words' .* and 'wide' .* hold different text features: dim 4 against 5",
        joint_recipe([two_stores[0], {"path": str(other)}]),
    )


def test_only_the_same_stores_are_resumed(two_stores, tmp_path, monkeypatch):
    folder, recipe = tmp_path / "run", joint_recipe(two_stores)
    finish = TrainingModule.on_train_batch_end

    def stop(self, outputs, part, batch_index) -> None:
        finish(self, outputs, part, batch_index)
        if self.progress.step == 15:
            raise TrainingError("stopped")

    monkeypatch.setattr(TrainingModule, "on_train_batch_end", stop)
    with pytest.raises(TrainingError, match="stopped"):
        run(recipe, folder)
    monkeypatch.undo()
    heavier = joint_recipe([two_stores[0], {**two_stores[1], "weight": 2.0}])
    with pytest.raises(TrainingError, match=r"was started with data.stores = .*1.5.*, not .*2.0"):
        run(heavier, folder, resume=True)
    moved = tmp_path / "moved"
    shutil.move(two_stores[1]["path"], moved / "voices.store")
    run(joint_recipe([two_stores[0], {**two_stores[1], "path": str(moved / "voices.store")}]), folder, resume=True)  # it may have moved
    run(joint_recipe([two_stores[0], {**two_stores[1], "path": str(moved / "voices.store")}]), tmp_path / "whole")
    assert (folder / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_a_store_that_has_changed_is_named_on_resuming(two_stores, tmp_path):
    folder, recipe = tmp_path / "run", joint_recipe(two_stores, epochs=1)
    run(recipe, folder)
    shutil.rmtree(two_stores[1]["path"])
    write_small_store(Path(two_stores[1]["path"]), widths={"audio": 3}, speaking="audio", task=Task(minimum=1.0, maximum=5.0), seed=9)
    with pytest.raises(
        TrainingError, match=r"was started on a store with the fingerprint \w{12}..., but [^,]*voices.store now has \w{12}...: its content"
    ):
        run(recipe, folder, resume=True)
    with pytest.raises(DataError, match=r"The store .*words.store, .*voices.store has changed since the run .* was trained on it"):
        own_store(read_run(folder))
    shutil.rmtree(two_stores[0]["path"])
    with pytest.raises(DataError, match=r"was trained on the store '.*words.store', which is not there. Say where it is now with --store"):
        own_store(read_run(folder))


def test_a_run_finds_its_own_stores_again(two_stores, tmp_path):
    recipe = joint_recipe(two_stores, epochs=1)
    run(recipe, tmp_path / "run")
    store = own_store(read_run(tmp_path / "run"))
    assert isinstance(store, JointStore)
    assert store.fingerprint == open_data(recipe).fingerprint
