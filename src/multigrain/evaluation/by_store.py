"""The metrics of each of several stores that a run was trained on, beside those of all of them together."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from multigrain.data.joint_split import rows_by_store
from multigrain.metrics import compute_metrics
from multigrain.schema import Task


def metrics_by_store(
    task: Task,
    answers: Float[np.ndarray, "utterance answer"],
    labels: Float[np.ndarray, "utterance label"],
    ids: Sequence[str],
    stores: Sequence[str],
    convention: str = "default",
) -> dict[str, dict[str, float]]:
    """The metrics of each store's utterances.

    Args:
        task: common to all of them.
        answers: as `Task.answers` gives them.
        labels: in its units.
        ids: `STORE/ID` each.
        stores: their names; empty for a run on a single store.
        convention: key of `multigrain.metrics.CONVENTIONS`.

    Returns:
        Store -> metric -> value, unrounded; a store that none of the utterances is of is left out.
    """
    return {
        store: compute_metrics(task, answers[rows], labels[rows], convention, [ids[row] for row in rows])
        for store, rows in rows_by_store(ids, stores).items()
    }
