"""The doctor's diagnosis for people: lines for a terminal, and one self-contained page with plots."""

import html
import io
import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from multigrain.data.doctor_summary import ModalitySummary, SplitSummary

if TYPE_CHECKING:
    from multigrain.data.doctor import Diagnosis

SPLIT_COLOURS = {"train": "#4c86c6", "valid": "#d08a2e", "test": "#3fa277"}
_INK = "#010203"  # stands for the page's own text colour in the plots

_STYLE = """
:root { color-scheme: light dark; --ink: #1d232b; --soft: #5d6875; --paper: #ffffff; --line: #dde2e8; --panel: #f5f7f9;
  --bad: #b3261e; --fine: #1e7a46; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaee; --soft: #a0abb8; --paper: #14181d; --line: #313a44; --panel: #1c2229;
  --bad: #ff8a80; --fine: #6fd39b; } }
body { font: 15px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 66rem; margin: 2rem auto;
  padding: 0 1.25rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; } .soft { color: var(--soft); }
.verdict { font-weight: 600; } .bad { color: var(--bad); } .fine { color: var(--fine); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; color: var(--soft); } th:first-child, td:first-child { text-align: left; }
ul.findings { list-style: none; padding: 0; margin: 0; }
ul.findings li { background: var(--panel); border-left: 4px solid var(--line); margin: .5rem 0; padding: .5rem .8rem;
  border-radius: 0 6px 6px 0; overflow-wrap: anywhere; }
ul.findings li.problem { border-left-color: var(--bad); } ul.findings b { margin-right: .4rem; }
figure { margin: .5rem 0; } figure svg { max-width: 100%; height: auto; color: var(--ink); }
.plots { display: flex; flex-wrap: wrap; gap: .75rem 1.5rem; }
"""


def diagnosis_text(diagnosis: "Diagnosis") -> str:
    """The diagnosis as lines of text, the verdict last, where a terminal shows it."""
    lines = [f"{diagnosis.store}: {_counts(diagnosis)}", f"task {_task(diagnosis)}; content {diagnosis.fingerprint[:12]}", ""]
    lines += _aligned([_LENGTH_HEADINGS, *_length_rows(diagnosis)])
    labels = _label_rows(diagnosis)
    if labels:
        lines += ["", *_aligned([_LABEL_HEADINGS, *labels])]
        lines += ["", *_histogram_lines({name: split for name, split in diagnosis.splits.items() if split.labels is not None})]
    for title, findings in (("Problems", diagnosis.problems), ("Notes", diagnosis.notes)):
        if findings:
            lines += ["", title, *(f"  - {finding.message}" for finding in findings)]
    return "\n".join([*lines, "", _verdict(diagnosis)]) + "\n"


def diagnosis_html(diagnosis: "Diagnosis") -> str:
    """The diagnosis as one page: no script, no other file; readable on light and dark screens."""
    label_plots = [_label_plot(name, split) for name, split in diagnosis.splits.items() if split.labels is not None]
    length_plots = [_length_plot(diagnosis, modality) for modality in diagnosis.dims]
    items = "".join(f'<li class="{item.level}"><b>{item.level.capitalize()}.</b>{html.escape(item.message)}</li>' for item in diagnosis.findings)
    parts = [
        f"<h1>{html.escape(diagnosis.store)}</h1>",
        f'<div class="soft">{html.escape(_counts(diagnosis))}; task {html.escape(_task(diagnosis))}; content {diagnosis.fingerprint[:12]}</div>',
        f'<p class="verdict {"fine" if diagnosis.is_healthy else "bad"}">{html.escape(_verdict(diagnosis))}</p>',
        f'<h2>Findings</h2><ul class="findings">{items}</ul>' if items else "",
        "<h2>Sequences</h2>" + _table(_LENGTH_HEADINGS, _length_rows(diagnosis)),
        '<div class="plots">' + "".join(length_plots) + "</div>",
    ]
    if label_plots:
        parts += ["<h2>Labels</h2>", _table(_LABEL_HEADINGS, _label_rows(diagnosis)), '<div class="plots">', *label_plots, "</div>"]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(diagnosis.store)}: data doctor</title><style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


# Words and rows ---------------------------------------------------------------------------------------------------


def _counts(diagnosis: "Diagnosis") -> str:
    parts = [f"{split.utterances:,} {name} ({split.groups:,} groups)" for name, split in diagnosis.splits.items()]
    return f"{sum(split.utterances for split in diagnosis.splits.values()):,} utterances: {', '.join(parts)}"


def _task(diagnosis: "Diagnosis") -> str:
    task = diagnosis.task
    return f"emotions ({', '.join(task.emotions)})" if task.kind == "emotions" else f"{task.kind} {task.minimum:g}..{task.maximum:g}"


