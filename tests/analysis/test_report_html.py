"""The page: nothing of a user's becomes markup or script, it needs no network, and a real browser draws it."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_result import FACTS

from multigrain.analysis.report_html import clock, render_page, signed, write_page
from multigrain.analysis.result import (
    Analysis,
    AttentionMap,
    Interval,
    Link,
    ModalityContribution,
    Moment,
    Span,
    Strip,
    UtteranceAnalysis,
    WordContribution,
)
from multigrain.errors import DataError
from multigrain.schema import Task

HOSTILE = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">&amp;\u2028"


def span(modality: str, place: int, start: float | None) -> Span:
    times = {} if start is None else {"start_seconds": start + place, "end_seconds": start + place + 1.0}
    return Span(modality=modality, start_step=10 * place, end_step=10 * place + 10, **times)


def utterance(
    number: int, *, is_timed: bool = True, has_attention: bool = True, modalities: tuple[str, ...] = ("text", "audio", "vision")
) -> UtteranceAnalysis:
    start = 4.0 * number if is_timed else None
    sources = [name for name in modalities if name != "text"]
    words = tuple(
        WordContribution(
            word=word,
            contribution=value,
            start_seconds=None if start is None else start + place,
            end_seconds=None if start is None else start + place + 0.8,
        )
        for place, (word, value) in enumerate((("not", -1.25), (HOSTILE, 0.5), ("unread", None)))
    )
    return UtteranceAnalysis(
        id=f"u{number}",
        scores=(-0.75 + number,),
        start_seconds=start,
        end_seconds=None if start is None else start + 3.5,
        text=HOSTILE,
        interval=Interval(low=-1.5, high=0.25, coverage=0.9),
        baseline=0.1,
        modalities=tuple(ModalityContribution(modality=name, value=-0.2, alone=0.3, without=0.4) for name in modalities),
        subset_scores={"none": 0.1},
        absent={name: "no face was found" for name in ("vision",) if name not in modalities},
        words=words if "text" in modalities else (),
        moments=tuple(Moment(span=span(name, place, start), contribution=0.3 - place) for name in sources for place in range(3)),
        links=(Link(word=0, span=span(sources[0], 1, start), effect=0.66, attention=0.4, method="attention"),) if has_attention and sources else (),
        attention=tuple(
            AttentionMap(
                modality=name,
                spans=tuple(span(name, place, start) for place in range(3)),
                weights=((0.1, 0.5, 0.4), (0.2, 0.2, 0.6), (0.0, 0.0, 0.0)),
            )
            for name in sources
            if has_attention
        ),
        strips=tuple(
            Strip(modality=name, name="course", unit="units", times_seconds=(start, start + 0.1, start + 0.2), values=(0.5, None, 1.5))
            for name in sources
            if start is not None
        ),
    )


def analysis(*utterances: UtteranceAnalysis, **changes: object) -> Analysis:
    facts = replace(FACTS, name=HOSTILE, card=HOSTILE, features={"text": HOSTILE}, has_attention=any(one.attention for one in utterances))
    found = Analysis(source=HOSTILE, kind="video", task=Task(), checkpoint=facts, utterances=utterances, notes=(HOSTILE,), word_method=HOSTILE)
    return replace(found, **changes)


CASES = {
    "timed": analysis(utterance(0), utterance(1), duration_seconds=9.0),
    "without times": analysis(utterance(0, is_timed=False)),
    "without attention": analysis(utterance(0, has_attention=False)),
    "text alone": analysis(utterance(0, modalities=("text",))),
    "voice and face alone": analysis(utterance(0, has_attention=False, modalities=("audio", "vision"))),
    "nothing": analysis(utterance(0, modalities=())),
    "emotions": analysis(replace(utterance(0), scores=(0.25, 0.75), explained=1), task=Task(kind="emotions", emotions=("happy", HOSTILE))),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_nothing_of_a_users_is_markup_or_script(case: str) -> None:
    page = render_page(CASES[case])
    assert "<img" not in page
    assert page.count("<script") == 2
    assert "document.title=" not in re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL).replace(
        html.escape(HOSTILE), ""
    )
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert data is not None
    words = [word[0] for one in json.loads(data[1])["utterances"] for word in one["words"]]
    assert words == [word.word for one in CASES[case].utterances for word in one.words]


def test_the_policy_lets_only_the_pages_own_script_run() -> None:
    page = render_page(CASES["timed"])
    script = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)[-1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    found = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])
    assert found.startswith("default-src 'none'; script-src 'sha256-" + digest)
    assert not re.search(r"(src|href)=.?https?:", page)
    assert "@import" not in page


def test_the_video_is_embedded_linked_or_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my videos"
    folder.mkdir()
    video = folder / "a #1?.mp4"
    video.write_bytes(b"film")
    place = tmp_path / "out" / "report.html"
    monkeypatch.setitem(sys.modules, "av", None)  # the files hold no video: only their endings are looked at
    for media, expected in (
        ("embed", 'src="data:video/mp4;base64,ZmlsbQ=="'),
        ("auto", 'src="data:video/mp4;base64,'),
        ("link", 'src="../my%20videos/a%20%231%3F.mp4"'),
    ):
        page = write_page(place, CASES["timed"], video=video, media=media).read_text(encoding="utf-8")
        assert expected in page
        assert '<video id="media"' in page
    assert 'id="media"' not in write_page(place, CASES["timed"], video=video, media="none").read_text(encoding="utf-8")
    assert 'id="media"' not in write_page(place, CASES["timed"]).read_text(encoding="utf-8")
    sound = folder / "a.wav"
    sound.write_bytes(b"sound")
    assert "<audio" in write_page(place, CASES["timed"], video=sound).read_text(encoding="utf-8")
    with pytest.raises(DataError, match="cannot be written"):
        write_page(tmp_path, CASES["timed"])


def test_without_a_decoder_a_file_that_browsers_do_not_play_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mpg").write_bytes(b"old")
    page = write_page(tmp_path / "page.html", CASES["timed"], video=tmp_path / "a.mpg")
    assert 'id="media"' not in page.read_text(encoding="utf-8")


def test_numbers_as_they_are_shown() -> None:
    assert [signed(value) for value in (0.456, -0.456, 0.0, -0.001)] == ["+0.46", "−0.46", "+0.00", "+0.00"]
    assert [clock(seconds) for seconds in (0.0, 59.96, 61.25, 3600.0)] == ["0:00.0", "1:00.0", "1:01.2", "60:00.0"]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser chromium")
@pytest.mark.parametrize("case", sorted(CASES))
def test_a_browser_draws_it(case: str, tmp_path: Path) -> None:
    page = write_page(tmp_path / "page.html", CASES[case])
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", "--dump-dom"]
    done = subprocess.run(["chromium", *flags, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    drawn = re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)
    first = CASES[case].utterances[0]
    assert "<title>broken" not in drawn
    assert re.search(r'id="which"[^>]*>Utterance 1 of', drawn)
    assert drawn.count('class="swatch') == 2
    assert len(re.findall(r"<button[^>]*data-index=", drawn)) == len(CASES[case].utterances)
    assert "What each modality did" in drawn
    assert len(re.findall(r'aria-label="Attention of 3 words', drawn)) == len(first.attention)
    assert ("by how much the word" in drawn.lower()) == bool(first.links)
    assert ("Neither voice nor face had a part" in drawn) == (not first.moments)
    if first.attention:
        assert drawn.count("<rect") == sum(len(entry.spans) * len(entry.weights) for entry in first.attention) + 1


def test_there_is_no_score_where_there_is_nothing() -> None:
    found = CASES["timed"]
    bare = replace(found.utterances[0], modalities=(), words=(), moments=(), links=(), attention=(), strips=())
    assert "There is no score: nothing was found that the model reads." in render_page(replace(found, utterances=(bare,)))
    page = render_page(replace(found, utterances=(bare, *found.utterances[1:])))
    assert "<b>none</b>" in page
    assert f" of {len(found.utterances)} utterances" in page
