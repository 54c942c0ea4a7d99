"""Crashes, endless jobs and hoarders harm nobody but themselves; what was interrupted is done later."""

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from web_server import Client, in_process, is_alive, wait_until

from multigrain.web.jobs import MOST_ATTEMPTS
from multigrain.web.settings import MEBIBYTE, Settings


def test_jobs_run_in_order_and_in_one_process_that_stays(client: Client):
    ids = [client.submit(f"write {number}") for number in range(3)]
    statuses = [client.wait(id) for id in ids]
    assert [status["state"] for status in statuses] == ["done"] * 3
    assert sorted(status["finished"] for status in statuses) == [status["finished"] for status in statuses]
    results = [client.http.get(f"/api/analyses/{id}/result").json() for id in ids]
    assert [result["said"] for result in results] == ["0", "1", "2"]
    assert len({result["process"] for result in results}) == 1
    assert results[0]["process"] != os.getpid()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fail This video", "This video is no good. Take another."),
        ("fault secret", "through a fault of the program (RuntimeError)"),
        ("leave now", "through a fault of the program (SystemExit)"),
        ("kill it", f"ended abruptly {MOST_ATTEMPTS} times"),
    ],
)
def test_a_job_that_fails_says_so_and_the_next_one_is_done(client: Client, text: str, words: str):
    bad, good = client.submit(text), client.submit("write well")
    status = client.wait(bad)
    assert status["state"] == "failed"
    assert words in status["error"]
    assert client.wait(good)["state"] == "done"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TypeError("secret"), "it ran into a fault of the program (TypeError)."),
        (FileNotFoundError(2, "No such file or directory", "/secret"), "its system did not let it (No such file or directory)."),
    ],
)
def test_a_fault_of_the_server_is_a_sentence_that_says_what_to_do(client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str):
    def broken(*_: object) -> bool:
        raise error

    monkeypatch.setattr(client.services.pool, "_run", broken)
    said = client.wait(client.submit("write well"))["error"]
    assert said == (
        f"The server could not run the analysis: {words} Submit it again; if that does not help, ask who runs the server to look into its log."
    )


def test_what_a_library_prints_does_not_end_up_among_the_answers(client: Client):
    id = client.submit("talk on")
    assert client.wait(id)["state"] == "done"
    assert "from below" in (client.services.folders.logs / "worker-0.log").read_text()


def test_a_worker_killed_from_outside_costs_an_attempt_and_not_the_job(client: Client):
    id = client.submit("sleep_once then done")
    folder = client.services.folders.job(id)
    wait_until((folder / "mark").exists)
    process = client.services.pool.process_of(id)
    assert process
    os.kill(process, signal.SIGKILL)
    assert client.wait(id)["state"] == "done"
    assert client.services.store.get(id).attempts == 2