def _verdict(diagnosis: "Diagnosis") -> str:
    problems, notes = len(diagnosis.problems), len(diagnosis.notes)
    tail = f"{notes} {'note' if notes == 1 else 'notes'}"
    if diagnosis.is_healthy:
        return f"Healthy: no problems, {tail}."
    return f"Not healthy: {problems} {'problem' if problems == 1 else 'problems'}, {tail}."


_LENGTH_HEADINGS = (
    "modality",
    "width",
    "split",
    "present",
    "absent",
    "steps: min",
    "5 %",
    "median",
    "mean",
    "95 %",
    "99 %",
    "max",
    "zero steps",
    "NaN/Inf",
)
_LABEL_HEADINGS = ("labels", "utterances", "min", "mean", "max", "spread")


def _length_rows(diagnosis: "Diagnosis") -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for modality, dim in diagnosis.dims.items():
        for name, split in diagnosis.splits.items():
            part = split.modalities[modality]
            rows.append((modality, str(dim), name, f"{part.present:,}", f"{part.absent:,}", *_length_cells(part)))
    return rows


def _length_cells(part: ModalitySummary) -> list[str]:
    names = ("minimum", "percentile_5", "median", "mean", "percentile_95", "percentile_99", "maximum")
    cells = [f"{part.lengths[name]:,.1f}".removesuffix(".0") for name in names] if part.lengths else ["-"] * len(names)
    return [*cells, f"{part.zero_steps / part.steps:.1%}" if part.steps else "-", f"{part.num_nonfinite:,}"]


def _label_rows(diagnosis: "Diagnosis") -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for name, split in diagnosis.splits.items():
        labels = split.labels
        if labels is not None:
            rows.append((name, f"{split.utterances:,}", *(f"{value:.3g}" for value in (labels.minimum, labels.mean, labels.maximum, labels.std))))
    return rows


def _histogram_lines(splits: dict[str, SplitSummary], width: int = 20) -> list[str]:
    """The label histograms of all splits side by side, each bar as long as its share of the split's longest."""
    names: list[str] = []
    columns = []
    for name, split in splits.items():
        names, values = _label_bars(split)
        largest = max(values, default=0) or 1
        bars = [f"{_amount(split, value)} {'#' * round(width * value / largest)}" for value in values]
        columns.append([name, *(bar.ljust(width + 7) for bar in bars)])
    rows = list(zip(["label", *names], *columns, strict=True))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(space) for cell, space in zip(row, widths, strict=True)).rstrip() for row in rows]


def _label_bars(split: SplitSummary) -> tuple[list[str], list[float]]:
    """Bars of the label histogram: by score, or by emotion."""
    assert split.labels is not None
    if split.labels.rates:
        return list(split.labels.rates), list(split.labels.rates.values())
    edges = split.labels.edges
    centres = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    return [f"{centre:+.3g}" if abs(centre) > 1e-9 else "0" for centre in centres], [float(count) for count in split.labels.histogram]


def _amount(split: SplitSummary, value: float) -> str:
    return f"{value:>5.1%}" if split.labels is not None and split.labels.rates else f"{value:>5.0f}"


def _aligned(rows: list[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


# Plots ------------------------------------------------------------------------------------------------------------


def _length_plot(diagnosis: "Diagnosis", modality: str) -> str:
    figure, axes = _axes(f"{modality}: steps per utterance")
    for name, split in diagnosis.splits.items():
        part = split.modalities[modality]
        if part.present:
            shares = [count / part.present / (part.length_edges[1] - part.length_edges[0]) for count in part.length_histogram]
            axes.stairs(shares, part.length_edges, label=name, color=SPLIT_COLOURS[name], linewidth=1.6, fill=False)
    axes.set_ylabel("share of utterances per step")
    if axes.has_data():
        figure.legend(loc="outside lower center", ncols=len(SPLIT_COLOURS), frameon=False, labelcolor=_INK, fontsize=8)
    return _figure_svg(figure, f"lengths-{modality}", f"Distribution of the number of {modality} steps in each split")


def _label_plot(name: str, split: SplitSummary) -> str:
    figure, axes = _axes(f"labels of {name}")
    names, values = _label_bars(split)
    axes.bar(range(len(names)), values, width=0.85, color=SPLIT_COLOURS[name])
    shown = range(len(names)) if len(names) < 8 else range(0, len(names), 2)
    axes.set_xticks(list(shown), [names[index] for index in shown])
    axes.set_ylabel("share of utterances" if split.labels is not None and split.labels.rates else "utterances")
    return _figure_svg(figure, f"labels-{name}", f"Histogram of the labels of {name}")


def _axes(title: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.25, 2.4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=10, color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)
    axes.tick_params(colors=_INK, labelsize=8)
    axes.yaxis.label.set_color(_INK)
    axes.yaxis.label.set_fontsize(8)
    return figure, axes


def _figure_svg(figure: Any, name: str, description: str) -> str:
    """The plot as inline SVG whose ink is the page's text colour and whose identifiers are unique on the page."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    return f'<figure role="img" aria-label="{html.escape(description)}">{svg}</figure>'
