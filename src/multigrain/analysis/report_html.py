"""An analysis as one HTML file that needs no network: the video with its timeline, the transcript, and the evidence for each score.

Everything that comes from a user (names, text, notes, model cards) is escaped, and the page's own policy lets nothing run but its
one script. The page can be used by keyboard, in light and dark, and no colour carries a meaning alone.
"""

import base64
import hashlib
import html
import json
import os
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from multigrain.analysis.page_data import page_data
from multigrain.analysis.playable import kind_of, write_playable_copy
from multigrain.analysis.result import TITLES, Analysis, UtteranceAnalysis, WordContribution
from multigrain.errors import DataError
from multigrain.language.languages import names_of
from multigrain.report import STYLE

MediaPlace = Literal["auto", "embed", "link", "none"]
EMBED_BYTES = 16_000_000
"""Up to this size `auto` puts a video into the page."""
WORD_TINT = 0.55


def write_page(path: str | os.PathLike[str], analysis: Analysis, *, video: str | os.PathLike[str] | None = None, media: MediaPlace = "auto") -> Path:
    """Writes an analysis as one HTML file, whole or not at all.

    Args:
        path: the file; its folder is made where missing.
        analysis: what to show.
        video: the analysed file; None for a page without player.
        media: put the video into the page (`embed`), let the page play it from where it lies (`link`), neither (`none`), or embed it up to
            16 MB and link it beyond (`auto`, which also puts a small copy into the page where browsers do not play the file).

    Returns:
        The file.

    Raises:
        DataError: the video cannot be read, or the page cannot be written.
    """
    target = Path(path)
    try:
        source, is_sound = _media_source(target, None if video is None else Path(video), media)
        page = render_page(analysis, media=source, is_sound=is_sound)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(target.name + ".part")
        beside.write_text(page, encoding="utf-8")
        os.replace(beside, target)
    except OSError as error:
        raise DataError(f"The report {target} cannot be written ({error}). Choose another place with --report FILE.") from error
    return target


def _media_source(page: Path, video: Path | None, place: MediaPlace) -> tuple[str | None, bool]:
    """What the player plays, None for no player; and whether it is sound alone."""
    if video is None or place == "none":
        return None, False
    kind = kind_of(video)
    if kind is None and place == "auto":
        return _copied(video), False
    if place == "embed" or (place == "auto" and video.stat().st_size <= EMBED_BYTES):
        return _embedded(video, kind or "video/mp4"), (kind or "").startswith("audio")
    return quote(Path(os.path.relpath(video.absolute(), page.absolute().parent)).as_posix()), (kind or "").startswith("audio")


def _copied(video: Path) -> str | None:
    """A small copy that browsers play, in the page; None where there is none to be made, or it is too large."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.mp4"
        if not write_playable_copy(video, copy) or copy.stat().st_size > EMBED_BYTES:
            return None
        return _embedded(copy, "video/mp4")


def _embedded(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def render_page(analysis: Analysis, *, media: str | None = None, is_sound: bool = False) -> str:
    """The page as text.

    Args:
        analysis: what to show.
        media: address of the video for the player, relative to the page or as data; None for a page without player.
        is_sound: it is sound without pictures.
    """
    script, style = (files("multigrain.analysis").joinpath("page", name).read_text(encoding="utf-8") for name in ("report.js", "report.css"))
    title = html.escape(analysis.source)
    sections = [
        f"<h1>{title}</h1>",
        f'<p class="lead">{_lead(analysis)}</p>',
        _figures(analysis),
        _speakers(analysis),
        _notes(analysis),
        _stage(analysis, media, is_sound),
        '<h2 id="which" tabindex="-1">Utterance</h2>',
        _key(analysis),
        '<div id="evidence"><noscript><p>The evidence for each score is drawn by a script, which is switched off here.</p></noscript></div>',
        _transcript(analysis),
        _about(analysis),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy(script))}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>multigrain: {title}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#which">Skip to the evidence</a>\n<main id="content">\n' + "\n".join(sections) + "\n</main>\n"
        f'<script type="application/json" id="data">{_script_json(page_data(analysis))}</script>\n<script>{script}</script>\n</body>\n</html>\n'
    )


def policy(script: str) -> str:
    """A content security policy that lets the page play its video and run its own script, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = ("default-src 'none'", f"script-src 'sha256-{digest}'", "style-src 'unsafe-inline'", "media-src 'self' data: blob: file:")
    return "; ".join((*parts, "base-uri 'none'", "form-action 'none'"))


