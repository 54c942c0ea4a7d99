"""Pictures as inline SVG that is readable in light and dark pages and to colour-blind eyes.

Text and axes take the page's own text colour. Models have the colours of Okabe and Ito's palette that stand out on
white and on black, with a line style each; attention is shown in viridis. Every function returns one `<svg>` element.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from multigrain.evaluation.attention_example import ExampleMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: tuple[str, ...] = ("#0083cc", "#e08e00", "#009e73", "#d55e00", "#b86a98", "#56a4d9")
LINE_STYLES: tuple[str, ...] = ("-", "--", ":", "-.")
EVENT_COLOUR = "#ff6a3d"
INK = "#0a0b0c"
"""Stands for the page's text colour, and is replaced by it in the SVG."""


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
