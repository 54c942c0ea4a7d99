"""A text that cannot be placed is shared out over the speech, whole, in its order."""

from itertools import pairwise

from multigrain.video.spoken import Turn
from multigrain.video.unplaced_text import shared_out


def test_sentences_get_the_share_of_the_speech_that_their_letters_are():
    found = shared_out([Turn("我讨厌这部电影。", "甲"), Turn("太糟糕了！我很难过。", "乙")], [(1.0, 5.0), (10.0, 15.0)], 20.0).segments
    assert [(segment.start, segment.end, segment.speaker) for segment in found] == [(1.0, 5.0, "甲"), (5.0, 15.0, "乙")]
    assert found[0].words == ("我", "讨厌", "这", "部", "电影。")
    assert set(found[0].word_times) == {None}


def test_nothing_is_lost_and_no_utterance_is_long():
    turns = [Turn("太糟糕了！" * number) for number in (1, 2, 90)]
    found = shared_out(turns, [], 60.0).segments
    assert "".join(word for segment in found for word in segment.words) == "".join(turn.text for turn in turns)
    assert all(segment.end - segment.start <= 20.5 for segment in found)
    assert all(first.end == second.start for first, second in pairwise(found))
    assert (found[0].start, found[-1].end) == (0.0, 60.0)
