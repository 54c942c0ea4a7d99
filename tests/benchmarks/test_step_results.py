"""What the step benchmark makes of its numbers: operations, kinds, exponents, goals."""

from pathlib import Path
from typing import Any

import pytest
import torch
from step.flops import counted, mcmut_forward_flops, mult_forward_flops, projection_flops, step_flops
from step.goals import growth_lines, ratio_lines
from step.growth import Point, fitted_exponent, points, reason_to_skip
from step.processes import CellResult, run_cells
from step.profile import COMPILED, DISPATCH, OPTIMIZER, OTHER, kind_of
from step.spec import CellSpec

from multigrain.layers.native.library import without_native_kernels
from multigrain.models import build_model
from multigrain.schema import Batch, FeatureSpec, Task

STEPS, DIMS = [16, 19, 25], [12, 5, 7]  # none so short that attention fills it up


def forward_count(model: torch.nn.Module) -> int:
    batch = Batch.from_arrays(**{name: torch.randn(2, time, dim) for name, time, dim in zip(("text", "audio", "vision"), STEPS, DIMS, strict=True)})
    with without_native_kernels():
        return counted(lambda: model(batch, with_attention=True))


def tiny(name: str, **config: Any) -> torch.nn.Module:
    features = {modality: FeatureSpec(dim=dim) for modality, dim in zip(("text", "audio", "vision"), DIMS, strict=True)}
    return build_model(name, {"width": 16, "num_heads": 2, "num_summary_layers": 2, **config}, Task(), features)


def test_equations_of_mult_agree_with_the_counter() -> None:
    equations = mult_forward_flops(batch=2, steps=STEPS, input_dims=DIMS, width=16, num_layers=3, num_summary_layers=2, head_dim=1)
    assert forward_count(tiny("mult", num_layers=3)) == pytest.approx(equations, rel=0.02)


def test_equations_of_mcmut_agree_with_the_counter() -> None:
    equations = mcmut_forward_flops(batch=2, steps=STEPS, input_dims=DIMS, width=16, scales=[1, 1, 2, 1], num_summary_layers=2, head_dim=1)
    assert forward_count(tiny("mcmut", num_blocks=2, layers_per_block=2)) == pytest.approx(equations, rel=0.02)


def test_a_step_is_three_forward_passes_less_the_inputs_gradients() -> None:
    linear, data = torch.nn.Linear(5, 4), torch.randn(2, 3, 5)
    forward = counted(lambda: linear(data))
    assert forward == projection_flops(2, [3], [5], 4)
    assert counted(lambda: linear(data).sum().backward()) == step_flops(forward, forward)


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("aten::bmm", "matrix products"),
        ("aten::_softmax", "softmax"),
        ("aten::bernoulli_", "random numbers"),
        ("aten::copy_", "copies"),
        ("aten::mul_", "element-wise"),
        ("aten::native_layer_norm_backward", "layer norm"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu_backward", "fused attention"),
        ("_NativeLayersBackward", COMPILED),
        ("aten::_fused_adam_", OPTIMIZER),
        ("Optimizer.step#Adam.step", OPTIMIZER),
        ("autograd::engine::evaluate_function: MulBackward0", DISPATCH),
        ("MulBackward0", DISPATCH),
        ("SomeFunction", OTHER),
        ("SomeFunctionBackward", OTHER),
        ("aten::linear", DISPATCH),
        ("mine::fast_attention", OTHER),
    ],
)
def test_operations_have_kinds(operation: str, kind: str) -> None:
    assert kind_of(operation) == kind


def result(key: str, seconds: list[float], peak: int, error: str | None = None) -> CellResult:
    rounds = [
        {"seconds_per_step": value, "utterances_per_second": 16 / value, "typical_peak_bytes": peak / 2, "peak_bytes": peak} for value in seconds
    ]
    return CellResult(CellSpec(key=key, name=f"name of {key}", batches=[], warm_up=[]), rounds=rounds, error=error)


