"""Where uploads and results lie. Every name below the data folder is made here; none comes from a client."""

import os
import re
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from multigrain.errors import ServerError

ID = re.compile(r"[0-9a-f]{32}")
REQUEST, RESULT, REPORT, TABLE = "request.json", "result.json", "report.html", "utterances.csv"
PAGE, POLICY, COPY = "page.html", "policy.txt", "playable.mp4"
"""The report as this server shows it, with the video beside it; the Content-Security-Policy that its writer gave it; and a copy of a video
that browsers do not play."""
OWNER_ONLY = 0o700


class DataFolder:
    """The data folder of a server, locked while it runs.

    `jobs/ID/` holds what was submitted and what came of it, `incoming/ID/` an upload under way, `logs/` what workers print.

    Args:
        root: made where missing.

    Raises:
        ServerError: it cannot be written, or another server uses it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            for folder in (root, self.jobs, self.incoming, self.logs):
                folder.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
            self._lock = FileLock(root / ".lock", mode=0o600, thread_local=False)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ServerError(f"Another multigrain server uses the folder {root}. Stop it, or name another folder with --data.") from None
        except OSError as error:
            raise ServerError(
                f"The data folder {root} cannot be used ({error.strerror or error}). Name a folder that you can write with --data."
            ) from error

    @property
    def jobs(self) -> Path:
        """Folders of submitted jobs."""
        return self.root / "jobs"

    @property
    def incoming(self) -> Path:
        """Folders of uploads under way."""
        return self.root / "incoming"

    @property
    def logs(self) -> Path:
        """What workers print."""
        return self.root / "logs"

    def job(self, id: str) -> Path:
        """Folder of a job."""
        assert ID.fullmatch(id)  # ids are checked where they come in
        return self.jobs / id

    def open_upload(self, id: str) -> Path:
        """A new folder for an upload."""
        assert ID.fullmatch(id)
        folder = self.incoming / id
        folder.mkdir(mode=OWNER_ONLY)
        return folder

    def accept(self, id: str) -> Path:
        """Turns a complete upload into a job's folder."""
        os.rename(self.incoming / id, self.job(id))
        return self.job(id)

    def discard_upload(self, id: str) -> None:
        """Removes an upload."""
        shutil.rmtree(self.incoming / id, ignore_errors=True)

    def delete(self, id: str) -> None:
        """Removes all files of a job; one that cannot be removed is an error."""
        folder = self.job(id)
        if folder.exists():
            shutil.rmtree(folder)

    def free_bytes(self) -> int:
        """What is left of the disk."""
        return shutil.disk_usage(self.root).free

    def clean(self, known: set[str]) -> None:
        """After a start: removes uploads that were cut off, and folders of jobs that were being deleted."""
        for folder in self.incoming.iterdir():
            shutil.rmtree(folder, ignore_errors=True)
        for folder in self.jobs.iterdir():
            if ID.fullmatch(folder.name) and folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Lets another server use the folder."""
        self._lock.release()


def find(folder: Path, stem: str) -> Path | None:
    """The file of a job's folder that has this stem, whatever its type; the stem is one of ours."""
    return next((path for path in sorted(folder.glob(f"{stem}.*"))), None)
