"""A comparison as a table: for the terminal, Markdown, LaTeX or JSON. Numbers are rounded here and in `report.py` only.

Each metric cell is the mean over seeds with half the width of its 95 % interval. Accuracies and F1 are in percent.
"""

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from multigrain.evaluation.comparison import Comparison, ModelRow
from multigrain.evaluation.significance import Interval, PairedTest
from multigrain.published.rows import PAPER_NAMES, PublishedRow

if TYPE_CHECKING:
    from rich.console import RenderableType

    from multigrain.evaluation.robustness import Condition, Robustness
    from multigrain.evaluation.scales import Scales

METRIC_TITLES: dict[str, str] = {
    "mae": "MAE",
    "correlation": "Corr",
    "accuracy_7": "Acc-7",
    "accuracy_5": "Acc-5",
    "accuracy_3": "Acc-3",
    "accuracy_2": "Acc-2",
    "f1": "F1",
    "accuracy_2_has0": "Acc-2 has0",
    "f1_has0": "F1 has0",
    "accuracy_2_non0": "Acc-2 non0",
    "f1_non0": "F1 non0",
    "accuracy_mean": "Acc mean",
    "f1_mean": "F1 mean",
}
HEADLINE_METRICS: tuple[str, ...] = ("mae", "correlation", "accuracy_7", "accuracy_2", "accuracy_2_has0", "accuracy_2_non0", "f1_non0", "f1")
TESTED_METRICS: tuple[str, ...] = ("correlation", "mae", "accuracy_2_non0", "f1_mean", "accuracy_mean")


@dataclass(frozen=True)
class Table:
    """A heading, column titles, rows of text and notes; every row is as long as the titles."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def metric_title(name: str) -> str:
    """A metric's short name in tables, such as "Acc-2 non0"."""
    if name in METRIC_TITLES:
        return METRIC_TITLES[name]
    kind, _, emotion = name.partition("_")
    return f"{ {'accuracy': 'Acc', 'f1': 'F1'}.get(kind, kind) } {emotion}"


def is_percent(metric: str) -> bool:
    """True for the metrics that tables show in percent."""
    return metric not in ("mae", "correlation")


def number(metric: str, value: float | None) -> str:
    """A metric's value rounded for a table: percent with one decimal, others with three; `n/a` where undefined."""
    if value is None or math.isnan(value):
        return "n/a"
    return f"{100 * value:.1f}" if is_percent(metric) else f"{value:.3f}"


def mean_with_interval(metric: str, interval: Interval) -> str:
    """Such as `0.953 ± 0.004`; without the interval where there is one seed."""
    half = (interval.high - interval.low) / 2
    return number(metric, interval.mean) if math.isnan(half) else f"{number(metric, interval.mean)} ± {number(metric, half)}"


def p_value(value: float) -> str:
    """Such as `0.013` or `< 0.001`."""
    return "n/a" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def difference(metric: str, test: PairedTest) -> str:
    """Such as `+0.021 [+0.010, +0.032], p 0.004`."""
    return f"{difference_with_interval(metric, test)}, p {p_value(test.p_value)}"


def difference_with_interval(metric: str, test: PairedTest) -> str:
    """Such as `+0.021 [+0.010, +0.032]`."""
    numbers = [
        text if text.startswith("-") or text == "n/a" else f"+{text}" for text in (number(metric, v) for v in (test.difference, test.low, test.high))
    ]
    return f"{numbers[0]} [{numbers[1]}, {numbers[2]}]"


def results_table(comparison: Comparison, metrics: tuple[str, ...] | None = None) -> Table:
    """The models' metrics, with published rows below the model and the oracle's row where there is one.

    Args:
        comparison: what to show.
        metrics: columns; all of the comparison's by default.
    """
    names = tuple(name for name in metrics or comparison.metrics if name in comparison.metrics)
    rows: list[tuple[str, ...]] = []
    for row in comparison.rows:
        rows.append((row.name, str(len(row.seeds)), *(mean_with_interval(name, row.intervals[name]) for name in names)))
        rows.extend(_published_cells(alike, names) for alike in _alike(row.published))
    if comparison.oracle is not None:
        rows.append(("oracle (best possible)", "", *(number(name, comparison.oracle.get(name)) for name in names)))
    return Table(
        f"{comparison.split} split, {comparison.num_utterances} utterances, convention {comparison.convention}: "
        "mean ± half of the 95 % interval over seeds",
        ("model", "seeds", *(_column(name) for name in names)),
        tuple(rows),
        _notes(comparison),
    )


