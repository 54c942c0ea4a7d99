"""A database that is locked or full, and a disk without room: what clients are told, and that no job is lost by it."""

import contextlib
import os
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from web_server import TOKEN, Client, in_process, wait_until

from multigrain.web.folders import DataFolder
from multigrain.web.services import Services
from multigrain.web.settings import Settings


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multigrain.web.database.BUSY_MILLISECONDS", 100)
    monkeypatch.setattr("multigrain.web.pool.RETRY_SECONDS", 0.1)
    monkeypatch.setattr("multigrain.web.pool.SWEEP_SECONDS", 0.1)


@contextlib.contextmanager
def locked(services: Services) -> Iterator[None]:
    """Somebody else writes to the database and does not stop."""
    connection = sqlite3.connect(services.folders.root / "jobs.sqlite", timeout=30, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@contextlib.contextmanager
def full(services: Services) -> Iterator[None]:
    """The database's file may not grow any more, as on a disk without room."""

    def stop_growing(connection: Any, *_: object) -> None:
        cursor = connection.cursor()
        (pages,) = cursor.execute("PRAGMA page_count").fetchone()
        cursor.execute(f"PRAGMA max_page_count={pages}")
        cursor.close()

    event.listen(services.store.engine, "checkout", stop_growing)
    yield
    event.remove(services.store.engine, "checkout", stop_growing)
    services.store.engine.dispose()


@contextlib.contextmanager
def taking_no_change(services: Services) -> Iterator[None]:
    """What is full is the disk, so that the database takes no change at all, not even one that needs no room of its own."""

    def refuse(_: Any, statement: str, *__: object) -> None:
        if statement.split()[0] in ("INSERT", "UPDATE", "DELETE"):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    event.listen(services.store.engine, "do_execute", refuse)
    yield
    event.remove(services.store.engine, "do_execute", refuse)


def test_the_end_of_a_job_is_written_once_the_database_takes_it(client: Client):
    id = client.submit("await_mark x")
    folder = client.services.folders.job(id)
    wait_until((folder / "mark").exists)
    with locked(client.services):
        (folder / "go").touch()
        wait_until((folder / "result.json").exists)
        # The worker has ended its job, and its thread cannot write that down: it goes on trying.
        wait_until(lambda: client.services.pool.process_of(id))
        assert client.status(id)["state"] == "running"
    assert client.wait(id)["state"] == "done"
    assert client.services.store.get(id).attempts == 1


def test_a_job_that_runs_without_a_worker_is_taken_up_again(client: Client):
    with client.services.store.engine.begin() as connection:
        id = client.services.folders.new_id()
        columns = "(id, number, kind, title, state, stage, progress, created, attempts)"
        connection.exec_driver_sql(f"INSERT INTO multigrain_jobs {columns} VALUES ('{id}', 99, 'text', 't', 'running', '', 0, 0, 1)")
    folder = client.services.folders.job(id)
    folder.mkdir()
    (folder / "text.txt").write_text("write well")
    assert client.wait(id)["state"] == "done"


def test_a_locked_database_is_said_and_reading_goes_on(client: Client):
    done = client.submit("write well")
    client.wait(done)
    with locked(client.services):
        form = {"files": {"video": ("a.wav", b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(64))}}
        requests = (
            ("POST", "/api/analyses", {"json": {"text": "write more"}}),
            ("POST", "/api/analyses", form),
            ("DELETE", f"/api/analyses/{done}", {}),
        )
        for method, path, body in requests:
            answer = client.http.request(method, path, **body)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert "another program holds it" in answer.json()["error"]
        assert client.http.get(f"/api/analyses/{done}/result").status_code == 200
    assert client.http.get("/api/analyses").json()["total"] == 1
    assert {path.name for path in client.services.folders.jobs.iterdir()} == {done}


def test_a_cancel_that_failed_has_not_happened(client: Client):
    running, queued = client.submit("await_mark x"), client.submit("write well")
    folder = client.services.folders.job(running)
    wait_until((folder / "mark").exists)
    with locked(client.services):
        assert [client.http.post(f"/api/analyses/{id}/cancel").status_code for id in (running, queued)] == [503, 503]
    (folder / "go").touch()
    assert [client.wait(id)["state"] for id in (running, queued)] == ["done", "done"]


def test_progress_that_cannot_be_written_does_no_harm(client: Client):
    blocker = client.submit("await_mark x")
    wait_until((client.services.folders.job(blocker) / "mark").exists)
    id = client.submit("chatter 30")
    (client.services.folders.job(blocker) / "go").touch()
    wait_until((client.services.folders.job(id) / "mark").exists)
    with locked(client.services):
        (client.services.folders.job(id) / "go").touch()
        wait_until((client.services.folders.job(id) / "result.json").exists)
    assert client.wait(id)["state"] == "done"


def test_a_full_disk_answers_507_everywhere(client: Client):
    id = client.submit("await_mark x")
    folder = client.services.folders.job(id)
    wait_until((folder / "mark").exists)
    with full(client.services):
        statuses = {client.http.post("/api/analyses", json={"text": f"write {'word ' * 3000}"}).status_code for _ in range(3)}
        assert statuses <= {202, 507}
        answer = client.http.post("/api/analyses", json={"text": "write on"})
        for _ in range(60):  # what is left of the last page
            if answer.status_code == 507:
                break
            answer = client.http.post("/api/analyses", json={"text": "write on"})
        assert (answer.status_code, "disk is full" in answer.json()["error"]) == (507, True)
        assert client.http.get(f"/api/analyses/{id}").status_code == 200
    (folder / "go").touch()
    assert client.wait(id)["state"] == "done"


def test_a_job_that_ends_while_the_disk_is_full_ends_once_there_is_room(client: Client, caplog: pytest.LogCaptureFixture):
    reason = "word " * 10_000  # more than is left of any page
    id = client.submit(f"await_mark_and_fail {reason}")
    folder = client.services.folders.job(id)
    wait_until((folder / "mark").exists)
    with full(client.services):
        (folder / "go").touch()
        wait_until(lambda: "the end of a job cannot be written down yet" in caplog.text)
        assert "disk is full" in caplog.text
        assert client.status(id)["state"] == "running"
        assert client.services.pool.process_of(id)
    status = client.wait(id)
    assert (status["state"], reason[:1000] in status["error"]) == ("failed", True)
    assert client.services.store.get(id).attempts == 1


def test_on_a_full_disk_nothing_that_was_asked_has_happened(settings: Settings):
    with in_process(replace(settings, token=TOKEN)) as client:
        assert client.http.post("/session", data={"token": TOKEN}).status_code == 200
        done, running, queued = client.submit("write well"), client.submit("await_mark x"), client.submit("write well")
        folder = client.services.folders.job(running)
        wait_until((folder / "mark").exists)
        with taking_no_change(client.services):
            answers = [client.http.post(f"/api/analyses/{id}/cancel") for id in (running, queued)]
            answers += [client.http.delete(f"/api/analyses/{id}") for id in (done, running, queued)]
            answers += [client.http.post("/session/end", data=form, follow_redirects=False) for form in ({}, {"everywhere": "yes"})]
            assert [answer.status_code for answer in answers] == [507] * 7
            assert all("disk is full" in answer.json()["error"] and "set-cookie" not in answer.headers for answer in answers)
            assert [client.status(id)["state"] for id in (done, running, queued)] == ["done", "running", "queued"]
        (folder / "go").touch()
        assert [client.wait(id)["state"] for id in (done, running, queued)] == ["done"] * 3
        assert [client.http.get(f"/api/analyses/{id}/result").status_code for id in (done, running, queued)] == [200] * 3


def test_a_session_that_could_not_be_ended_is_said_to_go_on(settings: Settings):
    with in_process(replace(settings, token=TOKEN)) as client:
        client.http.post("/session", data={"token": TOKEN})
        with locked(client.services):
            answers = [client.http.post("/session/end", data=form, follow_redirects=False) for form in ({}, {"everywhere": "yes"})]
            assert [(answer.status_code, answer.headers["retry-after"], "set-cookie" in answer.headers) for answer in answers] == [
                (503, "5", False)
            ] * 2
            assert client.http.get("/api/analyses").status_code == 200
        assert client.http.post("/session/end", follow_redirects=False).status_code == 303
        assert client.http.get("/api/analyses").status_code == 401


@pytest.mark.parametrize("form", [{"files": {"video": ("a.wav", b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(64))}}, {"json": {"text": "write on"}}])
def test_a_disk_that_fills_up_under_an_upload_answers_507_and_keeps_nothing(client: Client, monkeypatch: pytest.MonkeyPatch, form: dict[str, Any]):
    def full_now(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DataFolder, "accept", full_now)
    answer = client.http.post("/api/analyses", **form)
    assert (answer.status_code, "disk is full" in answer.json()["error"]) == (507, True)
    assert not list(client.services.folders.incoming.iterdir())


def test_a_job_that_finds_no_room_says_so(client: Client):
    status = client.wait(client.submit("fill_disk x"))
    assert status["state"] == "failed"
    assert "disk is full" in status["error"]
    assert "fault of the program" not in status["error"]


# Restarts -----------------------------------------------------------------------------------------------------------


def test_restarts_are_never_the_jobs_fault(settings: Settings):
    with in_process(settings) as client:
        id = client.submit("await_mark x")
        wait_until((client.services.folders.job(id) / "mark").exists)
    for _ in range(5):
        services = Services(settings)
        assert services.store.claim() is not None
        services.store.close()
        services.folders.close()  # the server is gone, and the row still says that the job runs
    with in_process(settings) as client:
        (client.services.folders.job(id) / "go").touch()
        assert client.wait(id)["state"] == "done"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_worker_that_is_asked_to_end_costs_no_attempt(client: Client, number: signal.Signals):
    """Service managers ask all processes of a service at once, so that the worker ends before its server knows."""
    id = client.submit("await_mark x")
    folder = client.services.folders.job(id)
    for _ in range(4):
        wait_until((folder / "mark").exists)
        (folder / "mark").unlink()  # the next attempt makes it anew
        process = wait_until(lambda: client.services.pool.process_of(id))
        os.kill(process, number)
        wait_until((folder / "mark").exists)
    (folder / "go").touch()
    assert client.wait(id)["state"] == "done"
    assert client.services.store.get(id).attempts == 1
