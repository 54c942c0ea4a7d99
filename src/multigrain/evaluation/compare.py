"""Comparing recipes: train each with several seeds, as many at once as there are workers, and summarise what came out."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from multigrain.errors import RecipeError, nearest
from multigrain.evaluation.comparison import Comparison, summarise
from multigrain.evaluation.evaluate import read_run
from multigrain.evaluation.training_pool import PlannedRun, train_runs

logger = logging.getLogger(__name__)


def compare(
    recipes: Sequence[str],
    *,
    seeds: int | Sequence[int] = 5,
    runs_root: str | Path = "runs",
    workers: int = 1,
    reference: str | None = None,
    metrics: Sequence[str] | None = None,
    reuse: bool = True,
    overwrite: bool = False,
    overrides: Sequence[str] = (),
    convention: str = "default",
    split: str = "test",
    progress: Callable[[str], None] = logger.info,
) -> Comparison:
    """Trains each recipe with each seed, unless that has been done, and compares them on the test split.

    Args:
        recipes: files or names of recipes, all on one store.
        seeds: how many (0, 1, ...) or which.
        runs_root: runs go to `runs_root/NAME/seed-S`.
        workers: runs to train at once, each on one thread when there are several.
        reference: name of the recipe that the others are tested against; the last one by default.
        metrics: those to report; all of the task by default.
        reuse: take completed runs of the same recipe and store as they are, and resume interrupted ones.
        overwrite: delete runs of another recipe or store that are in the way.
        overrides: dotted overrides for all recipes, such as "training.epochs=10".
        convention: key of `multigrain.metrics.CONVENTIONS`.
        split: that the numbers are of.
        progress: takes one line at a time to show to the user.

    Raises:
        RecipeError: an unknown recipe, reference or metric; two recipes of one name; recipes on different stores.
        DataError: no run completed.
    """
    from multigrain.training.open_data import open_data, open_text_reader

    runs = plan_runs(recipes, seeds=seeds, runs_root=Path(runs_root), workers=workers, overrides=overrides)
    names = list(dict.fromkeys(run.name for run in runs))
    if reference is not None and reference not in names:
        raise RecipeError(f"The reference {reference!r} is none of the recipes compared.{nearest(reference, names)} They are {', '.join(names)}.")
    failures = train_runs(runs, workers=workers, reuse=reuse, overwrite=overwrite, progress=progress)
    failed = {(failure.name, failure.seed) for failure in failures}
    completed = {name: [read_run(run.folder) for run in runs if run.name == name and (name, run.seed) not in failed] for name in names}
    return summarise(
        {name: facts for name, facts in completed.items() if facts},
        store=open_data(runs[0].recipe, open_text_reader(runs[0].recipe)),
        reference=reference,
        metrics=metrics,
        convention=convention,
        split=split,
        failures=failures,
    )


def plan_runs(
    recipes: Sequence[str], *, seeds: int | Sequence[int], runs_root: Path, workers: int, overrides: Sequence[str] = ()
) -> list[PlannedRun]:
    """The runs of a comparison, seed by seed, so that an interrupted one has something of every model.

    Raises:
        RecipeError: no recipe or seed, two recipes of one name, recipes on different stores, or a recipe that is wrong.
    """
    from multigrain.training.open_data import open_data, open_text_reader
    from multigrain.training.recipe_file import find_recipe, load_recipe

    seed_list = list(range(seeds)) if isinstance(seeds, int) else list(dict.fromkeys(seeds))
    if not recipes or not seed_list or workers < 1:
        raise RecipeError(
            f"A comparison needs at least one recipe, one seed and one worker; got recipes {list(recipes)}, seeds {seed_list}, workers {workers}."
        )
    given = tuple(overrides)
    if workers > 1 and not any(override.startswith("training.num_threads=") for override in given):
        given = (*given, "training.num_threads=1")
    named: dict[str, PlannedRun] = {}
    stores: dict[str, str] = {}
    for source in recipes:
        recipe = load_recipe(source, given)
        name = recipe.name
        if name in named:
            raise RecipeError(f"Two of the recipes compared are called {name!r}, so their runs would share a folder. Change `name:` in one of them.")
        store = open_data(recipe, open_text_reader(recipe))  # a frozen language model's states are made here, once for all seeds
        stores[name] = str(store)
        folder = runs_root / name
        named[name] = PlannedRun(
            name=name,
            recipe_source=str(find_recipe(source)),
            recipe=recipe,
            overrides=given,
            seed=0,
            folder=folder,
            store_fingerprint=store.fingerprint,
        )
    first = next(iter(named.values()))
    for other in named.values():
        if other.store_fingerprint != first.store_fingerprint:
            raise RecipeError(
                f"The recipes train on different data: {first.name} on {stores[first.name]}, {other.name} on {stores[other.name]}. "
                "A comparison needs one store, or the same ones with the same names and label maps; give it with the override data.store=STORE."
            )
    return [_with_seed(run, seed) for seed in seed_list for run in named.values()]


def _with_seed(run: PlannedRun, seed: int) -> PlannedRun:
    return replace(run, seed=seed, folder=run.folder / f"seed-{seed}")
