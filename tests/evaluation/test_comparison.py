import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_runs import shift_scores, write_run

from multigrain.data.joint_store import JointStore, StoreSource
from multigrain.data.store import Store
from multigrain.errors import DataError, RecipeError
from multigrain.evaluation.comparison import Comparison, published_rows_of, summarise
from multigrain.evaluation.evaluate import RunFacts, read_run
from multigrain.evaluation.tables import differences_table, results_table, to_json, to_latex, to_markdown, to_rich
from multigrain.evaluation.training_pool import FailedRun
from multigrain.published.rows import TEST_UTTERANCES, find_row, published_rows
from multigrain.schema import Task
from multigrain.training.recipe_file import load_recipe


@pytest.fixture
def completed(planted: Store, tmp_path: Path) -> dict[str, list[RunFacts]]:
    """Two seeds of a good mult and of a bad lf_lstm."""
    runs: dict[str, list[RunFacts]] = {}
    for name, noise in (("mult", 0.3), ("lf_lstm", 1.5)):
        for seed in range(2):
            folder = write_run(tmp_path / name / f"seed-{seed}", name, planted, seed)
            shift_scores(folder, noise, seed)
            runs.setdefault(name, []).append(read_run(folder))
    return runs


@pytest.fixture
def comparison(completed: dict[str, list[RunFacts]], planted: Store) -> Comparison:
    failures = [FailedRun("mult", 7, "the disk is <full> & 100_% used")]
    return summarise(completed, store=planted.path, reference="lf_lstm", failures=failures)


def test_rows_hold_means_tests_and_cost(comparison: Comparison, completed: dict[str, list[RunFacts]]) -> None:
    row = comparison.row("mult")
    errors = [np.abs(run.predictions("test").scores - run.predictions("test").labels).mean() for run in completed["mult"]]
    assert row.seeds == (0, 1)
    assert row.values["mae"] == pytest.approx(errors)
    assert row.intervals["mae"].mean == pytest.approx(np.mean(errors))
    assert row.tests["mae"].difference < -0.5
    assert row.tests["mae"].p_value < 0.01
    assert row.parameters == completed["mult"][0].results["parameters"]
    assert row.seconds_per_epoch == 1.25
    assert comparison.row("lf_lstm").tests == {}
    assert comparison.num_utterances == 40


def test_a_model_of_classes_stands_beside_one_of_scores(planted: Store, tmp_path: Path) -> None:
    """Acc-7 is by the class where there are classes and by the rounded score elsewhere, whichever comes first."""
    runs = {
        "scores": [read_run(write_run(tmp_path / "scores", "mult", planted))],
        "classes": [read_run(write_run(tmp_path / "classes", "mcmut", planted, task=Task(kind="classification")))],
    }
    comparison = summarise(runs, store=planted.path, reference="scores")
    for name in runs:
        own = runs[name][0].results["splits"]["test"]
        assert comparison.row(name).values["accuracy_7"] == (own["accuracy_7"],)
        assert comparison.row(name).values["accuracy_7_expected"] == (own.get("accuracy_7_expected", own["accuracy_7"]),)
    test = comparison.row("classes").tests["accuracy_7"]
    assert test.difference == pytest.approx(comparison.row("classes").values["accuracy_7"][0] - comparison.row("scores").values["accuracy_7"][0])


def test_predictions_of_classes_by_an_earlier_version_are_refused(planted: Store, tmp_path: Path) -> None:
    run = write_run(tmp_path / "classes", "mcmut", planted, task=Task(kind="classification"))
    path = run / "predictions" / "test.csv"
    path.write_text("".join(line.rpartition(",")[0] + "\n" for line in path.read_text().splitlines()))
    with pytest.raises(DataError, match=r"no column 'class'.*Predict afresh with --store"):
        read_run(run).predictions("test")


def test_planted_stores_have_the_oracle_and_the_share_of_the_way(comparison: Comparison, planted: Store) -> None:
    oracle = planted.manifest["extra"]["planted"]["oracle"]["test"]
    assert comparison.oracle == oracle
    assert comparison.baseline == "lf_lstm"
    start, end = (comparison.row(name).intervals["correlation"].mean for name in ("lf_lstm", "mult"))
    assert comparison.row("mult").share_of_the_way == pytest.approx((end - start) / (oracle["correlation"] - start))
    assert comparison.row("lf_lstm").share_of_the_way is None


def published_run(folder: Path, published: object, changes: list[str] | None = None) -> RunFacts:
    """A run folder of a recipe that names published rows."""
    recipe = folder.parent / f"{folder.name}.yaml"
    recipe.write_text(f"data: {{store: mosei.store}}\npublished: {json.dumps(published)}\n{MCMUT}")
    folder.mkdir()
    (folder / "recipe.yaml").write_text(load_recipe(recipe, changes or []).to_yaml())
    (folder / "run.json").write_text("{}")
    return read_run(folder)


MCMUT = "model: {name: mcmut, width: 8, num_heads: 2}\ntask: {kind: classification}\n"
ROWS = ["mcmut/table_2/unaligned/mcmut", "mcmut/table_4/mcmut", "mcmut/table_5/mcmut"]


