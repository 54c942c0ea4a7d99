"""The published rows are what the papers print: no number lost, none mended, every row of every table."""

import re
from pathlib import Path

import pytest

from multigrain.errors import RecipeError
from multigrain.metrics import METRICS, metrics_for
from multigrain.models import MODELS
from multigrain.published.rows import CONVENTIONS, TABLES, PublishedRow, find_row, published_rows
from multigrain.schema import MODALITIES, Task

ROWS = published_rows()
ROWS_OF_TABLES = {"mcmut": {1: 15, 2: 16, 3: 14, 4: 7, 5: 10, 6: 9}, "mmin": {1: 16, 2: 9}}


def of_table(paper: str, table: int) -> list[PublishedRow]:
    return [row for row in ROWS.values() if (row.paper, row.table) == (paper, table)]


def test_every_row_of_every_table_is_there():
    assert set(TABLES.values()) == {(paper, table) for paper, tables in ROWS_OF_TABLES.items() for table in tables}
    for paper, tables in ROWS_OF_TABLES.items():
        assert {table: len(of_table(paper, table)) for table in tables} == tables


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_a_row_speaks_our_words(row: PublishedRow):
    assert row.setting in ("aligned", "unaligned")
    assert row.dataset in ("MOSI", "MOSEI", "IEMOCAP")
    assert row.convention in CONVENTIONS
    assert row.printed, "a row without a number"
    task = Task(kind="emotions") if row.dataset == "IEMOCAP" else Task()
    assert set(row.printed) <= set(metrics_for(task, row.convention)) <= set(METRICS) | set(row.printed)
    assert set(row.targets or ()) | set(row.modalities or ()) <= set(MODALITIES)
    for name, value in row.metrics.items():
        assert (-1 < value < 2) if name in ("mae", "correlation") else (20 < value < 100), f"{name} {value}: a percentage, or none?"
    if row.model == "mcmut":
        assert None not in (row.interaction, row.num_blocks, row.layers_per_block)
    if row.model == "mult":
        assert row.num_layers is not None or row.no_recipe
    assert not row.no_recipe or row.model in MODELS


@pytest.fixture(scope="module")
def papers(shared_data: Path) -> Path:
    folder = shared_data.parent / "papers"
    return folder if folder.is_dir() else pytest.skip("needs ../shared/papers, which is not here")


@pytest.mark.parametrize(("paper", "table"), [(paper, table) for paper, table in TABLES.values()])
def test_the_numbers_are_those_of_the_papers_text(papers: Path, paper: str, table: int):
    text = (papers / f"{paper}.md").read_text(encoding="utf-8")
    text_rows = [re.sub(r"</?b>", "", line) for line in text.splitlines() if "\t" in line]
    for row in of_table(paper, table):
        cells = list(row.printed.values())
        if row.paper == "mmin":
            pairs = {name.removesuffix("_has0").removesuffix("_non0") for name in row.printed}
            cells = [row.printed[name] for name in ("mae", "correlation") if name in row.printed]
            cells += [
                "/".join(row.printed.get(f"{kind}_{which}", "-") for which in ("has0", "non0")) for kind in ("accuracy_2", "f1") if kind in pairs
            ]
        found = [line for line in text_rows if _letters(row.printed_as) in _letters(line)]
        assert any(_is_within(cells, [cell.strip() for cell in line.split("\t")]) for line in found), f"{row.id}: no such line prints {cells}"


def _letters(text: str) -> str:
    """Letters and digits alone, so that marks of footnotes and formulas do not count."""
    return re.sub(r"</?sup>|mathcal|dagger|[^A-Za-z0-9]", "", text)


def _is_within(cells: list[str], line: list[str]) -> bool:
    """Whether the cells stand in the line one after another, but for dashes."""
    numbers = [cell for cell in line if cell and cell != "-"]
    return any(numbers[start : start + len(cells)] == cells for start in range(len(numbers)))


def test_an_unknown_row_names_the_nearest():
    with pytest.raises(RecipeError, match=r"no published row 'mcmut/table_4/mcmut_dens'\. Did you mean 'mcmut/table_4/mcmut_dense'\?"):
        find_row("mcmut/table_4/mcmut_dens")


def test_what_is_odd_in_the_papers_is_kept_and_said():
    assert ROWS["mcmut/table_6/b_5"].printed["accuracy_7"] == "41.26"
    assert "likely a misprint" in ROWS["mcmut/table_6/b_5"].note
    assert ROWS["mcmut/table_3/unaligned/mcmut"].printed["f1_neutral"] == "60.37"
    assert ROWS["mmin/table_1/mosi/mult"].metrics["mae"] == ROWS["mcmut/table_1/aligned/mult"].metrics["mae"]
    assert ROWS["mmin/table_1/mosi/mult"].setting == "unaligned"
