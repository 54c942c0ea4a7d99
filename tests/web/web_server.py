"""Servers for the tests: in this process, or listening on a port of this machine."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from multigrain.web.server import configuration, create_app
from multigrain.web.services import Services
from multigrain.web.settings import Settings

TOKEN = "a token of twenty-four c"


def wait_until(is_true: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Waits for what is bound to come; fails the test when it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := is_true():
            return value
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def is_alive(process_id: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass
class Client:
    """A server in this process, and somebody who asks it."""

    http: httpx2.Client
    services: Services

    def submit(self, text: str) -> str:
        answer = self.http.post("/api/analyses", json={"text": text})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def status(self, id: str) -> dict[str, Any]:
        return dict(self.http.get(f"/api/analyses/{id}").json())

    def wait(self, id: str, *states: str, seconds: float = 120.0) -> dict[str, Any]:
        wanted = states or ("done", "failed", "cancelled")
        wait_until(lambda: self.status(id)["state"] in wanted, seconds)
        return self.status(id)


@contextlib.contextmanager
def in_process(settings: Settings) -> Iterator[Client]:
    app = create_app(settings)
    with TestClient(app, base_url="http://127.0.0.1") as http:
        yield Client(http, app.state.services)


@contextlib.contextmanager
def on_a_port(settings: Settings) -> Iterator[Client]:
    """The same, over a real connection."""
    app = create_app(settings)
    with listening(app) as (host, port), httpx2.Client(base_url=f"http://{host}:{port}", trust_env=False, timeout=60) as http:
        yield Client(http, app.state.services)


@contextlib.contextmanager
def listening(app: FastAPI) -> Iterator[tuple[str, int]]:
    """Serves on a free port, as `multigrain serve` does; uvicorn's own patience with idle connections is put out of the way, so that ours shows."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = configuration(app)
        config.timeout_keep_alive, config.timeout_graceful_shutdown = 3600, 1
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join()
