"""The JSON of Azure and of YouTube's captions in the shape of the others: passages with `start`, `end`, text and words.

Azure writes times as ticks of 100 ns or as `PT1M2.5S`, and lengths instead of ends; YouTube's `json3` has events whose pieces have offsets to them.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

_TICKS_PER_SECOND = 1e7
_DURATION = re.compile(r"PT(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?")


def in_usual_shape(found: Any) -> Any:
    """The same JSON, or that of Azure and YouTube with their passages as `segments`."""
    values = found if isinstance(found, list) else [found]
    if isinstance(found, Mapping) and isinstance(found.get("events"), list) and any(_pieces(event) for event in found["events"]):
        return {"segments": _of_youtube(found["events"])}
    if isinstance(found, Mapping):
        values = next((found[key] for key in ("recognizedPhrases", "phrases") if isinstance(found.get(key), list)), values)
    phrases = [phrase for value in values if isinstance(value, Mapping) and (phrase := _of_azure(value)) is not None]
    return {"segments": phrases} if phrases else found


def _of_azure(value: Mapping[str, Any]) -> dict[str, Any] | None:
    """A phrase, or None where the value is none."""
    phrase = _in_small_letters(value)
    options = phrase.get("nBest")
    is_phrase = isinstance(options, list) or "offsetMilliseconds" in phrase
    if not is_phrase or not any(key in phrase for key in ("offset", "offsetInTicks", "offsetMilliseconds")):
        return None
    best = _in_small_letters(options[0]) if isinstance(options, list) and options and isinstance(options[0], Mapping) else phrase
    text = next((part[key] for part in (best, phrase) for key in ("display", "displayText", "text", "lexical") if isinstance(part.get(key), str)), "")
    words = [_in_small_letters(word) for word in best.get("words") or phrase.get("words") or [] if isinstance(word, Mapping)]
    listed = [{"word": word.get("word", word.get("text")), **_times(word)} for word in words]
    return {"text": text, **_times(phrase), "speaker": phrase.get("speaker"), "words": listed}


def _in_small_letters(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key[:1].lower() + key[1:]: one for key, one in value.items()}


def _times(value: Mapping[str, Any]) -> dict[str, Any]:
    start, length = _seconds(value, "offset"), _seconds(value, "duration")
    return {"start": start, "end": start + length if start is not None and length is not None else None}


def _seconds(value: Mapping[str, Any], key: str) -> float | None:
    for name, per_second in ((f"{key}InTicks", _TICKS_PER_SECOND), (f"{key}Milliseconds", 1000.0), (key, _TICKS_PER_SECOND)):
        number = value.get(name)
        if isinstance(number, int | float) and not isinstance(number, bool) and abs(number) < 1e18:
            return number / per_second
    written = value.get(key)
    found = _DURATION.fullmatch(written) if isinstance(written, str) else None
    return None if found is None else sum(float(part or 0) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True))


def _of_youtube(events: Sequence[Any]) -> list[dict[str, Any]]:
    timed = [(event, event["tStartMs"]) for event in events if _pieces(event) and _is_number(event.get("tStartMs"))]
    following = [*(start for _, start in timed[1:]), None]
    passages = []
    for (event, start), after in zip(timed, following, strict=True):
        length = event.get("dDurationMs")
        end = start + length if _is_number(length) else after
        pieces = _pieces(event)
        passage: dict[str, Any] = {"text": "".join(piece["utf8"] for piece in pieces), "offsets": {"from": start, "to": end}}
        if any(_is_number(piece.get("tOffsetMs")) for piece in pieces):
            starts = [start + (piece["tOffsetMs"] if _is_number(piece.get("tOffsetMs")) else 0) for piece in pieces]
            last = end if after is None or end is None else min(end, after)
            edges = [*starts, max(starts[-1], last if last is not None else starts[-1])]
            passage["words"] = [
                {"word": piece["utf8"], "offsets": {"from": begin, "to": max(begin, stop)}}
                for piece, (begin, stop) in zip(pieces, pairwise(edges), strict=True)
            ]
        passages.append(passage)
    return passages


def _pieces(event: Any) -> list[Mapping[str, Any]]:
    """The pieces of an event that have text; none where it has no list of pieces."""
    segments = event.get("segs") if isinstance(event, Mapping) else None
    listed = segments if isinstance(segments, list) else []
    return [piece for piece in listed if isinstance(piece, Mapping) and isinstance(piece.get("utf8"), str) and piece["utf8"].strip()]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
