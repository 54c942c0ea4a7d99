"""Utterances: 1 to 20 seconds, nothing lost, nothing twice."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from multigrain.video.segment import (
    by_speaker,
    even_segments,
    num_overlapping,
    segments_of_cues,
    segments_of_speech,
    segments_of_words,
    split_long,
)
from multigrain.video.spoken import Cue, Turn


def timed(*words, start=1.0, length=0.3, pauses=()):
    """Words one after the other, with a longer pause before those numbers in `pauses`."""
    times, now = [], start
    for number, _ in enumerate(words):
        now += dict(pauses).get(number, 0.02)
        times.append((now, now + length))
        now += length
    return list(words), times


def test_words_are_cut_at_pauses_and_after_sentences():
    words, times = timed(*["one", "two", "three", "four.", "five", "six", "seven", "eight", "nine", "ten"], length=0.4, pauses=((7, 0.8),))
    found = segments_of_words(words, times, 20.0)
    assert [" ".join(segment.words) for segment in found] == ["one two three four.", "five six seven", "eight nine ten"]
    for segment in found:
        assert segment.start <= segment.word_times[0][0]
        assert segment.end >= segment.word_times[-1][1]


def test_a_word_without_time_stays_with_its_neighbour():
    words, times = timed(*["a", "b", "c", "d", "e", "f"])
    times[0] = times[3] = times[5] = None
    found = segments_of_words(words, times, 20.0)
    assert [segment.words for segment in found] == [tuple("abcdef")]
    assert found[0].word_times == tuple(times)


@pytest.mark.parametrize("seed", range(20))
def test_any_words_give_utterances_of_1_to_20_seconds_in_order(seed):
    generator = np.random.default_rng(seed)
    starts = np.cumsum(generator.choice([0.2, 0.3, 0.5, 1.0, 6.0], size=200)) + 1
    times = [(float(start), float(start + 0.15)) for start in starts]
    words = [f"w{index}{generator.choice(['', '', '', '.'])}" for index in range(200)]
    duration = float(starts[-1]) + 3
    found = segments_of_words(words, times, duration)
    assert [word for segment in found for word in segment.words] == words
    assert all(1.0 - 1e-6 <= segment.end - segment.start <= 20.0 + 1e-6 for segment in found)
    assert all(first.end <= second.start + 1e-6 for first, second in pairwise(found))
    assert found[0].start >= 0
    assert found[-1].end <= duration


def test_short_subtitles_are_put_together_and_late_ones_left_out():
    cues = [Cue(0.0, 0.4, "Oh."), Cue(0.4, 3.0, "I see you."), Cue(2.8, 4.0, "Yes?"), Cue(50.0, 52.0, "late")]
    found = segments_of_cues(cues, 10.0)
    assert [" ".join(segment.words) for segment in found] == ["Oh. I see you.", "Yes?"]
    assert [(segment.start, segment.end) for segment in found] == [(0.0, 3.0), (3.0, 4.0)]


def test_a_subtitle_within_another_is_another_person_and_keeps_its_time():
    found = segments_of_cues([Cue(0.0, 5.0, "a b"), Cue(1.0, 2.0, "c")], 10.0)
    assert [(segment.start, segment.end, segment.words) for segment in found] == [(0.0, 5.0, ("a", "b")), (1.0, 2.0, ("c",))]
    assert num_overlapping(found) == 1


def test_people_who_speak_at_once_stay_two_utterances():
    same_time = segments_of_cues([Cue(0.5, 3.0, "I loved it."), Cue(0.5, 3.0, "I did not.")], 10.0)
    assert [(segment.start, segment.end) for segment in same_time] == [(0.5, 3.0), (0.5, 3.0)]
    named = segments_of_cues([Cue(0.0, 2.0, "Yes", "Ann"), Cue(1.9, 2.4, "No", "Bo")], 10.0)
    assert [(segment.speaker, segment.start, segment.words) for segment in named] == [("Ann", 0.0, ("Yes",)), ("Bo", 1.9, ("No",))]


def test_captions_that_stay_until_the_next_but_one_are_of_one_person():
    cues = [Cue(2.0 * index, 2.0 * index + 4.0, f"line {index}") for index in range(6)]
    found = segments_of_cues(cues, 20.0)
    assert [(segment.start, segment.end) for segment in found] == [*((2.0 * index, 2.0 * index + 2.0) for index in range(5)), (10.0, 14.0)]
    assert num_overlapping(found) == 0


def test_a_subtitle_of_two_people_is_cut_between_them():
    (whole,) = segments_of_cues([Cue.of_turns(1.0, 5.0, (Turn("Did you like it?", "Ann"), Turn("No!", "Bo")))], 10.0)
    assert whole.speaker == "Ann"
    times = ((1.0, 1.2), (1.3, 1.5), (1.6, 1.8), (1.9, 2.0), (4.0, 4.5))
    assert [(part.speaker, part.start, part.end) for part in by_speaker(replace(whole, word_times=times))] == [("Ann", 1.0, 3.0), ("Bo", 3.0, 5.0)]
    ann, bo = by_speaker(whole)
    assert (ann.start, ann.words, bo.end, bo.words) == (1.0, ("Did", "you", "like", "it?"), 5.0, ("No!",))
    assert 4.0 < ann.end == bo.start < 4.5  # by the letters


def test_words_are_cut_where_another_person_speaks():
    words, times = timed("Did", "you", "No", "never")
    found = segments_of_words(words, times, 10.0, speakers=["Ann", "Ann", "Bo", "Bo"])
    assert [(segment.speaker, segment.words) for segment in found] == [("Ann", ("Did", "you")), ("Bo", ("No", "never"))]


def test_a_word_without_time_stays_in_its_passage():
    """As whisperX leaves a number without time: at the beginning of a passage it is not the last word of the passage before."""
    words, times = timed("It", "was.", "2", "hours", "long", "3", length=0.6)
    times = [(start + 4.0 * (index > 1), end + 4.0 * (index > 1)) for index, (start, end) in enumerate(times)]
    times[2] = times[5] = None
    found = segments_of_words(words, times, 20.0, passages=[0, 0, 1, 1, 1, 1])
    assert [segment.words for segment in found] == [("It", "was."), ("2", "hours", "long", "3")]
    assert found[1].word_times[0] is None


def test_long_subtitles_are_split_with_or_without_word_times():
    words, times = timed(*[f"w{index}" for index in range(100)])
    (long,) = segments_of_cues([Cue(1.0, 35.0, " ".join(words))], 40.0)
    without = split_long(long, 40.0)
    assert [word for piece in without for word in piece.words] == words
    assert max(piece.end - piece.start for piece in without) <= 20.0
    placed = split_long(replace(long, word_times=tuple(times)), 40.0)
    assert [word for piece in placed for word in piece.words] == words
    assert max(piece.end - piece.start for piece in placed) <= 20.0


def test_speech_is_cut_at_pauses_and_never_longer_than_20_seconds():
    found = segments_of_speech([(0.5, 2.0), (2.2, 4.0), (6.0, 6.3), (10.0, 55.0)], 60.0)
    assert (found[0].start, found[0].end) == (0.5, 4.0)
    assert all(1.0 - 1e-6 <= segment.end - segment.start <= 20.0 + 1e-6 for segment in found)
    assert found[-1].end == 55.0


def test_even_pieces_cover_all():
    found = even_segments(0.0, 12.0)
    assert [(segment.start, segment.end) for segment in found] == [(0.0, 4.0), (4.0, 8.0), (8.0, 12.0)]
    assert len(even_segments(0.0, 0.3)) == 1
