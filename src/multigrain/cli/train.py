"""`multigrain train`: one run, several seeds, or the rest of an interrupted run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multigrain.errors import RecipeError

if TYPE_CHECKING:
    from multigrain.training.recipe import Recipe


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("train")(train)


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name or YAML file; with --resume also a run folder.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as training.epochs=10.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the run (default 0).")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Train seeds 0..N-1, each into RUN-FOLDER/seed-S.")] = None,
    run_folder: Annotated[Path | None, typer.Option(help="Where the run goes (default runs/NAME).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete a run that is there already.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read all of the store first and compare it with what was written.")] = False,
) -> None:
    """Trains a model from a recipe and scores it on the validation and test splits."""
    if seed is not None and seeds is not None:
        raise RecipeError("Both --seed and --seeds are given. --seed S trains one run, --seeds N trains seeds 0 to N-1; choose one.")
    if resume and overwrite:
        raise RecipeError("Both --resume and --overwrite are given; the first continues a run, the second deletes it. Choose one.")
    from multigrain.training.recipe_file import load_recipe
    from multigrain.training.run_folder import RunFolder

    if resume and Path(recipe).is_dir():
        if overrides or seed is not None or seeds is not None or run_folder is not None:
            raise RecipeError("A run folder is resumed with what it was started with: `multigrain train --resume RUN`, without anything else.")
        folders = sorted(Path(recipe).glob("seed-*"), key=_seed_number) if not RunFolder(recipe).is_run else []
        runs = [(RunFolder(path).recipe(), path, int(RunFolder(path).info()["seed"])) for path in folders or [Path(recipe)]]
        _train_all(runs, resume=True, overwrite=False, verify=verify)
        return
    resolved = load_recipe(recipe, overrides or [])
    folder = run_folder or Path("runs") / resolved.name
    if seeds is None:
        _train_all([(resolved, folder, seed or 0)], resume=resume, overwrite=overwrite, verify=verify)
        return
    if resolved.training.devices > 1:
        raise RecipeError("--seeds trains one run after the other in this process, which training.devices > 1 rules out. Start each with --seed.")
    _train_all([(resolved, folder / f"seed-{number}", number) for number in range(seeds)], resume=resume, overwrite=overwrite, verify=verify)


def _seed_number(path: Path) -> int:
    number = path.name.removeprefix("seed-")
    return int(number) if number.isdigit() else 0


def _train_all(runs: "list[tuple[Recipe, Path, int]]", *, resume: bool, overwrite: bool, verify: bool) -> None:
    from multigrain.cli import INTERRUPTED, TERMINATED, print_problem
    from multigrain.training.train import TrainingInterrupted, train_run

    if verify:
        from multigrain.data.store import Store
        from multigrain.data.store_verify import check_content

        data = [recipe.data for recipe, _, _ in runs]
        for path in dict.fromkeys(str(path) for own in data for path in ([own.store] if own.stores is None else [each.path for each in own.stores])):
            check_content(Store.open(path))
    results = []
    for recipe, folder, seed in runs:
        if len(runs) > 1:
            typer.echo(f"Seed {seed} -> {folder}", err=True)
        try:
            results.append(train_run(recipe, run_folder=folder, seed=seed, resume=resume, overwrite=overwrite))
        except TrainingInterrupted as interruption:
            print_problem(str(interruption))
            raise typer.Exit(TERMINATED if interruption.is_by_sigterm else INTERRUPTED) from interruption
    if results[-1]:  # empty in the second and further processes of DDP
        _print_results(results, runs[0][1] if len(runs) == 1 else runs[0][1].parent)


def _columns(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The metrics of each split, and of each store's test split where there are several."""
    stores = {f"test of {store}": own["test"] for store, own in result.get("stores", {}).items() if "test" in own}
    return {**result["splits"], **stores}


def _print_results(results: list[dict[str, Any]], folder: Path) -> None:
    from statistics import mean, stdev

    from rich.console import Console
    from rich.table import Table

    scored = [_columns(result) for result in results]
    splits = list(scored[0])
    over = f"mean ± standard deviation of {len(results)} seeds" if len(results) > 1 else f"seed {results[0]['seed']}"
    table = Table("metric", *splits, title=f"{results[0]['model']}, {over}", title_justify="left")
    for metric in dict.fromkeys(name for split in splits for name in scored[0][split]):
        cells = []
        for split in splits:
            values = [columns[split].get(metric) for columns in scored]
            known = [value for value in values if value is not None]
            spread = f" ± {stdev(known):.4f}" if len(known) > 1 else ""
            cells.append(f"{mean(known):.4f}{spread}" if known else "undefined")
        table.add_row(metric, *cells)
    console = Console()
    console.print(table)
    reasons = {(name, split): reason for result in results for split, own in result.get("undefined", {}).items() for name, reason in own.items()}
    for (name, split), reason in reasons.items():
        console.print(f"{name} is undefined on {split}: {reason}.", highlight=False, soft_wrap=True)
    console.print(f"Written to {folder}", highlight=False, soft_wrap=True)
