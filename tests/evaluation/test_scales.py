"""What a model's scales and codes are worth to it: the same weights, with parts left out."""

from pathlib import Path

import pytest
from small_runs import CONFIGS, write_run

from multigrain.data.store import Store
from multigrain.errors import DataError
from multigrain.evaluation.evaluate import evaluate_run
from multigrain.evaluation.predict import predict_split
from multigrain.evaluation.scales import measure_scales, scales_of_run
from multigrain.evaluation.tables import scales_table
from multigrain.models import build_model, load

MMIN_ROWS = ["without CIN", "without FIN", "without private codes", "without common codes"]
GUIDED = [f"without the guided code of {name}" for name in ("text", "vision", "audio")]


@pytest.mark.parametrize(
    ("name", "rows"),
    [("mcmut", ["only scale 0", "without scale 0"]), ("mmin", [*MMIN_ROWS, *GUIDED])],
)
def test_each_part_is_left_out_once_and_the_whole_is_the_plain_evaluation(name: str, rows: list[str], planted: Store, tmp_path: Path) -> None:
    run = write_run(tmp_path / name, name, planted)
    measured = scales_of_run(run)
    assert [result.name for result in measured.results] == ["all", *rows]
    assert measured.results[0].metrics == evaluate_run(run, planted.path)
    assert measured.results[0].against_all == {}
    for result in measured.results[1:]:
        difference = result.metrics["correlation"] - measured.results[0].metrics["correlation"]
        assert result.against_all["correlation"].difference == pytest.approx(difference)
        assert difference != 0.0
    table = scales_table(measured, "title", ("mae", "correlation"))
    assert [row[0] for row in table.rows] == ["all", *rows]
    assert all("[" in row[-1] for row in table.rows[1:])


def test_weights_of_a_scale_that_is_left_out_change_nothing(planted: Store, tmp_path: Path) -> None:
    model, split = load(str(write_run(tmp_path / "run", "mcmut", planted))), planted.split("test")
    with model.without(model.ablations["only scale 0"]):
        before = predict_split(model, split).scores
        for layers in model.streams.values():
            for layer in layers:
                if layer.crossmodal.num_scales > 1:
                    layer.crossmodal.output_weight.data[1:] *= 7.0
        after = predict_split(model, split).scores
    assert (before == after).all()
    assert (predict_split(model, split).scores != after).any()


def test_a_model_without_such_parts_is_named(planted: Store) -> None:
    for name, changed in (("mult", {}), ("mcmut", {"num_blocks": 1})):
        model = build_model(name, CONFIGS[name] | changed, planted.task, planted.features)
        with pytest.raises(
            DataError, match=f"This {name} model has nothing that could be left out: expected an MCMuT with a layer that asks several"
        ):
            measure_scales(model, planted.split("test"))
