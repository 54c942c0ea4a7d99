"""How large a video and its files may be; checked before anything is decoded."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is refused, so that a strange file costs nothing.

    Attributes:
        duration_seconds: of a video, by its header, and again while it is decoded.
        pixels: of a picture, width times height.
        streams: in one file.
        channels, lowest_rate_hz, highest_rate_hz: of sound, by its header, and again while it is decoded.
        utterances: in one video.
        transcript_bytes: of a subtitle or transcript file.
        line_characters: of one line or cue of it.
    """

    duration_seconds: float = 4 * 3600.0
    pixels: int = 4096 * 2304
    streams: int = 32
    channels: int = 16
    lowest_rate_hz: int = 1000
    highest_rate_hz: int = 768_000
    utterances: int = 20_000
    transcript_bytes: int = 8_000_000
    line_characters: int = 20_000
