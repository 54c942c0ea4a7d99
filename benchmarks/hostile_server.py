"""The command line and a server as `hostile.py` uses them: in processes of their own, over real connections."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

BLOCK_BYTES = 1 << 20

Row = tuple[str, str]
"""What was done, and what happened."""


def verdict(is_right: bool, what: str) -> str:
    return what if is_right else f"NOT SO: {what}"


def wait_until(is_true: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_true():
            return True
        time.sleep(0.2)
    return False


def attempt(attack: Callable[..., Row], *given: Any) -> Row:
    """The row of an attack; one that does not even come to its end is a row too."""
    try:
        return attack(*given)
    except Exception as error:
        return (attack.__name__.replace("_", " "), verdict(False, f"{type(error).__name__}: {error}"))


@dataclass(frozen=True)
class Finished:
    """What a command did: exit code, what it printed, how long it took, and the most memory that it held."""

    code: int
    output: str
    errors: str
    seconds: float
    megabytes: float

    @property
    def last_paragraph(self) -> str:
        lines = [" ".join(line.split()) for line in (self.errors or self.output).splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""

    @property
    def summary(self) -> str:
        """The last line of its output."""
        return " ".join(" ".join(self.output.split("\n\n")[-1].split())[-300:].split())


def run_command(arguments: Sequence[str], seconds: float) -> Finished:
    """Runs `multigrain` with these arguments; killed after so many seconds, with exit code -9."""
    start, highest = time.monotonic(), 0.0
    process = subprocess.Popen([sys.executable, "-m", "multigrain", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watched = psutil.Process(process.pid)
    while True:
        try:
            output, errors = process.communicate(timeout=0.2)
            return Finished(process.returncode, output, errors, time.monotonic() - start, highest)
        except subprocess.TimeoutExpired:
            highest = max(highest, _megabytes(watched))
            if time.monotonic() - start > seconds:
                process.kill()


def _megabytes(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss / 1e6
    except psutil.Error:
        return 0.0


class RunningServer:
    """`multigrain serve` on a free port; used as a context manager.

    Args:
        data: its folder.
        options: of the command.
        log: file of what it says on its error output; None for one beside its folder.
        token: that it asks for, and that requests here carry.
    """

    def __init__(self, data: Path, options: Sequence[str], *, log: Path | None = None, token: str | None = None) -> None:
        self.data = data
        self._log = log or data.with_name(f"{data.name}.log")
        self._token = token
        self._command = [sys.executable, "-m", "multigrain", "serve", "--port", "0", "--data", str(data), "--workers", "2", *options]

    def __enter__(self) -> "RunningServer":
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _start(self) -> None:
        environment = {**os.environ, **({"MULTIGRAIN_TOKEN": self._token} if self._token else {})}
        with self._log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        assert self._process.stdout is not None
        self._host = self._process.stdout.readline().split("http://")[1].split()[0]

    # What happens to it ---------------------------------------------------------------------------------------------

    def megabytes(self) -> float:
        return _megabytes(psutil.Process(self._process.pid))

    def said(self) -> str:
        """What it wrote on its error output so far, in one line."""
        return " ".join(self._log.read_text(encoding="utf-8").split())

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._host.rsplit(":", 1)
        return host, int(port)

    def num_connections(self) -> int:
        """Established ones to its port, as the server's process has them."""
        return sum(one.status == psutil.CONN_ESTABLISHED for one in psutil.Process(self._process.pid).net_connections("tcp"))

    def _workers(self) -> list[psutil.Process]:
        return psutil.Process(self._process.pid).children(recursive=True)

    def kill_workers(self) -> int:
        workers = self._workers()
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
        return len(workers)

    def kill_and_restart(self) -> int:
        """Kills it with everything unsaved, and starts it again; returns how many of its workers outlived it."""
        workers = self._workers()
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        wait_until(lambda: not any(_is_alive(worker) for worker in workers), 10)
        orphans = sum(_is_alive(worker) for worker in workers)
        self._start()
        return orphans

    # Requests -------------------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._host, timeout=120)
        try:
            known = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            connection.request(method, path, body, {**known, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (ConnectionError, TimeoutError) as error:
            return 0, json.dumps({"error": f"no answer: {error}"}).encode()
        finally:
            connection.close()

    def get(self, path: str) -> str:
        return self.ask("GET", path)[1].decode()

    def post(self, path: str) -> int:
        return self.ask("POST", path)[0]

    def health(self) -> int:
        return self.ask("GET", "/health")[0]

    def list(self) -> list[dict[str, Any]]:
        return list(json.loads(self.get("/api/analyses?limit=200"))["analyses"])

    def status(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.get(f"/api/analyses/{name}")))

    def wait(self, name: str, seconds: float = 600.0) -> dict[str, Any]:
        wait_until(lambda: self.status(name)["state"] in ("done", "failed", "cancelled"), seconds)
        return self.status(name)

    def submit(self, text: str) -> str:
        """Submits a text that must be taken; its name."""
        status, answer = self.ask("POST", "/api/analyses", json.dumps({"text": text}), {"Content-Type": "application/json"})
        assert status == 202, answer
        return str(json.loads(answer)["id"])

    def upload(self, video: Path, transcript: Path | None, name: str | None = None, text: str | None = None) -> tuple[int, dict[str, Any]]:
        """Submits files as browsers do, streamed from the disk."""
        boundary = uuid.uuid4().hex
        files = [("video", name or video.name, video), *([("transcript", transcript.name, transcript)] if transcript else [])]
        heads = [_part(boundary, part, shown) for part, shown, _ in files]
        words = _part(boundary, "text", None) + text.encode() + b"\r\n" if text is not None else b""
        end = f"--{boundary}--\r\n".encode()
        length = sum(len(head) + path.stat().st_size + 2 for head, (_, _, path) in zip(heads, files, strict=True)) + len(words) + len(end)

        def body() -> Iterator[bytes]:
            for head, (_, _, path) in zip(heads, files, strict=True):
                yield head
                with path.open("rb") as source:
                    while block := source.read(BLOCK_BYTES):
                        yield block
                yield b"\r\n"
            yield words + end

        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(length)}
        status, answer = self.ask("POST", "/api/analyses", body(), headers)
        return status, json.loads(answer)

    def begin_upload(self, video: Path) -> socket.socket:
        """A connection over which half of a video was sent."""
        connection = socket.create_connection(self.address, timeout=180)
        content = _part("x", "video", "half.mp4") + video.read_bytes()[: video.stat().st_size // 2]
        head = "POST /api/analyses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 10000000\r\n\r\n"
        connection.sendall(head.encode() + content)
        return connection

    def slow_upload(self, video: Path, pause_seconds: float | None) -> tuple[int, str, float]:
        """Begins an upload and then sends nothing, or a byte in each pause; status, sentence, and after how many seconds it came."""
        start = time.monotonic()
        with self.begin_upload(video) as connection:
            if pause_seconds is not None:
                connection.settimeout(pause_seconds)
            answer = b""
            while time.monotonic() - start < 300:
                try:
                    answer = connection.recv(65536)
                    break
                except TimeoutError:
                    connection.sendall(b"x")
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]) if head else 0, json.loads(body)["error"] if body else "", time.monotonic() - start


def _part(boundary: str, name: str, filename: str | None) -> bytes:
    shown = "" if filename is None else '; filename="' + filename.replace('"', "%22") + '"'
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'.encode()


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
