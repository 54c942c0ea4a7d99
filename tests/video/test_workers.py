"""Work in processes of their own: one that dies is one failure. Nothing heavy is imported here, since each process imports this file."""

import os
import signal

from multigrain.errors import VideoError
from multigrain.video.workers import Outcome, run_tasks


def work(task, progress):
    """A task of `run_tasks` that does what its text says; it is imported by the worker processes."""
    progress("working", 0.5)
    if task == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "leave":
        os._exit(3)
    if task == "fail":
        raise ValueError("no such thing")
    if task == "refuse":
        raise VideoError("this one not")
    return task.upper()


def test_a_dying_process_is_one_failure(tmp_path):
    tasks = ["one", "crash", "two", "fail", "refuse", "leave", "three"]
    told: list[tuple[int, str, float]] = []
    outcomes = {outcome.number: outcome for outcome in run_tasks(work, tasks, 2, tmp_path, lambda *news: told.append(news))}
    assert sorted(outcomes) == list(range(7))
    assert [outcomes[number].result for number in (0, 2, 6)] == ["ONE", "TWO", "THREE"]
    assert "killed by signal 9" in outcomes[1].reason
    assert "unexpected ValueError: no such thing" in outcomes[3].reason
    assert outcomes[4] == Outcome(4, reason="this one not")
    assert "ended with exit code 3" in outcomes[5].reason
    assert (6, "working", 0.5) in told