def test_ratios_stand_beside_their_goals() -> None:
    results = {
        "mult_real": result("mult_real", [0.2, 0.2, 0.4], 200_000_000),
        "mcmut_real": result("mcmut_real", [1.0, 1.0, 1.0], 800_000_000),
        "mult_full": result("mult_full", [], 0, error="ran out of memory"),
        "mmsa_unaligned": result("mmsa_unaligned", [6.0, 6.2, 6.4], 4_100_000_000),
    }
    lines = [str(line) for line in ratio_lines(results)]
    assert lines[0].startswith("1. MulT, real lengths: 31 times faster than MMSA's (rounds 16 to 31) (goal: at least 25 times; met)")
    assert "1/20.5 of its memory in the costliest batch" in lines[0]
    assert "(goal: at most 1/20 in any batch; met)" in lines[0]
    assert "6.2 times faster than MMSA's" in lines[1]
    assert "at least 14 times; not met" in lines[1]
    assert "no ratio, since there is no number for `name of mult_full` (goal: at least 4 times; not measured)" in lines[2]
    assert "800 MB above the imports" in lines[-1]
    assert "not met" in lines[-1]


def test_slower_is_called_so() -> None:
    results = {"mult_aligned": result("mult_aligned", [0.8], 500), "mmsa_aligned": result("mmsa_aligned", [0.4], 250)}
    (line,) = ratio_lines(results)
    assert "0.5 times as fast as MMSA's" in str(line)
    assert "2.0 times its memory" in str(line)
    assert [claim.is_met for claim in line.claims] == [False, None]


def test_what_has_one_rival_is_compared_once() -> None:
    results = {"mmin_real": result("mmin_real", [0.8], 500), "misa_padded": result("misa_padded", [0.4], 250)}
    assert len(ratio_lines(results)) == 1


def test_exponent_of_a_power_is_found() -> None:
    assert fitted_exponent([1, 2, 4, 8], [5 * size**1.7 for size in (1, 2, 4, 8)]) == pytest.approx(1.7)
    assert fitted_exponent([1], [3.0]) is None


def measured(peaks: list[int], seconds: float = 1.0) -> list[Point]:
    known = []
    for point, peak in zip([point for point in points() if (point.model, point.series) == ("mcmut", "length")], peaks, strict=False):
        point.result = result("growth", [seconds], peak)
        known.append(point)
    return known


@pytest.mark.parametrize(("peaks", "is_met"), [([100, 190, 370, 740], True), ([100, 300, 1000, 3900], False), ([100, 190], None)])
def test_growth_is_judged_by_the_last_doubling(peaks: list[int], is_met: bool | None) -> None:
    sizes = measured(peaks)
    rest = [point for point in points() if (point.model, point.series) == ("mcmut", "length")][len(peaks) :]
    for point in rest:
        point.skipped = "no time is left"
    (goal,) = [claim for line in growth_lines(sizes + rest) for claim in line.claims if claim.goal]
    assert goal.is_met is is_met


def test_sizes_beyond_memory_or_time_are_skipped() -> None:
    following = next(point for point in points() if (point.model, point.series, point.size) == ("mcmut", "length", 4))
    huge, slow = measured([10**12, 2 * 10**12]), measured([10**6, 10**6], seconds=50.0)
    assert "GB are free" in (reason_to_skip(following, huge, 1000.0, 3) or "")
    assert reason_to_skip(following, slow, 100.0, 3) == "it would take up to 800 s, and 100 s are left"
    assert reason_to_skip(following, slow, 1000.0, 3) is None
    slow[-1].skipped = "for a reason"
    assert reason_to_skip(following, slow, 1000.0, 3) == "the smaller size before it could not be measured"


def test_a_cell_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    import sys

    batch = [[2, 15, 20], [3, 22, 30]]
    works = CellSpec(key="a", name="works", batches=[batch], warm_up=[], costliest=batch, threads=1)
    fails = CellSpec(key="b", name="fails", implementation="official", official=str(tmp_path), batches=[batch], warm_up=[], threads=1)
    good, bad = run_cells([works, fails], {"ours": sys.executable, "official": sys.executable}, rounds=2, limit_seconds=120.0)
    assert good.error is None
    assert len(good.rounds) == 2
    assert good.ready["parameters"] == 1_071_211
    assert good.rounds[0]["seconds_per_step"] > 0
    assert 1e6 < good.rounds[0]["typical_peak_bytes"] <= good.peak_bytes < 1e9
    assert bad.rounds == []
    assert "is no checkout of the authors' MulT" in (bad.error or "")