def metric_table(values: dict[str, float], title: str) -> Table:
    """One run's metrics, a row each."""
    return Table(title, ("metric", "value"), tuple((_column(name), number(name, value)) for name, value in values.items()))


def confusion_table(classes: tuple[float, ...], confusion: list[list[int]]) -> Table:
    """Utterances of each class, a row, by the class that they were taken for, a column."""
    columns = ("class", *(f"taken for {value:g}" for value in classes))
    rows = tuple((f"{value:g}", *map(str, row)) for value, row in zip(classes, confusion, strict=True))
    return Table("which class was taken for which", columns, rows)


def zero_attention_table(shares: dict[str, float]) -> Table:
    """The share of attention weights that are exactly zero, a row per direction."""
    return Table(
        "attention weights that are exactly zero", ("direction", "share %"), tuple((name, f"{100 * share:.1f}") for name, share in shares.items())
    )


def robustness_table(robustness: "Robustness", title: str, metrics: tuple[str, ...] | None = None) -> Table:
    """A row for each subset of the modalities, all of them first, and for each rate of missing frames.

    Args:
        robustness: what to show.
        title: says of which run.
        metrics: columns; all that there are by default.
    """
    names = tuple(name for name in metrics or robustness.complete.metrics if name in robustness.complete.metrics)
    titles = [condition_title(result.condition, robustness.modalities) for result in robustness.results]
    rows = tuple(
        (row, *(number(name, result.metrics[name]) for name in names), f"{result.utterances_without_input:,}")
        for row, result in zip(titles, robustness.results, strict=True)
    )
    notes = [
        f"All: {', '.join(robustness.modalities)}. -30 %: without 30 % of the frames, chosen at random (seed {robustness.seed}) and taken out; "
        "a modality with no frame left is absent. No input: utterances with nothing left at all."
    ]
    constant = [row for row, result in zip(titles, robustness.results, strict=True) if result.is_constant]
    if constant:
        notes.append(f"The same score for every utterance, and so nothing to correlate: {'; '.join(constant)}.")
    return Table(title, ("input", *(_column(name) for name in names), "no input"), rows, tuple(notes))


def scales_table(scales: "Scales", title: str, metrics: tuple[str, ...] | None = None) -> Table:
    """A row for the model as it is and for each of its ablations, with the first metric's difference and its interval.

    Args:
        scales: what to show.
        title: says of which run.
        metrics: columns; all that there are by default.
    """
    whole = scales.results[0].metrics
    names = tuple(name for name in metrics or whole if name in whole)
    judged = "correlation" if "correlation" in whole else names[-1]
    rows = []
    for result in scales.results:
        test = result.against_all.get(judged)
        against = "" if test is None else difference_with_interval(judged, test)
        rows.append((result.name, *(number(name, result.metrics[name]) for name in names), against))
    note = (
        f"From the same weights, {scales.num_utterances:,} utterances, nothing trained anew: what these weights lean on, not what a model trained "
        "without the part would reach. In brackets the 95 % interval over utterances, paired."
    )
    if scales.model == "mcmut":
        note += " A scale is left out of every layer that asks several; layers that ask one keep it."
    return Table(title, ("reads", *(_column(name) for name in names), f"{_column(judged)} against all"), tuple(rows), (note,))


def condition_title(condition: "Condition", modalities: tuple[str, ...]) -> str:
    """Such as "all", "text + audio", or "audio -30 %" where 30 % of its frames are missing.

    Args:
        condition: what the model was given.
        modalities: those that it reads.
    """
    shown = condition.frames_missing_in or condition.modalities
    title = "all" if shown == modalities and len(shown) > 1 else " + ".join(shown)
    return f"{title} -{100 * condition.missing_rate:.0f} %" if condition.frames_missing_in else title


def _column(metric: str) -> str:
    return metric_title(metric) + (" %" if is_percent(metric) else "")


def _alike(rows: tuple[PublishedRow, ...]) -> list[list[PublishedRow]]:
    """Published rows of a recipe, those together that print the same values."""
    groups: dict[tuple[object, ...], list[PublishedRow]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.setting, row.convention, *row.metrics.items()), []).append(row)
    return list(groups.values())


def _published_cells(rows: list[PublishedRow], names: tuple[str, ...]) -> tuple[str, ...]:
    first = rows[0]
    tables: dict[str, list[int]] = {}
    for row in rows:
        if row.table not in tables.setdefault(row.paper, []):
            tables[row.paper].append(row.table)
    where = "; ".join(
        f"{PAPER_NAMES[paper]}'s Table{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}" for paper, numbers in tables.items()
    )
    of = ", ".join(part for part in (first.dataset, first.setting, first.features) if part)
    return (f"  published: {of} ({first.convention} convention; {where})", "", *(first.printed.get(name, "") for name in names))


