"""The metrics agree with what MulT's and MMSA's own code printed on the same numbers."""

import json
from pathlib import Path

import numpy as np
import pytest

from multigrain.metrics import compute_metrics
from multigrain.schema import Task

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "metrics.json"
MULT_NAMES = {
    "MAE": "mae",
    "Correlation Coefficient": "correlation",
    "mult_acc_7": "accuracy_7",
    "mult_acc_5": "accuracy_5",
}
MMSA_NAMES = {
    "Has0_acc_2": "accuracy_2_has0",
    "Has0_F1_score": "f1_has0",
    "Non0_acc_2": "accuracy_2_non0",
    "Non0_F1_score": "f1_non0",
    "Mult_acc_5": "accuracy_5",
    "Mult_acc_7": "accuracy_7",
    "MAE": "mae",
    "Corr": "correlation",
}
SIMS_NAMES = {
    "Mult_acc_2": "accuracy_2",
    "Mult_acc_3": "accuracy_3",
    "Mult_acc_5": "accuracy_5",
    "F1_score": "f1",
    "MAE": "mae",
    "Corr": "correlation",
}


@pytest.fixture(scope="module")
def golden() -> dict:
    if not GOLDEN.is_file():
        pytest.skip(f"no golden metrics beside the checkout ({GOLDEN.name})")
    return json.loads(GOLDEN.read_text())


def columns(case: dict) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.array(case[name], dtype=np.float32)[:, None] for name in ("predicted", "actual"))


@pytest.mark.parametrize("index", [0, 1])
def test_mult_convention_gives_what_mult_prints(golden: dict, index: int) -> None:
    case = golden["sentiment"][index]
    values = compute_metrics(Task(), *columns(case), "mult")
    for zeros, suffix in (("mult_include_zero", "has0"), ("mult_exclude_zero", "non0")):
        printed = case[zeros]
        for theirs, ours in {**MULT_NAMES, "Accuracy": f"accuracy_2_{suffix}", "F1 score": f"f1_{suffix}"}.items():
            assert values[ours] == pytest.approx(printed[theirs], abs=1e-9), theirs


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("convention", ["mmsa", "default"])
def test_mmsa_convention_gives_what_mmsa_prints(golden: dict, index: int, convention: str) -> None:
    case = golden["sentiment"][index]
    values = compute_metrics(Task(), *columns(case), convention)
    assert {name: round(values[ours], 4) for name, ours in MMSA_NAMES.items()} == case["mmsa"]


@pytest.mark.parametrize("index", [0, 1])
def test_sims_metrics_give_what_mmsa_prints(golden: dict, index: int) -> None:
    case = golden["sentiment"][index]
    predicted, actual = columns(case)
    values = compute_metrics(Task(minimum=-1.0, maximum=1.0), np.clip(predicted / 3, -1.3, 1.3), actual / 3, "mmsa")
    assert {name: round(values[ours], 4) for name, ours in SIMS_NAMES.items()} == case["mmsa_sims"]


def test_emotion_metrics_give_what_mult_prints(golden: dict) -> None:
    case = golden["iemocap"]
    logits, actual = np.array(case["logits"]), np.array(case["actual"])
    scores = 1 / (1 + np.exp(logits[..., 0] - logits[..., 1]))
    values = compute_metrics(Task(kind="emotions"), scores, actual)
    for emotion, printed in case["expected"].items():
        assert values[f"accuracy_{emotion.lower()}"] == pytest.approx(printed["Accuracy"], abs=1e-9)
        assert values[f"f1_{emotion.lower()}"] == pytest.approx(printed["F1 Score"], abs=1e-9)
