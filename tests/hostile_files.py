"""Files that mean harm, for the tests and for `benchmarks/hostile.py`: made anew at each run, nothing of them is data of anybody's."""

import struct
from dataclasses import dataclass
from pathlib import Path

from made_clips import regular, spoken_like, ten_hours_by_header, write_clip

OURS = ("page.html", "report.html", "policy.txt", "result.json", "utterances.csv", "playable.mp4", "transcript.txt", "transcript.srt")
"""Files that an analysis makes beside what was uploaded."""
HUGE = 20_000
SCRIPTS = "<script>alert(1)</script><img src=x onerror=alert(2)> &lt;script&gt;alert(4)&lt;/script&gt;"
CUE = "1\n00:00:00,200 --> 00:00:02,800\n"


@dataclass(frozen=True)
class Case:
    """A file that means harm.

    Attributes:
        name: what it is.
        video, transcript: the files.
        words: part of what the command line says about it.
        is_usable: whether there is something in it to analyse.
        client_name: what a client calls it; None for its name.
    """

    name: str
    video: Path
    words: str
    transcript: Path | None = None
    is_usable: bool = False
    client_name: str | None = None


def write_cases(folder: Path, *, writes_gigabyte: bool = False, share: float = 1.0) -> list[Case]:
    """Writes all files.

    Args:
        folder: where.
        writes_gigabyte: writes all bytes of the subtitles; False makes a file of that size of which nothing is on the disk.
        share: of the many lines and subtitles that the names of two cases speak of.
    """
    good = write_clip(folder / "good.mp4", sound=spoken_like(3.0), picture_times=regular(3.0), size=(160, 120))
    whole_mkv = write_clip(folder / "whole.mkv", sound=spoken_like(6.0), picture_times=regular(6.0), size=(160, 120)).read_bytes()
    content = good.read_bytes()
    scripts = _write(folder / "scripts.srt", f"{CUE}so good {SCRIPTS}\n".encode())
    return [
        Case("a file cut in the middle whose index is missing (mp4)", _write(folder / "cut.mp4", content[: len(content) // 2]), "cannot be read"),
        Case("a file cut in the middle (mkv)", _write(folder / "cut.mkv", whole_mkv[: len(whole_mkv) // 2]), "", is_usable=True),
        Case("a file of zero bytes", _write(folder / "zero.mp4", b""), "is empty (0 bytes)"),
        Case("a text named .mp4", _write(folder / "text.mp4", b"This is no video.\n" * 1000), "cannot be read"),
        Case("a playlist named .mp4 that names /etc/passwd", _write(folder / "list.mp4", _PLAYLIST), "cannot be read"),
        Case("pictures of 20,000 x 20,000 by header", _huge_by_header(folder), "has pictures whose size"),
        Case("pictures of 20,000 x 20,000 from the tenth on", _huge_later(folder), "", is_usable=True),
        Case("10 hours of silence by header", ten_hours_by_header(folder / "hours.mp4"), "lasts 36000 s by its header"),
        Case("a gigabyte of subtitles", good, "bytes; a transcript may have at most", _gigabyte(folder / "gigabyte.srt", is_written=writes_gigabyte)),
        Case("a subtitle line of a megabyte", good, "characters; at most", _write(folder / "line.srt", (CUE + "x" * 1_000_000 + "\n").encode())),
        Case("7 MB of tags in one subtitle that are never closed", good, "characters; at most", _write(folder / "tags.srt", _open_tags())),
        Case("7 MB of empty lines in one subtitle", good, "", _write(folder / "lines.srt", _empty_lines(share)), is_usable=True),
        Case("20,000 subtitles at one time", good, "more than can be spoken", _write(folder / "many.srt", _at_one_time(share))),
        Case("scripts in subtitles and name", _write(folder / "<img src=x onerror=alert(3)>.mp4", content), "", scripts, is_usable=True),
    ]


def write_sound(path: Path) -> Path:
    """A second of sound, for many uploads."""
    return write_clip(path, sound=spoken_like(1.0), audio_codec="pcm_s16le")


_PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/passwd\n#EXT-X-ENDLIST\n"


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _open_tags() -> bytes:
    return (CUE + ("<a" * 4_999 + "\n") * 700).encode()


def _empty_lines(share: float) -> bytes:
    return (CUE + "it was\n" + "\n" * int(7_000_000 * share) + "so good\n").encode()


def _at_one_time(share: float) -> bytes:
    return "".join(f"{CUE}word{number} again{number}\n\n" for number in range(int(20_000 * share))).encode()


def _huge_by_header(folder: Path) -> Path:
    path = write_clip(folder / "huge.avi", picture_times=regular(0.4), video_codec="mjpeg")
    content = bytearray(path.read_bytes())
    place = content.index(b"strf") + 8 + 4
    content[place : place + 8] = struct.pack("<ii", HUGE, HUGE)
    return _write(path, _claim_huge(content, first=0))


def _huge_later(folder: Path) -> Path:
    path = write_clip(folder / "later.avi", sound=spoken_like(1.0), picture_times=regular(1.0), video_codec="mjpeg", audio_codec="pcm_s16le")
    return _write(path, _claim_huge(bytearray(path.read_bytes()), first=9))


def _claim_huge(content: bytearray, first: int) -> bytes:
    """The pictures themselves, from that number on, say that they are huge."""
    place, number = content.find(b"\xff\xc0"), 0
    while place >= 0:
        if number >= first:
            content[place + 5 : place + 9] = struct.pack(">HH", HUGE, HUGE)
        place, number = content.find(b"\xff\xc0", place + 9), number + 1
    return bytes(content)


def _gigabyte(path: Path, *, is_written: bool) -> Path:
    block = (CUE + "it was so good\n\n").encode() * 20_000
    with path.open("wb") as file:
        if not is_written:
            file.truncate(1 << 30)
            return path
        while file.tell() < 1 << 30:
            file.write(block)
    return path
