"""A copy of a video that every browser plays, for reports of files that browsers do not play: H.264 and AAC in mp4, small."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from multigrain.errors import VideoError
from multigrain.video.limits import Limits
from multigrain.video.media import opening_options

PLAYABLE: Mapping[str, str] = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/mp4",
    ".ogv": "video/ogg",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".ogg": "audio/ogg",
    ".flac": "audio/flac",
}
"""Kinds of files that browsers open, by their ending."""
PLAYABLE_CODECS = ("h264", "vp8", "vp9", "av1", "theora")
MOST_SECONDS = 900.0
"""Longer files are not copied."""
HEIGHT, RATE_HZ, SOUND_RATE_HZ = 360, 25, 44_100


def kind_of(video: Path) -> str | None:
    """The media type by which browsers play a file, or None for one that they do not play, or not with its pictures."""
    kind = PLAYABLE.get(video.suffix.lower())
    if kind is None or not kind.startswith("video"):
        return kind
    try:
        import av
    except ImportError:
        return kind  # its ending is all that is known
    try:
        with av.open(_address(video), options=opening_options(Limits())) as opened:
            return kind if all(stream.codec_context.name in PLAYABLE_CODECS for stream in opened.streams.video) else None
    except (av.FFmpegError, OSError, ValueError):
        return None


def write_playable_copy(video: Path, target: Path) -> bool:
    """Writes a copy that browsers play, at most 360 lines high, with the same times.

    Args:
        video: a file that was analysed.
        target: the copy, an .mp4.

    Returns:
        False where there is nothing to be copied: no PyAV, no pictures, or longer than 15 minutes.

    Raises:
        VideoError: the file cannot be decoded.
    """
    try:
        import av
    except ImportError:
        return False
    try:
        with av.open(_address(video), options=opening_options(Limits())) as source:
            if not source.streams.video or (source.duration or 0) / av.time_base > MOST_SECONDS:
                return False
            with av.open(str(target), "w") as copy:
                _copy(source, copy)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"No copy of {video} could be made for the report ({error}). Write the report without the video: --media none.") from error
    return True


def _address(video: Path) -> str:
    """As ffmpeg is to take it: a file, whatever its name looks like."""
    return f"file:{video.absolute()}"


def _copy(source: Any, copy: Any) -> None:
    from av.audio.resampler import AudioResampler

    pictures = source.streams.video[0]
    scale = min(1.0, HEIGHT / pictures.codec_context.height)
    width, height = (max(2, 2 * round(scale * size / 2)) for size in (pictures.codec_context.width, pictures.codec_context.height))
    shown = copy.add_stream("libx264", rate=RATE_HZ, options={"crf": "30", "preset": "veryfast"})
    shown.width, shown.height, shown.pix_fmt = width, height, "yuv420p"
    if pictures.codec_context.sample_aspect_ratio is not None:
        shown.codec_context.sample_aspect_ratio = pictures.codec_context.sample_aspect_ratio
    heard = copy.add_stream("aac", rate=SOUND_RATE_HZ) if source.streams.audio else None
    if heard is not None:
        heard.layout = "mono"
    resampler = AudioResampler(format="fltp", layout="mono", rate=SOUND_RATE_HZ)
    begin, last = Fraction(source.start_time or 0, 1_000_000), -1
    for frame in source.decode([pictures, *source.streams.audio[:1]]):
        if frame.pts is None:
            continue
        if hasattr(frame, "width"):
            place = round((frame.pts * frame.time_base - begin) * RATE_HZ)
            if place > last:  # a rate of its own: frames in between are left out
                last, picture = place, frame.reformat(width=width, height=height, format="yuv420p")
                picture.pts, picture.time_base = place, Fraction(1, RATE_HZ)
                copy.mux(shown.encode(picture))
        elif heard is not None:
            frame.pts -= round(begin / frame.time_base)
            for piece in resampler.resample(frame):
                copy.mux(heard.encode(piece))
    copy.mux(shown.encode())
    if heard is not None:
        copy.mux(heard.encode())
