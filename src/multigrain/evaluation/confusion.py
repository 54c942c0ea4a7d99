"""Which class was taken for which."""

import numpy as np
import torch
from jaxtyping import Num

from multigrain.schema import Task


def confusion_matrix(
    task: Task, answers: Num[np.ndarray, "utterance answer"], labels: Num[np.ndarray, "utterance 1"]
) -> Num[np.ndarray, "class class"]:
    """How many utterances of each class (row) were taken for each class (column), in the order of the task's class values.

    Args:
        task: of kind classification.
        answers: as `Task.answers` gives them.
        labels: in the label's own units.
    """
    count = len(task.class_values)
    chosen, actual = (task.nearest_class(torch.from_numpy(part[:, -1].astype(np.float64))).numpy() for part in (answers, labels))
    return np.bincount(actual * count + chosen, minlength=count * count).reshape(count, count)
