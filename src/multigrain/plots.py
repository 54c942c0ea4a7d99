"""Pictures as inline SVG that is readable in light and dark pages and to colour-blind eyes.

Text and axes take the page's own text colour. Models have the colours of Okabe and Ito's palette that stand out on
white and on black, with a line style each; attention is shown in viridis. Every function that draws returns one `<svg>` element, to
stand in a page or, through `write_picture`, in a file of its own.
"""

import html
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multigrain.evaluation.attention_example import ExampleMap
from multigrain.evaluation.robustness import ConditionResult, Robustness
from multigrain.evaluation.tables import condition_title, is_percent, metric_title, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: tuple[str, ...] = ("#0083cc", "#e08e00", "#009e73", "#d55e00", "#b86a98", "#56a4d9")
LINE_STYLES: tuple[str, ...] = ("-", "--", ":", "-.")
EVENT_COLOUR = "#ff6a3d"
INK = "#0a0b0c"
"""Stands for the page's text colour, and is replaced by it in the SVG."""
STANDALONE_STYLE = """
svg { color: #1b1f24; } .page { fill: #ffffff; }
@media (prefers-color-scheme: dark) { svg { color: #e8eaed; } .page { fill: #14171a; } }
"""
"""Of a picture that is a file of its own and so has no page around it."""


@dataclass(frozen=True)
class Curve:
    """One run's course over epochs.

    Attributes:
        name: of the model; runs of one name share a colour.
        epochs: epoch numbers.
        train_loss, valid_loss: one per epoch, in the loss's unit; NaN where unknown.
        valid_metric: one per epoch, NaN where unknown.
    """

    name: str
    epochs: Sequence[int]
    train_loss: Sequence[float]
    valid_loss: Sequence[float]
    valid_metric: Sequence[float]


@contextmanager
def _ink() -> Iterator[None]:
    """Everything drawn inside has its text and lines in the page's text colour."""
    from matplotlib import rc_context

    settings: dict[str, Any] = {f"{name}.color": INK for name in ("text", "xtick", "ytick", "grid")}
    settings |= {"axes.edgecolor": INK, "axes.labelcolor": INK, "axes.facecolor": "none", "axes.titlesize": 10.5, "axes.titlecolor": INK}
    settings |= {"axes.spines.top": False, "axes.spines.right": False, "font.size": 10, "font.family": "sans-serif"}
    settings |= {"svg.fonttype": "none", "svg.hashsalt": "multigrain", "text.parse_math": False}
    with rc_context(settings):  # type: ignore[arg-type]
        yield


@_ink()
def learning_curves(curves: Sequence[Curve], metric: str) -> str:
    """Training and validation loss, and a validation metric, over epochs.

    Args:
        curves: one per run.
        metric: title of the metric, for the axis.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure(1, 3, width=11.0, height=3.4)
    names = list(dict.fromkeys(curve.name for curve in curves))
    titles = ("training loss", "validation loss", f"validation {metric}")
    for axis, title, field in zip(axes, titles, ("train_loss", "valid_loss", "valid_metric"), strict=True):
        seen: set[str] = set()
        for curve in curves:
            index = names.index(curve.name)
            label = curve.name if curve.name not in seen else None
            seen.add(curve.name)
            axis.plot(
                curve.epochs,
                getattr(curve, field),
                color=COLOURS[index % len(COLOURS)],
                linestyle=LINE_STYLES[index % len(LINE_STYLES)],
                linewidth=1.8,
                marker="o" if len(curve.epochs) == 1 else None,
                label=label,
            )
        axis.set_title(title, loc="left")
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(True, alpha=0.25)
    axes[0].legend(frameon=False)
    return _svg(figure)


@_ink()
def predicted_against_actual(panels: Sequence[tuple[str, np.ndarray, np.ndarray]], low: float, high: float) -> str:
    """One scatter a model: the label across, the prediction upwards, the diagonal where they agree.

    Args:
        panels: (name, labels, scores), each array (utterance,), in the label's unit.
        low, high: the label's range.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = _figure(rows, columns, width=3.7 * columns, height=3.5 * rows)
    margin = 0.08 * (high - low)
    for index, axis in enumerate(axes):
        if index >= len(panels):
            axis.set_visible(False)
            continue
        name, labels, scores = panels[index]
        axis.plot([low, high], [low, high], color=INK, linewidth=1.0, alpha=0.6)
        axis.scatter(labels, scores, s=9, color=COLOURS[index % len(COLOURS)], alpha=0.45, linewidths=0, rasterized=True)
        axis.set_xlim(low - margin, high + margin)
        axis.set_ylim(low - margin, high + margin)
        axis.set_aspect("equal")
        axis.set_title(name, loc="left")
        axis.set_xlabel("actual")
        axis.set_ylabel("predicted" if index % columns == 0 else "")
        axis.grid(True, alpha=0.25)
    return _svg(figure)


