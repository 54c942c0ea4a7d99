"""Does a store fit a model? Asked before anything is computed, so that nothing fails in the middle of a run."""

from collections.abc import Sequence

import numpy as np
import torch

from multigrain.data.batchable import BatchableSplit
from multigrain.data.joint_store import JointStore
from multigrain.data.store import Store
from multigrain.errors import CheckpointError, DataError, RecipeError
from multigrain.models.base import MultimodalModel
from multigrain.schema import MODALITIES
from multigrain.training.recipe import TrainingRecipe


def choose_modalities(store: Store | JointStore, readable: Sequence[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The modalities to train on, in the usual order.

    Args:
        store: what there is.
        readable: what the model can read.
        wanted: what the recipe asks for; None for all.

    Raises:
        DataError: the store lacks a modality that is asked for, or has none that the model reads.
    """
    missing = [name for name in wanted or () if name not in store.features]
    if missing:
        raise DataError(
            f"The recipe asks for the modality {missing[0]!r} (data.modalities), but the store {store} has only "
            f"{', '.join(_modalities_of(store))}. Change data.modalities, or convert the data set with that modality."
        )
    chosen = tuple(name for name in MODALITIES if name in store.features and name in readable and (wanted is None or name in wanted))
    if not chosen:
        raise DataError(
            f"The model reads {', '.join(readable)}, but of these the recipe and the store {store} leave none "
            f"(the store has {', '.join(_modalities_of(store))}). Change data.modalities or the model."
        )
    return chosen


def _modalities_of(store: Store | JointStore) -> list[str]:
    """All that there are, whether the recipe asks for them or not."""
    stores = store.stores.values() if isinstance(store, JointStore) else [store]
    return [name for name in MODALITIES if any(name in own.features for own in stores)]


def check_every_store_is_read(model: MultimodalModel, store: Store | JointStore) -> None:
    """Checks that each of several stores has something that the model reads.

    Raises:
        DataError: one of them has not.
    """
    for name, own in store.stores.items() if isinstance(store, JointStore) else ():
        if not set(own.features) & set(model.features):
            raise DataError(
                f"The model reads {', '.join(model.features)}, of which the store {name!r} ({own}) has none: it has {', '.join(own.features)}. "
                "Leave it out of data.stores, or change data.modalities or the model."
            )


def check_vectors(store: Store | JointStore, names: Sequence[str]) -> None:
    """Checks that every modality that is to be read has something to read.

    Raises:
        DataError: text is words without vectors, and no language model reads them.
    """
    for name in names:
        if store.features[name].dim == 0 and store.features[name].pooling is None:
            raise DataError(
                f"The {name} of the store {store} is words without vectors, which only a language model can read. Name one in the recipe, such as "
                "`text_encoder: {name: minilm}` (on the command line text_encoder.name=minilm), or leave text out of data.modalities."
            )


def check_features(model: MultimodalModel, store: Store | JointStore) -> None:
    """Checks that a store holds the features that a model was trained on.

    Raises:
        CheckpointError: a modality is missing, or has another width, extractor or version.
    """
    for name, spec in model.features.items():
        other = store.features.get(name)
        difference = "it is not in the store" if other is None else spec.difference(other)
        if difference is not None:
            raise CheckpointError(
                f"The model was trained on other {name} features than the store {store} holds: {difference} (model against store). "
                "Its predictions there would mean nothing. Use a store made with the same extractor, or train a new model on this one."
            )


def check_alignment(model: MultimodalModel, splits: Sequence[BatchableSplit]) -> None:
    """Checks that all modalities have one step a word, where the model needs it.

    Raises:
        DataError: some utterance has more steps in one modality than in another.
    """
    if not model.needs_alignment:
        return
    names = list(model.features)
    for split in splits:
        lengths = np.stack([split.lengths(name) for name in names])
        longest = lengths.max(axis=0)
        wrong = np.flatnonzero(((lengths != longest) & (lengths > 0)).any(axis=0))
        if wrong.size:
            found = ", ".join(f"{name} {lengths[i, wrong[0]]}" for i, name in enumerate(names))
            raise DataError(
                f"The model {model.name!r} needs aligned data (as many steps in every modality), but in split {split.name!r} "
                f"{wrong.size} of {len(split)} utterances are not; the first is {split.ids[wrong[0]]!r} with {found} steps. "
                "Use an aligned store, or a model that does without, such as mult or mcmut."
            )


def check_contexts(training: TrainingRecipe, model: MultimodalModel, store: Store | JointStore) -> None:
    """Checks that there are contexts where batches are made by them.

    Raises:
        RecipeError: the recipe joins several stores.
        DataError: no two training utterances share their sequences.
    """
    if training.batches == "by_context" and isinstance(store, JointStore):
        raise RecipeError(
            f"training.batches is by_context, which takes one store's videos whole, but data.stores joins {len(store.stores)}, whose "
            "weights draw single utterances. Leave training.batches out (by_length), or train on one of them with data.store."
        )
    if training.batches == "by_context" and store.split("train").contexts(list(model.features)) is None:
        raise DataError(
            f"training.batches is by_context, but in {store} no utterances of the training split share their video's sequences. "
            "Leave training.batches out (by_length), or convert the data set with --context."
        )


def check_labels(split: BatchableSplit, label_dim: int) -> None:
    """Checks that a split can be trained or validated on.

    Raises:
        DataError: it is empty, unlabelled, has labels of another width or labels that are not finite.
    """
    labels = split.labels
    if len(split) == 0 or labels is None:
        raise DataError(f"The split {split.name!r} has {'no utterances' if len(split) == 0 else 'no labels'}; training needs labelled ones.")
    if labels.shape[1] != label_dim:
        raise DataError(
            f"The split {split.name!r} has {labels.shape[1]} labels an utterance, but the task has {label_dim}. "
            "Check the recipe's task section against the store."
        )
    wrong = np.flatnonzero(~np.isfinite(labels.numpy()).all(axis=1))
    if wrong.size:
        raise DataError(
            f"{wrong.size} of {len(split)} labels in split {split.name!r} are not finite; the first is that of "
            f"{split.ids[wrong[0]]!r}. Drop these utterances and convert the data set again."
        )


def check_accelerator(training: TrainingRecipe) -> None:
    """Checks that the device that a recipe asks for is there.

    Raises:
        RecipeError: it is not, or there are fewer of it.
    """
    kind = training.accelerator
    if kind == "mps" and not torch.backends.mps.is_available():
        raise RecipeError("training.accelerator is 'mps', but this machine or this torch has no Apple GPU. Set it to auto or cpu.")
    if kind == "gpu" and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        why = "this torch was built without CUDA" if torch.version.cuda is None else "the driver shows none"
        raise RecipeError(f"training.accelerator is 'gpu', but no GPU can be used here: {why}. Set it to auto or cpu, or install torch for CUDA.")
    if kind == "gpu" and torch.cuda.is_available() and training.devices > torch.cuda.device_count():
        count = torch.cuda.device_count()
        there = "is 1 GPU" if count == 1 else f"are {count} GPUs"
        raise RecipeError(f"training.devices is {training.devices}, but there {there} here. Ask for as many as there are.")
