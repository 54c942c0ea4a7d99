"""The page in a real browser: headless Chromium, driven by Playwright."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_visit import WAV, Visit
from playwright.sync_api import expect
from web_server import listening, wait_until

from headless_browser import BROWSER_MILLISECONDS
from multigrain.web.server import create_app
from multigrain.web.services import Services
from multigrain.web.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Services]]:
    """One server for all tests here; each looks only at what it submitted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]))
        settings = Settings(data=tmp_path_factory.mktemp("page") / "data", job="jobs_for_tests:run", workers=1, free_bytes=0)
        with listening(app := create_app(settings)) as (host, port):
            yield f"http://{host}:{port}", app.state.services


@pytest.fixture
def services(server: tuple[str, Services]) -> Services:
    return server[1]


@pytest.fixture
def visit(browser: "Browser", server: tuple[str, Services]) -> Iterator[Visit]:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(BROWSER_MILLISECONDS)
    made = Visit(page, server[0])
    page.goto(made.address)
    yield made
    context.close()
    assert made.faults == []


def test_a_text_is_submitted_opened_and_deleted(visit: Visit, services: Services) -> None:
    row = visit.submit_text("write all is well")
    row.get_by_text("Done").wait_for()
    row.get_by_role("link", name="Open").click()
    expect(visit.page.frame_locator("#frame").locator("title")).to_have_js_property("text", "page.html")
    expect(visit.page.get_by_role("heading", name="write all is well")).to_be_visible()
    with visit.page.expect_download() as download:
        visit.page.get_by_role("link", name="Save everything as ZIP").click()
    assert download.value.suggested_filename.endswith(".zip")
    visit.page.get_by_role("link", name="All analyses").click()
    row.get_by_role("button", name="Delete").click()
    visit.page.get_by_role("button", name="Keep it").click()
    expect(visit.page.get_by_role("dialog")).to_be_hidden()
    expect(row).to_be_visible()
    row.get_by_role("button", name="Delete").click()
    visit.page.get_by_role("button", name="Delete it for good").click()
    row.wait_for(state="detached")
    wait_until(lambda: not [job for job in services.store.newest()[0] if job.title == "write all is well"])


def test_progress_is_shown_and_a_running_analysis_is_cancelled(visit: Visit) -> None:
    row = visit.submit_text("spin on")
    row.get_by_text("Doing spin").wait_for()
    expect(row.get_by_role("progressbar")).to_have_js_property("value", 0.5)
    waiting = visit.submit_text("write later")
    waiting.get_by_text("Waiting, next").wait_for()
    row.get_by_role("button", name="Cancel").click()
    row.get_by_text("Cancelled").wait_for()
    waiting.get_by_text("Done").wait_for()


def test_errors_are_sentences(visit: Visit) -> None:
    alert = visit.page.get_by_role("alert")
    visit.page.get_by_role("button", name="Analyse the video").click()
    expect(alert.get_by_text("Choose a video first")).to_be_visible()
    visit.submit_file("notes.mp4", b"these are only words")
    alert.get_by_text("notes.mp4 is, by its content, no video or sound that multigrain reads").wait_for()
    visit.page.get_by_role("button", name="Dismiss").click()
    expect(alert).to_be_hidden()
    row = visit.submit_text("fail This video")
    row.get_by_text("This video is no good. Take another.").wait_for()
    visit.faults.clear()  # the browser reports the answer 415 in its console


def test_names_and_texts_with_scripts_are_only_shown(visit: Visit) -> None:
    name = '<img src=x onerror="alert(1)"><b>.mp4'
    visit.submit_file(name)
    visit.row(name).get_by_text("Done").wait_for()
    text = "write <script>alert(2)<x>"
    visit.submit_text(text).get_by_text("Done").wait_for()
    expect(visit.page.locator("#jobs img, #jobs script, #jobs b")).to_have_count(0)
    visit.row(name).get_by_role("link", name="Open").click()
    visit.page.get_by_role("heading", name=name, exact=True).wait_for()


def test_dropped_files_are_taken_a_transcript_with_its_video(visit: Visit, services: Services) -> None:
    visit.page.evaluate(
        """bytes => {
            const files = new DataTransfer();
            const video = new Uint8Array(bytes);
            for (const [name, content] of [["a.mp4", video], ["a.en.srt", "00:00:00,000 --> 00:00:01,000"], ["b.mp4", video]]) {
                files.items.add(new File([content], name));
            }
            document.dispatchEvent(new DragEvent("drop", { dataTransfer: files, cancelable: true }));
        }""",
        list(WAV),
    )
    for name in ("a.mp4", "b.mp4"):
        expect(visit.row(name).get_by_text("Done")).to_be_visible()
    jobs = [job for job in services.store.newest()[0] if job.title in ("a.mp4", "b.mp4")]
    transcripts = {job.title: (services.folders.job(job.id) / "transcript.srt").exists() for job in jobs}
    assert transcripts == {"a.mp4": True, "b.mp4": False}


