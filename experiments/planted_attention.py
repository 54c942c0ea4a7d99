"""How much of a polar word's attention falls on its own event, in runs on a planted set; prints a Markdown table.

    python experiments/planted_attention.py planted.store runs/planted/mcmut runs/planted/mult runs/planted/mmin [--utterances 300]

Each folder holds the runs of one recipe, one a seed, as `multigrain compare` leaves them. The head is chosen on the validation
split, the share is of the test split; chance is one over the number of the source's steps. "Found" is the share of the words whose own
event gets that head's largest weight: sharper weights alone do not raise it. "Zero" is the share of weights that are exactly zero, of models
with sparsemax.
"""

import argparse
from pathlib import Path

import multigrain
from multigrain.data.store import Store
from multigrain.evaluation.attention import DIRECTIONS, score_attention
from multigrain.evaluation.zero_attention import zero_attention_of_run
from multigrain.models.base import MultimodalModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("recipes", type=Path, nargs="+", help="folders with seed-0, seed-1, ... in them")
    parser.add_argument("--utterances", type=int, help="look at so many of each split; by default at all")
    options = parser.parse_args()
    store = Store.open(options.store)
    print("| runs | direction | best head, % (each seed) | found by it, % (each seed) | mean of all heads, % | chance, % | zero, % |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for folder in options.recipes:
        runs = sorted(run for run in folder.glob("seed-*") if (run / "results.json").is_file())
        scores = [score_attention(_load(run), store, num_utterances=options.utterances) for run in runs]
        for direction in DIRECTIONS:
            found = [score[direction] for score in scores if direction in score]
            if found:
                best = [100 * score.best_head_share for score in found]
                overall = sum(100 * score.overall for score in found) / len(found)
                words = [100 * score.best_head_found for score in found]
                zeros = [100 * share[direction] for run in runs if direction in (share := zero_attention_of_run(run))]
                zero = f"{sum(zeros) / len(zeros):.0f}" if zeros else ""
                print(
                    f"| {folder.name} | {direction} | {_cell(best)} | {_cell(words)} | {overall:.0f} | {100 * found[0].chance:.0f} | {zero} |",
                    flush=True,
                )


def _cell(values: list[float]) -> str:
    return f"{sum(values) / len(values):.0f} ({', '.join(f'{value:.0f}' for value in values)})"


def _load(run: Path) -> MultimodalModel:
    model = multigrain.load(str(run))
    assert isinstance(model, MultimodalModel)
    return model


if __name__ == "__main__":
    main()
