"""The parts of `benchmarks/gpu.py` that run on a CPU: buckets, fixed batches, what a step moves, correctness, the whole run."""

import pytest
import torch
from card.cells import FULL, GRAPHED, LAW, PLAIN, CardCell, drawn, measure_cell
from card.correctness import relative_difference
from card.fixed_steps import FixedBatch, FixedSteps, length_shapes
from card.peaks import bytes_moved
from card.report import ratio_lines

from multigrain.benchmark.models import TrainingStep
from multigrain.losses import task_loss

CPU = torch.device("cpu")
SMALL = {"width": 10, "num_heads": 2, "num_layers": 1, "num_summary_layers": 1}
QUIET = {**SMALL, **dict.fromkeys(("text_dropout", "hidden_dropout", "residual_dropout", "embedding_dropout", "attention_dropout_text"), 0.0)}


def small_step(config: dict[str, object]) -> TrainingStep:
    torch.manual_seed(0)
    return TrainingStep("mult", config)


def test_a_shorter_and_smaller_batch_gives_the_same_loss_and_gradients() -> None:
    batch = drawn([[3, 20, 30], [5, 38, 50]], 0)
    step, fixed_step = small_step(QUIET), small_step(QUIET)
    expected = task_loss(step.task, step.model(batch).prediction, batch.label)
    expected.backward()
    fixed = FixedSteps(fixed_step, 4, [[6, 45, 60], [9, 70, 90]], "float32")
    fixed.take(drawn([[6, 45, 60]] * 4, 1))  # leaves its features behind, which must not be read
    with torch.no_grad():
        for parameter, before in zip(fixed_step.model.parameters(), step.model.parameters(), strict=True):
            parameter.copy_(before)
    fixed_step.clip = lambda: None  # type: ignore[method-assign, assignment, return-value]  # gradients as they are
    torch.testing.assert_close(fixed.take(batch), expected.detach())
    for ours, theirs in zip(fixed_step.model.parameters(), step.model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_smallest_bucket_that_holds_a_batch_is_taken() -> None:
    fixed = FixedSteps(small_step(SMALL), 1, length_shapes((6, 10, 50)), "float32")
    assert fixed.bucket([6, 45, 60]) == (6, 45, 60)
    assert fixed.bucket([6, 46, 60]) == (10, 75, 100)
    with pytest.raises(ValueError, match="no bucket holds"):
        fixed.bucket([51, 1, 1])


def test_missing_utterances_have_no_weight() -> None:
    fixed = FixedBatch(4, [6, 45, 60], CPU)
    fixed.fill(drawn([[3, 20, 30]] * 4, 0))
    fixed.fill(drawn([[3, 20, 30]] * 2, 0))
    assert fixed.weight.flatten().tolist() == [0.5, 0.5, 0.0, 0.0]
    assert fixed.batch.audio.mask.sum(dim=1).tolist() == [20, 20, 0, 0]


def test_bytes_moved_are_what_operations_read_and_write() -> None:
    left, right = torch.randn(8, 4), torch.randn(4, 2)
    assert bytes_moved(lambda: left @ right) == 4 * (32 + 8 + 16)
    assert bytes_moved(lambda: left.t().view(4, 8)) == 0


def test_differences_are_relative_and_nan_is_infinite() -> None:
    assert relative_difference(torch.tensor([1.0, 2.2]), torch.tensor([1.0, 2.0])) == pytest.approx(0.1)
    assert relative_difference(torch.tensor([float("nan")]), torch.tensor([1.0])) == float("inf")


def test_cells_are_timed_and_compared() -> None:
    cells = [CardCell(model="mult", batch=1, input=LAW, precision="float32", way=way) for way in (GRAPHED, PLAIN)]
    for cell in cells:
        measure_cell(cell, CPU, seconds=0.0, batches_a_round=1)
        assert cell.error is None
        assert len(cell.seconds) == 3
    assert "times as fast as plain" in ratio_lines(cells, True)
    failed = CardCell(model="mult", batch=64, input=LAW, precision="bf16", way=GRAPHED, error="out of the GPU's memory")
    assert "not measured" in ratio_lines([failed], False)
    assert FULL not in ratio_lines([failed], False)
