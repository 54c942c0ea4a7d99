"""Every shape of JSON that recognisers write gives the same words and passages; what is a little off is mended and said."""

import json

import pytest

from multigrain.errors import VideoError
from multigrain.video.limits import Limits
from multigrain.video.transcript import Turn, read_transcript

WORDS = [("So", 0.5, 0.7), ("good.", 0.8, 1.2), ("2", 4.0, 4.2), ("bad", 4.3, 4.8), ("hours.", 4.9, 5.5)]
PASSAGES = [("So good.", 0.5, 1.2), ("2 bad hours.", 4.0, 5.5)]


@pytest.fixture
def read(tmp_path):
    def read_value(value):
        path = tmp_path / "a.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return read_transcript(path, Limits())

    return read_value


def words(key="word", space="", factor=1, names=("start", "end"), chosen=WORDS):
    return [{key: space + text, names[0]: start * factor, names[1]: end * factor} for text, start, end in chosen]


def segments(with_words):
    return [
        {
            "id": place,
            "start": start,
            "end": end,
            "text": f" {text}",
            **({"words": words(chosen=WORDS[:2] if place == 0 else WORDS[2:])} if with_words else {}),
        }
        for place, (text, start, end) in enumerate(PASSAGES)
    ]


MILLISECONDS = [{"text": text, "start": round(1000 * start), "end": round(1000 * end), "confidence": 0.9} for text, start, end in WORDS]
AMAZON = [
    {"type": "pronunciation", "start_time": "0.5", "end_time": "0.7", "alternatives": [{"content": "So"}]},
    {"type": "pronunciation", "start_time": "0.8", "end_time": "1.2", "alternatives": [{"content": "good"}]},
    {"type": "punctuation", "alternatives": [{"content": "."}]},
    *(
        {"type": "pronunciation", "start_time": str(start), "end_time": str(end), "alternatives": [{"content": text}]}
        for text, start, end in WORDS[2:]
    ),
]
GOOGLE_WORDS = [{"word": text, "startTime": f"{start}s", "endTime": f"{end}s"} for text, start, end in WORDS]
WORD_SHAPES = {
    "list": words(),
    "words": {"words": words("text")},
    "whisper with words": {"text": "So good.", "segments": segments(True), "language": "en"},
    "faster-whisper": segments(True),
    "vosk": {"result": words(), "text": "So good"},
    "vosk, a result a line": json.dumps({"result": words(chosen=WORDS[:2]), "text": "a"}) + "\n" + json.dumps({"result": words(chosen=WORDS[2:])}),
    "gentle": {"transcript": "So", "words": [{"alignedWord": "so", "case": "success", **word} for word in words()]},
    "hugging face words": {"text": "x", "chunks": [{"timestamp": [start, end], "text": f" {text}"} for text, start, end in WORDS]},
    "milliseconds": {"words": MILLISECONDS},
    "assemblyai": {"text": "x", "words": MILLISECONDS, "utterances": None},
    "deepgram": {
        "results": {"channels": [{"alternatives": [{"transcript": "x", "words": [{**word, "punctuated_word": word["word"]} for word in words()]}]}]}
    },
    "amazon": {"jobName": "x", "results": {"transcripts": [{"transcript": "x"}], "items": AMAZON}},
    "google": {"results": [{"alternatives": [{"transcript": "x", "words": GOOGLE_WORDS}]}]},
    "rev": {"monologues": [{"speaker": 0, "elements": [{"type": "text", "value": text, "ts": a, "end_ts": b} for text, a, b in WORDS]}]},
    "numbers": {"words": [{**word, "word": 2} if word["word"] == "2" else word for word in words()]},
    "segments that are empty": {"text": "x", "segments": [], "words": words()},
    "openai": {"task": "transcribe", "text": "So good. 2 bad hours.", "segments": segments(False), "words": words()},
    "whisperx's other list": {"segments": segments(False), "word_segments": words()},
    "utterances beside words": {"text": "x", "words": MILLISECONDS, "utterances": [{"text": "So good.", "start": 500, "end": 1200, "words": []}]},
    "azure batch": {
        "recognizedPhrases": [
            {
                "offset": f"PT{words_[0][1]}S",
                "duration": "PT1S",
                "offsetInTicks": words_[0][1] * 1e7,
                "durationInTicks": 1e7,
                "nBest": [
                    {
                        "display": " ".join(text for text, *_ in words_),
                        "words": [{"word": text, "offset": f"PT{start}S", "duration": f"PT{round(end - start, 3)}S"} for text, start, end in words_],
                    },
                    {"display": "other"},
                ],
            }
            for words_ in (WORDS[:2], WORDS[2:])
        ]
    },
    "azure": {
        "Offset": 5_000_000,
        "Duration": 50_000_000,
        "NBest": [
            {
                "Display": "So good. 2 bad hours.",
                "Words": [{"Word": text, "Offset": round(start * 1e7), "Duration": round((end - start) * 1e7)} for text, start, end in WORDS],
            }
        ],
    },
    "azure fast": {
        "phrases": [
            {
                "offsetMilliseconds": 500,
                "durationMilliseconds": 5000,
                "text": "So good. 2 bad hours.",
                "words": [
                    {"text": text, "offsetMilliseconds": round(1000 * start), "durationMilliseconds": round(1000 * (end - start))}
                    for text, start, end in WORDS
                ],
            }
        ]
    },
    "pieces of words": {
        "words": [
            {"word": " So", "start": 0.5, "end": 0.7},
            {"word": " go", "start": 0.8, "end": 1.0},
            {"word": "od.", "start": 1.0, "end": 1.2},
            *words(space=" ")[2:],
        ]
    },
}


