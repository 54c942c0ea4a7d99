"""Subtitles: what is spoken, by whom, and when; what is not spoken is no text, and no second of speech goes with it."""

import pytest

from multigrain.video.limits import Limits
from multigrain.video.spoken import Turn
from multigrain.video.transcript import read_transcript


@pytest.fixture
def read(tmp_path):
    def read_content(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode())
        return read_transcript(path, Limits())

    return read_content


def cues(transcript):
    return [(cue.start, cue.end, cue.text) for cue in transcript.cues]


GOOD_BAD = [(0.5, 3.0, "So good."), (4.0, 6.0, "So bad.")]
WEBVTT = {
    "identifiers": "WEBVTT\n\n7c1e-44/10-0\n00:00.500 --> 00:03.000\nSo good.\n\nAnn Lee\n00:04.000 --> 00:06.000\nSo bad.\n",
    "comments": "WEBVTT head\n\nSTYLE\n::cue { color: red }\n\nREGION\nid:a\n\nNOTE\nawful\nhated\n\n00:00.500 --> 00:03.000\nSo good.\n\n"
    "NOTE checked: terrible\n\n00:04.000 --> 00:06.000\nSo bad.\n\nNOTE end",
    "settings": "WEBVTT\n\n00:00:00.500 --> 00:00:03.000 align:start line:0%\nSo good.\n\n00:00:04.000 --> 00:00:06.000 position:10%\nSo bad.",
    "carriage returns": "WEBVTT\r\r00:00.500 --> 00:03.000\rSo good.\r\r00:04.000 --> 00:06.000\rSo bad.\r",
    "no header": "00:00.500 --> 00:03.000\nSo good.\n\n00:04.000 --> 00:06.000\nSo bad.\n",
}


@pytest.mark.parametrize("kind", WEBVTT)
def test_only_the_text_of_webvtt_is_text(read, kind):
    found = read("a.vtt", WEBVTT[kind])
    assert (cues(found), found.notes) == (GOOD_BAD, [])


SRT = {
    "plain": "1\n00:00:00,500 --> 00:00:03,000\nSo good.\n\n2\n00:00:04,000 --> 00:00:06,000\nSo bad.\n",
    "no hours, no milliseconds": "1\n00:00.5 --> 00:03\nSo good.\n\n2\n00:04 --> 00:06\nSo bad.\n",
    "one digit": "1\n0:0:0,5 --> 0:0:3,0\nSo good.\n\n2\n0:0:4 --> 0:0:6\nSo bad.\n",
    "no numbers": "00:00:00,500 --> 00:00:03,000\nSo good.\n\n00:00:04,000 --> 00:00:06,000\nSo bad.\n",
    "no empty lines": "1\n00:00:00,500 --> 00:00:03,000\nSo good.\n2\n00:00:04,000 --> 00:00:06,000\nSo bad.\n",
    "empty lines with spaces": "1\n00:00:00,500-->00:00:03,000\nSo good.\n \t\n2\n00:00:04,000-->00:00:06,000\nSo bad.\n",
    "named cues": "intro\n00:00:00,500 --> 00:00:03,000\nSo good.\n\nspeaker-2\n00:00:04,000 --> 00:00:06,000\nSo bad.\n",
    "coordinates": "1\n00:00:00,500 --> 00:00:03,000 X1:1 X2:2\nSo good.\n\n2\n00:00:04,000 --> 00:00:06,000  X1:1 X2:2 \nSo bad.\n",
    "text beside the times": "1\n00:00:00,500 --> 00:00:03,000 So good.\n\n2\n00:00:04,000 --> 00:00:06,000 So bad.\n",
    "carriage returns": "1\r00:00:00,500 --> 00:00:03,000\rSo good.\r\r2\r00:00:04,000 --> 00:00:06,000\rSo bad.\r",
    "out of order": "2\n00:00:04,000 --> 00:00:06,000\nSo bad.\n\n1\n00:00:00,500 --> 00:00:03,000\nSo good.\n",
    "named cues without empty lines": "intro\n00:00:00,500 --> 00:00:03,000\nSo good.\nspeaker-2\n00:00:04,000 --> 00:00:06,000\nSo bad.\n",
}


