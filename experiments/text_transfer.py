"""Does sentiment learned from one set of transcripts carry over to another? Prints a Markdown table.

    python experiments/text_transfer.py mosi_text/mmin_minilm --stores mosi_text.store meld.store [--seeds 0 1 2] [--runs-root transfer]
    python experiments/text_transfer.py mosi_text/mmin_minilm --stores mosi_text.store meld.store --epochs meld=2 --only-train meld

Trains the recipe on each store and tests each run on every store's test split. All stores need labels on one scale, as with MELD's sentiments
as -2, 0 and 2 beside MOSI's -3 to 3. Beside correlation and MAE stands how well the score tells three classes: labels and
scores below -1 are negative, above 1 positive, and what lies between is neutral, a cut that is halfway between MELD's values and that no run
was asked about. Chance is what always saying the test split's largest class gets. A run that is there is not trained again.
"""

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np

from multigrain.data.store import Store
from multigrain.evaluation.evaluate import open_model_and_store, read_run
from multigrain.evaluation.predict import predict_split
from multigrain.metrics import compute_metrics
from multigrain.training.recipe_file import load_recipe
from multigrain.training.train import train_run

CUT = 1.0
COLUMNS = ("correlation", "mae", "accuracy_2_non0", "accuracy_3", "f1_3", "chance_3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="name or file; reads transcripts through a language model")
    parser.add_argument("--stores", type=Path, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", nargs="*", default=[], metavar="STORE=N", help="epochs on STORE (without .store) in place of the recipe's")
    parser.add_argument("--runs-root", type=Path, default=Path("transfer"), help="runs go to RUNS-ROOT/STORE/RECIPE/seed-S")
    parser.add_argument("--only-train", nargs="*", metavar="STORE", help="train on these stores (all, if none is named), print no table")
    options = parser.parse_args()
    epochs = dict(entry.split("=", 1) for entry in options.epochs)
    wanted = None if not options.only_train else set(options.only_train)
    folders: dict[str, list[Path]] = {}
    for store in options.stores:
        overrides = [f"data.store={store}", *([f"training.epochs={epochs[store.stem]}"] if store.stem in epochs else [])]
        recipe = load_recipe(options.recipe, overrides)
        folders[store.stem] = [options.runs_root / store.stem / recipe.name / f"seed-{seed}" for seed in options.seeds]
        for seed, folder in zip(options.seeds, folders[store.stem], strict=True):
            if not (folder / "results.json").is_file() and (wanted is None or store.stem in wanted):
                print(f"training on {store.stem}, seed {seed}", file=sys.stderr, flush=True)
                train_run(recipe, run_folder=folder, seed=seed, overwrite=True)
    if options.only_train is not None:
        return
    print(f"| trained on | tested on | seeds | {' | '.join(COLUMNS)} |\n{'| --- ' * (3 + len(COLUMNS))}|")
    for trained, runs in folders.items():
        for store in options.stores:
            scores = [_scores(run, store) for run in runs]
            cells = [_cell([score[column] for score in scores]) for column in COLUMNS]
            print(f"| {trained} | {store.stem} | {len(runs)} | {' | '.join(cells)} |", flush=True)


def _scores(run: Path, path: Path) -> dict[str, float]:
    """A run's figures on the test split of a store."""
    model, store = open_model_and_store(read_run(run), path)
    predictions = predict_split(model, store.split("test"))
    assert predictions.labels is not None
    metrics = compute_metrics(Store.open(path).task, predictions.scores, predictions.labels)
    actual, said = (np.where(values < -CUT, -1, np.where(values > CUT, 1, 0))[:, 0] for values in (predictions.labels, predictions.scores))
    hits = {value: float(((said == value) & (actual == value)).sum()) for value in (-1, 0, 1)}
    f1 = [2 * hits[value] / max(1.0, float((said == value).sum() + (actual == value).sum())) for value in (-1, 0, 1)]
    shares = [float((actual == value).mean()) for value in (-1, 0, 1)]
    return {**metrics, "accuracy_3": float((said == actual).mean()), "f1_3": statistics.fmean(f1), "chance_3": max(shares)}


def _cell(values: list[float]) -> str:
    spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


if __name__ == "__main__":
    main()
