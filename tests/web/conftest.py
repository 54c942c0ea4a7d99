"""Fixtures of the server's tests."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from web_server import Client, in_process, listening

from multigrain.web.server import create_app
from multigrain.web.services import Services
from multigrain.web.settings import Settings

HERE = Path(__file__).parent


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a server whose workers run `jobs_for_tests`."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]))
    return Settings(data=tmp_path / "data", job="jobs_for_tests:run", workers=1, free_bytes=0)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with in_process(settings) as made:
        yield made


@pytest.fixture
def live(settings: Settings) -> Iterator[tuple[str, int, Services]]:
    """Address of a listening server whose uploads may not stand still."""
    app = create_app(replace(settings, idle_seconds=0.3))
    with listening(app) as (host, port):
        yield host, port, app.state.services


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=60, trust_env=False) as client:
        yield client
