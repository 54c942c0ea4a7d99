"""What one process of `multigrain bench` measures: one model on one kind of input, with or without the compiled kernels.

`python -m multigrain.benchmark.cell` reads a `CellSpec` from the first line of standard input, builds and warms up, and answers each
further line, `train` or `predict`, with one round over the batches.
"""

import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from multigrain.benchmark import memory
from multigrain.benchmark.features import padded_features
from multigrain.benchmark.lengths import BatchSteps
from multigrain.benchmark.lines import serve
from multigrain.benchmark.models import TrainingStep, published_config
from multigrain.schema import Batch

TRAIN, PREDICT = "train", "predict"


@dataclass(frozen=True, kw_only=True)
class CellSpec:
    """One process.

    Attributes:
        model: `mult` or `mcmut`, at its published sizes.
        input: what the table calls the input.
        is_native: with the compiled kernels.
        batches: steps of text, audio and vision per utterance of each batch that a round trains on.
        warm_up: batches that come first, untimed, of which memory is taken all the same.
        predicted: batches that a round of predictions goes through; none where nothing is predicted.
        threads: of torch.
        device: `cpu` or `cuda`.
        seed: of parameters and features.
    """

    model: str
    input: str
    is_native: bool
    batches: list[BatchSteps]
    warm_up: list[BatchSteps]
    predicted: list[BatchSteps]
    threads: int
    device: str = "cpu"
    seed: int = 0

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "CellSpec":
        """The inverse of `to_json`."""
        return cls(**json.loads(line))


class Cell:
    """The model of a process and the most memory that a training step took."""

    def __init__(self, spec: CellSpec):
        self.spec = spec
        self.device = torch.device(spec.device)
        self.baseline = memory.resident() if self.is_on_cpu else 0
        torch.manual_seed(spec.seed)
        self.step = TrainingStep(spec.model, published_config(spec.model), device=self.device)
        self.most_bytes = 0
        for number, batch in enumerate(spec.warm_up):
            self._train(batch, -1 - number)

    @property
    def is_on_cpu(self) -> bool:
        """Whether memory is the process's own, not a GPU's."""
        return self.device.type == "cpu"

    def answer(self, request: str) -> dict[str, Any]:
        """One round: seconds a batch, utterances a second, and the most bytes that any training step so far took above the imports."""
        take, batches = (self._train, self.spec.batches) if request == TRAIN else (self._predict, self.spec.predicted)
        seconds = [take(batch, number) for number, batch in enumerate(batches)]
        utterances = sum(map(len, batches))
        return {"seconds": statistics.fmean(seconds), "utterances_per_second": utterances / sum(seconds), "peak_bytes": self.most_bytes}

    def _train(self, steps: BatchSteps, number: int) -> float:
        batch = self._batch(steps, number)
        assert batch.label is not None
        self._reset_peak()
        start = time.perf_counter()
        self.step.take(batch, batch.label)
        self._synchronise()
        seconds = time.perf_counter() - start
        self.most_bytes = max(self.most_bytes, self._peak())
        return seconds

    def _predict(self, steps: BatchSteps, number: int) -> float:
        batch = self._batch(steps, number)
        start = time.perf_counter()
        self.step.model.predict(batch)
        self._synchronise()
        return time.perf_counter() - start

    def _batch(self, steps: BatchSteps, number: int) -> Batch:
        """The same utterances in each process and round; making them is not in the time."""
        features, lengths = padded_features(steps, None, seed=1_000_003 * self.spec.seed + 1009 * (number + 10))
        batch = Batch.from_arrays(
            text=features["text"], audio=features["audio"], vision=features["vision"], lengths=lengths, label=torch.linspace(-3.0, 3.0, len(steps))
        ).to(self.device)
        self._synchronise()
        return batch

    def _synchronise(self) -> None:
        if not self.is_on_cpu:
            torch.cuda.synchronize(self.device)

    def _reset_peak(self) -> None:
        if self.is_on_cpu:
            memory.reset_peak()
        else:
            torch.cuda.reset_peak_memory_stats(self.device)

    def _peak(self) -> int:
        return memory.peak() - self.baseline if self.is_on_cpu else torch.cuda.max_memory_allocated(self.device)


def answers(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The first line is the spec; each further one asks for a round."""
    spec = CellSpec.from_json(next(lines))
    torch.set_num_threads(spec.threads)
    _import_all(spec)
    if spec.device == "cpu":
        memory.keep_within_free_memory()
    cell = Cell(spec)
    yield {"parameters": sum(parameter.numel() for parameter in cell.step.model.parameters()), "torch": torch.__version__}
    for request in lines:
        yield cell.answer(request)


def _import_all(spec: CellSpec) -> None:
    """What is imported when first used otherwise, and would count as the step's memory."""

    import multigrain.losses
    import multigrain.models  # noqa: F401
    from multigrain.layers.native.library import library

    if spec.is_native:
        library()


if __name__ == "__main__":
    serve(answers)
