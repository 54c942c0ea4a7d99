"""A comparison as one HTML file that needs no network: what was done, the tables, and the pictures.

Everything that comes from a user (recipe names, words, paths, commands) is escaped. Works in light and dark, without
scripts, by keyboard and for screen readers.
"""

import datetime
import html
import json
import logging
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from multigrain import __version__
from multigrain.evaluation.comparison import Comparison, ModelRow
from multigrain.evaluation.evaluate import read_run
from multigrain.evaluation.tables import HEADLINE_METRICS, Table, differences_table, metric_title, number, results_table, scales_table

if TYPE_CHECKING:
    from multigrain.data.joint_store import JointStore
    from multigrain.data.store import Store
    from multigrain.evaluation.attention import AttentionScore
    from multigrain.evaluation.attention_example import ExampleMap
    from multigrain.plots import Curve

logger = logging.getLogger(__name__)

MOST_PANELS = 6
ATTENTION_UTTERANCES = 200
"""Utterances of each split on which attention is scored against the planted truth."""

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --band: #f6f8fa; --accent: #005ea8; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171a; --ink: #e8eaed; --soft: #a5adb8; --line: #3a4048; --band: #1d2126; --accent: #6cb8ff; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 82rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .5rem; border-top: 1px solid var(--line); padding-top: 1.25rem; }
p { max-width: 46rem; }
.lead { font-size: 1.1rem; }
.note, figcaption, caption { color: var(--soft); font-size: .9rem; }
.failure { border-left: 4px solid #d55e00; padding: .25rem .75rem; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .4rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 11rem; }
thead th { background: var(--band); font-weight: 600; }
tbody th { font-weight: 600; }
tr.published th, tr.published td { color: var(--soft); font-weight: 400; font-size: .85rem; }
tr.oracle th, tr.oracle td { background: var(--band); font-style: italic; }
figure { margin: 1.25rem 0; overflow-x: auto; }
figure svg { display: block; width: 100%; max-width: 100%; height: auto; min-width: 34rem; }
figure svg.narrow { max-width: 44rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.25rem; margin: 1rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, monospace; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--page); padding: .5rem; }
"""


def write_report(path: str | os.PathLike[str], comparison: Comparison, *, command: str | None = None) -> Path:
    """Writes a comparison as one self-contained HTML file.

    Args:
        path: the file; its folder is made where missing.
        comparison: its runs' folders and store are read for the pictures.
        command: what was typed; this process's own command line by default.

    Returns:
        The file.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(target.name + ".part")
    beside.write_text(render_report(comparison, command=command), encoding="utf-8")
    os.replace(beside, target)
    return target


def render_report(comparison: Comparison, *, command: str | None = None) -> str:
    """The report as text (see `write_report`)."""
    names = ", ".join(row.name for row in comparison.rows)
    sections = [
        f"<h1>multigrain: {html.escape(names)}</h1>",
        f'<p class="lead">{_lead(comparison)}</p>',
        *(
            f'<p class="failure">{html.escape(failure.name)} seed {failure.seed} failed: {html.escape(failure.reason)}</p>'
            for failure in comparison.failures
        ),
        _results_section(comparison),
        _curves_section(comparison),
        _scatter_section(comparison),
        _scales_section(comparison),
        _attention_section(comparison),
        _facts_section(comparison, command),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>multigrain report: {html.escape(names)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#content">Skip to the content</a>\n<main id="content">\n' + "\n".join(sections) + "\n</main>\n</body>\n</html>\n"
    )


# Words and tables -------------------------------------------------------------------------------------------------


def _lead(comparison: Comparison) -> str:
    """The result in a sentence or two."""
    metric = "correlation" if "correlation" in comparison.metrics else comparison.metrics[-1]
    best = max(comparison.rows, key=lambda row: row.intervals[metric].mean)
    value, seeds = number(metric, best.intervals[metric].mean), len(best.seeds)
    text = (
        f"<strong>{html.escape(best.name)}</strong> reaches the best {html.escape(_metric_words(metric))} on the "
        f"{html.escape(comparison.split)} split: {value} ({'one seed' if seeds == 1 else f'mean of {seeds} seeds'}"
    )
    if comparison.oracle is None:
        return text + ")."
    text += f"); the best possible prediction would reach {number(metric, comparison.oracle.get(metric))}."
    return text + (
        " The data is made for this test: some words carry a polarity, and whether each counts as said, doubled or reversed "
        "is decided by an acoustic or a facial event elsewhere in the utterance. "
        "Only a model that finds which event belongs to which word can score well."
    )


def _metric_words(metric: str) -> str:
    return "correlation" if metric == "correlation" else metric_title(metric)


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in table.columns)
    body = "\n".join(_table_row(row) for row in table.rows)
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in table.notes)
    title = html.escape(table.title)
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="{title}"><table>\n<caption>{title}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>{notes}"
    )


