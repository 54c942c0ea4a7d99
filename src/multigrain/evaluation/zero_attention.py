"""How sparse is sparse attention? The share of weights that are exactly zero, over real target and source steps.

Weights into or from padding are zero or meaningless for every model, so that they are not counted; softmax gives no exact
zeros but by underflow, so that the share is only reported for models whose `has_sparse_attention` says that it means something.
"""

import os
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

if TYPE_CHECKING:
    from multigrain.data.batchable import BatchableSplit
    from multigrain.models.base import MultimodalModel

ALL_DIRECTIONS = "all"
"""Key of the share over all directions together."""


def count_zeros(
    weights: Float[Tensor, "batch scale head target source"], target_mask: Bool[Tensor, "batch target"], source_mask: Bool[Tensor, "batch source"]
) -> tuple[int, int]:
    """How many weights between real steps are exactly zero, and how many there are."""
    real = (target_mask[:, :, None] & source_mask[:, None, :])[:, None, None]
    zeros = int(((weights == 0) & real).sum())
    return zeros, int(real.sum()) * weights.shape[1] * weights.shape[2]


def zero_attention(model: "MultimodalModel", split: "BatchableSplit", *, batch_utterances: int = 8) -> dict[str, float]:
    """The share of exactly zero weights over all utterances, layers, scales and heads.

    Args:
        model: in any mode; it is looked at without dropout and without gradients, on the device that it is on.
        split: of a store whose features fit the model.
        batch_utterances: utterances per batch; has no effect on the shares.

    Returns:
        Direction, such as "audio_to_text" -> share in 0..1, and `all` over all of them; empty for a model whose attention is not
        sparse. A direction that no utterance has both modalities of is left out.
    """
    if not model.has_sparse_attention:
        return {}
    was_training = model.training
    model.eval()
    try:
        counts = _counts(model, split, batch_utterances)
    finally:
        model.train(was_training)
    shares = {direction: zeros / total for direction, (zeros, total) in counts.items() if total}
    every = sum(total for _, total in counts.values())
    return {**shares, ALL_DIRECTIONS: sum(zeros for zeros, _ in counts.values()) / every} if every else {}


def zero_attention_of_run(
    run_folder: str | os.PathLike[str], store: str | os.PathLike[str] | None = None, split: str = "test", *, text_encoder: str | None = None
) -> dict[str, float]:
    """What `zero_attention` says of a run's best checkpoint.

    Args:
        run_folder: as `multigrain train` wrote it.
        store: without one, what the run itself noted in results.json when it ended (nothing for other splits than valid and test);
            with one, the checkpoint looks at that store's split.
        split: `train`, `valid` or `test`.
        text_encoder: with a store, where the language model is that the run was trained on but its checkpoint does not hold.

    Raises:
        MultigrainError: no such run, store or split.
    """
    from multigrain.evaluation.evaluate import open_model_and_store, read_run

    facts = read_run(run_folder)
    if store is None:
        return dict(facts.results.get("zero_attention", {}).get(split, {}))
    model, opened = open_model_and_store(facts, store, text_encoder)
    return zero_attention(model, opened.split(split))


@torch.no_grad()
def _counts(model: "MultimodalModel", split: "BatchableSplit", batch_utterances: int) -> dict[str, list[int]]:
    modalities = tuple(name for name in model.features if name in split.modalities)
    device = next(iter(model.parameters())).device
    counts: dict[str, list[int]] = {}
    for start in range(0, len(split), batch_utterances):
        batch = split.batch(list(range(start, min(start + batch_utterances, len(split)))), modalities).to(device)
        sequences = batch.modalities
        for direction, layers in model(batch, with_attention=True).attention.items():
            source, _, target = direction.partition("_to_")
            if source not in sequences or target not in sequences:
                continue
            total = counts.setdefault(direction, [0, 0])
            for weights in layers:
                zeros, pairs = count_zeros(weights, sequences[target].mask, sequences[source].mask)
                total[0] += zeros
                total[1] += pairs
    return counts
