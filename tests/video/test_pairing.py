"""Transcripts of a folder go to their videos, never to one of the same name elsewhere; what is left over is named."""

from pathlib import Path

import pytest

from multigrain.errors import VideoError
from multigrain.video.pairing import pair_transcripts


@pytest.fixture
def pair(tmp_path):
    def make(videos, transcripts, language=None):
        for name in transcripts:
            (tmp_path / "subs" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "subs" / name).write_text("x")
        return pair_transcripts({tmp_path / "videos" / name: Path(name) for name in videos}, tmp_path / "subs", language)

    return make


def found(pairing):
    return {video.parent.name + "/" + video.name: "/".join(transcript.parts[-2:]) for video, transcript in pairing.found.items()}


def test_by_the_path_below_the_folders(pair):
    pairing = pair(["a/1.mp4", "b/1.mp4", "b/2.mp4"], ["a/1.srt", "b/1.txt", "b/1.vtt", "c/9.srt"])
    assert found(pairing) == {"a/1.mp4": "a/1.srt", "b/1.mp4": "b/1.vtt"}
    assert pairing.notes() == ["Without a transcript: 1 (b/2.mp4).", "Transcripts that belong to none of the videos: 1 (c/9.srt)."]


def test_the_same_name_in_two_folders_is_refused(pair):
    with pytest.raises(VideoError, match=r"subs/1.srt fits two videos by its name: .*videos/a/1.mp4 and .*videos/b/1.mp4"):
        pair(["a/1.mp4", "b/1.mp4"], ["1.srt"])


def test_two_folders_with_a_transcript_for_one_video_are_refused(pair):
    with pytest.raises(VideoError, match=r"in several folders fit the video .*1.mp4: .*subs/x and .*subs/y"):
        pair(["1.mp4"], ["x/1.srt", "y/1.srt"])


def test_folders_in_the_videos_only_and_in_the_transcripts_only(pair):
    assert found(pair(["a/1.mp4", "b/2.mp4"], ["1.srt", "2.srt"])) == {"a/1.mp4": "subs/1.srt", "b/2.mp4": "subs/2.srt"}


def test_folders_in_the_transcripts_only(pair):
    assert found(pair(["1.mp4"], ["x/1.srt"])) == {"videos/1.mp4": "x/1.srt"}


def test_names_in_capitals_with_language_and_with_the_videos_ending(pair):
    pairing = pair(
        ["One.mp4", "two.wav", "three.mp4", "four.v2.mp4", "five.mp4"],
        ["one.SRT", "two.en.srt", "three.mp4.vtt", "four.v2.txt", "five.en-US.sdh.srt"],
    )
    assert set(found(pairing).values()) == {"subs/one.SRT", "subs/two.en.srt", "subs/three.mp4.vtt", "subs/four.v2.txt", "subs/five.en-US.sdh.srt"}
    assert not pairing.notes()


def test_of_several_languages_the_one_asked_for(pair):
    names = ["t.en.srt", "t.de.srt", "t.pt-BR.vtt"]
    with pytest.raises(
        VideoError, match=r"several languages: de \(German\), en \(English\), pt-br. Choose one with --language, such as --language de"
    ):
        pair(["t.mp4"], names)
    for language, expected in (("de", "t.de.srt"), ("pt", "t.pt-BR.vtt"), ("PT_br", "t.pt-BR.vtt")):
        assert found(pair(["t.mp4"], names, language)) == {"videos/t.mp4": f"subs/{expected}"}
    assert pair(["t.mp4"], names, "fr").without
    assert found(pair(["t.mp4"], [*names, "t.srt"])) == {"videos/t.mp4": "subs/t.srt"}


def test_a_longer_name_is_not_a_language(pair):
    pairing = pair(["talk.mp4"], ["talk.part1.srt", "talkative.srt", "talk.englishman.srt"])
    assert not pairing.found
    assert len(pairing.unused) == 3


def test_a_transcript_that_belongs_to_one_by_its_path_is_not_offered_to_another(pair):
    pairing = pair(["a/1.mp4", "b/1.mp4"], ["a/1.srt"])
    assert found(pairing) == {"a/1.mp4": "a/1.srt"}
    assert pairing.notes() == ["Without a transcript: 1 (b/1.mp4)."]


def test_a_pair_by_name_alone_is_said(pair):
    pairing = pair(["a/1.mp4", "a/2.mp4"], ["b/1.srt", "a/2.srt"])
    assert found(pairing) == {"a/1.mp4": "b/1.srt", "a/2.mp4": "a/2.srt"}
    assert pairing.notes() == ["Paired by name, from a folder of another name: 1 (a/1.mp4 with b/1.srt)."]


@pytest.mark.parametrize("mark", [".eng", ".english", "_en", ".en_US", "_eng.sdh", ".ENG"])
def test_languages_as_people_write_them(pair, mark):
    pairing = pair(["one.mp4"], [f"one{mark}.srt", "one.ger.srt"], "en")
    assert found(pairing) == {"videos/one.mp4": f"subs/one{mark}.srt"}
    assert pairing.notes() == ["Transcripts in other languages, not used: 1 (subs/one.ger.srt)."]


def test_languages_can_be_asked_for_as_people_write_them(pair):
    for asked in ("de", "ger", "deu", "German"):
        assert found(pair(["one.mp4"], ["one.en.srt", "one.ger.srt"], asked)) == {"videos/one.mp4": "subs/one.ger.srt"}


def test_a_name_that_ends_like_a_language_is_its_videos_own(pair):
    assert found(pair(["talk_en.mp4", "talk_de.mp4"], ["talk_en.srt", "talk_de.srt"])) == {
        "videos/talk_en.mp4": "subs/talk_en.srt",
        "videos/talk_de.mp4": "subs/talk_de.srt",
    }


def test_an_accent_is_one_however_it_is_written(pair):
    composed, apart = "caf\u00e9.mp4", "cafe\u0301.srt"
    assert list(found(pair([composed], [apart])).values()) == [f"subs/{apart}"]


def test_a_transcript_in_another_language_alone_is_said(pair):
    pairing = pair(["one.mp4"], ["one.en.srt"], "de")
    assert not pairing.found
    assert pairing.notes() == ["Transcripts in other languages, not used: 1 (subs/one.en.srt)."]


def test_three_letters_after_an_underscore_are_no_language_by_themselves(pair):
    pairing = pair(["talk.mp4"], ["talk_raw.srt", "talk_v2.srt"])
    assert not pairing.found
    assert len(pairing.unused) == 2
