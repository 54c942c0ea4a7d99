"""What `hostile.py` does to a server's folder, its database and its disk: files of others, a database that is locked, a full disk."""

import contextlib
import json
import os
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hostile_server import Row, RunningServer, attempt, verdict, wait_until

LOCKED_SECONDS = 25.0
PATIENCE_SECONDS = 1800.0
"""With what is bound to come, on a machine that has other work too."""
DISK_MEGABYTES = 600
"""More than the 512 MiB that a server leaves free, so that it begins."""
ENDED = ("done", "failed", "cancelled")


def storage(folder: Path, checkpoint: list[str]) -> list[Row]:
    """Every attack on what lies on the disk; each with a server of its own."""
    rows = [
        attempt(users_folder, folder / "videos", checkpoint),
        attempt(other_database, folder / "tied", checkpoint),
        attempt(strange_names, folder / "a?b", checkpoint),
        attempt(open_folder, folder / "open", checkpoint),
    ]
    with RunningServer(folder / "locked", checkpoint) as server:
        rows += [attempt(locked_at_the_end, server), attempt(locked_cancel, server)]
    return [*rows, attempt(full_disk, folder, checkpoint)]


# Folders ------------------------------------------------------------------------------------------------------------


def users_folder(data: Path, checkpoint: list[str]) -> Row:
    """Somebody names the folder of their own videos with --data."""
    files = [data / name for name in ("incoming/holiday/a.mp4", "jobs/notes/b.txt", f"jobs/{'f' * 32}/c.mp4", f"incoming/{'0' * 32}/d.mp4", "e.mp4")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    with RunningServer(data, checkpoint) as server:
        health = server.health()
    gone = [str(file.relative_to(data)) for file in files if not file.is_file()]
    what = f"health {health}; {len(files) - len(gone)} of {len(files)} of its files are where they were; said: {server.said()[:200]!r}"
    return "`--data` names a folder of videos with `incoming/` and `jobs/`", verdict(not gone and health == 200, what)


def other_database(data: Path, checkpoint: list[str]) -> Row:
    """The same folder with another database, and then with its own again."""
    with RunningServer(data, checkpoint) as server:
        name = server.submit("It was so good.")
        server.wait(name)
    with RunningServer(data, [*checkpoint, "--database", f"sqlite:///{data.parent / 'other.sqlite'}"]) as server:
        seen, said = len(server.list()), server.said()
    with RunningServer(data, checkpoint) as server:
        status, _ = server.ask("GET", f"/api/analyses/{name}/result")
    what = f"{seen} analyses under the other one, said: {said[:160]!r}; with its own again the result is answered with {status}"
    return "the same folder with another `--database`", verdict(status == 200, what)


def strange_names(data: Path, checkpoint: list[str]) -> Row:
    with RunningServer(data, checkpoint) as server:
        health = server.health()
    outside = [path.name for path in data.parent.iterdir() if path.name in ("a", "a?b.sqlite")]
    is_inside = (data / "jobs.sqlite").is_file() and not outside
    return "`--data 'a?b'`", verdict(is_inside, f"health {health}; the database is in it" if is_inside else f"the database is {outside} beside it")


def open_folder(data: Path, checkpoint: list[str]) -> Row:
    for name in (data, data / "jobs", data / "incoming"):
        name.mkdir(mode=0o755)
    with RunningServer(data, checkpoint):
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (data, data / "jobs", data / "incoming", data / "jobs.sqlite")}
    return "a data folder that everybody could read before", verdict(not any(int(mode, 8) & 0o077 for mode in modes.values()), f"now {modes}")


# The database -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(server: RunningServer) -> Iterator[None]:
    """Somebody else writes to the database and does not stop."""
    connection = sqlite3.connect(server.data / "jobs.sqlite", timeout=30, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def locked_at_the_end(server: RunningServer) -> Row:
    name = server.submit("It was so good.\n" * 40)
    wait_until(lambda: server.status(name)["state"] == "running", PATIENCE_SECONDS)
    with locked(server):
        has_result = wait_until((server.data / "jobs" / name / "result.json").is_file, PATIENCE_SECONDS)
        refused = server.ask("POST", "/api/analyses", json.dumps({"text": "good"}), {"Content-Type": "application/json"})
        time.sleep(LOCKED_SECONDS)
        before = server.status(name)["state"]
    ended = server.wait(name, PATIENCE_SECONDS)
    is_right = has_result and before == "running" and ended["state"] == "done" and refused[0] == 503
    what = (
        f"a submission meanwhile: {refused[0]}; the job, whose result {'was' if has_result else 'was never'} there, is {before}, and freed it is "
        f"{ended['state']} {ended['error'] or ''}"
    )
    return f"the database locked for {LOCKED_SECONDS:.0f} s at the end of a job", verdict(is_right, what)


def locked_cancel(server: RunningServer) -> Row:
    names = [server.submit("It was so good.\n" * 100) for _ in range(4)]
    wait_until(lambda: server.status(names[0])["state"] == "running", PATIENCE_SECONDS)
    with locked(server):
        answers = [server.post(f"/api/analyses/{name}/cancel") for name in (names[0], names[3])]
        states = [server.status(name)["state"] for name in (names[0], names[3])]
    ends = [server.wait(name, PATIENCE_SECONDS)["state"] for name in (names[0], names[3])]
    is_right = answers == [503, 503] and ends == ["done", "done"]
    return "cancelling while the database is locked", verdict(is_right, f"answered {answers}; the jobs were {states} and ended as {ends}")


# The disk -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path | None]:
    """A disk of so many megabytes; None where this user may not mount one."""
    where = Path(tempfile.mkdtemp(dir=folder))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(where)], capture_output=True, check=False)
    try:
        yield None if mounted.returncode else where
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", "-l", str(where)], check=False)


def fill(disk: Path) -> Path:
    path = disk / "filler"
    with path.open("wb") as file:
        for size in (1 << 20, 4096):
            with contextlib.suppress(OSError):
                while True:
                    os.write(file.fileno(), bytes(size))
    return path


def full_disk(folder: Path, checkpoint: list[str]) -> Row:
    with small_disk(folder, DISK_MEGABYTES) as disk:
        if disk is None:
            return "a full disk", "not tried: this user may not mount a small one"
        with RunningServer(disk / "data", checkpoint, log=folder / "full.log") as server:
            name = server.submit("It was so good.\n" * 40)
            wait_until(lambda: server.status(name)["state"] == "running", PATIENCE_SECONDS)
            filler = fill(disk)
            video = folder / "some.wav"
            video.write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(100_000))
            statuses = [server.ask("POST", "/api/analyses", json.dumps({"text": "good"}), {"Content-Type": "application/json"})[0]]
            statuses += [server.upload(video, None)[0], server.post(f"/api/analyses/{name}/cancel")]
            statuses += [server.ask("GET", path)[0] for path in ("/api/analyses", "/", "/health")]
            time.sleep(5)
            filler.unlink()
            ended = server.wait(name, PATIENCE_SECONDS)
            again = server.wait(server.submit("It was good."), PATIENCE_SECONDS)["state"]
        is_right = set(statuses[:3]) <= {507, 200, 409} and statuses[0] == statuses[1] == 507 and statuses[3:] == [200] * 3
        is_right = is_right and ended["state"] in ENDED and again == "done"
        what = (
            f"text, video, cancel, list, page, health: {statuses}; with room again the job is {ended['state']} ({ended['error']}), a new one {again}"
        )
        return "a disk that becomes full under a running job", verdict(is_right, what)
