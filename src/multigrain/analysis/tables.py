"""An analysis as a table for the terminal, and as CSV."""

import csv
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multigrain.analysis.report_html import clock, signed
from multigrain.analysis.result import TITLES, Analysis, SpeakerSummary, UtteranceAnalysis, strongest_words

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

STRONG_WORDS = 3
UP_STYLE, DOWN_STYLE = "bold dark_orange", "bold dodger_blue1"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # the last two turn the direction of what follows
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_rich(analysis: Analysis) -> "Table":
    """One row an utterance: time, score and interval, what each modality did, and the text with the words that did most."""
    from rich.table import Table
    from rich.text import Text

    is_timed = any(one.start_seconds is not None for one in analysis.utterances)
    modalities = [name for name in TITLES if any(part.modality == name for one in analysis.utterances for part in one.modalities)]
    table = Table(title=Text(_visible(analysis.source)), title_justify="left", caption=_caption(analysis), caption_justify="left", expand=False)
    table.add_column("time" if is_timed else "utterance", no_wrap=True)
    has_speakers = any(one.speaker for one in analysis.utterances)
    if has_speakers:
        table.add_column("speaker", overflow="fold")
    table.add_column("emotion" if analysis.task.kind == "emotions" else "sentiment", justify="right", no_wrap=True)
    if any(one.interval for one in analysis.utterances):
        coverage = next(one.interval.coverage for one in analysis.utterances if one.interval)
        table.add_column(f"{100 * coverage:.0f} % interval", justify="right", no_wrap=True)
    for name in modalities:
        table.add_column(TITLES[name], justify="right", no_wrap=True)
    table.add_column("text")
    for one in analysis.utterances:
        shares = {part.modality: signed(part.value) for part in one.modalities}
        row: list[Any] = [_place(one), *([Text(_visible(one.speaker or ""))] if has_speakers else []), _score(analysis, one)]
        if any(other.interval for other in analysis.utterances):
            row.append("" if one.interval is None else f"{signed(one.interval.low)} to {signed(one.interval.high)}")
        table.add_row(*row, *(shares.get(name, "") for name in modalities), _text(one))
    return table


def _caption(analysis: Analysis) -> "Text":
    from rich.text import Text

    summary = analysis.summary
    means = ", ".join(
        f"{name} {100 * score:.0f} %" if analysis.task.kind == "emotions" else f"{name} {signed(score)}"
        for name, score in zip(analysis.score_names, summary.mean_scores, strict=True)
    )
    over = f"Mean over {summary.num_utterances} utterance{'s' if summary.num_utterances > 1 else ''}: {means}"
    if not any(one.modalities for one in analysis.utterances):
        over = "There is no score: nothing was found that the model reads"
    lines = [f"{over}. Model: {analysis.checkpoint.name}."]
    lines += [f"{one.speaker}: {_of_speaker(analysis, one)}." for one in summary.speakers]
    explained = ["Columns of modalities: Shapley values."] if any(one.modalities for one in analysis.utterances) else []
    if any(one.words for one in analysis.utterances):
        explained.insert(0, "Marked words did most to the score: + raised it, - lowered it.")
    lines += [" ".join(explained)] if explained else []
    return Text(_visible("\n".join([*lines, *analysis.notes]), keep="\n"))


def _of_speaker(analysis: Analysis, one: SpeakerSummary) -> str:
    if not one.num_utterances:
        return "no score"
    means = ", ".join(
        f"{name} {100 * score:.0f} %" if analysis.task.kind == "emotions" else f"{name} {signed(score)}"
        for name, score in zip(analysis.score_names, one.mean_scores, strict=True)
    )
    return f"{means} over {one.num_utterances} utterance{'s' if one.num_utterances > 1 else ''}"


def _place(one: UtteranceAnalysis) -> str:
    if one.start_seconds is None or one.end_seconds is None:
        return _visible(one.id)
    return f"{clock(one.start_seconds)}-{clock(one.end_seconds)}"


def _score(analysis: Analysis, one: UtteranceAnalysis) -> str:
    if not one.modalities:
        return "none"
    return f"{analysis.task.emotions[one.explained]} {100 * one.score:.0f} %" if analysis.task.kind == "emotions" else signed(one.score)


def _text(one: UtteranceAnalysis) -> "Text":
    from rich.text import Text

    strongest = strongest_words(one, STRONG_WORDS)
    text = Text()
    for word in one.words:
        is_strong = any(word is other for other in strongest) and round(abs(word.contribution or 0.0), 2) > 0
        if is_strong:
            is_up = (word.contribution or 0.0) > 0
            text.append(f"{_visible(word.word)}[{signed(word.contribution or 0.0)}]", style=UP_STYLE if is_up else DOWN_STYLE)
        else:
            text.append(_visible(word.word))
        text.append(" ")
    return text if one.words else Text("(no words are known)", style="italic")


def _visible(text: str, keep: str = "") -> str:
    """Without control characters, which could steer a terminal."""
    return _CONTROL.sub(lambda found: found[0] if found[0] in keep else "\ufffd", text)


# CSV ------------------------------------------------------------------------------------------------------------------


def write_csv(path: str | os.PathLike[str], analysis: Analysis) -> Path:
    """Writes one row an utterance at full precision, whole or not at all.

    Columns: `id`, `start_seconds`, `end_seconds`, `score` (emotions: `score_happy` ...), `interval_low`, `interval_high`, `coverage`, `baseline`,
    `contribution_text`, `contribution_audio`, `contribution_vision`, `voice_share`, `face_share`, `speaker`, `strongest_words`, `text`.
    What is not known is empty. A text that a spreadsheet would take for a formula has an apostrophe before it.

    Returns:
        The file.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    names = ["score"] if analysis.task.kind != "emotions" else [f"score_{name}" for name in analysis.task.emotions]
    header = ["id", "start_seconds", "end_seconds", *names, "interval_low", "interval_high", "coverage", "baseline"]
    header += [f"contribution_{name}" for name in TITLES] + ["voice_share", "face_share", "speaker", "strongest_words", "text"]
    beside = target.with_name(target.name + ".part")
    with open(beside, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for one in analysis.utterances:
            writer.writerow(_csv_row(one))
    os.replace(beside, target)
    return target


def _csv_row(one: UtteranceAnalysis) -> list[Any]:
    shares = {part.modality: part.value for part in one.modalities}
    interval = ("", "", "") if one.interval is None else (one.interval.low, one.interval.high, one.interval.coverage)
    words = "; ".join(f"{word.word} {word.contribution!r}" for word in strongest_words(one, STRONG_WORDS))
    times = ["" if seconds is None else seconds for seconds in (one.start_seconds, one.end_seconds)]
    contributions = [shares.get(name, "") for name in TITLES]
    known = ["" if share is None else share for share in (one.voice_share, one.face_share)]
    scores = one.scores if one.modalities else [""] * len(one.scores)
    return [
        _cell(one.id),
        *times,
        *scores,
        *interval,
        one.baseline,
        *contributions,
        *known,
        _cell(one.speaker or ""),
        _cell(words),
        _cell(one.text),
    ]


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
