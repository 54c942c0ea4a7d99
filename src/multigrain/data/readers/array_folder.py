"""Plain arrays in a folder: labels.csv and one .npy file an utterance and modality."""

import csv
from pathlib import Path

import numpy as np

from multigrain.data.readers.array_rows import COLUMNS, ORDERS, OTHER_NAMES, ArraySource, Row, check_modalities, pick, split_name, wanted_only
from multigrain.data.readers.base import ReadOptions, check_widths, group_of
from multigrain.data.readers.npz_files import load_npy
from multigrain.errors import DataError
from multigrain.schema import MODALITIES, SPLITS


def from_folder(source: Path, options: ReadOptions) -> ArraySource:
    """The utterances of a folder with labels.csv; their arrays are opened when they are read.

    Raises:
        DataError: a column or every file of a modality is missing, a value is not a number, or widths differ.
    """
    table = source / "labels.csv"
    if not table.is_file():
        raise DataError(
            f"{source} has no labels.csv. A folder of arrays needs one, with the columns id, split and label, and optionally group, text, start, end."
        )
    with table.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    if not lines:
        raise DataError(f"{table} lists no utterance. Expected one line each, under the heading id,group,split,label.")
    heading = dict.fromkeys(lines[0])
    names = {wanted: pick(heading, wanted, options) for wanted in COLUMNS if wanted not in ("audio", "vision")}
    emotions = tuple(name.removeprefix("label_") for name in heading if name.startswith("label_")) if names["label"] is None else ()
    for needed in ("id", "split", *(() if emotions else ("label",))):
        if names[needed] is None:
            raise DataError(f"{table} has no column {needed!r}; it has {list(heading)}. Add it, or say which of these it is: --column {needed}=NAME.")
    order = next((name for name in (options.columns.get("order"), *ORDERS) if name in heading), None)
    folders = {modality: name for modality in MODALITIES if (name := _folder_name(source, modality, options)) is not None}
    check_modalities(folders, source, "the folder", options)
    folders = wanted_only(folders, options)
    rows: list[Row] = []
    notes: list[str] = []
    widths: dict[str, dict[str, tuple[tuple[int, ...], Path]]] = {split: {} for split in SPLITS}
    num_absent = dict.fromkeys(folders, 0)
    for number, line in enumerate(lines, start=2):
        row = _folder_row(line, names, emotions, order, f"{table}, line {number}", source)
        paths = {modality: path for modality, name in folders.items() if (path := source / name / f"{row.id}.npy").is_file()}
        for modality in folders:
            num_absent[modality] += modality not in paths
        for modality, path in paths.items():
            width = load_npy(path).shape[-1:]
            if widths[row.split].setdefault(modality, (width, path))[0] != width:
                raise DataError(
                    f"{path} has {width} features a step, {widths[row.split][modality][1]} has "
                    f"{widths[row.split][modality][0]}. All utterances need the same."
                )
        row.features = lambda paths=paths: {modality: _steps(path) for modality, path in paths.items()}  # type: ignore[misc]
        rows.append(row)
    agreed = check_widths({split: {name: int(width[0]) for name, (width, _) in found.items()} for split, found in widths.items()}, source)
    for modality, count in num_absent.items():
        if count == len(rows):
            raise DataError(f"{source}: none of the {count} utterances of labels.csv has a file in {folders[modality]}/. Files are named <id>.npy.")
        if count:
            notes.append(f"{count} of {len(rows)} utterances have no file in {folders[modality]}/: {modality} is absent from them")
    return ArraySource(rows=rows, widths=agreed, emotions=emotions, notes=notes)


def _folder_row(line: dict[str, str], names: dict[str, str | None], emotions: tuple[str, ...], order: str | None, where: str, source: Path) -> Row:
    def value(wanted: str) -> str | None:
        name = names[wanted]
        return None if name is None or line[name] in (None, "") else line[name]

    try:
        label = [float(line[f"label_{name}"]) for name in emotions] if emotions else [float(value("label") or "nan")]
        start, end = (None if (found := value(name)) is None else float(found) for name in ("start", "end"))
        place = None if order is None else float(line[order])
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {error}. Labels, start, end and {order or 'order'} must be numbers.") from error
    identifier = value("id")
    if identifier is None or ".." in Path(identifier).parts or Path(identifier).is_absolute():
        raise DataError(f"{where}: the id {identifier!r} cannot be the name of a file in the folder. Give each utterance a plain id.")
    return Row(
        id=identifier,
        split=split_name(value("split") or "", source),
        group=value("group") or group_of(identifier),
        label=np.array(label),
        features=dict,
        text=value("text"),
        start=start,
        end=end,
        order=place,
    )


def _folder_name(source: Path, modality: str, options: ReadOptions) -> str | None:
    names = (options.columns[modality],) if modality in options.columns and modality != "text" else (modality, *OTHER_NAMES[modality])
    return next((name for name in names if (source / name).is_dir()), None)


def _steps(path: Path) -> np.ndarray:
    values = load_npy(path)
    return np.array(values[None] if values.ndim == 1 else values)