@pytest.mark.parametrize("shape", WORD_SHAPES)
def test_words_of_every_recogniser(read, shape):
    found = read(WORD_SHAPES[shape])
    assert found.origin == "words"
    assert [(word.text, pytest.approx(word.start), pytest.approx(word.end)) for word in found.words] == WORDS
    assert found.cues == ()


PASSAGE_SHAPES = {
    "whisper": {"text": "", "segments": segments(False), "language": "en"},
    "list of segments": segments(False),
    "hugging face": {"text": "x", "chunks": [{"timestamp": [start, end], "text": f" {text}"} for text, start, end in PASSAGES]},
    "whisper.cpp": {
        "transcription": [
            {"timestamps": {"from": "00:00:00,500", "to": "00:00:01,200"}, "offsets": {"from": 500, "to": 1200}, "text": " So good."},
            {"timestamps": {"from": "00:00:04,000", "to": "00:00:05,500"}, "text": " 2 bad hours."},
        ]
    },
    "youtube's captions": {
        "wireMagic": "pb3",
        "events": [
            {"tStartMs": round(1000 * start), "dDurationMs": round(1000 * (end - start)), "segs": [{"utf8": text}]} for text, start, end in PASSAGES
        ],
    },
    "words that are strings": {"segments": [{"start": start, "end": end, "words": text.split()} for text, start, end in PASSAGES]},
    "youtube": [{"text": text, "start": start, "duration": end - start} for text, start, end in PASSAGES],
    "milliseconds": {"utterances": [{"text": text, "start": round(1000 * start), "end": round(1000 * end)} for text, start, end in PASSAGES]},
}


@pytest.mark.parametrize("shape", PASSAGE_SHAPES)
def test_passages_without_words_are_subtitles(read, shape):
    found = read(PASSAGE_SHAPES[shape])
    assert (found.origin, found.words) == ("subtitles", ())
    assert [(cue.text, pytest.approx(cue.start), pytest.approx(cue.end)) for cue in found.cues] == PASSAGES


