"""The doctor's checks: each looks at one kind of fault and yields findings that say what, where, how many, and what to do."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from multigrain.data.doctor_scan import Outliers, ValueScan
from multigrain.data.doctor_summary import Finding, ModalitySummary, zero_steps_of_utterances
from multigrain.data.store import Split, Store
from multigrain.errors import first_few
from multigrain.schema import SPLITS, Task

NUM_NAMED = 5
"""Ids, features or groups that a message names before it only counts the rest."""
MANY_ZERO_STEPS = 0.05
SLIGHTLY_OUTSIDE = 0.1
"""Share of the label range by which labels may lie outside it before that is a problem (noise does it, another scale does more)."""
FEW_STEPS = 10
"""Two utterances with equal features and fewer steps than this may be the same short words; with more they are copies."""


def check_splits(store: Store) -> Iterator[Finding]:
    """Splits that are missing or empty, and ids that occur twice."""
    for name in SPLITS:
        if name not in store.splits:
            use = {"train": "training on it", "valid": "training with early stopping", "test": "an honest final number"}[name]
            yield Finding(
                "note", "split_missing", f"There is no split {name!r}, which {use} needs. Convert the data set with it if it is to be used so."
            )
        elif len(store.splits[name]) == 0:
            yield Finding("problem", "split_empty", f"The split {name!r} holds no utterance. Convert the data set again with its utterances.")
    places: dict[str, list[str]] = defaultdict(list)
    for name, split in store.splits.items():
        for identifier in split.ids:
            places[identifier].append(name)
    twice = [f"{identifier} ({', '.join(names)})" for identifier, names in places.items() if len(names) > 1]
    if twice:
        yield Finding(
            "problem",
            "id_twice",
            f"{counted(len(twice), 'id')} more than once: {first_few(twice)}. Predictions are matched by id; rename or remove the duplicates.",
        )


def check_groups(store: Store) -> Iterator[Finding]:
    """A video or speaker in two splits."""
    unknown = [name for name, split in store.splits.items() if len(split) and not any(split.groups)]
    if unknown:
        yield Finding(
            "note",
            "groups_unknown",
            f"The utterances of {first_few(unknown)} have no group (video or speaker), so that nobody can tell whether a video is in "
            "two splits. Convert the data set with groups if they are known.",
        )
    present = list(store.splits)
    for index, first in enumerate(present):
        for second in present[index + 1 :]:
            groups = Counter(store.splits[first].groups), Counter(store.splits[second].groups)
            shared = sorted((groups[0].keys() & groups[1].keys()) - {""})
            if shared:
                counts = [sum(group[name] for name in shared) for group in groups]
                yield Finding(
                    "problem",
                    "group_in_two_splits",
                    f"{counted(len(shared), 'group')} (video or speaker) in two splits: both in {first!r} "
                    f"({counted(counts[0], 'utterance')}) and in {second!r} "
                    f"({counts[1]}): {first_few(shared)}. A model recognises the speaker or the topic, and its score is too good. "
                    "Move each group to one split.",
                )


def check_labels(store: Store) -> Iterator[Finding]:
    """Labels that are missing, not numbers, out of range, or all the same."""
    task = store.task
    for name, split in store.splits.items():
        if split.labels is None:
            yield Finding("note", "unlabelled", f"The split {name!r} has no labels: it can be predicted, but neither trained on nor evaluated.")
            continue
        labels = split.labels.numpy()
        bad = ~np.isfinite(labels).all(axis=1)
        if bad.any():
            ids = [split.ids[row] for row in np.flatnonzero(bad)[:NUM_NAMED]]
            yield Finding(
                "problem",
                "label_not_finite",
                f"{counted(int(bad.sum()), 'label')} of {name!r} NaN or infinite: {first_few(ids)}. Remove these utterances or mend the labels.",
            )
        values = labels[~bad]
        if len(values):
            yield from _check_label_range(task, name, split.ids, labels, bad)
            yield from _check_constant_labels(task, name, values)


def _check_label_range(task: Task, name: str, ids: Sequence[str], labels: np.ndarray, bad: np.ndarray) -> Iterator[Finding]:
    if task.kind == "emotions":
        outside = ~np.isin(labels, (0.0, 1.0)).all(axis=1) & ~bad
        if outside.any():
            first = int(np.flatnonzero(outside)[0])
            yield Finding(
                "problem",
                "label_out_of_range",
                f"{counted(int(outside.sum()), 'utterance')} of {name!r} with an emotion label that is neither 0 nor 1, the first {ids[first]} with "
                f"{labels[first].tolist()}. Convert the data set again with the labels as 0 and 1.",
            )
        return
    distance = np.where(bad, 0.0, np.maximum(task.minimum - labels[:, 0], labels[:, 0] - task.maximum))
    outside = distance > 0
    if outside.any():
        first, worst = int(np.flatnonzero(outside)[0]), float(distance.max())
        is_slight = worst <= SLIGHTLY_OUTSIDE * (task.maximum - task.minimum)
        yield Finding(
            "note" if is_slight else "problem",
            "label_out_of_range",
            f"{int(outside.sum())} of the {len(labels)} labels of {name!r} outside the task's range {task.minimum:g}..{task.maximum:g}, by at most "
            f"{worst:.3g}; the first is {labels[first, 0]:.4g} of {ids[first]}. "
            + ("Accuracies clip them to the range." if is_slight else "Are the labels on another scale? Convert with the task's right range."),
        )


def _check_constant_labels(task: Task, name: str, values: np.ndarray) -> Iterator[Finding]:
    names = task.emotions if task.kind == "emotions" else ("score",)
    constant = [f"{label} ({values[0, column]:g})" for column, label in enumerate(names) if np.ptp(values[:, column]) == 0]
    if constant and len(values) > 1:
        yield Finding(
            "problem",
            "label_constant",
            f"All {len(values)} utterances of {name!r} have the same label: {first_few(constant)}. Nothing can be learned from it, and "
            "correlation and F1 mean nothing. Check which column the labels were read from, and how the splits were made.",
        )


def check_presence(modality: str, summaries: dict[str, ModalitySummary]) -> Iterator[Finding]:
    """Utterances without a modality, and lengths that look like padding."""
    parts = {name: summary for name, summary in summaries.items() if summary.present + summary.absent}
    empty = [name for name, part in parts.items() if part.present == 0]
    some = [f"{part.absent} of {part.present + part.absent} in {name!r}" for name, part in parts.items() if part.absent and part.present]
    if empty:
        elsewhere = len(empty) < len(parts)
        yield Finding(
            "problem" if elsewhere else "note",
            "modality_missing",
            f"No utterance of {first_few(empty)} has {modality}"
            + (", though other splits have it. Models trained with it meet what they never saw; " if elsewhere else ". ")
            + "convert the data set with these features, or leave the modality out with the recipe.",
        )
    if some:
        yield Finding(
            "note",
            "modality_absent",
            f"{modality} is absent from {', '.join(some)}. Models treat it as missing, not as zeros; nothing needs to be done if that is true.",
        )
    for name, part in parts.items():
        if part.present > 10 and part.lengths["minimum"] == part.lengths["maximum"] > 1:
            yield Finding(
                "note",
                "length_constant",
                f"All {part.present} {modality} sequences of {name!r} have {part.lengths['maximum']:g} steps. "
                "If they were padded to that length, the padding is taken for data: convert again from a file with lengths.",
            )


def check_values(split: Split, modality: str, scan: ValueScan, summary: ModalitySummary) -> Iterator[Finding]:
    """Values that are not finite, not there (all 0) or far from the rest."""
    where = f"{modality} of {split.name!r}"
    if scan.first_nonfinite is not None:
        step, feature, value = scan.first_nonfinite
        owner = utterance_at(split, modality, step)
        yield Finding(
            "problem",
            "not_finite",
            f"{counted(scan.num_nonfinite, 'value')} of {where} NaN or infinite; the first is {value} in {owner}, feature {feature}. "
            "Convert the data set again with --replace-nonfinite 0, or mend the features.",
        )
    if summary.zero_steps > MANY_ZERO_STEPS * max(1, summary.steps):
        yield Finding(
            "note",
            "zero_steps",
            f"{summary.zero_steps} of {summary.steps} steps ({summary.zero_steps / summary.steps:.0%}) in {where} hold "
            "nothing but zeros: padding inside sequences, or frames where the extractor found nothing (no face, no voice). Models read them as data.",
        )
    if summary.zero_utterances:
        zeros = zero_steps_of_utterances(split, modality, scan)
        lengths = split.lengths(modality)
        rows = np.flatnonzero((zeros == lengths) & (lengths > 0))[:NUM_NAMED]
        yield Finding(
            "note",
            "utterance_all_zero",
            f"{counted(summary.zero_utterances, 'utterance')} of {split.name!r} with {modality} that is 0 throughout, "
            f"such as {first_few([split.ids[row] for row in rows])}. "
            "If the modality is absent there, leave it out when converting, so that models know.",
        )
    if scan.outliers:
        yield Finding("note", "outliers", _describe_outliers(scan.outliers, where))


def _describe_outliers(outliers: tuple[Outliers, ...], where: str) -> str:
    far = [one for one in outliers if not one.is_stand_in]
    stand_ins = [one for one in outliers if one.is_stand_in]
    parts = []
    if far:
        examples = [f"{one.feature} ({one.extreme:.4g}, {one.deviations:.0f} standard deviations)" for one in far]
        parts.append(
            f"{counted(len(far), 'feature')} of {where} with values more than 20 standard deviations from their mean: {first_few(examples)}."
        )
    if stand_ins:
        count = sum(one.count for one in stand_ins)
        parts.append(
            f"{counted(count, 'value')} of {where} exactly 255 or -255, as extractors write where they have nothing to say "
            f"(feature {first_few([str(one.feature) for one in stand_ins])})."
        )
    return " ".join(parts) + " They dominate sums and gradients: normalise and clip the inputs in the recipe, or mend the features."


def check_constant_features(name: str, modality: str, scan: ValueScan) -> Iterator[Finding]:
    """Features that carry nothing in the split that models learn from."""
    dim, nothing = len(scan.minimum), len(scan.constant_features) + len(scan.zero_features)
    if not len(scan.is_zero) or not nothing:
        return
    if nothing == dim:
        yield Finding(
            "problem",
            "modality_constant",
            f"All {dim} features of {modality} in {name!r} have the same value at every step: the modality carries nothing. Extract it again.",
        )
        return
    for kind, features in (("always 0", scan.zero_features), ("always the same value", scan.constant_features)):
        if features:
            yield Finding(
                "note",
                "feature_constant",
                f"{len(features)} of the {dim} features of {modality} {kind} in {name!r}: feature "
                f"{first_few([str(feature) for feature in features])}. "
                "They carry nothing there; check the extractor, or leave them out.",
            )


def check_scales(modality: str, scans: dict[str, ValueScan]) -> Iterator[Finding]:
    """A split whose features are on another scale than those that models learn from."""
    reference = scans.get("train")
    if reference is None or not len(reference.is_zero):
        return
    for name, scan in scans.items():
        usable = (reference.std > 0) & np.isfinite(scan.mean)
        usable[[one.feature for one in (*reference.outliers, *scan.outliers)]] = False  # a single one distorts the spread
        if name == "train" or len(scan.is_zero) < 100 or not usable.any():
            continue
        shift = np.abs(scan.mean - reference.mean)[usable] / reference.std[usable]
        ratio = np.maximum(scan.std[usable], 1e-12) / reference.std[usable]
        share = float(((shift > 3) | (ratio > 10) | (ratio < 0.1)).mean())
        if share > 0.2:
            yield Finding(
                "problem",
                "scale_differs",
                f"{share:.0%} of the features of {modality} are on another scale in {name!r} than in 'train' (mean more than 3 standard "
                "deviations away, or spread 10 times as large or small). Extract all splits with the same tool and settings.",
            )


def check_copies(store: Store) -> Iterator[Finding]:
    """Utterances whose features are equal, value for value, in all modalities; of words without vectors, whose words are."""
    candidates: dict[tuple[object, ...], list[tuple[str, int]]] = defaultdict(list)
    for name, split in store.stored.items():
        for row in range(len(split)):
            signature = _signature(split, row)
            if signature:
                candidates[signature].append((name, row))
    across: dict[tuple[str, str], list[str]] = defaultdict(list)
    within: dict[str, list[str]] = defaultdict(list)
    for places in candidates.values():
        first_name, first = places[0]
        for name, row in places[1:]:
            split, first_split = store.stored[name], store.stored[first_name]
            if not _is_equal(first_split, first, split, row):
                continue
            pair = f"{first_split.ids[first]} = {split.ids[row]}"
            is_short = sum(int(split.lengths(modality)[row]) for modality in split.modalities) < FEW_STEPS
            if name != first_name and not is_short:
                across[first_name, name].append(pair)
            else:
                within["across splits" if name != first_name else f"within {name!r}"].append(pair)
    for (first_name, name), pairs in across.items():
        yield Finding(
            "problem",
            "copies_across_splits",
            f"{counted(len(pairs), 'utterance')} of {name!r} with the same features, value for value, as one of {first_name!r}: {first_few(pairs)}. "
            "A model has seen them before it is tested on them. Remove the copies from one of the splits.",
        )
    for place, pairs in within.items():
        yield Finding(
            "note",
            "copies",
            f"{counted(len(pairs), 'utterance')} {place} with the same features as another: {first_few(pairs)}. "
            "Remove the copies if they are the same clip.",
        )


def _signature(split: Split, row: int) -> tuple[object, ...]:
    """A few rows of an utterance's features: equal for copies, and very seldom equal otherwise."""
    parts: list[object] = []
    for modality in split.modalities:
        length = int(split.lengths(modality)[row])
        if length:
            start, readout = int(split.starts(modality)[row]), _readout(split, modality, row, length)
            values = split.values(modality)
            if values.shape[1] == 0:
                parts.append((modality, hash(tuple(split.records[row]["words"] or ()))))
                continue
            parts.append((modality, length, readout, hash(values[[start, start + length // 2, start + readout]].tobytes())))
    return tuple(parts)


def _readout(split: Split, modality: str, row: int, length: int) -> int:
    readouts = split.readouts(modality)
    return length - 1 if readouts is None else int(readouts[row])


def _is_equal(first_split: Split, first: int, split: Split, row: int) -> bool:
    """The signatures are equal already, so that both have the same modalities and lengths."""
    for modality in split.modalities:
        if split.values(modality).shape[1] == 0 and split.records[row]["words"] != first_split.records[first]["words"]:
            return False
        length = int(split.lengths(modality)[row])
        start, first_start = int(split.starts(modality)[row]), int(first_split.starts(modality)[first])
        if not np.array_equal(first_split.values(modality)[first_start : first_start + length], split.values(modality)[start : start + length]):
            return False
    return True


def utterance_at(split: Split, modality: str, step: int) -> str:
    """Names the utterance that a stored step belongs to, and the step's place in it."""
    starts, lengths = split.starts(modality), split.lengths(modality)
    owners = np.flatnonzero((starts <= step) & (step < starts + lengths))
    if not len(owners):
        return f"stored step {step}"
    return f"utterance {split.ids[owners[0]]}, step {step - int(starts[owners[0]])}"


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 label", "2 labels"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
