"""The jobs' table: what was submitted, how far it is, and how it ended. It outlives the server."""

import secrets
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    Column,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from multigrain.errors import ServerError
from multigrain.web.refusal import too_many

State = Literal["queued", "running", "done", "failed", "cancelled"]
MOST_ATTEMPTS = 3
"""So often a job is started whose worker, or whose server, died under it."""

METADATA = MetaData()
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


def new_id() -> str:
    """A name that nobody can guess, for a job and its folder."""
    return secrets.token_hex(16)


class JobStore:
    """The table, opened.

    Args:
        url: SQLAlchemy URL.

    Raises:
        ServerError: the database cannot be opened, or holds a table of another version.
    """

    def __init__(self, url: str) -> None:
        try:
            self._engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
            if self._engine.dialect.name == "sqlite":
                event.listen(self._engine, "connect", _prepare_sqlite)
            METADATA.create_all(self._engine)
            self._check_columns(self._engine)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise ServerError(
                f"--database cannot be used ({error}). Expected a SQLAlchemy URL whose driver is installed, such as sqlite:////folder/jobs.sqlite or "
                "postgresql+psycopg://user:password@host/name; without the option it is a SQLite file in the data folder."
            ) from error
        except SQLAlchemyError as error:
            raise ServerError(f"The database of the jobs cannot be opened ({_first_line(error)}). Check --database and --data.") from error
        self._lock = threading.Lock()

    @staticmethod
    def _check_columns(engine: Engine) -> None:
        found = {column["name"] for column in inspect(engine).get_columns(JOBS.name)}
        missing = [column.name for column in JOBS.columns if column.name not in found]
        if missing:
            raise ServerError(
                f"The database's table {JOBS.name} is of another version of multigrain: it has no column {missing[0]!r}. "
                "Name another database with --database, or another folder with --data."
            )

    def close(self) -> None:
        """Closes the connections."""
        self._engine.dispose()

    # Submitting and reading -----------------------------------------------------------------------------------------

    def add(self, *, id: str, kind: str, title: str, queue_limit: int) -> Job:
        """Queues a job whose folder is ready.

        Raises:
            Refusal: the queue is full.
        """
        with self._lock, self._engine.begin() as connection:
            if self._count(connection, "queued") >= queue_limit:
                raise too_many(f"{queue_limit} analyses wait already, which is as many as this server keeps waiting.", 30)
            number = (connection.execute(select(func.max(JOBS.c.number))).scalar() or 0) + 1
            job = Job(id=id, number=number, kind=kind, title=title, state="queued", created=time.time())
            connection.execute(insert(JOBS).values(**vars(job)))
        return job

    def is_full(self, queue_limit: int) -> bool:
        """Whether a job submitted now would be refused."""
        with self._engine.connect() as connection:
            return self._count(connection, "queued") >= queue_limit

    @staticmethod
    def _count(connection: Any, state: State) -> int:
        return int(connection.execute(select(func.count()).where(JOBS.c.state == state)).scalar() or 0)

    def get(self, id: str) -> Job | None:
        """The job of that name, or None."""
        with self._engine.connect() as connection:
            row = connection.execute(select(JOBS).where(JOBS.c.id == id)).mappings().first()
        return Job(**row) if row else None

    def newest(self, *, offset: int = 0, limit: int = 100) -> tuple[list[Job], int]:
        """Jobs, newest first, and how many there are in all."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(JOBS).order_by(JOBS.c.number.desc()).offset(offset).limit(limit)).mappings().all()
            total = int(connection.execute(select(func.count()).select_from(JOBS)).scalar() or 0)
        return [Job(**row) for row in rows], total

    def ids(self) -> set[str]:
        """Names of all jobs."""
        with self._engine.connect() as connection:
            return set(connection.execute(select(JOBS.c.id)).scalars())

    def places(self, jobs: Iterable[Job]) -> dict[str, int]:
        """For each of these jobs that is queued, how many queued ones come before it."""
        queued = [job for job in jobs if job.state == "queued"]
        if not queued:
            return {}
        with self._engine.connect() as connection:
            numbers = list(connection.execute(select(JOBS.c.number).where(JOBS.c.state == "queued").order_by(JOBS.c.number)).scalars())
        return {job.id: bisect_left(numbers, job.number) for job in queued}

    # What workers do to it ------------------------------------------------------------------------------------------

    def claim(self) -> Job | None:
        """Takes the oldest queued job, which is running from then on; None when nothing waits."""
        with self._lock, self._engine.begin() as connection:
            row = connection.execute(select(JOBS).where(JOBS.c.state == "queued").order_by(JOBS.c.number).limit(1)).mappings().first()
            if row is None:
                return None
            changes = {"state": "running", "started": time.time(), "attempts": row["attempts"] + 1, "stage": "Starting", "progress": 0.0}
            connection.execute(update(JOBS).where(JOBS.c.id == row["id"]).values(**changes))
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

    def cancel_queued(self, id: str) -> bool:
        """Cancels the job if it is waiting."""
        with self._lock:  # a worker may be claiming it
            return self._change(id, ("queued",), state="cancelled", finished=time.time())

    def _change(self, id: str, states: tuple[State, ...], **values: object) -> bool:
        with self._engine.begin() as connection:
            done = connection.execute(update(JOBS).where(JOBS.c.id == id, JOBS.c.state.in_(states)).values(**values))
        return bool(done.rowcount)

    # Deleting and recovering ----------------------------------------------------------------------------------------

    def delete(self, id: str) -> None:
        """Removes the row, in SQLite also from the file's free pages and its log."""
        with self._engine.begin() as connection:
            connection.execute(delete(JOBS).where(JOBS.c.id == id))
        if self._engine.dialect.name == "sqlite":
            with self._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def recover(self) -> list[Job]:
        """After a start: jobs that ran when the server died wait again, unless that happened too often; returns them as they were."""
        with self._engine.connect() as connection:
            running = [Job(**row) for row in connection.execute(select(JOBS).where(JOBS.c.state == "running")).mappings()]
        for job in running:
            if job.attempts >= MOST_ATTEMPTS:
                self.finish(job.id, "failed", died_too_often(job.attempts))
            else:
                self.give_back(job.id, is_counted=True)
        return running


def died_too_often(attempts: int) -> str:
    """Why a job is not tried again."""
    return (
        f"The analysis ended abruptly {attempts} times, the last time without saying why; most likely the file makes a decoder crash or needs more "
        "memory than there is. Convert the video to a common form (mp4 with H.264 and AAC), or cut it shorter, and submit it again."
    )


def _prepare_sqlite(connection: Any, _: object) -> None:
    """Readers do not wait for writers, writers wait for one another, and what is deleted is overwritten."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "busy_timeout=10000", "synchronous=NORMAL", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