def test_youtubes_automatic_captions(read):
    events = [
        {"tStartMs": 0, "dDurationMs": 90_000, "id": 1, "wpWinPosId": 1},
        {"tStartMs": 500, "dDurationMs": 4000, "segs": [{"utf8": "I"}, {"utf8": " loved", "tOffsetMs": 300}, {"utf8": " it", "tOffsetMs": 600}]},
        {"tStartMs": 2900, "dDurationMs": 1600, "aAppend": 1, "segs": [{"utf8": "\n"}]},
        {"tStartMs": 3000, "dDurationMs": 2000, "segs": [{"utf8": "But"}, {"utf8": " why", "tOffsetMs": 500}]},
        {"tStartMs": 6000, "dDurationMs": 1000, "segs": [{"utf8": "[Music]"}]},
    ]
    found = read({"wireMagic": "pb3", "events": events})
    assert [(word.text, word.start, word.end) for word in found.words] == [
        *(("I", 0.5, 0.8), ("loved", 0.8, 1.1), ("it", 1.1, 3.0)),
        *(("But", 3.0, 3.5), ("why", 3.5, 5.0)),
    ]
    assert found.notes == ["1 description of sounds in brackets left out, as nobody says them: '[Music]'."]


def test_a_text_of_which_no_part_has_a_time_is_plain_text(read):
    for value in ({"text": "I loved it. So much."}, {"text": "I loved it. So much.", "segments": []}):
        found = read(value)
        assert (found.origin, [turn.text for turn in found.sentences]) == ("text", ["I loved it.", "So much."])
        assert found.notes == ["The JSON has a text and no times; it is read as plain text."]


def test_what_a_list_of_words_leaves_out_of_the_whole_text_is_kept(read):
    found = read({"text": "So good. 2 very bad hours. Never again!", "words": words()})
    assert " ".join(word.text for word in found.words) == "So good. 2 very bad hours. Never again!"
    assert found.notes[0] == ("3 words stand in the text of 1 passage and not in its list of words ('very', 'Never again!'); taken from the text.")


def test_a_passage_whose_words_are_missing_is_kept(read):
    mixed = segments(True)
    mixed[0]["words"] = []
    found = read({"segments": mixed})
    assert [(cue.text, cue.start, cue.end) for cue in found.cues] == PASSAGES[:1]
    assert [word.text for word in found.words] == ["2", "bad", "hours."]


def test_a_word_without_times_keeps_its_place(read):
    given = segments(True)
    del given[1]["words"][0]["start"], given[1]["words"][0]["end"]
    given[0]["words"][1].update(start=None, end=None)
    found = read({"segments": given})
    assert [(word.text, word.start) for word in found.words] == [("So", 0.5), ("good.", None), ("2", None), ("bad", 4.3), ("hours.", 4.9)]
    assert found.notes == ["2 words have no time in the transcript, such as 'good.'; kept in place, without time."]


def test_times_that_are_a_little_off_are_mended_and_said(read):
    given = words()
    given[0]["start"], given[1]["end"], given[4]["end"] = -0.02, 0.78, None
    found = read({"words": given})
    assert [(word.start, word.end) for word in found.words] == [(0.0, 0.7), (0.8, 0.8), (4.0, 4.2), (4.3, 4.8), (4.9, pytest.approx(5.3))]
    assert len(found.notes) == 3
    with pytest.raises(VideoError, match="begins at -3 s, before the video"):
        read([{"word": "a", "start": -3, "end": 1.5}])


def test_speakers_of_whisperx_and_others(read):
    given = segments(True)
    given[0]["speaker"] = "SPEAKER_00"
    for word in given[1]["words"]:
        word["speaker"] = "SPEAKER_01"
    assert [word.speaker for word in read({"segments": given}).words] == ["SPEAKER_00"] * 2 + ["SPEAKER_01"] * 3
    cues = read([{**segment, "speaker": place} for place, segment in enumerate(segments(False))]).cues
    assert [cue.speaker for cue in cues] == ["Speaker 0", "Speaker 1"]
    assert read(WORD_SHAPES["rev"]).words[0].speaker == "Speaker 0"


