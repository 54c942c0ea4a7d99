"""Training on a GPU: correctness against the CPU, steps of MulT and MCMuT beside a plain implementation, and a whole run as large as MOSI's.

One command, under 10 minutes. **It has not been run on a GPU yet**: none could be had when it was written, so its goals are open. Where torch finds
no GPU it runs in a reduced form on the CPU, through the same code but for the capture of graphs, and says so; those numbers say nothing of a GPU.

    correctness   outputs and gradients in float32 against the CPU, dropout off; steps in buckets, as CUDA graphs, against launched ones
    steps         batch 64 and 512, at the length law and with all of 50/375/500 real, float32 (TF32) and bf16, three ways: a plain implementation
                  that pads to 50/375/500 and makes every attention matrix; ours launched from Python; ours as one CUDA graph for each
                  bucket of lengths
    run           MCMuT on 1,284 utterances, 30 epochs, validation after each and the test at the end

Beside the times stand the share of the card's measured bf16 or TF32 matrix-product peak (operations from the models' equations, at a batch's longest
lengths) and of its measured bandwidth (what the step's operations read and write when they are launched one by one, counted; fused kernels
count their inputs and outputs alone).

    python benchmarks/gpu.py [--json FILE] [--seconds 540] [--precisions tf32 bf16] [--parts correctness steps run] [--cpu]
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from card.cells import FULL, GRAPHED, LAUNCHED, LAW, PLAIN, CardCell, measure_cell
from card.correctness import checks
from card.peaks import bandwidth, product_peak
from card.precision import PRECISIONS
from card.report import STEP_GOAL, cell_table, check_table, header, ratio_lines, run_lines
from card.whole_run import MOSI, train_whole
from step.processes import say

from multigrain.benchmark.machine import machine_facts

PARTS = ("correctness", "steps", "run")
RUN_RESERVE_SECONDS = 150.0  # kept for the whole run, whatever the steps take


def main() -> int:
    """Measures, prints Markdown, and gives 1 where a comparison of correctness fails."""
    options = _parser().parse_args()
    end = time.monotonic() + options.seconds
    is_reduced = options.cpu or not torch.cuda.is_available()
    device = torch.device("cpu" if is_reduced else "cuda", None if is_reduced else torch.cuda.current_device())
    answers: dict[str, Any] = {"machine": machine_facts(), "device": "cpu" if is_reduced else torch.cuda.get_device_name(device)}
    answers["reduced"] = is_reduced
    answers["peaks"] = _peaks(device, options.precisions, is_reduced)
    print(f"# Training on a GPU\n\n{header(answers)}\n", flush=True)
    is_right = True
    if "correctness" in options.parts:
        found = list(checks(device))
        is_right = all(check.holds for check in found)
        answers["checks"] = [check.to_dict() for check in found]
        print(f"## Correctness\n\n{check_table(found)}\n", flush=True)
    if "steps" in options.parts:
        cells = _steps(device, options.precisions, is_reduced, end - (RUN_RESERVE_SECONDS if "run" in options.parts else 0.0))
        answers["cells"] = [cell.to_dict() for cell in cells]
        print(f"## Steps\n\n{cell_table(cells, answers['peaks'])}\n\n{ratio_lines(cells, is_reduced)}\n", flush=True)
    if "run" in options.parts:
        say("a whole run")
        size = (
            {"epochs": 1, "batch": 8, "counts": {"train": 20, "valid": 8, "test": 8}} if is_reduced else {"epochs": 30, "batch": 64, "counts": MOSI}
        )
        answers["run"] = train_whole(device, precision=options.precisions[-1] if not is_reduced else "float32", **size)  # type: ignore[arg-type]
        print(f"## A whole run\n\n{run_lines(answers['run'], is_reduced)}\n", flush=True)
    answers["load_at_end"] = list(os.getloadavg())
    if options.json:
        options.json.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
    return 0 if is_right else 1


def _peaks(device: torch.device, precisions: list[str], is_reduced: bool) -> dict[str, float]:
    """Operations a second for each precision, and bytes a second as `bandwidth`."""
    size, elements = (512, 1 << 22) if is_reduced else (8192, 1 << 29)
    used = ["float32"] if is_reduced else precisions
    return {**{name: product_peak(device, name, size=size) for name in used}, "bandwidth": bandwidth(device, elements=elements)}


def _steps(device: torch.device, precisions: list[str], is_reduced: bool, end: float) -> list[CardCell]:
    """All cells, the ones that the goals are about first; those for which no time is left say so."""
    batches, used, seconds = ((2,), ["float32"], 0.0) if is_reduced else ((64, 512), precisions, 3.0)
    cells = [
        CardCell(model=model, batch=batch, input=kind, precision=precision, way=way)
        for batch in batches
        for kind in (LAW, FULL)
        for model in ("mult", "mcmut")
        for precision in used
        for way in (GRAPHED, PLAIN, LAUNCHED)
    ]
    for cell in cells:
        if time.monotonic() > end:
            cell.error = "no time was left"
            continue
        say(f"{cell.model}, batch {cell.batch}, {cell.input}, {cell.precision}, {cell.way}")
        measure_cell(cell, device, seconds=seconds, batches_a_round=1 if is_reduced else 6)
    return cells


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to do")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["tf32", "bf16"], help="of the steps; the whole run takes the last")
    parser.add_argument("--seconds", type=float, default=540.0, help=f"when no further cell is started; the goal is {STEP_GOAL} times at batch 64")
    parser.add_argument("--cpu", action="store_true", help="the reduced form on the CPU, even where there is a GPU")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything at full precision, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
