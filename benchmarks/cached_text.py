"""How much faster an epoch over a frozen language model's cached states is than one that runs the language model each time.

Trains MMIN (or another recipe's model) for a few epochs on the same batches in both ways, taken in turn, and prints seconds an epoch. The first,
untimed steps of each warm it up; what it takes to fill the cache, once for a store, is printed beside them. Run it on a quiet machine.

    python benchmarks/cached_text.py mosi_text.store [--recipe mosi_text/mmin_minilm_frozen] [--epochs 3] [--steps 40] [--threads 1]
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

from multigrain.data.batchable import BatchableSplit
from multigrain.data.batching import LengthBucketSampler
from multigrain.data.language_split import LanguageSplit
from multigrain.data.language_store import open_store
from multigrain.data.store import Store
from multigrain.losses import task_loss
from multigrain.models import build_model
from multigrain.models.base import MultimodalModel
from multigrain.training.open_data import open_text_reader
from multigrain.training.recipe import Recipe
from multigrain.training.recipe_file import load_recipe

GOAL = 8.0
WARM_UP_STEPS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="of transcripts")
    parser.add_argument("--recipe", default="mosi_text/mmin_minilm_frozen", help="whose text_encoder is frozen")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of each to time")
    parser.add_argument("--steps", type=int, help="at most so many steps an epoch, the same ones for both; by default all")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="multigrain-cached-text-") as cache:
        recipe = load_recipe(options.recipe, [f"data.store={options.store}", f"text_encoder.cache={cache}"])
        if recipe.text_encoder is None or not recipe.text_encoder.is_frozen:
            parser.error(f"--recipe {options.recipe}: its text_encoder is not frozen")
        reader = open_text_reader(recipe)
        assert reader is not None
        load_before = os.getloadavg()[0]
        start = time.perf_counter()
        store = open_store(options.store, reader)
        filling = time.perf_counter() - start
        cached = store.split("train")
        assert isinstance(cached, LanguageSplit)
        uncached = LanguageSplit(Store.open(options.store).split("train"), cached.table)
        batches = _batches(cached, recipe)[: options.steps]
        model = build_model(recipe.model.name, recipe.model.config, store.task, {"text": store.features["text"]}, text_reader=reader).train()
        ways = {"cached": cached, "the language model each time": uncached}
        for split in ways.values():
            _train(model, split, batches[:WARM_UP_STEPS], recipe)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.epochs):
            for name, split in ways.items():
                seconds[name].append(_train(model, split, batches, recipe))
    count = sum(map(len, batches))
    print(f"{options.recipe}, {count} utterances in {len(batches)} steps; {options.threads} threads; load {load_before:.1f} before")
    print(f"filling the cache, once: {filling:.1f} s for all splits\n\n| text | seconds an epoch (median) | range |\n| --- | --- | --- |")
    for name, values in seconds.items():
        print(f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} to {max(values):.2f} |")
    times = statistics.median(seconds["the language model each time"]) / statistics.median(seconds["cached"])
    print(f"\nan epoch over cached text is {times:.1f} times as fast (goal: at least {GOAL:g}; {'met' if times >= GOAL else 'not met'})")


def _batches(split: BatchableSplit, recipe: Recipe) -> list[list[int]]:
    sampler = LengthBucketSampler({"text": split.lengths("text")}, batch_utterances=recipe.training.batch_utterances, shuffle=True, seed=0)
    return [list(indices) for indices in sampler]


def _train(model: MultimodalModel, split: BatchableSplit, batches: list[list[int]], recipe: Recipe) -> float:
    """Seconds for one step on each batch, reading the batches included."""
    optimizer = torch.optim.AdamW([part for part in model.parameters() if part.requires_grad], lr=1e-5, fused=True)
    start = time.perf_counter()
    for indices in batches:
        batch = split.batch(indices, ("text",))
        assert batch.label is not None
        output = model(batch)
        loss = task_loss(model.task, output.prediction, batch.label, recipe.training.loss)
        for part in output.losses.values():
            loss = loss + part
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
