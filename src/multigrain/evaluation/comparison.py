"""The result of a comparison: one row a model, with intervals over seeds, a paired test and the published values.

All runs of a comparison were trained and are measured on the same store, so that the test can be paired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import nan
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from multigrain.errors import DataError, RecipeError, nearest
from multigrain.evaluation.evaluate import RunFacts
from multigrain.evaluation.predict import Predictions
from multigrain.evaluation.significance import Interval, PairedTest, interval_over_seeds, paired_bootstrap
from multigrain.evaluation.training_pool import FailedRun
from multigrain.metrics import compute_metrics, metrics_for
from multigrain.published.rows import TEST_UTTERANCES, PublishedRow, find_row
from multigrain.schema import Task
from multigrain.training.published import PublishedRecipe

if TYPE_CHECKING:
    from multigrain.data.joint_store import JointStore
    from multigrain.data.store import Store

NOT_CROSSMODAL: tuple[str, ...] = ("unimodal", "lf_lstm")
"""Models that never let one modality ask another: the baselines of a planted comparison."""
SIZE_TOLERANCE = 0.01
"""By what share the number of utterances may differ from the published data set's: releases of one set differ by a few."""


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """What a comparison says about one recipe.

    Attributes:
        name: of the recipe.
        model: key in `MODELS`.
        seeds: those that completed.
        run_folders: of these seeds.
        values: metric -> its value for each seed.
        intervals: metric -> mean and 95 % interval over seeds.
        tests: metric -> paired test against the reference; empty for the reference itself.
        published: the rows of the papers' tables that the recipe is; empty for most.
        withheld: why the rows that the recipe names are not among them; None where they are, or where it names none.
        parameters: trained numbers of the model.
        seconds_per_epoch: mean over seeds; None where unknown.
        share_of_the_way: on planted data: (correlation - best baseline) / (oracle - best baseline), or None.
    """

    name: str
    model: str
    seeds: tuple[int, ...]
    run_folders: tuple[str, ...]
    values: dict[str, tuple[float, ...]]
    intervals: dict[str, Interval]
    tests: dict[str, PairedTest]
    published: tuple[PublishedRow, ...]
    parameters: int
    seconds_per_epoch: float | None
    withheld: str | None = None
    share_of_the_way: float | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A comparison's result.

    Attributes:
        rows: one per recipe that has at least one completed run, in the order asked for.
        reference: name of the row that the others are tested against.
        metrics: names, in the order of the table.
        task: what was predicted.
        split, convention: what the numbers were measured on, and how.
        num_utterances: of that split.
        store, store_fingerprint: the data; of several stores their paths, with commas between.
        oracle: on planted data: metric -> value of the best possible prediction on this split; None otherwise.
        baseline: name of the best row that is not crossmodal, on planted data; None otherwise.
        failures: runs that ended without results.
    """

    rows: tuple[ModelRow, ...]
    reference: str
    metrics: tuple[str, ...]
    task: Task
    split: str
    convention: str
    num_utterances: int
    store: str
    store_fingerprint: str
    oracle: dict[str, float] | None = None
    baseline: str | None = None
    failures: tuple[FailedRun, ...] = ()

    def row(self, name: str) -> ModelRow:
        """The row of a recipe by name."""
        return next(row for row in self.rows if row.name == name)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain values, unrounded."""
        return asdict(self) | {"task": self.task.to_dict()}


def summarise(
    completed: Mapping[str, Sequence[RunFacts]],
    *,
    store: "str | Path | Store | JointStore",
    reference: str | None = None,
    metrics: Sequence[str] | None = None,
    convention: str = "default",
    split: str = "test",
    failures: Sequence[FailedRun] = (),
) -> Comparison:
    """Compares completed runs, without training anything.

    Args:
        completed: name -> its completed runs, one a seed, at least one.
        store: that all of them were trained on, open or by its path.
        reference, metrics, convention, split: as for `compare`.
        failures: runs to mention as failed.

    Raises:
        DataError: there is no completed run, or the runs' predictions are not of the same utterances.
        RecipeError: an unknown metric.
    """
    if not completed:
        reasons = " ".join(f"{failure.name} seed {failure.seed}: {failure.reason}." for failure in failures)
        raise DataError(f"Not one run completed, so there is nothing to compare. {reasons}")
    from multigrain.data.store import Store

    opened = Store.open(Path(store)) if isinstance(store, (str, Path)) else store
    task = _common_task([runs[0].task for runs in completed.values()])
    names = _metric_names(task, convention, metrics)
    predictions = {name: [run.predictions(split) for run in runs] for name, runs in completed.items()}
    chosen = reference if reference is not None and reference in completed else list(completed)[-1]
    published = {name: published_rows_of(runs[0], opened, split) for name, runs in completed.items()}
    rows = [_row(name, runs, predictions, chosen, task, convention, names, *published[name]) for name, runs in completed.items()]
    oracle = _oracle(opened, split)
    baseline = _best_baseline(rows) if oracle is not None else None
    if oracle is not None and baseline is not None:
        rows = [_with_share(row, baseline, oracle) for row in rows]
    return Comparison(
        rows=tuple(rows),
        reference=chosen,
        metrics=tuple(names),
        task=task,
        split=split,
        convention=convention,
        num_utterances=len(predictions[chosen][0].ids),
        store=str(opened),
        store_fingerprint=opened.fingerprint,
        oracle=oracle,
        baseline=None if baseline is None else baseline.name,
        failures=tuple(failures),
    )


