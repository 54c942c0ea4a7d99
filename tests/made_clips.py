"""Small clips that the tests make themselves."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from multigrain.video.limits import Limits
from multigrain.video.media import Media, inspect_media

GRID_WORDS = {
    "grid_bbaf2n": "bin blue at f two now",
    "grid_brbk7n": "bin red by k seven now",
    "grid_lbax4n": "lay blue at x four now",
    "grid_lbbc2a": "lay blue by c two again",
    "grid_lrwp9a": "lay red with p nine again",
    "grid_id2_vcd_swwp2s": "set white with p two soon",
}
"""What the shared GRID clips say, which their names spell."""


def tone(seconds: float, rate: int = 16_000, hertz: float = 220.0) -> np.ndarray:
    """A tone at half of full scale."""
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def spoken_like(seconds: float, rate: int = 16_000) -> np.ndarray:
    """A buzz through moving formants, four syllables a second: to a detector, somebody speaking."""
    time = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 25 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    first, second = 500 + 250 * np.sin(2 * np.pi * 2.1 * time), 1500 + 600 * np.sin(2 * np.pi * 1.3 * time)
    voice = sum(
        (np.exp(-(((k * pitch - first) / 120) ** 2)) + 0.6 * np.exp(-(((k * pitch - second) / 180) ** 2)) + 0.02) * np.sin(k * phase)
        for k in range(1, 28)
    )
    syllables = np.clip(np.sin(2 * np.pi * 2.0 * time) ** 2 * 1.4, 0, 1)
    return (0.3 * voice * syllables / np.abs(voice).max()).astype(np.float32)


def brightness(number: int) -> int:
    """The grey value of the made picture of that number."""
    return 20 + 9 * (number % 24)


def write_clip(
    path: Path,
    *,
    sound: np.ndarray | None = None,
    sound_start: float = 0.0,
    picture_times: Sequence[float] | None = None,
    size: tuple[int, int] = (64, 48),
    video_codec: str = "mpeg4",
    audio_codec: str = "aac",
    rate: int = 16_000,
    paint: Callable[[int, np.ndarray], None] | None = None,
) -> Path:
    """Writes a file with ffmpeg's own encoders; picture k is grey of `brightness(k)` and shown from picture_times[k] seconds on."""
    with av.open(str(path), "w") as container:
        video = audio = None
        if picture_times is not None:
            video = container.add_stream(
                video_codec, rate=25, width=size[0], height=size[1], pix_fmt="yuvj420p" if video_codec == "mjpeg" else "yuv420p"
            )
            video.bit_rate = 2_000_000
            fine = Fraction(1, 1000) if video_codec not in ("mpeg1video", "mpeg2video") else Fraction(1, 25)
            video.codec_context.time_base = fine
        if sound is not None:
            audio = container.add_stream(audio_codec, rate=rate, layout="mono")
        for number, time in enumerate(picture_times or ()):
            pixels = np.full((size[1], size[0], 3), brightness(number), np.uint8)
            if paint is not None:
                paint(number, pixels)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(time / fine), fine
            container.mux(video.encode(frame))
        if video is not None:
            container.mux(video.encode(None))
        if audio is not None:
            resampler = av.AudioResampler(audio.codec_context.format, "mono", rate, frame_size=audio.codec_context.frame_size or 1024)
            frame = av.AudioFrame.from_ndarray(np.round(sound * 32767).astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, round(sound_start * rate), Fraction(1, rate)
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(audio.encode(piece))
            container.mux(audio.encode(None))
    return path


def write_tracks(path: Path, tracks: list[tuple[np.ndarray, str | None]], rate: int = 16_000, codec: str = "pcm_s16le") -> Path:
    """A file with several tracks of sound, (channels, samples) in -1..1 each, and their languages."""
    with av.open(str(path), "w") as container:
        streams = []
        for samples, language in tracks:
            stream = container.add_stream(codec, rate=rate, layout="stereo" if len(samples) == 2 else "mono")
            if language is not None:
                stream.metadata["language"] = language
            streams.append(stream)
        for stream, (samples, _) in zip(streams, tracks, strict=True):
            packed = np.round(samples * 32767).astype(np.int16).T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(packed), format="s16", layout=stream.layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            resampler = av.AudioResampler(stream.codec_context.format, stream.layout, rate, frame_size=stream.codec_context.frame_size or 1024)
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(stream.encode(piece))
            container.mux(stream.encode(None))
    return path


def ten_hours_by_header(path: Path) -> Path:
    """Two pieces of silence, ten hours apart."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        for start in (0, 36_000 * 16_000):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def regular(seconds: float, rate: float = 25.0) -> list[float]:
    """Times of pictures at a regular rate."""
    return [number / rate for number in range(round(seconds * rate))]


def inspected(path: Path) -> Media:
    return inspect_media(path, Limits())
