"""A small planted store, and run folders as training leaves them, made without training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multigrain.data.planted import PlantedConfig, write_planted_store
from multigrain.data.store import Store
from multigrain.evaluation.predict import predict_split, write_predictions
from multigrain.metrics import compute_metrics
from multigrain.models import build_model
from multigrain.schema import Task

CONFIGS: dict[str, dict[str, Any]] = {
    "mult": {"width": 4, "num_heads": 2, "num_layers": 2, "num_summary_layers": 1, "targets": ["text"]},
    "mcmut": {"width": 4, "num_heads": 2, "num_blocks": 2, "layers_per_block": 2, "num_summary_layers": 1},
    "mmin": {"width": 4, "num_heads": 2, "num_layers": 2},
    "lf_lstm": {"width": 4},
}


def write_store(path: Path) -> Path:
    return write_planted_store(path, PlantedConfig(train_size=20, valid_size=30, test_size=40))


def write_run(folder: Path, model_name: str, store: Store, seed: int = 0, task: Task | None = None) -> Path:
    """A completed run of a model with random weights, on the store's task or another on the same labels."""
    torch.manual_seed(seed)
    task = task or store.task
    model = build_model(model_name, CONFIGS[model_name], task, store.features).eval()
    (folder / "checkpoints" / "best").mkdir(parents=True)
    model.save_pretrained(folder / "checkpoints" / "best")
    splits = {}
    for split in ("valid", "test"):
        predictions = predict_split(model, store.split(split))
        assert predictions.labels is not None
        write_predictions(folder / "predictions" / f"{split}.csv", predictions, task)
        splits[split] = compute_metrics(task, predictions.answers, predictions.labels)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    run = {"name": model_name, "status": "completed", "seed": seed, "model": model_name, "store": str(store.path)}
    (folder / "run.json").write_text(json.dumps(run | {"store_fingerprint": store.fingerprint, "parameters": parameters}))
    results = {"model": model_name, "seed": seed, "best_epoch": 2, "parameters": parameters, "seconds_per_epoch": 1.25, "splits": splits}
    (folder / "results.json").write_text(json.dumps(results))
    lines = [
        {
            "epoch": epoch,
            "step": 10 * epoch,
            "train_loss": 1 / epoch,
            "valid_loss": 1.2 / epoch,
            "valid": {"correlation": None if epoch == 1 else 0.1},
        }
        for epoch in (1, 2, 3)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def shift_scores(run: Path, noise: float, seed: int = 0) -> None:
    """Replaces a run's test scores by the labels plus noise, so that the run is good at something."""
    from multigrain.evaluation.predict import Predictions, read_predictions
    from multigrain.schema import Task

    path = run / "predictions" / "test.csv"
    old = read_predictions(path)
    assert old.labels is not None
    scores = (old.labels + noise * np.random.default_rng(seed).normal(size=old.labels.shape)).astype(np.float32)
    write_predictions(path, Predictions(ids=old.ids, groups=old.groups, labels=old.labels, scores=scores), Task())
