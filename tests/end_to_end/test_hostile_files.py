"""Files that mean harm, on the command line and in a job of the server: a sentence for each, and never a hang.

`benchmarks/hostile.py` does the same with a gigabyte that is really there, a running server, and clients that mean harm.
"""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "web"))
from tiny_checkpoint import save_tiny_checkpoint

from hostile_files import Case, write_cases
from multigrain.cli import main
from multigrain.data.store import Store
from multigrain.video.limits import Limits
from multigrain.web.settings import ANALYSIS_JOB
from multigrain.web.worker import run_one

CASES = (
    *("cut.mp4", "cut.mkv", "zero.mp4", "text.mp4", "list.mp4", "huge.avi", "later.avi", "hours.mp4"),
    *("gigabyte.srt", "line.srt", "tags.srt", "lines.srt", "many.srt", "scripts.srt"),
)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """By the name of the file that means harm."""
    found = write_cases(tmp_path_factory.mktemp("hostile"), share=0.1)
    return {(case.transcript or case.video).name: case for case in found}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def test_all_cases_are_here(cases: dict[str, Case]) -> None:
    assert sorted(cases) == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
def test_analyze(name: str, cases: dict[str, Case], checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case, report = cases[name], tmp_path / "report.html"
    given = ["--transcript", str(case.transcript)] if case.transcript else []
    code = main(["analyze", str(case.video), *given, "--checkpoint", str(checkpoint), "--report", str(report)])
    printed = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in printed
    assert (code, report.exists()) == ((0, True) if case.is_usable else (2, False))
    assert case.words in printed
    if name == "later.avi":
        assert "the report is written without the video" in printed
    if case.is_usable:
        page = report.read_text(encoding="utf-8")
        assert "<script>alert" not in page
        assert "<img src=x" not in page


def test_extract_does_the_others(cases: dict[str, Case], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = [case for case in cases.values() if case.transcript is None]
    code = main(["extract", *(str(case.video) for case in alone), "--out", str(tmp_path / "all.store"), "--workers", "1", "--no-faces"])
    printed = " ".join(capsys.readouterr().err.split())
    assert code == 1
    broken = [case for case in alone if not case.is_usable]
    assert printed.count("FAILED") == len(broken)
    assert all(case.words in printed for case in broken)
    groups = {str(record["group"]) for record in Store.open(tmp_path / "all.store").split("test").records}
    assert groups == {case.video.stem for case in alone if case.is_usable}


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("zero.mp4", "text.mp4", "list.mp4", "gigabyte.srt")])
def test_a_job_of_the_server(name: str, cases: dict[str, Case], checkpoint: Path, make_job: Callable[[Case], Path]) -> None:
    """Those that are left out are refused while they are uploaded (tests/web/test_uploads.py)."""
    case = cases[name]
    folder = make_job(replace(case, client_name="Mine.mp4"))
    answer = run_one(ANALYSIS_JOB, folder, lambda stage, progress: None)
    if case.is_usable:
        assert answer == {"done": True}
        page = (folder / "page.html").read_text(encoding="utf-8")
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    else:
        assert case.words in str(answer["failed"])
        assert str(folder) not in str(answer["failed"])


@pytest.fixture
def make_job(tmp_path: Path, checkpoint: Path) -> Callable[[Case], Path]:
    """A function that makes a job's folder, as the server does."""

    def make(case: Case) -> Path:
        shutil.copy(case.video, tmp_path / f"video{case.video.suffix}")
        if case.transcript is not None:
            shutil.copy(case.transcript, tmp_path / f"transcript{case.transcript.suffix}")
        limits = Limits()
        options = {"checkpoint": str(checkpoint), "recognizer": "none", "pixels": limits.pixels}
        options |= {"duration_seconds": limits.duration_seconds, "transcript_bytes": limits.transcript_bytes}
        request = {"kind": "video", "title": case.client_name, "transcript": "mine.srt" if case.transcript else None, "options": options}
        (tmp_path / "request.json").write_text(json.dumps(request), encoding="utf-8")
        return tmp_path

    return make
