"""What a file is by its first bytes; its name and the type that a client states are not asked."""

import codecs
import json
import re

HEAD_BYTES = 4096
MEDIA = "mp4, mov, mkv, webm, avi, mpg, wav, mp3, flac or ogg"
TRANSCRIPTS = "srt, vtt, ass, plain text or JSON with word times"

MEDIA_TYPES = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "webm": "video/webm",
    "avi": "video/x-msvideo",
    "mpg": "video/mpeg",
    "ts": "video/mp2t",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
}
"""Extension under which a file is stored -> type under which it is sent back."""

CUE_TIME = re.compile(r"(?:^|[\r\n])[ \t]*-?\d{1,2}:\d{1,2}(:\d{1,2})?([,.]\d{1,3})?[ \t]*-->[ \t]*\d{1,2}:\d{1,2}")


def media_extension(head: bytes) -> str | None:
    """Extension of a video or sound by its first bytes, or None when it is neither."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        return "mov" if head[4:8] != b"ftyp" or head[8:12] == b"qt  " else "mp4"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "webm" if b"webm" in head[:64] else "mkv"
    if head.startswith(b"RIFF"):
        return {b"AVI ": "avi", b"WAVE": "wav"}.get(head[8:12])
    for start, extension in (
        (b"RF64", "wav"),
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
        (b"ID3", "mp3"),
        (b"\x00\x00\x01\xba", "mpg"),
        (b"\x00\x00\x01\xb3", "mpg"),
    ):
        if head.startswith(start):
            return extension
    if len(head) > 188 and head[0] == 0x47 and head[188] == 0x47:
        return "ts"
    # An MPEG frame header: 11 bits set, layer and bit rate and sampling rate not those that are reserved.
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 and head[2] & 0xF0 != 0xF0 and head[2] & 0x0C != 0x0C:
        return "mp3"
    return None


def transcript_extension(head: bytes) -> str | None:
    """Extension of a transcript by its first bytes, or None when it is no text."""
    text = _decode(head)
    if text is None or "\x00" in text:
        return None
    start = text.lstrip("\ufeff \t\r\n")
    if start.startswith("WEBVTT"):
        return "vtt"
    if start[:64].lower().startswith("[script info]"):
        return "ass"
    if start[:1] in ("{", "[") and _begins_as_json(start):
        return "json"
    return "srt" if CUE_TIME.search(text) else "txt"


def _decode(head: bytes) -> str | None:
    """The text, which may be cut within a character; UTF-16 needs its mark, and Latin-1 is what is left."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return head.decode("utf-16", errors="replace")
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        is_binary = sum(byte < 32 and byte not in b"\t\n\r\f" for byte in head) > 0
        return None if is_binary else head.decode("latin-1")


def _begins_as_json(start: str) -> bool:
    """Whether it is JSON as far as it goes: an object's first key, or a list's first value; `[laughs]` and `[0:04]` are none."""
    try:
        json.loads(start)
    except ValueError:
        return re.match(r'(\{\s*"[^"\n]*"\s*:)|(\[\s*([\{\["]|-?\d+(\.\d+)?\s*[,\]]))', start) is not None
    return True
