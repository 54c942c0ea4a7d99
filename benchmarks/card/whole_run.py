"""A whole training as large as MOSI's, from a store on disk, with evaluation, in graphed steps."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from card.fixed_steps import FixedSteps, length_shapes
from card.precision import wait_for
from multigrain.benchmark.lengths import DIMS, MODALITIES, draw_words, steps_of
from multigrain.benchmark.models import TrainingStep, published_config
from multigrain.data.batching import LengthBucketSampler
from multigrain.data.store import Store, StoreWriter
from multigrain.evaluation.predict import predict_split
from multigrain.metrics import compute_metrics
from multigrain.schema import FeatureSpec, Task, Utterance

MOSI = {"train": 1284, "valid": 229, "test": 686}


def train_whole(device: torch.device, *, precision: str, epochs: int, batch: int, counts: Mapping[str, int] = MOSI) -> dict[str, Any]:
    """Trains MCMuT on random features, scores the validation split after each epoch and the test split once.

    Returns:
        `seconds` in all, from opening the store to the test's metrics, of which `capturing_seconds` go to the graphs and
        `evaluating_seconds` to validation and test; `losses`: of each epoch; `test`: metrics.
    """
    with tempfile.TemporaryDirectory(prefix="multigrain-gpu-") as folder:
        path = _write_store(Path(folder) / "random.store", counts)
        torch.manual_seed(0)
        wait_for(device)
        start = time.perf_counter()
        found = _train(Store.open(path), device, precision, epochs, batch)
        wait_for(device)
        return {"seconds": time.perf_counter() - start, "precision": precision, "epochs": epochs, "batch": batch, "counts": dict(counts), **found}


def _train(store: Store, device: torch.device, precision: str, epochs: int, batch: int) -> dict[str, Any]:
    train = store.split("train")
    sampler = LengthBucketSampler({name: train.lengths(name) for name in MODALITIES}, batch_utterances=batch, shuffle=True, seed=0)
    step = TrainingStep("mcmut", published_config("mcmut"), device=device, is_capturable=device.type == "cuda")
    start = time.perf_counter()
    fixed = FixedSteps(step, batch, length_shapes(), precision)
    wait_for(device)
    capturing, evaluating, losses = time.perf_counter() - start, 0.0, []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        total = torch.zeros((), device=device)
        for indices in sampler:
            chosen = train.batch(indices)
            total += fixed.take((chosen.pin_memory() if device.type == "cuda" else chosen).to(device)) * len(indices)
        losses.append(float(total) / len(train))
        start = time.perf_counter()
        _scored(step, store, "valid", batch)
        evaluating += time.perf_counter() - start
    start = time.perf_counter()
    test = _scored(step, store, "test", batch)
    evaluating += time.perf_counter() - start
    return {"capturing_seconds": capturing, "evaluating_seconds": evaluating, "losses": losses, "test": test}


def _scored(step: TrainingStep, store: Store, split: str, batch: int) -> dict[str, float]:
    predictions = predict_split(step.model, store.split(split), batch_utterances=batch)
    assert predictions.labels is not None
    return compute_metrics(step.task, predictions.scores, predictions.labels)


def _write_store(path: Path, counts: Mapping[str, int]) -> Path:
    """Utterances of the length law; a label is the mean of the text's first feature, so that there is something to learn."""
    generator = np.random.default_rng(0)
    with StoreWriter(path, task=Task(), features={name: FeatureSpec(dim=dim, extractor="random") for name, dim in DIMS.items()}) as writer:
        for split, count in counts.items():
            for index, steps in enumerate(steps_of(draw_words(count, generator)).tolist()):
                shapes = zip(DIMS.items(), steps, strict=True)
                features = {name: generator.normal(size=(time_steps, dim)).astype(np.float32) for (name, dim), time_steps in shapes}
                label = float(np.clip(3.0 * features["text"][:, 0].mean(), -3.0, 3.0))
                writer.add(Utterance(id=f"{split}_{index}", split=split, group=f"{split}_{index // 8}", features=features, label=label))
    return path
