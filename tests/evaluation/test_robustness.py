import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from small_runs import CONFIGS, write_run

from multigrain.data.store import Store, StoreWriter
from multigrain.errors import CheckpointError, DataError, StoreError
from multigrain.evaluation.evaluate import evaluate_run
from multigrain.evaluation.robustness import (
    MISSING_RATES,
    Robustness,
    measure_robustness,
    missing_frame_conditions,
    robustness_of_run,
    subset_conditions,
)
from multigrain.evaluation.tables import condition_title, null_for_nan, robustness_table
from multigrain.models import build_model
from multigrain.models.mult import MulT
from multigrain.plots import robustness_curves, write_picture
from multigrain.schema import Task

ALL = ("text", "audio", "vision")


@pytest.fixture(scope="module")
def measured(planted: Store, tmp_path_factory: pytest.TempPathFactory) -> Robustness:
    return robustness_of_run(write_run(tmp_path_factory.mktemp("measured") / "mult", "mult", planted))


def titles(robustness: Robustness) -> list[str]:
    return [row[0] for row in robustness_table(robustness, "").rows]


def test_all_modalities_come_first_then_smaller_subsets_then_missing_frames(measured: Robustness) -> None:
    subsets = ["all", "text + audio", "text + vision", "audio + vision", "text", "audio", "vision"]
    rates = [f"{name} -{rate} %" for name in (*ALL, "all") for rate in (10, 30, 50, 70, 90)]
    assert titles(measured) == subsets + rates
    assert measured.num_utterances == 40


def test_one_modality_has_one_subset_and_is_not_counted_twice() -> None:
    assert [condition.modalities for condition in subset_conditions(("text",))] == [("text",)]
    conditions = missing_frame_conditions(("text",))
    assert [condition.missing_rate for condition in conditions] == list(MISSING_RATES)
    assert condition_title(conditions[1], ("text",)) == "text -30 %"


def test_nothing_missing_is_the_plain_evaluation(measured: Robustness, planted: Store, tmp_path: Path) -> None:
    run = write_run(tmp_path / "mult", "mult", planted)
    assert measured.complete.metrics == evaluate_run(run, planted.path)
    assert measured.complete.metrics == pytest.approx(evaluate_run(run), abs=1e-6)


def test_the_same_run_gives_the_same_numbers(measured: Robustness, planted: Store, tmp_path: Path) -> None:
    assert robustness_of_run(write_run(tmp_path / "mult", "mult", planted)) == measured


def test_store_split_and_convention_are_passed_on(planted: Store, tmp_path: Path) -> None:
    run = write_run(tmp_path / "mult", "mult", planted)
    found = robustness_of_run(run, planted.path, "valid", "mag")
    assert (found.split, found.num_utterances, found.convention) == ("valid", 30, "mag")
    assert found.complete.metrics == evaluate_run(run, planted.path, "valid", "mag")


def test_scores_that_are_all_the_same_are_named(measured: Robustness) -> None:
    """Text alone asks in this small MulT, so that without text its answer is always the same."""
    without_text = {"audio + vision", "audio", "vision"}
    constant = {title for title, result in zip(titles(measured), measured.results, strict=True) if result.is_constant}
    assert constant == without_text
    notes = robustness_table(measured, "").notes
    assert notes[-1] == "The same score for every utterance, and so nothing to correlate: audio + vision; audio; vision."


def test_utterances_with_nothing_left_are_counted(make_store: Callable[..., Store]) -> None:
    store = make_store(counts={"train": 2, "valid": 2, "test": 60})
    torch.manual_seed(0)
    model = build_model("lf_lstm", CONFIGS["lf_lstm"], store.task, {"text": store.features["text"]})
    found = measure_robustness(model, store.split("test"))
    counts = [result.utterances_without_input for result in found.results]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert 20 < counts[-1] < 50
    assert [int(row[-1]) for row in robustness_table(found, "").rows] == counts


def test_a_model_that_needs_alignment_misses_the_same_steps_everywhere(planted: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MulT, "needs_alignment", True)
    torch.manual_seed(0)
    model = build_model("mult", CONFIGS["mult"], planted.task, planted.features)
    found = measure_robustness(model, planted.split("valid"), rates=(0.5,))
    assert titles(found)[7:] == ["all -50 %"]