def _table_row(row: Sequence[str]) -> str:
    kind = "published" if row[0].startswith("  ") else "oracle" if row[0].startswith("oracle") else ""
    cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
    return f'<tr class="{kind}"><th scope="row">{html.escape(row[0].strip())}</th>{cells}</tr>'


def _results_section(comparison: Comparison) -> str:
    return f"<h2>Results</h2>{_table(results_table(comparison))}{_table(differences_table(comparison))}"


def _figure(svg: str, description: str, caption: str, narrow: bool = False) -> str:
    label = f'<svg role="img" aria-label="{html.escape(description)}"' + (' class="narrow"' if narrow else "")
    return f'<figure tabindex="0">{svg.replace("<svg", label, 1)}<figcaption>{html.escape(caption)}</figcaption></figure>'


# Pictures ---------------------------------------------------------------------------------------------------------


def _curves_section(comparison: Comparison) -> str:
    from multigrain.plots import learning_curves

    metric = "correlation" if "correlation" in comparison.metrics else comparison.metrics[-1]
    curves = [curve for row in comparison.rows for folder in row.run_folders if (curve := _curve(row.name, Path(folder), metric)) is not None]
    if not curves:
        return ""
    firsts = {curve.name: curve for curve in reversed(curves)}
    ends = "; ".join(f"{curve.name} {number(metric, curve.valid_metric[-1])} after {len(curve.epochs)} epochs" for curve in reversed(firsts.values()))
    title = _metric_words(metric)
    svg = learning_curves(curves, title)
    caption = f"One line a run. Validation {title} at the end of each model's first run: {ends}."
    return f"<h2>Learning curves</h2>{_figure(svg, f'Losses and validation {title} over epochs, one line a run. {ends}.', caption)}"


def _curve(name: str, folder: Path, metric: str) -> "Curve | None":
    from multigrain.plots import Curve

    path = folder / "metrics.jsonl"
    if not path.is_file():
        return None
    epochs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if not epochs:
        return None
    return Curve(
        name=name,
        epochs=[int(epoch["epoch"]) for epoch in epochs],
        train_loss=[_known(epoch.get("train_loss")) for epoch in epochs],
        valid_loss=[_known(epoch.get("valid_loss")) for epoch in epochs],
        valid_metric=[_known((epoch.get("valid") or {}).get(metric)) for epoch in epochs],
    )


