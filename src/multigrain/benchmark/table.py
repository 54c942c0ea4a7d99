"""What `multigrain bench` prints: one table, what it was measured on above it, what must be known to read it below."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from multigrain.benchmark.machine import QUIET_LOAD
from multigrain.benchmark.run import REAL, median

COMPILED, PLAIN = "compiled", "PyTorch's"
TITLES = {"mult": "MulT", "mcmut": "MCMuT"}


def bench_table(found: Mapping[str, Any]) -> Group:
    """The table between its notes; `found` is what `measure` gave."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("what", min_width=26)
    table.add_column("kernels", min_width=9)
    for name in ("batch", "seconds", "utt./s", "peak MB", "speedup"):
        table.add_column(name, justify="right")
    for row in bench_rows(found):
        table.add_row(*row)
    return Group(Text(_title(found)), table, Text(_caption(found)))


def bench_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row for each training and each prediction; cells that failed say why in place of a time."""
    rows: list[tuple[str, ...]] = []
    for what in ("train", "predict"):
        for cell in found["cells"]:
            if what == "predict" and cell["prediction_batch"] is None:
                continue
            batch = cell["batch"] if what == "train" else cell["prediction_batch"]
            size = (f"{TITLES[cell['model']]} {what}, {cell['input']}", COMPILED if cell["is_native"] else PLAIN, str(batch))
            rounds = cell[what]
            if not rounds:
                rows.append((*size, f"no number: {cell['error']}", "", "", ""))
                continue
            peak = f"{rounds[-1]['peak_bytes'] / 1e6:,.0f}" if what == "train" else ""
            rate = f"{median(rounds, 'utterances_per_second'):.1f}"
            rows.append((*size, f"{median(rounds, 'seconds'):.3g}", rate, peak, _speedup(cell, what, found["cells"])))
    return rows


def _speedup(cell: Mapping[str, Any], what: str, cells: Sequence[Mapping[str, Any]]) -> str:
    """How much faster the compiled kernels are than PyTorch's on the same."""
    same = [other for other in cells if (other["model"], other["input"], other["is_native"]) == (cell["model"], cell["input"], False)]
    if not cell["is_native"] or not same or not same[0][what]:
        return ""
    return f"{median(same[0][what], 'seconds') / median(cell[what], 'seconds'):.2f}"


def _title(found: Mapping[str, Any]) -> str:
    facts = found["machine"]
    memory = "" if facts["memory_bytes"] is None else f", {facts['memory_bytes'] / 1e9:.0f} GB"
    before, after = facts["load_at_start"], found["load_at_end"]
    load = f"load {before[0]:.2f} before, {after[0]:.2f} after" if before and after else "load unknown"
    threads = f"{found['threads']} thread{'s' if found['threads'] > 1 else ''}"
    return (
        f"{facts['date']}; {facts['processor']}, {facts['cores']} cores{memory}; on {found['device']}, {threads}\n"
        f"torch {facts['torch']}, Python {facts['python']}, {facts['system']}; {load}; {found['seconds']:.0f} s"
    )


def _caption(found: Mapping[str, Any]) -> str:
    where = "a training step held above the imports" if found["device"] == "CPU" else "of the GPU's memory that a training step held"
    lines = [
        f"{REAL}: words as MOSI has them, audio 7.5 and vision 10 steps a word, batches of like length "
        f"({100 * found['padding_waste']:.1f} % padding). train: forward, L1, backward, clip, Adam, at the published sizes and dropouts. "
        f"seconds: of a step or a batch, median over {_rounds(found)} rounds. speedup: of compiled kernels over PyTorch's. "
        f"peak MB: the most {where}, the epoch's longest batch included."
    ]
    if found["no_native"] is not None:
        lines.append(f"No compiled kernels: {found['no_native']}")
    loads = found["machine"]["load_at_start"]
    if loads and loads[0] > QUIET_LOAD:
        lines.append("The machine was not quiet: these times are no measurement to quote.")
    return "\n".join(lines)


def _rounds(found: Mapping[str, Any]) -> str:
    counts = sorted(len(cell[what]) for cell in found["cells"] for what in ("train", "predict") if cell[what])
    return "no" if not counts else str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
