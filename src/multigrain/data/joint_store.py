"""Several stores as one: what `Store` offers, with one task for all labels and one specification for each modality.

    sources = [StoreSource(path="words.store", weight=2.0), StoreSource(path="voices.store")]
    store = JointStore.open(sources)
    batch = store.split("train").batch([0, 5, 700])

Decisions: docs/decisions/several-stores.md.
"""

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from multigrain.data.batchable import BatchableSplit
from multigrain.data.joint_split import SEPARATOR, JointSplit
from multigrain.data.label_map import LabelMap
from multigrain.data.store import Store
from multigrain.data.store_draw import StoreDraw
from multigrain.errors import RecipeError, StoreError, nearest
from multigrain.schema import MODALITIES, SPLITS, FeatureSpec, Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StoreSource:
    """One of several stores that are trained on together.

    Attributes:
        path: of the store.
        name: stands before its utterances' ids and in the results; empty for its folder's name without `.store`.
        weight: how often an epoch takes each of its training utterances: 1 once, 2 twice, 0.5 half of them, drawn anew each epoch.
        labels: how its labels become scores of the common task; None where they are that already.
    """

    path: str
    name: str = ""
    weight: float = 1.0
    labels: LabelMap | None = None

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise RecipeError(f"weight is {self.weight!r}; expected a positive number, such as 2.0. To do without the store, leave it out.")
        if SEPARATOR in self.name:
            raise RecipeError(f"name is {self.name!r}; expected one without {SEPARATOR!r}, which stands between it and an utterance's id.")
        if not self.name:
            object.__setattr__(self, "name", Path(self.path).absolute().name.removesuffix(".store"))


class JointStore:
    """Several stores that are read as one.

    Attributes:
        sources: what was asked for, in this order.
        stores: name -> store.
        task: what the labels of all of them are, mapped where a source says so.
        features: of every modality that any store has; where several have it, one specification with pooled statistics.
        fingerprint: SHA-256 that identifies content, names and label maps of all of them; weights have no part in it.
        splits: those that any store has, in the order train, valid, test.
        manifest: empty, since no file describes the union.
    """

    def __init__(self, sources: Sequence[StoreSource], stores: Sequence[Store], task: Task, modalities: Sequence[str] | None = None):
        """Joins stores that are open.

        Args:
            sources: at least one.
            stores: theirs, in the same order.
            task: what the labels of all of them are to be.
            modalities: those to read; None for all. What the stores hold of others is not looked at.

        Raises:
            RecipeError: two sources of one name, or labels that do not fit the task and are not mapped to it.
            StoreError: features that differ, a store without training utterances, or none with validation utterances.
        """
        check_names(sources)
        self.sources, self.task = tuple(sources), task
        self.stores = {source.name: store for source, store in zip(sources, stores, strict=True)}
        for source in sources:
            _check_labels(source, self.stores[source.name].task, task)
        self.features = _common_features(self.stores, [source.weight for source in sources], MODALITIES if modalities is None else modalities)
        self.fingerprint = _fingerprint(self.sources, self.stores)
        self.manifest: dict[str, Any] = {}
        maps = {source.name: (source.labels, self.stores[source.name].task) for source in sources if source.labels is not None}
        parts = {name: _parts(self.stores, name) for name in SPLITS}
        self.splits = {name: JointSplit(name, own, self.features, maps) for name, own in parts.items() if own}

    @classmethod
    def open(cls, sources: Sequence[StoreSource], task: Task | None = None) -> "JointStore":
        """Opens several stores as one.

        Args:
            sources: at least one.
            task: what the labels of all of them are to be; by default that of the first store whose labels are not mapped.

        Raises:
            RecipeError, StoreError: as for the constructor; or no task is given and every source maps its labels.
        """
        stores = [Store.open(source.path) for source in sources]
        return cls(sources, stores, common_task(sources, stores) if task is None else task)

    def __str__(self) -> str:
        return ", ".join(str(store) for store in self.stores.values())

    def split(self, name: str) -> JointSplit:
        """One split by name.

        Raises:
            StoreError: none of the stores has such a split.
        """
        if name not in self.splits:
            raise StoreError(
                f"None of the stores {self} has utterances in a split {name!r}; together they have {', '.join(self.splits)}."
                f"{nearest(name, list(self.splits))} Convert at least one of the data sets with that split."
            )
        return self.splits[name]

    def draw(self, seed: int) -> StoreDraw:
        """What of the training split each epoch takes, by the sources' weights."""
        return StoreDraw(self.split("train").counts, [source.weight for source in self.sources], seed)

    def facts(self) -> list[dict[str, Any]]:
        """Each store's name, path, fingerprint, weight and label map, as plain JSON values."""
        return [
            {
                "name": source.name,
                "path": str(self.stores[source.name].path),
                "fingerprint": self.stores[source.name].fingerprint,
                "weight": source.weight,
                "labels": None if source.labels is None else asdict(source.labels),
            }
            for source in self.sources
        ]


