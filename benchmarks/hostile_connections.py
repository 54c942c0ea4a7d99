"""What `hostile.py` does to a server's connections: slow ones, bodies without end, clients that stop reading, malformed heads."""

import contextlib
import http.client
import json
import socket
import time
from pathlib import Path

from hostile_server import Row, RunningServer, attempt, verdict, wait_until

TOKEN = "a-token-for-the-attacks"
LOGIN = b"POST /session HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ntoken="
LONG_TEXT_BYTES = 45_000
HELD_BACK_SECONDS = 120.0
"""An address whose logins failed too often may try again sooner."""
PATIENCE_SECONDS = 1800.0
"""With what is bound to come, on a machine that has other work too."""


def connections(folder: Path, checkpoint: list[str], sound: Path) -> list[Row]:
    """Every attack on what comes in; with a token, and without one where it is asked of somebody who has it."""
    with RunningServer(folder / "guarded", checkpoint, token=TOKEN) as server:
        rows = [attempt(one, server) for one in (slow_logins, around_the_parts, malformed_heads, ended_session, too_much_text)]
        rows.append(attempt(stopped_reading, server, sound))
    with RunningServer(folder / "proxied", [*checkpoint, "--behind-proxy"], token=TOKEN) as server:
        rows.append(attempt(behind_a_proxy, server))
    return rows


def slow_logins(server: RunningServer) -> Row:
    """A thousand connections that log in at a byte every few seconds, while somebody with the token asks for the list."""
    with contextlib.ExitStack() as stack:
        slow = []
        for _ in range(1000):
            with contextlib.suppress(OSError):
                connection = stack.enter_context(socket.create_connection(server.address, timeout=5))
                connection.sendall(LOGIN)
                slow.append(connection)
        statuses, seconds = [], []
        for _ in range(10):
            begin = time.monotonic()
            statuses.append(server.ask("GET", "/api/analyses")[0])
            seconds.append(time.monotonic() - begin)
            for connection in slow:
                with contextlib.suppress(OSError):
                    connection.sendall(b"a")
        what = f"10 lists asked for meanwhile: {statuses}, the slowest after {max(seconds):.2f} s"
        return "1,000 slow logins without the token", verdict(statuses == [200] * 10, what)


def around_the_parts(server: RunningServer) -> Row:
    """Chunked bodies without a stated length, of which nearly nothing is a part's."""
    part = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    bodies = {
        "100 MB after the closing boundary": [part % (b"text", b"so good"), b"--x--\r\n", *[bytes(1 << 20)] * 100],
        "100,000 empty parts": [part % (b"video", b"") * 1000] * 100,
        "10 MB of line ends before the first part": [b"\r\n" * (1 << 19)] * 10,
    }
    answers = {}
    for name, body in bodies.items():
        begin = time.monotonic()
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        status, _ = server.ask("POST", "/api/analyses", iter(body), headers)
        answers[name] = (status, time.monotonic() - begin)
    what = "; ".join(f"{name}: {status} after {seconds:.1f} s" for name, (status, seconds) in answers.items())
    is_right = all(status in (400, 0) and seconds < 15 for status, seconds in answers.values()) and server.health() == 200
    return "forms that are nearly all wrapping", verdict(is_right, what)


def malformed_heads(server: RunningServer) -> Row:
    origins = ["http://[", "http://a:b", "x", "://", "http://a b"]
    kinds = [f"multipart/form-data;{rest}" for rest in (" boundary=", " boundary=" + "a" * 5000, " boundary=a\tb", ";=")]
    statuses = [server.ask("POST", "/api/analyses", b"", {"Origin": origin})[0] for origin in origins]
    statuses += [server.ask("POST", "/api/analyses", b"--a--\r\n", {"Content-Type": kind})[0] for kind in kinds]
    return f"{len(statuses)} malformed `Origin`s and boundaries", verdict(set(statuses) == {400}, f"answered {statuses}")


def ended_session(server: RunningServer) -> Row:
    cookie = _log_in(server, {})
    host, port = server.address
    statuses = []
    for method, path in (("GET", "/api/analyses"), ("POST", "/session/end"), ("GET", "/api/analyses")):
        connection = http.client.HTTPConnection(host, port, timeout=60)
        connection.request(method, path, headers={"Cookie": cookie.split(";")[0]})
        statuses.append(connection.getresponse().status)
        connection.close()
    return "the copy of a cookie whose session was ended", verdict(statuses == [200, 303, 401], f"before, ending, after: {statuses}")


def _log_in(server: RunningServer, headers: dict[str, str]) -> str:
    """The Set-Cookie header that a login is answered with, once an attack from this address does not hold it back any more."""
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    deadline = time.monotonic() + HELD_BACK_SECONDS
    while True:
        connection = http.client.HTTPConnection(*server.address, timeout=60)
        connection.request("POST", "/session", f"token={TOKEN}", {**kind, **headers})
        answer = connection.getresponse()
        connection.close()
        if answer.status != 429 or time.monotonic() > deadline:
            return answer.getheader("Set-Cookie") or ""
        time.sleep(float(answer.getheader("Retry-After") or 1.0))


def stopped_reading(server: RunningServer, sound: Path) -> Row:
    """Clients that ask for a large file and do not read it."""
    large = sound.with_name("large.wav")
    large.write_bytes(sound.read_bytes() + bytes(50_000_000))
    status, answer = server.upload(large, None)
    if status != 202:
        return "20 clients that stop reading", verdict(False, f"the upload was refused: {status}")
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(server.address)
            head = f"GET /api/analyses/{answer['id']}/video HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
            connection.sendall(head.encode())
        wait_until(lambda: server.num_connections() >= 20, 30)
        begin = time.monotonic()
        is_gone = wait_until(lambda: server.num_connections() == 0, 150)
        what = f"{'let go' if is_gone else f'{server.num_connections()} still held'} after {time.monotonic() - begin:.0f} s"
    return "20 clients that stop reading", verdict(is_gone, what)


def too_much_text(server: RunningServer) -> Row:
    """A text that is longer than the limit, and one of 45 KB, which is within it."""
    kind = {"Content-Type": "application/json"}
    lines, long = "a\n" * 100_000, "so good " * 100_000
    refused = [server.ask("POST", "/api/analyses", json.dumps({"text": text}), kind)[0] for text in (lines, long)]
    line = "the film was really so good and I loved every minute of it but the end was rather boring\n"
    text = "".join(f"{number} {line}" for number in range(LONG_TEXT_BYTES // (len(line) + 4)))
    name = server.submit(text)
    wait_until(lambda: server.status(name)["state"] == "running", PATIENCE_SECONDS)
    begin = time.monotonic()
    state = server.wait(name, PATIENCE_SECONDS)["state"]
    what = f"200 KB in 100,000 lines and 800 KB in one: {refused}; {len(text):,} bytes: {state} after {time.monotonic() - begin:.0f} s"
    return "long texts", verdict(refused == [413, 413] and state == "done", what)


def behind_a_proxy(server: RunningServer) -> Row:
    cookie = _log_in(server, {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.1"})

    def guesses(address: str) -> int:
        answers = (server.ask("POST", "/session", "token=no", {"X-Forwarded-For": f"203.0.113.5, {address}"})[0] for _ in range(12))
        return sum(status == 429 for status in answers)

    counts = [guesses("198.51.100.2"), guesses("198.51.100.3")]
    what = f"the cookie is {'Secure' if 'Secure' in cookie else 'not Secure'}; of 12 wrong logins each, two clients were held back {counts} times"
    return "`--behind-proxy`", verdict("Secure" in cookie and counts == [2, 2], what)
