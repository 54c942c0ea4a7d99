"""What the benchmark prints, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from multigrain.benchmark import memory
from multigrain.benchmark.machine import QUIET_LOAD
from step.cells import Cells
from step.flops import PEAK_SIZE
from step.goals import Line
from step.growth import Point
from step.processes import CellResult
from step.profile import ORDER


def header(facts: Mapping[str, Any], cells: Cells) -> str:
    """The machine, the batches, and what is alike and what differs."""
    choices, words = cells.choices, cells.words
    source = f"the `text` column of {choices.words.name}" if choices.words else "the built-in quantiles of MOSI"
    load = facts["load_at_start"]
    memory_size = "?" if facts["memory_bytes"] is None else f"{facts['memory_bytes'] / 1e9:.0f} GB"
    lines = [
        f"{facts['date']}; {facts['processor']}, {facts['cores']} cores, {memory_size}; {choices.threads} threads; "
        f"torch {facts['torch']}, Python {facts['python']}, {facts['system']}",
        f"load at the start: {load[0]:.2f} {load[1]:.2f} {load[2]:.2f} (1, 5 and 15 minutes)",
        f"utterances: {len(words)} from {source}; {words.mean():.1f} words on average, at most {words.max()}; audio 7.5 and vision 10 steps a word",
        f"batches of {choices.batch} as multigrain's sampler makes them: padding waste {100 * cells.bucketed.waste:.1f} %; a round times "
        f"{len(cells.bucketed.batches)} of them, whose attention pairs are {cells.bucketed.cost_share:.2f} of the epoch's mean; random batches: "
        f"waste {100 * cells.random.waste:.1f} %, {len(cells.random.batches)} a round ({cells.random.cost_share:.2f})",
        f"a step: zero gradients, forward, L1, backward, clip at 0.8, Adam (ours: norm, fused; MMSA's: value, default Adam, after each batch instead "
        f"of every eighth; authors': norm, default Adam); MulT's dropouts: {choices.dropouts}'; "
        f"future mask: theirs on, ours {'on' if choices.future_mask else 'off'}; MMSA's has no positions",
        memory.HOW,
    ]
    if load[0] > QUIET_LOAD:
        lines.append(f"**The machine was not quiet (load {load[0]:.2f}): these times are no measurement to quote.**")
    return "\n".join(f"- {line}" for line in lines)


def cell_table(results: Sequence[CellResult]) -> str:
    """A row per cell."""
    rows = []
    for result in results:
        if not result.rounds:
            rows.append([result.spec.name, _count(result), str(_batch(result)), f"no number: {result.error}", "", "", "", "", ""])
            continue
        seconds, rate, optimizing = (result.median(name) for name in ("seconds_per_step", "utterances_per_second", "optimizer_seconds_per_step"))
        spread = result.values("seconds_per_step")
        note = f" (then: {result.error})" if result.error else ""
        rows.append(
            [
                result.spec.name + note,
                _count(result),
                str(_batch(result)),
                f"{seconds:.4g}",
                f"{min(spread):.4g} to {max(spread):.4g}",
                f"{1000 * optimizing:.1f}" if result.spec.kind == "train" else "",
                f"{rate:.1f}",
                f"{result.median('typical_peak_bytes') / 1e6:.0f}",
                f"{result.peak_bytes / 1e6:.0f}",
            ]
        )
    columns = ["cell", "parameters", "batch", "s a step (median)", "range", "of it Adam, ms", "utterances/s", "peak MB, typical", "costliest"]
    used = sorted({f"{result.spec.implementation}: {result.ready['torch']}" for result in results if "torch" in result.ready})
    differ = len({line.partition(": ")[2] for line in used}) > 1
    return _table(columns, rows) + (f"\n\n**The versions of torch differ: {', '.join(used)}.**" if differ else "")


def limit_section(results: Sequence[CellResult]) -> str:
    """Operations over time as a share of the machine's peak, and what the time is spent on."""
    parts = []
    for result in results:
        if not result.rounds:
            parts.append(f"- {result.spec.name}: no number: {result.error}")
            continue
        found = result.rounds[-1]
        peaks = " and ".join(f"{peak / 1e9:.0f}" for peak in found["peaks"])
        parts.append(
            f"- {result.spec.name}: {found['flops'] / 1e9:.2f} GFLOP a step ({found['flops_source']}; {_counts(found)}) in "
            f"{found['seconds_per_step']:.4g} s = {found['flops_per_second'] / 1e9:.1f} GFLOP/s, {100 * found['share_of_peak']:.1f} % of the "
            f"measured matrix-product peak of {found['peak_flops_per_second'] / 1e9:.0f} GFLOP/s (before and after: {peaks})"
        )
    measured = [result for result in results if result.rounds]
    if measured:
        parts += ["", f"The peak is the median of 9 float32 products of {PEAK_SIZE} x {PEAK_SIZE}; only matrix products count as operations.", ""]
        parts += [
            "What a step's time is spent on (3 steps under the profiler, ms a step; fused attention holds its own products, "
            "a custom function only the time beside its operations):",
            "",
        ]
        parts.append(_profile_table(measured))
        parts += ["", *(_largest(result) for result in measured), *(_within_compiled(result) for result in measured)]
    return "\n".join(parts)


