"""`multigrain analyze` and `multigrain calibrate`: a video's sentiment with its evidence, and intervals for a checkpoint."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multigrain.errors import DataError, VideoError

if TYPE_CHECKING:
    from multigrain.analysis.analyze import Progress
    from multigrain.analysis.result import Analysis

MEDIA = ("auto", "embed", "link", "none")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("analyze")(analyze)
    app.command("calibrate")(calibrate)


def analyze(
    video: Annotated[
        Path | None, typer.Argument(metavar="[VIDEO]", help="A video or sound file. Leave it out to analyse a text with --text.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Analyse this text alone, an utterance a line, in place of a video; - reads it from the input.")
    ] = None,
    transcript: Annotated[Path | None, typer.Option(help="What is said: .srt, .vtt, .ass, .txt, or .json with word times.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Run folder, checkpoint folder or hub id; by default the one that is included.")] = None,
    recognizer: Annotated[str, typer.Option(help="Without a transcript: none, pocketsphinx (unreliable) or whisper:MODEL.")] = "none",
    audio_track: Annotated[str | None, typer.Option(metavar="N|LANGUAGE", help="The track of sound, by number from 1 on or language.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write a report with the video, its timeline and the evidence.")] = None,
    media: Annotated[
        str, typer.Option(help="The video in the report: embed, link, none, or auto (embedded up to 16 MB, as a copy if browsers cannot play it).")
    ] = "auto",
    json: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write everything at full precision.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write a row an utterance.")] = None,
) -> None:
    """Says how a video sounds, looks and reads, utterance by utterance, and why."""
    if (video is None) == (text is None):
        given = "both" if video is not None else "neither"
        raise DataError(
            f'analyze takes either a video or --text TEXT; got {given}. Examples: multigrain analyze talk.mp4, multigrain analyze --text "...".'
        )
    if media not in MEDIA:
        raise DataError(f"--media is {media!r}; expected one of {', '.join(MEDIA)}.")
    if media != "auto" and report is None:
        raise DataError(f"--media {media} is given without --report, whose video it is about. Add --report FILE.html, or leave --media out.")
    if video is None and audio_track is not None:
        raise DataError(f"--audio-track {audio_track} is given with --text, which has no sound. Leave one of them out.")
    found = _of_text(text, transcript, checkpoint) if video is None else _of_video(video, transcript, checkpoint, recognizer, audio_track)
    _print(found)
    _write(found, video, report, media, json, csv)


def _of_text(text: str | None, transcript: Path | None, checkpoint: str | None) -> "Analysis":
    from multigrain.analysis.analyze import analyze_text

    if transcript is not None:
        raise DataError(f"--transcript {transcript} is given with --text, which needs none. Leave one of them out.")
    return analyze_text(sys.stdin.read() if text == "-" else text or "", checkpoint=checkpoint)


def _of_video(video: Path, transcript: Path | None, checkpoint: str | None, recognizer: str, audio_track: str | None) -> "Analysis":
    from multigrain.analysis.analyze import analyze as analyze_video

    with quiet_libraries(), _progress_bar() as progress:
        return analyze_video(video, transcript=transcript, checkpoint=checkpoint, recognizer=recognizer, progress=progress, audio_track=audio_track)


def _print(found: "Analysis") -> None:
    from rich.console import Console

    from multigrain.analysis.tables import to_rich

    console = Console()
    console = console if console.is_terminal else Console(width=150)
    console.print(to_rich(found))


def _write(found: "Analysis", video: Path | None, report: Path | None, media: str, json: Path | None, csv: Path | None) -> None:
    from multigrain.analysis.tables import write_csv

    try:
        written = [
            *([] if json is None else [found.write_json(json)]),
            *([] if csv is None else [write_csv(csv, found)]),
            *([] if report is None else [_write_report(report, found, video, media)]),
        ]
    except OSError as error:
        raise DataError(f"{error.filename or 'The result'} cannot be written: {error.strerror or error}. Choose another place.") from error
    for path in written:
        typer.echo(f"Wrote {path}", err=True)


def _write_report(path: Path, found: "Analysis", video: Path | None, media: str) -> Path:
    """The report; where no copy for browsers can be made of a damaged video, the analysis of what there is of it is shown without it."""
    from multigrain.analysis.report_html import write_page

    try:
        return write_page(path, found, video=video, media=media)  # type: ignore[arg-type]  # checked above
    except VideoError as error:
        if media != "auto":
            raise
        typer.echo(f"Warning: the report is written without the video. {error}", err=True)
        return write_page(path, found, video=None, media="none")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """What mediapipe and the decoders print to the process's stderr is dropped, since no user needs it; Python's stderr goes on as before."""
    sys.stderr.flush()
    python, kept, nothing = sys.stderr, os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    try:
        with open(os.dup(kept), "w", buffering=1, encoding=python.encoding, errors=python.errors) as same:
            if _is_on_descriptor_2(python):
                sys.stderr = same
            yield
    finally:
        sys.stderr = python
        os.dup2(kept, 2)
        os.close(kept)


def _is_on_descriptor_2(stream: Any) -> bool:
    try:
        return stream.fileno() == 2
    except OSError:  # it is no file, as under a test
        return False


@contextmanager
def _progress_bar() -> "Iterator[Progress]":
    """A bar on stderr, a line a stage."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        stages: dict[str, int] = {}

        def show(stage: str, share: float) -> None:
            if stage not in stages:
                stages[stage] = bar.add_task(stage, total=1.0)
            bar.update(stages[stage], completed=share)  # type: ignore[arg-type]  # rich's own int type

        yield show


def calibrate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/NAME/seed-0.")],
    store: Annotated[Path | None, typer.Option(help="Calibrate on this store in place of the run's own.")] = None,
    split: Annotated[str, typer.Option(help="The split to calibrate on, which the model was not trained on.")] = "valid",
    check: Annotated[str | None, typer.Option(help="Also measure the coverage on this split.")] = "test",
    text_encoder: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Where the language model is now that the run was trained on but does not hold.")
    ] = None,
) -> None:
    """Gives a run's checkpoint intervals with a stated coverage, by split conformal prediction; `multigrain analyze` then shows them."""
    from rich.console import Console

    from multigrain.evaluation.conformal import calibrate_run
    from multigrain.evaluation.tables import to_rich

    path, table = calibrate_run(run, store, split, check, text_encoder=text_encoder)
    console = Console()
    console = console if console.is_terminal else Console(width=150)
    console.print(to_rich(table))
    typer.echo(f"Wrote {path}", err=True)
