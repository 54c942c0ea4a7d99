"""Plain text with time stamps and names, as Otter, Zoom, YouTube and whisper's console write it."""

import math

import pytest

from multigrain.errors import VideoError
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


PROSE = [
    *("We met at 10:30\nand then\nagain at 9:15", "I gave it 3:1 stars.", "5:20 pm\n4:10 pm\n3:30 pm"),
    "In John 3:16\nit says God loved the world. I hate this.\nReally terrible.",
    "John 3:16\nFor God so loved the world.\nRomans 5:8\nBut God shows his love.",
    "Dinner was at 0:05\nIt was terrible and I hated every minute.",
    "1:30 was when I got bored. I hated it.\nIt never got better.",
    "Great film\n0:03 the music starts and it is wonderful\nThe rest is bad, I hated the ending.\nI left at 1:20",
    "Intro 0:00\nI loved it 0:05\nI hated it 0:09",
    "0:40 was good.\n0:20 was bad.\n0:10 was fine.",
]


@pytest.mark.parametrize("text", PROSE)
def test_a_time_in_a_text_is_no_stamp(read, text):
    found = read(text)
    assert (found.origin, found.notes) == ("text", [])
    assert [word for turn in found.sentences for word in turn.text.split()] == text.split()


ALONE = {
    "brackets": ("[0:12] I loved it.", (12.0, "I loved it.", None)),
    "a name": ("Ann Lee (0:12): I loved it.", (12.0, "I loved it.", "Ann Lee")),
    "the beginning": ("Ann Lee  0:00\nI loved it.", (0.0, "I loved it.", "Ann Lee")),
    "from and to": ("[00:00.500 --> 00:03.000]  So good.", (0.5, "So good.", None)),
}


@pytest.mark.parametrize("kind", ALONE)
def test_one_stamp_alone_is_one_where_its_form_says_so(read, kind):
    text, expected = ALONE[kind]
    found = read(text)
    assert [(cue.start, cue.text, cue.speaker) for cue in found.cues] == [expected]


def test_times_of_day_with_am_and_pm(read):
    found = read("Ann 9:05 AM\nI hated it.\nBo 11:59 a.m.\nI loved it.\nAnn 1:07 PM\nWhy?\n")
    assert [(cue.start, cue.text, cue.speaker) for cue in found.cues] == [
        (9 * 3600 + 300, "I hated it.", "Ann"),
        (11 * 3600 + 59 * 60, "I loved it.", "Bo"),
        (13 * 3600 + 420, "Why?", "Ann"),
    ]


def test_names_in_small_letters_that_come_again(read):
    found = read("ann 0:00\nI hated it.\nbob 0:04\nI loved it.\nann 0:08\nWhy?\nbob 0:11\nSo.\n")
    assert [cue.speaker for cue in found.cues] == ["ann", "bob", "ann", "bob"]


def test_stamps_without_words_are_not_said_to_place_any(read):
    with pytest.raises(VideoError, match=r"holds no words\. Check"):
        read("0:00\n0:05\n0:09\n")


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
    assert "2 lines before the first time stamp, such as 'Weekly meeting', 'Tue, 4 May', left out." in found.notes


def test_descriptions_in_plain_text_are_left_out_and_shown(read):
    found = read("[Music]\nI loved it (I mean it). (laughs) So much.\n")
    assert [turn.text for turn in found.sentences] == ["I loved it (I mean it).", "So much."]
    assert found.notes == ["2 descriptions of sounds in brackets left out, as nobody says them: '[Music]', '(laughs)'."]


def test_sentences_of_scripts_without_spaces_are_cut(read):
    assert [turn.text for turn in read("我讨厌这部电影。太糟糕了！").sentences] == ["我讨厌这部电影。", "太糟糕了！"]


def test_subtitles_that_are_called_txt_are_subtitles(read):
    found = read("1\n00:00:00 --> 00:00:03\nSo good.\n\n2\n00:00:04 --> 00:00:06\nSo bad.\n")
    assert [(cue.start, cue.end, cue.text) for cue in found.cues] == [(0.0, 3.0, "So good."), (4.0, 6.0, "So bad.")]


def test_labels_of_audacity(read):
    found = read("0.50\t3.20\tI loved it.\n\\\t100.0\t2000.0\n4,0\t6,0\tI hated it.\n7\t7\tSo.\n")
    assert [(cue.start, cue.end, cue.text) for cue in found.cues] == [(0.5, 3.2, "I loved it."), (4.0, 6.0, "I hated it."), (7.0, math.inf, "So.")]
    assert found.notes == ["The text has time stamps; its 3 passages were placed by them."]
    assert read("0.50\t3.20\n1 2 3\n").origin == "text"


def test_passages_with_the_same_stamp_end_with_the_next_other_one(read):
    found = read("0:05\nIt was good.\n0:05\nIt was bad.\n0:09\nSo.\n")
    assert [(cue.start, cue.end, cue.text) for cue in found.cues] == [(5, 9, "It was good."), (5, 9, "It was bad."), (9, math.inf, "So.")]