@_ink()
def attention_maps(maps: Sequence[ExampleMap]) -> str:
    """Words downwards, source steps across, one panel a map; boxes mark where the truth lies, bold the words that it concerns.

    Args:
        maps: at least one; each panel has a colour scale of its own.
    """
    from matplotlib.patches import Rectangle

    height = sum(0.9 + 0.23 * len(entry.words) for entry in maps)
    figure, axes = _figure(len(maps), 1, width=10.0, height=height, ratios=[2.0 + len(entry.words) for entry in maps])
    for axis, entry in zip(axes, maps, strict=True):
        image = axis.imshow(entry.weights, cmap="viridis", aspect="auto", vmin=0.0, interpolation="nearest")
        axis.set_yticks(range(len(entry.words)), [_shortened(word) for word in entry.words])
        for index, label in enumerate(axis.get_yticklabels()):
            if index in entry.polar_words:
                label.set_color(EVENT_COLOUR)
                label.set_fontweight("bold")
        for word, step in entry.marks:
            axis.add_patch(Rectangle((step - 0.5, word - 0.5), 1, 1, fill=False, edgecolor=EVENT_COLOUR, linewidth=2.2))
        axis.set_title(entry.title, loc="left")
        axis.set_xlabel(f"{entry.source} step")
        colour_bar = figure.colorbar(image, ax=axis, pad=0.01, fraction=0.03)
        colour_bar.outline.set_visible(False)
    return _svg(figure)


@_ink()
def robustness_curves(robustness: Robustness, metric: str) -> str:
    """A metric under each subset of the modalities, as bars, and over the rate of missing frames, a line a modality.

    Args:
        robustness: what to show.
        metric: one of its metrics.
    """
    figure, (bars, lines) = _figure(1, 2, width=10.0, height=3.6)
    _draw_subsets(bars, robustness, metric)
    shown = {"all": "all together"} if len(robustness.modalities) > 1 else {}
    for index, (name, results) in enumerate(_by_affected(robustness).items()):
        rates = [100 * result.condition.missing_rate for result in results]
        lines.plot(
            rates,
            [_shown(metric, result) for result in results],
            color=COLOURS[index % len(COLOURS)],
            linestyle=LINE_STYLES[index % len(LINE_STYLES)],
            linewidth=1.8,
            marker="o",
            markersize=4,
            label=shown.get(name, name),
        )
    lines.set_title("frames missing", loc="left")
    lines.set_xlabel("missing frames, %")
    lines.set_ylabel(_axis_title(metric))
    lines.set_xticks(range(0, 101, 10))
    lines.set_xlim(-3, 103)
    lines.grid(True, alpha=0.25)
    lines.legend(frameon=False)
    return _svg(figure)


def _draw_subsets(axis: "Axes", robustness: Robustness, metric: str) -> None:
    places = range(len(robustness.subsets))
    values = [_shown(metric, result) for result in robustness.subsets]
    axis.barh(places, np.nan_to_num(values), height=0.62, color=COLOURS[0], alpha=0.75)
    for place, value, result in zip(places, values, robustness.subsets, strict=True):
        label = number(metric, result.metrics[metric])
        axis.annotate(label, (max(0.0, np.nan_to_num(value)), place), (4, 0), textcoords="offset points", va="center")
    axis.set_yticks(places, [condition_title(result.condition, robustness.modalities) for result in robustness.subsets])
    axis.invert_yaxis()
    axis.margins(x=0.14)
    axis.set_title("modalities that are there", loc="left")
    axis.set_xlabel(_axis_title(metric))
    axis.set_axisbelow(True)
    axis.grid(True, axis="x", alpha=0.25)


def _by_affected(robustness: Robustness) -> dict[str, list[ConditionResult]]:
    """The results of missing frames by the modality that they are missing in, or `all`, each from nothing missing on."""
    lines: dict[str, list[ConditionResult]] = {}
    for result in robustness.missing_frames:
        affected = result.condition.frames_missing_in
        lines.setdefault(affected[0] if len(affected) == 1 else "all", [robustness.complete]).append(result)
    return lines


def _shown(metric: str, result: ConditionResult) -> float:
    return result.metrics[metric] * (100 if is_percent(metric) else 1)


def _axis_title(metric: str) -> str:
    return "correlation" if metric == "correlation" else metric_title(metric) + (", %" if is_percent(metric) else "")


def write_picture(path: str | os.PathLike[str], svg: str, title: str) -> Path:
    """Writes a picture as an SVG file of its own, whole or not at all, in the light or dark colours that its reader prefers.

    Args:
        path: the file; its folder is made where missing.
        svg: from one of the functions above.
        title: what it shows, for those who do not see it.

    Returns:
        The file.
    """
    target = Path(path)
    head = f'<title>{html.escape(title)}</title><style>{STANDALONE_STYLE}</style><rect class="page" width="100%" height="100%"/>'
    whole = '<?xml version="1.0" encoding="utf-8"?>\n' + re.sub(r"(<svg[^>]*>)", lambda found: found[1] + head, svg, count=1) + "\n"
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(target.name + ".part")
    beside.write_text(whole, encoding="utf-8")
    os.replace(beside, target)
    return target


def _shortened(word: str) -> str:
    return word if len(word) <= 16 else word[:15] + "…"


def _figure(rows: int, columns: int, *, width: float, height: float, ratios: Sequence[float] | None = None) -> "tuple[Figure, list[Axes]]":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none", dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, height_ratios=ratios)
    return figure, list(axes.ravel())


def _svg(figure: "Figure") -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[a-zA-Z.]+\d*_\d+"', "", text)  # names of groups, the same in every figure
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif", "sans-serif", text)
    return text.replace(INK, "currentColor").strip()