def test_emotions_have_their_metrics(make_store: Callable[..., Store]) -> None:
    store = make_store(task=Task(kind="emotions"))
    torch.manual_seed(0)
    model = build_model("lf_lstm", CONFIGS["lf_lstm"], store.task, store.features)
    found = measure_robustness(model, store.split("test"), rates=(0.5,))
    assert "f1_mean" in found.complete.metrics
    assert "F1 mean, %" in robustness_curves(found, "f1_mean")


def test_everything_is_plain_values(measured: Robustness) -> None:
    content = json.loads(json.dumps(null_for_nan(measured.to_dict())))
    assert content["missing_frames"][6]["condition"] == {"modalities": list(ALL), "frames_missing_in": ["audio"], "missing_rate": 0.3}
    assert content["subsets"][0]["metrics"]["mae"] == measured.complete.metrics["mae"]


# The run's own store ----------------------------------------------------------------------------------------------


def test_a_store_that_moved_is_asked_for(planted: Store, tmp_path: Path) -> None:
    run = write_run(tmp_path / "mult", "mult", planted)
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(facts | {"store": "/gone/planted.store"}))
    with pytest.raises(DataError, match=r"was trained on the store '/gone/planted.store', which is not there\. Say where it is now with --store"):
        robustness_of_run(run)


def test_a_store_that_changed_is_refused(planted: Store, tmp_path: Path) -> None:
    run = write_run(tmp_path / "mult", "mult", planted)
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(facts | {"store_fingerprint": "0" * 64}))
    with pytest.raises(DataError, match=r"has changed since the run .* was trained on it\. Name it with --store"):
        robustness_of_run(run)
    assert robustness_of_run(run, planted.path, "valid").num_utterances == 30


def test_a_run_without_checkpoint_or_split_is_an_error(planted: Store, tmp_path: Path) -> None:
    run = write_run(tmp_path / "mult", "mult", planted)
    with pytest.raises(StoreError, match="has no split 'tset'"):
        robustness_of_run(run, split="tset")
    (run / "checkpoints" / "best" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError):
        robustness_of_run(run)


def test_unlabelled_splits_cannot_be_scored(planted: Store, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "unlabelled.store", task=planted.task, features=planted.features) as writer:
        utterance = planted.split("test").utterance(0)
        utterance.label = None
        writer.add(utterance)
    run = write_run(tmp_path / "mult", "mult", planted)
    with pytest.raises(DataError, match="has no labels"):
        robustness_of_run(run, tmp_path / "unlabelled.store")


# The picture ------------------------------------------------------------------------------------------------------


def test_the_picture_is_a_file_of_its_own_with_every_condition(measured: Robustness, tmp_path: Path) -> None:
    path = write_picture(tmp_path / "new" / "robustness.svg", robustness_curves(measured, "correlation"), "a & b")
    assert [entry.name for entry in path.parent.iterdir()] == ["robustness.svg"]
    root = ElementTree.parse(path).getroot()
    words = {"".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"all", "text + audio", "vision", "all together", "missing frames, %", "correlation"} <= words
    assert f"{measured.complete.metrics['correlation']:.3f}" in words
    assert root.find("{http://www.w3.org/2000/svg}title").text == "a & b"
    text = path.read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text
    assert "#0a0b0c" not in text


@pytest.mark.parametrize(("metric", "factor"), [("mae", 1), ("accuracy_7", 100)])
def test_what_is_drawn_is_what_was_measured(measured: Robustness, monkeypatch: pytest.MonkeyPatch, metric: str, factor: int) -> None:
    drawn: dict[str, list] = {}
    plot, barh = Axes.plot, Axes.barh
    monkeypatch.setattr(
        Axes, "plot", lambda self, x, y, **style: drawn.update({style["label"]: list(zip(x, y, strict=True))}) or plot(self, x, y, **style)
    )
    monkeypatch.setattr(Axes, "barh", lambda self, y, width, **style: drawn.update(bars=list(width)) or barh(self, y, width, **style))
    robustness_curves(measured, metric)
    values = [factor * result.metrics[metric] for result in measured.results]
    assert drawn["bars"] == values[:7]
    for name, start in (("text", 7), ("audio", 12), ("vision", 17), ("all together", 22)):
        expected = list(zip([0, 10, 30, 50, 70, 90], [values[0], *values[start : start + 5]], strict=True))
        np.testing.assert_allclose(drawn[name], expected)


def test_undefined_metrics_are_said_to_be(measured: Robustness) -> None:
    for result in measured.results:
        result.metrics["nothing"] = float("nan")
    try:
        assert "n/a" in robustness_curves(measured, "nothing")
    finally:
        for result in measured.results:
            del result.metrics["nothing"]
