"""What a text has and its listed words have not."""

import pytest

from multigrain.video.uncovered_text import uncovered


@pytest.mark.parametrize(
    ("text", "listed", "missing"),
    [
        ("I loved it but she hated it", ["I", "loved", "it"], [(3, ["but", "she", "hated", "it"])]),
        ("Well, I loved it", ["loved", "it."], [(0, ["Well,", "I"])]),
        ("I loved it but she hated it", ["I", "loved", "she", "it"], [(2, ["it", "but"]), (3, ["hated"])]),
        ("I don't like it.", ["i", "don", "'t", "like", "it"], []),
        ("So good!", ["So", "very", "good"], []),
        ("It cost 2018", ["it", "cost", "two", "thousand", "and", "eighteen"], []),
        ("I went to two thousand and eighteen", ["I", "went", "to", "2018"], []),
        ("I am gonna go", ["I", "am", "going", "to", "go"], []),
        ("um but she hated all of it", ["um", "it"], [(1, ["but", "she", "hated", "all", "of"])]),
        ("she really hated all of it", ["uh"], [(1, ["she", "really", "hated", "all", "of", "it"])]),
        ("我讨厌这部电影。", ["我", "讨厌", "这部", "电影"], []),
        ("我讨厌这部电影。", ["我", "讨厌"], [(2, ["这", "部", "电影。"])]),
        ("", ["a"], []),
        ("— ♪ 😀", ["a"], []),
    ],
)
def test_words_that_are_not_listed(text, listed, missing):
    assert uncovered(text, listed).missing == missing


def test_another_spelling_is_told():
    assert uncovered("She hated Meier's film", ["she", "hated", "Mayer's", "film"]).respelled == [("Meier's", "Mayer's")]


def test_a_long_passage_takes_a_moment():
    words = [f"word{number % 700}" for number in range(5000)]
    kept = [word for number, word in enumerate(words) if number % 50]
    assert sum(len(run) for _, run in uncovered(" ".join(words), kept).missing) == 100
    uncovered("a b " * 5000, ["b a c"] * 5000)
