"""Does attention find the planted events? The share of a polar word's attention that falls on its own event.

In a planted store (`multigrain.data.planted`) it is known which audio and vision step belongs to which polar word. Let
`A[w, s]` be the weight that the word at text step w gives to source step s in `audio_to_text` or `vision_to_text`. The share of
a word is `A[w, its own event's step]`; chance is `1 / (real source steps)`, what uniform attention gives. Layers
and heads differ, so the best of them is chosen on the validation split and measured on the test split.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from multigrain.errors import DataError

if TYPE_CHECKING:
    from multigrain.data.batchable import BatchableSplit
    from multigrain.data.planted import Binding
    from multigrain.data.store import Store
    from multigrain.models.base import MultimodalModel

DIRECTIONS: dict[str, str] = {"audio_to_text": "audio_step", "vision_to_text": "vision_step"}
"""Attention direction -> the field of `Binding` that names the step it should find."""


@dataclass(frozen=True, kw_only=True)
class AttentionScore:
    """How much of polar words' attention falls on their own events, in one direction; shares in 0..1.

    Attributes:
        num_words: polar words with such an event, on the test split.
        chance: mean over them of 1 / (real source steps).
        overall: mean share over all layers, scales and heads.
        best_layer: the layer (from 0) whose mean over scales and heads is largest on the validation split.
        best_layer_share: that layer's mean share on the test split.
        best_head: (layer, scale, head) with the largest share on the validation split.
        best_head_share: its share on the test split.
        best_head_found: in it, the share of the words whose own event's step gets the largest weight of all; unlike the share of
            attention it does not grow by sharper weights alone. Where the largest is shared, the word counts by that part.
    """

    num_words: int
    chance: float
    overall: float
    best_layer: int
    best_layer_share: float
    best_head: tuple[int, int, int]
    best_head_share: float
    best_head_found: float


@dataclass
class _Sums:
    """Sums over polar words: of the share per layer (scale, head), of the words found, and of chance."""

    shares: list[np.ndarray]
    found: list[np.ndarray]
    chance: float = 0.0
    words: int = 0

    @property
    def means(self) -> list[np.ndarray]:
        return [layer / self.words for layer in self.shares]


def score_attention(
    model: "MultimodalModel", store: "Store", *, num_utterances: int | None = None, batch_utterances: int = 32
) -> dict[str, AttentionScore]:
    """Scores a model's crossmodal attention into the text against the planted truth.

    Args:
        model: trained on this store.
        store: a planted store.
        num_utterances: look at the first so many of each split; None for all.
        batch_utterances: utterances per batch.

    Returns:
        Direction (`audio_to_text`, `vision_to_text`) -> score, for those that the model has; empty for a model without attention.

    Raises:
        DataError: the store is not a planted one, or no polar word of the looked-at utterances has an event.
    """
    from multigrain.data.planted import read_bindings

    bindings = read_bindings(store.path)
    sums = {name: _sum_shares(model, store.split(name), bindings, num_utterances, batch_utterances) for name in ("valid", "test")}
    return {direction: _score(sums["valid"][direction], sums["test"][direction], direction) for direction in sums["test"]}


def _sum_shares(
    model: "MultimodalModel", split: "BatchableSplit", bindings: "dict[str, list[Binding]]", limit: int | None, batch_utterances: int
) -> dict[str, _Sums]:
    count = len(split) if limit is None else min(limit, len(split))
    modalities = tuple(name for name in model.features if name in split.modalities)
    device = next(iter(model.parameters())).device
    sums: dict[str, _Sums] = {}
    model.eval()
    for start in range(0, count, batch_utterances):
        batch = split.batch(list(range(start, min(start + batch_utterances, count))), modalities).to(device)
        with torch.no_grad():
            attention = model(batch, with_attention=True).attention
        for direction, field in DIRECTIONS.items():
            layers = attention.get(direction)
            if layers:
                total = sums.setdefault(direction, _Sums(_zeros(layers), _zeros(layers)))
                lengths = batch.modalities[direction.split("_")[0]].lengths.tolist()
                _add_batch(total, layers, [bindings[name] for name in batch.ids], field, lengths)
    return sums


def _zeros(layers: list[Tensor]) -> list[np.ndarray]:
    return [np.zeros(tuple(layer.shape[1:3])) for layer in layers]


def _add_batch(total: _Sums, layers: list[Tensor], words: "list[list[Binding]]", field: str, lengths: list[int]) -> None:
    places = [(row, binding.word, getattr(binding, field)) for row, own in enumerate(words) for binding in own if getattr(binding, field) is not None]
    if not places:
        return
    rows, targets, steps = (list(column) for column in zip(*places, strict=True))
    for index, layer in enumerate(layers):
        own, all_steps = layer[rows, :, :, targets, steps], layer[rows, :, :, targets]
        largest = all_steps == all_steps.amax(dim=-1, keepdim=True)
        total.shares[index] += own.sum(dim=0).double().cpu().numpy()
        total.found[index] += ((own == all_steps.amax(dim=-1)) / largest.sum(dim=-1)).sum(dim=0).double().cpu().numpy()
    total.words += len(places)
    total.chance += sum(1.0 / lengths[row] for row in rows)


def _score(valid: _Sums, test: _Sums, direction: str) -> AttentionScore:
    if valid.words == 0 or test.words == 0:
        raise DataError(
            f"No polar word of the utterances looked at has an event that {direction} could find. "
            "Look at more utterances, or make a planted store with events."
        )
    best_layer = int(np.argmax([layer.mean() for layer in valid.means]))
    heads = [(float(share), (index, *place)) for index, layer in enumerate(valid.means) for place, share in np.ndenumerate(layer)]
    layer, scale, head = max(heads)[1]
    return AttentionScore(
        num_words=test.words,
        chance=test.chance / test.words,
        overall=float(np.concatenate([layer.ravel() for layer in test.means]).mean()),
        best_layer=best_layer,
        best_layer_share=float(test.means[best_layer].mean()),
        best_head=(layer, scale, head),
        best_head_share=float(test.means[layer][scale, head]),
        best_head_found=float(test.found[layer][scale, head] / test.words),
    )
