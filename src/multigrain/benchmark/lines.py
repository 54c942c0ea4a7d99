"""Two ends of a process that measures: a line in, a line of JSON out, so that its memory is its own and its end harms nobody."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any


class ProcessFailed(Exception):
    """The process gave no answer; the message says why."""


class LineProcess:
    """A process that answers each line with a line."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]):
        """Starts it.

        Args:
            command: what to run.
            environment: variables that are set beside those of this process.
        """
        self._errors: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  # until `stop`
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env={**os.environ, **environment},
        )

    def ask(self, line: str, limit_seconds: float) -> dict[str, Any]:
        """The answer to a line.

        Raises:
            ProcessFailed: it took longer than the limit, ended, or answered with an error.
        """
        self.tell(line)
        return self.answer(limit_seconds)

    def tell(self, line: str) -> None:
        """Sends a line whose answer is fetched later."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended; `answer` says why
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def answer(self, limit_seconds: float) -> dict[str, Any]:
        """Waits for the next answer; raises as `ask` does."""
        assert self._process.stdout is not None
        overdue = threading.Event()

        def end() -> None:
            overdue.set()
            self._process.kill()

        timer = threading.Timer(limit_seconds, end)
        timer.daemon = True
        timer.start()
        try:
            answer = self._process.stdout.readline()
        except OSError:
            answer = ""
        finally:
            timer.cancel()
        if overdue.is_set():
            raise ProcessFailed(f"took longer than {limit_seconds:.0f} s and was stopped")
        if not answer:
            raise ProcessFailed(self._reason_of_end())
        values: dict[str, Any] = json.loads(answer)
        if "error" in values:
            raise ProcessFailed(values["error"])
        return values

    def stop(self, patience_seconds: float = 10.0) -> None:
        """Ends the process: of itself when it sees that no line follows, by force after a while."""
        with contextlib.suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self._process.wait(timeout=patience_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._errors.close()

    def _reason_of_end(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = [text.strip() for text in self._errors.read().splitlines() if text.strip()]
        if code == -9:
            return "the process was killed, most likely for want of memory"
        return f"the process ended with code {code}: {lines[-1][:300] if lines else 'it said nothing'}"


def serve(answers_to: Callable[[Iterator[str]], Iterator[Mapping[str, Any]]]) -> None:
    """The process's own end: writes what `answers_to` makes of the lines, or the error that stopped it, and ends the process."""
    channel = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    try:
        for answer in answers_to(line.strip() for line in sys.stdin):
            channel.write(json.dumps(answer) + "\n")
    except Exception as error:  # the table's row says it, and the other processes go on
        traceback.print_exc()
        reason = " ".join(str(error).split())
        channel.write(json.dumps({"error": f"{type(error).__name__}: {reason[:400]}"}) + "\n")
        sys.exit(1)
    channel.close()
    os._exit(0)  # freeing millions of objects would take seconds
