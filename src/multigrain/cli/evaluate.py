"""`multigrain evaluate`, `multigrain compare` and `multigrain demo`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from multigrain.errors import DataError, MultigrainError, RecipeError

if TYPE_CHECKING:
    from rich.console import Console

    from multigrain.evaluation.comparison import Comparison


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("evaluate")(evaluate)
    app.command("compare")(compare_recipes)
    app.command("demo")(demo)


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/NAME/seed-0.")],
    store: Annotated[Path | None, typer.Option(help="Predict this store afresh instead of scoring the run's own predictions.")] = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    convention: Annotated[str, typer.Option(help="Of the metrics: default, mult, mmsa or mag (docs/conventions.md).")] = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON at full precision.")] = False,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Predict afresh without some modalities, and with frames missing: a table and a picture.")
    ] = False,
    scales: Annotated[
        bool, typer.Option("--scales", help="Predict afresh with parts left out: MCMuT's scales; CIN, FIN and guided codes of MMIN.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="With --robustness: the picture's file (default RUN/robustness.svg).")] = None,
    text_encoder: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Where the language model is now that the run was trained on but does not hold.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read all of the store first and compare it with what was written.")] = False,
) -> None:
    """Scores a finished run on a split."""
    if verify:
        from multigrain.evaluation.evaluate import verify_data_of_run

        verify_data_of_run(run, store)
    if scales and robustness:
        raise RecipeError("--scales and --robustness are given, each of which prints a table of its own. Give one of them at a time.")
    if scales:
        if plot is not None:
            raise RecipeError(f"--plot {plot} is given with --scales, which draws nothing. Leave --plot out.")
        _evaluate_scales(run, store, split, convention, as_json, text_encoder)
        return
    if robustness:
        _evaluate_robustness(run, store, split, convention, as_json, plot or run / "robustness.svg", text_encoder)
        return
    if text_encoder is not None and store is None:
        raise RecipeError("--text-encoder is given, but the run's own predictions need none. Give a store with --store, or leave it out.")
    if plot is not None:
        raise RecipeError(f"--plot {plot} is given without --robustness, whose picture it names. Add --robustness, or leave --plot out.")
    import json

    from multigrain.evaluation.evaluate import evaluate_stores_of_run, examine_run
    from multigrain.evaluation.tables import confusion_table, metric_table, null_for_nan, to_rich, zero_attention_table
    from multigrain.evaluation.zero_attention import zero_attention_of_run

    found = examine_run(run, store, split, convention, text_encoder=text_encoder)
    by_store = evaluate_stores_of_run(run, split, convention) if store is None else {}
    zeros = zero_attention_of_run(run, store, split, text_encoder=text_encoder)
    if as_json:
        result: dict[str, object] = {
            "run": str(run),
            "store": None if store is None else str(store),
            "split": split,
            "convention": convention,
            "metrics": found.metrics,
        }
        result |= {"undefined": found.undefined} if found.undefined else {}
        result |= {"classes": found.classes, "confusion": found.confusion} if found.confusion else {}
        result |= ({"stores": by_store} if by_store else {}) | ({"zero_attention": zeros} if zeros else {})
        typer.echo(json.dumps(null_for_nan(result), indent=2))
        return
    _console().print(to_rich(metric_table(found.metrics, f"{run}: {split} split, convention {convention}")))
    for metric, reason in found.undefined.items():
        _console().print(f"{metric} is undefined: {reason}.", highlight=False, soft_wrap=True)
    if found.confusion:
        _console().print(to_rich(confusion_table(found.classes, found.confusion)))
    for name, own in by_store.items():
        _console().print(to_rich(metric_table(own, f"of these, those of the store {name}")))
    if zeros:
        _console().print(to_rich(zero_attention_table(zeros)))


def _evaluate_scales(run: Path, store: Path | None, split: str, convention: str, as_json: bool, text_encoder: str | None) -> None:
    import json

    from rich.console import Console

    from multigrain.evaluation.scales import scales_of_run
    from multigrain.evaluation.tables import HEADLINE_METRICS, null_for_nan, scales_table, to_rich

    with Console(stderr=True).status("Predicting ...") as status:  # shown on a terminal only
        measured = scales_of_run(run, store, split, convention, progress=lambda name: status.update(f"Predicting: {name}"), text_encoder=text_encoder)
    if as_json:
        result = {"run": str(run), "store": None if store is None else str(store), "scales": measured.to_dict()}
        typer.echo(json.dumps(null_for_nan(result), indent=2))
        return
    headline = tuple(name for name in HEADLINE_METRICS if name in measured.results[0].metrics) or None
    _console().print(to_rich(scales_table(measured, f"{run}: {split} split, convention {convention}", headline)))


def _evaluate_robustness(run: Path, store: Path | None, split: str, convention: str, as_json: bool, plot: Path, text_encoder: str | None) -> None:
    import json

    from rich.console import Console

    from multigrain.evaluation.robustness import robustness_of_run
    from multigrain.evaluation.tables import HEADLINE_METRICS, null_for_nan, robustness_table, to_rich
    from multigrain.plots import robustness_curves, write_picture

    if plot.suffix.lower() != ".svg":
        raise RecipeError(f"--plot is {plot}; expected a name that ends in .svg, since the picture is written as SVG.")
    with Console(stderr=True).status("Predicting ...") as status:  # shown on a terminal only

        def show(line: str) -> None:
            status.update(f"Predicting: {line}")

        measured = robustness_of_run(run, store, split, convention, progress=show, text_encoder=text_encoder)
    metrics = measured.complete.metrics
    metric = "correlation" if "correlation" in metrics else list(metrics)[-1]
    title = f"{run}: {split} split, {measured.num_utterances} utterances, convention {convention}"
    if as_json:
        result = {"run": str(run), "store": None if store is None else str(store), "split": split, "convention": convention, "metrics": metrics}
        typer.echo(json.dumps(null_for_nan(result | {"robustness": measured.to_dict(), "plot": str(plot)}), indent=2))
    else:
        headline = tuple(name for name in HEADLINE_METRICS if name in metrics) or None
        _console().print(to_rich(robustness_table(measured, title, headline)))
    try:
        write_picture(plot, robustness_curves(measured, metric), f"Robustness of {title}")
    except OSError as error:
        raise DataError(f"The picture {plot} cannot be written ({error.strerror}). Name another place with --plot.") from error
    _progress(f"Picture written to {plot}")


def compare_recipes(
    recipes: Annotated[list[str], typer.Argument(metavar="RECIPE... [KEY=VALUE]...", help="Names or files of recipes; overrides for all of them.")],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0..N-1 of each recipe.")] = 5,
    workers: Annotated[int, typer.Option(min=1, help="Runs to train at once; each on one thread when there are several.")] = 1,
    reference: Annotated[str | None, typer.Option(help="The recipe that the others are tested against (default: the last).")] = None,
    overrides: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Such as training.epochs=10; may be repeated.")] = None,
    convention: Annotated[str, typer.Option(help="Of the metrics: default, mult, mmsa or mag (docs/conventions.md).")] = "default",
    split: Annotated[str, typer.Option(help="valid or test.")] = "test",
    runs_root: Annotated[Path, typer.Option(help="Runs go to RUNS-ROOT/NAME/seed-S.")] = Path("runs"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete runs of another recipe or store that are in the way.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON at full precision.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX.")] = False,
    report: Annotated[Path | None, typer.Option(help="Also write a report as one HTML file.")] = None,
) -> None:
    """Trains recipes with several seeds and prints one table: means, intervals, paired tests, published values."""
    if as_json + as_markdown + as_latex > 1:
        raise RecipeError("Choose one of --json, --markdown and --latex.")
    from multigrain.evaluation.compare import compare
    from multigrain.evaluation.tables import to_json, to_latex, to_markdown

    comparison = compare(
        [name for name in recipes if "=" not in name],
        seeds=seeds,
        runs_root=runs_root,
        workers=workers,
        reference=reference,
        overwrite=overwrite,
        overrides=[*(name for name in recipes if "=" in name), *(overrides or [])],
        convention=convention,
        split=split,
        progress=_progress,
    )
    if as_json:
        typer.echo(to_json(comparison), nl=False)
    elif as_markdown or as_latex:
        from multigrain.evaluation.tables import differences_table, results_table

        render = to_markdown if as_markdown else to_latex
        typer.echo("\n".join(render(table) for table in (results_table(comparison), differences_table(comparison))), nl=False)
    else:
        print_comparison(comparison)
    if report is not None:
        from multigrain.report import write_report

        _progress(f"Report written to {write_report(report, comparison)}")
    if comparison.failures:
        raise typer.Exit(1)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the data set, the runs and the report.")] = Path("demo"),
    workers: Annotated[int, typer.Option(min=1, help="Models to train at once.")] = 2,
) -> None:
    """Makes the planted data set, trains MCMuT, MulT and a late-fusion LSTM on it, analyses a talking clip, and writes a report of either."""
    from multigrain.demo import run_demo

    result = run_demo(out, workers=workers, progress=_progress)
    print_comparison(result.comparison)
    typer.echo(f"The report with all pictures: {result.report}")
    _talking_clip(out)


def _talking_clip(out: Path) -> None:
    """The end of the demonstration, or the reason why there is none: it needs more libraries than the training."""
    from multigrain.analysis.tables import to_rich
    from multigrain.cli.analyze import quiet_libraries
    from multigrain.demo import analyse_talking_clip

    try:
        with quiet_libraries():
            made = analyse_talking_clip(out, progress=_progress)
    except MultigrainError as error:
        _progress(f"The talking clip was left out: {error}")
        return
    _console().print(to_rich(made.analysis))
    typer.echo(f"The report with the clip: {made.report}")


def print_comparison(comparison: "Comparison") -> None:
    """Prints a comparison's headline metrics, differences and cost to the terminal."""
    from multigrain.evaluation.tables import HEADLINE_METRICS, differences_table, results_table, to_rich

    headline = tuple(name for name in HEADLINE_METRICS if name in comparison.metrics) or None
    console = _console()
    console.print(to_rich(results_table(comparison, headline)))
    console.print(to_rich(differences_table(comparison)))


def _console() -> "Console":
    """A console that is wide enough for tables where the output is a file or a pipe."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=150)


def _progress(line: str) -> None:
    typer.echo(line, err=True)
