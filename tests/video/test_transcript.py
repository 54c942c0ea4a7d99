"""Transcripts: each kind, what is not spoken, and files that mean harm."""

import json

import pytest

from multigrain.errors import VideoError
from multigrain.video.limits import Limits
from multigrain.video.transcript import Cue, TimedWord, Turn, read_transcript

SRT = """1
00:00:01,000 --> 00:00:03,500
- <i>Hello</i> {\\an8}there,
[door slams]

2
00:00:03,500 --> 00:00:06,000
<script>alert('x')</script> My name & yours \x1b[31m\u202e red

3
00:00:09,000 --> 00:00:08,000
backwards
"""
VTT = """WEBVTT

00:01.250 --> 00:03.000 align:start
<v Bob>Hello <c.x>you</c>

00:03.000 --> 00:05.000
Hello you
and more <00:04.000><c>words</c>
"""
ASS = """[Script Info]
ScriptType: v4.00+

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,not shown
Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\\pos(1,2)}Hi\\Nyou
"""


@pytest.fixture
def read(tmp_path):
    def read_content(name, content, limits=Limits()):  # noqa: B008
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_transcript(path, limits)

    return read_content


def test_subtitles_become_what_is_spoken(read):
    found = read("a.srt", SRT)
    assert found.cues == (Cue(1.0, 3.5, "Hello there,"), Cue(3.5, 6.0, "alert('x') My name & yours [31m red"), Cue(9.0, 10.0, "backwards"))
    assert any("ends before it begins" in note for note in found.notes)
    assert any("in brackets" in note for note in found.notes)
    assert read("a.vtt", VTT).cues == (Cue(1.25, 3.0, "Hello you", "Bob"), Cue(3.0, 5.0, "and more words"))
    assert read("a.ass", ASS).cues == (Cue(1.0, 2.5, "Hi you"),)
    assert read("b.srt", SRT.encode("utf-16")).cues[0].text == "Hello there,"


def test_plain_text_is_cut_into_sentences(read):
    assert read("a.txt", "I liked it. Very much!\nReally? yes").sentences == tuple(
        Turn(text) for text in ("I liked it.", "Very much!", "Really?", "yes")
    )


def test_words_with_times(read):
    words = [{"word": " Hi", "start": 0.1, "end": 0.4}, {"word": "you", "start": 0.5, "end": 0.9}]
    expected = (TimedWord("Hi", 0.1, 0.4), TimedWord("you", 0.5, 0.9))
    for content in (words[::-1], {"words": words}, {"segments": [{"words": words}]}):
        assert read("a.json", json.dumps(content)).words == expected
    for encoding in ("utf-16-le", "utf-16-be"):  # without a mark
        assert read("a.srt", SRT.encode(encoding)).cues[0].text == "Hello there,"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.srt", "", "holds no words"),
        ("a.srt", "hello world", "holds no words"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\n" + "x" * 1_000_000, "line 3 has 1000000 characters; at most 20000"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\n" + ("[ " * 9_000 + "\n") * 300, "subtitle 1 has 5400299 characters"),
        ("a.srt", b"1\n00:00:01,000 --> 00:00:02,000\nb\xe4r\n", "is not UTF-8"),
        ("a.doc", "hello", "of no kind that is read as a transcript"),
        ("a.txt", "word " * 100_000, "a sentence of 499999 characters"),
        ("a.json", "{", "cannot be read as JSON"),
        ("a.json", "[" * 100_000, "cannot be read as JSON"),
        ("a.json", "7", "holds no list of words or passages: it is '7'"),
        ("a.json", "[1]", "holds no list of words or passages: its first entry is '1', without text"),
        ("a.json", '[{"word": "a", "start": NaN, "end": 1}]', "word 1 .'a'. lasts from nan to 1"),
        ("a.json", '[{"word": "a", "start": 2, "end": 1}]', "ends at 1 s, before it begins at 2 s"),
        ("a.json", '[{"word": "a", "start": 0, "end": 1' + "0" * 400 + "}]", "is spoken after more than 1000000 s"),
        ("a.json", '[{"word": "a", "end": 0, "start": 1' + "0" * 400 + "}]", "is spoken after more than 1000000 s"),
        ("a.json", '[{"word": "a", "start": true, "end": "x"}]', "word 1 .'a'. lasts from True to x"),
        ("a.json", '{"segments": [{"words": 5}, {"words": {"a": 1}}, 7]}', "holds no list of words or passages: it has 'segments'"),
        ("a.json", '{"segments": []}', "holds no words"),
        ("a.json", '[{"word": "a", "start": -1, "end": 1.5}]', "begins at -1 s, before the video"),
        ("a.vtt", "WEBVTT\n\nNOTE nothing\n", "holds no words"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(read, name, content, message):
    with pytest.raises(VideoError, match=message):
        read(name, content)


ASS_LINE = "Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,"
LONG_LINES = {
    "tags": ("<a" * 9_000 + "\n") * 100,
    "closing tags": ("</a" * 6_000 + "\n") * 100,
    "spaces in a tag": ("<" + " " * 18_000 + "i\n") * 100,
    "overrides": ("{" * 18_000 + "\n") * 100,
    "sections": ("[" + "a" * 18_000 + "\n") * 100,
    "empty lines": "\n" * 2_000_000 + "x\n",
}


@pytest.mark.parametrize("trap", LONG_LINES)
@pytest.mark.parametrize("kind", ["srt", "vtt", "ass"])
def test_no_subtitle_keeps_the_parser_busy(read, kind, trap):
    """pysubs2's patterns look from each open bracket, space or line to the end of the subtitle, or of the line: some of these took hours."""
    heads = {
        "srt": "1\n00:00:01,000 --> 00:00:02,000\n",
        "vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\n",
        "ass": "[Script Info]\n\n[Events]\n" + ASS_LINE,
    }
    content = heads[kind] + "so good\n" + LONG_LINES[trap]
    if kind == "ass" or trap in ("spaces in a tag", "empty lines"):
        assert read(f"a.{kind}", content).cues[0].text.startswith("so good")
    else:
        with pytest.raises(VideoError, match="characters; at most 20000 are allowed"):
            read(f"a.{kind}", content)


def test_brackets_that_are_closed_stay_what_they_were(read):
    text = "1\n00:00:01,000 --> 00:00:02,000\nI <3 you <i>so</i> {\\an8}much, [door slams] <font\ncolor='red'>and</font>  1 < 2\n"
    assert read("a.srt", text).cues[0].text == "I <3 you so much, and 1 < 2"


def test_a_gigabyte_of_subtitles_is_refused_unread(tmp_path):
    path = tmp_path / "huge.srt"
    with path.open("wb") as file:
        file.truncate(1 << 30)  # no byte of it is on the disk
    with pytest.raises(VideoError, match="has 1073741824 bytes; a transcript may have at most 8000000"):
        read_transcript(path, Limits())
