"""Cutting the voice and the face of an utterance into spans: short stretches of time, or of steps where times are not known."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float

from multigrain.analysis.result import Span
from multigrain.analysis.variants import UtteranceInput


def spans_of(given: UtteranceInput, modality: str, *, most: int, shortest_seconds: float) -> tuple[Span, ...]:
    """A modality's steps as spans, one after another, each with at least one step.

    Args:
        given: the utterance.
        modality: audio or vision.
        most: spans at most.
        shortest_seconds: of a span, where times are known; the last one may be shorter. Without times, spans are equal shares of the steps.

    Returns:
        The spans, none where there are no steps. A time in which there are none, since no face was found, belongs to no span.
    """
    count = given.num_steps(modality)
    if count == 0:
        return ()
    begins = step_begins(given, modality)
    if begins is None:
        edges = np.unique(np.linspace(0, count, min(most, count) + 1).round().astype(int))
        return tuple(Span(modality=modality, start_step=int(start), end_step=int(end)) for start, end in pairwise(edges))
    step = 1 / given.step_times[modality].rate_hz
    width = max(shortest_seconds, (begins[-1] + step - begins[0]) / most)
    place = np.minimum(np.floor((begins - begins[0]) / width + 1e-9).astype(int), most - 1)
    spans = []
    for number in np.unique(place):
        steps = np.flatnonzero(place == number)
        first, last = int(steps[0]), int(steps[-1])
        spans.append(
            Span(
                modality=modality,
                start_step=first,
                end_step=last + 1,
                start_seconds=float(begins[first]),
                end_seconds=float(begins[last] + step),
            )
        )
    return tuple(spans)


def step_begins(given: UtteranceInput, modality: str) -> Float[np.ndarray, " step"] | None:
    """The second at which each step begins, or None where that is not known."""
    times = given.step_times.get(modality)
    if times is None:
        return None
    begins = times.seconds()
    return begins if len(begins) == given.num_steps(modality) and len(begins) else None
