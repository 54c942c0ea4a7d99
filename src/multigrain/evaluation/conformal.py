"""Intervals with a stated coverage around a model's scores: split conformal prediction.

    q = the ceil((n + 1) c)-th smallest of |y_i - s_i| over n calibration utterances;   interval = [s - q, s + q], within the label's range

If a new utterance is like those of the calibration (drawn as they were, none of them learned from), its label lies in the interval with
probability at least c, whatever the model and the distribution. Utterances of one person are alike, so that with few people the share among
new ones scatters more than n says; the model card states what was found on other people.

Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; Lei et al., Distribution-Free Predictive Inference for
Regression, JASA 2018, section 2.2.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from multigrain.errors import CheckpointError, DataError
from multigrain.schema import MODALITIES, Task

CALIBRATION_FILE = "calibration.json"
"""Beside a checkpoint's weights."""
DEFAULT_COVERAGE = 0.9


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How wide a checkpoint's intervals are, by what is present in the utterance.

    Attributes:
        coverage: the share c of labels that lie within, 0..1.
        half_widths: present modalities, as `subset_name` writes them -> q, in label units.
        num_utterances: the same -> n.
        basis: the same -> what the utterances were, in words.
    """

    coverage: float
    half_widths: Mapping[str, float]
    num_utterances: Mapping[str, int]
    basis: Mapping[str, str]

    def interval(self, present: Iterable[str], score: float, task: Task) -> tuple[float, float] | None:
        """Lowest and highest label, within the task's range; None where nothing is known of these modalities together.

        Args:
            present: the utterance's modalities that the model reads.
            score: of the model.
            task: of the model.
        """
        half = self.half_widths.get(subset_name(present))
        if half is None:
            return None
        return max(task.minimum, min(score - half, task.maximum)), min(task.maximum, max(score + half, task.minimum))


def subset_name(present: Iterable[str]) -> str:
    """Modalities in their order, such as "text + audio"; "none" for none of them."""
    names = set(present)
    return " + ".join(name for name in MODALITIES if name in names) or "none"


def half_width(errors: Float[np.ndarray, " utterance"], coverage: float = DEFAULT_COVERAGE) -> float:
    """q for the errors of calibration utterances.

    Args:
        errors: labels minus scores, of either sign.
        coverage: the share of labels that shall lie within.

    Raises:
        DataError: too few utterances for this coverage, a coverage that is no share, or errors that are not finite.

    >>> half_width(np.array([0.5, -1.0, 2.0, 0.1]), 0.75)
    2.0
    """
    if not 0.0 < coverage < 1.0:
        raise DataError(f"The coverage is {coverage!r}; expected a share above 0 and below 1, such as 0.9.")
    if not bool(np.isfinite(errors).all()):
        raise DataError("The errors to calibrate intervals on hold NaN or infinity. Check the labels and the model's scores.")
    place = math.ceil((len(errors) + 1) * coverage - 1e-9)
    if place > len(errors):
        least = math.ceil(coverage / (1.0 - coverage) - 1e-9)
        raise DataError(
            f"An interval of coverage {coverage:g} needs at least {least} utterances to calibrate on; got {len(errors)}. Use more of them."
        )
    return float(np.sort(np.abs(errors))[place - 1])


def share_within(errors: Float[np.ndarray, " utterance"], half: float) -> float:
    """The share of labels that lie within, of utterances that the interval was not calibrated on."""
    return float((np.abs(errors) <= half).mean())


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Writes it beside a checkpoint's weights."""
    (folder / CALIBRATION_FILE).write_text(json.dumps(asdict(calibration), indent=2) + "\n", encoding="utf-8")


def read_calibration(folder: Path) -> Calibration | None:
    """A checkpoint's calibration, or None where it has none.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = folder / CALIBRATION_FILE
    if not path.is_file():
        return None
    try:
        return Calibration(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint's calibration ({error}). Fetch the checkpoint again, or delete the file."
        ) from error
