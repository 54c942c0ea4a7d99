"""Runs on a planted set, scored on test utterances that were never looked at; prints a Markdown table.

    multigrain data planted larger.store --seed 11 --test-size 5000
    python experiments/planted_fresh_test.py larger.store runs/planted/mcmut runs/planted/mult runs/planted/lf_lstm [--skip 1000]

A larger split of the same seed begins with the smaller one, and so the first `--skip` utterances are those of the store that the
runs know; the rest are new. Each folder holds the runs of one recipe, one a seed.
"""

import argparse
from pathlib import Path

import numpy as np

import multigrain
from multigrain.data.store import Store
from multigrain.evaluation.predict import predict_split
from multigrain.metrics import compute_metrics
from multigrain.models.base import MultimodalModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("recipes", type=Path, nargs="+", help="folders with seed-0, seed-1, ... in them")
    parser.add_argument("--skip", type=int, default=1000, help="utterances at the start of the test split that are not counted")
    options = parser.parse_args()
    store = Store.open(options.store)
    print("| runs | correlation (each seed) | MAE |\n| --- | --- | --- |")
    for folder in options.recipes:
        metrics = [_score(run, store, options.skip) for run in sorted(folder.glob("seed-*")) if (run / "results.json").is_file()]
        each = [values["correlation"] for values in metrics]
        cell = f"{np.mean(each):.3f} ({', '.join(f'{value:.3f}' for value in each)})"
        print(f"| {folder.name} | {cell} | {np.mean([values['mae'] for values in metrics]):.3f} |", flush=True)


def _score(run: Path, store: Store, skip: int) -> dict[str, float]:
    model = multigrain.load(str(run))
    assert isinstance(model, MultimodalModel)
    predictions = predict_split(model, store.split("test"))
    assert predictions.labels is not None
    return compute_metrics(model.task, predictions.scores[skip:], predictions.labels[skip:], ids=predictions.ids[skip:])


if __name__ == "__main__":
    main()
