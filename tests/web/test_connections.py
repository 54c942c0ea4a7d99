"""Clients without the token cannot keep others out, and none can hold a connection for nothing."""

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx2
import pytest
from web_server import TOKEN, listening, wait_until

from multigrain.web.server import create_app
from multigrain.web.settings import Settings

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


def test_slow_logins_do_not_shut_others_out(guarded: tuple[str, int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("multigrain.web.connection.MOST_STRANGERS", 20)
    monkeypatch.setattr("multigrain.web.server.MOST_CONNECTIONS", 40)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(guarded, timeout=20)) for _ in range(60)]
        for connection in slow:
            with contextlib.suppress(OSError):
                connection.sendall(SLOW_LOGIN)
        client = stack.enter_context(httpx2.Client(base_url=url_of(guarded), trust_env=False, timeout=20))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert [client.get("/api/analyses", headers=headers).status_code for _ in range(3)] == [200] * 3
        wait_until(lambda: sum(is_closed(connection) for connection in slow[:10]) == 10)
        assert client.get("/api/analyses", headers=headers).status_code == 200


def test_who_has_shown_the_token_is_not_closed_for_newcomers(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("multigrain.web.connection.MOST_STRANGERS", 5)
    head = b"POST /api/analyses HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n"
    with listening(app := create_app(replace(settings, token=TOKEN))) as address, contextlib.ExitStack() as stack:
        upload = stack.enter_context(socket.create_connection(address, timeout=60))
        upload.sendall(head % TOKEN.encode() + b'{"text": ')
        wait_until(lambda: list(app.state.services.folders.incoming.iterdir()))
        strangers = [stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(20)]
        wait_until(lambda: is_closed(strangers[0]))
        upload.sendall(b'"write on"}')
        assert b" 202 " in upload.recv(65536).splitlines()[0]


def test_a_login_that_does_not_come_is_given_up(guarded: tuple[str, int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("multigrain.web.pages.LOGIN_SECONDS", 0.2)
    with socket.create_connection(guarded, timeout=20) as connection:
        connection.sendall(SLOW_LOGIN)
        answer = answer_of(connection)
    assert b" 408 " in answer.splitlines()[0]
    assert b"did not come within 0.2 s" in answer


@pytest.mark.parametrize("length", [b"Content-Length: 5000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n1388\r\n" + b"a" * 5000])
def test_a_long_login_is_refused(guarded: tuple[str, int], monkeypatch: pytest.MonkeyPatch, length: bytes):
    monkeypatch.setattr("multigrain.web.security.STRANGERS_RUN_OUT_SECONDS", 0.2)
    with socket.create_connection(guarded, timeout=20) as connection:
        connection.sendall(b"POST /session HTTP/1.1\r\nHost: a\r\n" + length)
        assert b" 413 " in answer_of(connection).splitlines()[0]


@pytest.mark.parametrize("path", ["/api/analyses", f"/api/analyses/{'0' * 32}/cancel", "/session/end", "/nothing"])
def test_a_body_without_the_token_is_not_waited_for(guarded: tuple[str, int], monkeypatch: pytest.MonkeyPatch, path: str):
    monkeypatch.setattr("multigrain.web.security.STRANGERS_RUN_OUT_SECONDS", 0.2)
    with socket.create_connection(guarded, timeout=20) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n".encode())
        begin = time.monotonic()
        answer = answer_of(connection)
        assert b" 401 " in answer.splitlines()[0]
        assert time.monotonic() - begin < 9  # who has shown the token is heard out for 10 s


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
            connection.settimeout(20)
            connection.connect(address)
            connection.sendall(f"GET /api/analyses/{id}/video HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert connection.recv(1000)
            wait_until(lambda: _state(connection) == CLOSED)
        # One that reads slowly, but reads, gets everything.
        with httpx2.stream("GET", f"{url}/api/analyses/{id}/video", trust_env=False, timeout=60) as slow:
            size = 0
            for block in slow.iter_bytes(1_000_000):
                size += len(block)
                time.sleep(0.05)
        assert size == len(video)


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
