"""From the stores to the default checkpoint: trains its parts, decides which are used, joins and calibrates them, and measures the result once.

    python experiments/default_checkpoint/build.py --stores FOLDER --runs runs/default --out src/multigrain/assets/default_checkpoint

The parts are the recipes default/text, default/voice and default/face. A part is used if, on validation people, it errs less than a constant
does, beyond chance (bootstrap over people). Reliabilities and intervals come from validation. The test splits are read once, at the end, by what is
then written: the checkpoint, its conformal.json, figures.json with every figure of docs/default-checkpoint.md, and its card.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multigrain.data.store import Store
from multigrain.evaluation.conformal import COVERAGE, Conformal, modality_key
from multigrain.evaluation.evaluate import read_run
from multigrain.evaluation.predict import Predictions
from multigrain.metrics import compute_metrics
from multigrain.models import LateFusion, load
from multigrain.schema import MODALITIES, SPLITS, Task
from multigrain.training.recipe_file import load_recipe
from multigrain.training.train import train_run

PARTS = {"text": "text", "audio": "voice", "vision": "face"}
"""Modality -> the recipe default/NAME that learns it."""
STORES = {"text": ("mosi_text",), "audio": ("ravdess", "emodb"), "vision": ("faces",)}
COMPANION_SHARE = 0.25
"""How much of its evidence voice and face count for beside words. See docs/decisions/default-checkpoint.md."""
CARRIES_OVER = {"text": 1.0, "audio": 0.4, "vision": 1.0}
"""What a part's score is multiplied with. The voice's is the slope of labels on scores where it learned from one set and is heard on the other
(0.51 and 0.37): recordings differ more than people do. The same page has the figures."""
RESAMPLES = 1000
PAIRINGS = 20
"""How often made utterances are put together anew."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-test", action="store_true", help="for stores without test splits, to choose settings")
    options = parser.parse_args()
    trained = {modality: train(modality, options.stores, options.runs, options.seed) for modality in MODALITIES}
    valid = {modality: predictions(modality, run, "valid") for modality, run in trained.items()}
    gains = {modality: gain_over_constant(predicted) for modality, predicted in valid.items()}
    used = [modality for modality in MODALITIES if gains[modality]["low"] > 0]
    reliability = {modality: explained_variance(valid[modality]) for modality in used}
    model = LateFusion.joined([part(modality, trained[modality]) for modality in used], reliability, companion_share=COMPANION_SHARE)
    conformal = calibrate(model, {modality: valid[modality] for modality in used})
    options.out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(options.out)
    conformal.write(options.out)
    figures: dict[str, Any] = {
        "used": used,
        "gain_over_constant": gains,
        "reliability": reliability,
        "companion_share": COMPANION_SHARE,
        "carries_over": CARRIES_OVER,
    }
    figures["people"] = {modality: people(options.stores, modality) for modality in trained}
    figures["valid"] = measured(model, valid, conformal)
    if not options.without_test:
        figures["test"] = measured(model, {modality: predictions(modality, run, "test") for modality, run in trained.items()}, conformal)
    (options.out / "README.md").write_text(card(figures), encoding="utf-8")
    (options.out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))


# Training -------------------------------------------------------------------------------------------------------


def train(modality: str, stores: Path, runs: Path, seed: int) -> Path:
    """Trains one part, unless that is done, and returns its run folder."""
    paths = [str(stores / f"{name}.store") for name in STORES[modality]]
    keys = ["data.store"] if modality == "text" else [f"data.stores.{index}.path" for index in range(len(paths))]
    recipe = load_recipe(f"default/{PARTS[modality]}", [f"{key}={path}" for key, path in zip(keys, paths, strict=True)])
    folder = runs / PARTS[modality] / f"seed-{seed}"
    if not (folder / "results.json").is_file():
        train_run(recipe, run_folder=folder, seed=seed, resume=folder.exists())
    return folder


def part(modality: str, run: Path) -> LateFusion:
    """The model of a run, its score taken for as much as carries over."""
    model = load(str(run))
    assert isinstance(model, LateFusion)
    with torch.no_grad():
        for parameter in model.scores[modality].output.parameters():
            parameter.mul_(CARRIES_OVER[modality])
    return model


def predictions(modality: str, run: Path, split: str) -> Predictions:
    """What a run's best epoch says of a split, taken for as much as carries over."""
    found = read_run(run).predictions(split)
    return replace(found, scores=found.scores * np.float32(CARRIES_OVER[modality]))


# Deciding -------------------------------------------------------------------------------------------------------


