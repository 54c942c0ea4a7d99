"""The demonstration at a size that takes seconds; `make demo` itself runs the same code at full size."""

import base64
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from headless_browser import BROWSER_MILLISECONDS
from multigrain.cli import main
from multigrain.data.planted import PlantedConfig
from multigrain.demo import RECIPES, TALKING_CLIP, TalkingDemo, analyse_talking_clip, run_demo
from multigrain.errors import RecipeError
from multigrain.evaluation.compare import compare
from multigrain.evaluation.tables import to_json
from multigrain.training.recipe_file import list_recipes

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ONE_THREAD = ["training.num_threads=1"]  # what a comparison with several workers asks for
SMALL = PlantedConfig(train_size=24, valid_size=16, test_size=24)


def recipe(folder: Path, name: str, settings: str) -> str:
    path = folder / f"{name}.yaml"
    training = "{epochs: 2, batch_utterances: 12, accelerator: cpu}"
    path.write_text(f"name: {name}\ndata: {{store: nowhere.store}}\nmodel: {{name: {name}, {settings}}}\ntraining: {training}\n")
    return str(path)


def test_the_demonstrations_recipes_are_there() -> None:
    assert set(RECIPES) <= set(list_recipes())


def test_demonstration_trains_compares_and_reports(tmp_path: Path) -> None:
    recipes = [recipe(tmp_path, "mult", "width: 4, num_heads: 2, num_layers: 1, targets: [text]"), recipe(tmp_path, "lf_lstm", "width: 4")]
    lines: list[str] = []
    result = run_demo(tmp_path / "demo", recipes=recipes, config=SMALL, workers=1, overrides=ONE_THREAD, progress=lines.append)
    assert result.report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [row.name for row in result.comparison.rows] == ["mult", "lf_lstm"]
    assert result.comparison.oracle is not None
    assert result.comparison.failures == ()
    assert sum("mult seed 0: epoch" in line for line in lines) == 2
    assert lines[0].startswith("[1/4] Making the planted data set (64 utterances")

    again: list[str] = []
    second = run_demo(tmp_path / "demo", recipes=recipes, config=SMALL, workers=1, overrides=ONE_THREAD, progress=again.append)
    assert to_json(second.comparison) == to_json(result.comparison)
    assert sum("already trained, reused" in line for line in again) == 2

    with pytest.raises(RecipeError, match=r"its training\.epochs is 2, not 3.*Add --overwrite"):
        run_demo(tmp_path / "demo", recipes=recipes, config=SMALL, workers=1, overrides=[*ONE_THREAD, "training.epochs=3"])

    blocked = tmp_path / "demo" / "runs" / "mult" / "seed-1"
    blocked.mkdir()
    (blocked / "thesis.txt").write_text("not a run")
    overrides = [f"data.store={result.store}", *ONE_THREAD]
    kept = compare(recipes[:1], seeds=[0, 1], runs_root=tmp_path / "demo" / "runs", workers=2, overrides=overrides)
    assert [(failure.name, failure.seed) for failure in kept.failures] == [("mult", 1)]
    assert "is not a run folder" in kept.failures[0].reason
    assert kept.row("mult").seeds == (0,)


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> TalkingDemo:
    pytest.importorskip("mediapipe", reason="needs mediapipe, which has no build for this Python")
    return analyse_talking_clip(tmp_path_factory.mktemp("talking") / "demo")


def test_the_talking_clip_has_a_face_and_speech(talking: TalkingDemo) -> None:
    """By the real detectors, in each of its four utterances; the pauses between them are none."""
    utterances = talking.analysis.utterances
    assert len(utterances) == 4
    assert all(one.face_share is not None and one.face_share > 0.9 for one in utterances)
    assert all(one.voice_share is not None and one.voice_share > 0.9 for one in utterances)
    assert all({part.modality for part in one.modalities} == {"text", "audio", "vision"} and not one.absent for one in utterances)
    assert all(word.start_seconds is not None for one in utterances for word in one.words)
    assert talking.analysis.notes == ()
    assert TALKING_CLIP.stat().st_size < 1_000_000


def test_the_talking_clip_is_judged_as_it_is_meant(talking: TalkingDemo) -> None:
    _, praise, blame, _ = talking.analysis.utterances
    assert praise.score > 1.0
    assert blame.score < -1.0
    smile, frown = ({part.modality: part.value for part in one.modalities}["vision"] for one in (praise, blame))
    assert smile > 0.2 > 0.0 > frown


