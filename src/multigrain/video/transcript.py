"""What is said in a video, from a file: subtitles (.srt, .vtt, .ass), plain text (.txt), or words with times (.json).

Text is only ever text here: formatting tags are taken out, control characters too, and whoever shows it must escape it.
"""

import codecs
from collections.abc import Callable
from pathlib import Path

from multigrain.errors import VideoError
from multigrain.video.limits import Limits
from multigrain.video.spoken import Cue as Cue
from multigrain.video.spoken import TimedWord as TimedWord
from multigrain.video.spoken import Transcript as Transcript
from multigrain.video.spoken import Turn as Turn
from multigrain.video.stamped_text import read_text
from multigrain.video.subtitles import read_subtitles
from multigrain.video.text_cleaning import clean_text as clean_text
from multigrain.video.word_json import read_word_json

_UTF16_SHARE = 0.3  # of the bytes are 0 in Latin text as UTF-16


def read_transcript(path: str | Path, limits: Limits, *, video_seconds: float | None = None) -> Transcript:
    """Reads a transcript; its size is checked before it is read.

    Args:
        path: of the file; its ending says which kind it is.
        limits: how large it may be.
        video_seconds: how long the video is, where that is known; it tells milliseconds from seconds in JSON that says neither.

    Raises:
        VideoError: there is no such file, it is of another kind, too large, not UTF-8, damaged, or holds no words.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if not path.is_file():
        raise VideoError(f"There is no transcript at {path}: {'it is a folder' if path.is_dir() else 'no such file'}. Check the path.")
    if reader is None:
        raise VideoError(f"{path} is of no kind that is read as a transcript: expected {', '.join(READERS)}. Rename or export it as one of these.")
    size = path.stat().st_size
    if size > limits.transcript_bytes:
        raise VideoError(
            f"{path} has {size} bytes; a transcript may have at most {limits.transcript_bytes}, a day of speech. Check that it is the right file."
        )
    text = _decoded(path, path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
    transcript = read_word_json(path, text, limits, video_seconds) if reader is read_word_json else reader(path, text, limits)
    if not (transcript.cues or transcript.sentences or transcript.words):
        why = f" {' '.join(transcript.notes)}" if transcript.notes else ""
        raise VideoError(f"{path} holds no words.{why} Check that it is the right file, or leave the transcript out.")
    return transcript


def _decoded(path: Path, content: bytes) -> str:
    """The text of a file in UTF-8, or in UTF-16 as its mark or its zeros tell.

    Raises:
        VideoError: it is in another encoding.
    """
    encoding = "utf-8-sig"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif content[:4096].count(0) > _UTF16_SHARE * len(content[:4096]):
        encoding = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise VideoError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start}). Save it again as UTF-8; editors call it 'encoding'."
        ) from error


READERS: dict[str, Callable[[Path, str, Limits], Transcript]] = {
    ".srt": read_subtitles,
    ".vtt": read_subtitles,
    ".ass": read_subtitles,
    ".ssa": read_subtitles,
    ".txt": read_text,
    ".json": read_word_json,
}
