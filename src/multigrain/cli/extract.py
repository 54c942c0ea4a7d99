"""`multigrain extract`: videos to a store of utterances with words, voice and face."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multigrain.cli import stderr_console, visible
from multigrain.errors import VideoError, first_few

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from multigrain.video.many import Extraction
    from multigrain.video.pairing import Pairing

SOME_FAILED = 1
_SHARES = {"face": "face_share", "voice": "voice_share"}
GROUPS = ("video", "speaker")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("extract")(extract)


def extract(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Video or sound files, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", metavar="STORE", help="The store to make, by custom NAME.store.")],
    transcript: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What is said: .srt, .vtt, .ass, .txt, or .json with word times. A folder of files named as the videos are."
        ),
    ] = None,
    language: Annotated[
        str | None, typer.Option(metavar="CODE", help="Of several transcripts of a video (NAME.en.srt, NAME.de.srt) the one that is taken.")
    ] = None,
    group: Annotated[str, typer.Option(metavar="video|speaker", help="What an utterance's group is: its video, or who speaks in it.")] = "video",
    labels: Annotated[Path | None, typer.Option(metavar="CSV", help="Columns file, start, end, label, split: makes a training store.")] = None,
    column: Annotated[list[str] | None, typer.Option(metavar="NAME=COLUMN", help="What a column is called in the labels' table.")] = None,
    label_value: Annotated[list[str] | None, typer.Option(metavar="WORD=NUMBER", help="The score of a label that is a word.")] = None,
    label_range: Annotated[
        tuple[float, float] | None, typer.Option("--range", metavar="LOW HIGH", help="The labels' range (by default -3 3).")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse labels of files that are not there or of times after their end.")] = False,
    audio_track: Annotated[str | None, typer.Option(metavar="N|LANGUAGE", help="The track of sound, by number from 1 on or language.")] = None,
    recognizer: Annotated[str, typer.Option(help="Without transcript: whisper:MODEL, pocketsphinx (unreliable) or none.")] = "none",
    faces: Annotated[bool, typer.Option("--faces/--no-faces", help="Look for a face; needs mediapipe.")] = True,
    workers: Annotated[int, typer.Option(min=1, help="Videos at once, each in a process of its own.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted extraction to the same store.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a store that is already there.")] = False,
    max_minutes: Annotated[float, typer.Option(min=0.01, help="Longer videos are refused.")] = 240.0,
) -> None:
    """Extracts the utterances of videos with their words, voice and face. A video that fails is one line of the summary (exit code 1)."""
    from multigrain.cli.data import numbers, pairs
    from multigrain.schema import Task
    from multigrain.video.labels import DEFAULT_RANGE, read_labels
    from multigrain.video.limits import Limits
    from multigrain.video.many import extract_store

    if label_range is not None and label_range[0] >= label_range[1]:
        raise VideoError(f"--range {label_range[0]:g} {label_range[1]:g}: expected the lowest label and then the highest, such as --range -3 3.")
    if group not in GROUPS:
        raise VideoError(f"--group is {group!r}; expected {' or '.join(GROUPS)}.")
    console = stderr_console()
    files = _files(videos, transcript, console)
    pairing = _transcripts(transcript, files, videos, language)
    chosen = None
    if labels is None and (column or label_value or strict):
        raise VideoError("--column, --label-value and --strict say something about a table of labels, and there is none. Give it with --labels.")
    if labels is not None:
        found = read_labels(
            labels,
            files,
            columns=pairs(column, "--column"),
            label_values=numbers(label_value),
            label_range=label_range,
            is_strict=strict,
        )
        chosen, label_range = found.lines, found.label_range
        for note in found.notes:
            console.print(_note(note), soft_wrap=not console.is_terminal)
    low, high = label_range or DEFAULT_RANGE
    with _bars(console, len(files) if chosen is None else len(chosen)) as (show, done):
        made = extract_store(
            files,
            out,
            transcripts=pairing.found,
            group="speaker" if group == "speaker" else "video",
            labels=chosen,
            task=Task(minimum=low, maximum=high),
            recognizer=recognizer,
            with_faces=faces,
            workers=workers,
            resume=resume,
            overwrite=overwrite,
            limits=Limits(duration_seconds=max_minutes * 60),
            progress=show,
            on_done=done,
            audio_track=audio_track,
            is_strict=strict,
        )
    _print_summary(made, console)
    for note in pairing.notes():
        console.print(_note(note), soft_wrap=not console.is_terminal)
    if made.store is None:
        none = "The video could not" if len(made.failures) == 1 else f"None of the {len(made.failures)} videos could"
        raise VideoError(f"{none} be extracted, and no store was made. The reason is above.")
    if made.failures:
        raise typer.Exit(SOME_FAILED)


def _files(given: Sequence[Path], transcript: Path | None, console: "Console") -> list[Path]:
    """The named files, and those of the named folders by their endings; what of a folder is not taken is counted and named."""
    from multigrain.video.media import SUFFIXES
    from multigrain.video.pairing import TRANSCRIPT_SUFFIXES
    from multigrain.video.spoken import counted

    files: list[Path] = []
    others: list[Path] = []
    for path in given:
        path = path.absolute()
        every = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        inside = [file for file in every if file.suffix.lower() in SUFFIXES] if path.is_dir() else every
        if not inside:
            raise VideoError(f"The folder {path} holds no video: of its {len(every)} files none ends with {', '.join(SUFFIXES)}.")
        files += inside
        kept = TRANSCRIPT_SUFFIXES if transcript is not None else ()
        others += [file for file in every if file not in set(inside) and file.suffix.lower() not in kept]
    if others:
        counts = Counter(file.suffix.lower() or "no ending" for file in others)
        endings = ", ".join(f"{ending} {count}" for ending, count in counts.items())
        console.print(
            _note(
                f"{counted(len(others), 'file', 'files')} of the folders left out by ending ({endings}): "
                f"{first_few([file.name for file in others])}. A file that is named itself may have any ending."
            ),
            soft_wrap=not console.is_terminal,
        )
    return list(dict.fromkeys(files))


def _transcripts(given: Path | None, videos: Sequence[Path], named: Sequence[Path], language: str | None) -> "Pairing":
    """The transcript of each video that has one."""
    from multigrain.video.pairing import Pairing, pair_transcripts

    if language is not None and (given is None or not given.is_dir()):
        raise VideoError(f"--language {language} chooses among the transcripts of a folder. Name one with --transcript FOLDER, or leave it out.")
    if given is None:
        return Pairing()
    if not given.is_dir():
        if len(videos) > 1:
            raise VideoError(
                f"--transcript {given} is one file for {len(videos)} videos. Name a folder with one file a video, named as the video is."
            )
        return Pairing(found={videos[0]: given.absolute()})
    folders = [path.absolute() for path in named if path.is_dir()]
    relative = {video: video.relative_to(next((one for one in folders if video.is_relative_to(one)), video.parent)) for video in videos}
    pairing = pair_transcripts(relative, given, language)
    if not pairing.found:
        raise VideoError(f"The folder {given} holds no transcript for any of the {len(videos)} videos. Expected such as {videos[0].stem}.srt.")
    return pairing


@contextmanager
def _bars(console: "Console", num_videos: int) -> Iterator[tuple[Any, Any]]:
    """A bar for all videos and one for each that is being worked on."""
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    with Progress(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), console=console, transient=True) as bar:
        total = bar.add_task("videos", total=num_videos)
        running: dict[Path, Any] = {}
        shares: dict[Path, dict[str, float]] = {}

        def show(video: Path, stage: str, share: float) -> None:
            if video not in running:
                running[video] = bar.add_task(escape(visible(video.name)), total=1.0)
            shares.setdefault(video, {})[stage] = share
            bar.update(running[video], completed=min(shares[video].values()))

        def done(video: Path, reason: str | None) -> None:
            if video in running:
                bar.remove_task(running.pop(video))
            bar.advance(total)

        yield show, done


def _print_summary(made: "Extraction", console: "Console") -> None:
    from rich.text import Text

    from multigrain.video.spoken import counted

    for facts in made.videos:
        shares = [f"{name} {'none' if facts.get(key) is None else f'{100 * facts[key]:.0f} %'}" for name, key in _SHARES.items()]
        origin = facts["transcript_origin"] + ("" if facts["is_transcript_reliable"] else ", unreliable")
        found = counted(facts["utterances"], "utterance", "utterances")
        typer.echo(visible(f"{facts['file']}: {facts['duration_seconds']:.1f} s, {found}, {', '.join(shares)}, words from {origin}"))
    for text, names in _grouped_notes(made.videos):
        where = f" ({names[0]})" if len(names) == 1 else f" (and so for {len(names)} files: {first_few(names)})"
        typer.echo(visible(f"Note: {text}{where if len(made.videos) > 1 else ''}"))
    for failure in made.failures:
        console.print(Text(visible(f"FAILED {failure.video}: {failure.reason}")), soft_wrap=not console.is_terminal)
    counts = f"{len(made.videos)} of {len(made.videos) + len(made.failures)} videos"
    if made.store is not None:
        reused = f" ({made.num_reused} of them done before)" if made.num_reused else ""
        utterances = counted(made.num_utterances, "utterance", "utterances")
        typer.echo(f"{made.store}: {utterances} of {counts}{reused}. Examine it: multigrain data doctor {made.store}")
    if made.parts is not None and made.store is not None:
        console.print(
            Text(f"What is done is kept in {made.parts}: mend the failed videos and run again with --resume --overwrite, or delete that folder."),
            soft_wrap=not console.is_terminal,
        )


def _grouped_notes(videos: "Sequence[dict[str, Any]]") -> list[tuple[str, list[str]]]:
    """Each note once, with the files that have it; notes that differ in numbers and in quoted words alone are one."""
    found: dict[str, tuple[str, list[str]]] = {}
    for facts in videos:
        for note in facts["notes"]:
            kind = re.sub(r"'[^']*'|\d+(?:[.,]\d+)*", "#", note)
            found.setdefault(kind, (note, []))[1].append(facts["file"])
    return list(found.values())


def _note(text: str) -> "Text":
    from rich.text import Text

    return Text(visible(f"Note: {text}"))
