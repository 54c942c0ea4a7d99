"""Where uploads and results lie. Every name is made here, none comes from a client, and nothing is touched that was not made here."""

import contextlib
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from multigrain.errors import ServerError
from multigrain.video.spoken import counted
from multigrain.web.private import make_private

logger = logging.getLogger(__name__)

ID = re.compile(r"[0-9a-f]{32}")
DRAWN_DIGITS = 24
"""Digits of an id that are drawn at random; the others show that this folder's server drew it."""
IDENTITY, DATABASE = "folder.json", "jobs.sqlite"
REQUEST, RESULT, REPORT, TABLE = "request.json", "result.json", "report.html", "utterances.csv"
PAGE, POLICY, COPY = "page.html", "policy.txt", "playable.mp4"
"""The report as this server shows it, with the video beside it; the Content-Security-Policy that its writer gave it; and a copy of a video
that browsers do not play."""


class DataFolder:
    """The data folder of a server, locked while it runs.

    `jobs/ID/` holds what was submitted and what came of it, `incoming/ID/` an upload under way, `removing/ID/` what is being deleted, `logs/` what
    workers print, `set-aside/ID/` what no row of the database tells of. The last eight digits of an id are a signature with the folder's own id
    (`folder.json`), so that names made here are known from names that somebody else gave.

    Args:
        root: made where missing; its owner's alone from then on.

    Raises:
        ServerError: it cannot be written or made private, or another server uses it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            make_private(root)
            for folder in (self.jobs, self.incoming, self.removing, self.set_aside, self.logs):
                make_private(folder)
            for database in root.glob(f"{DATABASE}*"):
                database.chmod(0o600)
            self._lock = FileLock(root / ".lock", mode=0o600, thread_local=False)
            self._lock.acquire(timeout=0)
            self.id = self._identity()
        except Timeout:
            raise ServerError(f"Another multigrain server uses the folder {root}. Stop it, or name another folder with --data.") from None
        except OSError as error:
            raise ServerError(
                f"The data folder {root} cannot be used ({error.strerror or error}). Name a folder that you can write with --data."
            ) from error

    def _identity(self) -> str:
        """The folder's own id, drawn when it is first used."""
        path = self.root / IDENTITY
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["id"]
            if not ID.fullmatch(found):
                raise ValueError
        except FileNotFoundError:
            found = secrets.token_hex(16)
            part = path.with_suffix(".part")
            part.write_text(json.dumps({"id": found}), encoding="utf-8")
            part.chmod(0o600)
            part.replace(path)
        except (ValueError, KeyError, TypeError) as error:
            self._lock.release()
            raise ServerError(
                f'{path} is not as multigrain serve wrote it: expected {{"id": 32 hexadecimal digits}}. Put it back from a copy of the folder; '
                "without it the server cannot tell which folders it made. Or name another folder with --data."
            ) from error
        return str(found)

    @property
    def jobs(self) -> Path:
        """Folders of submitted jobs."""
        return self.root / "jobs"

    @property
    def incoming(self) -> Path:
        """Folders of uploads under way."""
        return self.root / "incoming"

    @property
    def removing(self) -> Path:
        """Folders of jobs that are being deleted."""
        return self.root / "removing"

    @property
    def set_aside(self) -> Path:
        """Folders of jobs that the database does not know."""
        return self.root / "set-aside"

    @property
    def logs(self) -> Path:
        """What workers print."""
        return self.root / "logs"

    # Names ----------------------------------------------------------------------------------------------------------

    def new_id(self) -> str:
        """A name that nobody can guess, for a job and its folder."""
        drawn = secrets.token_hex(DRAWN_DIGITS // 2)
        return drawn + self._signature(drawn)

    def is_own(self, name: str) -> bool:
        """Whether this folder's server made the name."""
        return ID.fullmatch(name) is not None and hmac.compare_digest(name[DRAWN_DIGITS:], self._signature(name[:DRAWN_DIGITS]))

    def _signature(self, drawn: str) -> str:
        return hmac.new(self.id.encode(), drawn.encode(), hashlib.sha256).hexdigest()[: 32 - DRAWN_DIGITS]

    # Jobs and uploads -----------------------------------------------------------------------------------------------

    def job(self, id: str) -> Path:
        """Folder of a job."""
        assert ID.fullmatch(id)  # ids are checked where they come in
        return self.jobs / id

    def open_upload(self, id: str) -> Path:
        """A new folder for an upload."""
        assert ID.fullmatch(id)
        folder = self.incoming / id
        folder.mkdir(mode=0o700)
        return folder

    def accept(self, id: str) -> Path:
        """Turns a complete upload into a job's folder."""
        os.rename(self.incoming / id, self.job(id))
        return self.job(id)

    def discard_upload(self, id: str) -> None:
        """Removes an upload."""
        shutil.rmtree(self.incoming / id, ignore_errors=True)

    def withdraw(self, id: str) -> None:
        """Takes a job's folder out of the others' way, to be destroyed or put back."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.job(id), self.removing / id)

    def put_back(self, id: str) -> None:
        """Makes a withdrawal undone."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.removing / id, self.job(id))

    def destroy(self, id: str) -> None:
        """Removes all files of a job that was withdrawn; one that cannot be removed is an error."""
        assert ID.fullmatch(id)
        folder = self.removing / id
        if folder.exists():
            shutil.rmtree(folder)

    def delete(self, id: str) -> None:
        """Removes all files of a job."""
        self.withdraw(id)
        self.destroy(id)

    def free_bytes(self) -> int:
        """What is left of the disk."""
        return shutil.disk_usage(self.root).free

    # After a start --------------------------------------------------------------------------------------------------

    def withdrawn(self) -> list[str]:
        """Names of jobs whose deletion was cut off."""
        return [folder.name for folder in self.removing.iterdir() if self.is_own(folder.name)]

    def clean(self, known: set[str]) -> None:
        """Puts right what an abrupt end left, among the folders that were made here; others stay as they are, which is said.

        Args:
            known: jobs of the database. Their folders come back where they were set aside; folders of jobs that are none of them are set aside.
        """
        strange: list[Path] = []
        for folder in self.incoming.iterdir():
            if self.is_own(folder.name):
                shutil.rmtree(folder, ignore_errors=True)
            else:
                strange.append(folder)
        for folder in self.set_aside.iterdir():
            if folder.name in known and not self.job(folder.name).exists():
                os.rename(folder, self.job(folder.name))
        moved = [folder for folder in self.jobs.iterdir() if self.is_own(folder.name) and folder.name not in known]
        strange += [folder for folder in self.jobs.iterdir() if not self.is_own(folder.name) and folder.name not in known]
        for folder in moved:
            os.rename(folder, self.set_aside / folder.name)
        if moved:
            logger.warning(
                "%s not in the opened database and set aside, whole, from %s to %s. A start with the database of before brings back what it "
                "knows; delete there what nobody needs.",
                counted(len(moved), "analysis is", "analyses are"),
                self.jobs,
                self.set_aside,
            )
        if strange:
            logger.warning(
                "%s not made by this server and left alone in %s, such as %s. Give the server a folder of its own with --data.",
                counted(len(strange), "entry is", "entries are"),
                self.root,
                strange[0],
            )

    def close(self) -> None:
        """Lets another server use the folder."""
        self._lock.release()


def find(folder: Path, stem: str) -> Path | None:
    """The file of a job's folder that has this stem, whatever its type; the stem is one of ours."""
    return next((path for path in sorted(folder.glob(f"{stem}.*"))), None)
