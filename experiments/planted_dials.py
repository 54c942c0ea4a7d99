"""MCMuT and MulT on the planted set as one dial after the other is turned up; prints a Markdown table.

    python experiments/planted_dials.py [--seeds 2] [--workers 2] [--folder dials] [--only keys] [--data-seed 13]

Each row is a planted set of its own; each model is trained on it with the package's planted recipes and scored on its test
split. An interrupted sweep is taken up where it stopped. The oracle is the best prediction that there is.
"""

import argparse
import dataclasses
from pathlib import Path

from multigrain.data.planted import PlantedConfig, write_planted_store
from multigrain.evaluation.compare import compare

DIALS: dict[str, tuple[tuple[str, PlantedConfig], ...]] = {
    "default": (("as it is", PlantedConfig()),),
    "keys": (("10 keys", PlantedConfig(num_keys=10)),),
    "distractors": (("1 distractor event a modality", PlantedConfig(audio_distractors=1.0, vision_distractors=1.0)),),
    "polar words": (("2 to 4 polar words", PlantedConfig(min_polar_words=2, max_polar_words=4)),),
    "training size": (
        ("3,000 to train on", PlantedConfig(train_size=3000)),
        ("12,000 to train on", PlantedConfig(train_size=12000)),
    ),
}
RECIPES = ("planted/mcmut", "planted/mult")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="runs at once, each on one thread")
    parser.add_argument("--folder", type=Path, default=Path("dials"), help="where stores and runs go")
    parser.add_argument("--data-seed", type=int, default=13, help="of the planted sets; that of the README's table by default")
    parser.add_argument("--only", choices=[*DIALS], action="append", help="only this dial; may be given several times")
    parser.add_argument("--recipe", action="append", help="a recipe to train; by default planted/mcmut and planted/mult")
    options = parser.parse_args()
    recipes = tuple(options.recipe or RECIPES)
    rows = [f"| dial | {' | '.join(recipes)} | oracle |", f"| --- |{' --- |' * (len(recipes) + 1)}"]
    for dial in options.only or DIALS:
        for setting, config in DIALS[dial]:
            store = options.folder / f"{setting.replace(' ', '-').replace(',', '')}.store"
            if not store.exists():
                store.parent.mkdir(parents=True, exist_ok=True)
                write_planted_store(store, dataclasses.replace(config, seed=options.data_seed))
            comparison = compare(
                recipes,
                seeds=options.seeds,
                runs_root=options.folder / store.stem,
                workers=options.workers,
                overrides=[f"data.store={store}"],
                progress=lambda line, setting=setting: print(f"  {setting}: {line}", flush=True),
            )
            cells = [_cell(comparison.row(recipe).values["correlation"]) for recipe in recipes]
            oracle = (comparison.oracle or {})["correlation"]
            rows.append(f"| {dial}: {setting} | {' | '.join(cells)} | {oracle:.3f} |")
            print(rows[-1], flush=True)
    print("\nCorrelation on the test split, mean over seeds (each seed):\n")
    print("\n".join(rows))


def _cell(values: tuple[float, ...]) -> str:
    return f"{sum(values) / len(values):.3f} ({', '.join(f'{value:.3f}' for value in values)})"


if __name__ == "__main__":
    main()
