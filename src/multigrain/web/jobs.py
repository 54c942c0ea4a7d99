"""The jobs' table: what was submitted, how far it is, and how it ended. It outlives the server."""

import contextlib
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import URL, Column, Float, Integer, String, Table, Text, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from multigrain.video.spoken import counted
from multigrain.web.database import METADATA, open_database
from multigrain.web.refusal import Refusal, too_many

State = Literal["queued", "running", "done", "failed", "cancelled"]
MOST_ATTEMPTS = 3
"""So often a job is started whose worker died under it."""

JOBS = Table(
    "multigrain_jobs",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("kind", String(8), nullable=False),
    Column("title", Text, nullable=False),
    Column("state", String(12), nullable=False, index=True),
    Column("stage", Text, nullable=False, default=""),
    Column("progress", Float, nullable=False, default=0.0),
    Column("error", Text),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("finished", Float),
    Column("attempts", Integer, nullable=False, default=0),
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A row of the table.

    Attributes:
        id: 32 hexadecimal digits, drawn at random.
        number: in order of submission.
        kind: "video" or "text".
        title: what the client called it; to be shown, never to be opened.
        state: queued, running, done, failed or cancelled.
        stage: what is being done, in words.
        progress: how much of the stage is done, 0..1.
        error: why it failed, in a sentence.
        created, started, finished: seconds since 1970.
        attempts: how often it was started.
    """

    id: str
    number: int
    kind: str
    title: str
    state: State
    stage: str = ""
    progress: float = 0.0
    error: str | None = None
    created: float = 0.0
    started: float | None = None
    finished: float | None = None
    attempts: int = 0

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("done", "failed", "cancelled")


class JobStore:
    """The table, opened.

    Args:
        url: SQLAlchemy URL.

    Raises:
        ServerError: the database cannot be opened, or holds a table of another version.
    """

    def __init__(self, url: str | URL) -> None:
        self.engine = open_database(url)
        self._lock = threading.Lock()
        self._is_tidy = True

    def close(self) -> None:
        """Closes the connections."""
        self.engine.dispose()

    # Submitting and reading -----------------------------------------------------------------------------------------

    def add(self, *, id: str, kind: str, title: str, queue_limit: int) -> Job:
        """Queues a job whose folder is ready.

        Raises:
            Refusal: the queue is full.
        """
        with self._lock, self.engine.begin() as connection:
            if self._count(connection, "queued") >= queue_limit:
                raise queue_is_full(queue_limit)
            number = (connection.execute(select(func.max(JOBS.c.number))).scalar() or 0) + 1
            job = Job(id=id, number=number, kind=kind, title=title, state="queued", created=time.time())
            connection.execute(insert(JOBS).values(**vars(job)))
        return job

    def is_full(self, queue_limit: int) -> bool:
        """Whether a job submitted now would be refused."""
        with self.engine.connect() as connection:
            return self._count(connection, "queued") >= queue_limit

    @staticmethod
    def _count(connection: Any, state: State) -> int:
        return int(connection.execute(select(func.count()).where(JOBS.c.state == state)).scalar() or 0)

    def get(self, id: str) -> Job | None:
        """The job of that name, or None."""
        with self.engine.connect() as connection:
            row = connection.execute(select(JOBS).where(JOBS.c.id == id)).mappings().first()
        return Job(**row) if row else None

    def newest(self, *, offset: int = 0, limit: int = 100) -> tuple[list[Job], int]:
        """Jobs, newest first, and how many there are in all."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(JOBS).order_by(JOBS.c.number.desc()).offset(offset).limit(limit)).mappings().all()
            total = int(connection.execute(select(func.count()).select_from(JOBS)).scalar() or 0)
        return [Job(**row) for row in rows], total

    def ids(self) -> set[str]:
        """Names of all jobs."""
        with self.engine.connect() as connection:
            return set(connection.execute(select(JOBS.c.id)).scalars())

    def places(self, jobs: Iterable[Job]) -> dict[str, int]:
        """For each of these jobs that is queued, how many queued ones come before it."""
        queued = [job for job in jobs if job.state == "queued"]
        if not queued:
            return {}
        with self.engine.connect() as connection:
            numbers = list(connection.execute(select(JOBS.c.number).where(JOBS.c.state == "queued").order_by(JOBS.c.number)).scalars())
        return {job.id: bisect_left(numbers, job.number) for job in queued}

    # What workers do to it ------------------------------------------------------------------------------------------

    def claim(self) -> Job | None:
        """Takes the oldest queued job, which is running from then on; None when nothing waits."""
        with self._lock, self.engine.begin() as connection:
            row = connection.execute(select(JOBS).where(JOBS.c.state == "queued").order_by(JOBS.c.number).limit(1)).mappings().first()
            if row is None:
                return None
            changes = {"state": "running", "started": time.time(), "attempts": row["attempts"] + 1, "stage": "Starting", "progress": 0.0}
            taken = connection.execute(update(JOBS).where(JOBS.c.id == row["id"], JOBS.c.state == "queued").values(**changes))
        if not taken.rowcount:  # cancelled a moment ago
            return None
        return Job(**{**row, **changes})

    def report(self, id: str, stage: str, progress: float) -> None:
        """Writes down how far a running job is."""
        self._change(id, ("running",), stage=stage, progress=progress)

    def finish(self, id: str, state: State, error: str | None = None) -> bool:
        """Ends a queued or running job; False when it had ended (or was deleted) before."""
        progress = 1.0 if state == "done" else JOBS.c.progress
        return self._change(id, ("queued", "running"), state=state, error=error, stage="", progress=progress, finished=time.time())

    def give_back(self, id: str, *, is_counted: bool) -> None:
        """Puts a running job back into the queue, at its old place; not counted, this attempt was nobody's fault."""
        attempts = JOBS.c.attempts if is_counted else JOBS.c.attempts - 1
        self._change(id, ("running",), state="queued", started=None, stage="", progress=0.0, attempts=attempts)

    def _change(self, id: str, states: tuple[State, ...], **values: object) -> bool:
        with self.engine.begin() as connection:
            done = connection.execute(update(JOBS).where(JOBS.c.id == id, JOBS.c.state.in_(states)).values(**values))
        return bool(done.rowcount)

    # Deleting and recovering ----------------------------------------------------------------------------------------

    def delete(self, id: str) -> None:
        """Removes the row, in SQLite also from the file's free pages and its log."""
        with self.engine.begin() as connection:
            connection.execute(delete(JOBS).where(JOBS.c.id == id))
        self._is_tidy = False
        self.tidy()

    def tidy(self) -> None:
        """Empties SQLite's log after a deletion, since what was deleted is in it; somebody who reads at that moment puts it off."""
        if self._is_tidy or self.engine.dialect.name != "sqlite":
            return
        with contextlib.suppress(SQLAlchemyError), self.engine.connect() as connection:
            is_busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar()
            self._is_tidy = not is_busy

    def put_back_all_but(self, ids: set[str]) -> list[str]:
        """Makes running jobs wait again that are none of these; nobody works on them, for which they are not to blame."""
        with self.engine.connect() as connection:
            running = connection.execute(select(JOBS.c.id).where(JOBS.c.state == "running")).scalars().all()
        lost = [id for id in running if id not in ids]
        for id in lost:
            self.give_back(id, is_counted=False)
        return lost


def queue_is_full(limit: int) -> Refusal:
    """Why nothing more is queued."""
    return too_many(f"{counted(limit, 'analysis waits', 'analyses wait')} already, which is as many as this server keeps waiting.", 30)


def died_too_often(attempts: int) -> str:
    """Why a job is not tried again."""
    return (
        f"The analysis ended abruptly {attempts} times, the last time without saying why; most likely the file makes a decoder crash or needs more "
        "memory than there is. Convert the video to a common form (mp4 with H.264 and AAC), or cut it shorter, and submit it again."
    )
