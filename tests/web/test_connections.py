"""Clients without the token cannot keep others out, and none can hold a connection for nothing."""

import asyncio
import contextlib
import math
import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace

import httpx2
import pytest
from fastapi import FastAPI
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState
from web_server import TOKEN, listening, wait_until

from multigrain.web.connection import HEAD_SECONDS, WRITE_SECONDS, PatientConnection
from multigrain.web.server import configuration, create_app
from multigrain.web.settings import Settings

PATIENCE = 120.0
"""Seconds after which what was bound to come has not come."""
SLOW_LOGIN = b"POST /session HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ntoken="


@pytest.fixture
def guarded(settings: Settings) -> Iterator[tuple[str, int]]:
    """Address of a server with a token."""
    with listening(create_app(replace(settings, token=TOKEN))) as address:
        yield address


def url_of(address: tuple[str, int]) -> str:
    return f"http://{address[0]}:{address[1]}"


def answer_of(connection: socket.socket) -> bytes:
    """What comes until the server closes; a reset is an end too."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while block := connection.recv(65536):
            received += block
    return received


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.fixture
def endless_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is closed because its time is up: a place becomes free because it is taken away, or not at all."""
    for name in ("connection.HEAD_SECONDS", "connection.WRITE_SECONDS", "pages.LOGIN_SECONDS", "security.STRANGERS_RUN_OUT_SECONDS"):
        monkeypatch.setattr(f"multigrain.web.{name}", 3600.0)


@pytest.mark.usefixtures("endless_deadlines")
def test_slow_logins_do_not_shut_others_out(guarded: tuple[str, int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("multigrain.web.connection.MOST_STRANGERS", 20)
    monkeypatch.setattr("multigrain.web.connection.MOST_CONNECTIONS", 40)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(guarded, timeout=PATIENCE)) for _ in range(60)]
        for connection in slow:
            with contextlib.suppress(OSError):
                connection.sendall(SLOW_LOGIN)
        client = stack.enter_context(httpx2.Client(base_url=url_of(guarded), trust_env=False, timeout=PATIENCE))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert [client.get("/api/analyses", headers=headers).status_code for _ in range(3)] == [200] * 3
        wait_until(lambda: sum(is_closed(connection) for connection in slow[:10]) == 10)
        assert client.get("/api/analyses", headers=headers).status_code == 200


