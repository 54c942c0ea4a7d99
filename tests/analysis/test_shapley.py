from itertools import permutations

import numpy as np
import pytest

from multigrain.analysis.shapley import shapley_values, subset_name, subsets

PLAYERS = ("text", "audio", "vision")


def random_game(seed: int) -> dict[frozenset[str], float]:
    generator = np.random.default_rng(seed)
    return {some: float(generator.normal()) for some in subsets(PLAYERS)}


def test_they_are_the_mean_over_all_orders() -> None:
    game = random_game(0)
    expected = dict.fromkeys(PLAYERS, 0.0)
    orders = list(permutations(PLAYERS))
    for order in orders:
        for place, player in enumerate(order):
            before = frozenset(order[:place])
            expected[player] += (game[before | {player}] - game[before]) / len(orders)
    assert shapley_values(game, PLAYERS) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_they_sum_to_the_score_less_the_baseline(seed: int) -> None:
    game = random_game(seed)
    assert sum(shapley_values(game, PLAYERS).values()) == pytest.approx(game[frozenset(PLAYERS)] - game[frozenset()])


def test_who_changes_nothing_gets_nothing_and_equals_get_equal() -> None:
    game = {some: 2.0 * len(some & {"text", "audio"}) for some in subsets(PLAYERS)}
    assert shapley_values(game, PLAYERS) == pytest.approx({"text": 2.0, "audio": 2.0, "vision": 0.0})


def test_one_player_gets_all() -> None:
    assert shapley_values({frozenset(): 0.5, frozenset({"text"}): 2.0}, ["text"]) == {"text": 1.5}


def test_names_of_subsets() -> None:
    assert [subset_name(some, PLAYERS) for some in subsets(("text", "vision"))] == ["none", "text", "vision", "text + vision"]
