"""What is wrong with a data set: `examine(Store.open(path))` reads all of it once and says what it found and what to do.

A *problem* makes results wrong or training fail (NaN, a video in two splits, the same label everywhere); a *note* is worth knowing
(absent modalities, features that carry nothing). Values are read in chunks, so that memory stays small whatever the size.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from multigrain.data import doctor_checks as checks
from multigrain.data.doctor_labels import check_changes, check_label_use
from multigrain.data.doctor_scan import ValueScan, scan_values
from multigrain.data.doctor_summary import Finding, LabelSummary, ModalitySummary, SplitSummary, summarise_labels, summarise_modality
from multigrain.data.store import Store
from multigrain.schema import Task

__all__ = ["Diagnosis", "Finding", "LabelSummary", "ModalitySummary", "SplitSummary", "examine"]


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found in a data set.

    Attributes:
        store: the store's folder name.
        fingerprint: SHA-256 of its content.
        task: what is predicted.
        dims: features per step, by modality.
        replaced: non-finite values that the conversion replaced, by modality.
        splits: a summary of each split.
        findings: problems first, then notes.
    """

    store: str
    fingerprint: str
    task: Task
    dims: dict[str, int]
    replaced: dict[str, int]
    splits: dict[str, SplitSummary]
    findings: tuple[Finding, ...]

    @property
    def is_healthy(self) -> bool:
        """True when there is no problem; notes do not count."""
        return not self.problems

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings that make results wrong or training fail."""
        return tuple(finding for finding in self.findings if finding.level == "problem")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """The findings that are worth knowing."""
        return tuple(finding for finding in self.findings if finding.level == "note")

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values; numbers that are not finite become None."""
        content = asdict(self) | {"task": self.task.to_dict(), "is_healthy": self.is_healthy}
        return dict(_finite(content))

    def to_text(self) -> str:
        """Everything as lines of text for a terminal."""
        from multigrain.data.doctor_report import diagnosis_text

        return diagnosis_text(self)

    def to_html(self) -> str:
        """Everything as one self-contained page with plots of lengths and labels."""
        from multigrain.data.doctor_report import diagnosis_html

        return diagnosis_html(self)


def examine(store: Store) -> Diagnosis:
    """Reads all of a store and says what is wrong with it.

    Args:
        store: as `Store.open` gives it.

    Returns:
        A summary of every split and the findings. A data set of MOSEI's size takes seconds.
    """
    summaries, modality_findings = _examine_splits(store)
    findings = [
        *check_changes(store),
        *checks.check_splits(store),
        *checks.check_groups(store),
        *checks.check_labels(store),
        *check_label_use(store),
        *modality_findings,
        *checks.check_copies(store),
    ]
    return Diagnosis(
        store=store.path.name,
        fingerprint=store.fingerprint,
        task=store.task,
        dims={name: spec.dim for name, spec in store.features.items()},
        replaced=dict(store.manifest.get("replaced") or {}),
        splits=summaries,
        findings=tuple(sorted(findings, key=lambda finding: finding.level != "problem")),
    )


def _examine_splits(store: Store) -> tuple[dict[str, SplitSummary], list[Finding]]:
    modalities: dict[str, dict[str, ModalitySummary]] = {name: {} for name in store.splits}
    findings: list[Finding] = []
    for modality in store.features:
        scans: dict[str, ValueScan] = {}
        for name, split in store.stored.items():
            scans[name] = scan_values(split.values(modality))
            modalities[name][modality] = summarise_modality(split, modality, scans[name])
            findings += checks.check_values(split, modality, scans[name], modalities[name][modality])
        findings += checks.check_presence(modality, {name: modalities[name][modality] for name in store.splits})
        learned_from = next(iter(scans))
        findings += checks.check_constant_features(learned_from, modality, scans[learned_from])
        findings += checks.check_scales(modality, scans)
    summaries = {
        name: SplitSummary(
            utterances=len(split),
            groups=len(set(split.groups) - {""}),
            labels=None if split.labels is None else summarise_labels(split.labels.numpy(), store.task),
            modalities=modalities[name],
        )
        for name, split in store.splits.items()
    }
    return summaries, findings


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
