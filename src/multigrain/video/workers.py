"""Work on many files in processes of their own: one that crashes is one failure, and the others go on."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType
from typing import Any

from multigrain.errors import MultigrainError

Work = Callable[[Any, Callable[[str, float], None]], Any]
"""From a task and what to tell progress to, to a result; a function of a module (not of the script), which another process can import."""


_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # read when a process begins


@dataclass(frozen=True)
class Outcome:
    """What became of a task: a result, or the reason why there is none."""

    number: int
    result: Any = None
    reason: str | None = None


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    number: int  # of the task that it works on


def run_tasks(
    work: Work,
    tasks: Sequence[Any],
    num_workers: int,
    log_folder: Path,
    progress: Callable[[int, str, float], None] = lambda number, stage, share: None,
) -> Iterator[Outcome]:
    """Runs each task and gives its outcome as soon as it is there, in no fixed order.

    Args:
        work: what to do with a task.
        tasks: each must be picklable.
        num_workers: processes at once, one thread each; 0 works in this process, where a crash is everybody's.
        log_folder: where what the processes print is kept.
        progress: told the task's number, a stage and its share.
    """
    if num_workers == 0:
        for number, task in enumerate(tasks):
            yield _attempt(work, number, task, lambda stage, share, number=number: progress(number, stage, share))  # type: ignore[misc]
        return
    waiting = list(enumerate(tasks))
    workers: list[_Worker] = []
    try:
        for place in range(min(num_workers, len(tasks))):
            workers.append(_start(work, waiting.pop(0), log_folder / f"worker-{place}.log"))
        while workers:
            for pipe in wait([worker.pipe for worker in workers]):
                worker = next(worker for worker in workers if worker.pipe is pipe)
                message = _received(worker)
                if isinstance(message, Outcome):
                    yield message
                    _go_on(worker, waiting, workers, work, log_folder)
                else:
                    progress(worker.number, *message)
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()


def _start(work: Work, task: tuple[int, Any], log: Path) -> _Worker:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(work, theirs, str(log)), daemon=True)
    with _one_thread(), _without_main():
        process.start()
    theirs.close()
    ours.send(task)
    return _Worker(process, ours, task[0])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that are started within compute on one thread each: numpy's and torch's threads of several would wait for each other."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _without_main() -> Iterator[None]:
    """Processes that are started within do not run the user's script again, as they would to find what it defines; they need nothing of it.

    So a script needs no `if __name__ == "__main__"` around what it does.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _received(worker: _Worker) -> Any:
    """The next message of a worker; its end is an outcome too."""
    try:
        return worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        code = worker.process.exitcode
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        return Outcome(worker.number, reason=f"the process that worked on it was {how}: out of memory, or a fault in a decoder.")


def _go_on(worker: _Worker, waiting: list[tuple[int, Any]], workers: list[_Worker], work: Work, log_folder: Path) -> None:
    """Gives a worker its next task, a new worker in place of a dead one; without tasks it ends."""
    place = workers.index(worker)
    if not waiting:
        worker.pipe.close()
        worker.process.join(timeout=5)
        worker.process.kill()  # it has nothing to save
        worker.process.join()
        workers.pop(place)
        return
    task = waiting.pop(0)
    with suppress(OSError):
        if worker.process.is_alive():
            worker.number = task[0]
            worker.pipe.send(task)
            return
    worker.pipe.close()
    workers[place] = _start(work, task, log_folder / f"worker-after-{task[0]}.log")


def _serve(work: Work, pipe: Connection, log: str) -> None:
    """What a worker process does until nobody sends tasks any more."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)  # decoders and mediapipe print there what no user needs
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            number, task = pipe.recv()
            pipe.send(_attempt(work, number, task, lambda stage, share: pipe.send((stage, share))))


def _attempt(work: Work, number: int, task: Any, progress: Callable[[str, float], None]) -> Outcome:
    try:
        return Outcome(number, result=work(task, progress))
    except MultigrainError as error:
        return Outcome(number, reason=str(error))
    except Exception as error:  # whatever is wrong with one file, the others are to be worked on
        return Outcome(number, reason=f"an unexpected {type(error).__name__}: {error}. Please report it with the file.")
