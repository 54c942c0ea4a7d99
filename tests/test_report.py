import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "evaluation"))
from small_runs import shift_scores, write_run, write_store

from multigrain.data.store import Store
from multigrain.evaluation.comparison import Comparison, summarise
from multigrain.evaluation.evaluate import read_run
from multigrain.evaluation.training_pool import FailedRun
from multigrain.report import write_report

HOSTILE = "<script>alert('x')</script>&"
VOID = {"meta", "link", "br", "img", "use", "path", "image", "rect"}


class Page(HTMLParser):
    """Collects what a browser would see, and whether every element is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("report")
    store = Store.open(write_store(folder / "planted.store"))
    runs = {name: read_run(write_run(folder / model, model, store)) for name, model in ((HOSTILE, "mcmut"), ("mult", "mult"), ("lf_lstm", "lf_lstm"))}
    shift_scores(folder / "mcmut", 0.3)
    failure = FailedRun("mult", 1, "no <b>memory</b>")
    return summarise({name: [run] for name, run in runs.items()}, store=store.path, reference="lf_lstm", failures=[failure])


@pytest.fixture(scope="module")
def text(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = write_report(tmp_path_factory.mktemp("out") / "new" / "report.html", comparison, command="multigrain demo --out '<here>'")
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]
    assert path.stat().st_size < 2_000_000
    return path.read_text(encoding="utf-8")


def test_report_is_one_well_formed_page_without_scripts(text: str) -> None:
    page = Page(text)
    assert page.open == []
    tags = [tag for tag, _ in page.tags]
    assert "script" not in tags
    assert tags.count("h1") == 1
    assert tags.count("main") == 1


def test_report_needs_no_network(text: str) -> None:
    fetched = [
        value for tag, attributes in Page(text).tags for name, value in attributes.items() if name in ("src", "href", "xlink:href", "data") and value
    ]
    assert all(value.startswith(("#", "data:")) for value in fetched)
    assert "@import" not in text
    assert set(re.findall(r"url\(([^)]{1,5})", text)) <= {u for u in re.findall(r"url\(([^)]{1,5})", text) if u.startswith("#")}


def test_what_users_name_is_escaped(text: str) -> None:
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&amp;" in text
    assert "no &lt;b&gt;memory&lt;/b&gt;" in text
    assert "multigrain demo --out &#x27;&lt;here&gt;&#x27;" in text


def test_every_picture_has_words_and_a_caption(text: str) -> None:
    pictures = [attributes for tag, attributes in Page(text).tags if tag == "svg"]
    assert len(pictures) == 3
    assert all(attributes["role"] == "img" and len(attributes["aria-label"] or "") > 40 for attributes in pictures)
    assert text.count("<figcaption>") == 3


def test_report_follows_light_and_dark(text: str) -> None:
    assert "prefers-color-scheme: dark" in text
    assert "#0a0b0c" not in text
    assert text.count("currentColor") > 20


def test_report_says_what_was_done_and_found(text: str, comparison: Comparison) -> None:
    for heading in ("Results", "Learning curves", "Predicted against actual", "Crossmodal attention of one utterance", "How this was made"):
        assert f"<h2>{heading}</h2>" in text
    assert "oracle (best possible)" in text
    assert "Share of a polar word" in text
    assert comparison.store_fingerprint[:16] in text
    assert f"{comparison.rows[0].intervals['mae'].mean:.3f}" in text


def test_words_of_the_example_are_shown(text: str) -> None:
    assert "words ask audio" in text
    assert "words ask vision" in text
    assert re.search(r">(good|bad)·k\d<", text)