def test_published_rows_are_those_that_the_recipe_is(tmp_path: Path, make_store, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store()
    monkeypatch.setitem(TEST_UTTERANCES, "MOSEI", len(store.split("test")))
    run = published_run(tmp_path / "run", ROWS)
    assert [row.id for row in published_rows_of(run, store, "test")[0]] == ROWS
    assert published_rows_of(run, store, "valid") == ((), "they are of the test split, not of valid")
    assert published_rows_of(published_run(tmp_path / "plain", None), store, "test") == ((), None)


def test_published_rows_are_withheld_on_another_data_set(tmp_path: Path, make_store) -> None:
    """A recipe whose `data.store` was changed on the command line is still the paper's network, but not on the paper's data."""
    store = make_store()
    count = len(store.split("test"))
    run = published_run(tmp_path / "run", ROWS, ["data.store=mosi.store"])
    assert published_rows_of(run, store, "test") == ((), f"the store's test split has {count} utterances, and MOSEI's has 4,659")


def test_every_published_row_is_of_a_data_set_whose_size_is_known() -> None:
    assert {row.dataset for row in published_rows().values()} == set(TEST_UTTERANCES)


def test_published_rows_are_withheld_where_the_model_was_changed(tmp_path: Path, make_store) -> None:
    run = published_run(tmp_path / "run", ROWS, ["model.num_blocks=2", "training.epochs=3"])
    assert published_rows_of(run, make_store(), "test") == ((), "model.num_blocks was changed from 4 to 2")


def test_published_rows_are_withheld_on_planted_and_on_several_stores(tmp_path: Path, planted: Store, make_store) -> None:
    run = published_run(tmp_path / "run", ROWS)
    assert published_rows_of(run, planted, "test") == ((), "the store is planted, not the data set of the paper")
    joint = JointStore([StoreSource(path="a.store"), StoreSource(path="b.store")], [make_store(), make_store(name="b.store")], Task(), None)
    assert published_rows_of(run, joint, "test") == ((), "it was trained on several stores together")


def test_table_prints_published_rows_once_as_printed_and_says_what_it_withholds(comparison: Comparison) -> None:
    rows = tuple(find_row(identifier) for identifier in (*ROWS, "mcmut/table_6/b_5"))
    withheld = replace(comparison.row("lf_lstm"), withheld="model.width was changed from 64 to 8")
    shown = replace(comparison, rows=(replace(comparison.row("mult"), published=rows), withheld, replace(withheld, name="other")))
    table = results_table(shown, ("mae", "accuracy_7", "f1_non0", "accuracy_5"))
    published = [row for row in table.rows if row[0].startswith("  published")]
    features = "MOSEI, unaligned, GloVe, COVAREP, Facet (mult convention; MCMuT's Table"
    assert published == [
        (f"  published: {features}s 2, 5)", "", "0.588", "51.8", "82.8", ""),
        (f"  published: {features} 4)", "", "0.588", "51.83", "82.77", ""),
        (f"  published: {features} 6)", "", "0.591", "41.26", "82.81", ""),
    ]
    assert any("B=5 on MOSEI, unaligned (MCMuT's Table 6): Acc7 as printed, likely a misprint" in note for note in table.notes)
    assert [note for note in table.notes if "not shown" in note] == [
        "Published values of lf_lstm, other are not shown: model.width was changed from 64 to 8."
    ]
    assert json.loads(to_json(shown))["rows"][0]["published"][0]["id"] == ROWS[0]


def test_unknown_metric_is_named(completed: dict[str, list[RunFacts]], planted: Store) -> None:
    with pytest.raises(RecipeError, match=r"no metric 'corelation' for this task\. Did you mean 'correlation'"):
        summarise(completed, store=planted.path, metrics=["corelation"])


def test_nothing_completed_says_why(planted: Store) -> None:
    with pytest.raises(DataError, match=r"Not one run completed.*mult seed 0: no memory"):
        summarise({}, store=planted.path, failures=[FailedRun("mult", 0, "no memory")])


def test_results_table_rounds_and_lists_the_oracle(comparison: Comparison) -> None:
    table = results_table(comparison, ("mae", "accuracy_7"))
    assert table.columns == ("model", "seeds", "MAE", "Acc-7 %")
    interval = comparison.row("mult").intervals["mae"]
    assert table.rows[0][:3] == ("mult", "2", f"{interval.mean:.3f} ± {(interval.high - interval.low) / 2:.3f}")
    assert table.rows[-1][0] == "oracle (best possible)"
    assert any("FAILED: mult seed 7: the disk is <full>" in note for note in table.notes)


def test_differences_table_names_reference_and_share(comparison: Comparison) -> None:
    table = differences_table(comparison)
    assert table.columns == ("model", "Corr against lf_lstm", "MAE against lf_lstm", "parameters", "s/epoch", "way to oracle")
    assert table.rows[0][2].startswith("-")
    assert table.rows[0][-1] == f"{100 * comparison.row('mult').share_of_the_way:.1f} %"
    assert table.rows[1][1:3] == ("reference", "reference")


def test_markdown_has_a_row_a_model(comparison: Comparison) -> None:
    lines = [line for line in to_markdown(results_table(comparison)).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 3
    assert len({line.count("|") for line in lines}) == 1
    assert "&lt;full>" in to_markdown(results_table(comparison))


def test_latex_escapes_what_latex_reads(comparison: Comparison) -> None:
    text = to_latex(results_table(comparison))
    assert r"lf\_lstm & 2 & " in text
    assert r"$\pm$" in text
    assert text.count(r"\\") == 1 + 3


def test_json_is_complete_and_has_null_for_undefined(completed: dict[str, list[RunFacts]], planted: Store) -> None:
    single = summarise({name: runs[:1] for name, runs in completed.items()}, store=planted.path)
    content = json.loads(to_json(single), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert content["rows"][0]["intervals"]["mae"]["low"] is None
    assert content["rows"][0]["values"]["mae"] == list(single.rows[0].values["mae"])
    assert content["store_fingerprint"] == planted.fingerprint


def test_terminal_shows_failures_as_they_are(comparison: Comparison) -> None:
    from rich.console import Console

    console = Console(width=200, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(to_rich(results_table(comparison)))
    assert "FAILED: mult seed 7: the disk is <full> & 100_% used" in console.export_text()
