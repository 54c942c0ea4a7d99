"""One video to utterances: made clips that lack this or that, and real talking faces."""

import time
from itertools import pairwise, repeat
from threading import Lock

import numpy as np
import pytest

from made_clips import GRID_WORDS, regular, spoken_like, tone, write_clip
from multigrain.errors import VideoError
from multigrain.video import extract
from multigrain.video.acoustic import acoustic_frames
from multigrain.video.extract import STAGES, extract_video
from multigrain.video.limits import Limits
from multigrain.video.words import GivenSegment


@pytest.mark.usefixtures("face_library")
def test_a_silent_video_without_a_face_is_cut_into_even_pieces(tmp_path):
    path = write_clip(tmp_path / "grey.mp4", picture_times=regular(12.0, 5.0))
    found = extract_video(path)
    assert [utterance.end_seconds - utterance.start_seconds for utterance in found.utterances] == [pytest.approx(4.0, abs=0.1)] * 3
    assert (found.face_share, found.transcript_origin, dict(found.features)) == (0.0, "none", {})
    assert any("no sound" in note for note in found.notes)
    assert any("No human face" in note for note in found.notes)
    assert all(utterance.features == {} for utterance in found.utterances)


def test_sound_alone_gives_the_voice_of_each_utterance(tmp_path):
    silence = np.zeros(24_000, np.float32)
    samples = np.concatenate([silence, spoken_like(3.0), silence, spoken_like(2.0), silence])
    samples = (np.round(samples * 32767) / 32768).astype(np.float32)  # as the file holds them
    path = write_clip(tmp_path / "talk.wav", sound=samples, audio_codec="pcm_s16le")
    shares: dict[str, list[float]] = {stage: [] for stage in STAGES}
    found = extract_video(path, progress=lambda stage, share: shares[stage].append(share))
    assert found.face_share is None
    assert set(found.features) == {"audio"}
    assert len(found.utterances) == 2
    whole = acoustic_frames(samples)
    for utterance in found.utterances:
        seconds = utterance.step_times["audio"].seconds()
        np.testing.assert_allclose(utterance.features["audio"], whole[np.rint(seconds * 100).astype(int)], rtol=0.01, atol=0.01)
        assert utterance.start_seconds <= seconds[0]
        assert seconds[-1] < utterance.end_seconds
    assert shares["sound"][-1] == shares["words"][-1] == 1.0
    assert all(first <= second for first, second in pairwise(shares["sound"]))


def test_there_is_no_voice_where_nobody_speaks(tmp_path):
    """Noise and pauses once had their part in the score: openSMILE measures any sound."""
    noise = (0.02 * np.random.default_rng(0).normal(size=16_000 * 12)).astype(np.float32)
    sound = noise.copy()
    sound[16_000 * 1 : 16_000 * 3] += spoken_like(2.0)
    sound[16_000 * 5 : 16_000 * 7] += spoken_like(2.0)
    path = write_clip(tmp_path / "talk.wav", sound=sound, audio_codec="pcm_s16le")
    (tmp_path / "talk.srt").write_text("1\n00:00:00,500 --> 00:00:07,500\nbefore and after\n\n2\n00:00:08,500 --> 00:00:11,500\nnothing\n")
    found = extract_video(path, transcript=tmp_path / "talk.srt")
    talk, quiet = found.utterances
    seconds = talk.step_times["audio"].seconds()
    assert len(seconds) == len(talk.features["audio"])
    assert ((seconds > 0.5) & (seconds < 3.6) | (seconds > 4.5) & (seconds < 7.5)).all()
    assert np.diff(seconds).max() > 1.5
    loudness = acoustic_frames(sound)[:, 0]
    np.testing.assert_allclose(talk.features["audio"][:, 0], loudness[np.rint(seconds * 100).astype(int)], rtol=0.02, atol=0.02)
    assert set(quiet.features) == {"text"}
    assert found.voice_share == pytest.approx(4 / 12, abs=0.07)

    hum = extract_video(write_clip(tmp_path / "noise.wav", sound=noise, audio_codec="pcm_s16le"))
    assert (hum.voice_share, dict(hum.features)) == (0.0, {})
    assert all(utterance.features == {} for utterance in hum.utterances)


