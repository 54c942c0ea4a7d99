"""What a worker does with a job's folder: the analysis, as the command line makes it."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multigrain.errors import MultigrainError
from multigrain.web.folders import COPY, PAGE, POLICY, REPORT, REQUEST, RESULT, TABLE, find
from multigrain.web.worker import Report

if TYPE_CHECKING:
    from multigrain.analysis.result import Analysis

logger = logging.getLogger(__name__)


def prepare() -> None:
    """Loads the libraries, which takes seconds."""
    import multigrain.analysis.analyze
    import multigrain.analysis.report_html
    import multigrain.analysis.tables  # noqa: F401


def run(folder: Path, report: Report) -> None:
    """Analyses what was submitted, and writes the result, the report and the table into the folder.

    Args:
        folder: of the job.
        report: is told how far it is.

    Raises:
        MultigrainError: the submission cannot be analysed; the message says why, in the names that the client knows.
    """
    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    report("Loading the model", 0.0)
    try:
        analysis = replace(_analyse(folder, request, report), source=request["title"])
    except MultigrainError as error:
        raise type(error)(_in_the_clients_words(str(error), folder, request)) from error
    report("Writing the report", 0.0)
    _write(folder, analysis)


def _analyse(folder: Path, request: dict[str, Any], report: Report) -> "Analysis":
    from multigrain.analysis.analyze import analyze, analyze_text

    options = request["options"]

    def tell(stage: str, share: float) -> None:
        report(stage[:1].upper() + stage[1:], share)

    if request["kind"] == "text":
        return analyze_text((folder / "text.txt").read_text(encoding="utf-8"), checkpoint=options["checkpoint"], progress=tell)
    from multigrain.video.limits import Limits

    names = ("duration_seconds", "pixels", "transcript_bytes", "utterances")
    limits = replace(Limits(), **{name: options[name] for name in names if name in options})  # a job may be of an older version's server
    video = find(folder, "video")
    assert video is not None  # an upload without it is not accepted
    return analyze(
        video,
        transcript=find(folder, "transcript"),
        checkpoint=options["checkpoint"],
        recognizer=options["recognizer"],
        progress=tell,
        limits=limits,
    )


def _write(folder: Path, analysis: "Analysis") -> None:
    """The result last: a folder that has it has everything."""
    from importlib.resources import files

    from multigrain.analysis.report_html import policy, write_page
    from multigrain.analysis.tables import write_csv

    video = _playable(folder)
    # In the browser the video is fetched in parts as it is played; the report that is taken away holds it, up to a size.
    write_page(folder / PAGE, analysis, video=video, media="link")
    write_page(folder / REPORT, analysis, video=video, media="auto")
    script = files("multigrain.analysis").joinpath("page", "report.js").read_text(encoding="utf-8")
    (folder / POLICY).write_text(policy(script), encoding="ascii")
    write_csv(folder / TABLE, analysis)
    analysis.write_json(folder / RESULT)


def _playable(folder: Path) -> Path | None:
    """The video, or a copy of it that browsers play; None for a text, and where no copy can be made."""
    from multigrain.analysis.playable import kind_of, write_playable_copy

    video, copy = find(folder, "video"), folder / COPY
    if video is None or kind_of(video) is not None:
        return video
    try:
        return copy if write_playable_copy(video, copy) else None
    except MultigrainError as error:  # the report is as good without a player
        logger.warning("%s", error)
        copy.unlink(missing_ok=True)
        return None


def _in_the_clients_words(message: str, folder: Path, request: dict[str, Any]) -> str:
    """The files' names as the client gave them, in place of ours, and no folder of the server."""
    for stem, shown in (("video", request["title"]), ("transcript", request["transcript"] or "the transcript")):
        path = find(folder, stem)
        if path is not None:
            for name in (str(path.absolute()), str(path), path.name):
                message = message.replace(name, shown)
    return message.replace(str(folder.absolute()), "the upload")