@pytest.mark.parametrize("kind", SRT)
def test_srt_as_people_write_it(read, kind):
    found = read("a.srt", SRT[kind])
    assert (cues(found), found.notes) == (GOOD_BAD, [])


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("I <3 this so much -> really", "I <3 this so much -> really"),
        ("a < b but this is > great", "a < b but this is > great"),
        ("if a <b then no", "if a <b then no"),
        ("<i>I <b>lo</b>ved</i> <font color='red'>it</font>", "I loved it"),
        ("<i>never closed", "never closed"),
        ("{\\an8}{\\i1}Up{\\i0} there", "Up there"),
        (
            "him &amp; her &lt;3 &nbsp;so&nbsp;much &#39;really&#39; don&apos;t &notanentity; AT&T",
            "him & her <3 so much 'really' don't &notanentity; AT&T",
        ),
        ("&gt;&gt; I don&#39;t", "I don't"),
        ("won\u00adder\u00adful", "wonderful"),
        ("می\u200cخواهم \U0001f468\u200d\U0001f469\u200d\U0001f467", "می\u200cخواهم \U0001f468\u200d\U0001f469\u200d\U0001f467"),
        ("\u202eevil\u202c \ufeffand \x07bell", "evil and bell"),
        ("I am stuck,\n\nand I hate it.", "I am stuck, and I hate it."),
        ("a score of\n0", "a score of 0"),
        ("10", "10"),
        ("(laughs) That is funny.", "That is funny."),
        ("*sighs* Fine. (door slams)", "Fine."),
        ("I *really* liked it (mostly) so", "I *really* liked it (mostly) so"),
        ("She said <laughs> no [music]", "She said no"),
        ("It was good. *not* really (I mean it)", "It was good. *not* really (I mean it)"),
        ("He said: *sighs* fine [I hated it]", "He said: fine [I hated it]"),
        ("if a<b and b>c then ok <> fine", "if a<b and b>c then ok <> fine"),
        ("x<v and v>y, a <c d> e", "x<v and v>y, a <c d> e"),
        ("&lt;b&gt; is a tag, &lt;i&gt; too", "<b> is a tag, <i> too"),
        ("<font color=#fff size='3'>red</font> <c.yellow.bg>sun</c> <00:00:01.000>now<br/>here", "red sun now here"),
        ('<b class="x">so</b> <ruby>a<rt>b</rt></ruby> <lang en-GB>colour</lang>', "so ab colour"),
        ("– You like it?\n– No!", "You like it? No!"),
        ("♪ la la love ♪", "la la love"),
    ],
)
def test_what_is_spoken_of_a_subtitle(read, written, spoken):
    found = read("a.srt", f"1\n00:00:00,500 --> 00:00:03,000\n{written}\n\n2\n00:00:04,000 --> 00:00:06,000\nEnd.\n")
    assert [cue.text for cue in found.cues] == [spoken, "End."]


def test_what_is_left_out_is_said(read):
    text = (
        "title\n\n1\n-00:00:00,500 --> 00:00:02,000\nSo good.\n\n2\n00:00:03,000 --> 00:00:04,000\nSubtitles by www.example.org\n\n"
        "3\n00:99:99:99,0 --> 00:00:06,0\nLost.\n\n4\n00:00:07,000 --> 00:00:07,000\nShort but there.\n"
    )
    found = read("a.srt", text)
    assert cues(found) == [(0.0, 2.0, "So good."), (7.0, pytest.approx(8.07, abs=0.1), "Short but there.")]
    for part in (
        "before the video",
        "about the subtitles themselves ('Subtitles by",
        "times that cannot be read, such as '00:99",
        "ends before it begins",
    ):
        assert any(part in note for note in found.notes), part
    assert any("1 line belongs to no subtitle, such as 'title'" in note for note in found.notes)
    vtt = read("a.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nYes\n\nno cue\n\nNOTE\n00:03.000 --> 00:04.000\nhidden\n")
    assert [cue.text for cue in vtt.cues] == ["Yes"]
    assert vtt.notes == [
        "1 line belongs to no subtitle, such as 'no cue'; left out.",
        "1 subtitle is within NOTE blocks, which are comments; left out.",
    ]


def test_note_is_a_word_in_srt(read):
    text = "1\n00:00:00,500 --> 00:00:03,000\nIt was good.\n\nNOTE that the ending was terrible.\n\n2\n00:00:04,000 --> 00:00:06,000\nBye.\n"
    found = read("a.srt", text)
    assert (cues(found), found.notes) == ([(0.5, 3.0, "It was good. NOTE that the ending was terrible."), (4.0, 6.0, "Bye.")], [])
    found = read("a.srt", text.replace("NOTE that", "NOTE\nthat"))
    assert cues(found) == [(0.5, 3.0, "It was good."), (4.0, 6.0, "Bye.")]
    assert found.notes == ["1 comment (a block that begins with NOTE, STYLE or REGION) left out: 'that the ending was terrible.'."]
    inside = read("a.srt", text.replace("\n\nNOTE that the ending", "\nNOTE\nthe ending"))
    assert cues(inside)[0][2] == "It was good. NOTE the ending was terrible."