def check_names(sources: Sequence[StoreSource]) -> None:
    """Checks that every source has a name of its own.

    Raises:
        RecipeError: two share one.
    """
    paths: dict[str, str] = {}
    for source in sources:
        if source.name in paths:
            raise RecipeError(
                f"data.stores names two stores {source.name!r}: {paths[source.name]} and {source.path}. Give one of them another name, as in "
                f"{{path: {source.path}, name: other}}."
            )
        paths[source.name] = source.path


def common_task(sources: Sequence[StoreSource], stores: Sequence[Store]) -> Task:
    """The task of the first store whose labels are not mapped.

    Raises:
        RecipeError: every source maps its labels.
    """
    for source, store in zip(sources, stores, strict=True):
        if source.labels is None:
            return store.task
    raise RecipeError(
        "Every store of data.stores maps its labels, so that none says what they are mapped to. Name the range in the recipe's section task, as in "
        "`task: {minimum: -3, maximum: 3}`."
    )


def _check_labels(source: StoreSource, own: Task, task: Task) -> None:
    if source.labels is None:
        if own.labels_in_words != task.labels_in_words:
            raise RecipeError(
                f"The store {source.name!r} ({source.path}) is labelled with {own.labels_in_words}, but the task of this training is "
                f"{task.labels_in_words}. Say in data.stores how its labels are to be read, as in {_mapping_example(source, own, task)}."
            )
        return
    low, high = source.labels.scores
    if task.kind == "emotions" or low < task.minimum or high > task.maximum:
        raise RecipeError(
            f"The labels of the store {source.name!r} ({source.path}) are mapped to scores in {low:g}..{high:g}, but the task of this training is "
            f"{task.labels_in_words}. Map them into that range, or change it in the recipe's section task, as in "
            f"`task: {{minimum: {low:g}, maximum: {high:g}}}`."
        )


def _mapping_example(source: StoreSource, own: Task, task: Task) -> str:
    if task.kind == "emotions":
        return "a recipe of its own, since labels cannot be mapped to emotions"
    if own.kind == "emotions":
        scores = ", ".join(f"{emotion}: {0:g}" for emotion in own.emotions)
        return f"{{path: {source.path}, labels: {{values: {{{scores}}}}}}} with a score in {task.minimum:g}..{task.maximum:g} for each"
    ranges = f"from_range: [{own.minimum:g}, {own.maximum:g}], to_range: [{task.minimum:g}, {task.maximum:g}]"
    return f"{{path: {source.path}, labels: {{{ranges}}}}}, or labels: {{values: {{LABEL: SCORE, ...}}}}"


