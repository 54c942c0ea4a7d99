"""An analysis as the report's script reads it: short, rounded for display, and nothing but plain JSON values."""

import math
from typing import Any

from multigrain.analysis.result import Analysis, AttentionMap, Link, Moment, Span, Strip, UtteranceAnalysis

LEVELS = 255
"""Steps of an attention map's colour scale, from 0 to its largest weight."""


def page_data(analysis: Analysis) -> dict[str, Any]:
    """All that the report's script shows."""
    task = analysis.task
    low, high = (0.0, 1.0) if task.kind == "emotions" else (task.minimum, task.maximum)
    return {
        "names": list(analysis.score_names),
        "low": low,
        "high": high,
        "neutral": 0.5 if task.kind == "emotions" else (low + high) / 2,
        "isEmotions": task.kind == "emotions",
        "duration": _number(analysis.duration_seconds),
        "hasAttention": analysis.checkpoint.has_attention,
        "strongestWord": max((abs(word.contribution or 0.0) for one in analysis.utterances for word in one.words), default=0.0),
        "utterances": [_utterance(one) for one in analysis.utterances],
    }


def _utterance(one: UtteranceAnalysis) -> dict[str, Any]:
    return {
        "id": one.id,
        "speaker": one.speaker,
        "start": _number(one.start_seconds),
        "end": _number(one.end_seconds),
        "scores": [_number(score) if one.modalities else None for score in one.scores],
        "explained": one.explained,
        "interval": None if one.interval is None else [_number(one.interval.low), _number(one.interval.high), one.interval.coverage],
        "baseline": _number(one.baseline),
        "label": None if one.label is None else _number(one.label[one.explained]),
        "modalities": [[part.modality, _number(part.value), _number(part.alone), _number(part.without)] for part in one.modalities],
        "faceShare": _number(one.face_share),
        "voiceShare": _number(one.voice_share),
        "absent": dict(one.absent),
        "words": [[word.word, _number(word.contribution), _number(word.start_seconds), _number(word.end_seconds)] for word in one.words],
        "moments": [_moment(moment) for moment in one.moments],
        "links": [_link(link) for link in one.links],
        "attention": [_map(entry) for entry in one.attention],
        "strips": [_strip(strip) for strip in one.strips],
    }


def _span(span: Span) -> list[Any]:
    return [span.start_step, span.end_step, _number(span.start_seconds), _number(span.end_seconds)]


def _moment(moment: Moment) -> list[Any]:
    return [moment.span.modality, _span(moment.span), _number(moment.contribution)]


def _link(link: Link) -> list[Any]:
    return [link.word, link.span.modality, _span(link.span), _number(link.effect), _number(link.attention)]


def _map(entry: AttentionMap) -> dict[str, Any]:
    largest = max((weight for row in entry.weights for weight in row), default=0.0)
    scale = LEVELS / largest if largest > 0 else 0.0
    return {
        "modality": entry.modality,
        "spans": [_span(span) for span in entry.spans],
        "largest": _number(largest),
        "levels": [[round(weight * scale) for weight in row] for row in entry.weights],
    }


def _strip(strip: Strip) -> dict[str, Any]:
    return {
        "modality": strip.modality,
        "name": strip.name,
        "unit": strip.unit,
        "times": [_number(time) for time in strip.times_seconds],
        "values": [_number(value) for value in strip.values],
    }


def _number(value: float | None) -> float | None:
    """Four significant digits, and two decimals at least; None for what is no number."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, max(2, 3 - math.floor(math.log10(abs(value))))) if value else 0.0
