"""What kind of video or sound a file is by its first bytes: everything that `multigrain extract` opens, and no list of other files."""

from collections.abc import Mapping, Sequence

from multigrain.video.media import EXAMPLES

MEDIA = f"{EXAMPLES} or another video or sound that ffmpeg reads"
"""What people are told to submit, here and on the page."""

MEDIA_TYPES: Mapping[str, str] = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "webm": "video/webm",
    "avi": "video/x-msvideo",
    "mpg": "video/mpeg",
    "ts": "video/mp2t",
    "m2ts": "video/mp2t",
    "flv": "video/x-flv",
    "asf": "video/x-ms-asf",
    "wtv": "video/x-ms-wtv",
    "ogv": "video/ogg",
    "dv": "video/dv",
    "mxf": "application/mxf",
    "gxf": "application/gxf",
    "rm": "application/vnd.rn-realmedia",
    "nut": "video/x-nut",
    "dav": "video/x-dav",
    "ivf": "video/x-ivf",
    "y4m": "video/x-yuv4mpeg",
    "h264": "video/h264",
    "hevc": "video/h265",
    "m4v": "video/mp4v-es",
    "obu": "video/av1",
    "mjpeg": "video/x-motion-jpeg",
    "wav": "audio/wav",
    "w64": "audio/x-w64",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "caf": "audio/x-caf",
    "amr": "audio/amr",
    "awb": "audio/amr-wb",
    "au": "audio/basic",
    "ape": "audio/x-ape",
    "wv": "audio/x-wavpack",
    "tta": "audio/x-tta",
    "tak": "audio/x-tak",
    "mpc": "audio/x-musepack",
    "voc": "audio/x-voc",
    "ac3": "audio/ac3",
    "dts": "audio/vnd.dts",
    "sph": "audio/x-nist",
    "qcp": "audio/qcelp",
}
"""Ending under which a file is stored -> type under which it is sent back."""

SIGNATURES: Sequence[tuple[int, bytes, str]] = (
    (4, b"ftypqt  ", "mov"),
    (4, b"ftyp", "mp4"),
    *((4, name, "mov") for name in (b"moov", b"mdat", b"wide")),
    (8, b"AVI ", "avi"),
    (8, b"WAVE", "wav"),
    (8, b"QLCM", "qcp"),
    (8, b"AIFF", "aiff"),
    (8, b"AIFC", "aiff"),
    (0, b"RF64", "wav"),
    (0, b"riff\x2e\x91\xcf\x11", "w64"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"ID3", "mp3"),
    (0, b"caff", "caf"),
    (0, b"#!AMR-WB", "awb"),
    (0, b"#!AMR", "amr"),
    (0, b".snd", "au"),
    (0, b"MAC ", "ape"),
    (0, b"wvpk", "wv"),
    (0, b"TTA1", "tta"),
    (0, b"TTA2", "tta"),
    (0, b"tBaK", "tak"),
    (0, b"MPCK", "mpc"),
    (0, b"MP+", "mpc"),
    (0, b"Creative Voice File\x1a", "voc"),
    (0, b"NIST_1A", "sph"),
    (0, b"\x0b\x77", "ac3"),
    (0, b"\x7f\xfe\x80\x01", "dts"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"\xb7\xd8\x00\x20\x37\x49\xda\x11", "wtv"),
    (0, b"FLV\x01", "flv"),
    (0, b".RMF", "rm"),
    (0, b".ra\xfd", "rm"),
    (0, b"nut/multimedia container\x00", "nut"),
    (0, b"DHAV", "dav"),
    (0, b"DKIF", "ivf"),
    (0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", "mxf"),
    (0, b"\x00\x00\x00\x00\x01\xbc", "gxf"),
    (0, b"\x1f\x07\x00", "dv"),
    (0, b"\x12\x00\x0a", "obu"),
    (0, b"\xff\xd8\xff", "mjpeg"),
    (0, b"\x00\x00\x01\xba", "mpg"),
    (0, b"\x00\x00\x01\xb3", "mpg"),
    (0, b"\x00\x00\x01\xb0", "m4v"),
    *((0, start + unit, "hevc") for start in (b"\x00\x00\x00\x01", b"\x00\x00\x01") for unit in (b"\x40\x01", b"\x46\x01")),
    *((0, start + unit, "h264") for start in (b"\x00\x00\x00\x01", b"\x00\x00\x01") for unit in (b"\x67", b"\x27", b"\x09")),
)
"""Place, bytes there, and the ending of a file that has them; of several the first counts."""
MATROSKA, RAW_PICTURES, TRANSPORT_BYTE = b"\x1a\x45\xdf\xa3", b"YUV4MPEG2 W", 0x47
TRANSPORT_PACKETS = ((0, 188, "ts"), (4, 192, "m2ts"))
"""Where the first packet's mark stands and how far on the next one: broadcast, and cameras and discs, which put the time before each packet."""
FIRST_OF_TEXT = 9
"""Smaller bytes are in no text, and in the first 4 KiB of all but raw pictures: `The wide river` is no film."""
RIFF_KINDS = (b"RIFF", b"FORM", b"RF64")


def media_extension(head: bytes) -> str | None:
    """Ending of a video or sound by its first bytes, or None when it is neither.

    Args:
        head: the first 4 KiB, or the whole of a smaller file.
    """
    if head.startswith(RAW_PICTURES):
        return "y4m"
    if not any(byte < FIRST_OF_TEXT for byte in head):
        return None
    if head.startswith(MATROSKA):
        return "webm" if b"webm" in head[:64] else "mkv"
    for place, start, extension in SIGNATURES:
        if head.startswith(start, place) and (place != 8 or head.startswith(RIFF_KINDS)):
            return "ogv" if extension == "ogg" and b"\x80theora" in head else extension
    for first, length, extension in TRANSPORT_PACKETS:
        if len(head) > first + length and head[first] == head[first + length] == TRANSPORT_BYTE:
            return extension
    return _by_frame_header(head)


def _by_frame_header(head: bytes) -> str | None:
    """MPEG sound without anything before it: 11 or 12 bits set, and then no value that is reserved."""
    if len(head) < 3 or head[0] != 0xFF:
        return None
    if head[1] & 0xF6 == 0xF0 and head[2] & 0x3C != 0x3C:
        return "aac"
    is_sound = head[1] & 0xE0 == 0xE0 and head[1] & 0x06 and head[2] & 0xF0 != 0xF0 and head[2] & 0x0C != 0x0C
    return "mp3" if is_sound else None
