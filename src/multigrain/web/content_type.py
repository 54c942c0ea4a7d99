"""What a transcript is by its first bytes (media_type.py: a video); its name and the type that a client states are not asked."""

import codecs
import json
import re

HEAD_BYTES = 4096
TRANSCRIPTS = "srt, vtt, ass, plain text or JSON with word times"

CUE_TIME = re.compile(r"(?:^|[\r\n])[ \t]*-?\d{1,2}:\d{1,2}(:\d{1,2})?([,.]\d{1,3})?[ \t]*-->[ \t]*\d{1,2}:\d{1,2}")


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