def test_passages_without_any_times_go_with_their_neighbours(read):
    one, other = segments(False)
    given = [{"text": "first"}, one, {"text": "no time", "speaker": "Bo"}, other, 7]
    found = read({"segments": given})
    assert [(cue.start, cue.text) for cue in found.cues] == [(0.5, "first So good. no time"), (4.0, "2 bad hours.")]
    assert [(turn.text, turn.speaker) for turn in found.cues[0].parts] == [("first So good.", None), ("no time", "Bo")]
    assert found.notes[:2] == [
        "1 entry of the transcript without text left out.",
        "2 passages have no times ('first', 'no time'); put to the passage before, or after.",
    ]
    without = read({"segments": [{"text": "I loved it."}, {"text": "Never.", "speaker": "Bo"}]})
    assert (without.origin, without.sentences) == ("text", (Turn("I loved it."), Turn("Never.", "Bo")))
    assert without.notes[0] == "The JSON has passages and no times; it is read as plain text."


def test_sentences_of_chinese_are_no_words(read):
    found = read({"segments": [{"text": "我讨厌这部电影，太糟糕了。", "start": 0.5, "end": 3.0}, {"text": "好。", "start": 4.0, "end": 5.0}]})
    assert (found.origin, len(found.cues)) == ("subtitles", 2)


def test_what_the_words_of_a_passage_leave_out_is_kept_from_its_text(read):
    given = [
        {
            "start": 0.5,
            "end": 3,
            "text": "I loved it but she hated it",
            "words": words(chosen=[("I", 0.5, 0.6), ("loved", 0.6, 0.9), ("it", 0.9, 1.0)]),
        },
        {"start": 4, "end": 6, "text": "Nobody agreed."},
    ]
    found = read({"segments": given})
    assert [(word.text, word.start) for word in found.words] == [
        *(("I", 0.5), ("loved", 0.6), ("it", 0.9)),
        *((word, None) for word in ("but", "she", "hated", "it")),
    ]
    assert [cue.text for cue in found.cues] == ["Nobody agreed."]
    assert "4 words stand in the text of 1 passage and not in its list of words ('but she hated it'); taken from the text." in found.notes


def test_a_passage_whose_words_are_all_empty_is_read_from_its_text(read):
    found = read({"segments": [{"start": 0, "end": 2, "text": "I hate it", "words": [{"word": "", "start": 0, "end": 1}]}]})
    assert [(cue.start, cue.end, cue.text) for cue in found.cues] == [(0, 2, "I hate it")]


def test_words_that_are_written_otherwise_are_said(read):
    given = [{"start": 0.5, "end": 3, "text": "So dreadful.", "words": words(chosen=[("So", 0.5, 0.6), ("bad", 0.6, 0.9)])}]
    found = read({"segments": given})
    assert [word.text for word in found.words] == ["So", "bad"]
    assert found.notes == ["1 place of the text is written otherwise in the list of words ('dreadful.' as 'bad'); the list was taken."]


def passages(*entries):
    return [{"start": start, "end": end, "text": text} for start, end, text in entries]


LONG, OTHER = "so good and all of it", "but the rest is so bad"
SECONDS = {
    "sparse": passages((0, 60, "Hm."), (60, 90, "ok")),
    "one": passages((0, 30, "Great!")),
    "a word a minute": passages((0, 60, "yes"), (60, 120, "no"), (120, 180, "maybe")),
    "plain": passages((0, 2, LONG), (2, 5, OTHER)),
    "fractions": passages((0.5, 2.5, LONG), (3.0, 6.25, OTHER)),
}
MILLISECOND_TIMES = {
    "whole": passages((500, 2500, LONG), (3000, 6000, OTHER)),
    "fractions": passages((500.0, 2500.5, LONG), (3000.0, 6000.25, OTHER)),
    "slow": passages((0, 20_000, LONG), (20_000, 40_000, OTHER)),
    "starts only": [{"start": 500, "text": LONG}, {"start": 2500, "text": OTHER}, {"start": 5000, "text": LONG}],
    "one word is long": passages((500, 2500, LONG), (3000, 6000, OTHER), (6000, 40_000, "Hm")),
}


@pytest.mark.parametrize("kind", SECONDS)
def test_seconds_stay_seconds(read, kind):
    found = read({"segments": SECONDS[kind]})
    starts = [one.start for one in (*found.cues, *found.words)]
    assert (starts, found.notes) == ([entry["start"] for entry in SECONDS[kind]], [])


