"""What one cell of the table measures: all that its process is told."""

import json
from dataclasses import asdict, dataclass
from typing import Literal

from multigrain.benchmark.lengths import DIMS, BatchSteps
from multigrain.benchmark.models import AUTHORS_DROPOUTS

STATE_WIDTH = 768  # of BERT-base, whose cached states MMIN and MISA read
ROUND, COSTLIEST = "round", "costliest"  # what a cell's process can be asked for

# The dropouts of the MulT authors' command line, and those of MMSA's registry for MOSI; both sides of a comparison get the same.
DROPOUTS: dict[str, dict[str, float]] = {
    "authors": AUTHORS_DROPOUTS,
    "mmsa": {
        "text": 0.5,
        "attention_text": 0.3,
        "attention_audio": 0.2,
        "attention_vision": 0.0,
        "hidden": 0.0,
        "residual": 0.0,
        "embedding": 0.2,
        "output": 0.5,
    },
}


@dataclass(frozen=True, kw_only=True)
class CellSpec:
    """One cell.

    Attributes:
        key: what the goals call it; unique in a run.
        name: what the table calls it.
        implementation: whose code.
        model: `mult`; of ours `mcmut`, `mmin`, and `mmin_coarse` without its attention between steps; of MMSA `misa`.
        kind: a training step, a prediction without gradients, or the distance to the machine's limit.
        batches: steps of text, audio and vision per utterance of each batch; a round takes the next `steps_per_round` in turn.
        warm_up: batches that come first, untimed.
        costliest: the epoch's costliest batch, which comes last, untimed, for its peak memory; None where all are alike.
        pad_to: steps of text, audio and vision that every utterance is padded to; None pads to a batch's longest.
        steps_per_round: steps that a round times.
        threads: of torch.
        seed: of parameters and features.
        dropouts: MulT's rates, a key of `DROPOUTS`.
        future_mask: ours has the future mask that the authors' code and MMSA have by default.
        official: folder of the authors' code.
    """

    key: str
    name: str
    implementation: Literal["ours", "mmsa", "official"] = "ours"
    model: Literal["mult", "mcmut", "mmin", "mmin_coarse", "misa"] = "mult"
    kind: Literal["train", "predict", "limit"] = "train"
    batches: list[BatchSteps]
    warm_up: list[BatchSteps]
    costliest: BatchSteps | None = None
    pad_to: list[int] | None = None
    steps_per_round: int = 1
    threads: int = 2
    seed: int = 0
    dropouts: str = "authors"
    future_mask: bool = False
    official: str | None = None

    @property
    def dims(self) -> dict[str, int]:
        """Features of a step, by modality."""
        return {**DIMS, "text": STATE_WIDTH} if self.model in ("mmin", "mmin_coarse", "misa") else DIMS

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "CellSpec":
        """The inverse of `to_json`."""
        return cls(**json.loads(line))