def errors_of(predicted: Predictions) -> np.ndarray:
    """Labels minus scores."""
    assert predicted.labels is not None
    return (predicted.labels - predicted.scores)[:, 0].astype(np.float64)


def gain_over_constant(predicted: Predictions) -> dict[str, float]:
    """By how much the mean absolute error is lower than that of the best constant, with a 95 % interval over people."""
    assert predicted.labels is not None
    constant = np.abs(predicted.labels[:, 0] - np.median(predicted.labels[:, 0]))
    return over_people(predicted.groups, lambda rows: float((constant[rows] - np.abs(errors_of(predicted)[rows])).mean()))


def over_people(groups: tuple[str, ...], figure: Any) -> dict[str, float]:
    """A figure of chosen rows, with its 95 % bootstrap interval over people or videos, all rows of one at a time."""
    names = sorted(set(groups))
    rows_of = [np.flatnonzero(np.array(groups) == name) for name in names]
    generator = np.random.default_rng(0)
    draws = [figure(np.concatenate([rows_of[place] for place in generator.integers(0, len(names), len(names))])) for _ in range(RESAMPLES)]
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return {"value": figure(np.arange(len(groups))), "low": float(low), "high": float(high)}


def explained_variance(predicted: Predictions) -> float:
    """The share of the labels' variance that the scores explain."""
    assert predicted.labels is not None
    return float(max(0.0, 1.0 - np.mean(errors_of(predicted) ** 2) / np.var(predicted.labels)))


# Intervals --------------------------------------------------------------------------------------------------------


