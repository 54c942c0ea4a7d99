"""What the doctor says of how labels are used: one side of the range, classes taken for scores, imbalance, classes that never occur."""

from collections.abc import Callable

import numpy as np
import pytest

from multigrain.data.doctor import examine
from multigrain.data.doctor_summary import Finding
from multigrain.data.store import Store, StoreWriter
from multigrain.schema import FeatureSpec, Task, Utterance

SIZES = {"train": 30, "valid": 12, "test": 12}
THREE_CLASSES = Task(kind="classification", class_values=(-1.0, 0.0, 1.0), minimum=-1.0, maximum=1.0)


def findings(
    tmp_path, label_of: Callable[[str, int], object], task: Task | None = None, sizes: dict[str, int] = SIZES, path_name: str = "some.store"
) -> dict[str, list[Finding]]:
    """The doctor's findings by topic for a store whose utterance `number` of a split has the label `label_of(split, number)`."""
    random = np.random.default_rng(0)
    with StoreWriter(tmp_path / path_name, task=task or Task(), features={"text": FeatureSpec(dim=4)}) as writer:
        for split, size in sizes.items():
            for number in range(size):
                features = {"text": random.standard_normal((3 + number % 5, 4))}
                writer.add(Utterance(id=f"{split}{number}", split=split, group=f"{split}-{number}", features=features, label=label_of(split, number)))
    found: dict[str, list[Finding]] = {}
    for finding in examine(Store.open(tmp_path / path_name)).findings:
        found.setdefault(finding.topic, []).append(finding)
    return found


def both_sides(split: str, number: int) -> float:
    """Scores in -2.4..2.4, as many on each side of 0."""
    return (number % 7 - 3) * 0.8


def test_labels_of_both_sides_have_no_finding(tmp_path):
    assert findings(tmp_path, both_sides) == {}


@pytest.mark.parametrize(
    ("label_of", "said"),
    [
        (lambda split, number: 0.3 + number % 7 * 0.4, "No label lies below the middle 0 of the range -3..3; all 54 lie in 0.3..2.7."),
        (lambda split, number: -0.3 - number % 7 * 0.4, "No label lies above the middle 0 of the range -3..3; all 54 lie in -2.7..-0.3."),
    ],
    ids=["never below", "never above"],
)
def test_labels_that_never_cross_the_middle(tmp_path, label_of, said):
    found = findings(tmp_path, label_of)
    (finding,) = found["label_one_sided"]
    assert finding.level == "problem"
    assert finding.message.startswith(said)
    assert f"(convert with --range {'0 3' if 'below' in said else '-3 0'})" in finding.message
    assert "label_imbalance" not in found


def test_labels_of_another_range_have_a_middle_of_their_own(tmp_path):
    assert findings(tmp_path, lambda split, number: 1.0 + number % 5, task=Task(minimum=1.0, maximum=5.0)) == {}
    one_sided = findings(tmp_path, lambda split, number: 3.5 + number % 4 * 0.4, task=Task(minimum=1.0, maximum=5.0), path_name="high.store")
    assert "below the middle 3 of the range 1..5" in one_sided["label_one_sided"][0].message


def test_numbers_of_classes_taken_for_scores(tmp_path):
    found = findings(tmp_path, lambda split, number: float(number % 4))
    (finding,) = found["label_looks_like_classes"]
    assert finding.level == "problem"
    assert "All labels are the whole numbers 0 to 3, while scores go from -3 to 3" in finding.message
    assert "--label-value" in finding.message
    assert "label_looks_like_classes" not in findings(tmp_path, lambda split, number: 0.5 * (number % 4), path_name="halves.store")
    as_a_range = findings(tmp_path, lambda split, number: float(number % 4), task=Task(minimum=0.0, maximum=3.0), path_name="range.store")
    assert as_a_range == {}


@pytest.mark.parametrize(
    ("sign", "said"), [(1, "89% of the labels lie above the middle 0, 11% below it"), (-1, "89% of the labels lie below the middle 0, 11% above it")]
)
def test_scores_of_which_nearly_all_are_of_one_side(tmp_path, sign, said):
    found = findings(
        tmp_path, lambda split, number: sign * (-1.5 if number % 9 == 0 else 0.5 + number % 3), sizes={"train": 27, "valid": 9, "test": 9}
    )
    (finding,) = found["label_imbalance"]
    assert finding.level == "note"
    assert finding.message.startswith(said)
    assert "label_one_sided" not in found


def test_classes_of_which_one_is_nearly_everything(tmp_path):
    found = findings(tmp_path, lambda split, number: {0: -1.0, 1: 1.0}.get(number, 0.0), task=THREE_CLASSES)
    (finding,) = found["label_imbalance"]  # of the two small splits shares say little
    assert finding.level == "note"
    assert finding.message.startswith("28 of the 30 utterances of 'train' are of the class 0.")
    assert "accuracy of 93%; look at macro F1" in finding.message


@pytest.mark.parametrize(
    ("absent_from", "level", "said"),
    [
        ("train", "problem", "The class 1 never occurs in 'train'. A model cannot learn what it never sees."),
        ("test", "note", "The class 1 never occurs in 'test'. What a model makes of it cannot be measured there."),
    ],
)
def test_a_class_that_never_occurs(tmp_path, absent_from, level, said):
    def label_of(split: str, number: int) -> float:
        return float(number % 2 - 1 if split == absent_from else number % 3 - 1)

    (finding,) = findings(tmp_path, label_of, task=THREE_CLASSES)["class_missing"]
    assert finding.level == level
    assert finding.message.startswith(said)


def test_two_classes_that_never_occur_are_named_together(tmp_path):
    five = Task(kind="classification", class_values=(-2.0, -1.0, 0.0, 1.0, 2.0), minimum=-2.0, maximum=2.0)
    found = findings(tmp_path, lambda split, number: float(number % 3 - 1) if split == "train" else float(number % 5 - 2), task=five)
    (finding,) = found["class_missing"]
    assert finding.message.startswith("Classes -2, 2 never occur in 'train'.")


def test_emotions_that_hardly_anybody_or_nearly_everybody_has(tmp_path):
    def label_of(split: str, number: int) -> np.ndarray:
        return np.array([float(split == "train" and number == 0), number % 2, float(not (split == "train" and number == 1)), number % 3 == 0], float)

    task = Task(kind="emotions", emotions=("happy", "sad", "angry", "neutral"))
    messages = [finding.message for finding in findings(tmp_path, label_of, task=task)["label_imbalance"]]
    assert messages == ["happy is absent in 98.1% of the utterances: look at F1.", "angry is present in 98.1% of the utterances: look at F1."]


def test_a_handful_of_labels_says_little(tmp_path):
    found = findings(tmp_path, lambda split, number: 1.0 + number, sizes={"train": 2, "valid": 2, "test": 2})
    assert not {"label_one_sided", "label_imbalance", "label_looks_like_classes"} & set(found)
