"""`multigrain serve`: the page and the JSON API."""

import os
from pathlib import Path
from typing import Annotated

import typer

from multigrain.errors import ServerError
from multigrain.web.settings import MEBIBYTE, Settings


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("serve")(serve)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on. Any but this machine's own needs a token.")] = Settings.host,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = Settings.port,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="MULTIGRAIN_TOKEN", show_envvar=True, help="What a client must know. Others on this machine see options, not the variable."
        ),
    ] = None,
    behind_proxy: Annotated[
        bool,
        typer.Option("--behind-proxy", help="A proxy with TLS stands before it: cookies for TLS only, limits by the address that the proxy names."),
    ] = False,
    data: Annotated[Path, typer.Option(help="Folder of uploads, results and jobs.")] = Path("analyses"),
    database: Annotated[str | None, typer.Option(help="SQLAlchemy URL of the jobs (default: a SQLite file in the data folder).")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Model of every analysis (default: the one that comes with multigrain).")] = None,
    recognizer: Annotated[str, typer.Option(help="For videos without a transcript: none, pocketsphinx or whisper:MODEL.")] = Settings.recognizer,
    workers: Annotated[int | None, typer.Option(help="Analyses at a time (default: a core each, at most 4).")] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds after which an analysis is stopped.")] = Settings.time_limit_seconds,
    max_upload: Annotated[int, typer.Option(help="Largest video in MiB.")] = Settings.video_bytes // MEBIBYTE,
    max_duration: Annotated[float, typer.Option(help="Longest video in seconds.")] = Settings.duration_seconds,
    max_queue: Annotated[int, typer.Option(help="Most analyses that wait.")] = Settings.queue,
) -> None:
    """Serves a page, and a JSON API, that analyse videos and texts. Stop it with Ctrl-C; jobs go on at the next start."""
    if os.name != "posix":
        raise ServerError("`multigrain serve` needs Linux or macOS: it ends runaway analyses by process groups, which this system does not have.")
    try:
        from multigrain.web.server import serve as run
    except ImportError as error:
        raise ServerError(
            f"`multigrain serve` needs the package {error.name}, which is not installed. Install it with `pip install 'multigrain[web]'`."
        ) from error
    settings = Settings(
        host=host,
        port=port,
        token=token,
        is_behind_proxy=behind_proxy,
        data=data,
        database=database,
        checkpoint=checkpoint,
        recognizer=recognizer,
        workers=min(4, os.cpu_count() or 1) if workers is None else workers,
        time_limit_seconds=time_limit,
        video_bytes=max_upload * MEBIBYTE,
        duration_seconds=max_duration,
        queue=max_queue,
    )

    def announce(address: str) -> None:
        asked = "and asks for the token " if settings.token else ""
        typer.echo(f"multigrain listens on {address} {asked}(uploads and results: {data}; Ctrl-C stops it)")

    run(settings, announce)
