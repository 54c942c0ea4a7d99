"""The end of a run: the checkpoint that was kept predicts validation and test once; predictions and results.json are written."""

from typing import Any

import numpy as np

from multigrain.data.joint_store import JointStore
from multigrain.data.store import Store
from multigrain.evaluation.by_store import metrics_by_store
from multigrain.evaluation.confusion import confusion_matrix
from multigrain.evaluation.predict import predict_split, write_predictions
from multigrain.evaluation.zero_attention import zero_attention
from multigrain.metrics import compute_metrics, why_undefined
from multigrain.models import load as load_model
from multigrain.models.base import MultimodalModel
from multigrain.training.progress import Progress
from multigrain.training.recipe import Recipe
from multigrain.training.resume_check import text_encoder_facts
from multigrain.training.run_folder import RunFolder, write_errors, write_json


def finish(recipe: Recipe, folder: RunFolder, store: Store | JointStore, like: MultimodalModel) -> dict[str, Any]:
    """Predicts valid and test once with the checkpoint that was kept; writes predictions and results.json."""
    model = load_model(str(folder.best))
    model.to(next(like.parameters()).device)
    progress = Progress(**(folder.load_last() or {})["progress"])
    splits: dict[str, Any] = {}
    zeros: dict[str, dict[str, float]] = {}
    stores: dict[str, dict[str, dict[str, float]]] = {name: {} for name in recipe.data.store_names}
    confusion: dict[str, list[list[int]]] = {}
    undefined: dict[str, dict[str, str]] = {}
    convention = recipe.evaluation.convention
    with write_errors(folder.path):
        for name in ("valid", "test"):
            if name not in store.splits:
                continue
            predictions = predict_split(model, store.split(name))
            write_predictions(folder.predictions_file(name), predictions, model.task)
            zeros[name] = zero_attention(model, store.split(name))
            if predictions.labels is not None:
                splits[name] = compute_metrics(model.task, predictions.answers, predictions.labels, convention, ids=predictions.ids)
                if model.task.kind == "classification":
                    confusion[name] = confusion_matrix(model.task, predictions.answers, predictions.labels).tolist()
                if reasons := why_undefined(model.task, predictions.answers, predictions.labels, convention):
                    undefined[name] = reasons
                own = metrics_by_store(model.task, predictions.answers, predictions.labels, predictions.ids, list(stores), convention)
                for store_name, metrics in own.items():
                    stores[store_name][name] = metrics
        timing = folder.lines(folder.timing_file)
        results = {
            "model": recipe.model.name,
            "seed": folder.info()["seed"],
            "best_epoch": progress.best_epoch,
            "kept_epoch": progress.epoch if recipe.training.keep == "last" else progress.best_epoch,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            **text_encoder_facts(like),
            "seconds_per_epoch": float(np.mean([line["seconds"] for line in timing])),
            "splits": splits,
        } | ({"zero_attention": zeros} if model.has_sparse_attention else {})
        results |= {"stores": stores} if stores else {}
        results |= ({"confusion": confusion} if confusion else {}) | ({"undefined": undefined} if undefined else {})
        write_json(folder.results_file, results)
        folder.set_status("completed")
    return folder.results()
