"""From a published file to a store: opened and checked first, then written utterance by utterance."""

import hashlib
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from multigrain.data.readers import READERS, Place, Reader, ReadOptions, ReadResult
from multigrain.data.readers.base import existing, missing_split
from multigrain.data.store import StoreWriter
from multigrain.errors import DataError, nearest
from multigrain.schema import SPLITS, Utterance

logger = logging.getLogger(__name__)

PUBLISHED_FILES: dict[str, str] = {
    "78e0f8b5ef8ff71558e7307848fc1fa929ecb078203f565ab22b9daab2e02524": "CMU-MOSI, unaligned_50.pkl as MMSA publishes it",
    "d3994fd25681f9c7ad6e9c6596a6fe9b4beb85ff7d478ba978b124139002e5f9": "CMU-MOSI, aligned_50.pkl as MMSA publishes it",
    "ad8b23d50557045e7d47959ce6c5b955d8d983f2979c7d9b7b9226f6dd6fec1f": "CMU-MOSEI, unaligned_50.pkl as MMSA publishes it",
    "45eccfb748a87c80ecab9bfac29582e7b1466bf6605ff29d3b338a75120bf791": "CMU-MOSEI, aligned_50.pkl as MMSA publishes it",
    "c9e20c13ec0454d98bb9c1e520e490c75146bfa2dfeeea78d84de047dbdd442f": "CH-SIMS, unaligned_39.pkl as MMSA publishes it",
}
"""What the SHA-256 of a feature file says about it."""

_SPLITTING_OPTIONS = frozenset({"valid_share", "num_folds", "fold", "from_splits", "seed"})

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is to do."""


def convert(
    format: str,
    source: Path | str,
    store_path: Path | str,
    options: ReadOptions | None = None,
    *,
    replace_nonfinite: float | None = None,
    overwrite: bool = False,
    licence: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Writes a data set's file as a store.

    Args:
        format: a name in `multigrain.data.readers.READERS`.
        source: the file or folder.
        store_path: the store's folder; it appears only when the store is whole.
        options: what is to be said about the source.
        replace_nonfinite: what to put in place of NaN and infinities in features; None makes them an error.
        overwrite: replace a store that is already there.
        licence: the data set's licence, for the manifest.
        progress: told about each utterance.

    Returns:
        The store's path.

    Raises:
        DataError: the source is missing, unsafe, damaged or does not fit; nothing is left behind.
    """
    source, options = Path(source), options or ReadOptions()
    reader = find_reader(format)
    existing(source, "file or folder")
    _warn_of_unused(reader, options)
    result = reader.read(source, options)
    new_splits = assign_splits(result.places, options)
    _check_splits(result, new_splits, source, options)
    for note in (notes := result.notes):
        logger.info("%s: %s", source.name, note)
    num_opening_notes = len(notes)
    facts = describe_source(source, format, progress)
    for name in _published(facts):
        logger.info("%s is %s", source.name, name)
    with StoreWriter(
        store_path,
        task=result.task,
        features=result.features,
        source=facts,
        licence=licence,
        extra={"notes": notes, "reading": _given(options)},  # a reader may add to its notes until its last utterance
        replace_nonfinite=replace_nonfinite,
        overwrite=overwrite,
    ) as writer:
        total = sum(split is not None for split in new_splits)
        for index, utterance in enumerate(_moved(result, new_splits)):
            writer.add(utterance)
            if progress is not None:
                progress("converting", index + 1, total)
        for note in notes[num_opening_notes:]:
            logger.info("%s: %s", source.name, note)
        return writer.finish()


def find_reader(format: str) -> Reader:
    """The reader of that name; DataError naming the nearest otherwise."""
    if format not in READERS:
        raise DataError(
            f"There is no format {format!r}; expected of {', '.join(READERS)}.{nearest(format, list(READERS))} "
            "`multigrain list readers` describes them."
        )
    return READERS[format]


def assign_splits(places: list[Place], options: ReadOptions) -> list[str | None]:
    """Each utterance's split after `valid_share` or `num_folds`, always by whole groups; None for one that is left out.

    Raises:
        DataError: there are too few groups.
    """
    if options.valid_share is not None:
        chosen = _validation_groups(places, options.valid_share, options.seed)
        return ["valid" if place.split == "train" and place.group in chosen else place.split for place in places]
    if options.num_folds is not None:
        return _cross_validation(places, options)
    return [place.split for place in places]


