"""Real analyses through the whole server, with a tiny checkpoint: the same report as `multigrain analyze` makes."""

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_visit import Visit
from made_clip import SUBTITLES, make_clip
from playwright.sync_api import expect
from tiny_checkpoint import save_tiny_checkpoint
from web_server import Client, in_process, on_a_port, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

from multigrain.analysis.analyze import analyze_text
from multigrain.analysis.result import Analysis
from multigrain.video.limits import Limits
from multigrain.web.analysis_job import _analyse
from multigrain.web.settings import ANALYSIS_JOB, Settings
from multigrain.web.worker import run_one

TEXT = "it was so good\nbut the film is <script>alert(1)</script> awful"


WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(64)
LONG = 900.0  # a worker loads torch first, and is nice: where others keep all cores busy it gets a tenth of one
pytestmark = pytest.mark.timeout(1000)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Iterator[Client]:
    """A server for all tests here, so that its worker loads its libraries once."""
    with on_a_port(Settings(data=tmp_path_factory.mktemp("server") / "data", checkpoint=str(checkpoint), workers=1, free_bytes=0)) as client:
        yield client


@pytest.fixture(scope="module")
def analysed_text(real: Client) -> str:
    """The name of its analysis, which has ended."""
    id = real.submit(TEXT)
    real.wait(id, seconds=LONG)
    return id


def test_a_text_gets_the_result_that_the_library_gives(real: Client, analysed_text: str, checkpoint: Path) -> None:
    id, status = analysed_text, real.status(analysed_text)
    assert (status["state"], status["error"]) == ("done", None)
    served = Analysis.from_dict(real.http.get(f"/api/analyses/{id}/result").json())
    direct = analyze_text(TEXT, checkpoint=checkpoint)
    assert served.source == status["title"]
    assert len(served.utterances) == 2
    assert [one.score for one in served.utterances] == pytest.approx([one.score for one in direct.utterances], abs=1e-5)
    assert [[word.word for word in one.words] for one in served.utterances] == [[word.word for word in one.words] for one in direct.utterances]
    table = real.http.get(f"/api/analyses/{id}/table").text.splitlines()
    assert len(table) == 3


def test_the_report_runs_its_own_script_only_and_only_in_this_servers_page(real: Client, analysed_text: str) -> None:
    page = real.http.get(f"/analyses/{analysed_text}/report.html")
    policy = page.headers["content-security-policy"]
    assert "script-src 'sha256-" in policy
    assert "frame-ancestors 'self'" in policy
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text
    assert real.http.get(f"/api/analyses/{analysed_text}/report").headers["content-disposition"].startswith("attachment")


def test_a_checkpoint_that_is_not_there_fails_the_analysis_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("it was good")
    options = {"checkpoint": str(tmp_path / "nothing")}
    (tmp_path / "request.json").write_text(json.dumps({"kind": "text", "title": "it was good", "transcript": None, "options": options}))
    answer = run_one(ANALYSIS_JOB, tmp_path, lambda stage, progress: None)
    assert set(answer) == {"failed"}
    assert "nothing" in str(answer["failed"])
    assert "program" not in str(answer["failed"])


def test_a_broken_video_fails_with_a_sentence_in_the_clients_words(real: Client) -> None:
    answer = real.http.post("/api/analyses", files={"video": ("My holiday.mp4", b"\x00\x00\x00\x18ftypisom" + b"\x00" * 200)})
    status = real.wait(answer.json()["id"], seconds=LONG)
    assert status["state"] == "failed"
    assert "My holiday.mp4" in status["error"]
    assert "program" not in status["error"]
    assert str(real.services.folders.root) not in status["error"]
    assert "video.mp4" not in status["error"]


OTHER = {"duration_seconds": 11.5, "pixels": 20_000, "transcript_bytes": 3333, "utterances": 4}


def test_the_servers_limits_reach_the_analysis(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Limits] = []
    monkeypatch.setattr("multigrain.analysis.analyze.analyze", lambda video, *, limits, **_: heard.append(limits))
    with in_process(replace(settings, **OTHER)) as client:
        id = client.http.post("/api/analyses", files={"video": ("a.wav", WAV)}).json()["id"]
        folder = client.services.folders.job(id)
        request = json.loads((folder / "request.json").read_text())
        _analyse(folder, request, lambda stage, progress: None)
    assert heard == [replace(Limits(), **OTHER)]


