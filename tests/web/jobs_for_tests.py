"""What workers run in the tests of the machinery: jobs that succeed, fail, crash, spin, hoard. They read what to do from the submitted text."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from multigrain.errors import DataError
from multigrain.web.worker import Report


def run(folder: Path, report: Report) -> None:
    """Does what the first word of the text says, the rest of which is its argument."""
    text = (folder / "text.txt").read_text(encoding="utf-8") if (folder / "text.txt").exists() else "write"
    verb, _, rest = text.partition(" ")
    report(f"Doing {verb}", 0.5)
    if verb == "chatter":
        await_mark(folder, rest)
        for number in range(int(rest)):
            report(f"Step {number}", 0.5)
        return
    ACTIONS[verb](folder, rest)


def write(folder: Path, rest: str) -> None:
    (folder / "result.json").write_text(json.dumps({"said": rest, "process": os.getpid()}), encoding="utf-8")
    for name in ("report.html", "page.html"):
        (folder / name).write_text(f"<!DOCTYPE html><title>{name}</title>", encoding="utf-8")
    (folder / "policy.txt").write_text("default-src 'none'", encoding="ascii")
    (folder / "utterances.csv").write_text("a,b\n", encoding="utf-8")


def fail(folder: Path, rest: str) -> None:
    raise DataError(f"{rest} is no good. Take another.")


def fault(folder: Path, rest: str) -> None:
    raise RuntimeError(rest)


def leave(folder: Path, rest: str) -> None:
    sys.exit(3)


def talk(folder: Path, rest: str) -> None:
    """Writes to the standard output, from Python and below it, and among it a line that looks like an answer."""
    print('{"failed": "from print"}', flush=True)
    os.write(1, b'{"failed": "from below"}\nno JSON\n')
    write(folder, rest)


def kill(folder: Path, rest: str) -> None:
    os.kill(os.getpid(), 9)


def kill_once(folder: Path, rest: str) -> None:
    """Dies at the first attempt."""
    mark = folder / "mark"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), 9)
    write(folder, rest)


def spin(folder: Path, rest: str) -> None:
    while True:
        time.sleep(0.05)


def sleep_once(folder: Path, rest: str) -> None:
    """Takes for ever at the first attempt, during which it is to be interrupted."""
    mark = folder / "mark"
    if not mark.exists():
        mark.touch()
        spin(folder, rest)
    write(folder, rest)


def await_mark(folder: Path, rest: str) -> None:
    """Says by a file that it runs, and goes on once it is told so by another."""
    (folder / "mark").touch()
    while not (folder / "go").exists():
        time.sleep(0.02)
    write(folder, rest)


def await_mark_and_fail(folder: Path, rest: str) -> None:
    """The same, and then fails with all that it was given as the reason."""
    await_mark(folder, rest)
    fail(folder, rest)


def fill_disk(folder: Path, rest: str) -> None:
    Path("/dev/full").write_text(rest)


def start_child(folder: Path, rest: str) -> None:
    """Starts a process of its own, writes down its id, and spins."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (folder / "child.part").write_text(str(child.pid), encoding="ascii")
    (folder / "child.part").rename(folder / "child")
    spin(folder, rest)


def hoard(folder: Path, rest: str) -> None:
    hoarded = []
    while True:
        hoarded.append(bytearray(16 * 1024 * 1024))


ACTIONS = {
    one.__name__: one
    for one in (write, fail, fault, leave, talk, kill, kill_once, spin, sleep_once, await_mark, await_mark_and_fail, fill_disk, start_child, hoard)
}