def test_a_job_that_was_given_back_belongs_to_the_thread_that_took_it(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    """The thread whose process died is still busy with that when the other one has the job again."""
    with in_process(replace(settings, workers=2)) as client:
        pool, store = client.services.pool, client.services.store
        id = client.submit("await_mark x")
        folder = client.services.folders.job(id)
        wait_until((folder / "mark").exists)
        first = wait_until(lambda: pool.process_of(id))
        given_back, has_returned = store.give_back, threading.Event()

        def give_back(*arguments: Any, **named: Any) -> None:
            given_back(*arguments, **named)
            wait_until(lambda: pool.process_of(id) not in (None, first))
            has_returned.set()

        monkeypatch.setattr(store, "give_back", give_back)
        os.kill(first, signal.SIGTERM)
        wait_until(has_returned.is_set)
        # The first thread has nothing left to do and takes the next job, after which it has let go of this one.
        assert client.wait(client.submit("write well"))["state"] == "done"
        assert pool.process_of(id) not in (None, first)
        (folder / "go").touch()
        assert client.wait(id)["state"] == "done"
        assert store.get(id).attempts == 1


class Clock:
    """The time that a pool sees, which the test puts forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


def test_an_endless_job_is_stopped_with_all_that_it_started(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr("multigrain.web.pool.time", clock)
    with in_process(replace(settings, time_limit_seconds=3600.0)) as client:
        id, next_one = client.submit("start_child now"), client.submit("write well")
        wait_until((client.services.folders.job(id) / "child").exists)
        assert client.status(id)["state"] == "running"
        clock.ahead = 3601.0
        status = client.wait(id)
        assert status["state"] == "failed"
        assert "took longer than this server's limit of 60 minutes" in status["error"]
        child = int((client.services.folders.job(id) / "child").read_text())
        wait_until(lambda: not is_alive(child))
        assert client.wait(next_one)["state"] == "done"


def test_a_hoarder_runs_into_its_own_limit(settings: Settings):
    with in_process(replace(settings, memory_bytes=512 * MEBIBYTE)) as client:
        id, next_one = client.submit("hoard much"), client.submit("write well")
        status = client.wait(id)
        assert status["state"] == "failed"
        assert "needs more memory than one job may use" in status["error"]
        assert client.wait(next_one)["state"] == "done"


def test_a_slow_job_does_not_hold_up_the_other_worker(settings: Settings):
    with in_process(replace(settings, workers=2)) as client:
        slow = client.submit("spin on")
        client.wait(slow, "running")
        assert client.wait(client.submit("write well"))["state"] == "done"
        assert client.status(slow)["state"] == "running"


def test_cancelling_a_running_job_kills_it_and_what_it_started(client: Client):
    id = client.submit("start_child now")
    child_file = client.services.folders.job(id) / "child"
    wait_until(child_file.exists)
    child, worker = int(child_file.read_text()), client.services.pool.process_of(id)
    answer = client.http.post(f"/api/analyses/{id}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    wait_until(lambda: not is_alive(child) and not is_alive(worker))
    assert client.wait(client.submit("write well"))["state"] == "done"


def test_cancelling_a_queued_job_keeps_it_from_ever_running(client: Client):
    running, queued = client.submit("spin on"), client.submit("write never")
    client.wait(running, "running")
    assert client.http.post(f"/api/analyses/{queued}/cancel").json()["state"] == "cancelled"
    client.http.post(f"/api/analyses/{running}/cancel")
    assert client.wait(client.submit("write well"))["state"] == "done"
    assert not (client.services.folders.job(queued) / "result.json").exists()


def test_stopping_the_server_puts_running_jobs_back_without_counting_it(settings: Settings):
    with in_process(settings) as client:
        running, queued = client.submit("sleep_once then done"), client.submit("write well")
        wait_until((client.services.folders.job(running) / "mark").exists)
        worker = client.services.pool.process_of(running)
    assert not is_alive(worker)
    with in_process(settings) as client:
        assert client.wait(running)["state"] == "done"
        assert client.wait(queued)["state"] == "done"
        assert client.services.store.get(running).attempts == 1


def test_a_process_is_renewed_after_many_jobs(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("multigrain.web.pool.JOBS_PER_PROCESS", 1)
    with in_process(settings) as client:
        ids = [client.submit("write on") for _ in range(2)]
        for id in ids:
            client.wait(id)
        assert len({client.http.get(f"/api/analyses/{id}/result").json()["process"] for id in ids}) == 2


def test_a_folder_that_vanished_fails_its_job_only(client: Client, tmp_path: Path):
    blocker = client.submit("sleep_once x")
    wait_until((client.services.folders.job(blocker) / "mark").exists)
    lost, good = client.submit("write lost"), client.submit("write well")
    client.services.folders.delete(lost)
    client.http.post(f"/api/analyses/{blocker}/cancel")
    assert client.wait(lost)["state"] == "failed"
    assert client.wait(good)["state"] == "done"