def _script_json(values: object) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(values, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


# Numbers and words --------------------------------------------------------------------------------------------------


def signed(value: float) -> str:
    """Two decimals with a sign."""
    return f"{'−' if round(value, 2) < 0 else '+'}{abs(value):.2f}"


def clock(seconds: float) -> str:
    """Such as 1:02.5."""
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths % 600 // 10:02d}.{tenths % 10}"


def _shown(analysis: Analysis, score: float) -> str:
    return f"{100 * score:.0f} %" if analysis.task.kind == "emotions" else signed(score)


def _lead(analysis: Analysis) -> str:
    summary, task = analysis.summary, analysis.task
    length = "" if summary.seconds is None else f" ({summary.seconds:.0f} s)"
    means = ", ".join(
        f"<strong>{html.escape(name)} {_shown(analysis, score)}</strong>"
        for name, score in zip(analysis.score_names, summary.mean_scores, strict=True)
    )
    scale = "" if task.kind == "emotions" else f" on a scale of {task.minimum:g} to {task.maximum:g}"
    if not any(one.modalities for one in analysis.utterances):
        return "There is no score: nothing was found that the model reads."
    among = f" of {len(analysis.utterances)}" if summary.num_utterances < len(analysis.utterances) else ""
    over = f"Mean over {summary.num_utterances}{among} utterances" if summary.num_utterances > 1 else f"One{among} utterance{'s' if among else ''}"
    return f"{over}{length}: {means}{scale.replace('-', '−')}. A score estimates what was expressed, not what a person feels."


def _figures(analysis: Analysis) -> str:
    summary = analysis.summary
    parts = []
    if summary.num_utterances > 1:
        for title, index in (("highest", summary.highest), ("lowest", summary.lowest)):
            one = analysis.utterances[index]
            where = f"utterance {index + 1}" if one.start_seconds is None else f"at {clock(one.start_seconds)}"
            parts.append(f"<div><strong>{_shown(analysis, one.scores[0])}</strong><span>{title}, {where}</span></div>")
        for name, size in summary.modalities.items():
            parts.append(f"<div><strong>±{size:.2f}</strong><span>mean effect of the {TITLES[name]}</span></div>")
    return f'<div class="figures">{"".join(parts)}</div>' if parts else ""


def _speakers(analysis: Analysis) -> str:
    """A row for each speaker, where the transcript names any."""
    speakers, names = analysis.summary.speakers, analysis.score_names
    if not speakers:
        return ""
    modalities = list(dict.fromkeys(name for one in speakers for name in one.modalities))
    heading = ["speaker", "utterances", "seconds", *names, *(f"effect of the {TITLES[name]}" for name in modalities)]
    rows = []
    for one in speakers:
        scores = [_shown(analysis, score) for score in one.mean_scores] or ["none"] * len(names)
        effects = [f"±{one.modalities[name]:.2f}" if name in one.modalities else "" for name in modalities]
        cells = [str(one.num_utterances), "" if one.seconds is None else f"{one.seconds:.0f}", *scores, *effects]
        rows.append(f'<tr><th scope="row">{html.escape(one.speaker)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in heading)
    return (
        '<h2>Speakers</h2><div class="wide" tabindex="0" role="region" aria-label="Speakers">'
        f'<table class="speakers"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        "<p class=\"note\">Means over each speaker's utterances, as the transcript names them; an effect is the mean size of a modality's part.</p>"
    )


def _notes(analysis: Analysis) -> str:
    if not analysis.notes:
        return ""
    return f'<div class="notes" role="note"><ul>{"".join(f"<li>{html.escape(note)}</li>" for note in analysis.notes)}</ul></div>'


# Parts of the page --------------------------------------------------------------------------------------------------


def _stage(analysis: Analysis, media: str | None, is_sound: bool) -> str:
    player, follow = "", ' hidden=""'
    if media is not None:
        tag = "audio" if is_sound else "video"
        player = f'<{tag} id="media" controls preload="metadata" src="{html.escape(media)}" aria-label="{html.escape(analysis.source)}"></{tag}>'
        player += '<p id="unplayable" class="note" hidden>This browser cannot show all of this file; the timeline works.</p>'
        follow = ""
    text = "Each bar is an utterance" + ("." if analysis.task.kind == "emotions" else "; up is positive, down negative.")
    interval = _interval_words(analysis.utterances)
    return (
        f'<section class="stage" aria-label="Timeline">{player}'
        '<div id="timeline" class="timeline" role="group" aria-label="Timeline of utterances; left and right arrow go from one to the next"></div>'
        '<div id="ticks" class="ticks" aria-hidden="true"></div>'
        '<div class="controls"><button type="button" id="previous">Previous</button><button type="button" id="next">Next</button>'
        f'<label{follow}><input type="checkbox" id="follow" checked> follow playback</label>'
        f'<span class="note">{text}{interval} Click to see why.</span></div></section>'
    )


def _interval_words(utterances: Sequence[UtteranceAnalysis]) -> str:
    coverages = sorted({one.interval.coverage for one in utterances if one.interval is not None})
    return f" The thin line is the interval that holds {100 * coverages[0]:.0f} % of labels." if coverages else ""


def _key(analysis: Analysis) -> str:
    words = f"<span>A word: {html.escape(analysis.word_method)}.</span>" if any(one.words for one in analysis.utterances) else ""
    return (
        '<p class="key"><span><i class="swatch up"></i>raises the score (solid line)</span>'
        f'<span><i class="swatch down"></i>lowers it (dotted line)</span>{words}</p>'
    )


def _transcript(analysis: Analysis) -> str:
    strongest = max((abs(word.contribution or 0.0) for one in analysis.utterances for word in one.words), default=0.0)
    rows = []
    for index, one in enumerate(analysis.utterances):
        timed = one.start_seconds is not None and one.end_seconds is not None
        place = f"{clock(one.start_seconds or 0.0)} – {clock(one.end_seconds or 0.0)}" if timed else html.escape(one.id)
        words = " ".join(_word(word, strongest) for word in one.words) or '<span class="nothing">no words are known</span>'
        name = "" if analysis.task.kind != "emotions" else f"{html.escape(analysis.task.emotions[one.explained])} "
        rows.append(
            f'<li><button type="button" class="time" aria-pressed="false" aria-label="Utterance {index + 1}, {place}">{place}</button>'
            f"<b>{name + _shown(analysis, one.score) if one.modalities else 'none'}</b>"
            f'<p class="words">{_named(one)}{words}</p></li>'
        )
    origin = {"recognised": "recognised by machine", "store": "from the store"}.get(analysis.transcript, "as given")
    reliable = "" if analysis.is_transcript_reliable else " <strong>Recognised, unreliable.</strong>"
    if not any(one.words for one in analysis.utterances):
        return f'<h2>Utterances</h2><ol class="transcript">{"".join(rows)}</ol>'
    note = f'<p class="note">The words are {origin}; colours are comparable over the whole transcript.{reliable}</p>'
    return f'<h2>Transcript</h2>{note}<ol class="transcript">{"".join(rows)}</ol>'


def _named(one: UtteranceAnalysis) -> str:
    return "" if one.speaker is None else f'<span class="speaker">{html.escape(one.speaker)}:</span> '


def _word(word: WordContribution, strongest: float) -> str:
    text = html.escape(word.word)
    if word.contribution is None:
        return f'<span class="word">{text}</span>'
    side = "down" if word.contribution < 0 else "up"
    strength = abs(word.contribution) / strongest if strongest > 0 else 0.0
    line = f";border-bottom-color:var(--bar-{side})" if strength > 0.15 else ""
    style = f"background:rgb(var(--{side}) / {WORD_TINT * strength:.3f}){line}"
    return f'<span class="word {side}" style="{style}" title="{text}: {signed(word.contribution)}">{text}</span>'


def _about(analysis: Analysis) -> str:
    facts = analysis.checkpoint
    entries = {
        "checkpoint": facts.name,
        "model": f"{facts.model}: {facts.paper}",
        **{f"reads {TITLES[name]}": words for name, words in facts.features.items()},
        "language model": facts.text_encoder or "none",
        "languages": names_of(facts.languages),
        "intervals": facts.calibration or "none: the checkpoint is not calibrated",
        "weights": f"SHA-256 {facts.sha256}, trained with multigrain {facts.multigrain_version}",
        "modalities": "exact Shapley values over the subsets of the modalities that are there",
        "words": analysis.word_method,
        "analysed": f"{analysis.created} with multigrain {analysis.multigrain_version}",
    }
    listed = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in entries.items() if value)
    card = f'<details><summary>Model card</summary><pre class="card">{html.escape(facts.card)}</pre></details>' if facts.card else ""
    return f"<h2>How this was made</h2><dl>{listed}</dl>{card}"
