"""What `benchmarks/gpu.py` prints, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from card.cells import FULL, GRAPHED, PLAIN, WAYS, CardCell
from card.correctness import Check

STEP_GOAL = 8.0  # times faster than the plain implementation, at batch 64
RUN_GOAL_SECONDS = 60.0
_REDUCED = (
    "**Reduced form on the CPU: no GPU was used, no graph was captured, and none of these times says anything of a GPU. The GPU goals are open; "
    "what the table calls a CUDA graph is the same steps in buckets.**"
)


def header(answers: Mapping[str, Any]) -> str:
    """The machine and what it can do at most."""
    facts, peaks = answers["machine"], dict(answers["peaks"])
    moved = peaks.pop("bandwidth")
    products = ", ".join(f"{name} {peak / 1e12:.3g} TFLOP/s" for name, peak in peaks.items())
    lines = [
        f"{facts['date']}; {answers['device']}; {facts['processor']}, {facts['cores']} cores; torch {facts['torch']}, Python {facts['python']}; "
        f"load {facts['load_at_start'][0]:.2f}",
        f"measured peaks: matrix products {products}; copies {moved / 1e9:.4g} GB/s (read and written)",
        "a step: forward, L1, backward, clip at 0.8, fused Adam; published sizes and dropouts",
    ]
    return "\n".join(f"- {line}" for line in ([_REDUCED, *lines] if answers["reduced"] else lines))


def check_table(checks: Sequence[Check]) -> str:
    """A row for each comparison."""
    rows = [[check.name, f"{check.difference:.2g}", f"{check.allowed:.2g}", "yes" if check.holds else "**NO**"] for check in checks]
    return _table(["comparison", "largest relative difference", "allowed", "holds"], rows)


def cell_table(cells: Sequence[CardCell], peaks: Mapping[str, float]) -> str:
    """A row for each cell."""
    moved = {cell.key: cell.moved_bytes for cell in cells if cell.moved_bytes is not None}
    rows = []
    for cell in cells:
        name = [cell.model, str(cell.batch), cell.input, cell.precision, WAYS[cell.way]]
        seconds = cell.step_seconds
        if seconds is None or cell.operations is None:
            rows.append([*name, f"no number: {cell.error}", "", "", "", "", ""])
            continue
        traffic = moved.get(cell.key) if cell.way != PLAIN else None  # counted for ours; the plain way moves far more
        rows.append(
            [
                *name,
                f"{1000 * seconds:.2f}",
                f"{cell.batch / seconds:,.0f}",
                "" if cell.peak_bytes is None else f"{cell.peak_bytes / 1e6:,.0f}",
                f"{100 * cell.operations / seconds / peaks[cell.precision]:.1f} %",
                "" if traffic is None else f"{100 * traffic / seconds / peaks['bandwidth']:.0f} %",
                "" if cell.preparing_seconds is None else f"{cell.preparing_seconds:.1f}",
            ]
        )
    columns = [
        "model",
        "batch",
        "input",
        "precision",
        "way",
        "ms a step",
        "utterances/s",
        "peak MB",
        "of product peak",
        "of bandwidth",
        "preparing s",
    ]
    return _table(columns, rows)


def ratio_lines(cells: Sequence[CardCell], is_reduced: bool) -> str:
    """How much faster the graphed steps are than the plain ones on the same."""
    lines = []
    plain = {cell.key: cell for cell in cells if cell.way == PLAIN}
    for cell in cells:
        if cell.way != GRAPHED:
            continue
        other, label = plain.get(cell.key), f"{cell.model}, batch {cell.batch}, {cell.input}, {cell.precision}"
        goal = f" (goal: at least {STEP_GOAL:g} times" if cell.batch == 64 and cell.input != FULL and not is_reduced else ""
        if other is None or other.step_seconds is None or cell.step_seconds is None:
            lines.append(f"{label}: no ratio, since a number is missing" + (f"{goal}; not measured)" if goal else ""))
            continue
        times = other.step_seconds / cell.step_seconds
        lines.append(f"{label}: {times:.3g} times as fast as plain" + (f"{goal}; {'met' if times >= STEP_GOAL else 'not met'})" if goal else ""))
    return "\n".join(f"- {line}" for line in lines)


def run_lines(run: Mapping[str, Any], is_reduced: bool) -> str:
    """The run's seconds beside the goal."""
    counts = ", ".join(f"{count} {split}" for split, count in run["counts"].items())
    rest = run["seconds"] - run["capturing_seconds"] - run["evaluating_seconds"]
    goal = "" if is_reduced else f" (goal: under {RUN_GOAL_SECONDS:.0f} s; {'met' if run['seconds'] < RUN_GOAL_SECONDS else 'not met'})"
    lines = [
        f"MCMuT, {counts}, {run['epochs']} epochs, batch {run['batch']}, {run['precision']}: {run['seconds']:.1f} s{goal}",
        f"of it: capturing graphs {run['capturing_seconds']:.1f} s, evaluation {run['evaluating_seconds']:.1f} s, training and loading {rest:.1f} s",
        f"training loss {run['losses'][0]:.3f} in the first epoch, {run['losses'][-1]:.3f} in the last; test MAE {run['test']['mae']:.3f}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(entry.replace("|", "/") for entry in line) + " |" for line in lines)
