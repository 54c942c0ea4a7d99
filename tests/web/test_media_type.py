"""What an uploaded video or sound is, by its first bytes: one list for uploads, the page, the API's description, and `multigrain extract`."""

import re
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import av
import numpy as np
import pytest

from multigrain.video.limits import Limits
from multigrain.video.media import EXAMPLES, SUFFIXES, inspect_media
from multigrain.web.api import FORM
from multigrain.web.content_type import HEAD_BYTES, TRANSCRIPTS
from multigrain.web.media_type import MEDIA, MEDIA_TYPES, media_extension

SOUNDS = {
    "wav": ("wav", "pcm_s16le"),
    "w64": ("w64", "pcm_s16le"),
    "rf64.wav": ("wav", "pcm_s16le"),
    "aiff": ("aiff", "pcm_s16be"),
    "caf": ("caf", "pcm_s16be"),
    "au": ("au", "pcm_s16be"),
    "voc": ("voc", "pcm_s16le"),
    "flac": ("flac", "flac"),
    "ogg": ("ogg", "flac"),
    "opus": ("ogg", "libopus"),
    "aac": ("adts", "aac"),
    "m4a": ("ipod", "aac"),
    "wma": ("asf", "wmav2"),
    "mp2": ("mp2", "mp2"),
    "ac3": ("ac3", "ac3"),
    "eac3": ("eac3", "eac3"),
    "wv": ("wv", "wavpack"),
    "tta": ("tta", "tta"),
    "mka": ("matroska", "aac"),
}
"""Ending by which people know the file -> how it is made."""
VIDEOS = {
    "mp4": ("mp4", "mpeg4"),
    "mov": ("mov", "mpeg4"),
    "3gp": ("3gp", "mpeg4"),
    "mkv": ("matroska", "mpeg4"),
    "webm": ("webm", "libvpx"),
    "avi": ("avi", "mpeg4"),
    "mpg": ("mpeg", "mpeg2video"),
    "m1v": ("mpeg1video", "mpeg1video"),
    "ts": ("mpegts", "mpeg2video"),
    "m2ts": ("mpegts", "mpeg2video"),
    "flv": ("flv", "flv"),
    "wmv": ("asf", "wmv2"),
    "nut": ("nut", "mpeg4"),
    "mxf": ("mxf", "mpeg2video"),
    "rm": ("rm", "rv10"),
    "wtv": ("wtv", "mpeg2video"),
    "ivf": ("ivf", "libvpx"),
    "y4m": ("yuv4mpegpipe", "rawvideo"),
    "mjpeg": ("mjpeg", "mjpeg"),
    "h264": ("h264", "libx264"),
}
OPTIONS = {"m2ts": {"mpegts_m2ts_mode": "1"}, "rf64.wav": {"rf64": "always"}}
STORED_AS = {
    **{"opus": "ogg", "m4a": "mp4", "3gp": "mp4", "wma": "asf", "wmv": "asf", "mp2": "mp3", "eac3": "ac3", "mka": "mkv", "m1v": "mpg"},
    "rf64.wav": "wav",
}
HEADS = {
    "amr": b"#!AMR\n\x3c\x00",
    "awb": b"#!AMR-WB\n\x04\x00",
    "aiff": b"FORM\x00\x00\x00\x40AIFC",
    "ape": b"MAC \x96\x0f\x00\x00",
    "tak": b"tBaK\x01",
    "mpc": b"MPCKSH\x0e\x00",
    "sph": b"NIST_1A\n   1024\n" + b"\x00" * 64,
    "qcp": b"RIFF\x40\x00\x00\x00QLCMfmt ",
    "ogv": b"OggS\x00\x02" + b"\x00" * 22 + b"\x80theora",
    "mp3": b"\xff\xfb\x90\x00",
    "mov": b"\x00\x00\x00\x08wide\x00\x10\x00\x00mdat",
    "dts": b"\x7f\xfe\x80\x01\xfc\x3c\x00",
    "dav": b"DHAV\xfd\x00",
    "dv": b"\x1f\x07\x00\xbf",
    "gxf": b"\x00\x00\x00\x00\x01\xbc\x00",
    "hevc": b"\x00\x00\x00\x01\x40\x01\x0c\x01",
    "obu": b"\x12\x00\x0a\x0b\x00",
    "m4v": b"\x00\x00\x01\xb0\x01",
}
"""Of kinds that this ffmpeg does not make."""


