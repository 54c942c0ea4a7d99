import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multigrain.data.store import Store, StoreWriter
from multigrain.errors import CheckpointError, DataError
from multigrain.evaluation.evaluate import evaluate_run, read_run
from multigrain.schema import FeatureSpec, Task, Utterance


def test_a_run_is_scored_from_its_own_predictions(run: Path) -> None:
    expected = json.loads((run / "results.json").read_text())["splits"]["test"]
    assert evaluate_run(run) == pytest.approx(expected)


def test_predicting_afresh_gives_the_same(run: Path, planted: Store) -> None:
    assert evaluate_run(run, planted.path) == pytest.approx(evaluate_run(run), abs=1e-5)


def test_own_predictions_are_scored_without_the_store(run: Path) -> None:
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(facts | {"store": "/gone"}))
    assert evaluate_run(run, split="valid")["mae"] > 0


def test_convention_is_passed_on(run: Path) -> None:
    assert set(evaluate_run(run, convention="mag")) == {"mae", "correlation", "accuracy_2_non0", "f1_non0"}


def test_nan_in_predictions_is_an_error_with_the_utterance(run: Path) -> None:
    path = run / "predictions" / "test.csv"
    lines = path.read_text().splitlines()
    lines[3] = ",".join([*lines[3].split(",")[:3], "nan"])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=f"1 of 40 utterances have a prediction that is NaN.*{lines[3].split(',')[0]}"):
        evaluate_run(run)


def test_missing_split_names_those_there(run: Path) -> None:
    with pytest.raises(DataError, match=r"holds no predictions for the split 'train'; it has \['test', 'valid'\]"):
        evaluate_run(run, split="train")


def test_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not a run folder: it holds no run\.json"):
        evaluate_run(tmp_path)
    with pytest.raises(DataError, match="there is no such folder"):
        evaluate_run(tmp_path / "none")


def test_damaged_run_json(run: Path) -> None:
    (run / "run.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        read_run(run)


def test_run_without_checkpoint(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(CheckpointError, match="has not finished an epoch or was damaged"):
        evaluate_run(run)


def other_store(path: Path, like: Store, **change: object) -> Path:
    """A store of one utterance whose text specification or task differs."""
    features: dict[str, FeatureSpec] = {name: replace(spec, mean=None, std=None) for name, spec in like.features.items()}
    task = change.get("task", like.task)
    if "extractor" in change:
        features["text"] = replace(features["text"], extractor=str(change["extractor"]))
    if change.get("without"):
        del features[str(change["without"])]
    assert isinstance(task, Task)
    with StoreWriter(path, task=task, features=features) as writer:
        for split in ("train", "valid", "test"):
            arrays = {name: np.ones((3, spec.dim), dtype=np.float32) for name, spec in features.items()}
            writer.add(Utterance(id=split, split=split, group=split, features=arrays, label=0.5))
    return path


def test_other_features_are_refused(run: Path, planted: Store, tmp_path: Path) -> None:
    path = other_store(tmp_path / "other.store", planted, extractor="glove.840B.300d")
    with pytest.raises(CheckpointError, match=r"other text features.*extractor 'planted' against 'glove.840B.300d'"):
        evaluate_run(run, path)


def test_missing_modality_is_refused(run: Path, planted: Store, tmp_path: Path) -> None:
    path = other_store(tmp_path / "other.store", planted, without="audio")
    with pytest.raises(CheckpointError, match=r"audio.*not in the store"):
        evaluate_run(run, path)


def test_other_labels_are_refused(run: Path, planted: Store, tmp_path: Path) -> None:
    path = other_store(tmp_path / "other.store", planted, task=Task(minimum=1.0, maximum=5.0))
    with pytest.raises(CheckpointError, match=r"predicts scores in -3..3, but .* is labelled with scores in 1..5"):
        evaluate_run(run, path)


def test_the_folder_above_or_below_that_is_a_run_is_named(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "run.json").write_text("{}")
    with pytest.raises(DataError, match=r"there is no such folder\. Give .*one is one\.$"):
        read_run(tmp_path / "one" / "seed-0")
    (tmp_path / "several" / "seed-1").mkdir(parents=True)
    (tmp_path / "several" / "seed-1" / "run.json").write_text("{}")
    with pytest.raises(DataError, match=r"holds no run\.json\. Give .*seed-1 is one\.$"):
        read_run(tmp_path / "several")
    with pytest.raises(DataError, match=r"such as runs/NAME, or runs/NAME/seed-0 where there are several seeds\.$"):
        read_run(tmp_path / "nothing")
