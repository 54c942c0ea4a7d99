"""The rows of the papers' tables, read from the CSV files beside this one.

A line of a file is a row of the printed table (of a table with several data sets side by side: a row for each). Its columns are

- `row`: its name in the file; with the file's paper and table before it, its id, such as "mcmut/table_4/mcmut_dense";
- `printed_as`: what the paper calls it;
- `dataset`, `setting` (aligned or unaligned), `features` (empty: not stated);
- `model`: the key in `multigrain.models.MODELS`, or the name of a model that is not there (yet);
- the variant: `interaction`, `num_blocks` (B), `layers_per_block` (L), `num_layers` (depth), `targets`, `modalities` (with spaces
  between; empty: all), `without` (MMIN's ablation);
- `convention`: under which its accuracies and F1 were computed (docs/conventions.md);
- one column a metric, by our name for it, as printed: accuracies and F1 in percent; empty where the paper prints none;
- `note`: what is odd about it; `no_recipe`: why none of our recipes is this row, though we have the model.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

from multigrain.errors import RecipeError, nearest

TABLES: dict[str, tuple[str, int]] = {f"mcmut_table_{number}": ("mcmut", number) for number in range(1, 7)} | {
    f"mmin_table_{number}": ("mmin", number) for number in (1, 2)
}
"""File name without its ending -> paper and number of the table."""

TEST_UTTERANCES: dict[str, int] = {"MOSI": 686, "MOSEI": 4659, "IEMOCAP": 938}
"""How many utterances each data set's test split has, as MCMuT's paper says; other files of the same set differ by a few."""

PAPER_NAMES: dict[str, str] = {"mcmut": "MCMuT", "mmin": "MMIN"}
CONVENTIONS = ("mult", "mmsa", "mag")
VARIANT = ("interaction", "num_blocks", "layers_per_block", "num_layers", "targets", "modalities", "without")
NOT_METRICS = ("row", "printed_as", "dataset", "setting", "features", "model", *VARIANT, "convention", "note", "no_recipe")


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One row of a published table; the module's docstring says what each column means.

    Attributes:
        id: "PAPER/table_N/ROW".
        paper, table: where it stands.
        printed_as, dataset, setting, features, model: who it is, and on what it was measured.
        interaction, num_blocks, layers_per_block, num_layers, targets, modalities, without: the variant; None where the row does not
            say, or says nothing out of the ordinary.
        convention: of the metrics.
        printed: metric -> the text of the cell.
        note, no_recipe: remarks; empty for most.
    """

    id: str
    paper: str
    table: int
    printed_as: str
    dataset: str
    setting: str
    features: str
    model: str
    interaction: str | None
    num_blocks: int | None
    layers_per_block: int | None
    num_layers: int | None
    targets: tuple[str, ...] | None
    modalities: tuple[str, ...] | None
    without: str | None
    convention: str
    printed: dict[str, str]
    note: str
    no_recipe: str

    @property
    def metrics(self) -> dict[str, float]:
        """Metric -> value, accuracies and F1 in percent."""
        return {name: float(cell) for name, cell in self.printed.items()}

    @property
    def title(self) -> str:
        """The row in words, such as "MCMuT-Dense on MOSEI, unaligned (MCMuT's Table 4)"."""
        return f"{self.printed_as} on {self.dataset}, {self.setting} ({PAPER_NAMES[self.paper]}'s Table {self.table})"


@cache
def published_rows() -> dict[str, PublishedRow]:
    """Every row of every table, by id, in the order of the tables."""
    folder = resources.files("multigrain") / "published"
    rows = {}
    for name, (paper, table) in TABLES.items():
        for line in csv.DictReader((folder / f"{name}.csv").read_text(encoding="utf-8").splitlines()):
            row = _row(paper, table, line)
            assert row.id not in rows, f"two rows {row.id}"
            rows[row.id] = row
    return rows


def _row(paper: str, table: int, line: dict[str, str]) -> PublishedRow:
    return PublishedRow(
        id=f"{paper}/table_{table}/{line['row']}",
        paper=paper,
        table=table,
        printed_as=line["printed_as"],
        dataset=line["dataset"],
        setting=line["setting"],
        features=line["features"],
        model=line["model"],
        interaction=line["interaction"] or None,
        num_blocks=_number(line["num_blocks"]),
        layers_per_block=_number(line["layers_per_block"]),
        num_layers=_number(line["num_layers"]),
        targets=tuple(line["targets"].split()) or None,
        modalities=tuple(line["modalities"].split()) or None,
        without=line["without"] or None,
        convention=line["convention"],
        printed={name: cell for name, cell in line.items() if name not in NOT_METRICS and cell},
        note=line["note"],
        no_recipe=line["no_recipe"],
    )


def _number(cell: str) -> int | None:
    return int(cell) if cell else None


def find_row(identifier: str) -> PublishedRow:
    """The row with that id.

    Raises:
        RecipeError: there is none; the message names the nearest.
    """
    rows = published_rows()
    if identifier not in rows:
        raise RecipeError(
            f"there is no published row {identifier!r}.{nearest(identifier, list(rows))} A row is called PAPER/table_N/ROW, such as "
            f"{next(iter(rows))}; docs/published.md says where all of them are."
        )
    return rows[identifier]
