"""The further processes of a training on several devices: started by the first one, watched, and ended with it, whatever happens.

Each runs the same command. The first alone writes and speaks; the others leave signals to it and end when it ends, also when it is killed.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from multigrain.errors import MultigrainError

RANK, WORLD_SIZE = "LOCAL_RANK", "WORLD_SIZE"
_FIRST = "MULTIGRAIN_FIRST_PROCESS"
"""The number of the first process, told to those that it starts."""

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 5.0
"""After a process died, the first one usually fails by itself, with a better reason; it is given this long."""
_LAST_SECONDS = 30.0
"""Then it is interrupted; and if even that has no effect, since it waits within a library, it is ended after this long."""
_SET_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG


def process_rank() -> int:
    """Which of the processes that train together this is; 0 when it is alone."""
    return int(os.environ.get(RANK, "0"))


def follow_the_first() -> None:
    """To be called by every process but the first: Ctrl-C and SIGTERM are the first one's matter, whose end is this one's end too."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != int(os.environ.get(_FIRST, os.getppid())):  # it ended while this one was starting, which no signal tells any more
        os._exit(1)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda number, frame: os.kill(parent, signal.SIGTERM))


@contextmanager
def last_words_held_back() -> Iterator[None]:
    """In a process but the first: an error is told a moment late. Mostly it is that the first has gone, which ends this one too, without a word."""
    try:
        yield
    except MultigrainError:
        raise
    except Exception:
        time.sleep(_GRACE_SECONDS)
        raise


@dataclass
class Ranks:
    """The further processes.

    Attributes:
        processes: by rank, from 1 on.
        death: of the first that died before its time, in words; None while all is well.
    """

    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    death: str | None = None
    is_over: threading.Event = field(default_factory=threading.Event)

    def await_death(self) -> str | None:
        """Which process died, where one did; looked for a moment, since an error of the first one may come before the news of its cause."""
        end = time.monotonic() + 10 * _POLL_SECONDS
        while self.processes and self.death is None and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
        return self.death

    def watch(self, on_hopeless: Callable[[str], None]) -> None:
        """Looks for processes that die; runs in a thread of its own."""
        while not self.is_over.wait(_POLL_SECONDS):
            for rank, process in enumerate(self.processes, start=1):
                code = process.poll()
                if code not in (None, 0):
                    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
                    self.death = f"process {rank} of {len(self.processes) + 1} (number {process.pid}) {how}"
                    break
            if self.death is not None:
                break
        if self.death is not None and not self.is_over.wait(_GRACE_SECONDS):
            os.kill(os.getpid(), signal.SIGTERM)
            if not self.is_over.wait(_LAST_SECONDS):
                on_hopeless(self.death)

    def end(self) -> None:
        """Ends what still runs."""
        self.is_over.set()
        for process in self.processes:
            process.kill()
            process.wait()


@contextmanager
def further_processes(devices: int, on_hopeless: Callable[[str], None]) -> Iterator[Ranks]:
    """Starts a process for each device but the first, in the first process; in the others, and where somebody else started them, nothing.

    Args:
        devices: how many train together.
        on_hopeless: told of a death where this process cannot be interrupted; it must not return.
    """
    ranks = Ranks()
    if devices == 1 or RANK in os.environ:
        yield ranks
        return
    former = dict(os.environ)
    os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "NODE_RANK": "0", WORLD_SIZE: str(devices), RANK: "0"})
    os.environ[_FIRST] = str(os.getpid())
    try:
        for rank in range(1, devices):
            ranks.processes.append(subprocess.Popen(_this_command(), env={**os.environ, RANK: str(rank)}))
        threading.Thread(target=ranks.watch, args=(on_hopeless,), daemon=True).start()
        yield ranks
    finally:
        ranks.end()
        os.environ.clear()
        os.environ.update(former)


def _this_command() -> list[str]:
    """The command that started this process."""
    spec = sys.modules["__main__"].__spec__
    name = [os.path.abspath(sys.argv[0])] if spec is None else ["-m", spec.name.removesuffix(".__main__")]
    return [sys.executable, *name, *sys.argv[1:]]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
