"""What a server allows and where it keeps things: one frozen value, checked before anything is opened.

The command line takes its defaults from here, so that this module loads nothing of the extra `web`.
"""

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from multigrain.errors import ServerError

if TYPE_CHECKING:
    from sqlalchemy import URL

MEBIBYTE = 1024 * 1024
SHORTEST_TOKEN = 16
ANALYSIS_JOB = "multigrain.web.analysis_job:run"


def _require(is_right: bool, option: str, value: object, expected: str) -> None:
    if not is_right:
        raise ServerError(f"{option} is {value!r}; expected {expected}.")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `multigrain serve`.

    Attributes:
        data: folder of the uploads, the results and the default database; made where missing, readable by its owner only.
        database: SQLAlchemy URL; None for a SQLite file in `data`.
        host, port: where it listens; port 0 takes a free one. Any host but this machine's own (loopback) needs a token.
        token: what a client must know; None for no question asked.
        is_behind_proxy: a proxy with TLS stands before it, through which alone it is reached.
        workers: worker processes, so analyses at a time.
        checkpoint: of every analysis; None for the one that comes with multigrain.
        recognizer: for videos without a transcript: none, pocketsphinx or whisper:MODEL.
        time_limit_seconds: of one analysis; it is stopped then.
        memory_bytes: of one worker process's own data.
        video_bytes, transcript_bytes, text_bytes: largest upload of each kind.
        text_lines, text_characters: of a text, whose lines are analysed one by one.
        utterances: most utterances of a video.
        duration_seconds: longest video.
        pixels: most pixels of a picture.
        queue: most analyses that wait.
        uploads: most uploads at a time.
        submissions_per_minute, requests_per_second: of one client address.
        idle_seconds: an upload that sends nothing for so long is given up.
        free_bytes: of the disk, never touched by uploads.
        job: what a worker calls with a job's folder, as module:function.
    """

    data: Path
    database: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    is_behind_proxy: bool = False
    workers: int = 2
    checkpoint: str | None = None
    recognizer: str = "none"
    time_limit_seconds: float = 1800.0
    memory_bytes: int = 8 * 1024 * MEBIBYTE
    video_bytes: int = 2048 * MEBIBYTE
    transcript_bytes: int = 8 * MEBIBYTE
    text_bytes: int = MEBIBYTE
    text_lines: int = 2000
    text_characters: int = 100_000
    utterances: int = 5000
    duration_seconds: float = 7200.0
    pixels: int = 3840 * 2160
    queue: int = 100
    uploads: int = 64
    submissions_per_minute: int = 120
    requests_per_second: int = 100
    idle_seconds: float = 30.0
    free_bytes: int = 512 * MEBIBYTE
    job: str = ANALYSIS_JOB

    def __post_init__(self) -> None:
        _require(0 <= self.port <= 65535, "--port", self.port, "0 to 65535")
        _require(1 <= self.workers <= 64, "--workers", self.workers, "1 to 64")
        _require(self.time_limit_seconds > 0, "--time-limit", self.time_limit_seconds, "more than 0 seconds")
        _require(self.video_bytes > 0, "--max-upload", self.video_bytes, "more than 0 bytes")
        _require(self.duration_seconds > 0, "--max-duration", self.duration_seconds, "more than 0 seconds")
        _require(self.queue >= 1, "--max-queue", self.queue, "at least 1")
        if self.token is not None and (len(self.token) < SHORTEST_TOKEN or not self.token.isascii() or not self.token.isprintable()):
            raise ServerError(
                f"The token is too easy to guess: expected at least {SHORTEST_TOKEN} printable ASCII characters, got {len(self.token)}. "
                "`python -c 'import secrets; print(secrets.token_urlsafe())'` makes a good one."
            )
        if not self.is_loopback and self.token is None:
            raise ServerError(
                f"--host {self.host} lets other machines in, and without a token anybody there could read and delete every analysis. "
                "Give a token with --token TOKEN or in the environment variable MULTIGRAIN_TOKEN "
                "(`python -c 'import secrets; print(secrets.token_urlsafe())'` makes one), or leave --host at 127.0.0.1."
            )

        if self.is_behind_proxy and self.token is None:
            raise ServerError(
                "--behind-proxy lets in whoever reaches the proxy, and without a token anybody there could read and delete every analysis. "
                "Give a token with --token TOKEN or in the environment variable MULTIGRAIN_TOKEN."
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def database_url(self) -> "str | URL":
        """SQLAlchemy URL of the jobs; a data folder's name may hold what has a meaning in URLs."""
        from sqlalchemy import URL

        return self.database or URL.create("sqlite", database=str((self.data / "jobs.sqlite").absolute()))

    @property
    def threads_per_worker(self) -> int:
        """Threads of each worker: its share of the cores."""
        return max(1, (os.cpu_count() or 1) // self.workers)