def differences_table(comparison: Comparison) -> Table:
    """What the models cost, and how they differ from the reference."""
    names = tuple(name for name in TESTED_METRICS if name in comparison.metrics)[:2]
    has_share = any(row.share_of_the_way is not None for row in comparison.rows)
    columns = ["model", *(f"{_column(name)} against {comparison.reference}" for name in names), "parameters", "s/epoch"]
    rows = [_test_row(row, names, has_share) for row in comparison.rows]
    notes = ["Differences: paired bootstrap over utterances and seeds, 95 % interval in brackets, two-sided p."] if len(rows) > 1 else []
    if has_share:
        columns.append("way to oracle")
        notes.append(
            f"Way to oracle: share of the way in correlation from {comparison.baseline} (best model without crossmodal attention) to the oracle."
        )
    return Table("Differences and cost", tuple(columns), tuple(rows), tuple(notes))


def _test_row(row: ModelRow, names: tuple[str, ...], has_share: bool) -> tuple[str, ...]:
    tests = tuple(difference(name, row.tests[name]) if name in row.tests else "reference" for name in names)
    seconds = "" if row.seconds_per_epoch is None else f"{row.seconds_per_epoch:.1f}"
    share = () if not has_share else ("" if row.share_of_the_way is None else f"{100 * row.share_of_the_way:.1f} %",)
    return (row.name, *tests, f"{row.parameters:,}", seconds, *share)


def _notes(comparison: Comparison) -> tuple[str, ...]:
    notes = [f"FAILED: {failure.name} seed {failure.seed}: {failure.reason}" for failure in comparison.failures]
    published = [row for rows in comparison.rows for row in rows.published]
    if published:
        notes.append("Published values are as printed, and under the convention named, whatever that of ours is.")
        remarks: dict[str, list[str]] = {}
        for result in published:
            remarks.setdefault(result.note, []).append(result.title)
        notes += [f"{'; '.join(dict.fromkeys(titles))}: {note}." for note, titles in remarks.items() if note]
    withheld: dict[str, list[str]] = {}
    for row in comparison.rows:
        if row.withheld is not None:
            withheld.setdefault(row.withheld, []).append(row.name)
    notes += [f"Published values of {', '.join(names)} are not shown: {reason}." for reason, names in withheld.items()]
    return tuple(notes)


# Renderings -------------------------------------------------------------------------------------------------------


def to_rich(table: Table) -> "RenderableType":
    """The table for a terminal."""
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    rich = RichTable(title=Text(table.title), title_justify="left", title_style="bold")
    has_short_names = max((len(row[0]) for row in table.rows), default=0) <= 16
    for index, column in enumerate(table.columns):
        is_first = index == 0
        rich.add_column(Text(column), justify="left" if is_first else "right", overflow="fold", no_wrap=is_first and has_short_names)
    for row in table.rows:
        rich.add_row(*(Text(cell) for cell in row), style="dim" if row[0].startswith("  ") else None)
    return Group(rich, *(Text(note) for note in table.notes))


def to_markdown(table: Table) -> str:
    """The table in GitHub's Markdown."""
    lines = [f"**{_markdown_cell(table.title)}**", "", _markdown_row(table.columns)]
    lines.append("|" + "|".join([" --- "] + [" ---: "] * (len(table.columns) - 1)) + "|")
    lines += [_markdown_row(row) for row in table.rows]
    return "\n".join([*lines, *(f"\n{_markdown_cell(note)}" for note in table.notes)]) + "\n"


def _markdown_row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(_markdown_cell(cell.strip()) for cell in cells) + " |"


def _markdown_cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def to_latex(table: Table) -> str:
    """The table as a LaTeX `tabular` for the booktabs package."""
    lines = [f"% {table.title}", f"\\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}", "\\toprule"]
    lines += [_latex_row(table.columns), "\\midrule", *(_latex_row(row) for row in table.rows)]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", *(f"% {note}" for note in table.notes)]) + "\n"


LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"$<$",
    ">": r"$>$",
}


def _latex_row(cells: tuple[str, ...]) -> str:
    return " & ".join("".join(LATEX_SPECIAL.get(letter, letter) for letter in cell.strip()) for cell in cells) + r" \\"


def to_json(comparison: Comparison) -> str:
    """Everything that the comparison knows, unrounded; undefined numbers are null."""
    return json.dumps(null_for_nan(comparison.to_dict()), indent=2) + "\n"


def null_for_nan(value: Any) -> Any:
    """The same plain values with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {str(key): null_for_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [null_for_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
