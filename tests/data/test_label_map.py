import numpy as np
import pytest

from multigrain.data.label_map import LabelMap
from multigrain.errors import RecipeError
from multigrain.schema import Task


def mapped(label_map: LabelMap, labels: list, task: Task | None = None) -> list[float]:
    array = np.array(labels, dtype=np.float32).reshape(len(labels), -1)
    return label_map.apply(array, task or Task(minimum=1.0, maximum=5.0))[:, 0].tolist()


def test_a_range_is_mapped_on_a_line():
    assert mapped(LabelMap(from_range=(1.0, 5.0), to_range=(-3.0, 3.0)), [1, 2, 3, 5]) == [-3, -1.5, 0, 3]
    assert mapped(LabelMap(from_range=(1.0, 5.0), to_range=(3.0, -3.0)), [1, 3, 5]) == [3, 0, -3]


def test_what_lies_outside_the_range_is_not_a_number():
    scores = mapped(LabelMap(from_range=(1.0, 5.0), to_range=(-3.0, 3.0)), [0.9, 5.1, np.nan, 5.00001])
    assert np.isnan(scores[:3]).all()
    assert scores[3] == 3  # float32 of a published file


def test_values_are_looked_up():
    scores = mapped(LabelMap(values={0.0: -2.0, 0.1: 0.0, 2.0: 2.0}), [2, 0, 0.1, 1])
    assert scores[:3] == [2, -2, 0]
    assert np.isnan(scores[3])


def test_emotions_become_the_mean_of_their_scores():
    task = Task(kind="emotions", emotions=("happy", "sad", "angry"))
    scores = mapped(LabelMap(values={"happy": 3.0, "sad": -1.0}), [[1, 0, 0], [1, 1, 0], [0, 0, 1]], task)
    assert scores[:2] == [3, 1]
    assert np.isnan(scores[2])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"labels gives nothing; expected either from_range and to_range, such as .* or values alone"),
        ({"from_range": (1.0, 5.0)}, r"labels gives from_range; expected either"),
        (
            {"from_range": (1.0, 5.0), "to_range": (-3.0, 3.0), "values": {0.0: 1.0}},
            r"labels gives from_range and to_range and values; expected either",
        ),
        ({"from_range": (2.0, 2.0), "to_range": (-3.0, 3.0)}, r"labels.from_range is \[2.0, 2.0\]; expected two different finite numbers"),
        ({"from_range": (1.0, 5.0), "to_range": (-3.0, float("inf"))}, r"labels.to_range is \[-3.0, inf\]; expected two different"),
        ({"values": {}}, r"labels.values is {}; expected at least one label with a finite score"),
        ({"values": {0.0: float("nan")}}, r"labels.values is {0.0: nan}; expected at least one label with a finite score"),
    ],
)
def test_a_map_that_is_none_is_named(values, message):
    with pytest.raises(RecipeError, match=message):
        LabelMap(**values)


def test_a_map_of_another_kind_of_label_is_named():
    emotions = Task(kind="emotions", emotions=("happy", "sad"))
    with pytest.raises(RecipeError, match=r"labels gives ranges, but the labels are the emotions happy, sad. .* {values: {happy: 0, sad: -2}}"):
        mapped(LabelMap(from_range=(0.0, 1.0), to_range=(-3.0, 3.0)), [[1, 0]], emotions)
    with pytest.raises(RecipeError, match=r"labels gives values for hapy, but the labels are the emotions happy, sad"):
        mapped(LabelMap(values={"hapy": 2.0}), [[1, 0]], emotions)
    with pytest.raises(RecipeError, match=r"labels.values names 'positive', but the labels are numbers"):
        mapped(LabelMap(values={"positive": 2.0}), [1.0])