def _known(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _scatter_section(comparison: Comparison) -> str:
    from multigrain.plots import predicted_against_actual

    if comparison.task.kind == "emotions":
        return ""
    panels = []
    for row in comparison.rows[:MOST_PANELS]:
        predictions = read_run(row.run_folders[0]).predictions(comparison.split)
        assert predictions.labels is not None  # the comparison was computed from them
        panels.append((row.name, predictions.labels[:, 0], predictions.scores[:, 0]))
    svg = predicted_against_actual(panels, comparison.task.minimum, comparison.task.maximum)
    caption = f"A point an utterance of the {comparison.split} split, first seed of each model; the line is where both agree."
    return f"<h2>Predicted against actual</h2>{_figure(svg, 'Scatter plots of predictions against labels, one a model. ' + caption, caption)}"


def _scales_section(comparison: Comparison) -> str:
    """What each model with several scales or codes leans on: its first seed predicts without them."""
    from multigrain.evaluation.evaluate import own_store
    from multigrain.evaluation.scales import measure_scales
    from multigrain.models import load

    tables = []
    for row in comparison.rows[:MOST_PANELS]:
        facts = read_run(row.run_folders[0])
        if not (facts.folder / "checkpoints" / "best").is_dir():
            continue
        model = load(str(facts.folder / "checkpoints" / "best"))
        if model.ablations:
            store = own_store(facts, None if model.text_encoder is None else model.text_encoder.reader)
            measured = measure_scales(model, store.split(comparison.split), convention=comparison.convention)
            headline = tuple(name for name in HEADLINE_METRICS if name in measured.results[0].metrics) or None
            tables.append(_table(scales_table(measured, f"{row.name}, seed {row.seeds[0]}, with parts left out", headline)))
    return f"<h2>What a model's scales and codes are worth to it</h2>{''.join(tables)}" if tables else ""


def _attention_section(comparison: Comparison) -> str:
    """Crossmodal attention of one utterance, for each model that has any; and how well it finds planted events."""
    from multigrain.data.store import Store
    from multigrain.evaluation.attention import score_attention
    from multigrain.evaluation.attention_example import example_maps
    from multigrain.evaluation.evaluate import own_store
    from multigrain.models import load

    store = _store_of(comparison)
    is_planted = comparison.oracle is not None
    scores: "dict[str, dict[str, AttentionScore]]" = {}
    maps: "list[ExampleMap]" = []
    for row in comparison.rows:
        if len(maps) >= MOST_PANELS or not (Path(row.run_folders[0]) / "checkpoints" / "best").is_dir():
            continue
        model = load(str(Path(row.run_folders[0]) / "checkpoints" / "best"))
        if model.text_encoder is not None:
            own = own_store(read_run(row.run_folders[0]), model.text_encoder.reader)
            maps += example_maps(model, own, row.name, comparison.split)
            continue
        if is_planted:
            assert isinstance(store, Store)  # several together have no oracle
            scores[row.name] = score_attention(model, store, num_utterances=ATTENTION_UTTERANCES)
        maps += example_maps(model, store, row.name, comparison.split, scores.get(row.name))
    if not maps:
        return ""
    from multigrain.plots import attention_maps

    caption = "Each row is a word, each column a step of the other modality; bright is much attention, dark is little."
    if is_planted:
        caption += (
            " Bold words carry a polarity, and a box marks the event that belongs to such a word: a model that understands looks there. "
            "Shown is the layer and head that finds most events on the validation split."
        )
    else:
        caption += " Shown is the mean over scales and heads of the last layer."
    figure = _figure(attention_maps(maps), "Heat maps of crossmodal attention of one utterance. " + caption, caption)
    return f"<h2>Crossmodal attention of one utterance</h2>{figure}{_table(_attention_table(scores)) if any(scores.values()) else ''}"


def _store_of(comparison: Comparison) -> "Store | JointStore":
    from multigrain.data.store import Store
    from multigrain.evaluation.evaluate import own_store

    path = Path(comparison.store)
    return Store.open(path) if path.is_dir() else own_store(read_run(comparison.rows[0].run_folders[0]))


def _attention_table(scores: "dict[str, dict[str, AttentionScore]]") -> Table:
    rows = [
        (
            f"{name}, {direction.split('_')[0]}",
            f"{100 * score.chance:.1f}",
            f"{100 * score.overall:.1f}",
            f"{100 * score.best_layer_share:.1f}",
            f"{100 * score.best_head_share:.1f}",
        )
        for name, directions in scores.items()
        for direction, score in directions.items()
    ]
    note = (
        f"First {ATTENTION_UTTERANCES} utterances of each split. Chance is what uniform attention gives. "
        "The best layer (mean over its scales and heads) and the best single head were chosen on the validation split; "
        "all shares are of the test split."
    )
    columns = ("model, source", "chance %", "all heads %", "best layer %", "best head %")
    return Table("Share of a polar word's attention that falls on its own event", columns, tuple(rows), (note,))


# Facts ------------------------------------------------------------------------------------------------------------


def _facts_section(comparison: Comparison, command: str | None) -> str:
    facts = {
        "command": command if command is not None else shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": f"multigrain {__version__}, Python {platform.python_version()}, torch {_version('torch')}, numpy {_version('numpy')}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        "data": f"{comparison.store} (fingerprint {comparison.store_fingerprint[:16]})",
        "metrics": f"convention {comparison.convention}, {comparison.split} split, {comparison.num_utterances} utterances",
    }
    listed = "".join(f"<dt>{name}</dt><dd><code>{html.escape(value)}</code></dd>" for name, value in facts.items())
    runs = "".join(_runs_of(row) for row in comparison.rows)
    return f"<h2>How this was made</h2><dl>{listed}</dl><details><summary>Runs</summary><ul>{runs}</ul></details>"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _runs_of(row: ModelRow) -> str:
    return "".join(f"<li><code>{html.escape(folder)}</code> (model {html.escape(row.model)})</li>" for folder in row.run_folders)