def growth_table(points: Sequence[Point]) -> str:
    """A row per size."""
    rows = []
    for point in points:
        sizes = [point.model, point.series, f"x{point.size}" if point.series == "length" else str(point.batch), "/".join(map(str, point.steps))]
        if point.reason is not None or point.seconds is None or point.peak_bytes is None:
            rows.append([*sizes, str(point.batch), f"no number: {point.reason}", "", ""])
            continue
        rate = point.batch / point.seconds
        rows.append([*sizes, str(point.batch), f"{point.seconds:.4g}", f"{rate:.1f}", f"{point.peak_bytes / 1e6:.0f}"])
    return _table(["model", "grows", "size", "steps", "batch", "s a step (median)", "utterances/s", "peak MB above imports"], rows)


def goal_list(lines: Sequence[Line]) -> str:
    """A line per ratio."""
    return "\n".join(f"- {line}" for line in lines)


def _counts(found: Mapping[str, Any]) -> str:
    return (
        f"counted where attention weights are made {found['flops_counted'] / 1e9:.2f}, equations {found['flops_equations'] / 1e9:.2f}; "
        f"of the step as it is trained the counter sees {found['flops_fast'] / 1e9:.2f}"
    )


def _profile_table(results: Sequence[CellResult]) -> str:
    rows = []
    for kind in ORDER:
        row = [kind]
        for result in results:
            profile = result.rounds[-1]["profile"]
            taken = profile["seconds"].get(kind, 0.0)
            row.append(f"{1000 * taken:.1f} ({100 * taken / max(sum(profile['seconds'].values()), 1e-12):.0f} %)")
        rows.append(row)
    rows.append(["a step under the profiler", *(f"{1000 * result.rounds[-1]['profile']['wall_seconds']:.1f}" for result in results)])
    return _table(["kind", *(result.spec.name for result in results)], rows)


def _within_compiled(result: CellResult) -> str:
    shares = result.rounds[-1]["profile"]["compiled"]
    named = ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in shares.items())
    return f"- {result.spec.name}, within the compiled layers: {named or 'there are none here'}"


def _largest(result: CellResult) -> str:
    profile = result.rounds[-1]["profile"]
    named = ", ".join(f"{name} {1000 * taken:.1f}" for name, _, taken in profile["largest"][:8])
    unknown = ", ".join(f"{name} {1000 * taken:.1f}" for name, taken in profile["unknown"][:4])
    return f"- {result.spec.name}, costliest operations (ms a step): {named}" + (f"; custom or unknown: {unknown}" if unknown else "")


def _count(result: CellResult) -> str:
    return f"{result.ready['parameters']:,}" if "parameters" in result.ready else "?"


def _batch(result: CellResult) -> int:
    return len(result.spec.batches[0])


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)