def write(path: Path, container: str, codec: str, options: dict[str, str], *, has_picture: bool) -> None:
    with av.open(str(path), "w", format=container, options=options) as made:
        if has_picture:
            pictures = made.add_stream(codec, rate=25)
            pictures.width, pictures.height, pictures.pix_fmt = 176, 144, {"mjpeg": "yuvj420p"}.get(codec, "yuv420p")
            for number in range(10):
                frame = av.VideoFrame.from_ndarray(np.full((144, 176, 3), 20 * number, np.uint8), format="rgb24").reformat(format=pictures.pix_fmt)
                frame.pts, frame.time_base = number, Fraction(1, 25)
                made.mux(pictures.encode(frame))
            made.mux(pictures.encode())
            return
        sound = made.add_stream(codec, rate=48_000)
        sound.layout = "stereo"
        sound.bit_rate = 128_000
        samples = (8000 * np.sin(np.arange(2 * 24_000) / 20)).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate, frame.pts = 48_000, 0
        resampler = av.AudioResampler(sound.codec_context.format, "stereo", 48_000, frame_size=sound.codec_context.frame_size or None)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            made.mux(sound.encode(piece))
        made.mux(sound.encode())


@pytest.mark.parametrize("name", [*SOUNDS, *VIDEOS])
def test_what_extract_reads_is_taken_in(tmp_path: Path, name: str):
    container, codec = {**SOUNDS, **VIDEOS}[name]
    if codec not in av.codecs_available or container not in av.formats_available:
        pytest.skip(f"this build of PyAV does not make {container} of {codec}")
    made = tmp_path / f"made.{name}"
    write(made, container, codec, OPTIONS.get(name, {}), has_picture=name in VIDEOS)
    extension = media_extension(made.read_bytes()[:HEAD_BYTES])
    assert extension == STORED_AS.get(name, name)
    stored = made.rename(tmp_path / f"video.{extension}")
    assert inspect_media(stored, Limits()).has_picture is (name in VIDEOS)


@pytest.mark.parametrize("extension", HEADS)
def test_other_kinds_are_known_by_their_first_bytes(extension: str):
    assert media_extension(HEADS[extension]) == extension


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"just words",
        b"The wide river",
        b"MAC users say so",
        b"GIF89a\x01\x00\x01\x00",
        b"PK\x03\x04\x14\x00",
        b"%PDF-1.7\n\x00",
        b"#EXTM3U\nhttp://a/b.ts\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"\x89PNG\r\n\x1a\n\x00",
        b"\x7fELF\x02\x01\x01\x00",
        b"\xff\xff\xff\xff\x00",
    ],
)
def test_what_is_no_video_or_sound_is_none(head: bytes):
    assert media_extension(head) is None


def test_there_is_one_list():
    kinds = {*SOUNDS, *VIDEOS, *HEADS} - {"rf64.wav"}
    assert kinds >= set(EXAMPLES.replace("mp3", "mp2").split(", ")) | set(MEDIA_TYPES) - {"asf"}
    assert {f".{kind}" for kind in kinds} <= set(SUFFIXES)
    page = files("multigrain.web").joinpath("static", "index.html").read_text(encoding="utf-8")
    (accepted,) = re.findall(r'<input id="video" type="file" accept="([^"]*)"', page)
    assert accepted.split(",") == ["video/*", "audio/*", *SUFFIXES]
    assert f">{MEDIA}<" in page
    assert f">{TRANSCRIPTS}. <" in page
    described = FORM["properties"]
    assert described["video"]["description"] == f"{MEDIA}."
    assert described["transcript"]["description"].endswith(f"{TRANSCRIPTS}.")
