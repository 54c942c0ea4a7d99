"""What a model can reach at best on the planted data, computed exactly, for each kind of evidence that it may have.

Let `X` be the evidence that a model can use. Whatever function of `X` it learns, its correlation with the label `y` is at most

    max over f of corr(f(X), y) = sqrt(Var(E[y | X]) / Var(y)),

and `f(X) = E[y | X]` reaches it. Given `X`, the polar words are independent, each with a known distribution of its contribution
`s m` in {-2, -1, 1, 2}; the sum's distribution is their convolution, and `E[y | X] = E[3 tanh(sum / 3) | X]`. So each limit is
a finite sum over how many polar words there are and what is known of each. No sampling is involved, and the features' noise
and the distractors, which can only lower what a model reaches, are left out: the limits are those of perfect perception.

What is known of each polar word:

- `oracle`: its polarity and both events. `E[y | X] = g`.
- `text`: its polarity alone: `P(m = 1, 2, -1, -2)` follows from the two probabilities.
- `text_audio`, `text_vision`: its polarity and one of the events, bound to it.
- `audio`, `vision`, `audio_vision`: its events without its polarity. Flipping all polarities leaves `X` as it is and turns
  `y`'s noiseless part into `-g`, so `E[y | X] = 0`: the correlation of any function of these is exactly 0.
- `pooled`: a model that sums (or averages) each modality over time before anything meets. The sums are the counts of each code:
  which keys were said, the *sum* of the polarities, which keys were stressed, and which contradicted. What is lost is which word
  had which polarity, as soon as an utterance holds both: all assignments of the signs to the keys are equally likely.
- `same_place`: a model that joins the modalities position by position: of each word it knows the polarity, and an event only
  when that happens to lie inside the word's own span. Anywhere in `n` words that has probability `1 / n`; with a maximum lag
  it depends on the word's place, and the largest probability of all places is used, so that the limit stays an upper bound. With
  aligned data and `maximum_lag = 0` this is the oracle, as it should be.

With chains (`chain_length` above 1) text alone may know how many words are reversed, and sums know less than which: then there are the
oracle, `text_vision` (everything but the stress) and `pooled`, which stays an upper bound of what sums allow.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from multigrain.data.planted_generator import PlantedConfig, allowed_steps

Sums = Float[np.ndarray, " _"]
"""Probabilities of the values `-largest .. largest`."""


def correlation_limits(config: PlantedConfig) -> dict[str, float]:
    """The largest correlation with the label that any function of each kind of evidence can have, on average over all utterances.

    Returns:
        `oracle`, `text`, `text_audio`, `text_vision`, `audio`, `vision`, `audio_vision`, `pooled`, `same_place`, each in 0..1; 0 for
        all of them when the label is constant. With chains only `oracle`, `text_vision` and `pooled`.
    """
    known = {"oracle": (1.0, 1.0), "text": (0.0, 0.0), "text_audio": (1.0, 0.0), "text_vision": (0.0, 1.0)}
    explained = {name: _explained_variance(config, _word_types(config, *seen)) for name, seen in known.items()}
    explained |= dict.fromkeys(("audio", "vision", "audio_vision"), 0.0)
    explained["pooled"] = _pooled_explained_variance(config)
    lengths = range(config.min_words, config.max_words + 1)
    by_length = [_explained_variance(config, _word_types(config, *_chances_at_own_place(config, length))) for length in lengths]
    explained["same_place"] = sum(by_length) / len(by_length)
    if config.chain_length > 1:
        explained = {name: explained[name] for name in ("oracle", "text_vision", "pooled")}
    total = explained["oracle"] + config.label_noise**2
    return {name: math.sqrt(min(1.0, value / total)) if total > 0 else 0.0 for name, value in explained.items()}


def expected_label_from_text(config: PlantedConfig, polarities: tuple[int, ...]) -> float:
    """The best prediction (in squared error) for an utterance of which only the polarities of its polar words are known."""
    return _expected_label([_contribution(config, polarity, None, None) for polarity in polarities])


def oracle_mean_absolute_error(config: PlantedConfig) -> float:
    """The oracle's expected mean absolute error: `label_noise * sqrt(2 / pi)`."""
    return config.label_noise * math.sqrt(2 / math.pi)


def _contribution(config: PlantedConfig, polarity: int, is_stressed: bool | None, is_contradicted: bool | None) -> Sums:
    """Distribution over -2..2 of what a word adds; None = not known."""
    stress = {None: config.stress_probability, True: 1.0, False: 0.0}[is_stressed]
    contradiction = {None: config.contradiction_probability, True: 1.0, False: 0.0}[is_contradicted]
    return _distribution(polarity, stress, contradiction)


def _distribution(polarity: int, stress: float, contradiction: float) -> Sums:
    values = np.zeros(5)
    for size, reversed_sign in itertools.product((1, 2), (1, -1)):
        probability = (stress if size == 2 else 1 - stress) * (contradiction if reversed_sign < 0 else 1 - contradiction)
        values[2 + polarity * size * reversed_sign] += probability
    return values


