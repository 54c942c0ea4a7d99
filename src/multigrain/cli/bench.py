"""`multigrain bench`: how fast the models train and predict on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from multigrain.errors import RecipeError


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("bench")(bench)


def bench(
    batch: Annotated[int, typer.Option(help="Utterances of a training step.")] = 16,
    threads: Annotated[int | None, typer.Option(help="CPU threads (default: all that this process may use).")] = None,
    seconds: Annotated[float, typer.Option(help="About how long it may take; each row has one round at least.")] = 60.0,
    device: Annotated[str, typer.Option(help="auto (a GPU where there is one), cpu or cuda.")] = "auto",
    model: Annotated[list[str] | None, typer.Option(help="mult or mcmut; may be repeated (default: both).")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write everything at full precision, too.")] = None,
) -> None:
    """Measures training steps, predictions and memory of MulT and MCMuT on this machine, and prints one table."""
    import json

    from rich.console import Console

    from multigrain.benchmark.models import MODELS
    from multigrain.benchmark.run import Choices, default_threads, measure
    from multigrain.benchmark.table import bench_table

    threads = default_threads() if threads is None else threads
    choices = Choices(batch=batch, threads=threads, seconds=seconds, device=device, models=tuple(dict.fromkeys(model or MODELS)))
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise RecipeError(f"--json {json_file}: its folder is not there. Make the folder first, or name a file in one that is.")
    progress = Console(stderr=True)
    with progress.status("measuring") as status:
        found = measure(choices, lambda text: status.update(f"measuring: {text}"))
    Console().print(bench_table(found))
    if json_file is not None:
        try:
            json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise RecipeError(f"--json {json_file} cannot be written: {error.strerror}. Name a file that can.") from error
    if not any(cell["train"] for cell in found["cells"]):
        raise typer.Exit(1)
