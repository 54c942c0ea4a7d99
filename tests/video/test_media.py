"""Decoding: every container, odd time stamps, rotation, and files that mean harm or are broken."""

import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from made_clips import brightness, inspected, regular, ten_hours_by_header, tone, write_clip
from multigrain.errors import VideoError
from multigrain.video.limits import Limits
from multigrain.video.media import inspect_media, pictures, sound_blocks


def sound_of(path: Path) -> np.ndarray:
    return np.concatenate(list(sound_blocks(inspected(path))))


@pytest.mark.parametrize(
    ("name", "video_codec", "audio_codec", "rate"),
    [
        ("clip.mp4", "mpeg4", "aac", 16_000),
        ("clip.mov", "mjpeg", "pcm_s16le", 44_100),
        ("clip.mkv", "mpeg4", "flac", 48_000),
        ("clip.webm", "libvpx", "libopus", 48_000),
        ("clip.avi", "mpeg4", "mp3", 44_100),
        ("clip.mpg", "mpeg1video", "mp2", 44_100),
    ],
)
def test_containers_give_their_sound_and_pictures(tmp_path, name, video_codec, audio_codec, rate):
    path = write_clip(tmp_path / name, sound=tone(2.0, rate), picture_times=regular(2.0), video_codec=video_codec, audio_codec=audio_codec, rate=rate)
    media = inspected(path)
    assert (media.has_sound, media.has_picture, media.width, media.height) == (True, True, 64, 48)
    samples = sound_of(path)
    assert abs(len(samples) / 16_000 - 2.0) < 0.15
    spectrum = np.abs(np.fft.rfft(samples[8_000:24_000]))
    assert abs(int(spectrum.argmax()) - 220) <= 1  # hertz, as one second was taken
    shown = [step for picture in pictures(media, 12.5) for step in picture.steps]
    assert shown == list(range(shown[0], shown[0] + len(shown)))
    assert abs(len(shown) - 25) <= 1


@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.mp3", "mp3"), ("a.flac", "flac")])
def test_sound_files_have_no_picture(tmp_path, name, codec):
    media = inspected(write_clip(tmp_path / name, sound=tone(1.5), audio_codec=codec))
    assert (media.has_sound, media.has_picture) == (True, False)
    assert abs(sum(map(len, sound_blocks(media))) / 16_000 - 1.5) < 0.15


def test_a_regular_grid_shows_what_an_irregular_video_shows(tmp_path):
    times = [0.0, 0.04, 0.3, 0.32, 0.34, 0.9, 1.0]
    media = inspected(write_clip(tmp_path / "variable.mkv", picture_times=times))
    for picture in pictures(media, 12.5):
        for step in picture.steps:
            number = max(index for index, time in enumerate(times) if time <= step / 12.5 + 1e-3)
            assert abs(float(picture.pixels.mean()) - brightness(number)) < 4


def test_a_slow_video_repeats_its_pictures_for_a_second_at_most(tmp_path):
    media = inspected(write_clip(tmp_path / "slides.mkv", picture_times=[0.0, 3.0]))
    steps = [list(picture.steps) for picture in pictures(media, 10.0)]
    assert steps[0] == list(range(10))
    assert steps[1][0] == 30


