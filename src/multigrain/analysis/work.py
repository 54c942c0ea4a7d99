"""How much a language model may read for one analysis, decided before it starts.

Nearly all the work of an analysis is that its texts are read once more without each of their words: a text of n words costs n readings of n words.
"""

from collections.abc import Iterator, Sequence

from multigrain.analysis.variants import UtteranceInput

MOST_PIECES = {"text": 120_000, "video": 1_000_000, "store": 1_000_000}
"""Kind of analysis -> word-pieces that are read to weigh words one by one. With the language model that comes with multigrain a core reads 120,000 in
about a minute. A video has more: looking for its voice and its faces takes longer than that, and an hour of speech needs 200,000."""
PART_PIECES = 16_384
"""Word-pieces whose states are kept at a time."""
READINGS_BESIDE = 2
"""Of an utterance besides those without a word: whole, and whole once more in a memory that does not know it."""


def weighed_utterances(givens: Sequence[UtteranceInput], most_pieces: int) -> frozenset[int]:
    """Numbers of the utterances whose words are weighed one by one: all, or the shortest ones, so that as many words as possible are.

    Args:
        givens: all utterances of an analysis.
        most_pieces: read for it at most; an utterance that alone needs more is not weighed.
    """
    weighed, pieces = [], 0
    for number in sorted(range(len(givens)), key=lambda number: (_pieces(givens[number], True), number)):
        pieces += _pieces(givens[number], True)
        if pieces > most_pieces:
            break
        weighed.append(number)
    return frozenset(weighed)


def parts_of(givens: Sequence[UtteranceInput], weighed: frozenset[int]) -> Iterator[range]:
    """Utterances that are read together: consecutive ones, of PART_PIECES in all or one."""
    start, pieces = 0, 0
    for number, given in enumerate(givens):
        more = _pieces(given, number in weighed)
        if number > start and pieces + more > PART_PIECES:
            yield range(start, number)
            start, pieces = number, 0
        pieces += more
    if givens:
        yield range(start, len(givens))


def unweighed_note(givens: Sequence[UtteranceInput], weighed: frozenset[int], most_pieces: int) -> tuple[str, ...]:
    """What the reader is told of words that were not weighed; nothing where all were."""
    without = [number for number in range(len(givens)) if number not in weighed and givens[number].words_read]
    if not without:
        return ()
    words = sum(len(givens[number].words_read) for number in without)
    return (
        f"The words of {len(without)} of the {len(givens)} utterances, the longest ones ({words} words), were not weighed one by one and have no "
        f"contributions: one analysis reads at most {most_pieces:,} word-pieces for that. Every utterance has its score. Analyse a part by "
        "itself, or break long lines into sentences, to see the contributions of all words.",
    )


def _pieces(given: UtteranceInput, is_weighed: bool) -> int:
    return given.num_steps("text") * (READINGS_BESIDE + (len(given.words_read) if is_weighed else 0))
