"""Sound and utterances that cost more than any recording are refused before they are computed."""

import wave
from pathlib import Path

import pytest

from made_clips import tone, write_clip
from multigrain.errors import VideoError
from multigrain.video.extract import check_video, extract_video
from multigrain.video.limits import Limits
from multigrain.video.media import inspect_media
from multigrain.video.words import GivenSegment


def write_wave(path: Path, *, channels: int = 1, rate: int = 16_000) -> Path:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((channels, 2, rate, 0, "NONE", ""))
        sound.writeframes(bytes(2 * channels * 1000))
    return path


@pytest.mark.parametrize("shape", [{"channels": 17}, {"channels": 64}, {"rate": 768_001}, {"rate": 2**31 - 1}, {"rate": 999}])
def test_sound_of_too_many_channels_or_samples_is_refused_by_its_header(tmp_path: Path, shape: dict[str, int]):
    allowed = "at most 16 channels and 1000 to 768000 samples are allowed. Export it with two channels"
    with pytest.raises(VideoError, match=rf"has sound of \d+ channels and \d+ samples a second; {allowed}"):
        inspect_media(write_wave(tmp_path / "a.wav", **shape), Limits())


@pytest.mark.parametrize("shape", [{"channels": 8}, {"rate": 192_000}, {}])
def test_sound_of_studios_is_taken(tmp_path: Path, shape: dict[str, int]):
    assert inspect_media(write_wave(tmp_path / "a.wav", **shape), Limits()).has_sound


def test_subtitles_of_more_utterances_than_allowed_are_refused_before_the_sound_is_read(tmp_path: Path):
    (tmp_path / "a.srt").write_text("".join(f"{n}\n00:01:{n:02},000 --> 00:01:{n:02},900\nword{n}\n\n" for n in range(50)))
    with pytest.raises(VideoError, match=r"a\.srt has 12 utterances; at most 10 are allowed"):
        check_video(write_wave(tmp_path / "a.wav"), transcript=tmp_path / "a.srt", limits=Limits(utterances=10))


def test_utterances_that_are_found_are_counted_too(tmp_path: Path):
    path = write_clip(tmp_path / "a.wav", sound=tone(3.0), audio_codec="pcm_s16le")
    segments = [GivenSegment(0.0, 1.0), GivenSegment(1.0, 2.0), GivenSegment(2.0, 3.0)]
    with pytest.raises(VideoError, match="has 3 utterances; at most 2 are allowed"):
        extract_video(path, segments=segments, limits=Limits(utterances=2))
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:02,000\nOne cue.\n")
    with pytest.raises(VideoError, match="has 1 utterances; at most 0 are allowed"):
        extract_video(path, transcript=tmp_path / "a.srt", limits=Limits(utterances=0))
