"""Parts of a form written to files as they come; nothing of it is held in memory, and nothing is named by the client."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from multigrain.web.content_type import HEAD_BYTES, TRANSCRIPTS, transcript_extension
from multigrain.web.media_type import MEDIA, media_extension
from multigrain.web.names import title
from multigrain.web.refusal import Refusal

ESCAPES = (("%22", '"'), ("%0D", " "), ("%0A", " "))
"""What browsers write in a file's name for a quotation mark and for the ends of lines."""
BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
"""RFC 2046, section 5.1.1."""
MOST_PARTS = 16
MOST_AROUND_BYTES = 64 * 1024
"""Of what is no part's content: heads, boundaries, and whatever stands before the first one or after the last."""
MALFORMED = "The form is malformed. Expected multipart/form-data as browsers and `curl -F` send it."


class FormWriter:
    """Takes a form's bytes in blocks of any size.

    Args:
        content_type: the request's header, with the boundary.
        folder: gets `video.EXT`, `transcript.EXT`, `text.txt`.
        limits: name of each part that is expected -> most bytes.

    Raises:
        Refusal: no boundary.
    """

    def __init__(self, content_type: str, folder: Path, limits: Mapping[str, int]) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary or not BOUNDARY.fullmatch(boundary):
            raise Refusal(400, f"{MALFORMED} Its `boundary` is missing or malformed.")
        self._folder, self._limits = folder, limits
        self._names: dict[str, str] = {}
        self._headers: dict[bytes, bytes] = {}
        self._field, self._value = b"", b""
        self._is_whole = False
        self._num_parts = self._taken_bytes = self._part_bytes = 0
        self._part = ""
        self._file: IO[bytes] | None = None
        self._size = 0
        self._head = b""
        self._extension: str | None = None
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._open,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._whole,
            },
        )

    def write(self, block: bytes) -> None:
        """Takes the next bytes.

        Raises:
            Refusal: a part is unknown, too large or of a wrong type, or the form is malformed.
        """
        try:
            self._parser.write(block)
        except FormParserError as error:
            raise Refusal(400, MALFORMED) from error
        self._taken_bytes += len(block)
        if self._taken_bytes - self._part_bytes > MOST_AROUND_BYTES:
            raise Refusal(400, f"{MALFORMED} More than {MOST_AROUND_BYTES:,} bytes of it stand outside of its parts.")

    def finish(self) -> dict[str, str]:
        """Name of each part that was not empty -> the client's name for its file.

        Raises:
            Refusal: the form ended too early.
        """
        if not self._is_whole:
            raise Refusal(400, "The form ended in the middle of a part. Submit it again.")
        return self._names

    def close(self) -> None:
        """Closes a file that was cut off."""
        if self._file is not None:
            self._file.close()

    # Called by the parser -------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._headers = {}
        self._num_parts += 1
        if self._num_parts > MOST_PARTS:
            raise Refusal(400, f"{MALFORMED} It has more than {MOST_PARTS} parts.")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field, self._value = b"", b""

    def _open(self) -> None:
        options = parse_options_header(self._headers.get(b"content-disposition"))[1]
        part = options.get(b"name", b"").decode("utf-8", errors="replace")
        if part not in self._limits:
            shown = title(part, "without a name")
            raise Refusal(422, f"The form has a part {shown!r}; expected {', '.join(self._limits)} and no other.")
        if part in self._names:
            raise Refusal(422, f"The form has two parts {part!r}; submit each as an analysis of its own.")
        self._part, self._size, self._head, self._extension = part, 0, b"", None
        self._names[part] = _unescape(options.get(b"filename", b"").decode("utf-8", errors="replace"))
        self._file = (self._folder / f"{part}.part").open("xb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None  # the parser opens a part before its data
        self._size += end - start
        self._part_bytes += end - start
        if self._size > self._limits[self._part]:
            raise Refusal(413, f"The {self._part} is larger than {self._limits[self._part]:,} bytes, this server's limit. Submit a smaller one.")
        if len(self._head) < HEAD_BYTES:
            self._head += data[start : min(end, start + HEAD_BYTES - len(self._head))]
            if len(self._head) == HEAD_BYTES:
                self._extension = self._type()
        self._file.write(memoryview(data)[start:end])

    def _end(self) -> None:
        assert self._file is not None
        self._file.close()
        self._file = None
        written = self._folder / f"{self._part}.part"
        if self._size == 0:
            written.unlink()
            name = self._names.pop(self._part)
            if name:
                raise Refusal(422, f"{title(name, 'The file')} is empty (0 bytes). Choose another file.")
            return  # what a browser sends for a field that was left empty
        written.rename(written.with_suffix(f".{self._extension or self._type()}"))

    def _whole(self) -> None:
        self._is_whole = True

    def _type(self) -> str:
        name = title(self._names[self._part], f"The {self._part}")
        if self._part == "text":
            return "txt"
        if self._part == "video":
            extension = media_extension(self._head)
            if extension is None:
                raise Refusal(415, f"{name} is, by its content, no video or sound that multigrain reads: expected {MEDIA}.")
            return extension
        extension = transcript_extension(self._head)
        if extension is None:
            raise Refusal(415, f"{name} is, by its content, no transcript that multigrain reads: expected {TRANSCRIPTS}.")
        return extension


def _unescape(name: str) -> str:
    for escape, character in ESCAPES:
        name = name.replace(escape, character)
    return name