def test_a_neighbours_first_hundredths_are_no_voice(tmp_path):
    sound = np.concatenate([np.zeros(32_000, np.float32), spoken_like(2.0)])
    path = write_clip(tmp_path / "talk.wav", sound=sound, audio_codec="pcm_s16le")
    begin = extract_video(path).utterances[0].step_times["audio"].seconds()[0]
    segments = [GivenSegment(0.0, begin + 0.15, "before"), GivenSegment(begin + 0.15, 4.0, "spoken")]
    before, spoken = extract_video(path, segments=segments).utterances
    assert set(before.features) == {"text"}
    assert set(spoken.features) == {"text", "audio"}


@pytest.mark.usefixtures("face_library")
def test_a_silent_clip_has_no_voice(face_clips):
    found = extract_video(face_clips / "pyfeat_single_face.mp4")
    assert set(found.features) == {"vision"}


@pytest.mark.usefixtures("face_library")
def test_progress_is_told_by_one_thread_at_a_time(tmp_path):
    """A worker process sends it through a pipe, which two threads must not use at once."""
    path = write_clip(tmp_path / "both.mkv", sound=tone(20.0), picture_times=regular(20.0, 12.5), audio_codec="flac")
    lock, stages = Lock(), set()

    def tell(stage, share):
        assert lock.acquire(blocking=False)
        time.sleep(0.05)
        lock.release()
        stages.add(stage)

    extract_video(path, progress=tell)
    assert stages == set(STAGES)


@pytest.mark.usefixtures("face_library")
def test_a_recogniser_hears_within_given_utterances(face_clips):
    found = extract_video(face_clips / "grid_lrwp9a.mpg", recognizer="pocketsphinx", segments=[GivenSegment(0.0, 2.98)])
    assert found.transcript_origin == "recognised"
    assert found.utterances[0].words


def test_subtitles_keep_their_words_when_none_is_spoken(tmp_path):
    path = write_clip(tmp_path / "hum.wav", sound=tone(4.0), audio_codec="pcm_s16le")
    (tmp_path / "hum.srt").write_text(
        "1\n00:00:00,500 --> 00:00:03,000\nпривет <b>мир</b>\n\n2\n00:00:09,000 --> 00:00:12,000\nlater\n", encoding="utf-8"
    )
    found = extract_video(path, transcript=tmp_path / "hum.srt")
    assert [utterance.text for utterance in found.utterances] == ["привет мир"]
    assert found.word_times == ((None, None),)
    assert found.transcript_origin == "subtitles"
    assert any("1 of the subtitles begin after the video's end at 4.0 s" in note for note in found.notes)


def test_words_with_times_are_taken_as_they_are(tmp_path):
    path = write_clip(tmp_path / "a.wav", sound=tone(4.0), audio_codec="pcm_s16le")
    (tmp_path / "a.json").write_text('[{"word": "Good.", "start": 0.5, "end": 1.75}, {"word": "Bad.", "start": 2.5, "end": 3.5}]')
    found = extract_video(path, transcript=tmp_path / "a.json")
    assert [(utterance.words, utterance.word_times) for utterance in found.utterances] == [(("Good.",), ((0.5, 1.75),)), (("Bad.",), ((2.5, 3.5),))]
    assert found.transcript_origin == "words"


@pytest.mark.usefixtures("face_library")
def test_plain_text_without_sound_is_refused(tmp_path):
    path = write_clip(tmp_path / "grey.mp4", picture_times=regular(1.0))
    (tmp_path / "a.txt").write_text("hello there")
    with pytest.raises(VideoError, match="plain text, which is placed by the sound"):
        extract_video(path, transcript=tmp_path / "a.txt")


