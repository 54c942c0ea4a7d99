"""Plain text with time stamps and names, as Otter, Zoom, YouTube and whisper's console write it."""

import math

import pytest

from multigrain.video.limits import Limits
from multigrain.video.spoken import Turn
from multigrain.video.transcript import read_transcript


@pytest.fixture
def read(tmp_path):
    def read_content(content):
        path = tmp_path / "a.txt"
        path.write_text(content)
        return read_transcript(path, Limits())

    return read_content


NAMED = [(0.0, 4.0, "I loved it. All of it.", "Ann Lee"), (4.0, math.inf, "It was bad.", "Bo")]
BARE = [(0.0, 4.0, "I loved it. All of it.", None), (4.0, math.inf, "It was bad.", None)]
STAMPED = {
    "otter": ("Ann Lee  0:00\nI loved it. All of it.\n\nBo  0:04\nIt was bad.\n\nTranscribed by https://otter.ai\n", NAMED),
    "zoom": ("[Ann Lee] 00:00:00\nI loved it. All of it.\n\n[Bo] 00:00:04\nIt was bad.\n", NAMED),
    "name and brackets": ("Ann Lee (0:00): I loved it. All of it.\nBo (0:04): It was bad.\n", NAMED),
    "name behind": ("00:00:00 Ann Lee: I loved it. All of it.\n00:00:04 Bo: It was bad.\n", NAMED),
    "youtube": ("0:00\nI loved it.\nAll of it.\n0:04\nIt was bad.\n", BARE),
    "brackets": ("[00:00.0] I loved it. All of it.\n[00:04.0] It was bad.\n", BARE),
    "dash": ("0:00 - I loved it. All of it.\n0:04 - It was bad.\n", BARE),
}


@pytest.mark.parametrize("kind", STAMPED)
def test_time_stamps_place_the_text(read, kind):
    text, expected = STAMPED[kind]
    found = read(text)
    assert found.origin == "subtitles"
    assert [(cue.start, cue.end, cue.text, cue.speaker) for cue in found.cues] == expected
    assert "2 passages were placed by them" in found.notes[0]


def test_the_console_of_whisper(read):
    found = read("[00:00.500 --> 00:03.000]  So good.\n[00:04.000 --> 00:06.000]  So bad.\n")
    assert [(cue.start, cue.end, cue.text) for cue in found.cues] == [(0.5, 3.0, "So good."), (4.0, 6.0, "So bad.")]


@pytest.mark.parametrize("text", ["We met at 10:30\nand then\nagain at 9:15", "I gave it 3:1 stars.", "5:20 pm\n4:10 pm\n3:30 pm"])
def test_a_time_of_day_in_a_text_is_no_stamp(read, text):
    assert read(text).origin == "text"


def test_names_before_paragraphs_are_speakers(read):
    found = read("Ann Lee: I loved it. All of it.\nReally!\nBo: It was bad.\nAnn Lee: No.")
    assert found.sentences == (
        Turn("I loved it.", "Ann Lee"),
        Turn("All of it.", "Ann Lee"),
        Turn("Really!", "Ann Lee"),
        Turn("It was bad.", "Bo"),
        Turn("No.", "Ann Lee"),
    )
    assert read("Pros: it is good.\nCons: it is long.").sentences[0] == Turn("Pros: it is good.")


def test_what_stands_before_the_first_stamp_is_said(read):
    found = read("Weekly meeting\nTue, 4 May\n\nAnn 0:00\nHi.\nBo 0:02\nYes.\n")
    assert [cue.text for cue in found.cues] == ["Hi.", "Yes."]
    assert "2 lines before the first time stamp, such as 'Weekly meeting', left out." in found.notes


def test_sentences_of_scripts_without_spaces_are_cut(read):
    assert [turn.text for turn in read("我讨厌这部电影。太糟糕了！").sentences] == ["我讨厌这部电影。", "太糟糕了！"]


def test_subtitles_that_are_called_txt_are_subtitles(read):
    found = read("1\n00:00:00 --> 00:00:03\nSo good.\n\n2\n00:00:04 --> 00:00:06\nSo bad.\n")
    assert [(cue.start, cue.end, cue.text) for cue in found.cues] == [(0.0, 3.0, "So good."), (4.0, 6.0, "So bad.")]