def test_a_video_of_more_utterances_than_the_server_takes_is_refused(settings: Settings, clip: Path) -> None:
    with in_process(replace(settings, utterances=1)) as client:
        form = {"video": ("clip.mp4", clip.read_bytes()), "transcript": ("clip.srt", SUBTITLES.encode())}
        folder = client.services.folders.job(client.http.post("/api/analyses", files=form).json()["id"])
        answer = run_one(ANALYSIS_JOB, folder, lambda stage, progress: None)
    assert "utterances; at most 1" in str(answer["failed"])


# A video in a browser -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    (folder / "clip.en.srt").write_text(SUBTITLES)
    return make_clip(folder / "clip.mp4")


@pytest.fixture(scope="module")
def uploaded(browser: "Browser", real: Client, clip: Path) -> str:
    """The name of the clip's analysis, which was uploaded on the page and has ended."""
    page = browser.new_page()
    page.set_default_timeout(1000 * LONG)
    page.goto(str(real.http.base_url))
    page.get_by_label("Video or sound").set_input_files(clip)
    page.get_by_label("What is said in it").set_input_files(clip.with_name("clip.en.srt"))
    page.get_by_role("button", name="Analyse the video").click()
    id = wait_until(lambda: next((job.id for job in real.services.store.newest()[0] if job.title == "clip.mp4"), None), LONG)
    assert real.wait(id, seconds=LONG)["error"] is None
    page.close()
    return id


def test_a_video_is_uploaded_and_its_report_followed_in_a_browser(browser: "Browser", real: Client, uploaded: str, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(1000 * LONG)
    visit = Visit(page, str(real.http.base_url))
    page.goto(visit.address)
    visit.row("clip.mp4").get_by_role("link", name="Open").click()
    report = page.frame_locator("#frame")
    bars = report.locator("#timeline button")
    bars.first.wait_for()
    expect(bars).to_have_count(2)
    media = report.locator("#media")
    wait_until(lambda: media.evaluate("video => video.readyState >= 1 && video.videoWidth") == 160, LONG)
    bars.nth(1).click(position={"x": 2, "y": 10})
    wait_until(lambda: 2.0 <= media.evaluate("video => video.seeking ? 0 : video.currentTime") <= 2.6, LONG)
    report.get_by_text("Utterance 2 of 2").wait_for()
    report.get_by_role("img", name="words to the voice").first.wait_for()
    report.locator(".transcript li button").first.click()
    wait_until(lambda: 0.1 <= media.evaluate("video => video.seeking ? 0 : video.currentTime") <= 0.5, LONG)
    expect(report.locator(".transcript li").first).to_contain_text("It was so good")
    expect(report.locator(".transcript script, #evidence script")).to_have_count(0)
    page.screenshot(path=tmp_path / "report.png")
    page.close()
    assert visit.faults == []


def test_the_archive_s_report_plays_the_video_that_lies_beside_it(real: Client, uploaded: str, tmp_path: Path, browser: "Browser") -> None:
    archive = zipfile.ZipFile(io.BytesIO(real.http.get(f"/api/analyses/{uploaded}/archive").content))
    archive.extractall(tmp_path)
    assert sorted(archive.namelist()) == ["report.html", "result.json", "transcript.srt", "utterances.csv", "video.mp4"]
    page = browser.new_page()
    page.set_default_timeout(1000 * LONG)
    page.goto((tmp_path / "report.html").as_uri())
    wait_until(lambda: page.locator("#media").evaluate("video => video.videoWidth === 160"), LONG)
    page.close()


def test_a_video_that_browsers_do_not_play_gets_a_copy_that_they_do(real: Client, tmp_path: Path, browser: "Browser") -> None:
    video = make_clip(tmp_path / "clip.mkv", seconds=1.0).read_bytes()
    id = real.http.post("/api/analyses", files={"video": ("clip.mkv", video)}, data={"text": "so good"}).json()["id"]
    assert real.wait(id, seconds=LONG)["error"] is None
    page = browser.new_page()
    page.set_default_timeout(1000 * LONG)
    page.goto(f"{real.http.base_url}/analyses/{id}/report.html")
    expect(page.locator("#media")).to_have_attribute("src", "playable.mp4")
    wait_until(lambda: page.locator("#media").evaluate("video => video.videoWidth === 160"), LONG)
    page.close()
    assert real.http.get(f"/api/analyses/{id}/video").content == video