def test_the_talking_clips_report_holds_the_clip(talking: TalkingDemo) -> None:
    assert talking.report.name == "talking.html"
    page = talking.report.read_text(encoding="utf-8")
    assert base64.b64encode(TALKING_CLIP.read_bytes()).decode() in page
    assert "wonderful," in page


def test_the_talking_clips_report_in_a_browser(talking: TalkingDemo, browser: "Browser") -> None:
    from playwright.sync_api import expect

    with browser.new_page(viewport={"width": 390, "height": 800}) as page:
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.set_default_timeout(BROWSER_MILLISECONDS)
        page.goto(talking.report.as_uri())
        page.wait_for_function("document.documentElement.scrollWidth <= 390")
        expect(page.locator("#ticks span")).to_have_text(["0:00", "0:05", "0:10"])
        edges = []
        for index, one in enumerate(talking.analysis.utterances):
            page.locator("#timeline button").nth(index).click()
            expect(page.locator("#which")).to_have_text(re.compile(rf"^Utterance {index + 1} of 4"))
            expect(page.locator(".said")).to_have_count(len(one.words))
            lane, words = page.locator(".lane:has(.said)").bounding_box(), page.locator(".said").all()
            boxes = [word.bounding_box() for word in words]
            assert all(box["x"] >= lane["x"] - 1 and box["x"] + box["width"] <= lane["x"] + lane["width"] + 1 for box in boxes)
            expect(page.locator("#evidence")).not_to_contain_text("\u22120.00")
            curve, usual = (page.locator(f'svg[aria-label^="corners of the mouth"] {part}').bounding_box() for part in ("path", ".usual"))
            edges.append((curve["y"] - usual["y"], curve["y"] + curve["height"] - usual["y"]))
        assert edges[1][1] < 0.0 < edges[2][0]  # the smile lies above the speaker's usual face throughout, the frown below it
        assert faults == []


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demonstration's training is done, so that only its end is run."""
    monkeypatch.setattr("multigrain.demo.run_demo", lambda out, workers, progress: SimpleNamespace(comparison=None, report=out / "report.html"))
    monkeypatch.setattr("multigrain.cli.evaluate.print_comparison", lambda comparison: None)


@pytest.mark.usefixtures("trained")
def test_the_demonstration_prints_the_clips_table(
    talking: TalkingDemo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("multigrain.demo.analyse_talking_clip", lambda out, progress: talking)
    assert main(["demo", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "wonderful,[+" in printed
    assert printed.rstrip().replace("\n", "").endswith(str(talking.report))


@pytest.mark.usefixtures("trained")
def test_the_demonstration_says_why_the_clip_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("multigrain.demo.TALKING_CLIP", tmp_path / "gone.mp4")
    assert main(["demo", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "The report with all pictures" in printed.out
    assert "The talking clip was left out: There is no" in printed.err


def test_recipes_on_different_stores_are_refused(tmp_path: Path) -> None:
    from multigrain.data.planted import write_planted_store

    sources = []
    for seed, name in enumerate(("mult", "lf_lstm")):
        store = write_planted_store(tmp_path / f"{name}.store", PlantedConfig(train_size=2, valid_size=2, test_size=2, seed=seed))
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"data: {{store: {store}}}\nmodel: {{name: {name}}}\n")
        sources.append(str(path))
    with pytest.raises(RecipeError, match=r"The recipes train on different data: mult on .*A comparison needs one store"):
        compare(sources, runs_root=tmp_path / "runs")


def test_unknown_reference_and_twice_the_same_recipe(tmp_path: Path) -> None:
    from multigrain.data.planted import write_planted_store

    store = write_planted_store(tmp_path / "p.store", PlantedConfig(train_size=2, valid_size=2, test_size=2))
    source = recipe(tmp_path, "lf_lstm", "width: 4")
    with pytest.raises(RecipeError, match=r"The reference 'lf_lstn' is none of the recipes compared\. Did you mean 'lf_lstm'"):
        compare([source], reference="lf_lstn", overrides=[f"data.store={store}"], runs_root=tmp_path / "runs")
    with pytest.raises(RecipeError, match="Two of the recipes compared are called 'lf_lstm'"):
        compare([source, source], overrides=[f"data.store={store}"], runs_root=tmp_path / "runs")
    with pytest.raises(RecipeError, match="at least one recipe, one seed and one worker"):
        compare([source], seeds=0, overrides=[f"data.store={store}"], runs_root=tmp_path / "runs")
