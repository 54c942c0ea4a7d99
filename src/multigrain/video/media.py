"""A video or sound file: what it holds by its header, and its sound and pictures piece by piece, so that memory does not grow with its length.

Times are seconds from the file's own beginning, the same for sound and pictures, whatever either of them starts with.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from multigrain.errors import VideoError
from multigrain.video.limits import Limits
from multigrain.video.parts import import_part
from multigrain.video.sound import SAMPLE_RATE_HZ
from multigrain.video.tracks import best_track, check_sound, choose_sound, tracks

if TYPE_CHECKING:
    from av.container import InputContainer

FORMATS = (
    *("mov", "mp4", "m4a", "3gp", "matroska", "webm", "avi", "mpeg", "mpegts", "mpegvideo", "flv", "asf", "ogg", "m4v", "h264", "hevc"),
    *("mjpeg", "dv", "mxf", "gxf", "nut", "rm", "wtv", "dhav", "ivf", "obu", "vc1", "yuv4mpegpipe"),
    *("wav", "w64", "mp3", "flac", "aac", "aiff", "caf", "amr", "amrnb", "amrwb", "au", "ape", "wv", "tta", "tak", "mpc", "mpc8", "voc"),
    *("ac3", "eac3", "dts", "dtshd", "loas", "nistsphere", "qcp"),
)
"""Containers that are opened at all. Lists of other files (playlists, image sequences) are not: they could name any file of this machine."""

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".mkv", ".webm", ".avi", ".divx", ".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".vob"),
    *(".m2p", ".ts", ".mts", ".m2ts", ".m2t", ".tod", ".trp", ".flv", ".wmv", ".asf", ".ogv", ".ogx", ".dv", ".mxf", ".gxf", ".nut", ".rm"),
    *(".rmvb", ".wtv", ".dav", ".ivf", ".obu", ".h264", ".264", ".hevc", ".265", ".mjpeg", ".mjpg", ".y4m"),
    *(".wav", ".wave", ".w64", ".mp3", ".mp2", ".mpa", ".flac", ".m4a", ".m4b", ".mka", ".aac", ".ogg", ".oga", ".opus", ".spx", ".wma", ".aif"),
    *(".aiff", ".aifc", ".caf", ".amr", ".awb", ".au", ".snd", ".ape", ".wv", ".tta", ".tak", ".mpc", ".voc", ".ac3", ".eac3", ".dts", ".ra"),
    *(".sph", ".nist", ".qcp"),
)
"""Endings of the files of a folder that are taken for videos or sound; a file that is named itself may have any."""
EXAMPLES = "mp4, mov, mkv, webm, avi, mpg, wmv, wav, mp3, flac, ogg, aac, wma, amr, aiff, caf"
"""What people are told of them."""

_BLOCK_SAMPLES = 5 * SAMPLE_RATE_HZ
_GAP_SECONDS = 0.1  # a larger gap between two pieces of sound is filled with silence; smaller ones are rounding of their time stamps
_HELD_SECONDS = 1.0  # how long a picture stands for what is shown when no other follows
_ONE_THREAD_PIXELS = 1280 * 720  # pictures up to this size are decoded faster than faces are found; more threads would only take their cores
_LOUDEST = 4.0  # samples beyond, and those that are no numbers, come of a broken file; full scale is 1
_MIX = 0.5**0.5  # of two channels to one, as ffmpeg does
_LONGEST_SIDE = 960  # pixels; larger pictures are made smaller before faces are looked for


@dataclass(frozen=True, kw_only=True)
class Media:
    """What a file holds, by its header.

    Attributes:
        path: the file, absolute.
        duration_seconds: of the whole; None where the header does not say.
        has_sound, has_picture: whether there is a track of it; a cover picture of a sound file does not count.
        width, height: of the picture in pixels, as it is stored; 0 without picture.
        sound_track: the stream of sound that is heard; None for the one that a player would play.
        is_inverse: whether its two channels cancel each other, so that their difference is heard in place of their sum.
        notes: what the user should know.
    """

    path: Path
    duration_seconds: float | None
    has_sound: bool
    has_picture: bool
    width: int
    height: int
    limits: Limits
    sound_track: int | None = None
    is_inverse: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Picture:
    """A decoded picture and the steps of the regular grid that it is shown at.

    Attributes:
        steps: numbers k of the grid, at k / rate_hz seconds.
        pixels: (height, width, 3) RGB, upright.
    """

    steps: range
    pixels: UInt8[np.ndarray, "height width 3"]


def inspect_media(path: str | Path, limits: Limits, audio_track: str | None = None) -> Media:
    """Reads a file's header and refuses what exceeds the limits, before more of it is decoded than a few seconds of its sound.

    Args:
        path: the file.
        limits: what is refused.
        audio_track: the track of sound by its number from 1 on or its language; by default the one that players take, if it is not silent.

    Raises:
        VideoError: there is no such file, it is not a video or sound file, is damaged, is larger than allowed, or has no such track.
    """
    path = Path(path).absolute()
    with _opened(path, limits) as container:
        if len(container.streams) > limits.streams:
            raise VideoError(
                f"{path} has {len(container.streams)} tracks; at most {limits.streams} are allowed. Keep one of sound and one of picture."
            )
        sound, picture = best_track(container, "audio"), best_track(container, "video")
        if sound is None and picture is None:
            raise VideoError(
                f"{path} holds neither sound nor picture that can be decoded. Check that it is the right file, or export it again as mp4."
            )
        duration = None if container.duration is None else container.duration / 1_000_000
        if duration is not None and duration > limits.duration_seconds:
            raise VideoError(_too_long(path, f"lasts {duration:.0f} s by its header", limits))
        width, height = (0, 0) if picture is None else (picture.codec_context.width, picture.codec_context.height)
        if picture is not None and not 0 < width * height <= limits.pixels:
            # ffmpeg itself refuses larger ones and then gives no size
            size = f"of {width} x {height} pixels" if width * height else "whose size is larger than allowed or cannot be read"
            raise VideoError(
                f"{path} has pictures {size}; at most {limits.pixels} pixels in all are allowed (3840 x 2160 are 8294400). Export it at a smaller "
                "size; faces need no more than 720 lines."
            )
        notes = [_several(container)] if len(tracks(container, "video")) > 1 else []
        chosen = choose_sound(lambda: _opened(path, limits), audio_track, path, limits)
        return Media(
            path=path,
            duration_seconds=duration,
            has_sound=sound is not None,
            has_picture=picture is not None,
            width=width,
            height=height,
            limits=limits,
            sound_track=None if chosen is None else chosen.index,
            is_inverse=chosen is not None and chosen.is_inverse,
            notes=[*(chosen.notes if chosen else ()), *notes],
        )


def sound_blocks(media: Media) -> Iterator[Float[np.ndarray, " sample"]]:
    """The sound at 16 kHz in one channel, in -1..1, in pieces of five to ten seconds; silence where the track has a gap.

    Raises:
        VideoError: nothing of it can be decoded, or it lasts longer than allowed, whatever the header says.
    """
    collected: list[np.ndarray] = []
    for piece in _sound_pieces(media):
        collected.append(piece)
        if sum(map(len, collected)) >= _BLOCK_SAMPLES:
            yield np.concatenate(collected)
            collected = []
    if collected:
        yield np.concatenate(collected)


def _sound_pieces(media: Media) -> Iterator[Float[np.ndarray, " sample"]]:
    av = import_part("av", "reading videos")
    with _opened(media.path, media.limits) as container:
        stream = best_track(container, "audio") if media.sound_track is None else container.streams[media.sound_track]
        layout = "stereo" if media.is_inverse else "mono"
        resampler, kind, num_broken = av.AudioResampler("flt", layout, SAMPLE_RATE_HZ), None, 0
        origin, count, surplus = _origin(container), 0, 0
        for frame in _decoded(container, stream, media, "sound"):
            if kind not in (None, _kind(frame)):  # files put together from others change their rate or channels midway
                for piece in resampler.resample(None):
                    count += piece.samples
                    yield _one_channel(piece, layout)
                resampler = av.AudioResampler("flt", layout, SAMPLE_RATE_HZ)
            if kind != _kind(frame):
                check_sound(frame.layout.nb_channels, frame.sample_rate, media.path, media.limits)  # not always what the header said
            kind = _kind(frame)
            missing = 0 if frame.time is None else round((frame.time - origin) * SAMPLE_RATE_HZ) - count
            if missing > _GAP_SECONDS * SAMPLE_RATE_HZ:
                _check_time(media, (count + missing) / SAMPLE_RATE_HZ)
                count += missing
                for start in range(0, missing, _BLOCK_SAMPLES):
                    yield np.zeros(min(_BLOCK_SAMPLES, missing - start), np.float32)
            elif missing < -_GAP_SECONDS * SAMPLE_RATE_HZ:
                surplus = (
                    -missing
                )  # what overlaps, as at the seams of files put together from others, is heard once; else words would come ever later
            frame.pts = None  # the resampler must not fill gaps a second time
            for piece in resampler.resample(frame):
                samples = _one_channel(piece, layout)[min(surplus, piece.samples) :]
                surplus -= piece.samples - len(samples)
                count += len(samples)
                _check_time(media, count / SAMPLE_RATE_HZ)
                if len(samples):
                    is_broken = ~(np.abs(samples) <= _LOUDEST)
                    if is_broken.any():
                        num_broken += int(is_broken.sum())
                        samples = np.where(is_broken, np.float32(0), samples)
                    yield samples
        for piece in resampler.resample(None):
            yield np.nan_to_num(_one_channel(piece, layout), nan=0.0, posinf=0.0, neginf=0.0)
        if num_broken:
            media.notes.append(
                f"{num_broken / SAMPLE_RATE_HZ:.2f} s of the sound are no numbers (NaN) or far beyond full scale, and were taken for silence."
            )


def _one_channel(piece: Any, layout: str) -> Float[np.ndarray, " sample"]:
    samples = piece.to_ndarray()[0]
    return samples if layout == "mono" else np.float32(_MIX) * (samples[0::2] - samples[1::2])


def _kind(frame: Any) -> tuple[str, str, int]:
    """What a resampler expects of all its frames."""
    return frame.format.name, frame.layout.name, frame.sample_rate


def pictures(media: Media, rate_hz: float) -> Iterator[Picture]:
    """The pictures that are shown at k / rate_hz seconds, k = 0, 1, ..., whatever the video's own rate; others are not converted.

    Raises:
        VideoError: nothing can be decoded, or the track is longer than allowed, whatever the header says. Pictures that are larger than allowed
            count as such that cannot be decoded: they are left out with a note.
    """
    reformatter = import_part("av", "reading videos").video.reformatter.VideoReformatter()  # one for all: making one costs more than using it
    with _opened(media.path, media.limits) as container:
        stream = best_track(container, "video")
        stream.thread_type = "AUTO" if media.width * media.height > _ONE_THREAD_PIXELS else "NONE"
        stream.codec_context.options = {"max_pixels": str(media.limits.pixels)}  # larger ones are not even given memory, whatever the header said
        origin = _origin(container)
        rate = float(stream.average_rate) if stream.average_rate else 25.0
        shown: tuple[float, Any] | None = None
        number, next_step = 0, 0
        for frame in _decoded(container, stream, media, "picture"):
            time = number / rate if frame.time is None else frame.time - origin
            number += 1
            _check_time(media, time)
            if shown is not None:
                if time <= shown[0]:
                    continue
                steps = _steps(shown[0], time, next_step, rate_hz)
                if steps:
                    next_step = steps.stop
                    yield Picture(steps, _upright(shown[1], stream, reformatter))
            shown = (time, frame)
        if shown is not None:
            steps = _steps(shown[0], shown[0] + 1.0 / rate, next_step, rate_hz)
            if steps:
                yield Picture(steps, _upright(shown[1], stream, reformatter))


def _steps(start: float, end: float, first: int, rate_hz: float) -> range:
    """The grid's steps from `first` on within start <= k / rate_hz < end, and not later than a picture is held."""
    end, slack = min(end, start + _HELD_SECONDS), 1e-4  # time stamps are rounded, in some containers to milliseconds
    low = max(first, int(np.ceil((start - slack) * rate_hz)))
    return range(low, max(low, int(np.ceil((end - slack) * rate_hz))))


