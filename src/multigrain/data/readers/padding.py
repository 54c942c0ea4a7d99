"""Recovers the real lengths of sequences that were padded with zeros and stored without their lengths."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Shaped

from multigrain.data.safe_pickle import release_pages
from multigrain.errors import DataError

SAMPLED_UTTERANCES = 200
RELEASE_BYTES = 64 << 20
"""After so many bytes were read of a file-backed array, its pages are given back."""


def real_steps(values: Shaped[np.ndarray, "time dim"]) -> Bool[np.ndarray, " time"]:
    """True for steps that are not all zero (NaN and infinities are not zero)."""
    return np.asarray((values != 0).any(axis=1))


def real_span(real: Bool[np.ndarray, " time"], side: Literal["left", "right"]) -> slice:
    """The steps of a sequence without its padding on that side; empty when no step is real.

    Zeros inside a sequence, or at its other end, are part of it (a frame without a face).
    """
    places = np.flatnonzero(real)
    if not len(places):
        return slice(0, 0)
    return slice(int(places[0]), len(real)) if side == "left" else slice(0, int(places[-1]) + 1)


def are_aligned(arrays: Mapping[str, np.ndarray], asked: bool | None, where: str) -> bool:
    """Whether the modalities share their steps: as asked, else when all (n, time, dim) arrays have the same time.

    Raises:
        DataError: alignment was asked for, but the arrays have different numbers of steps.
    """
    times = {modality: array.shape[1] for modality, array in arrays.items()}
    have_equal_time = len(set(times.values())) == 1 and len(times) > 1
    if asked and len(times) > 1 and not have_equal_time:
        raise DataError(
            f"{where}: --aligned was given, but the modalities have different numbers of steps ({times}), so that step k of one does not belong to "
            "step k of another. Leave the option out, or use the aligned file of this data set."
        )
    return have_equal_time if asked is None else asked


def padding_side(arrays: Sequence[Mapping[str, np.ndarray]], is_aligned: bool) -> tuple[Literal["left", "right"], int, int]:
    """The side on which more all-zero steps lie, over a sample of each split; left when there are as many on both.

    Args:
        arrays: per split, (n, time, dim) by modality.
        is_aligned: count only steps that are zero in all modalities.

    Returns:
        The side, and the all-zero steps counted at the left and at the right end of sequences that are not all zero.
    """
    left = right = 0
    for by_modality in arrays:
        count = len(next(iter(by_modality.values())))
        for index in np.unique(np.linspace(0, count - 1, min(count, SAMPLED_UTTERANCES)).astype(int)) if count else ():
            steps = [real_steps(array[index]) for array in by_modality.values()]
            for array in by_modality.values():
                release_pages(array)
            for real in [np.logical_or.reduce(steps)] if is_aligned else steps:
                if real.any():
                    left += int(real.argmax())
                    right += int(real[::-1].argmax())
    return ("right" if right > left else "left"), left, right


def strip_padding(
    sequences: Mapping[str, Shaped[np.ndarray, "_ _"]], side: Literal["left", "right"], is_aligned: bool
) -> dict[str, Shaped[np.ndarray, "_ _"]]:
    """One utterance's (time, dim) sequences without padding; a modality that is zero throughout is left out.

    When aligned, only steps that are padding in every modality go, so that all keep the same number of steps.
    """
    real = {modality: real_steps(values) for modality, values in sequences.items()}
    present = [modality for modality in sequences if real[modality].any()]
    if is_aligned and present:
        joint = real_span(np.logical_or.reduce([real[modality] for modality in present]), side)
        return {modality: np.array(sequences[modality][joint]) for modality in present}
    return {modality: np.array(sequences[modality][real_span(real[modality], side)]) for modality in present}
