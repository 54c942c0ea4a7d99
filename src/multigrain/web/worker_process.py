"""A worker process as the server sees it: started, given folders, listened to, killed with all that it started."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from multigrain.web.settings import Settings

LONGEST_ANSWER = 1024 * 1024


class WorkerProcess:
    """One process of `multigrain.web.worker`, in a process group of its own.

    Args:
        settings: job, memory and threads of the worker.
        log: file of what it prints; begun anew.
    """

    def __init__(self, settings: Settings, log: Path) -> None:
        self._log = log
        environment = {**os.environ, "OMP_NUM_THREADS": str(settings.threads_per_worker)}
        environment.pop("MULTIGRAIN_TOKEN", None)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "multigrain.web.worker", settings.job, str(settings.memory_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
                env=environment,
            )
        finally:
            os.close(output)
        self._pending = b""
        self._selector = selectors.DefaultSelector()
        assert self._process.stdout is not None
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    @property
    def process_id(self) -> int:
        """Of the worker and of its group."""
        return self._process.pid

    def send(self, folder: Path) -> None:
        """Gives it a job; a worker that is dead already shows that when listened to."""
        os.truncate(self._log, 0)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"folder": str(folder.absolute())}).encode() + b"\n")
            self._process.stdin.flush()

    def listen(self, seconds: float) -> list[dict[str, Any]]:
        """What it says within so many seconds; nothing is an empty list.

        Raises:
            EOFError: it is dead, and everything it said has been heard.
        """
        assert self._process.stdout is not None
        if not self._selector.select(seconds):
            if self._is_dead():
                raise EOFError
            return []
        chunk = os.read(self._process.stdout.fileno(), 65536)
        if not chunk or len(self._pending) > LONGEST_ANSWER:
            raise EOFError
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def _is_dead(self) -> bool:
        """Whether it has ended; it is left for `kill` to collect, so that its group's number cannot be given to others before."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    @property
    def was_asked_to_end(self) -> bool:
        """Whether it ended by a signal that people and service managers send to stop a program, which no decoder's crash is; after `kill`."""
        return self._process.returncode in (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)

    def kill(self) -> None:
        """Ends it and every process that it started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
