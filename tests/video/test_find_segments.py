"""What is said of the places that a transcript's text has in its video."""

import pytest

from multigrain.video.spoken import Cue, Transcript
from multigrain.video.words import GivenSegment, Heard, find_segments

SILENT = Heard(None, [], 20.0)


def notes_of(*cues: Cue) -> list[str]:
    found = find_segments(SILENT, Transcript(origin="subtitles", cues=cues), "none", None, lambda share: None)
    return [note for note in found.notes if "overlap" in note]


def test_people_who_speak_at_once_stay_utterances_and_are_noted():
    first, second = Cue(0.0, 3.0, "I think so.", "Ann"), Cue(1.0, 4.0, "No, I do not.", "Ben")
    said = "another one: people who speak at once stay utterances of their own."
    assert notes_of(first, second) == [f"1 subtitle overlaps {said}"]
    assert notes_of(first, second, Cue(8.0, 12.0, "Well, yes.", "Ann"), Cue(9.0, 13.0, "Never, never.", "Ben")) == [f"2 subtitles overlap {said}"]
    assert notes_of(first, Cue(2.9, 6.0, "No, I do not.", "Ben")) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            [GivenSegment(0.0, 1.0, "a"), GivenSegment(25.0, 26.0, "b")],
            ["1 of the 2 utterances begins after the video's end at 20.0 s and was left out (25 s)."],
        ),
        (
            [GivenSegment(0.0, 1.0, "a"), GivenSegment(25.0, 26.0, "b"), GivenSegment(30.0, 31.0, "c"), GivenSegment(19.0, 24.0, "d")],
            [
                "2 of the 4 utterances begin after the video's end at 20.0 s and were left out (25 s, 30 s).",
                "1 utterance ends after the video's end at 20.0 s and was cut there (the first at 24 s).",
            ],
        ),
    ],
)
def test_given_utterances_after_the_end_are_counted(given, said):
    assert find_segments(SILENT, None, "none", given, lambda share: None).notes == said