@pytest.mark.parametrize("kind", MILLISECOND_TIMES)
def test_milliseconds_are_told_by_the_rate_of_speech(read, kind):
    found = read({"segments": MILLISECOND_TIMES[kind]})
    assert sorted(one.start for one in (*found.cues, *found.words)) == [entry["start"] / 1000 for entry in MILLISECOND_TIMES[kind]]
    assert "taken for milliseconds" in found.notes[0]


def test_the_length_of_the_video_decides_what_the_rate_leaves_open(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(passages((0, 900, "Great!"))))

    def end(video_seconds):
        found = read_transcript(path, Limits(), video_seconds=video_seconds)
        return next(one.end for one in (*found.cues, *found.words)), " ".join(found.notes)

    assert end(1000.0) == (900.0, "")
    assert end(12.0)[0] == 0.9
    seconds, note = end(None)
    assert seconds == 900.0
    assert "may be seconds or milliseconds" in note
    path.write_text(json.dumps(passages((0, 3600, "Somebody walks in here."), (3600, 7200, "Somebody walks out of here."))))
    assert end(7200.0)[0] == 3600.0
    assert end(10.0)[0] == 3.6


def test_a_passage_of_which_no_word_has_a_time_keeps_its_place_and_its_speaker(read):
    listed = words(chosen=[("I", 0.5, 0.6), ("paid.", 0.6, 0.9)])
    given = [
        {"start": 0.5, "end": 2, "text": "I paid.", "speaker": "SPEAKER_00", "words": listed},
        {"start": 3, "end": 4, "text": "42", "speaker": "SPEAKER_01", "words": [{"word": "42"}]},
    ]
    found = read({"segments": given})
    assert [(cue.start, cue.end, cue.text, cue.speaker) for cue in found.cues] == [(3, 4, "42", "SPEAKER_01")]
    assert [(word.text, word.speaker) for word in found.words] == [("I", "SPEAKER_00"), ("paid.", "SPEAKER_00")]
    assert "1 passage lists words of which none has a time; placed by the passage's." in found.notes
    without = read({"segments": [given[0], {"text": "42", "words": [{"word": "42", "speaker": "SPEAKER_01"}]}]})
    assert [word.text for word in without.words] == ["I", "paid.", "42"]


def test_descriptions_and_numbers_of_speakers_among_words(read):
    listed = [
        (0, "[Music]"),
        (1, "SPEAKER_00:"),
        (2, "I"),
        (3, "[laughs]"),
        (4, "loved"),
        (5, "[door"),
        (6, "slams]"),
        (7, "Speaker"),
        (8, "2:"),
        (9, "it"),
    ]
    found = read({"words": [{"word": word, "start": start, "end": start + 0.5} for start, word in listed]})
    assert [(word.text, word.start, word.speaker) for word in found.words] == [
        ("I", 2, "SPEAKER_00"),
        ("loved", 4, "SPEAKER_00"),
        ("it", 9, "Speaker 2"),
    ]
    assert found.notes[0] == "3 descriptions of sounds in brackets left out, as nobody says them: '[Music]', '[laughs]', '[door slams]'."
    given = [
        {"start": 0, "end": 3, "text": "[Music] So (I mean it) good.", "words": words(chosen=[("[Music]", 0, 1), ("So", 1, 2), ("good.", 2, 3)])}
    ]
    found = read({"segments": given})
    assert [word.text for word in found.words] == ["So", "(I", "mean", "it)", "good."]
    assert found.notes[1] == "1 description of sounds in brackets left out, as nobody says them: '[Music]'."
    only = read({"segments": [*given, {"start": 5, "end": 6, "text": "[Applause]", "words": words(chosen=[("[Applause]", 5, 6)])}]})
    assert only.cues == ()
    assert any("'[Applause]'" in note for note in only.notes)
    glued = read({"words": words(chosen=[("[laughs]So", 1, 2), ("bad", 2, 3)])})
    assert [word.text for word in glued.words] == ["So", "bad"]
