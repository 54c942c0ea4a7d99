"""What the routes work with: jobs, their files, the workers; opened together and closed together."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from multigrain.errors import ServerError
from multigrain.video.spoken import counted
from multigrain.web.database import first_line, tie
from multigrain.web.ended_sessions import EndedSessions
from multigrain.web.folders import ID, DataFolder
from multigrain.web.jobs import Job, JobStore, queue_is_full
from multigrain.web.pool import Pool
from multigrain.web.refusal import Refusal, too_many
from multigrain.web.sessions import Sessions
from multigrain.web.settings import Settings


class Services:
    """An opened server, without its network side.

    Args:
        settings: see there.

    Raises:
        ServerError: the data folder or the database cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folders = DataFolder(settings.data)
        try:
            self.store = JobStore(settings.database_url)
            tie(self.store.engine, self.folders.id, self.folders.root)
            self._recover()
            self.sessions = None if settings.token is None else Sessions(settings.token, EndedSessions(self.store.engine))
        except BaseException:
            self.folders.close()
            raise
        self.pool = Pool(self.store, self.folders, settings)
        self._uploads = 0

    def _recover(self) -> None:
        """Puts right what an abrupt end left."""
        try:
            self.store.put_back_all_but(set())
            for id in self.folders.withdrawn():
                self.store.delete(id)
                self.folders.destroy(id)
            self.folders.clean(self.store.ids())
        except (SQLAlchemyError, OSError) as error:
            raise ServerError(
                f"What the last run of the server left cannot be put in order ({first_line(error)}). Look whether another program holds the "
                f"database, and whether the disk of {self.folders.root} has room, and start again."
            ) from error

    def start(self) -> None:
        """Begins to work."""
        self.pool.start()

    def stop(self) -> None:
        """Ends the workers; queued and running jobs go on at the next start."""
        self.pool.stop()
        self.store.close()
        self.folders.close()

    def job(self, id: str) -> Job:
        """The job of that name.

        Raises:
            Refusal: there is none.
        """
        job = self.store.get(id) if ID.fullmatch(id) else None
        if job is None:
            raise Refusal(404, "There is no such analysis. It may have been deleted.")
        return job

    @contextlib.asynccontextmanager
    async def upload(self) -> AsyncIterator[tuple[str, Path]]:
        """A name and an empty folder for an upload; what has not been accepted in the end is removed.

        Raises:
            Refusal: too many uploads at a time, or the queue is full.
        """
        if self._uploads >= self.settings.uploads:
            raise too_many(f"{counted(self._uploads, 'upload is', 'uploads are')} under way, which is as many as this server takes at a time.", 5)
        self._uploads += 1
        id = self.folders.new_id()
        try:
            if await run_in_threadpool(self.store.is_full, self.settings.queue):
                raise queue_is_full(self.settings.queue)
            yield id, self.folders.open_upload(id)
        finally:
            self._uploads -= 1
            self.folders.discard_upload(id)

    def submit(self, id: str, *, kind: str, title: str) -> Job:
        """Queues what was uploaded.

        Raises:
            Refusal: the queue became full meanwhile.
        """
        self.folders.accept(id)
        try:
            job = self.store.add(id=id, kind=kind, title=title, queue_limit=self.settings.queue)
        except BaseException:
            self.folders.delete(id)
            raise
        self.pool.wake()
        return job

    def delete(self, job: Job) -> None:
        """Stops the job where it runs, and removes everything that is known of it; where that cannot be, it stays whole."""
        if not job.is_finished:
            self.pool.cancel(job.id)
        self.folders.withdraw(job.id)
        try:
            self.store.delete(job.id)
        except BaseException:
            self.folders.put_back(job.id)
            raise
        self.folders.destroy(job.id)