def test_a_number_is_text_where_the_first_cue_has_none(read):
    times = "00:00:0{}.000 --> 00:00:0{}.500\n"
    found = read("a.srt", times.format(0, 0) + "How many?\n1\n" + times.format(2, 2) + "Only\n2\n" + times.format(4, 4) + "So.\n")
    assert [cue.text for cue in found.cues] == ["How many? 1", "Only 2", "So."]


def test_text_before_the_times_is_text_where_not_all_cues_have_some(read):
    times = "00:00:0{}.000 --> 00:00:0{}.500\n"
    found = read("a.srt", "So good\n" + times.format(0, 0) + "it is.\n" + times.format(2, 2) + "Yes.\nI mean\n" + times.format(4, 4) + "no.\n")
    assert [cue.text for cue in found.cues] == ["it is.", "Yes. I mean", "no."]
    assert found.notes == ["1 line belongs to no subtitle, such as 'So good'; left out."]


def test_descriptions_that_are_left_out_are_shown(read):
    found = read("a.srt", srt((0, 1, "(laughs) No."), (2, 3, "[music] Yes [music] *sighs*"), (4, 5, "[Beep] <coughs> [door slams] Fine.")))
    assert [cue.text for cue in found.cues] == ["No.", "Yes", "Fine."]
    assert found.notes == [
        "7 descriptions of sounds in brackets left out, as nobody says them: '(laughs)', '[music]', '*sighs*', '[Beep]' and 2 more."
    ]


def test_reported_files(read):
    """Each of the kind of a public report (docs/decisions/reports.md)."""
    broken = "1\n00:00:01,000 --> 00:00:02,000\nMeet at 10:00:00,000 to 11:00:00,000 then\n\n2\n00:00:03oops,580 --> 00:00:04,000\nBroken.\n"
    found = read("a.srt", broken)
    assert [cue.text for cue in found.cues] == ["Meet at 10:00:00,000 to 11:00:00,000 then"]
    assert found.notes == ["1 subtitle has times that cannot be read, such as '00:00:03oops,580 --> 00:00:04,000'; left out."]
    rev = read("a.vtt", "WEBVTT\n\n1\n00:00:01.000 --> 00:00:02.000\n<v ->We make this</v>\n")
    assert ([(cue.text, cue.speaker) for cue in rev.cues], rev.notes) == ([("We make this", None)], [])
    empty = read("a.srt", "1\n00:00:01,46 --> 00:00:02,83\nHere..\n\n2\n00:00:00,00 --> 00:00:00,00\n\n3\n00:00:00,00 --> 00:00:00,00\n")
    assert (cues(empty), empty.notes) == ([(1.46, 2.83, "Here..")], [])
    bet = read(
        "a.srt",
        "1\n00:00:01,000 --> 00:00:02,000\nAll in\n\n\nwith it\n\n2\n00:00:03,000 --> 00:00:04,000\n\n2\n\n3\n00:00:05,000 --> 00:00:06,000\nCall\n",
    )
    assert [cue.text for cue in bet.cues] == ["All in with it", "2", "Call"]


def srt(*entries):
    def clock(seconds):
        return f"00:00:{int(seconds):02d},{round(1000 * (seconds % 1)):03d}"

    return "\n\n".join(f"{number}\n{clock(start)} --> {clock(end)}\n{text}" for number, (start, end, text) in enumerate(entries, 1)) + "\n"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ([(0.5, 2, "No no"), (2, 3.5, "No no")], [(0.5, 3.5, "No no")]),
        ([(0.5, 1.5, "<u>I</u> hate it"), (1.5, 2.5, "I <u>hate</u> it"), (2.5, 4.5, "I hate <u>it</u>")], [(0.5, 4.5, "I hate it")]),
        ([(0.5, 1, "I"), (1, 2, "I hate"), (2, 3, "I hate this"), (3, 4, "I hate this film")], [(0.5, 4, "I hate this film")]),
        ([(0.5, 2, "one"), (2, 4, "one\ntwo"), (4, 6, "two\nthree")], [(0.5, 2, "one"), (2, 4, "two"), (4, 6, "three")]),
        ([(0.5, 2, "no no"), (2, 2.01, "no no"), (2.01, 4, "no no\nno no")], [(0.5, 2.01, "no no"), (2.01, 4, "no no")]),
        ([(0.5, 2, "one\ntwo"), (2, 3, "two")], [(0.5, 3, "one two")]),
        ([(0.5, 2, "Yes."), (5, 6, "Yes.")], [(0.5, 2, "Yes."), (5, 6, "Yes.")]),
        ([(0.5, 2, "No."), (2, 4, "No. Never.")], [(0.5, 2, "No."), (2, 4, "No. Never.")]),
        ([(0.5, 1, "I"), (1, 2, "I love"), (2, 4, "I love you.")], [(0.5, 4, "I love you.")]),
        ([(0.5, 1, "I"), (1, 2, "I love"), (3, 4, "I love you.")], [(0.5, 1, "I"), (1, 2, "I love"), (3, 4, "I love you.")]),
        (
            [(0.5, 1, "No."), (1, 2, "No. Yes."), (4, 5, "So."), (5, 6, "So. No.")],
            [(0.5, 1, "No."), (1, 2, "No. Yes."), (4, 5, "So."), (5, 6, "So. No.")],
        ),
        ([(1, 3, "same"), (1, 3, "same")], [(1, 3, "same")]),
    ],
)
def test_repeats_are_taken_once_with_all_of_their_time(read, shown, expected):
    assert cues(read("a.srt", srt(*shown))) == expected


