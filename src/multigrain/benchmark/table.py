"""What `multigrain bench` prints: one table, what it was measured on above it, what must be known to read it below."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from multigrain.benchmark.machine import QUIET_LOAD
from multigrain.benchmark.run import REAL, median

COMPILED, PLAIN = "compiled", "PyTorch's"
TITLES = {"mult": "MulT", "mcmut": "MCMuT"}


def bench_table(found: Mapping[str, Any]) -> Table:
    """The table; `found` is what `measure` gave."""
    table = Table(
        "model", "what", "input", "batch", "kernels", title=_title(found), title_justify="left", caption=_caption(found), caption_justify="left"
    )
    for name in ("s a step", "rounds", "utterances/s", "peak MB", "times as fast"):
        table.add_column(name, justify="right")
    for row in bench_rows(found):
        table.add_row(*row)
    return table


def bench_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row for each training and each prediction; cells that failed say why in place of a time."""
    rows: list[tuple[str, ...]] = []
    for what in ("train", "predict"):
        for cell in found["cells"]:
            if what == "predict" and cell["prediction_batch"] is None:
                continue
            batch = cell["batch"] if what == "train" else cell["prediction_batch"]
            size = (TITLES[cell["model"]], what, cell["input"], str(batch), COMPILED if cell["is_native"] else PLAIN)
            rounds = cell[what]
            if not rounds:
                rows.append((*size, f"no number: {cell['error']}", "", "", "", ""))
                continue
            peak = f"{rounds[-1]['peak_bytes'] / 1e6:,.0f}" if what == "train" else ""
            rate = f"{median(rounds, 'utterances_per_second'):.1f}"
            rows.append((*size, f"{median(rounds, 'seconds'):.3g}", str(len(rounds)), rate, peak, _times(cell, what, found["cells"])))
    return rows


def _times(cell: Mapping[str, Any], what: str, cells: Iterable[Mapping[str, Any]]) -> str:
    """How much faster the compiled kernels are than PyTorch's on the same."""
    same = [other for other in cells if (other["model"], other["input"], other["is_native"]) == (cell["model"], cell["input"], False)]
    if not cell["is_native"] or not same or not same[0][what]:
        return ""
    return f"{median(same[0][what], 'seconds') / median(cell[what], 'seconds'):.2f}"


def _title(found: Mapping[str, Any]) -> str:
    facts = found["machine"]
    memory = "" if facts["memory_bytes"] is None else f", {facts['memory_bytes'] / 1e9:.0f} GB"
    lines = [
        f"{facts['date']}; {facts['processor']}, {facts['cores']} cores{memory}; on {found['device']}, {found['threads']} threads",
        f"torch {facts['torch']}, Python {facts['python']}, {facts['system']}; {_load(found)}; {found['seconds']:.0f} s",
    ]
    return "\n".join(lines)


def _load(found: Mapping[str, Any]) -> str:
    before, after = found["machine"]["load_at_start"], found["load_at_end"]
    return f"load {before[0]:.2f} before, {after[0]:.2f} after" if before and after else "load unknown"


def _caption(found: Mapping[str, Any]) -> str:
    lines = [
        f"{REAL}: words as MOSI has them, audio 7.5 and vision 10 steps a word, batches of like length "
        f"({100 * found['padding_waste']:.1f} % padding). "
        "A training step: forward, L1, backward, clip, Adam, at the published sizes and dropouts. Medians over the rounds.",
        "peak MB: the most that a training step held above the imports, the epoch's longest batch included."
        if found["device"] == "CPU"
        else "peak MB: the most of the GPU's memory that a training step held, the epoch's longest batch included.",
    ]
    if found["no_native"] is not None:
        lines.append(f"No compiled kernels: {found['no_native']}")
    loads = found["machine"]["load_at_start"]
    if loads and loads[0] > QUIET_LOAD:
        lines.append("The machine was not quiet: these times are no measurement to quote.")
    return "\n".join(lines)
