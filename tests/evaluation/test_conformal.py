"""Split conformal intervals: the quantile by hand, coverage on fresh draws, and the file beside a checkpoint."""

from pathlib import Path

import numpy as np
import pytest

from multigrain.errors import CheckpointError, DataError
from multigrain.evaluation.conformal import Calibration, half_width, read_calibration, share_within, subset_name, write_calibration
from multigrain.schema import Task

CALIBRATION = Calibration(
    coverage=0.9,
    half_widths={"text": 1.5, "text + audio": 1.4},
    num_utterances={"text": 229, "text + audio": 100},
    basis={"text": "a", "text + audio": "b"},
)


def test_the_quantile_counts_the_new_utterance_too():
    errors = np.arange(1.0, 20.0)  # 19 of them: ceil(20 * 0.9) = 18
    assert half_width(errors, 0.9) == 18.0
    assert half_width(-errors[::-1], 0.9) == 18.0


def test_coverage_holds_on_average_for_few_calibration_utterances():
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(400):
        errors = generator.standard_t(3, size=20)
        shares.append(share_within(generator.standard_t(3, size=200), half_width(errors, 0.9)))
    assert 0.895 <= np.mean(shares) <= 0.92  # at least 0.9; at most 0.9 + 1/21 in expectation


def test_an_interval_stays_within_the_labels_range():
    task = Task(minimum=-3.0, maximum=3.0)
    assert CALIBRATION.interval(["text"], 2.0, task) == (0.5, 3.0)
    assert CALIBRATION.interval(["audio", "text"], -3.5, task) == pytest.approx((-3.0, -2.1))
    assert CALIBRATION.interval(["audio"], 0.0, task) is None
    assert subset_name([]) == "none"


def test_the_file_comes_back_equal_and_damage_is_an_error(tmp_path: Path):
    assert read_calibration(tmp_path) is None
    write_calibration(tmp_path, CALIBRATION)
    assert read_calibration(tmp_path) == CALIBRATION
    (tmp_path / "calibration.json").write_text('{"coverage": 0.9}')
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_calibration(tmp_path)


def test_what_cannot_be_calibrated_is_refused():
    with pytest.raises(DataError, match="at least 9 utterances"):
        half_width(np.zeros(8), 0.9)
    assert half_width(np.zeros(9), 0.9) == 0.0
    with pytest.raises(DataError, match="coverage"):
        half_width(np.zeros(9), 1.0)
    with pytest.raises(DataError, match="NaN"):
        half_width(np.array([np.nan] * 20), 0.9)