def _upright(frame: Any, stream: Any, reformatter: Any) -> UInt8[np.ndarray, "height width 3"]:
    """RGB with square pixels, not larger than needed, turned as the file says."""
    ratio = float(stream.sample_aspect_ratio or 1) or 1.0
    ratio = ratio if 0.25 <= ratio <= 4 else 1.0
    width, height = frame.width * ratio, float(frame.height)
    smaller = min(1.0, _LONGEST_SIDE / max(width, height))
    size = {"width": max(2, round(width * smaller)), "height": max(2, round(height * smaller))}
    pixels = reformatter.reformat(frame, **size, format="rgb24", threads=1).to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


# Opening and decoding ---------------------------------------------------------------------------------------------


def opening_options(limits: Limits) -> dict[str, str]:
    """What ffmpeg is told with every file, so that it opens nothing else and no other kind."""
    return {"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS), "max_pixels": str(limits.pixels)}


def _opened(path: Path, limits: Limits) -> "InputContainer":
    av = import_part("av", "reading videos")
    if not path.is_file():
        raise VideoError(f"There is no video at {path}: {'it is a folder' if path.is_dir() else 'no such file'}. Check the path.")
    if path.stat().st_size == 0:
        raise VideoError(f"{path} is empty (0 bytes). Was a download or copy cut short? Get the file again.")
    try:
        return av.open(f"file:{path}", options=opening_options(limits), metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError(
            f"{path} cannot be read as video or sound ({_reason(error)}). Expected a whole file that ffmpeg reads ({EXAMPLES}); it may "
            "be cut short, damaged, or something else under that name. Play it to check, and export or copy it again."
        ) from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _several(container: Any) -> str:
    return f"The file has {len(tracks(container, 'video'))} tracks of picture; track {best_track(container, 'video').index} was used."


def _origin(container: Any) -> float:
    return (container.start_time or 0) / 1_000_000


def _decoded(container: Any, stream: Any, media: Media, what: str) -> Iterator[Any]:
    """A track's decoded frames; broken packets are left out and noted, unless nothing else is there."""
    av = import_part("av", "reading videos")
    good = broken = 0
    reason, packets = "", container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:  # the rest of the file is missing
            broken, reason, packet = broken + 1, _reason(error), None
        if packet is None:
            break
        try:
            for frame in packet.decode():
                good += 1
                yield frame
        except av.error.FFmpegError as error:
            broken, reason = broken + 1, _reason(error)
    if not good:
        raise VideoError(
            f"Nothing of the {what} of {media.path} can be decoded ({reason or 'the track is empty'}). The file is damaged or cut short, or of a "
            "kind that this ffmpeg does not know. Export it again as mp4 with H.264 and AAC."
        )
    if broken:
        media.notes.append(f"{broken} pieces of the {what} cannot be decoded and were left out ({reason}).")


def _check_time(media: Media, seconds: float) -> None:
    if seconds > media.limits.duration_seconds:
        raise VideoError(_too_long(media.path, f"goes on after {media.limits.duration_seconds:.0f} s", media.limits))


def _too_long(path: Path, what: str, limits: Limits) -> str:
    return f"{path} {what}; at most {limits.duration_seconds:.0f} s are allowed. Cut it into parts and extract each."
