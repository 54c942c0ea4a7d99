"""Five-fold results on the 120 utterances of ICT-MMMO that have text, audio and vision; prints a Markdown table.

    python experiments/mmmo_folds.py mmmo.npz [--folder mmmo] [--workers 2]

Each fold is a store of its own: a fifth of the utterances is tested, a fifth chooses the epoch, the rest trains. The test
predictions of the five folds are put together and scored once, so that every utterance counts exactly once.
"""

import argparse
from pathlib import Path

import numpy as np

from multigrain.data.convert import convert
from multigrain.data.readers import ReadOptions
from multigrain.data.store import Store
from multigrain.evaluation.compare import compare
from multigrain.evaluation.predict import read_predictions
from multigrain.metrics import compute_metrics

FOLDS = 5
RECIPES = ("mmmo_small/lf_lstm", "mmmo_small/mult", "mmmo_small/mcmut")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="mmmo.npz")
    parser.add_argument("--folder", type=Path, default=Path("mmmo"), help="where stores and runs go")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    scores: dict[str, list[np.ndarray]] = {recipe: [] for recipe in RECIPES}
    labels: list[np.ndarray] = []
    store = None
    for fold in range(FOLDS):
        path = options.folder / f"fold-{fold}.store"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            reading = ReadOptions(num_folds=FOLDS, fold=fold, from_splits=("valid", "test"), label_range=(1.0, 5.0))
            convert("arrays", options.source, path, reading)
        store = Store.open(path)
        comparison = compare(
            RECIPES,
            seeds=1,
            runs_root=options.folder / f"fold-{fold}",
            workers=options.workers,
            overrides=[f"data.store={path}"],
            progress=lambda line, fold=fold: print(f"  fold {fold}: {line}", flush=True),
        )
        for recipe in RECIPES:
            predictions = read_predictions(Path(comparison.row(recipe).run_folders[0]) / "predictions" / "test.csv")
            scores[recipe].append(predictions.scores)
        labels.append(predictions.labels)
    assert store is not None
    actual = np.concatenate(labels)
    print(f"\n{len(actual)} utterances, each tested once:\n\n| recipe | correlation | MAE |\n| --- | --- | --- |")
    for recipe in RECIPES:
        metrics = compute_metrics(store.task, np.concatenate(scores[recipe]), actual)
        print(f"| {recipe} | {metrics['correlation']:.3f} | {metrics['mae']:.3f} |")


if __name__ == "__main__":
    main()
