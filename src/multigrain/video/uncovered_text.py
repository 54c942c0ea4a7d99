"""What a passage's text has and the words that are listed for it have not: recognisers and aligners leave out words that they could not place."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from multigrain.language.words import cut_words

_LARGEST_TABLE = 10_000  # pairs of words that are compared all with all; larger passages are walked through once
_FURTHEST_WORD = 30  # as far the walk looks ahead
_NUMBER_WORDS = 4  # "2018" is "two thousand and eighteen"


@dataclass(frozen=True)
class Uncovered:
    """What listed words lack of their passage's text.

    Attributes:
        missing: words of the text that are not listed, each run with the number of listed words before it.
        respelled: runs of the text and of the list that stand for each other, such as "$20" and "twenty dollars".
    """

    missing: list[tuple[int, list[str]]] = field(default_factory=list)
    respelled: list[tuple[str, str]] = field(default_factory=list)


def uncovered(text: str, listed: Sequence[str]) -> Uncovered:
    """Compares a text with the words that are listed for it; case and punctuation do not count.

    >>> uncovered("I loved it but she hated it.", ["I", "loved", "it"])
    Uncovered(missing=[(3, ['but', 'she', 'hated', 'it.'])], respelled=[])
    >>> uncovered("I paid $20.", ["i", "paid", "twenty", "dollars"])
    Uncovered(missing=[], respelled=[('$20.', 'twenty dollars')])
    """
    if _key(text) == _key("".join(listed)):
        return Uncovered()
    written = [(word, key) for word in cut_words(text) if (key := _key(word))]
    given = [(place, word, key) for place, entry in enumerate(listed) for word in cut_words(entry) if (key := _key(word))]
    found = Uncovered()
    before = after = 0
    for one, other in [*_matches([key for _, key in written], [key for *_, key in given]), (len(written), len(given))]:
        text_run, list_run = [word for word, _ in written[before:one]], [word for _, word, _ in given[after:other]]
        if text_run and not _stand_for_each_other(text_run, list_run):
            place = given[other - 1][0] + 1 if other else 0
            found.missing.append((place, text_run))
        elif text_run and _key("".join(text_run)) != _key("".join(list_run)):
            found.respelled.append((" ".join(text_run), " ".join(list_run)))
        before, after = one + 1, other + 1
    return found


def _key(text: str) -> str:
    normal = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in normal if unicodedata.category(character)[0] not in "PSZC")


def _stand_for_each_other(text_run: Sequence[str], list_run: Sequence[str]) -> bool:
    """Whether two runs of words are plausibly the same in two spellings, and not some words beside others."""
    if not list_run:
        return False
    written, given = _key("".join(text_run)), _key("".join(list_run))
    if written == given:
        return True
    has_number = any(character.isdigit() for character in written + given)
    more = len(text_run) - len(list_run)
    return more <= _NUMBER_WORDS if has_number else more <= 1 and len(written) <= 2 * len(given) + 2


def _matches(written: Sequence[str], given: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of places with the same word, both rising: as many as can be, or nearly so where the two are long."""
    first = 0
    while first < min(len(written), len(given)) and written[first] == given[first]:
        first += 1
    last = 0
    while last < min(len(written), len(given)) - first and written[-1 - last] == given[-1 - last]:
        last += 1
    middle = written[first : len(written) - last], given[first : len(given) - last]
    is_small = len(middle[0]) * len(middle[1]) <= _LARGEST_TABLE
    between = _longest_common(*middle) if is_small else _walked(*middle)
    return [
        *((place, place) for place in range(first)),
        *((first + one, first + other) for one, other in between),
        *((len(written) - last + place, len(given) - last + place) for place in range(last)),
    ]


def _longest_common(written: Sequence[str], given: Sequence[str]) -> list[tuple[int, int]]:
    lengths = [[0] * (len(given) + 1) for _ in range(len(written) + 1)]  # of the longest common sequence from here on
    for one in range(len(written) - 1, -1, -1):
        for other in range(len(given) - 1, -1, -1):
            is_same = written[one] == given[other]
            lengths[one][other] = 1 + lengths[one + 1][other + 1] if is_same else max(lengths[one + 1][other], lengths[one][other + 1])
    pairs, one, other = [], 0, 0
    while one < len(written) and other < len(given):
        if written[one] == given[other]:
            pairs.append((one, other))
            one, other = one + 1, other + 1
        elif lengths[one + 1][other] >= lengths[one][other + 1]:
            one += 1
        else:
            other += 1
    return pairs


def _walked(written: Sequence[str], given: Sequence[str]) -> list[tuple[int, int]]:
    pairs, one, other = [], 0, 0
    while one < len(written) and other < len(given):
        window, listed = written[one : one + _FURTHEST_WORD], given[other : other + _FURTHEST_WORD]
        steps = [(window.index(word) + ahead, window.index(word), ahead) for ahead, word in enumerate(listed) if word in window]
        if not steps:
            one, other = one + 1, other + 1
            continue
        _, skipped, ahead = min(steps)
        pairs.append((one + skipped, other + ahead))
        one, other = one + skipped + 1, other + ahead + 1
    return pairs