def test_the_whole_page_works_by_keyboard(visit: Visit) -> None:
    keyboard, names = visit.page.keyboard, []
    for _ in range(9):
        keyboard.press("Tab")
        names.append(visit.page.evaluate("() => document.activeElement.innerText || document.activeElement.id"))
    assert names == ["Skip to the content", "multigrain", "API", "video", "transcript", "Analyse the video", "text", "Analyse the text", names[-1]]
    visit.page.get_by_label("The words, one utterance a line").focus()
    keyboard.type("write by hand")
    keyboard.press("Tab")
    keyboard.press("Enter")
    row = visit.row("write by hand")
    expect(row.get_by_text("Done")).to_be_visible()
    expect(row.get_by_role("link", name="Open")).to_be_visible()
    keyboard.press("Tab")
    keyboard.press("Enter")
    visit.page.get_by_role("heading", name="write by hand").wait_for()


def test_the_page_asks_for_the_token(browser: "Browser", settings: Settings) -> None:
    with listening(create_app(replace(settings, token="a-token-of-the-test"))) as (host, port):
        page = browser.new_page()
        page.set_default_timeout(BROWSER_MILLISECONDS)
        page.goto(f"http://{host}:{port}/")
        for token, is_right in (("wrong", False), ("a-token-of-the-test", True)):
            page.get_by_label("The server's token").fill(token)
            page.get_by_role("button", name="Log in").click()
            if not is_right:
                expect(page.get_by_role("alert").get_by_text("not this server's token")).to_be_visible()
        expect(page.get_by_text("None yet.")).to_be_visible()
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("The server's token")).to_be_visible()
        page.goto(f"http://{host}:{port}/#{'0' * 32}")
        page.get_by_label("The server's token").wait_for()
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_runs_out_of_a_narrow_window_and_words_stand_out(browser: "Browser", server: tuple[str, Services], scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": 360, "height": 740})
    visit = Visit(context.new_page(), server[0])
    visit.page.set_default_timeout(BROWSER_MILLISECONDS)
    visit.page.goto(visit.address)
    visit.submit_file("a_name_without_any_space_that_is_far_longer_than_the_window_is_wide_and_goes_on.mp4")
    visit.page.locator(".job.is-done").first.wait_for()
    visit.page.wait_for_function("document.documentElement.scrollWidth <= window.innerWidth")
    for selector in (".lead", ".hint", ".job-facts", ".job-name", "button.primary", ".job .button"):
        assert visit.page.locator(selector).first.evaluate(CONTRAST) >= 4.5, selector
    context.close()


CONTRAST = """element => {
    const luminance = (colour) => {
        const shares = colour.match(/[0-9.]+/g).slice(0, 3).map((part) => part / 255);
        const parts = shares.map((share) => (share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4));
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    let behind = element;
    while (behind && /rgba\\(0, 0, 0, 0\\)/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
    const [one, other] = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor].map(luminance);
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}"""


def test_a_server_that_went_away_is_said_and_a_new_one_is_found(browser: "Browser", settings: Settings) -> None:
    page = browser.new_page()
    page.set_default_timeout(BROWSER_MILLISECONDS)
    with listening(create_app(settings)) as (host, port):
        page.goto(f"http://{host}:{port}")
        page.get_by_text("None yet.").wait_for()
    page.get_by_label("The words, one utterance a line").fill("write on")
    page.get_by_role("button", name="Analyse the text").click()
    page.get_by_role("alert").get_by_text("The server does not answer.").wait_for()
    expect(page.get_by_label("The words, one utterance a line")).to_have_value("write on")
    page.close()


def test_nothing_is_asked_of_any_other_machine(visit: Visit) -> None:
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(request.url))
    visit.page.goto(visit.address)
    visit.submit_text("write on").get_by_text("Done").wait_for()
    visit.page.goto(f"{visit.address}/docs")
    visit.page.locator(".endpoint").first.wait_for()
    wait_until(lambda: asked)
    assert [address for address in asked if not address.startswith(visit.address)] == []
