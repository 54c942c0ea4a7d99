"""A worker process: reads folders of jobs from its standard input, runs each, and writes what happens to its standard output.

Started by `worker_process.py` as `python -m multigrain.web.worker MODULE:FUNCTION MEMORY_BYTES`, in a process group of its own. A line in is
`{"folder": PATH}`. A line out is `{"stage": TEXT, "progress": 0..1}`, or one that ends the job: `{"done": true}`, `{"failed": SENTENCE}`. It stays
for the next job, so that libraries and models are loaded once. When its standard input closes, its server is gone, and it ends at once with all that
it started.
"""

import contextlib
import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO

from multigrain.errors import MultigrainError
from multigrain.web.disk import DISK_FULL, is_disk_full

Report = Callable[[str, float], None]
Job = Callable[[Path, Report], None]
NICENESS = 10
REPORTS_PER_SECOND = 4.0


def main() -> None:
    """Runs jobs until the standard input closes."""
    job_name, memory_bytes = sys.argv[1], int(sys.argv[2])
    # What libraries print to the standard output must not end up between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _step_back(memory_bytes)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends it as the other signals do, and does not become the job's fault
    folders: queue.Queue[Path] = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin, folders), daemon=True).start()
    prepare(job_name)
    while True:
        _tell(answers, run_one(job_name, folders.get(), _reporter(answers)))


def run_one(job_name: str, folder: Path, report: Report) -> dict[str, object]:
    """Runs one job and says how it ended; whatever it raises is its own affair."""
    try:
        load_job(job_name)(folder, report)
    except MultigrainError as error:
        return {"failed": str(error)}
    except MemoryError:
        return {
            "failed": "The analysis needs more memory than one job may use. Cut the video shorter or make its pictures smaller, and submit it again."
        }
    except OSError as error:
        if not is_disk_full(error):
            traceback.print_exc()
            return {"failed": _fault(error)}
        return {"failed": f"The analysis could not be written. {DISK_FULL} Then submit it again."}
    except BaseException as error:  # a library's sys.exit() too must end the job, not the worker's answers
        traceback.print_exc()
        return {"failed": _fault(error)}
    return {"done": True}


def _fault(error: BaseException) -> str:
    return f"The analysis failed through a fault of the program ({type(error).__name__}). The server's log in the data folder says more."


def prepare(job_name: str) -> None:
    """Loads what every job needs, before the first one is there: the `prepare` of the job's module, where it has one."""
    try:
        getattr(importlib.import_module(job_name.partition(":")[0]), "prepare", lambda: None)()
    except Exception:  # the jobs will fail with it, each with its reason
        traceback.print_exc()


def load_job(name: str) -> Job:
    """The function that `module:function` names."""
    module, _, function = name.partition(":")
    job: Job = getattr(importlib.import_module(module), function)
    return job


def _listen(lines: IO[str], folders: "queue.Queue[Path]") -> None:
    """Hands folders on; at the end of the input ends the whole process group, since nobody would hear the answer."""
    for line in lines:
        folders.put(Path(json.loads(line)["folder"]))
    os.killpg(0, signal.SIGKILL)


def _reporter(answers: IO[str]) -> Report:
    """Passes progress on, not too often."""
    last_stage, last_time = "", 0.0

    def report(stage: str, progress: float) -> None:
        nonlocal last_stage, last_time
        now = time.monotonic()
        if stage != last_stage or now - last_time >= 1 / REPORTS_PER_SECOND:
            last_stage, last_time = stage, now
            _tell(answers, {"stage": stage, "progress": progress})

    return report


def _tell(answers: IO[str], message: dict[str, object]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _step_back(memory_bytes: int) -> None:
    """The server answers first, and where memory runs out it is the worker that goes."""
    import resource

    os.nice(NICENESS)
    with contextlib.suppress(OSError):  # only Linux has it
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # a lower limit of the system's stays; macOS knows none
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


if __name__ == "__main__":
    main()