def test_what_is_wrong_with_the_pictures_is_said_before_all_sound_is_heard(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "talk.mp4", sound=spoken_like(1.0), picture_times=regular(1.0))

    def missing():
        raise VideoError("mediapipe is needed for the face's features and is not installed.")

    monkeypatch.setattr(extract, "FaceTracker", missing)
    monkeypatch.setattr(extract, "sound_blocks", lambda media: repeat(np.zeros(16_000, np.float32)))  # never ends
    with pytest.raises(VideoError, match="mediapipe is needed"):
        extract_video(path)


def test_the_face_can_be_left_out(tmp_path):
    path = write_clip(tmp_path / "both.mkv", sound=tone(2.0), picture_times=regular(2.0), audio_codec="flac")
    found = extract_video(path, with_faces=False)
    assert found.face_share is None
    assert found.notes[-1] == "The face was left out, as asked."


def test_limits_and_transcripts_are_checked_before_decoding(tmp_path):
    path = write_clip(tmp_path / "a.wav", sound=tone(4.0), audio_codec="pcm_s16le")
    with pytest.raises(VideoError, match="lasts 4 s by its header; at most 2 s"):
        extract_video(path, limits=Limits(duration_seconds=2.0))
    with pytest.raises(VideoError, match="There is no transcript"):
        extract_video(path, transcript=tmp_path / "none.srt")
    with pytest.raises(VideoError, match="There is no recogniser"):
        extract_video(path, recognizer="siri")


@pytest.mark.usefixtures("face_library")
@pytest.mark.parametrize("name", ["grid_bbaf2n", "grid_lrwp9a"])
def test_a_real_talking_face_has_words_voice_and_face(tmp_path, face_clips, name):
    (tmp_path / "said.txt").write_text(GRID_WORDS[name])
    found = extract_video(face_clips / f"{name}.mpg", transcript=tmp_path / "said.txt")
    (utterance,) = found.utterances
    assert utterance.words == tuple(GRID_WORDS[name].split())
    assert {modality: features.shape[1] for modality, features in utterance.features.items()} == {"text": 0, "audio": 25, "vision": 35}
    assert found.face_share == 1.0
    assert all(time is not None for time in found.word_times[0])
    assert utterance.start_seconds <= utterance.word_times[0][0]
    assert utterance.word_times[-1][1] <= utterance.end_seconds
    assert len(utterance.step_times["vision"].seconds()) == len(utterance.features["vision"])
    assert found.notes == []


@pytest.mark.usefixtures("face_library")
def test_frames_without_a_face_are_left_out(face_clips):
    found = extract_video(face_clips / "pyfeat_face_noface.mov")
    first, last = found.utterances[0], found.utterances[-1]
    assert "vision" in first.features
    assert "vision" not in last.features
    assert 0.3 < found.face_share < 0.5
    assert first.step_times["vision"].seconds()[-1] < 2.6


@pytest.mark.usefixtures("face_library")
def test_pocketsphinx_is_marked_unreliable(face_clips):
    found = extract_video(face_clips / "grid_lrwp9a.mpg", recognizer="pocketsphinx")
    assert (found.transcript_origin, found.is_transcript_reliable) == ("recognised", False)
    assert any("unreliable" in note for note in found.notes)


@pytest.mark.usefixtures("face_library")
def test_given_utterances_take_the_words_within_them(face_clips):
    segments = [GivenSegment(0.0, 1.4), GivenSegment(1.4, None), GivenSegment(0.7, 2.3, "bin blue at f two now")]
    with_text = extract_video(face_clips / "grid_bbaf2n.mpg", segments=segments[2:])
    assert with_text.utterances[0].text == "bin blue at f two now"
    (cut, rest) = extract_video(face_clips / "grid_bbaf2n.mpg", segments=segments[:2]).utterances
    assert (cut.start_seconds, cut.end_seconds, cut.text) == (0.0, 1.4, None)
    assert rest.end_seconds == pytest.approx(2.98, abs=0.02)
    with pytest.raises(VideoError, match=r"to begin after the video's end: the first at 9 s, and the video lasts"):
        extract_video(face_clips / "grid_bbaf2n.mpg", segments=[GivenSegment(9.0, 10.0)])
