"""What each use of a language model gives and costs: trains recipes with several seeds and prints two Markdown tables.

    python experiments/language_modes.py mosi_text/minilm mosi_text/mmin_minilm_frozen mosi_text/mmin_minilm_lora mosi_text/mmin_minilm \\
        --store mosi_text.store [--seeds 0 1 2 3 4] [--runs-root runs] [--only-train]

The first table is that of `multigrain compare`. The second says what a run costs: seconds from start to end, imports and predictions
included, and the most resident memory, of a process that trains this one run. Each run is such a process, and leaves what it cost in
`cost.json` in its folder; a run that was trained otherwise is compared, but has no cost. Runs that are there are not trained again. On a
machine that does other things too, the fastest epoch of all says more than the mean.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from multigrain.evaluation.compare import compare
from multigrain.evaluation.tables import HEADLINE_METRICS, differences_table, results_table, to_markdown
from multigrain.training.recipe_file import load_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+", help="names or files of recipes; the others are tested against the first")
    parser.add_argument("--store", type=Path, required=True, help="of transcripts, such as mosi_text.store")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--runs-root", type=Path, default=Path("runs"))
    parser.add_argument("--only-train", action="store_true", help="train what is missing, print no table")
    options = parser.parse_args()
    override = f"data.store={options.store}"
    names = {source: load_recipe(source, [override]).name for source in options.recipes}
    for seed in options.seeds:
        for source, name in names.items():
            folder = options.runs_root / name / f"seed-{seed}"
            if not (folder / "results.json").is_file():
                _train(source, override, seed, folder)
    if options.only_train:
        return
    first = next(iter(names.values()))
    compared = compare(options.recipes, seeds=options.seeds, runs_root=options.runs_root, reference=first, overrides=[override], progress=_say)
    metrics = tuple(name for name in HEADLINE_METRICS if name in compared.metrics) or None
    print(to_markdown(results_table(compared, metrics)))
    print(to_markdown(differences_table(compared)))
    print("| recipe | trained parameters | seconds a run (range) | seconds an epoch, fastest | peak memory, MB | checkpoint, MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in compared.rows:
        print(_cost_line(row.name, [Path(folder) for folder in row.run_folders]))


def _train(source: str, override: str, seed: int, folder: Path) -> None:
    """Trains one run in a process of its own, and writes its cost beside its results."""
    command = [sys.executable, "-m", "multigrain", "train", source, override, "--seed", str(seed), "--run-folder", str(folder), "--overwrite"]
    _say(" ".join(command[1:]))
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"The run in {folder} ended with exit code {child.returncode}.")
    unit = 1 if sys.platform == "darwin" else 1024
    cost = {"seconds": time.perf_counter() - start, "peak_bytes": usage.ru_maxrss * unit, "load_at_the_end": os.getloadavg()[0]}
    (folder / "cost.json").write_text(json.dumps(cost) + "\n", encoding="utf-8")


def _cost_line(name: str, folders: list[Path]) -> str:
    costs: list[dict[str, Any]] = [json.loads(path.read_text(encoding="utf-8")) for folder in folders if (path := folder / "cost.json").is_file()]
    facts = json.loads((folders[0] / "run.json").read_text(encoding="utf-8"))
    checkpoint = sum(path.stat().st_size for path in (folders[0] / "checkpoints" / "best").rglob("*") if path.is_file())
    trained = facts.get("trained_parameters", facts["parameters"])
    seconds = [cost["seconds"] for cost in costs]
    times = f"{statistics.fmean(seconds):.0f} ({min(seconds):.0f} to {max(seconds):.0f})" if costs else "not measured"
    memory = f"{max(cost['peak_bytes'] for cost in costs) / 1e6:.0f}" if costs else "not measured"
    lines = [line for folder in folders for line in (folder / "timing.jsonl").read_text(encoding="utf-8").splitlines()]
    fastest = min(json.loads(line)["seconds"] for line in lines)
    return f"| {name} | {trained:,} | {times} | {fastest:.1f} | {memory} | {checkpoint / 1e6:.1f} |"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
