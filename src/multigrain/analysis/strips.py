"""Measured courses of the voice and the face, to be shown under an utterance: loudness and pitch, mouth and brows.

They are taken from features whose columns are known, those that multigrain extracts from videos, and only shown: no explanation uses them.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from multigrain.analysis.result import Strip
from multigrain.schema import FeatureSpec, StepTimes, Utterance

STRIP_RATE_HZ = 10.0
_VOICE = (("loudness", "", 0, False), ("pitch", "semitones above 27.5 Hz", 10, True))
"""Name, unit, column of the low-level descriptors of eGeMAPSv02, and whether 0 means that the voice does not sound."""
_FACE = (("corners of the mouth up", "mouth_corners_up"), ("inner brow up", "inner_brow_left"), ("lips apart", "lips_part"))


def strips_of(utterance: Utterance, features: Mapping[str, FeatureSpec], times: Mapping[str, StepTimes]) -> tuple[Strip, ...]:
    """What can be shown of an utterance.

    Args:
        utterance: with its features.
        features: where they come from.
        times: when their steps are; a modality without times has no strips.
    """
    from multigrain.video.acoustic import ACOUSTIC_SPEC
    from multigrain.video.facial import FACIAL_FEATURES, FACIAL_SPEC

    strips = []
    columns = {
        "audio": (ACOUSTIC_SPEC, _VOICE),
        "vision": (FACIAL_SPEC, tuple((name, "eye distances", FACIAL_FEATURES.index(feature), False) for name, feature in _FACE)),
    }
    for modality, (known, shown) in columns.items():
        spec, values = features.get(modality), utterance.features.get(modality)
        if spec is None or values is None or modality not in times or known.difference(spec) is not None or len(values) == 0:
            continue
        begins = times[modality].seconds()
        if len(begins) == len(values):
            strips += [_strip(modality, name, unit, begins, values[:, column], is_zero_silent) for name, unit, column, is_zero_silent in shown]
    return tuple(strips)


def _strip(modality: str, name: str, unit: str, begins: Float[np.ndarray, " step"], values: np.ndarray, is_zero_silent: bool) -> Strip:
    """Means over tenths of a second; None where nothing was measured in one."""
    bins = np.floor((begins - begins[0]) * STRIP_RATE_HZ + 1e-6).astype(int)
    is_known = np.isfinite(values) & ((values != 0) | (not is_zero_silent))
    counts = np.bincount(bins, weights=is_known)
    sums = np.bincount(bins, weights=np.where(is_known, values, 0.0).astype(np.float64))
    return Strip(
        modality=modality,
        name=name,
        unit=unit,
        times_seconds=tuple((begins[0] + np.arange(len(counts)) / STRIP_RATE_HZ).tolist()),
        values=tuple(float(total / count) if count else None for total, count in zip(sums, counts, strict=True)),
    )
