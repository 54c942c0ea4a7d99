"""Jobs outlive their server, however it ends; and two servers never share a folder."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from web_server import is_alive, wait_until

from multigrain.errors import ServerError
from multigrain.web.folders import DataFolder
from multigrain.web.jobs import JobStore
from multigrain.web.server import listen
from multigrain.web.settings import Settings

START = """
import sys
from pathlib import Path
from multigrain.web.server import serve
from multigrain.web.settings import Settings

serve(Settings(data=Path(sys.argv[1]), port=0, job="jobs_for_tests:run", workers=1, free_bytes=0), lambda address: print(address, flush=True))
"""


def start(data: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen([sys.executable, "-c", START, str(data)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_server_killed_in_mid_job_finishes_it_after_the_next_start(settings: Settings, http: httpx2.Client):
    first, address = start(settings.data)
    running, child, queued = (
        http.post(f"{address}/api/analyses", json={"text": text}).json()["id"] for text in ("sleep_once on", "start_child x", "write well")
    )
    mark = settings.data / "jobs" / running / "mark"
    wait_until(mark.exists)
    workers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and parent_of(path) == first.pid]
    partial = settings.data / "incoming" / running  # a name of this server's
    partial.mkdir()
    first.kill()
    first.wait()
    assert first.stdout is not None
    first.stdout.close()
    assert workers
    wait_until(lambda: not any(is_alive(worker) for worker in workers))
    second, address = start(settings.data)
    try:
        wait_until(lambda: http.get(f"{address}/api/analyses/{running}").json()["state"] == "done")
        http.post(f"{address}/api/analyses/{child}/cancel")
        wait_until(lambda: http.get(f"{address}/api/analyses/{queued}").json()["state"] == "done")
        assert not partial.exists()
    finally:
        second.send_signal(signal.SIGTERM)
        second.wait(120)
        assert second.stdout is not None
        second.stdout.close()


def parent_of(path: Path) -> int:
    try:
        return int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
    except (OSError, IndexError):
        return 0


def test_a_second_server_on_the_same_folder_is_refused(tmp_path: Path):
    first = DataFolder(tmp_path / "data")
    with pytest.raises(ServerError, match="Another multigrain server uses the folder"):
        DataFolder(tmp_path / "data")
    first.close()
    DataFolder(tmp_path / "data").close()


def test_small_answers_are_sent_at_once(tmp_path: Path):
    """Without TCP_NODELAY, which asyncio sets only where a socket names its protocol, every answer took 40 ms more."""
    with listen(Settings(data=tmp_path, port=0)) as listener:
        assert listener.proto == socket.IPPROTO_TCP
        with pytest.raises(ServerError, match="cannot be listened on"):
            listen(Settings(data=tmp_path, port=listener.getsockname()[1]))
    with listen(Settings(data=tmp_path, host="::1", port=0)) as listener:
        assert listener.family == socket.AF_INET6


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path):
    (tmp_path / "data").write_text("")
    with pytest.raises(ServerError, match="cannot be used"):
        DataFolder(tmp_path / "data")


@pytest.mark.parametrize("url", ["nonsense", "oracle+nothing://x", "sqlite:////nowhere/at/all/jobs.sqlite"])
def test_a_database_that_does_not_open_is_refused(url: str):
    with pytest.raises(ServerError, match="--database"):
        JobStore(url)


def test_a_table_of_another_version_is_refused(tmp_path: Path):
    import sqlite3

    with sqlite3.connect(tmp_path / "x.sqlite") as connection:
        connection.execute("CREATE TABLE multigrain_jobs (id TEXT)")
    connection.close()
    with pytest.raises(ServerError, match="it has no column 'number'"):
        JobStore(f"sqlite:///{tmp_path / 'x.sqlite'}")


def test_the_command_line_starts_serves_and_ends(tmp_path: Path, http: httpx2.Client):
    environment = {**os.environ, "MULTIGRAIN_TOKEN": "a-token-from-outside"}
    command = [sys.executable, "-m", "multigrain", "serve", "--port", "0", "--data", str(tmp_path / "data"), "--max-duration", "60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    line = process.stdout.readline()
    address = line.split(" on ")[1].split(" ")[0]
    assert "asks for the token" in line
    assert http.get(f"{address}/api/server").status_code == 401
    facts = http.get(f"{address}/api/server", headers={"Authorization": "Bearer a-token-from-outside"}).json()
    assert (facts["max_duration_seconds"], facts["needs_token"]) == (60, True)
    taken = subprocess.run(
        [*command[:4], "--port", address.rsplit(":", 1)[1], "--data", str(tmp_path / "other")], capture_output=True, text=True, check=False
    )
    assert (taken.returncode, "cannot be listened on" in taken.stderr) == (2, True)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (130, "")


def test_an_open_address_without_a_token_is_refused_on_the_command_line(tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if name != "MULTIGRAIN_TOKEN"}
    command = [sys.executable, "-m", "multigrain", "serve", "--host", "0.0.0.0", "--data", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, "lets other machines in" in done.stderr) == (2, True)
    assert not (tmp_path / "data").exists()
