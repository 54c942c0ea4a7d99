"""The crossmodal attention of one utterance, to be shown as a picture: words against the steps of another modality."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from multigrain.data.language_split import words_of
from multigrain.evaluation.attention import DIRECTIONS, AttentionScore

if TYPE_CHECKING:
    from multigrain.data.batchable import BatchableSplit
    from multigrain.data.joint_store import JointStore
    from multigrain.data.planted import Binding
    from multigrain.data.store import Store
    from multigrain.models.base import MultimodalModel

EXAMPLE_WORDS = (6, 14)
"""Least and most words of the utterance that is shown as an example."""


@dataclass(frozen=True)
class ExampleMap:
    """The attention that each word of one utterance gives to the steps of another modality.

    Attributes:
        title: the model and what it looks at.
        words: one per row.
        weights: (word, step); rows sum to 1.
        marks: (word, step) where the planted truth lies; empty where it is not known.
        polar_words: rows of the words that the planted truth is about.
        source: the other modality's name.
    """

    title: str
    words: tuple[str, ...]
    weights: Float[np.ndarray, "word step"]
    marks: tuple[tuple[int, int], ...]
    polar_words: tuple[int, ...]
    source: str


def example_maps(
    model: "MultimodalModel", store: "Store | JointStore", name: str, split: str = "test", scores: dict[str, AttentionScore] | None = None
) -> list[ExampleMap]:
    """The attention of one utterance's words, one map per direction into the text that the model has.

    Args:
        model: trained on this store.
        store: where the utterance comes from: the first of middle length, on planted data one with events of both kinds.
        name: of the model, for the titles.
        split: of the utterance.
        scores: chooses the layer, scale and head to show; without it the last layer's mean over scales and heads is.
    """
    bindings = _bindings_or_none(store)
    chosen = store.split(split)
    if "text" not in chosen.modalities or len(chosen) == 0:
        return []
    index = _example_index(chosen, bindings)
    modalities = tuple(name for name in model.features if name in chosen.modalities)
    batch = chosen.batch([index], modalities).to(next(iter(model.parameters())).device)
    model.eval()
    with torch.no_grad():
        attention = model(batch, with_attention=True).attention
    record = chosen.records[index]
    count = int(chosen.lengths("text")[index])
    if count == 0:  # of several stores, none has text together with the rest
        return []
    if batch.tokens is not None:
        words = piece_labels(words_of(record), batch.tokens.word[0].tolist())
        bindings = None  # the planted truth counts words, not pieces
    else:
        words = tuple(record.get("words") or ())
        words = words if len(words) == count else tuple(f"step {step}" for step in range(count))
    maps = []
    for direction, field in DIRECTIONS.items():
        source = direction.split("_")[0]
        if attention.get(direction) and chosen.lengths(source)[index] > 0:
            weights, shown = _chosen_weights(attention[direction], (scores or {}).get(direction))
            real = weights[:count, : int(chosen.lengths(source)[index])]
            own = [] if bindings is None else bindings[chosen.ids[index]]
            marks = tuple((binding.word, getattr(binding, field)) for binding in own if getattr(binding, field) is not None)
            maps.append(ExampleMap(f"{name}: words ask {source} ({shown})", words, real, marks, tuple(binding.word for binding in own), source))
    return maps


def piece_labels(words: Sequence[str], of_pieces: Sequence[int]) -> tuple[str, ...]:
    """What to call each word-piece: its word, for the second and further pieces of one in dots, and a dot for special tokens."""
    labels: list[str] = []
    for place, word in enumerate(of_pieces):
        is_further = place > 0 and word >= 0 and of_pieces[place - 1] == word
        labels.append("·" if word < 0 else f"..{words[word]}" if is_further else words[word])
    return tuple(labels)


def _bindings_or_none(store: "Store | JointStore") -> "dict[str, list[Binding]] | None":
    from multigrain.data.planted import read_bindings

    return read_bindings(str(store)) if "planted" in (store.manifest.get("extra") or {}) else None


def _example_index(split: "BatchableSplit", bindings: "dict[str, list[Binding]] | None") -> int:
    """The first utterance of middle length; on planted data with a stressed and a contradicted word besides."""
    low, high = EXAMPLE_WORDS
    present = np.min([split.lengths(name) for name in split.modalities], axis=0) > 0
    fitting = np.flatnonzero(present & (split.lengths("text") >= low) & (split.lengths("text") <= high)).tolist()
    for index in fitting if bindings is not None else []:
        own = bindings[split.ids[index]] if bindings is not None else []
        if len(own) > 1 and any(word.audio_step is not None for word in own) and any(word.vision_step is not None for word in own):
            return int(index)
    return int(fitting[0]) if fitting else 0


def _chosen_weights(layers: list[Tensor], score: AttentionScore | None) -> tuple[np.ndarray, str]:
    if score is None:
        return layers[-1][0].mean(dim=(0, 1)).float().cpu().numpy(), f"layer {len(layers)}, mean of scales and heads"
    layer, scale, head = score.best_head
    place = f"layer {layer + 1}, scale {scale + 1}, head {head + 1}" if layers[layer].shape[1] > 1 else f"layer {layer + 1}, head {head + 1}"
    return layers[layer][0, scale, head].float().cpu().numpy(), place