def made_utterances(valid: Mapping[str, Predictions], modalities: list[str], agree: bool, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Utterances put together from people of different data sets, since no set has words, voice and face.

    Args:
        valid: each modality's predictions.
        modalities: the first one gives label and score, the others a score each.
        agree: take partners with the label nearest to the first one's; else partners without regard to it.
        seed: of the choice.

    Returns:
        The scores of each modality, and the labels.
    """
    generator = np.random.default_rng(seed)
    first, *others = modalities
    labels = valid[first].labels
    assert labels is not None
    scores = {first: valid[first].scores[:, 0]}
    for name in others:
        own = valid[name].labels
        assert own is not None
        order = generator.permutation(len(own))
        distance = np.abs(own[order, 0][None] - labels) + generator.uniform(0, 1e-6, (len(labels), len(own)))
        chosen = distance.argmin(axis=1) if agree else generator.integers(0, len(own), len(labels))
        scores[name] = valid[name].scores[order[chosen], 0]
    return scores, labels[:, 0]


def combined(model: LateFusion, scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """The model's score for given scores of its modalities."""
    size = len(next(iter(scores.values())))
    given = torch.stack([torch.from_numpy(scores.get(name, np.zeros(size, np.float32))) for name in model.features]).unsqueeze(-1)
    is_present = torch.tensor([name in scores for name in model.features]).unsqueeze(1).expand(-1, size)
    return model.combine(given, is_present)[:, 0].numpy().astype(np.float64)


def calibrate(model: LateFusion, valid: Mapping[str, Predictions]) -> Conformal:
    """Intervals for every subset of the modalities that are used; for several, with partners that have nothing to do with the label."""
    residuals = {modality_key(present): np.abs(subset_errors(model, valid, present, agree=False, pairings=1)) for present in subsets(list(valid))}
    people = {modality_key(present): len(set(valid[present[0]].groups)) for present in subsets(list(valid))}
    sets = "; ".join(f"{PARTS[name]}: {', '.join(STORES[name])}" for name in valid)
    return Conformal.from_residuals(residuals, model.task, f"validation people ({sets}; several modalities put together at random)", people)


def subsets(used: list[str]) -> list[list[str]]:
    """All subsets with at least one modality, in the order text, audio, vision."""
    chosen = [[name for place, name in enumerate(used) if number >> place & 1] for number in range(1, 2 ** len(used))]
    return sorted(chosen, key=len)


def subset_errors(
    model: LateFusion, predicted: Mapping[str, Predictions], present: list[str], *, agree: bool, pairings: int = PAIRINGS
) -> np.ndarray:
    """Labels minus scores where these modalities are present, over several pairings where there are several."""
    found = []
    for seed in range(pairings if len(present) > 1 else 1):
        scores, labels = made_utterances(predicted, present, agree, seed)
        found.append(labels - combined(model, scores))
    return np.concatenate(found)


def share_within(errors: np.ndarray, half: float) -> float:
    """The share of labels that lie within their interval."""
    return float((np.abs(errors) <= half).mean())


# Measuring --------------------------------------------------------------------------------------------------------


def measured(model: LateFusion, predicted: Mapping[str, Predictions], conformal: Conformal) -> dict[str, Any]:
    """Every figure of a split: each modality alone and by store, and the made utterances; also of parts that are not used."""
    result: dict[str, Any] = {}
    for modality, all_of_it in predicted.items():
        for store in ("", *(STORES[modality] if len(STORES[modality]) > 1 else ())):
            rows = [index for index, name in enumerate(all_of_it.ids) if not store or name.startswith(f"{store}/")]
            result[f"{PARTS[modality]}{f' ({store})' if store else ''}"] = alone(chosen_rows(all_of_it, rows), model.task, conformal, modality)
    used = [name for name in predicted if name in model.features]
    result["together"] = {
        modality_key(present): {
            kind: {
                "mae": float(np.abs(errors := subset_errors(model, predicted, present, agree=agree)).mean()),
                "coverage": share_within(errors, conformal.half_widths[modality_key(present)][COVERAGE]),
            }
            for kind, agree in (("partners at random", False), ("partners with the nearest label", True))
        }
        for present in subsets(used)
        if len(present) > 1
    }
    return result


def chosen_rows(predicted: Predictions, rows: list[int]) -> Predictions:
    """Some utterances of a split."""
    assert predicted.labels is not None
    ids, groups = (tuple(values[row] for row in rows) for values in (predicted.ids, predicted.groups))
    return Predictions(ids=ids, groups=groups, labels=predicted.labels[rows], scores=predicted.scores[rows])


def alone(predicted: Predictions, task: Task, conformal: Conformal, modality: str) -> dict[str, Any]:
    """Metrics of one modality with 95 % intervals over people, and what the intervals cover."""
    labels, scores = predicted.labels, predicted.scores
    assert labels is not None
    wanted = ("mae", "correlation", "accuracy_2_has0", "accuracy_2_non0", "accuracy_7")
    figures: dict[str, Any] = {
        "utterances": len(predicted.ids),
        "people": len(set(predicted.groups)),
        "constant_mae": float(np.abs(labels - np.median(labels)).mean()),
    }
    for name in wanted:
        figures[name] = over_people(predicted.groups, lambda rows, name=name: compute_metrics(task, scores[rows], labels[rows])[name])
    polarity = [np.digitize(values[:, 0], (-0.5, 0.5)) for values in (scores, labels)]
    figures["polarity_balanced"] = over_people(
        predicted.groups,
        lambda rows: float(np.mean([(polarity[0][rows][polarity[1][rows] == kind] == kind).mean() for kind in np.unique(polarity[1])])),
    )
    if modality in conformal.half_widths:
        half, errors = conformal.half_widths[modality][COVERAGE], errors_of(predicted)
        figures["half_width"] = half
        figures["coverage"] = over_people(predicted.groups, lambda rows: share_within(errors[rows], half))
    return figures


def card(figures: Mapping[str, Any]) -> str:
    """The checkpoint's model card, with the table of the last split that was measured."""
    rows = ["| learned from | utterances, people | MAE | constant | correlation | sign right | 90 % interval | coverage |", "|" + " --- |" * 8]
    for name, one in figures.get("test", figures["valid"]).items():
        if name != "together":
            mae, correlation, sign, within = (with_interval(one.get(key)) for key in ("mae", "correlation", "accuracy_2_non0", "coverage"))
            half = f"± {one['half_width']:.2f}" if "half_width" in one else "not used"
            counts = f"{one['utterances']}, {one['people']}"
            rows.append(f"| {name} | {counts} | {mae} | {one['constant_mae']:.2f} | {correlation} | {sign} | {half} | {within} |")
    text = (Path(__file__).parent / "card.md").read_text(encoding="utf-8").replace("{table}", "\n".join(rows))
    for modality, counts in figures["people"].items():
        text = text.replace(f"{{{modality}_people}}", counts)
    return text


def people(stores: Path, modality: str) -> str:
    """How many people each split of a modality has, such as "14 + 5, 4 + 2, 6 + 3" for two stores."""
    opened = [Store.open(stores / f"{name}.store") for name in STORES[modality]]
    splits = [split for split in SPLITS if all(split in store.splits for store in opened)]
    return ", ".join(" + ".join(f"{len(set(store.split(split).groups)):,}" for store in opened) for split in splits)


def with_interval(figure: Mapping[str, float] | None) -> str:
    """A figure with its interval, such as "0.81 (0.74 to 0.88)"."""
    return "" if figure is None else f"{figure['value']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"


if __name__ == "__main__":
    main()
