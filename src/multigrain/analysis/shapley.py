"""Exact Shapley values of modalities: what each adds to a score, on average over all orders in which they could come.

    phi_m = sum over subsets S without m of  |S|! (M - |S| - 1)! / M!  (v(S + m) - v(S))

`v(S)` is the model's score when only the modalities in S are there. With at most three modalities there are at most eight subsets, so
that nothing is sampled. The values and `v` of no modality sum to the score of all.

Source: Shapley, "A value for n-person games", Contributions to the Theory of Games II, 1953.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial

NO_MODALITY = "none"


def subsets(players: Sequence[str]) -> list[frozenset[str]]:
    """All subsets, from the empty one to all of them."""
    return [frozenset(chosen) for size in range(len(players) + 1) for chosen in combinations(players, size)]


def shapley_values(value: Mapping[frozenset[str], float], players: Sequence[str]) -> dict[str, float]:
    """The Shapley value of each player.

    Args:
        value: of every subset of the players.
        players: at least one.

    >>> shapley_values({frozenset(): 0.0, frozenset("a"): 1.0, frozenset("b"): 0.0, frozenset("ab"): 3.0}, "ab")
    {'a': 2.0, 'b': 1.0}
    """
    count = len(players)
    values = {}
    for player in players:
        others = subsets([name for name in players if name != player])
        weights = [factorial(len(some)) * factorial(count - len(some) - 1) / factorial(count) for some in others]
        values[player] = sum(weight * (value[some | {player}] - value[some]) for weight, some in zip(weights, others, strict=True))
    return values


def subset_name(some: frozenset[str], order: Sequence[str]) -> str:
    """Such as "text + vision"; "none" for the empty one."""
    return " + ".join(name for name in order if name in some) or NO_MODALITY