def test_more_connections_than_the_server_holds_are_told_to_come_again(guarded: tuple[str, int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("multigrain.web.connection.MOST_CONNECTIONS", 3)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with contextlib.ExitStack() as stack:
        first = [stack.enter_context(httpx2.Client(base_url=url_of(guarded), trust_env=False, timeout=PATIENCE)) for _ in range(3)]
        assert [client.get("/api/analyses", headers=headers).status_code for client in first] == [200] * 3  # and stay connected
        one_more = stack.enter_context(httpx2.Client(base_url=url_of(guarded), trust_env=False, timeout=PATIENCE))
        answer = one_more.get("/api/analyses", headers=headers)
        assert (answer.status_code, answer.headers["retry-after"], answer.headers["connection"]) == (503, "5", "close")
        assert "more connections than it can serve" in answer.json()["error"]
        first.pop().close()
        wait_until(lambda: one_more.get("/api/analyses", headers=headers).status_code == 200)


@pytest.mark.usefixtures("endless_deadlines")
def test_who_has_shown_the_token_is_not_closed_for_newcomers(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("multigrain.web.connection.MOST_STRANGERS", 5)
    head = b"POST /api/analyses HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n"
    patient = replace(settings, token=TOKEN, idle_seconds=3600.0)
    with listening(app := create_app(patient)) as address, contextlib.ExitStack() as stack:
        upload = stack.enter_context(socket.create_connection(address, timeout=PATIENCE))
        upload.sendall(head % TOKEN.encode() + b'{"text": ')
        wait_until(lambda: list(app.state.services.folders.incoming.iterdir()))
        strangers = [stack.enter_context(socket.create_connection(address, timeout=PATIENCE)) for _ in range(20)]
        wait_until(lambda: all(is_closed(stranger) for stranger in strangers[:15]))
        assert not any(is_closed(stranger) for stranger in strangers[15:])
        upload.sendall(b'"write on"}')
        assert b" 202 " in upload.recv(65536).splitlines()[0]


def test_a_login_that_does_not_come_is_given_up(guarded: tuple[str, int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("multigrain.web.pages.LOGIN_SECONDS", 0.2)
    with socket.create_connection(guarded, timeout=PATIENCE) as connection:
        connection.sendall(SLOW_LOGIN)
        answer = answer_of(connection)
    assert b" 408 " in answer.splitlines()[0]
    assert b"did not come within 0.2 s" in answer


@pytest.mark.parametrize("length", [b"Content-Length: 5000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n1388\r\n" + b"a" * 5000])
def test_a_long_login_is_refused(guarded: tuple[str, int], monkeypatch: pytest.MonkeyPatch, length: bytes):
    monkeypatch.setattr("multigrain.web.security.STRANGERS_RUN_OUT_SECONDS", 0.2)
    with socket.create_connection(guarded, timeout=PATIENCE) as connection:
        connection.sendall(b"POST /session HTTP/1.1\r\nHost: a\r\n" + length)
        assert b" 413 " in answer_of(connection).splitlines()[0]


@pytest.mark.parametrize("path", ["/api/analyses", f"/api/analyses/{'0' * 32}/cancel", "/session/end", "/nothing"])
def test_a_body_without_the_token_is_not_waited_for(guarded: tuple[str, int], monkeypatch: pytest.MonkeyPatch, path: str):
    monkeypatch.setattr("multigrain.web.security.STRANGERS_RUN_OUT_SECONDS", 0.2)
    monkeypatch.setattr("multigrain.web.security.RUN_OUT_SECONDS", 3600.0)  # the patience with who has shown it
    with socket.create_connection(guarded, timeout=PATIENCE) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n".encode())
        assert b" 401 " in answer_of(connection).splitlines()[0]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/analyses/{id}/cancel", 409),
        ("DELETE", "/api/analyses/{id}", 204),
        ("GET", "/api/analyses", 200),
        ("POST", "/session/end", 413),
        ("POST", "/nothing", 404),
    ],
)
def test_a_body_that_nobody_asked_for_holds_no_connection_with_the_token_either(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, method: str, path: str, status: int
):
    for name in ("connection.HEAD_SECONDS", "pages.LOGIN_SECONDS", "security.RUN_OUT_SECONDS"):
        monkeypatch.setattr(f"multigrain.web.{name}", 0.2)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with listening(app := create_app(replace(settings, token=TOKEN))) as address:
        id = httpx2.post(f"{url_of(address)}/api/analyses", json={"text": "write on"}, headers=headers, trust_env=False, timeout=60).json()["id"]
        wait_until(lambda: app.state.services.store.get(id).state == "done")
        with socket.create_connection(address, timeout=PATIENCE) as connection:
            head = f"{method} {path.format(id=id)} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 1000000\r\n\r\n"
            connection.sendall(head.encode())
            answer = connection.recv(65536)
            assert f" {status} ".encode() in answer.splitlines()[0]
            wait_until(lambda: does_not_take(connection, b"a"))


def does_not_take(connection: socket.socket, block: bytes) -> bool:
    """Whether the other side has closed the connection, and a block that is sent shows that."""
    try:
        connection.sendall(block)
    except OSError:
        return True
    return is_closed(connection)


def test_a_client_that_stops_reading_is_let_go(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("multigrain.web.connection.HEAD_SECONDS", 0.2)
    monkeypatch.setattr("multigrain.web.connection.WRITE_SECONDS", 0.6)
    with listening(app := create_app(settings)) as address:
        services = app.state.services
        url = url_of(address)
        video = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(16_000_000)
        id = httpx2.post(f"{url}/api/analyses", files={"video": ("a.wav", video)}, trust_env=False, timeout=60).json()["id"]
        wait_until(lambda: services.store.get(id).state == "done")
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(PATIENCE)
            connection.connect(address)
            connection.sendall(f"GET /api/analyses/{id}/video HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert connection.recv(1000)
            wait_until(lambda: _state(connection) == CLOSED)


class Pipe:
    """Stands for a transport: how much is written and not read, and whether it was closed."""

    unread, is_closed = 0, False

    def get_write_buffer_size(self) -> int:
        return self.unread

    def get_extra_info(self, _: str) -> None:
        return None

    def abort(self) -> None:
        self.is_closed = True


@pytest.fixture
def watched() -> Iterator[tuple[PatientConnection, Pipe]]:
    """A connection of no server, whose client is looked at when the test says so."""
    configured = configuration(FastAPI())
    configured.load()
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        connection = PatientConnection(configured, ServerState(), {}, loop)
        connection.transport = pipe = Pipe()  # type: ignore[assignment]
        connection.flow = FlowControl(pipe)  # type: ignore[arg-type]
        yield connection, pipe


LOOKS = math.ceil(WRITE_SECONDS / HEAD_SECONDS)
"""That must see nothing read before a client is let go; the first one has nothing to compare with."""


def looks_until_closed(connection: PatientConnection, pipe: Pipe, unread: Iterable[int]) -> int | None:
    for number, pipe.unread in enumerate(unread):
        connection._watch_reading()
        if pipe.is_closed:
            return number
    return None


@pytest.mark.parametrize(
    ("unread", "closed_at"),
    [
        ([100] * 20, LOOKS),
        (range(100, 80, -1), None),
        ([100, 100, 100, 99] * 5, None),
        ([0] * 20, None),
        ([100, 0] * 10, None),
        ([100] * LOOKS + [90] * 20, 2 * LOOKS),
    ],
)
def test_who_reads_however_slowly_is_kept(watched: tuple[PatientConnection, Pipe], unread: Iterable[int], closed_at: int | None):
    assert looks_until_closed(*watched, unread) == closed_at


def test_who_empties_the_buffer_between_two_looks_is_kept(watched: tuple[PatientConnection, Pipe]):
    connection, pipe = watched
    for _ in range(5 * LOOKS):
        connection.resume_writing()
        assert looks_until_closed(connection, pipe, [100]) is None


CLOSED = 7


def _state(connection: socket.socket) -> int:
    """Of the connection, as Linux numbers them: 1 is established, 7 closed (by a reset)."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


# What stands around a form's parts ----------------------------------------------------------------------------------

PART = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\nwrite on\r\n'
EMPTY = b'--x\r\nContent-Disposition: form-data; name="video"\r\n\r\n\r\n'


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([PART, b"--x--\r\n", b"a" * 100_000, b"a" * 100_000], "stand outside of its parts"),
        ([b"\r\n" * 50_000, PART, b"--x--\r\n"], "stand outside of its parts"),
        ([EMPTY] * 17 + [PART, b"--x--\r\n"], "more than 16 parts"),
    ],
)
def test_what_is_no_part_is_bounded_however_it_comes(guarded: tuple[str, int], pieces: list[bytes], words: str):
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "multipart/form-data; boundary=x"}
    answer = httpx2.post(f"{url_of(guarded)}/api/analyses", content=iter(pieces), headers=headers, trust_env=False, timeout=60)
    assert (answer.status_code, words in answer.json()["error"]) == (400, True)


def test_a_few_empty_parts_and_a_little_after_the_end_do_no_harm(guarded: tuple[str, int]):
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "multipart/form-data; boundary=x"}
    body = EMPTY + PART + b"--x--\r\nand so on\r\n"
    assert httpx2.post(f"{url_of(guarded)}/api/analyses", content=body, headers=headers, trust_env=False, timeout=60).status_code == 202
