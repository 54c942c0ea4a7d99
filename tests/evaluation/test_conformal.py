import math
from pathlib import Path

import numpy as np
import pytest
from small_runs import CONFIGS

from multigrain.data.store import Store
from multigrain.errors import CheckpointError, DataError
from multigrain.evaluation.conformal import CONFORMAL_FILE, Conformal, calibrate, calibrate_run, coverage_on, half_width, modality_key
from multigrain.evaluation.predict import predict_split
from multigrain.models import build_model, load
from multigrain.schema import Task


def test_the_half_width_is_the_residual_of_the_rank() -> None:
    residuals = np.arange(9, 0, -1) / 10  # 0.1 .. 0.9
    assert half_width(residuals, 0.5) == 0.5  # ceil(10 * 0.5) = 5
    assert half_width(residuals, 0.9) == 0.9
    assert half_width(residuals, 0.51) == 0.6
    assert half_width(residuals, 0.95) == math.inf


@pytest.mark.parametrize(("count", "coverage"), [(19, 0.9), (99, 0.8), (49, 0.5)])
def test_coverage_holds_on_average_and_is_not_exceeded_by_more_than_it_must(count: int, coverage: float) -> None:
    generator = np.random.default_rng(0)
    draws = generator.exponential(size=(20_000, count + 1)) ** 2  # heavy tails: nothing is assumed of the errors
    shares = [draw[-1] <= half_width(draw[:-1], coverage) for draw in draws]
    margin = 4 * math.sqrt(coverage * (1 - coverage) / len(draws))
    assert coverage - margin <= np.mean(shares) <= coverage + 1 / (count + 1) + margin


def test_intervals_stay_within_the_range_and_around_the_score() -> None:
    conformal = Conformal.from_residuals({"text": np.full(99, 1.0), "none": np.full(3, 0.1)}, Task(), "here")
    assert conformal.interval(0.5, ["text"]) == (-0.5, 1.5)
    assert conformal.interval(2.5, ["text"]) == (1.5, 3.0)
    assert conformal.interval(9.0, ["text"]) == (3.0, 3.0)  # a score beyond the range: the nearest of it
    assert conformal.interval(0.0, []) == (-3.0, 3.0)  # too few residuals: the whole range
    assert conformal.interval(0.0, ["text", "audio"]) is None
    with pytest.raises(DataError, match=r"got 0\.7"):
        conformal.interval(0.0, ["text"], 0.7)


@pytest.mark.parametrize("residuals", [[], [0.1, math.nan], [-0.1]])
def test_residuals_that_are_none_are_refused(residuals: list[float]) -> None:
    with pytest.raises(DataError, match="finite and not negative"):
        Conformal.from_residuals({"text": np.array(residuals)}, Task(), "here")


def test_emotions_have_no_intervals() -> None:
    with pytest.raises(DataError, match="emotions"):
        Conformal.from_residuals({"text": np.ones(3)}, Task(kind="emotions"), "here")


def test_it_is_kept_with_the_checkpoint(tmp_path: Path) -> None:
    assert Conformal.read(tmp_path) is None
    conformal = Conformal.from_residuals({"text": np.full(9, 1.0)}, Task(minimum=-1.0, maximum=1.0), "a split", {"text": 4})
    assert conformal.half_widths["text"][0.95] == math.inf
    conformal.write(tmp_path)
    assert Conformal.read(tmp_path) == conformal
    (tmp_path / CONFORMAL_FILE).write_text('{"format_version": 7}')
    with pytest.raises(CheckpointError, match="multigrain calibrate"):
        Conformal.read(tmp_path)


def test_each_subset_is_calibrated_on_what_the_model_says_of_it_alone(planted: Store) -> None:
    model = build_model("lf_lstm", CONFIGS["lf_lstm"], planted.task, planted.features).eval()
    conformal = calibrate(model, planted.split("valid"), "valid")
    assert len(conformal.half_widths) == 7
    assert conformal.num_utterances == dict.fromkeys(conformal.half_widths, 30)
    for present in (("text",), ("text", "audio", "vision")):
        kept = present
        predictions = predict_split(
            model,
            planted.split("valid"),
            alter=lambda batch, _, kept=kept: batch.with_modalities({name: None for name in batch.modalities if name not in kept}),
        )
        residuals = np.sort(np.abs(predictions.scores[:, 0].astype(float) - predictions.labels[:, 0]))
        assert conformal.half_widths[modality_key(present)][0.5] == pytest.approx(residuals[15])  # ceil(31 / 2) = 16th
    on_itself = coverage_on(conformal, model, planted.split("valid"), 0.5)
    assert all(share >= 16 / 30 for share in on_itself.values())


def test_a_run_is_calibrated_and_its_coverage_measured(run: Path) -> None:
    path, table = calibrate_run(run)
    assert path == run / "checkpoints" / "best" / CONFORMAL_FILE
    conformal = Conformal.read(path.parent)
    assert conformal is not None
    assert {row[0] for row in table.rows} == set(conformal.half_widths)
    assert "30" in table.rows[0][1]
    assert load(str(run)).name == "mult"  # the file beside the weights does not disturb
    with pytest.raises(DataError, match="--check"):
        calibrate_run(run, check="valid")
