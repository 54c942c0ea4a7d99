"""What the default checkpoint's voice makes of validation people's recordings, by which of their frames it is given.

    python experiments/default_checkpoint/voice_activity.py --ravdess DIR --emodb DIR

It learned from recordings that were cut at both ends by loudness (`stores.spoken`), pauses included. Videos are cut by voice activity, and
frames in which nobody speaks are left out. The table compares the two with the whole recordings; docs/decisions/video.md has the result.
"""

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from stores import EMODB_SPLIT, HALVED, RAVDESS_SPLIT, read_sound, spoken

from multigrain.models import MultimodalModel, load
from multigrain.models.default_checkpoint import default_checkpoint
from multigrain.schema import Batch, ModalitySequence
from multigrain.training.recipe_file import load_recipe
from multigrain.video.acoustic import FRAME_RATE_HZ, acoustic_frames
from multigrain.video.speech import SpeechDetector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ravdess", type=Path, required=True)
    parser.add_argument("--emodb", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, values = load(str(default_checkpoint())), emotion_values()
    scores: dict[str, list[float]] = {"cut as it learned": [], "whole recording": [], "frames of speech": []}
    labels, shares, silent = [], [], 0
    for root, people in ((options.ravdess, RAVDESS_SPLIT["valid"]), (options.emodb, EMODB_SPLIT["valid"])):
        for row in chosen(root, people):
            samples = read_sound(root / row["file"]).astype(np.float32)
            frames = acoustic_frames(samples)
            is_spoken = frames_of_speech(samples, len(frames))
            if not is_spoken.any():
                silent += 1
                continue
            shares.append(is_spoken.mean())
            labels.append(values[row["emotion"]])
            for name, given in zip(scores, (acoustic_frames(spoken(samples).astype(np.float32)), frames, frames[is_spoken]), strict=True):
                scores[name].append(score(model, given))
    print(f"{len(labels)} recordings; speech in {100 * np.mean(shares):.0f} % of their time on average; no speech found in {silent} more")
    print("| voice is given | MAE | correlation | mean score | mean difference from what it learned with |")
    print("| --- | --- | --- | --- | --- |")
    first = np.array(scores["cut as it learned"])
    for name, found in scores.items():
        own = np.array(found)
        error, correlation = np.abs(own - labels).mean(), np.corrcoef(own, labels)[0, 1]
        print(f"| {name} | {error:.3f} | {correlation:.3f} | {own.mean():+.3f} | {np.abs(own - first).mean():.3f} |")


def emotion_values() -> Mapping[str, float]:
    """The score of each emotion, from the recipe."""
    return {name: value for store in load_recipe("default/voice").data.stores for name, value in store.labels.values.items()}


def chosen(root: Path, people: tuple[str, ...]) -> list[dict[str, str]]:
    """The recordings of these people that the validation split holds, as `stores.speech` chooses them."""
    seen: dict[tuple[str, str], int] = {}
    rows = []
    for row in csv.DictReader((root / "labels.csv").open(encoding="utf-8")):
        speaker = row["speaker"].removeprefix("Actor_")
        key = speaker, row["emotion"]
        seen[key] = seen.get(key, 0) + 1
        if speaker in people and not (row["emotion"] in HALVED and seen[key] % 2 == 0):
            rows.append(row)
    return rows


def frames_of_speech(samples: np.ndarray, num_frames: int) -> np.ndarray:
    """Which frames lie in stretches of speech, as extraction decides it."""
    detector = SpeechDetector()
    detector.push(samples)
    seconds = np.arange(num_frames) / FRAME_RATE_HZ
    return np.logical_or.reduce([np.zeros(num_frames, bool), *((seconds >= begin) & (seconds < end) for begin, end in detector.finish())])


def score(model: MultimodalModel, frames: np.ndarray) -> float:
    """The voice's own score."""
    sequence = ModalitySequence.from_lengths(torch.from_numpy(frames)[None], torch.tensor([len(frames)]))
    with torch.no_grad():
        return float(model.predict(Batch(ids=("one",), groups=("one",)).with_modalities({"audio": sequence}))[0, 0])


if __name__ == "__main__":
    main()
