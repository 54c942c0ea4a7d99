"""One utterance of a source of plain arrays, and what is checked of all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multigrain.data.readers.base import SPLIT_NAMES, ReadOptions, missing_modality
from multigrain.errors import DataError, nearest
from multigrain.schema import MODALITIES

OTHER_NAMES = {"vision": ("video", "visual"), "audio": ("acoustic",), "text": ("language",), "label": ("labels", "y")}
ORDERS = ("order", "clip", "start")
COLUMNS = ("id", "split", "group", "label", "text", "start", "end", "order", "audio", "vision")


@dataclass(kw_only=True)
class Row:
    """One utterance: what is known of it, and how to get its (steps, features) arrays."""

    id: str
    split: str
    group: str
    label: np.ndarray
    features: Callable[[], dict[str, np.ndarray]]
    text: str | None = None
    start: float | None = None
    end: float | None = None
    order: Any = None


@dataclass(kw_only=True)
class ArraySource:
    """All utterances of a source, the width of each modality, and the names of emotion labels (none for scores)."""

    rows: list[Row]
    widths: dict[str, int]
    emotions: tuple[str, ...]
    notes: list[str]


def pick(names: Mapping[str, Any], wanted: str, options: ReadOptions, suffix: str = "") -> str | None:
    """The name under which the source holds something, or None; DataError when a rename names nothing."""
    if wanted in options.columns:
        name = options.columns[wanted] + suffix
        if name not in names and not suffix:
            raise DataError(
                f"--column {wanted}={options.columns[wanted]}: there is no {name!r}; the source has {sorted(names)}.{nearest(name, list(names))}"
            )
        return name if name in names else None
    return next((name + suffix for name in (wanted, *OTHER_NAMES.get(wanted, ())) if name + suffix in names), None)


def split_name(name: str, source: Path) -> str:
    """`train`, `valid` or `test` for what a source calls it; DataError otherwise."""
    if name.lower() not in SPLIT_NAMES:
        raise DataError(f"{source}: unknown split {name!r}; expected of {', '.join(SPLIT_NAMES)}.{nearest(name, list(SPLIT_NAMES))}")
    return SPLIT_NAMES[name.lower()]


def wanted_only(found: Mapping[str, Any], options: ReadOptions) -> dict[str, Any]:
    """What there is of the modalities asked for, in the order text, audio, vision."""
    return {modality: found[modality] for modality in MODALITIES if modality in found and modality in (options.modalities or MODALITIES)}


def check_modalities(found: Mapping[str, Any], source: Path, where: str, options: ReadOptions) -> None:
    """DataError when a modality that was asked for is not there, or none is."""
    for modality in options.modalities or ():
        if modality not in found:
            raise missing_modality(source, where, modality, found)
    if not found:
        raise missing_modality(source, where, "text, audio or vision", [])


def check_rows(columns: Mapping[str, np.ndarray], count: int, where: str) -> None:
    """DataError when an array has another number of rows than there are labels."""
    for name, values in columns.items():
        if len(values) != count:
            raise DataError(
                f"{where}: there are {count} labels but {len(values)} rows of {name}. Every array needs one row an utterance, in the same order. "
                "Nothing was written."
            )


def check_label_widths(rows: list[Row], source: Path, options: ReadOptions) -> None:
    """DataError when labels are neither one score nor one value an emotion."""
    widths = {len(row.label) for row in rows}
    if widths - {1, len(options.emotions)} or len(widths) > 1:
        raise DataError(
            f"{source}: labels are {sorted(widths)} numbers wide; expected one score an utterance, or one 0 or 1 for each of the emotions "
            f"{', '.join(options.emotions)}."
        )
