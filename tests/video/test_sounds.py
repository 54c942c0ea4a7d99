"""What describes a sound is left out of a line; what is emphasised, or said by the way, stays."""

import pytest

from multigrain.video.sounds import is_description

DESCRIPTIONS = """
(the crowd cheers) | [a dog barks] |
[music] | [Music] | [ __ ] | [...] | [00:12] | [door slams] | [tense music playing] | [Ann sobs] | [objects clattering] | [in Spanish]
| [speaking French] | [BLEEP] | [inaudible 00:12] | {laughter} | 【掌声】 | ［笑い］ | [Musik] | [Applaus] | [Música] | [Risas] | [音楽] |
(laughs) | (Laughing) | (audience laughs) | (soft music) | (door slams) | (MAN SPEAKING FRENCH) | (SIGHS) | (clears throat) | （笑） |
(sobbing quietly) | (he chuckles) | (chuckling) | (GUNSHOTS IN DISTANCE) | (phone ringing) | (cries) | (crying) | *sighs* | *laughs
nervously* | *clears throat* | *door slams* | <laughs> | <chuckles softly>
"""
WORDS = """
(the song) | (with music) | [the music] | (a sound) |
[I hated it] | [really] | [10] | {great} | [not the music] | [I was laughing] | [the music was awful] | [great film] | (I mean it) |
(really) | (mostly) | (quietly) | (the music was great) | (I MEAN IT) | (NOT REALLY) | (USA) | (no applause please) | (2019) | *not* |
*hate* | *really* | *I hate it* | <b> | <3 this> | <I hate it> | (single) | （我很喜欢） | (breathtaking) | (boos galore)
"""


def split(text):
    return [part.strip() for part in " ".join(text.split("\n")).split("|")]


@pytest.mark.parametrize("part", split(DESCRIPTIONS))
def test_descriptions_of_sounds(part):
    assert is_description(part)


@pytest.mark.parametrize("part", split(WORDS))
def test_words_that_somebody_says(part):
    assert not is_description(part)
