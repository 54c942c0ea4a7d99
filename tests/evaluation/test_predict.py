from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import CONFIGS

from multigrain.data.store import Store
from multigrain.errors import DataError
from multigrain.evaluation.predict import Predictions, predict_split, read_predictions, write_predictions
from multigrain.models import build_model
from multigrain.schema import Task


def some_predictions(labels: np.ndarray | None, width: int = 1) -> Predictions:
    scores = np.random.default_rng(0).normal(size=(3, width)).astype(np.float32)
    return Predictions(ids=("a", 'b,"c"', "d\nü"), groups=("g", "g", "h"), labels=labels, scores=scores)


@pytest.mark.parametrize("task", [Task(), Task(kind="emotions")])
def test_what_is_written_reads_back_exactly(task: Task, tmp_path: Path) -> None:
    labels = np.random.default_rng(1).normal(size=(3, task.label_dim)).astype(np.float32)
    there = some_predictions(labels, task.label_dim)
    write_predictions(tmp_path / "new" / "test.csv", there, task)
    back = read_predictions(tmp_path / "new" / "test.csv")
    assert (back.ids, back.groups) == (there.ids, there.groups)
    np.testing.assert_array_equal(back.scores, there.scores)
    np.testing.assert_array_equal(back.labels, labels)
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["test.csv"]


def test_unlabelled_predictions_stay_unlabelled(tmp_path: Path) -> None:
    write_predictions(tmp_path / "x.csv", some_predictions(None), Task())
    assert read_predictions(tmp_path / "x.csv").labels is None


def test_predictions_do_not_depend_on_batches_and_come_in_the_splits_order(planted: Store) -> None:
    torch.manual_seed(0)
    model = build_model("mult", CONFIGS["mult"], planted.task, planted.features)
    split = planted.split("test")
    together = predict_split(model, split)
    assert together.ids == tuple(split.ids)
    np.testing.assert_array_equal(together.labels, split.labels.numpy())
    np.testing.assert_allclose(predict_split(model, split, batch_utterances=1).scores, together.scores, atol=1e-5)
    single = model.predict(split.batch([7])).numpy()
    np.testing.assert_allclose(together.scores[7:8], single, atol=1e-5)


def test_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no predictions file .*evaluate it with --store"):
        read_predictions(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not a predictions file"),
        ("id,group,label,score\n", "at least one row, got .* and 0 rows"),
        ("id,label,score\na,1,1\n", "expected the columns id, group, label, score"),
        ("id,group,label,score\na,g,1,0.5\nb,g,1", "line 3: expected 4 columns, got 3"),
        ("id,group,label,score\na,g,1,half\n", "line 2, column 'score': expected a number, got 'half'"),
    ],
)
def test_damaged_files_are_named_with_their_line(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read_predictions(tmp_path / "bad.csv")
