"""Training steps of a few fixed shapes, each captured once as a CUDA graph and then replayed, so that no kernel is launched from Python.

Lengths are rounded up to the next bucket; a batch is copied into tensors at fixed addresses, which the bucket's graph reads. Utterances that
a last batch lacks are absent ones of weight 0. On a CPU the same is computed without a graph.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from card.precision import autocast_in, products_in, wait_for
from multigrain.benchmark.lengths import DIMS, MODALITIES, steps_of
from multigrain.benchmark.models import TrainingStep
from multigrain.schema import Batch, ModalitySequence

WORD_EDGES = (6, 8, 10, 13, 17, 23, 32, 50)
"""Words that the longest utterance of a batch is rounded up to: about equally many batches of MOSI's law in each."""

_WARM_UP_STEPS = 3  # before a capture, so that libraries have chosen their kernels and made their workspaces


class FixedBatch:
    """A batch of one shape at fixed addresses.

    Attributes:
        batch: what the model reads.
        label: (utterances, 1).
        weight: (utterances, 1), of each utterance's error in the loss: 1 / number of real utterances, 0 for those that are missing.
    """

    def __init__(self, utterances: int, steps: Sequence[int], device: torch.device):
        sequences = {
            name: ModalitySequence(
                torch.zeros(utterances, count, dim, device=device),
                torch.zeros(utterances, count, dtype=torch.bool, device=device),
                torch.zeros(utterances, dtype=torch.long, device=device),
            )
            for (name, dim), count in zip(DIMS.items(), steps, strict=True)
        }
        self.batch = Batch(**sequences)
        self.label, self.weight = (torch.zeros(utterances, 1, device=device) for _ in range(2))

    def fill(self, batch: Batch) -> None:
        """Copies a batch, on the same device, that is no larger and no longer."""
        size, given = batch.size, batch.modalities
        for name, fixed in self.batch.modalities.items():
            fixed.mask.zero_()
            fixed.readout.zero_()
            sequence = given.get(name)
            if sequence is None:
                continue
            time = sequence.features.shape[1]
            fixed.features[:size, :time].copy_(sequence.features)
            fixed.mask[:size, :time].copy_(sequence.mask)
            fixed.readout[:size].copy_(sequence.readout)
        assert batch.label is not None
        self.label[:size].copy_(batch.label)
        self.weight.zero_()
        self.weight[:size].fill_(1.0 / size)


class FixedSteps:
    """Takes training steps; the parameters are as they were before when it is made."""

    def __init__(self, step: TrainingStep, utterances: int, shapes: Sequence[Sequence[int]], precision: str, *, with_graphs: bool = True):
        """Captures a graph for each shape.

        Args:
            step: the model and its optimiser, capturable where there are graphs.
            utterances: the most in a batch.
            shapes: steps of text, audio and vision of each bucket.
            precision: of `PRECISIONS`.
            with_graphs: False, or a CPU, computes the same without graphs.
        """
        self.step, self.precision = step, precision
        self.device = next(step.model.parameters()).device
        self.shapes = sorted((tuple(shape) for shape in shapes), key=sum)
        self.fixed = {shape: FixedBatch(utterances, shape, self.device) for shape in self.shapes}
        self.graphs: dict[tuple[int, ...], tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        if with_graphs and self.device.type == "cuda":
            self._capture_all()

    def take(self, batch: Batch) -> Tensor:
        """A step on a batch that is on the device; gives its loss, which stays there and which the bucket's next step overwrites."""
        shape = self.bucket([sequence.features.shape[1] for sequence in batch.modalities.values()])
        self.fixed[shape].fill(batch)
        if shape not in self.graphs:
            return self._compute(self.fixed[shape])
        graph, loss = self.graphs[shape]
        graph.replay()
        return loss

    def bucket(self, steps: Sequence[int]) -> tuple[int, ...]:
        """The smallest shape that holds so many steps of each modality."""
        for shape in self.shapes:
            if all(room >= count for room, count in zip(shape, steps, strict=True)):
                return shape
        raise ValueError(f"no bucket holds {list(steps)} steps; the largest is {list(self.shapes[-1])}")

    def _capture_all(self) -> None:
        parameters = [(parameter, parameter.detach().clone()) for parameter in self.step.model.parameters()]
        pool = torch.cuda.graph_pool_handle()  # one for all: nothing in it outlives its own replay but the losses, which are kept
        for shape in reversed(self.shapes):  # the largest first: what depends on the length, such as positions, is then made outside of graphs
            self.graphs[shape] = self._capture(self.fixed[shape], pool)
        self.step.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for parameter, before in parameters:
                parameter.copy_(before)
            for state in self.step.optimizer.state.values():
                for value in state.values():
                    value.zero_()
        wait_for(self.device)

    def _capture(self, fixed: FixedBatch, pool: object) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        self._fill_with_noise(fixed)
        side = torch.cuda.Stream(self.device)
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP_STEPS):
                self._compute(fixed)
        torch.cuda.current_stream(self.device).wait_stream(side)
        self.step.optimizer.zero_grad(set_to_none=True)  # so that each replay writes gradients in place of adding to them
        wait_for(self.device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):  # type: ignore[arg-type]
            loss = self._compute(fixed)
        return graph, loss

    def _fill_with_noise(self, fixed: FixedBatch) -> None:
        """Every step real."""
        for sequence in fixed.batch.modalities.values():
            sequence.features.normal_()
            sequence.mask.fill_(True)
            sequence.readout.fill_(sequence.features.shape[1] - 1)
        fixed.weight.fill_(1.0 / len(fixed.weight))

    def _compute(self, fixed: FixedBatch) -> Tensor:
        self.step.optimizer.zero_grad(set_to_none=True)
        with products_in(self.precision):
            with autocast_in(self.precision, self.device):
                prediction = self.step.model(fixed.batch).prediction
            loss = ((prediction.float() - fixed.label).abs() * fixed.weight).sum()
            loss.backward()
            self.step.clip()
            self.step.optimizer.step()
        return loss.detach()


def length_shapes(edges: Sequence[int] = WORD_EDGES) -> list[list[int]]:
    """The buckets of the length law: steps of text, audio and vision of so many words."""
    shapes: list[list[int]] = steps_of(edges).tolist()
    assert len(shapes[0]) == len(MODALITIES)
    return shapes
