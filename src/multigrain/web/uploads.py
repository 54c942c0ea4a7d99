"""Takes a submission in: streamed to disk as it comes, limited and typed on the way, whole or not at all."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from multigrain.video.spoken import counted
from multigrain.web.disk import DISK_FULL
from multigrain.web.folders import REQUEST, DataFolder
from multigrain.web.form import MOST_AROUND_BYTES, FormWriter
from multigrain.web.names import title
from multigrain.web.refusal import Refusal
from multigrain.web.settings import MEBIBYTE, Settings

WRITE_BYTES = 256 * 1024
SLOWEST_BYTES_PER_SECOND = 16 * 1024
PATIENCE_SECONDS = 60.0
LONGEST_TEXT_TITLE = 60
_NO_VIDEO = "A transcript came without a video. Submit both together, or the words alone as a text."
_TWO_TRANSCRIPTS = "A video came with two transcripts: a file and a text. Submit one of them."


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What was submitted.

    Attributes:
        kind: "video" or "text".
        title: to be shown.
        transcript: what the client called the transcript, or None.
    """

    kind: str
    title: str
    transcript: str | None = None


async def take_in(request: Request, folder: Path, folders: DataFolder, settings: Settings) -> Submission:
    """Writes a submission's files into its folder.

    Args:
        request: a form with the parts video, transcript and text, or JSON with a text.
        folder: empty.
        folders: for the room left on the disk.
        settings: limits.

    Raises:
        Refusal: too large, too slow, of a wrong type, or not what is expected.
        ClientDisconnect: the client went away.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        submission = await _take_json(request, folder, folders, settings)
    elif kind == "multipart/form-data":
        submission = await _take_form(request, folder, folders, settings)
    else:
        raise Refusal(
            415, f"The body is {kind or 'of no stated type'}; expected multipart/form-data with a video or a text, or application/json with a text."
        )
    described = json.dumps({**vars(submission), "options": _options(settings)})
    await run_in_threadpool((folder / REQUEST).write_text, described, encoding="utf-8")
    return submission


def _options(settings: Settings) -> dict[str, object]:
    """What the analysis is to be made with; a job keeps it over restarts."""
    return {
        "checkpoint": settings.checkpoint,
        "recognizer": settings.recognizer,
        "duration_seconds": settings.duration_seconds,
        "pixels": settings.pixels,
        "transcript_bytes": settings.transcript_bytes,
        "utterances": settings.utterances,
    }


async def _take_form(request: Request, folder: Path, folders: DataFolder, settings: Settings) -> Submission:
    limits = {"video": settings.video_bytes, "transcript": settings.transcript_bytes, "text": settings.text_bytes}
    _check_length(request.headers, sum(limits.values()) + MOST_AROUND_BYTES, folders, settings)
    writer = FormWriter(request.headers["content-type"], folder, limits)
    try:
        async for block in _blocks(request, settings):
            _check_room(len(block), folders, settings)
            await run_in_threadpool(writer.write, block)
        parts = await run_in_threadpool(writer.finish)
    finally:
        writer.close()
    return await run_in_threadpool(_of_parts, parts, folder, settings)


def _of_parts(parts: Mapping[str, str], folder: Path, settings: Settings) -> Submission:
    """Which analysis the parts ask for.

    Args:
        parts: name of each part that was not empty -> the client's name for its file.
        folder: of their files.
    """
    if "text" in parts:
        if "transcript" in parts:
            raise Refusal(422, _TWO_TRANSCRIPTS if "video" in parts else _NO_VIDEO)
        text = (folder / "text.txt").read_bytes()
        if "video" not in parts:
            return _of_text(text, settings)
        _clean_text(text)
        (folder / "text.txt").rename(folder / "transcript.txt")
    if "video" not in parts:
        raise Refusal(422, "Nothing to analyse came. Submit a video (part `video`, with or without `transcript`) or a text (part `text`).")
    transcript = title(parts["transcript"], "the transcript") if "transcript" in parts else None
    return Submission(kind="video", title=title(parts["video"], "video"), transcript=transcript)


async def _take_json(request: Request, folder: Path, folders: DataFolder, settings: Settings) -> Submission:
    longest = 6 * settings.text_bytes + MOST_AROUND_BYTES  # a character is up to 6 bytes as a JSON escape
    body = bytearray()
    _check_room(0, folders, settings)
    async for block in _blocks(request, settings):
        body += block
        if len(body) > longest:
            raise _too_long(settings)
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, 'The body is not JSON. Expected {"text": "..."}.') from error
    if not isinstance(values, dict) or set(values) != {"text"} or not isinstance(values["text"], str):
        raise Refusal(422, 'Expected {"text": "..."} and nothing else. Videos are submitted as multipart/form-data.')
    text = values["text"].encode("utf-8", errors="surrogatepass")
    if len(text) > settings.text_bytes:
        raise _too_long(settings)
    submission = _of_text(text, settings)
    await run_in_threadpool((folder / "text.txt").write_bytes, text)
    return submission


def _too_long(settings: Settings) -> Refusal:
    return Refusal(413, f"The text is larger than {settings.text_bytes:,} bytes, this server's limit. Submit less.")


def _of_text(written: bytes, settings: Settings) -> Submission:
    """The analysis of a text alone, whichever way it came.

    Raises:
        Refusal: it is no text, has no words, or is too much work.
    """
    text = _clean_text(written)
    _check_work(text, settings)
    return Submission(kind="text", title=_text_title(text))


def _clean_text(written: bytes) -> str:
    try:
        text = written.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(422, "The text is not UTF-8. Save it as UTF-8 and submit it again.") from error
    if not any(character.isalnum() for character in text):
        raise Refusal(422, "The text has no words. Submit at least one.")
    return text


def _check_work(text: str, settings: Settings) -> None:
    """Refuses a text that would keep a worker for too long, before it waits for one."""
    lines = sum(1 for line in text.splitlines() if not line.isspace() and line)
    if len(text) > settings.text_characters or lines > settings.text_lines:
        raise Refusal(
            413,
            f"The text has {counted(len(text), 'character', 'characters')} in {counted(lines, 'line', 'lines')}; this server analyses at most "
            f"{counted(settings.text_characters, 'character', 'characters')} and {counted(settings.text_lines, 'line', 'lines')} at a time. "
            "Submit it in parts.",
        )


def _text_title(text: str) -> str:
    words = " ".join(text[:1000].split()).replace("/", " ").replace("\\", " ")
    return title(words if len(words) <= LONGEST_TEXT_TITLE else words[: LONGEST_TEXT_TITLE - 1] + "…", "text")


# Limits -------------------------------------------------------------------------------------------------------------


def _check_length(headers: Mapping[str, str], most: int, folders: DataFolder, settings: Settings) -> None:
    """Refuses by the stated length, before anything is read."""
    stated = headers.get("content-length", "")
    if stated.isdigit():
        if int(stated) > most:
            raise Refusal(
                413, f"The upload is {_size(int(stated))}; this server takes at most {_size(settings.video_bytes)} for a video. Submit a smaller one."
            )
        _check_room(int(stated), folders, settings)


def _check_room(size: int, folders: DataFolder, settings: Settings) -> None:
    if folders.free_bytes() - size < settings.free_bytes:
        raise Refusal(507, DISK_FULL)


async def _blocks(request: Request, settings: Settings) -> AsyncIterator[bytes]:
    """The body in blocks worth writing; refuses clients that send next to nothing."""
    stream, block, size, began = request.stream(), bytearray(), 0, time.monotonic()
    while True:
        try:
            chunk = await asyncio.wait_for(anext(stream, None), settings.idle_seconds)
        except TimeoutError:
            raise Refusal(
                408, f"The upload stood still for {settings.idle_seconds:g} s and was given up. Submit it again over a better connection."
            ) from None
        if chunk is None:
            break
        block += chunk
        size += len(chunk)
        seconds = time.monotonic() - began
        if seconds > PATIENCE_SECONDS and size < seconds * SLOWEST_BYTES_PER_SECOND:
            raise Refusal(
                408,
                f"The upload came at less than {SLOWEST_BYTES_PER_SECOND:,} bytes a second and was given up. "
                "Submit it again over a better connection, or a smaller one.",
            )
        if len(block) >= WRITE_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


def _size(size: int) -> str:
    return f"{size / MEBIBYTE:,.0f} MiB" if size >= MEBIBYTE else f"{size:,} bytes"
