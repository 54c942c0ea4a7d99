"""The JSON API as a client meets it."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from web_server import Client, in_process, is_alive, wait_until

from multigrain.web.settings import Settings

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + b"\x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00"
SRT = b"1\n00:00:00,000 --> 00:00:01,000\nHello\n"


def submit_files(client: Client, **files: tuple[str, bytes]) -> str:
    answer = client.http.post("/api/analyses", files=files)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_a_text_goes_from_submission_to_result(client: Client):
    answer = client.http.post("/api/analyses", json={"text": "write It was  lovely,\nall of it"})
    status = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/analyses/{status['id']}"
    assert (status["kind"], status["title"], status["error"]) == ("text", "write It was lovely, all of it", None)
    assert client.wait(status["id"])["progress"] == 1
    assert client.http.get(f"/api/analyses/{status['id']}/result").json()["said"] == "It was  lovely,\nall of it"
    listed = client.http.get("/api/analyses").json()
    assert (listed["total"], listed["analyses"][0]["id"]) == (1, status["id"])


def test_a_video_and_its_transcript_are_stored_under_our_names(client: Client):
    id = submit_files(client, video=("../../etc/My talk.mp4", WAV), transcript=("C:\\x\\talk.TXT", SRT))
    client.wait(id)
    folder = client.services.folders.job(id)
    assert {path.name for path in folder.iterdir()} >= {"video.wav", "transcript.srt"}
    assert (folder / "video.wav").read_bytes() == WAV
    assert (folder / "transcript.srt").read_bytes() == SRT
    assert client.status(id)["title"] == "My talk.mp4"


@pytest.mark.parametrize(
    "name",
    [
        "../../../x.mp4",
        "/etc/passwd",
        "..\\..\\x.mp4",
        "a/../../b.mp4",
        "x\x00.mp4",
        "%2e%2e%2fx.mp4",
        ".",
        "..",
        "",
        "jobs.sqlite",
        "video.part",
        "a" * 3000,
    ],
)
def test_no_name_of_a_client_becomes_a_path(client: Client, tmp_path: Path, name: str):
    answer = client.http.post("/api/analyses", files={"video": (name or "_", WAV)})
    assert answer.status_code in (202, 400)
    if answer.status_code == 202:
        client.wait(answer.json()["id"])
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    known = {
        "video.wav",
        "request.json",
        "result.json",
        "report.html",
        "page.html",
        "policy.txt",
        "utterances.csv",
        ".lock",
        "worker-0.log",
        "folder.json",
    }
    assert {Path(file).name for file in files} - known <= {"jobs.sqlite", "jobs.sqlite-wal", "jobs.sqlite-shm", "folder.json"}
    assert all(file.startswith("data/") for file in files)


def test_scripts_in_names_come_back_as_data_never_as_a_page(client: Client):
    name = "<img src=x onerror=alert(1)>.mp4"
    id = submit_files(client, video=(name, WAV))
    client.wait(id)
    for path in (f"/api/analyses/{id}", "/api/analyses"):
        answer = client.http.get(path)
        assert name in answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("report", "table", "archive"):
        assert "onerror" not in client.http.get(f"/api/analyses/{id}/{path}").headers["content-disposition"]


@pytest.mark.parametrize("id", ["0" * 32, "x", "../../jobs.sqlite", "%2e%2e", "..%2f..%2fjobs.sqlite", "A" * 32, "é"])
def test_unknown_analyses_are_not_found_whatever_they_are_called(client: Client, id: str):
    for path in ("", "/result", "/report", "/video", "/archive"):
        answer = client.http.get(f"/api/analyses/{id}{path}")
        assert answer.status_code == 404
        assert "no such" in answer.json()["error"]
    assert client.http.delete(f"/api/analyses/{id}").status_code == 404
    assert client.http.get(f"/analyses/{id}/report.html").status_code == 404


def test_only_the_report_and_its_video_are_served_from_a_folder(client: Client):
    id = submit_files(client, video=("x.wav", WAV))
    client.wait(id)
    statuses = {
        name: client.http.get(f"/analyses/{id}/{name}").status_code
        for name in ("report.html", "video.wav", "request.json", "result.json", "..%2f..%2fjobs.sqlite")
    }
    assert statuses == {"report.html": 200, "video.wav": 200, "request.json": 404, "result.json": 404, "..%2f..%2fjobs.sqlite": 404}
    assert client.http.get("/static/..%2fserver.py").status_code == 404
    assert client.http.get("/static/index.html").status_code == 404


def test_results_of_unfinished_analyses_are_refused_with_the_state(client: Client):
    running, queued = client.submit("spin on"), client.submit("write well")
    client.wait(running, "running")
    for id, state in ((running, "running"), (queued, "queued")):
        answer = client.http.get(f"/api/analyses/{id}/result")
        assert (answer.status_code, answer.json()["error"]) == (409, f"The analysis is {state}; it has a result only once it is done.")
    assert client.status(queued)["ahead"] == 0
    wait_until(lambda: client.status(running)["stage"] == "Doing spin")
    assert client.http.post(f"/api/analyses/{running}/cancel").status_code == 200
    assert client.http.post(f"/api/analyses/{running}/cancel").status_code == 409


def test_everything_can_be_downloaded(client: Client):
    id = submit_files(client, video=("x.wav", WAV), transcript=("x.srt", SRT))
    client.wait(id)
    answer = client.http.get(f"/api/analyses/{id}/archive")
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    assert sorted(archive.namelist()) == ["report.html", "result.json", "transcript.srt", "utterances.csv", "video.wav"]
    assert archive.read("video.wav") == WAV
    part = client.http.get(f"/api/analyses/{id}/video", headers={"Range": "bytes=8-11"})
    assert (part.status_code, part.content, part.headers["content-type"]) == (206, b"WAVE", "audio/wav")
    assert client.http.get(f"/api/analyses/{client.submit('write on')}/video").status_code == 404


def test_deletion_leaves_no_trace(client: Client, tmp_path: Path):
    secret = "Zanzibar0815"
    text, video = client.submit(f"write {secret}"), submit_files(client, video=(f"{secret}.wav", WAV), transcript=("t.txt", secret.encode()))
    spinning = client.submit(f"start_child {secret}")
    wait_until((client.services.folders.job(spinning) / "child").exists)
    child = int((client.services.folders.job(spinning) / "child").read_text())
    assert any(secret.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for id in (text, video, spinning):
        assert client.http.delete(f"/api/analyses/{id}").status_code == 204
        assert client.http.get(f"/api/analyses/{id}").status_code == 404
        assert not client.services.folders.job(id).exists()
    wait_until(lambda: not is_alive(child))
    assert [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()] == []
    assert client.http.get("/api/analyses").json() == {"analyses": [], "total": 0}


def test_a_full_queue_and_a_hasty_client_are_told_to_wait(settings: Settings):
    with in_process(replace(settings, queue=2)) as client:
        client.wait(client.submit("spin on"), "running")
        client.submit("write a"), client.submit("write b")
        answer = client.http.post("/api/analyses", json={"text": "write c"})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
        assert "2 analyses wait already" in answer.json()["error"]


def test_the_list_comes_in_pages(client: Client):
    ids = [client.submit(f"write {number}") for number in range(3)]
    answer = client.http.get("/api/analyses", params={"offset": 1, "limit": 1}).json()
    assert (answer["total"], [one["id"] for one in answer["analyses"]]) == (3, [ids[1]])
    wrong = client.http.get("/api/analyses", params={"limit": 0})
    assert (wrong.status_code, wrong.json()["error"]) == (422, "limit: Input should be greater than or equal to 1.")


def test_the_openapi_document_describes_every_address_and_every_error(client: Client):
    document = client.http.get("/openapi.json").json()
    routes = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert routes == {
        ("/api/analyses", "post"),
        ("/api/analyses", "get"),
        ("/api/analyses/{id}", "get"),
        ("/api/analyses/{id}", "delete"),
        ("/api/analyses/{id}/result", "get"),
        ("/api/analyses/{id}/report", "get"),
        ("/api/analyses/{id}/table", "get"),
        ("/api/analyses/{id}/video", "get"),
        ("/api/analyses/{id}/archive", "get"),
        ("/api/analyses/{id}/cancel", "post"),
        ("/api/server", "get"),
    }
    submission = document["paths"]["/api/analyses"]["post"]
    assert set(submission["requestBody"]["content"]) == {"multipart/form-data", "application/json"}
    assert {"202", "400", "413", "415", "422", "429", "507"} <= set(submission["responses"])
    assert client.http.get("/docs").status_code == 200


def test_unknown_addresses_and_methods_are_sentences_too(client: Client):
    assert client.http.get("/nothing").json() == {"error": "There is no such page."}
    answer = client.http.put("/api/analyses")
    assert (answer.status_code, answer.json()) == (405, {"error": "This address does not take this method."})


def test_a_fault_of_the_server_is_a_sentence_without_details(client: Client, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(client.services.store, "get", broken)
    answer = client.http.get(f"/api/analyses/{'0' * 32}")
    assert (answer.status_code, answer.json()) == (500, {"error": "The server could not answer, through a fault of its own. Its log says more."})
    assert answer.headers["x-content-type-options"] == "nosniff"