def _common_task(tasks: Sequence[Task]) -> Task:
    """The task whose metrics the table shows: that of the classes where one of the models has any."""
    return next((task for task in tasks if task.kind == "classification"), tasks[0])


def _oracle(store: "Store | JointStore", split: str) -> dict[str, float] | None:
    """The metrics of a planted store's best possible prediction, which no other store knows."""
    planted = (store.manifest.get("extra") or {}).get("planted") or {}
    return (planted.get("oracle") or {}).get(split)


def _metric_names(task: Task, convention: str, wanted: Sequence[str] | None) -> list[str]:
    known = list(metrics_for(task, convention))
    for name in wanted or ():
        if name not in known:
            raise RecipeError(f"There is no metric {name!r} for this task.{nearest(name, known)} Its metrics are {', '.join(known)}.")
    return list(wanted) if wanted else known


def _row(
    name: str,
    runs: Sequence[RunFacts],
    predictions: Mapping[str, Sequence[Predictions]],
    reference: str,
    task: Task,
    convention: str,
    metrics: Sequence[str],
    published: tuple[PublishedRow, ...],
    withheld: str | None,
) -> ModelRow:
    scored = [_scores(run, own.task, convention) for run, own in zip(predictions[name], runs, strict=True)]
    values = {metric: tuple(score.get(metric, score.get(metric.removesuffix("_expected"), nan)) for score in scored) for metric in metrics}
    chosen = {metric: definition for metric, definition in metrics_for(task, convention).items() if metric in metrics}
    seconds = [run.results["seconds_per_epoch"] for run in runs if run.results.get("seconds_per_epoch") is not None]
    model = str(runs[0].results.get("model", runs[0].run.get("model")))
    return ModelRow(
        name=name,
        model=model,
        seeds=tuple(run.results["seed"] for run in runs),
        run_folders=tuple(str(run.folder) for run in runs),
        values=values,
        intervals={metric: interval_over_seeds(value) for metric, value in values.items()},
        tests={} if name == reference else paired_bootstrap(predictions[name], predictions[reference], chosen),
        published=published,
        withheld=withheld,
        parameters=int(runs[0].results["parameters"]),
        seconds_per_epoch=fmean(seconds) if seconds else None,
    )


def _scores(predictions: Predictions, task: Task, convention: str) -> dict[str, float]:
    if predictions.labels is None:
        raise DataError("The split compared on has no labels. Compare the runs on a split that has labels.")
    return compute_metrics(task, predictions.answers, predictions.labels, convention, predictions.ids)


def published_rows_of(run: RunFacts, store: "Store | JointStore", split: str) -> tuple[tuple[PublishedRow, ...], str | None]:
    """The published rows that a run's recipe is, or none and why: only the very variant, on such data, scored on the test split.

    Args:
        run: of the recipe; the recipe in its folder counts, with whatever was changed on the command line.
        store: that it was trained on.
        split: that the comparison is of.
    """
    from multigrain.data.store import Store
    from multigrain.training.run_folder import RunFolder

    folder = RunFolder(run.folder)
    published = folder.recipe().published if folder.is_run else PublishedRecipe()
    if not published.rows:
        return (), None
    if published.withheld is not None:
        return (), published.withheld
    if not isinstance(store, Store):
        return (), "it was trained on several stores together"
    if "planted" in (store.manifest.get("extra") or {}):
        return (), "the store is planted, not the data set of the paper"
    if split != "test":
        return (), f"they are of the test split, not of {split}"
    rows = tuple(find_row(identifier) for identifier in published.rows)
    count = len(store.split("test"))
    for dataset in {row.dataset: None for row in rows}:
        if abs(count - TEST_UTTERANCES[dataset]) > SIZE_TOLERANCE * TEST_UTTERANCES[dataset]:
            return (), f"the store's test split has {count:,} utterances, and {dataset}'s has {TEST_UTTERANCES[dataset]:,}"
    return rows, None


def _best_baseline(rows: Sequence[ModelRow]) -> ModelRow | None:
    baselines = [row for row in rows if row.model in NOT_CROSSMODAL and "correlation" in row.intervals]
    return max(baselines, key=lambda row: row.intervals["correlation"].mean, default=None)


def _with_share(row: ModelRow, baseline: ModelRow, oracle: Mapping[str, float]) -> ModelRow:
    if row.model in NOT_CROSSMODAL:
        return row
    start = baseline.intervals["correlation"].mean
    way = oracle["correlation"] - start
    return replace(row, share_of_the_way=(row.intervals["correlation"].mean - start) / way if way > 0 else None)
