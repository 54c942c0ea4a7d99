"""A text that cannot be placed in the sound, since nothing here knows how its script is spoken: it is kept, shared out over the speech."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from multigrain.language.words import cut_words
from multigrain.video.segment import LONGEST_SECONDS, SHORTEST_SECONDS, FoundSegments, Segment
from multigrain.video.speech import Stretch
from multigrain.video.spoken import Turn

NOTE = (
    "The transcript is plain text in a script whose sounds are not known here, so that none of its words could be placed in time: its sentences are "
    "shared out over the speech by their lengths, and the times of the utterances are rough. Subtitles have times of their own."
)


def shared_out(sentences: Sequence[Turn], speech: Sequence[Stretch], duration: float) -> FoundSegments:
    """Utterances of whole sentences whose share of the speech is that of their letters; their words have no times.

    Args:
        sentences: of the text, in its order.
        speech: where somebody speaks; where nobody does, the whole video is taken.
        duration: of the video in seconds.
    """
    stretches = [(begin, min(end, duration)) for begin, end in speech if begin < duration] or [(0.0, duration)]
    total = sum(end - begin for begin, end in stretches)
    groups = _groups([sentence for sentence in sentences if sentence.text], total)
    sizes = [max(1, sum(len(sentence.text) for sentence in group)) for group in groups]
    edges = [_at(stretches, total * share / max(1, sum(sizes))) for share in accumulate(sizes, initial=0)]
    segments = []
    for group, (start, end) in zip(groups, pairwise(edges), strict=True):
        cut = [(word, sentence.speaker) for sentence in group for word in cut_words(sentence.text)]
        speakers = tuple(speaker for _, speaker in cut)
        words = tuple(word for word, _ in cut)
        segments.append(Segment(start=start, end=end, words=words, word_times=(None,) * len(words), speakers=speakers if any(speakers) else ()))
    return FoundSegments(segments=segments, origin="text", notes=[NOTE])


def _groups(sentences: Sequence[Turn], seconds: float) -> list[list[Turn]]:
    """Sentences put together until each group's share of the speech is at least the shortest utterance; longer sentences are cut."""
    letters = max(1, sum(len(sentence.text) for sentence in sentences))
    groups: list[list[Turn]] = []
    for sentence in (part for whole in sentences for part in _cut(whole, letters * LONGEST_SECONDS / max(seconds, 1e-6))):
        size = sum(len(one.text) for one in groups[-1]) if groups else 0
        if groups and size * seconds / letters < SHORTEST_SECONDS and groups[-1][0].speaker == sentence.speaker:
            groups[-1].append(sentence)
        else:
            groups.append([sentence])
    return groups


def _cut(sentence: Turn, most: float) -> list[Turn]:
    """A sentence in parts of about as many letters at most, cut between words."""
    if len(sentence.text) <= most:
        return [sentence]
    parts: list[list[str]] = [[]]
    for word in cut_words(sentence.text):
        if parts[-1] and sum(map(len, parts[-1])) + len(word) > most:
            parts.append([])
        parts[-1].append(word)
    return [Turn(" ".join(part), sentence.speaker) for part in parts]


def _at(stretches: Sequence[Stretch], seconds: float) -> float:
    """The second in the video at which somebody has spoken for so long."""
    for begin, end in stretches:
        if seconds <= end - begin:
            return begin + seconds
        seconds -= end - begin
    return stretches[-1][1]