def _expected_label(words: list[Sums]) -> float:
    total = np.ones(1)
    for word in words:
        total = np.convolve(total, word)
    largest = len(total) // 2
    return float(total @ (3 * np.tanh(np.arange(-largest, largest + 1) / 3)))


def _word_types(config: PlantedConfig, audio_seen: float, vision_seen: float) -> list[tuple[float, Sums]]:
    """What may be known of a positive polar word, with its probability, when an event is seen with the given probability.

    An event that is not seen may be there all the same: its chance is then `p (1 - seen) / (1 - p seen)`.
    """
    stress = _seen_or_not(config.stress_probability, audio_seen)
    contradiction = _seen_or_not(config.contradiction_probability, vision_seen)
    return [
        (stress_share * reversal_share, _distribution(1, stress_chance, reversal_chance))
        for stress_share, stress_chance in stress
        for reversal_share, reversal_chance in contradiction
        if stress_share * reversal_share > 0
    ]


def _seen_or_not(probability: float, seen: float) -> list[tuple[float, float]]:
    share = probability * seen
    return [(share, 1.0), (1 - share, probability * (1 - seen) / (1 - share) if share < 1 else 0.0)]


def _explained_variance(config: PlantedConfig, positive_types: list[tuple[float, Sums]]) -> float:
    """`Var(E[y | X])`; the mean of `y` is 0, since polarities are fair coins."""
    types = [(share / 2, values) for share, values in positive_types] + [(share / 2, values[::-1]) for share, values in positive_types]
    return _mean_over_counts(config, lambda count: _second_moment(types, count, float(math.factorial(count)), np.ones(1)))


def _second_moment(types: list[tuple[float, Sums]], count: int, weight: float, total: Sums) -> float:
    """Mean of `E[y | X]**2` over the ways for `count` more words to be of these types, in no order.

    `total` is the distribution of the sum of the words so far, and `weight` their probability times what is left of the
    multinomial factor: each type that `number` words have divides it by `number!`.
    """
    if count == 0:
        largest = len(total) // 2
        return weight * float(total @ (3 * np.tanh(np.arange(-largest, largest + 1) / 3))) ** 2
    if not types:
        return 0.0
    (share, values), rest = types[0], types[1:]
    moment = 0.0
    for number in range(count + 1):
        moment += _second_moment(rest, count - number, weight * share**number / math.factorial(number), total)
        total = np.convolve(total, values)
    return moment


def _pooled_explained_variance(config: PlantedConfig) -> float:
    return _mean_over_counts(config, lambda count: _pooled_second_moment(config, count))


def _pooled_second_moment(config: PlantedConfig, count: int) -> float:
    """Mean of `E[y | pooled]**2` with `count` polar words: their modifiers are known, of their signs only how many are positive."""
    modifiers = [(share, int(np.argmax(values)) - 2) for share, values in _word_types(config, 1.0, 1.0)]
    total = 0.0
    for chosen in itertools.combinations_with_replacement(range(len(modifiers)), count):
        numbers = Counter(chosen)
        orders = math.factorial(count) / math.prod(math.factorial(number) for number in numbers.values())
        chance = orders * math.prod(modifiers[index][0] ** number for index, number in numbers.items())
        by_positive = _labels_by_positive_signs([modifiers[index][1] for index in chosen])
        total += chance * sum(math.comb(count, positive) / 2**count * mean**2 for positive, mean in enumerate(by_positive))
    return total


def _labels_by_positive_signs(modifiers: list[int]) -> list[float]:
    """The expected label given how many of the words are positive, when each choice of which ones is equally likely."""
    ways: dict[tuple[int, int], int] = {(0, 0): 1}  # (positive words, sum) -> sign patterns
    for modifier in modifiers:
        grown: Counter[tuple[int, int]] = Counter()
        for (positive, value), number in ways.items():
            grown[positive + 1, value + modifier] += number
            grown[positive, value - modifier] += number
        ways = dict(grown)
    means = [0.0] * (len(modifiers) + 1)
    for (positive, value), number in ways.items():
        means[positive] += number / math.comb(len(modifiers), positive) * 3 * math.tanh(value / 3)
    return means


def _mean_over_counts(config: PlantedConfig, second_moment: Callable[[int], float]) -> float:
    counts = range(config.min_polar_words, config.max_polar_words + 1)
    return sum(second_moment(count) for count in counts) / len(counts)


def _chances_at_own_place(config: PlantedConfig, num_words: int) -> tuple[float, float]:
    """The largest chance, over a word's places, that its audio and its vision event lie inside its own span."""
    audio, vision = (
        max(config.steps_per_word[modality] / len(allowed_steps(config, modality, word, num_words)) for word in range(num_words))
        for modality in ("audio", "vision")
    )
    return audio, vision
