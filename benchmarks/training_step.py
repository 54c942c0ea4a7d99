"""How long a training step takes and how much memory, beside MMSA's MulT and the authors' own, at MOSI's real lengths.

Prints tables in Markdown. Each cell runs in a process of its own; the rounds of competing cells are taken in turn. The parts:

    unaligned   a step of MulT and MCMuT at real lengths and with all of 50/375/500 real; MMSA's MulT on the padded utterances
    aligned     the same at 50/50/50
    inference   predictions without gradients at batch 64: ours in batches of like length through the whole split, as `predict_split` makes
                them; MMSA's on the same utterances, padded as its loader makes them, where no batch is cheaper than another
    mmin        a step of MMIN over a language model's cached states, beside MMSA's MISA
    limit       operations of our steps over their time, beside the machine's matrix-product peak, and a profile
    growth      time and memory at lengths x1 to x8 and batches of 8 to 256 (only when asked for)

MMSA runs in an environment that the script makes by itself (`--mmsa-env`, at first a minute or two and 1.5 GB); nothing is installed
into the running one. Run it on a quiet machine: the load is printed.

    python benchmarks/training_step.py [--growth] [--official CHECKOUT] [--words meta.csv] [--json FILE]
    python benchmarks/training_step.py --quick --parts unaligned --no-mmsa
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from step.processes import CELL_COMMAND, CellResult, run_cells, say
from step.spec import DROPOUTS

from multigrain.errors import MultigrainError

PARTS = ("unaligned", "aligned", "inference", "mmin", "limit", "growth")


def main() -> None:
    if sys.argv[1:2] == [CELL_COMMAND]:
        from step.cell import serve_cell  # in a cell's process, which may be MMSA's environment

        serve_cell()
        return
    parser = _parser()
    options = parser.parse_args()
    if options.words and not options.words.is_file():
        parser.error(f"--words {options.words}: there is no such file")
    if options.quick:
        options.rounds, options.steps = min(options.rounds, 2), min(options.steps, 4)
    parts = [part for part in PARTS if part in options.parts or (part == "growth" and options.growth)]
    try:
        answers = measure(options, parts)
    except MultigrainError as error:
        parser.error(str(error))
    if options.json:
        options.json.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
        say(f"wrote {options.json}")


def measure(options: argparse.Namespace, parts: list[str]) -> dict[str, Any]:
    """Runs the parts one after the other, prints each when it is done, and gives everything as JSON values."""
    from step import report
    from step.cells import Cells, Choices
    from step.goals import growth_lines, ratio_lines
    from step.growth import measure_growth

    from multigrain.benchmark.machine import machine_facts

    facts = machine_facts()
    pythons, with_mmsa = _pythons(options, parts)
    names = ("utterances", "batch", "steps", "words", "threads", "seed", "dropouts", "future_mask", "official", "extras")
    cells = Cells(Choices(**{name: getattr(options, name) for name in names}, with_mmsa=with_mmsa))
    title = "# Training step" + (": a quick trial, no measurement to quote" if options.quick else "")
    print(f"{title}\n\n{report.header(facts, cells)}\n", flush=True)
    results: dict[str, CellResult] = {}
    loads, points = {}, []
    for part in parts:
        start, load = time.perf_counter(), os.getloadavg()
        if part == "growth":
            rounds = 1 if options.quick else 3
            points = measure_growth(
                lambda specs, count: run_cells(specs, pythons, rounds=count, limit_seconds=options.cell_seconds),
                rounds=rounds,
                threads=options.threads,
                seed=options.seed,
                budget_seconds=60 * (min(options.growth_minutes, 4) if options.quick else options.growth_minutes),
            )
            body = report.growth_table(points)
        else:
            rounds = 1 if part == "limit" else options.rounds
            found = run_cells(getattr(cells, part)(), pythons, rounds=rounds, limit_seconds=options.cell_seconds)
            results |= {result.spec.key: result for result in found}
            body = report.limit_section(found) if part == "limit" else report.cell_table(found)
        loads[part] = [load, os.getloadavg()]
        print(
            f"## {part.capitalize()}\n\n{body}\n\n{time.perf_counter() - start:.0f} s; load {load[0]:.2f} before, {os.getloadavg()[0]:.2f} after\n",
            flush=True,
        )
    lines = ratio_lines(results) + (growth_lines(points) if points else [])
    print(f"## Ratios\n\n{report.goal_list(lines) or 'Nothing to compare was measured.'}")
    return {
        "machine": facts,
        "options": {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()},
        "padding_waste": {"bucketed": cells.bucketed.waste, "random": cells.random.waste},
        "words": {"mean": float(cells.words.mean()), "most": int(cells.words.max())},
        "loads": loads,
        "cells": [result.to_dict() for result in results.values()],
        "growth": [point.to_dict() for point in points],
        "ratios": [line.to_dict() for line in lines],
    }


def _pythons(options: argparse.Namespace, parts: list[str]) -> tuple[dict[str, str], bool]:
    """The interpreter of each implementation, and whether MMSA's is there."""
    pythons = {"ours": sys.executable, "official": sys.executable, "mmsa": ""}
    if options.no_mmsa or not {"unaligned", "aligned", "inference", "mmin"} & set(parts):
        return pythons, False
    from step.mmsa_environment import default_folder, mmsa_python

    try:
        pythons["mmsa"] = mmsa_python(options.mmsa_env or default_folder())
    except (RuntimeError, OSError) as error:
        print(f"**MMSA is left out: {error}**\n")
        return pythons, False
    return pythons, True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[part for part in PARTS if part != "growth"], help="what to measure")
    parser.add_argument("--growth", action="store_true", help="also measure growth")
    parser.add_argument("--quick", action="store_true", help="two rounds of few steps, to see that it runs")
    parser.add_argument("--threads", type=_at_least_one, default=2, help="torch's threads (default 2)")
    parser.add_argument("--rounds", type=_at_least_one, default=5, help="timed rounds of each cell, after warm-up (default 5)")
    parser.add_argument("--steps", type=_at_least_one, default=27, help="steps a round of ours times at real lengths (default 27)")
    parser.add_argument("--batch", type=_at_least_one, default=16, help="utterances of a training step (default 16)")
    parser.add_argument("--utterances", type=_at_least_one, default=1284, help="utterances of the epoch that batches come from (default 1284)")
    parser.add_argument("--words", type=Path, metavar="CSV", help="draw word counts from this file's `text` column")
    parser.add_argument("--seed", type=int, default=0, help="of the draw, the parameters and the features (default 0)")
    parser.add_argument("--dropouts", choices=tuple(DROPOUTS), default="authors", help="MulT's published rates, for all: the authors' or MMSA's")
    parser.add_argument("--future-mask", action="store_true", help="give our MulT the future mask that the others have")
    parser.add_argument("--extras", action="store_true", help="also padded input with masks, and aligned input at real lengths")
    parser.add_argument("--no-mmsa", action="store_true", help="leave MMSA out")
    parser.add_argument("--mmsa-env", type=Path, metavar="DIR", help="where MMSA's environment is or shall be made (default: in the user's cache)")
    parser.add_argument("--official", type=Path, metavar="DIR", help="checkout of the MulT authors' code, to measure that too")
    parser.add_argument("--cell-seconds", type=float, default=900.0, help="the most that a cell's warm-up or round may take (default 900)")
    parser.add_argument("--growth-minutes", type=float, default=20.0, help="the most that growth may take (default 20)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything at full precision, too")
    return parser


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


if __name__ == "__main__":
    main()
