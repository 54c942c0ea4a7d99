"""Runs queued jobs in worker processes: a thread for each, which feeds it, listens, and kills it when time is up or nobody wants the result."""

import functools
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from multigrain.web.faults import sentence_of
from multigrain.web.folders import DataFolder
from multigrain.web.jobs import MOST_ATTEMPTS, Job, JobStore, died_too_often
from multigrain.web.settings import Settings
from multigrain.web.worker_process import WorkerProcess

logger = logging.getLogger(__name__)

LISTEN_SECONDS = 0.2
RETRY_SECONDS = 1.0
SWEEP_SECONDS = 5.0
JOBS_PER_PROCESS = 50
"""After so many a process is started anew, so that no library's leak grows for ever."""


class Pool:
    """The workers of a server.

    Args:
        store: of the jobs.
        folders: of their files.
        settings: number of workers, their limits, and what they run.
    """

    def __init__(self, store: JobStore, folders: DataFolder, settings: Settings) -> None:
        self._store, self._folders, self._settings = store, folders, settings
        self._changed = threading.Condition()
        self._is_stopping = False
        self._running: dict[str, tuple[int, int]] = {}
        """Per job the number of the thread that has it, and its process (0 before there is one)."""
        self._unwanted: set[str] = set()
        self._swept = 0.0
        self._threads = [threading.Thread(target=self._work, args=(number,), name=f"worker-{number}") for number in range(settings.workers)]

    def start(self) -> None:
        """Starts the processes, and begins to take jobs."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Says that a job was queued."""
        with self._changed:
            self._changed.notify_all()

    def stop(self) -> None:
        """Kills the workers; what they were at waits for the next start."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def process_of(self, id: str) -> int | None:
        """Process id of the worker that runs the job, or None."""
        with self._changed:
            return self._running.get(id, (0, 0))[1] or None

    def cancel(self, id: str, timeout_seconds: float = 10.0) -> bool:
        """Ends the job wherever it is, and returns when no process touches its folder any more.

        Written down before anything is killed: where the database does not take it, the job goes on as if nobody had asked.

        Returns:
            False when it had ended before.
        """
        if not self._store.finish(id, "cancelled"):
            return False
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            self._unwanted.add(id)
            while id in self._running and time.monotonic() < deadline:
                self._changed.wait(LISTEN_SECONDS)
            if id not in self._running:
                self._unwanted.discard(id)
        return True

    # One worker's thread --------------------------------------------------------------------------------------------

    def _work(self, number: int) -> None:
        log = self._folders.logs / f"worker-{number}.log"
        process: WorkerProcess | None = self._started(log)
        jobs_done = 0
        while (job := self._next(number)) is not None:
            is_usable = False
            try:
                if process is None:
                    process, jobs_done = WorkerProcess(self._settings, log), 0
                is_usable = self._run(job, process, number)
            except Exception as error:  # a fault here must not take the thread, and with it a worker, away for good
                logger.exception("job %s", job.id)
                self._write(functools.partial(self._store.finish, job.id, "failed", _not_run(error)))
            jobs_done += 1
            if process is not None and (not is_usable or jobs_done >= JOBS_PER_PROCESS):
                process.kill()
                process = None
            with self._changed:
                if self._running.get(job.id, (number, 0))[0] == number:  # what was given back may be another thread's by now
                    self._running.pop(job.id, None)
                    self._unwanted.discard(job.id)
                self._changed.notify_all()
        if process is not None:
            process.kill()

    def _started(self, log: Path) -> WorkerProcess | None:
        """A process that loads its libraries before there is a job; None where it cannot be had, which the first job will say."""
        try:
            return WorkerProcess(self._settings, log)
        except OSError:
            logger.exception("no worker process can be started")
            return None

    def _next(self, number: int) -> Job | None:
        """Waits for a job, which is then this thread's; None when the server stops."""
        while True:
            with self._changed:
                if self._is_stopping:
                    return None
                try:
                    job = self._store.claim()
                    if job is None:
                        self._sweep()
                except Exception:  # such as a database that is away for a moment: the jobs in it are safe, and this thread must go on
                    logger.exception("the jobs' database does not answer")
                    job = None
                if job is not None:
                    self._running[job.id] = (number, 0)
                    return job
                self._changed.wait(1.0)

    def _sweep(self) -> None:
        """Now and then, with nothing else to do: takes up running jobs that no worker has, and empties the database's log where that was put off.

        Called with the lock, so that no job is between its row and its worker.
        """
        if time.monotonic() - self._swept < SWEEP_SECONDS:
            return
        self._swept = time.monotonic()
        for id in self._store.put_back_all_but(set(self._running)):
            logger.warning("job %s was running without a worker; it waits again", id)
        self._store.tidy()

    def _write(self, write: Callable[[], object]) -> None:
        """Writes down what became of a job, however long the database takes; a server that stops meanwhile finds it running at its next start."""
        is_told = False
        while True:
            try:
                write()
                return
            except SQLAlchemyError as error:
                if not is_told:
                    logger.warning("the end of a job cannot be written down yet, and is tried again: %s", sentence_of(error))
                is_told = True
            with self._changed:
                if self._is_stopping:
                    return
                self._changed.wait(RETRY_SECONDS)

    def _run(self, job: Job, process: WorkerProcess, number: int) -> bool:
        """Runs one job; False when the process is no good for another."""
        deadline = time.monotonic() + self._settings.time_limit_seconds
        with self._changed:
            self._running[job.id] = (number, process.process_id)
        process.send(self._folders.job(job.id))
        while True:
            try:
                for message in process.listen(LISTEN_SECONDS):
                    if self._hear(job, message):
                        return True
            except EOFError:
                self._ended_abruptly(job, process)
                return False
            with self._changed:
                is_stopping, is_unwanted = self._is_stopping, job.id in self._unwanted
            if is_unwanted:  # and written down as such
                process.kill()
                return False
            if is_stopping:
                process.kill()
                self._write(lambda: self._store.give_back(job.id, is_counted=False))
                return False
            if time.monotonic() > deadline:
                process.kill()
                self._write(lambda: self._store.finish(job.id, "failed", _too_slow(self._settings.time_limit_seconds)))
                return False

    def _hear(self, job: Job, message: dict[str, object]) -> bool:
        """Writes down what the worker says; True when the job has ended."""
        if "stage" in message:
            try:
                self._store.report(job.id, str(message["stage"]), min(1.0, max(0.0, float(str(message["progress"])))))
            except SQLAlchemyError as error:  # the next one will be written
                logger.info("progress of job %s: %s", job.id, sentence_of(error))
        elif "failed" in message:
            self._write(lambda: self._store.finish(job.id, "failed", str(message["failed"])))
        else:
            self._write(lambda: self._store.finish(job.id, "done"))
        return "stage" not in message

    def _ended_abruptly(self, job: Job, process: WorkerProcess) -> None:
        """The process crashed or was killed: once more from the start, unless it did so too often; being asked to end is nobody's fault."""
        process.kill()
        if process.was_asked_to_end:
            logger.warning("the worker of job %s was asked to end; the job waits again", job.id)
            self._write(lambda: self._store.give_back(job.id, is_counted=False))
        elif job.attempts >= MOST_ATTEMPTS:
            self._write(lambda: self._store.finish(job.id, "failed", died_too_often(job.attempts)))
        else:
            logger.warning("the worker of job %s ended abruptly (attempt %d)", job.id, job.attempts)
            self._write(lambda: self._store.give_back(job.id, is_counted=True))


def _not_run(error: Exception) -> str:
    return (
        f"The server could not run the analysis: {sentence_of(error)} Submit it again; if that does not help, ask who runs the server to look into "
        "its log."
    )


def _too_slow(seconds: float) -> str:
    shown = f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds:g} s"
    return (
        f"The analysis took longer than this server's limit of {shown} and was stopped. "
        "Cut the video shorter, or start the server with a longer --time-limit."
    )