def test_speakers_of_webvtt(read):
    found = read(
        "a.vtt",
        "WEBVTT\n\n00:01.000 --> 00:04.000\n<v.loud Ann Lee>Did you <i>like</i> it?</v>\n<v Bo>No!</v>\n\n00:05.000 --> 00:06.000\n<v Bo>Never.\n",
    )
    assert found.cues[0].parts == (Turn("Did you like it?", "Ann Lee"), Turn("No!", "Bo"))
    assert (found.cues[1].speaker, found.cues[1].text) == ("Bo", "Never.")
    assert found.notes == ["The transcript names who speaks (Ann Lee, Bo); the names are kept as speakers, not as words."]


def test_two_people_who_say_the_same_are_two(read):
    voices = "".join(
        f"00:0{a}.500 --> 00:0{b}.000\n<v {name}>{text}\n\n" for a, b, text in [(0, 3, "Yes."), (3, 5, "Bye.")] for name in ("Ann", "Bo")
    )
    found = read("a.vtt", f"WEBVTT\n\n{voices}")
    assert [(cue.start, cue.end, cue.text, cue.speaker) for cue in found.cues] == [
        *((0.5, 3.0, "Yes.", name) for name in ("Ann", "Bo")),
        *((3.5, 5.0, "Bye.", name) for name in ("Ann", "Bo")),
    ]
    said = [(1, "Ann", "I"), (2, "Bo", "I am"), (3, "Ann", "I am so")]
    grown = read("a.vtt", "WEBVTT\n\n" + "".join(f"00:0{start}.000 --> 00:0{start + 1}.000\n<v {name}>{text}\n\n" for start, name, text in said))
    assert [cue.text for cue in grown.cues] == ["I", "I am", "I am so"]
    half_named = read("a.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>one\n\n00:02.000 --> 00:03.000\none\ntwo\n")
    assert [(cue.text, cue.speaker) for cue in half_named.cues] == [("one", "Ann"), ("two", None)]


def test_speakers_before_a_colon(read):
    zoom = read("a.vtt", "WEBVTT\n\n1\n00:01.000 --> 00:02.000\nAnn Lee: I loved it.\n\n2\n00:03.000 --> 00:04.000\nBo: Warning: bad.\n")
    assert [(cue.speaker, cue.text) for cue in zoom.cues] == [("Ann Lee", "I loved it."), ("Bo", "Warning: bad.")]
    diarised = read(
        "a.srt", srt((0, 1, "[SPEAKER_00]: Hi"), (2, 3, "[SPEAKER_01] You"), (4, 5, "they said,"), (6, 7, "Speaker 3: no."), (8, 9, "Yes."))
    )
    assert [cue.speaker for cue in diarised.cues] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_01", "Speaker 3", None]


def test_a_colon_in_a_text_is_no_speaker(read):
    lines = ["I went there.", "Warning: it is long.", "The Verdict: no.", "It was 10: 30.", "I said: no", "All in all fine.", "Yes.", "No."]
    found = read("a.srt", srt(*((2 * number, 2 * number + 1, line) for number, line in enumerate(lines))))
    assert [cue.text for cue in found.cues] == lines
    assert not found.notes


def test_drawings_and_actors_of_ass(read):
    head = "[Script Info]\nScriptType: v4.00+\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    line = "Dialogue: 0,0:00:0{}.00,0:00:0{}.50,Default,{},0,0,0,,{}\n"
    text = (
        head
        + line.format(1, 2, "Ann", "Hi{\\p1}m 0 0 l 9 9{\\p0} there")
        + line.format(3, 4, "", "{\\an8\\p2}m 0 0 l 100 0")
        + line.format(5, 6, "", "Bye").replace("0,0,0", "x,0,0")  # a margin that is no number is nobody's concern
    )
    assert [(cue.speaker, cue.text) for cue in read("a.ass", text).cues] == [("Ann", "Hi there"), (None, "Bye")]