def test_a_turned_picture_is_turned_back(tmp_path):
    def left_half_white(number, pixels):
        pixels[:] = 0
        pixels[:, : pixels.shape[1] // 2] = 255

    path = write_clip(tmp_path / "phone.mp4", picture_times=regular(0.2), paint=left_half_white)
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    turned_clockwise = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    content[matrix : matrix + 36] = struct.pack(">9i", *turned_clockwise)
    path.write_bytes(content)
    pixels = next(pictures(inspected(path), 12.5)).pixels
    assert pixels.shape == (64, 48, 3)
    assert pixels[:28].mean() > 200  # what was left is above after a turn to the right
    assert pixels[36:].mean() < 50


@pytest.mark.parametrize(("first", "second"), [((44_100, "stereo"), (22_050, "mono")), ((16_000, "mono"), (48_000, "stereo"))])
def test_sound_that_changes_its_rate_and_channels_midway_is_heard_to_its_end(tmp_path, first, second):
    """As in files that were put together from others."""
    content = b""
    for rate, layout in (first, second):
        with av.open(str(tmp_path / "part.mp3"), "w") as container:
            stream = container.add_stream("libmp3lame", rate=rate, layout=layout)
            frame = av.AudioFrame.from_ndarray((tone(2.0, rate) * 32767).astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            resampler = av.AudioResampler(stream.codec_context.format, layout, rate, frame_size=stream.codec_context.frame_size)
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(stream.encode(piece))
            container.mux(stream.encode(None))
        content += (tmp_path / "part.mp3").read_bytes()
    (tmp_path / "both.mp3").write_bytes(content)
    heard = sound_of(tmp_path / "both.mp3")
    assert 3.9 < len(heard) / 16_000 < 4.3
    loud = np.abs(heard).reshape(-1)[: 16 * 4000].reshape(4, -1).mean(axis=1)
    assert loud.min() > 0.2  # a tone at half of full scale has 0.32


def test_sound_that_begins_late_is_preceded_by_silence(tmp_path):
    path = write_clip(tmp_path / "late.mkv", sound=tone(1.0), sound_start=1.5, picture_times=regular(2.5), audio_codec="flac")
    samples = sound_of(path)
    assert np.abs(samples[: int(1.45 * 16_000)]).max() == 0.0
    assert np.abs(samples[int(1.6 * 16_000) : int(2.4 * 16_000)]).max() > 0.4


def test_sound_that_overlaps_at_its_seams_does_not_come_ever_later(tmp_path):
    """Forty pieces of half a second, each of which begins 0.45 s after the one before: without the stamps the end would be 2 s late."""
    with av.open(str(tmp_path / "seams.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for number in range(40):
            seconds = number * 0.45 + np.arange(8_000) / 16_000
            frame = av.AudioFrame.from_ndarray(np.round(1000 * seconds).astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, round(number * 7_200), Fraction(1, 16_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    heard = np.concatenate(list(sound_blocks(inspected(tmp_path / "seams.mkv"))))
    assert len(heard) / 16_000 == pytest.approx(39 * 0.45 + 0.5, abs=0.11)
    stamps, places = heard * 32.768, np.arange(len(heard)) / 16_000
    assert np.abs(stamps - places).max() < 0.12


def test_several_tracks_are_noted(tmp_path):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        for _ in range(2):
            container.add_stream("flac", rate=16_000, layout="mono")
        for stream in container.streams:
            frame = av.AudioFrame.from_ndarray((tone(0.25) * 32767).astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
            container.mux([*stream.encode(frame), *stream.encode(None)])
    assert inspected(path).notes == ["The file has 2 tracks of sound: 1 (no language), 2 (no language); 1 was used."]
    with pytest.raises(VideoError, match="has 2 tracks; at most 1 are allowed"):
        inspect_media(path, Limits(streams=1))


# Broken and hostile files -----------------------------------------------------------------------------------------


def test_files_that_are_no_videos_are_refused_with_a_sentence(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("This is no video.\n" * 100)
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.txt\n#EXT-X-ENDLIST\n")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.txt\n#EXT-X-ENDLIST\n")
    (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile secret.txt\n")
    whole = write_clip(tmp_path / "whole.mp4", sound=tone(2.0), picture_times=regular(2.0)).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])  # its index, which is at the end, is missing
    with pytest.raises(VideoError, match=r"is empty \(0 bytes\)"):
        inspected(tmp_path / "empty.mp4")
    for name in ("text.mp4", "list.mp4", "list.m3u8", "concat.mp4", "cut.mp4"):
        with pytest.raises(VideoError, match="cannot be read as video or sound"):
            inspected(tmp_path / name)
    with pytest.raises(VideoError, match="no such file"):
        inspected(tmp_path / "nothing.mp4")
    with pytest.raises(VideoError, match="it is a folder"):
        inspected(tmp_path)


def test_what_is_left_of_a_truncated_file_is_used(tmp_path):
    whole = write_clip(tmp_path / "whole.mkv", sound=tone(4.0), picture_times=regular(4.0), audio_codec="flac").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    seconds = len(sound_of(tmp_path / "cut.mkv")) / 16_000
    assert 0.5 < seconds < 3.8


def test_names_are_only_names(tmp_path, monkeypatch):
    """ffmpeg would take some of these for protocols, patterns or options."""
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a|b.wav", "-version.wav", "%03d.wav", "pipe:0.wav", "a'b\"<script>.wav", "http:x.wav"):
        path = write_clip(tmp_path / "plain.wav", sound=tone(0.5), audio_codec="pcm_s16le").rename(tmp_path / name)
        assert inspect_media(Path(name), Limits()).has_sound
        assert abs(sum(map(len, sound_blocks(inspected(path)))) / 16_000 - 0.5) < 0.01


def test_a_header_of_huge_pictures_is_refused_before_decoding(tmp_path):
    path = write_clip(tmp_path / "huge.avi", picture_times=regular(0.4), video_codec="mjpeg")
    content = bytearray(path.read_bytes())
    place = content.index(b"strf") + 8 + 4
    content[place : place + 8] = struct.pack("<ii", 20_000, 20_000)
    first = content.index(b"\xff\xc0")  # and the pictures themselves claim the same
    while first >= 0:
        content[first + 5 : first + 9] = struct.pack(">HH", 20_000, 20_000)
        first = content.find(b"\xff\xc0", first + 9)
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"has pictures whose size is larger .*; at most 9437184 pixels"):
        inspected(path)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mpeg4"), ("a.avi", "mjpeg"), ("a.mkv", "libx264"), ("a.mpg", "mpeg2video")])
def test_pictures_larger_than_the_limit_are_never_decoded(tmp_path, name, codec):
    path = write_clip(tmp_path / name, picture_times=regular(0.4), size=(320, 240), video_codec=codec)
    honest = inspected(path)
    with pytest.raises(VideoError, match=r"has pictures .*; at most 1000 pixels"):
        inspect_media(path, Limits(pixels=1000))
    with pytest.raises(VideoError, match=r"Nothing of the picture of .* can be decoded"):
        list(pictures(replace(honest, width=8, height=8, limits=Limits(pixels=1000)), 12.5))


def test_pictures_that_become_huge_are_left_out_with_a_note(tmp_path):
    """No memory is asked for them: 20,000 x 20,000 would be a gigabyte."""

    def packet(size: int) -> bytes:
        encoder = av.CodecContext.create("png", "w")
        encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = size, size, "gray", Fraction(1, 25)
        return bytes(encoder.encode(av.VideoFrame.from_ndarray(np.full((size, size), 90, np.uint8), format="gray"))[0])

    with av.open(str(tmp_path / "grows.avi"), "w") as container:
        stream = container.add_stream("png", rate=25, width=64, height=64, pix_fmt="gray")
        for number in range(10):
            shown = av.Packet(packet(64 if number < 5 else 600))
            shown.stream, shown.pts, shown.dts, shown.time_base = stream, number, number, Fraction(1, 25)
            container.mux(shown)
    media = inspect_media(tmp_path / "grows.avi", Limits(pixels=300_000))
    assert {picture.pixels.shape[:2] for picture in pictures(media, 25.0)} == {(64, 64)}
    assert len(media.notes) == 1
    assert "pieces of the picture cannot be decoded and were left out" in media.notes[0]


def test_ten_hours_of_silence_by_header_are_refused(tmp_path):
    path = ten_hours_by_header(tmp_path / "long.mp4")
    assert path.stat().st_size < 10_000
    with pytest.raises(VideoError, match=r"lasts 36000 s by its header; at most 14400 s"):
        inspected(path)
    lying = replace(inspect_media(path, Limits(duration_seconds=1e6)), duration_seconds=1.0, limits=Limits(duration_seconds=10.0))
    with pytest.raises(VideoError, match="goes on after 10 s"):
        list(sound_blocks(lying))
