"""`multigrain data convert|doctor|planted`: from published files to stores, and what is wrong with one."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multigrain.cli import stderr_console
from multigrain.errors import DataError, nearest

if TYPE_CHECKING:
    from rich.console import Console

    from multigrain.data.convert import Progress

UNHEALTHY = 1
_PASS_DIALS_ON = {"ignore_unknown_options": True}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    data = typer.Typer(no_args_is_help=True, help="Make stores out of published files, examine them, make the planted data set.")
    data.command("convert")(convert)
    data.command("doctor")(doctor)
    data.command("planted", context_settings=_PASS_DIALS_ON)(planted)
    app.add_typer(data, name="data")


def convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="The file or folder.")],
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The store to make, by custom NAME.store.")],
    format: Annotated[str, typer.Option("--format", help="mult, mmsa, misa, mag, csd, arrays or transcripts.")],
    replace_nonfinite: Annotated[float | None, typer.Option(help="Put this in place of NaN and infinities in features, and count them.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a store that is already there.")] = False,
    licence: Annotated[str | None, typer.Option(help="The data set's licence, for the manifest.")] = None,
    padding: Annotated[str, typer.Option(help="Side of the zero padding: left, right or auto.")] = "auto",
    aligned: Annotated[bool | None, typer.Option("--aligned/--no-aligned", help="Steps belong to the same word in all modalities.")] = None,
    label_range: Annotated[tuple[float, float] | None, typer.Option("--range", metavar="LOW HIGH", help="The label's range.")] = None,
    present_column: Annotated[int, typer.Option(help="Which column of an emotion's label means present (mult).")] = 1,
    emotions: Annotated[str | None, typer.Option(help="Names of emotion labels, with commas.")] = None,
    splits: Annotated[str | None, typer.Option(help="Read these splits only, with commas.")] = None,
    modalities: Annotated[str | None, typer.Option(help="Read these modalities only, with commas.")] = None,
    extractor: Annotated[list[str] | None, typer.Option(metavar="MODALITY=NAME", help="What computed the features.")] = None,
    word_vectors: Annotated[Path | None, typer.Option(help="Word vectors: GloVe text, or npz with words and vectors (misa, mag, csd).")] = None,
    text: Annotated[list[Path] | None, typer.Option(help="A .csd file of words or word vectors.")] = None,
    audio: Annotated[list[Path] | None, typer.Option(help="A .csd file of acoustic features; may be repeated.")] = None,
    vision: Annotated[list[Path] | None, typer.Option(help="A .csd file of visual features; may be repeated.")] = None,
    labels: Annotated[Path | None, typer.Option(help="The .csd file of the labels.")] = None,
    label_column: Annotated[str | None, typer.Option(metavar="NAME|NUMBER", help="Which of several labels of that file is the score (csd).")] = None,
    folds_file: Annotated[Path | None, typer.Option("--folds", metavar="FILE.json", help="Video ids of each split (csd).")] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="NAME=SOURCE", help="What a column or array is called there (arrays, transcripts).")
    ] = None,
    lower_case: Annotated[bool, typer.Option("--lower-case", help="Put transcripts into lower case (transcripts).")] = False,
    label_value: Annotated[list[str] | None, typer.Option(metavar="LABEL=NUMBER", help="The score of a label that is a word (transcripts).")] = None,
    context: Annotated[bool, typer.Option("--context", help="Give each utterance its group's utterances as sequence (arrays).")] = False,
    valid_share: Annotated[float | None, typer.Option(help="Take this share of training, by whole groups, for validation.")] = None,
    num_folds: Annotated[int | None, typer.Option(help="Split anew by cross-validation over groups.")] = None,
    fold: Annotated[int, typer.Option(help="The fold to test on, from 0.")] = 0,
    from_splits: Annotated[str | None, typer.Option("--from", help="Splits that take part in cross-validation, with commas.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw of groups.")] = 0,
) -> None:
    """Converts a published file to a store; it is written whole or not at all."""
    from multigrain.data.convert import convert as convert_source
    from multigrain.data.readers import ReadOptions

    given = {"emotions": _names(emotions)} if emotions else {}
    options = ReadOptions(
        padding=padding,
        aligned=aligned,
        label_range=label_range,
        present_column=present_column,
        splits=_names(splits),
        modalities=_names(modalities),
        extractors=pairs(extractor, "--extractor"),
        word_vectors=word_vectors,
        text_files=tuple(text or ()),
        audio_files=tuple(audio or ()),
        vision_files=tuple(vision or ()),
        labels_file=labels,
        label_column=label_column,
        folds_file=folds_file,
        columns=pairs(column, "--column"),
        lower_case=lower_case,
        label_values=numbers(label_value),
        context=context,
        valid_share=valid_share,
        num_folds=num_folds,
        fold=fold,
        from_splits=_names(from_splits),
        seed=seed,
        **given,  # type: ignore[arg-type]
    )
    with _notes_on_stderr(), _progress_bar() as progress:
        made = convert_source(
            format, source, store, options, replace_nonfinite=replace_nonfinite, overwrite=overwrite, licence=licence, progress=progress
        )
    _print_store(made)


def doctor(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The store to examine.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with plots.")] = None,
) -> None:
    """Says what is in a store and what is wrong with it; exit code 1 when something is."""
    from multigrain.data.doctor import examine
    from multigrain.data.store import Store

    diagnosis = examine(Store.open(store))
    if html is not None:
        _write_page(html, diagnosis.to_html())
    typer.echo(json.dumps(diagnosis.to_dict(), indent=2) if as_json else diagnosis.to_text())
    if not diagnosis.is_healthy:
        raise typer.Exit(UNHEALTHY)


def planted(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="STORE [--DIAL VALUE]...", help="The store to make, and dials to turn.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a store that is already there.")] = False,
    dials: Annotated[bool, typer.Option("--dials", help="Print the dials and their defaults, and make nothing.")] = False,
    like: Annotated[  # taken here, so that the rest of the words can be dials of its own
        str | None, typer.Option(metavar="mosi|mosei|iemocap", help="In the shape of this data set: its widths, lengths, task, and transcripts.")
    ] = None,
) -> None:
    """Makes the planted data set, whose best possible score is known. Each of its dials is an option: --train-size 2000 --num-keys 8 ..."""
    from multigrain.data.planted import PlantedConfig, write_planted_store
    from multigrain.data.planted_like import SHAPES, LikeConfig, write_like_store

    if like is not None and like not in SHAPES:
        raise DataError(f"--like {like}: expected one of {', '.join(SHAPES)}.{nearest(like, list(SHAPES))}")
    config: type = PlantedConfig if like is None else LikeConfig
    if dials:
        for field in fields(config):
            if field.name != "like":
                typer.echo(f"--{field.name.replace('_', '-')} {field.default}")
        return
    store, values = _store_and_dials(arguments or [], config)
    with _progress_bar() as progress:
        progress("making the planted data set", 0, 1)
        if like is None:
            made = write_planted_store(store, PlantedConfig(**values), overwrite=overwrite)
        else:
            made = write_like_store(store, LikeConfig(**{"like": like, **values}), overwrite=overwrite)
    _print_store(made)


# Arguments --------------------------------------------------------------------------------------------------------


def _names(value: str | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(part.strip() for part in value.split(",") if part.strip())


def pairs(values: list[str] | None, option: str) -> dict[str, str]:
    """NAME=VALUE arguments as a dict.

    Raises:
        DataError: one has no "=".
    """
    pairs = {}
    for value in values or ():
        name, separator, target = value.partition("=")
        if not (name and separator and target):
            raise DataError(f"{option} {value}: expected NAME=VALUE, such as {option} vision=video.")
        pairs[name.strip()] = target.strip()
    return pairs


def numbers(values: list[str] | None) -> dict[str, float]:
    """The arguments of --label-value.

    Raises:
        DataError: one is no LABEL=NUMBER.
    """
    try:
        return {name: float(number) for name, number in pairs(values, "--label-value").items()}
    except ValueError as error:
        raise DataError(f"--label-value: {error}. Expected LABEL=NUMBER, such as --label-value negative=-1.") from error


def _store_and_dials(arguments: list[str], config: type) -> tuple[Path, dict[str, Any]]:
    """The store's path, and `--num-keys 8` or `--num-keys=8` as {"num_keys": 8} by the config's fields."""
    known = {field.name.replace("_", "-"): field for field in fields(config)}
    known["size"] = known["train-size"]
    stores, values, rest = [], {}, list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--"):
            stores.append(argument)
            continue
        name, separator, text = argument.removeprefix("--").partition("=")
        if name not in known:
            raise DataError(
                f"The planted data set has no dial --{name}.{nearest(name, list(known))} `multigrain data planted STORE --dials` prints all of them."
            )
        if isinstance(known[name].default, bool) and not separator:
            text, separator = "1", "="
        if not separator and not rest:
            raise DataError(f"--{name} needs a value, such as --{name} {known[name].default}.")
        values[known[name].name] = _number(text if separator else rest.pop(0), name, known[name].default)
    if len(stores) != 1:
        raise DataError(f"The planted data set needs the name of one store to make, such as planted.store; got {stores or 'none'}.")
    return Path(stores[0]), values


def _number(text: str, name: str, default: Any) -> int | float | bool | None:
    if isinstance(default, bool) and text.lower() in ("0", "1", "true", "false"):
        return text.lower() in ("1", "true")
    if default is None and text == "none":
        return None
    try:
        return float(text) if isinstance(default, float) else int(text)
    except ValueError as error:
        kind = "a number" if isinstance(default, float) else "a whole number"
        hint = "" if default is MISSING else f", such as {default}"
        raise DataError(f"--{name} {text}: expected {kind}{hint}.") from error


# Output -----------------------------------------------------------------------------------------------------------


def _print_store(path: Path) -> None:
    from multigrain.data.store import Store

    store = Store.open(path)
    counts = ", ".join(f"{len(split)} {name}" for name, split in store.splits.items())
    widths = ", ".join(f"{name} {spec.dim}" for name, spec in store.features.items())
    typer.echo(f"{path}: {counts} utterances; features {widths}; fingerprint {store.fingerprint[:12]}. Examine it: multigrain data doctor {path}")


def _write_page(path: Path, page: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise DataError(f"The page {path} cannot be written: {error.strerror or error}. Choose another place with --html FILE.") from error
    typer.echo(f"Wrote {path}", err=True)


@cache
def _console() -> "Console":
    """The one console of a command, so that notes are printed above a running progress bar and not over it."""
    return stderr_console()


@contextmanager
def _notes_on_stderr() -> Iterator[None]:
    """Shows what the library logs while it reads."""
    from rich.logging import RichHandler

    logger = logging.getLogger("multigrain")
    handler = RichHandler(console=_console(), show_time=False, show_path=False, markup=False)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def _progress_bar() -> "Iterator[Progress]":
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_console(), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield report