def _parts(stores: dict[str, Store], name: str) -> dict[str, BatchableSplit]:
    """Each store's split, where it has one with utterances.

    Training utterances are needed of every store, and labels in `train` and `valid`. A test split without labels is left out where
    another has labels, since the union can only be scored as a whole.
    """
    parts = {store: opened.splits[name] for store, opened in stores.items() if name in opened.splits and len(opened.splits[name])}
    if name == "train" and len(parts) < len(stores):
        store = next(store for store in stores if store not in parts)
        raise StoreError(
            f"The store {store!r} ({stores[store]}) has no utterances in its split 'train', so there is nothing to learn from it. "
            "Leave it out of data.stores, or convert the data set with that split."
        )
    unlabelled = [store for store, part in parts.items() if part.labels is None]
    if not unlabelled or (name == "test" and len(unlabelled) == len(parts)):
        return parts
    if name != "test":
        raise StoreError(
            f"The split {name!r} of the store {unlabelled[0]!r} ({stores[unlabelled[0]]}) has no labels; training needs labelled ones. "
            "Convert the data set with its labels, or leave the store out of data.stores."
        )
    logger.warning("The test split of the store %s has no labels and is left out, since that of other stores has some.", ", ".join(unlabelled))
    return {store: part for store, part in parts.items() if store not in unlabelled}


def _common_features(stores: dict[str, Store], weights: Sequence[float], modalities: Sequence[str]) -> dict[str, FeatureSpec]:
    features = {}
    for modality in (name for name in MODALITIES if name in modalities):
        owners = {name: store for name, store in stores.items() if modality in store.features}
        if not owners:
            continue
        first, *others = owners
        for other in others:
            difference = stores[first].features[modality].difference(stores[other].features[modality])
            if difference is not None:
                raise StoreError(
                    f"The stores {first!r} ({stores[first]}) and {other!r} ({stores[other]}) hold different {modality} features: {difference}. "
                    "One model cannot read both. Convert one of the data sets with the other's extractor, or leave the modality out "
                    "of data.modalities."
                )
        shares = [
            weight * _train_steps(store, modality) for store, weight in zip(stores.values(), weights, strict=True) if modality in store.features
        ]
        features[modality] = pooled_features([store.features[modality] for store in owners.values()], shares)
    return features


def _train_steps(store: Store, modality: str) -> int:
    return store.splits["train"].num_steps(modality) if "train" in store.splits else 0


def pooled_features(specs: Sequence[FeatureSpec], shares: Sequence[float]) -> FeatureSpec:
    """One specification for features of the same kind from several stores.

    Args:
        specs: at least one, all with the same dim, extractor and version.
        shares: how much each counts: its training steps times its weight, that is, the steps that an epoch shows of it.

    Returns:
        The first specification, with mean and standard deviation of all steps together; `rate_hz` is None where the stores' differ.
    """
    rate = specs[0].rate_hz if len({spec.rate_hz for spec in specs}) == 1 else None
    known = [(spec, share) for spec, share in zip(specs, shares, strict=True) if spec.mean is not None and spec.std is not None and share > 0]
    if len(known) < 2:  # nothing to pool: to the last digit what the store says
        spec = known[0][0] if known else specs[0]
        return replace(spec, rate_hz=rate)
    part = np.array([share for _, share in known])[:, None] / sum(share for _, share in known)
    means, deviations = np.array([spec.mean for spec, _ in known]), np.array([spec.std for spec, _ in known])
    mean = (part * means).sum(axis=0)
    variance = (part * (deviations**2 + (means - mean) ** 2)).sum(axis=0)
    return replace(specs[0], rate_hz=rate, mean=tuple(mean.tolist()), std=tuple(np.sqrt(variance).tolist()))


def _fingerprint(sources: Sequence[StoreSource], stores: dict[str, Store]) -> str:
    identity = [[source.name, stores[source.name].fingerprint, None if source.labels is None else _plain_map(source.labels)] for source in sources]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def _plain_map(labels: LabelMap) -> list[Any]:
    values = None if labels.values is None else [[key, labels.values[key]] for key in sorted(labels.values, key=str)]
    return [labels.from_range, labels.to_range, values]
