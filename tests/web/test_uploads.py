"""Uploads that are too large, too slow, broken off, malformed or of a wrong type: what the client is told, and that nothing stays."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from web_server import Client, in_process, listening, wait_until

from multigrain.web.folders import DataFolder
from multigrain.web.server import create_app
from multigrain.web.services import Services
from multigrain.web.settings import Settings

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + b"\x00" * 64
SRT = b"1\n00:00:00,000 --> 00:00:01,000\nHello\n"
Live = tuple[str, int, Services]


def nothing_is_kept(services: Services) -> bool:
    return not list(services.folders.incoming.iterdir()) and not list(services.folders.jobs.iterdir()) and services.store.newest()[1] == 0


@pytest.mark.parametrize(
    ("files", "data", "status", "words"),
    [
        ({"video": ("x.mp4", b"just words")}, {}, 415, "x.mp4 is, by its content, no video or sound that multigrain reads"),
        ({"video": ("x.mp4", b"")}, {}, 422, "x.mp4 is empty"),
        ({"video": ("x.wav", WAV), "transcript": ("t.srt", b"\x00\x01\x02")}, {}, 415, "t.srt is, by its content, no transcript"),
        ({"video": ("x.wav", WAV), "transcript": ("t.srt", SRT)}, {"text": "words"}, 422, "two transcripts"),
        ({"transcript": ("t.srt", SRT)}, {"text": "words"}, 422, "without a video"),
        ({"transcript": ("t.srt", SRT)}, {}, 422, "Nothing to analyse"),
        ({"film": ("x.wav", WAV)}, {}, 422, "The form has a part 'film'; expected video, transcript, text and no other."),
        ({"../x": ("x.wav", WAV)}, {}, 422, "expected video, transcript, text"),
        ({}, {"text": "  ...  "}, 422, "The text has no words"),
        ({"text": ("t.txt", b"\xff\xfe\xff")}, {}, 422, "not UTF-8"),
    ],
)
def test_a_submission_that_cannot_be_used_is_refused_with_a_sentence(
    client: Client, files: dict[str, tuple[str, bytes]], data: dict[str, str], status: int, words: str
):
    form = [(name, content) for name, content in files.items()] + [(name, (None, value.encode())) for name, value in data.items()]
    answer = client.http.post("/api/analyses", files=form)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert nothing_is_kept(client.services)


def test_two_videos_in_one_submission_are_refused(client: Client):
    answer = client.http.post("/api/analyses", files=[("video", ("a.wav", WAV)), ("video", ("b.wav", WAV))])
    assert (answer.status_code, "two parts 'video'" in answer.json()["error"]) == (422, True)
    assert nothing_is_kept(client.services)


def test_a_field_that_was_left_empty_counts_as_absent(client: Client):
    answer = client.http.post("/api/analyses", files=[("video", ("", b"")), ("transcript", ("", b"")), ("text", (None, b"write me"))])
    assert (answer.status_code, answer.json()["kind"]) == (202, "text")


def test_a_text_beside_a_video_is_its_transcript(client: Client):
    id = client.http.post("/api/analyses", files={"video": ("a.wav", WAV)}, data={"text": "words"}).json()["id"]
    assert (client.services.folders.job(id) / "transcript.txt").read_text() == "words"


@pytest.mark.parametrize(
    ("body", "kind", "status", "words"),
    [
        (b'{"text": 3}', "application/json", 422, 'Expected {"text": "..."}'),
        (b'{"text": "a", "folder": "/"}', "application/json", 422, "and nothing else"),
        (b"[" * 100_000, "application/json", 400, "not JSON"),
        (b"{", "application/json", 400, "not JSON"),
        (b'{"text": "\\ud800 a"}', "application/json", 422, "not UTF-8"),
        (b"text=a", "application/x-www-form-urlencoded", 415, "application/x-www-form-urlencoded"),
        (b"", "", 415, "of no stated type"),
        (b"--x", "multipart/form-data", 400, "malformed"),
        (b"nonsense", "multipart/form-data; boundary=x", 400, "malformed"),
        (b'--x\r\nContent-Disposition: form-data; name="video"\r\n\r\nabc', "multipart/form-data; boundary=x", 400, "ended in the middle"),
        (b"--x\r\n" + b"A: b\r\n" * 100 + b"\r\n", "multipart/form-data; boundary=x", 400, "malformed"),
        (b"--x\r\nContent-Disposition: " + b"a" * 10_000 + b"\r\n\r\n", "multipart/form-data; boundary=x", 400, "malformed"),
        (b"--x\r\n\r\nabc\r\n--x--\r\n", "multipart/form-data; boundary=x", 422, "'without a name'"),
    ],
)
def test_malformed_bodies_are_refused_with_a_sentence(client: Client, body: bytes, kind: str, status: int, words: str):
    answer = client.http.post("/api/analyses", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert nothing_is_kept(client.services)


@pytest.fixture
def small(settings: Settings) -> Settings:
    return replace(settings, video_bytes=300_000, transcript_bytes=1000, text_bytes=100)


def test_a_stated_length_over_the_limit_is_refused_before_it_is_read(small: Settings):
    with in_process(small) as client:
        answer = client.http.post("/api/analyses", files={"video": ("x.wav", WAV + b"\x00" * 500_000)})
        assert (answer.status_code, "this server takes at most" in answer.json()["error"]) == (413, True)
        assert nothing_is_kept(client.services)


@pytest.mark.parametrize(("part", "content"), [("video", WAV + b"\x00" * 300_000), ("transcript", SRT * 100), ("text", b"word " * 100)])
def test_each_part_has_a_limit_also_where_no_length_is_stated(small: Settings, part: str, content: bytes):
    body = b'--x\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\n%s\r\n--x--\r\n' % (part.encode(), content)

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    with in_process(small) as client:
        answer = client.http.post("/api/analyses", content=chunks(), headers={"Content-Type": "multipart/form-data; boundary=x"})
        assert (answer.status_code, f"The {part} is larger than" in answer.json()["error"]) == (413, True)
        assert nothing_is_kept(client.services)


def test_a_long_text_as_json_is_refused(small: Settings):
    with in_process(small) as client:
        assert client.http.post("/api/analyses", json={"text": "word " * 21}).status_code == 413
        assert client.http.post("/api/analyses", json={"text": "é" * 50}).status_code == 202
        assert (
            client.http.post("/api/analyses", content=b'{"text": "' + b"a" * 200_000, headers={"Content-Type": "application/json"}).status_code == 413
        )


@pytest.mark.parametrize("text", ["word " * 20, "a\n" * 6, "\n\na\r\nb\x85c\u2028d\re\n"])
@pytest.mark.parametrize("as_form", [True, False])
def test_a_text_that_is_too_much_work_is_refused_before_it_waits(settings: Settings, text: str, as_form: bool):
    with in_process(replace(settings, text_characters=90, text_lines=4)) as client:
        form = {"files": {"text": (None, text.encode())}} if as_form else {"json": {"text": text}}
        answer = client.http.post("/api/analyses", **form)
        assert (answer.status_code, "at most 90 characters and 4 lines at a time" in answer.json()["error"]) == (413, True)
        assert nothing_is_kept(client.services)
        assert client.http.post("/api/analyses", json={"text": "write \n\n\n\n\non"}).status_code == 202
        facts = client.http.get("/api/server").json()
        assert (facts["max_text_characters"], facts["max_text_lines"], facts["max_utterances"]) == (90, 4, settings.utterances)


def test_a_full_disk_is_said_before_it_is_full(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(DataFolder, "free_bytes", lambda _: 1000)
    with in_process(replace(settings, free_bytes=900)) as client:
        answer = client.http.post("/api/analyses", files={"video": ("x.wav", WAV + b"\x00" * 500)})
        assert (answer.status_code, "disk is full" in answer.json()["error"]) == (507, True)
        assert nothing_is_kept(client.services)


# Over a real connection ---------------------------------------------------------------------------------------------

HEAD = b"POST /api/analyses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 100000\r\n\r\n"
BEGINNING = b'--x\r\nContent-Disposition: form-data; name="video"; filename="a.wav"\r\n\r\n' + WAV


def test_an_upload_that_stands_still_is_given_up(live: Live):
    host, port, services = live
    with socket.create_connection((host, port), timeout=60) as connection:
        connection.sendall(HEAD + BEGINNING)
        answer = connection.makefile("rb").read()
    assert b" 408 " in answer.splitlines()[0]
    assert b"stood still" in answer
    wait_until(lambda: nothing_is_kept(services))


TRICKLES = {"a form": (HEAD, BEGINNING), "JSON": (HEAD.replace(b"multipart/form-data; boundary=x", b"application/json"), b'{"text": "')}


@pytest.mark.parametrize("kind", TRICKLES)
def test_an_upload_that_trickles_is_given_up_though_it_never_stands_still(settings: Settings, monkeypatch: pytest.MonkeyPatch, kind: str):
    monkeypatch.setattr("multigrain.web.uploads.PATIENCE_SECONDS", 0.5)
    head, beginning = TRICKLES[kind]
    with listening(app := create_app(replace(settings, idle_seconds=3600.0))) as (host, port):
        with socket.create_connection((host, port), timeout=0.05) as connection:
            connection.sendall(head + beginning)
            answer = wait_until(lambda: answer_to(connection, b"a"))
            connection.settimeout(120)
            while not answer.endswith(b"}"):
                answer += connection.recv(65536)
        assert b" 408 " in answer.splitlines()[0]
        assert b"less than 16,384 bytes a second" in answer
        wait_until(lambda: nothing_is_kept(app.state.services))


def answer_to(connection: socket.socket, block: bytes) -> bytes:
    """What the server has said so far, after a few more bytes; empty while it says nothing."""
    connection.sendall(block)
    try:
        return connection.recv(65536)
    except TimeoutError:
        return b""


def test_an_upload_that_is_slow_but_not_too_slow_is_taken(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("multigrain.web.uploads.PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("multigrain.web.uploads.SLOWEST_BYTES_PER_SECOND", 0.01)
    with in_process(replace(settings, idle_seconds=3600.0)) as client:
        parts = [b'{"text"', b': "write', b' on"}']
        assert client.http.post("/api/analyses", content=iter(parts), headers={"Content-Type": "application/json"}).status_code == 202


def test_a_client_that_goes_away_leaves_nothing(settings: Settings):
    with listening(app := create_app(replace(settings, idle_seconds=3600.0))) as (host, port):
        services = app.state.services
        with socket.create_connection((host, port)) as connection:
            connection.sendall(HEAD + BEGINNING)
            wait_until(lambda: list(services.folders.incoming.iterdir()))
        wait_until(lambda: nothing_is_kept(services))
        assert httpx2.get(f"http://{host}:{port}/health", trust_env=False, timeout=60).status_code == 200


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /"])
def test_a_connection_that_never_ends_its_request_is_closed(live: Live, monkeypatch: pytest.MonkeyPatch, sent: bytes):
    monkeypatch.setattr("multigrain.web.connection.HEAD_SECONDS", 0.3)
    host, port, _ = live
    with socket.create_connection((host, port), timeout=0.1) as connection:
        connection.sendall(sent)

        def is_closed() -> bool:
            try:
                connection.sendall(b"a")
                return connection.recv(10_000) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        wait_until(is_closed)


def test_a_client_that_sends_on_is_refused_with_an_answer_it_can_read(settings: Settings):
    """A refusal whose connection closes under a client that is still sending would reach it as a broken connection."""
    head = b'--x\r\nContent-Disposition: form-data; name="video"; filename="a.wav"\r\n\r\n' + WAV
    with listening(create_app(replace(settings, video_bytes=100_000))) as (host, port):
        for size in (12_000_000, 12_000_000, 12_000_000, 80_000_000):
            connection = http.client.HTTPConnection(host, port, timeout=60)
            connection.request("POST", "/api/analyses", head + bytes(size), {"Content-Type": "multipart/form-data; boundary=x"})
            assert connection.getresponse().status == 413
            connection.close()


def test_two_hundred_uploads_at_once_are_taken_or_told_to_wait(settings: Settings):
    many = replace(settings, submissions_per_minute=150, queue=60, uploads=8)
    answers: list[httpx2.Response] = []
    with listening(app := create_app(many)) as (host, port):

        def upload(number: int) -> None:
            with httpx2.Client(trust_env=False, timeout=60, verify=False) as client:
                answers.append(client.post(f"http://{host}:{port}/api/analyses", files={"video": (f"{number}.wav", WAV + b"\x00" * 200_000)}))

        threads = [threading.Thread(target=upload, args=(number,)) for number in range(200)]
        for thread in threads:
            thread.start()
        assert httpx2.get(f"http://{host}:{port}/api/analyses", trust_env=False, timeout=60).status_code == 200
        for thread in threads:
            thread.join()
        taken = [answer.json()["id"] for answer in answers if answer.status_code == 202]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(taken) + len(refused) == 200
        assert taken
        assert refused
        assert all("Try again in" in answer.json()["error"] and int(answer.headers["retry-after"]) > 0 for answer in refused)
        services: Services = app.state.services
        assert services.store.ids() == set(taken)
        wait_until(lambda: all(job.state == "done" for job in services.store.newest(limit=300)[0]))


def test_what_a_worker_reads_is_what_was_checked(client: Client):
    id = client.http.post("/api/analyses", files={"video": ("<b>.wav", WAV)}).json()["id"]
    request = json.loads((client.services.folders.job(id) / "request.json").read_text())
    assert (request["kind"], request["title"]) == ("video", "<b>.wav")


def test_folders_and_database_are_for_their_owner_only(client: Client, tmp_path: Path):
    client.wait(client.submit("write well"))
    assert tmp_path.joinpath("data").stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.joinpath("data").rglob("*") if path.is_dir())