def describe_source(source: Path, format: str, progress: Progress | None = None) -> dict[str, Any]:
    """Name, bytes and SHA-256 of a source, for the manifest; a folder's hash is over its files' names and hashes."""
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    total = sum(path.stat().st_size for path in files)
    done, hashes = 0, []
    for path in files:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(8 << 20):
                digest.update(block)
                done += len(block)
                if progress is not None:
                    progress("checking the source", done, total)
        hashes.append(digest.hexdigest())
    if source.is_dir():
        lines = (f"{path.relative_to(source).as_posix()} {value}\n" for path, value in zip(files, hashes, strict=True))
        hashes = [hashlib.sha256("".join(lines).encode()).hexdigest()]
    facts: dict[str, Any] = {"name": source.name, "bytes": total, "sha256": hashes[0], "format": format}
    return facts | ({"published_as": PUBLISHED_FILES[hashes[0]]} if hashes[0] in PUBLISHED_FILES else {})


def _published(facts: dict[str, Any]) -> list[str]:
    return [facts["published_as"]] if "published_as" in facts else []


def _moved(result: ReadResult, new_splits: list[str | None]) -> Iterator[Utterance]:
    for utterance, split in zip(result.utterances, new_splits, strict=True):
        if split == utterance.split:
            yield utterance
        elif split is not None:
            yield replace(utterance, split=split)


def _validation_groups(places: list[Place], share: float, seed: int) -> set[str]:
    """Groups of the training split, drawn until they hold that share of its utterances."""
    sizes = Counter(place.group for place in places if place.split == "train")
    elsewhere = {place.group for place in places if place.split != "train"}
    groups = sorted(set(sizes) - elsewhere)  # a group that is also tested on must not be chosen on
    random.Random(seed).shuffle(groups)
    wanted, chosen, held = share * sizes.total(), set(), 0
    for group in groups:
        if held >= wanted:
            break
        chosen.add(group)
        held += sizes[group]
    if not chosen or len(chosen) == len(sizes):
        raise DataError(
            f"valid_share {share}: the training split has {len(sizes)} groups (videos or speakers), of which "
            f"{len(groups)} occur nowhere else, too few to "
            "set whole ones aside for validation. Name the groups (--column group=NAME), or bring a validation split."
        )
    return chosen


def _cross_validation(places: list[Place], options: ReadOptions) -> list[str | None]:
    """Fold k is the test split, fold k + 1 the validation split; groups are dealt out by size, largest first."""
    num_folds = options.num_folds or 0
    sizes = Counter(place.group for place in places if place.split in options.source_splits)
    if len(sizes) < num_folds:
        raise DataError(f"{num_folds} folds need at least as many groups (videos or speakers), but there are {len(sizes)}. Ask for fewer folds.")
    groups = sorted(sizes)
    random.Random(options.seed).shuffle(groups)
    groups.sort(key=lambda group: -sizes[group])
    held, fold_of = [0] * num_folds, {}
    for group in groups:
        fold_of[group] = held.index(min(held))
        held[fold_of[group]] += sizes[group]
    names = {options.fold: "test", (options.fold + 1) % num_folds: "valid"}
    return [names.get(fold_of[place.group], "train") if place.split in options.source_splits else None for place in places]


def _check_splits(result: ReadResult, new_splits: list[str | None], source: Path, options: ReadOptions) -> None:
    expected = SPLITS if options.num_folds is not None or (options.valid_share is not None and options.splits is None) else result.splits
    for split in expected:
        if split not in new_splits:
            raise missing_split(source, split, sorted({name for name in new_splits if name}))


def _given(options: ReadOptions) -> dict[str, Any]:
    """The options that differ from their defaults, as JSON values."""
    values = {
        field.name: getattr(options, field.name) for field in fields(options) if getattr(options, field.name) != getattr(ReadOptions(), field.name)
    }
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return value.name
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def _warn_of_unused(reader: Reader, options: ReadOptions) -> None:
    unused = sorted(set(_given(options)) - reader.options - _SPLITTING_OPTIONS)
    if unused:
        logger.warning("The format %r makes no use of: %s. They have no effect.", reader.name, ", ".join(unused))
