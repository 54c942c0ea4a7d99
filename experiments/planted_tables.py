"""The tables of docs/decisions/planted-experiments.md: equal depth, the paper's Table 4 and Table 6, residuals, chains; prints them as Markdown.

    python experiments/planted_tables.py depth_6 --seeds 5
    python experiments/planted_tables.py table_4 --seeds 2
    python experiments/planted_tables.py table_6 --seeds 2
    python experiments/planted_tables.py residual --seeds 2
    python experiments/planted_tables.py chain --seeds 2

Each makes its store where it is not there yet, trains what is missing (an interrupted table is taken up where it stopped), scores the
epoch that validation chose on the test split, and asks the same weights to predict with the lowest scale alone (`evaluate --scales`).
Shown are means over seeds, each seed, and the mean of what each seed loses without its higher scales.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from multigrain.data.planted import PlantedConfig, write_planted_store
from multigrain.evaluation.compare import compare
from multigrain.evaluation.evaluate import open_model_and_store, read_run
from multigrain.evaluation.scales import measure_scales


@dataclass(frozen=True)
class Table:
    """Which recipes stand in a table, and on what they are trained.

    Attributes:
        recipes: its rows.
        config: of the planted set.
        epochs: equal for all rows.
    """

    recipes: tuple[str, ...]
    config: PlantedConfig
    epochs: int


_SMALL = PlantedConfig(seed=13, train_size=4000)
_CHAINS = PlantedConfig(seed=13, num_keys=3, max_polar_words=2, min_words=4, max_words=7, chain_length=3, train_size=24000)
TABLES = {
    "depth_6": Table(
        (
            *(f"planted/depth_6/{name}" for name in ("mcmut", "mcmut_dense", "mcmut_local_dense")),
            "planted/depth_2/mcmut_global",
            "planted/depth_6/mult",
        ),
        _SMALL,
        12,
    ),
    "table_4": Table(
        ("planted/table_4/mult_5", "planted/table_4/mult_7", "planted/table_4/mult_10", "planted/table_4/mult_12", "planted/table_4/mcmut"),
        _SMALL,
        12,
    ),
    "table_6": Table(
        (*(f"planted/table_6/mcmut_b{blocks}" for blocks in range(1, 6)), *(f"planted/table_6/mcmut_l{layers}" for layers in (1, 2, 4))), _SMALL, 12
    ),
    "residual": Table(
        ("planted/table_4/mult_12", "planted/table_4/mult_12_normalised", "planted/table_4/mcmut", "planted/table_4/mcmut_plain_residual"), _SMALL, 12
    ),
    "chain": Table(("planted/chain/mcmut", "planted/chain/mult", "planted/chain/mult_two_summary_layers"), _CHAINS, 5),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=[*TABLES])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="runs at once, each on one thread")
    parser.add_argument("--folder", type=Path, default=Path("planted_tables"), help="where stores and runs go")
    options = parser.parse_args()
    table = TABLES[options.table]
    store = options.folder / ("chain.store" if options.table == "chain" else "small.store")
    if not store.exists():
        options.folder.mkdir(parents=True, exist_ok=True)
        write_planted_store(store, table.config)
    comparison = compare(
        table.recipes,
        seeds=options.seeds,
        runs_root=options.folder / "runs",
        workers=options.workers,
        overrides=[f"data.store={store}", f"training.epochs={table.epochs}", "training.num_threads=1"],
        progress=lambda line: print(f"  {line}", flush=True),
    )
    print("| recipe | parameters | MAE | Corr (each seed) | with the lowest scale alone, Corr (each seed) |\n| --- | --- | --- | --- | --- |")
    for recipe in table.recipes:
        values, runs = comparison.row(recipe).values, [options.folder / "runs" / recipe / f"seed-{seed}" for seed in range(options.seeds)]
        parameters, lowest = _lowest_alone(runs)
        cells = [f"{parameters:,}", f"{fmean(values['mae']):.3f}", _each(values["correlation"]), _each(lowest) if lowest else ""]
        print(f"| {recipe} | {' | '.join(cells)} |", flush=True)
    if comparison.oracle is not None:
        print(f"| oracle | | {comparison.oracle['mae']:.3f} | {comparison.oracle['correlation']:.3f} | |")


def _lowest_alone(runs: Sequence[Path]) -> tuple[int, list[float]]:
    """Parameters of the runs' model, and each run's test correlation without the higher scales; none where there is but one scale."""
    found = []
    for run in runs:
        model, store = open_model_and_store(read_run(run), None)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        if "only scale 0" in model.ablations:
            results = {result.name: result.metrics for result in measure_scales(model, store.split("test")).results}
            found.append(results["only scale 0"]["correlation"])
    return parameters, found


def _each(values: Sequence[float]) -> str:
    return f"{fmean(values):.3f} ({' '.join(f'{value:.3f}'.removeprefix('0') for value in values)})"


if __name__ == "__main__":
    main()
