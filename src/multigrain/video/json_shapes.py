"""The shapes in which recognisers and aligners write JSON, brought to one: passages with times, text, speaker, and words where they have any.

Read are whisper, faster-whisper, whisperX, whisper.cpp, OpenAI, Vosk (also one result a line), Gentle, Hugging Face, AssemblyAI, Deepgram, Amazon
Transcribe, Rev, youtube-transcript-api, with `other_json` Azure and YouTube's captions, and whatever has entries of text with a start and an end
under the usual names.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multigrain.video.other_json import in_usual_shape
from multigrain.video.subtitle_times import seconds_of_clock

_TEXTS = ("punctuated_word", "word", "text", "transcript", "value", "content", "display", "sentence")
_NUMERIC_TEXTS = ("punctuated_word", "word", "text")
_WHOLE_TEXTS = ("text", "transcript")
_STARTS = ("start", "start_time", "startTime", "begin", "ts", "from", "start_seconds")
_ENDS = ("end", "end_time", "endTime", "end_ts", "to", "end_seconds")
_LENGTHS = ("duration", "dur")
_SPEAKERS = ("speaker", "speaker_id", "speaker_label", "speakerLabel", "spk", "speaker_name")
_WORDS = ("words", "result", "elements")
_PASSAGES = (
    "segments",
    "chunks",
    "transcription",
    "utterances",
    "monologues",
    "sentences",
    "events",
    "results",
    "words",
    "word_segments",
    "result",
    "items",
)
_LATEST = 1e15  # larger numbers are no times
_WORDS_BESIDE = ("words", "word_segments")
_WITHIN = ("results", "channels", "alternatives", "result", "response", "data", "output", "transcript", "transcription", "nBest")


@dataclass
class Entry:
    """A passage or a word as it was written.

    Attributes:
        text: may be empty where there are words.
        start, end: whatever was written there: numbers, seconds after conversion of clock times and `1.4s`, or None.
        is_milliseconds: they are, since their key says so.
        speaker: None where not named.
        words: of a passage, where it lists any.
    """

    text: str
    start: Any = None
    end: Any = None
    is_milliseconds: bool = False
    speaker: str | None = None
    words: list["Entry"] = field(default_factory=list)


def parse_json(text: str) -> Any:
    """The value of a JSON text; several values one after another, as Vosk and JSON lines have them, as a list.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise
    decoder, values, position = json.JSONDecoder(), [], 0
    while position < len(text):
        if text[position].isspace() or text[position] == ",":
            position += 1
            continue
        value, position = decoder.raw_decode(text, position)
        values.append(value)
    return values


def find_entries(found: Any) -> tuple[list[Entry] | None, int]:
    """The passages or words of a parsed JSON, in its order, and how many entries have no text; None where it has none of the known shapes."""
    listed = _listed(in_usual_shape(found), 0)
    if listed is None:
        return None, 0
    entries = [entry for value in listed if (entry := _entry(value)) is not None]
    return entries if entries or not listed else None, len(listed) - len(entries)


def whole_text(found: Any) -> str:
    """The text of the whole recording that a JSON has beside its passages or words; empty where it has none."""
    if not isinstance(found, Mapping):
        return ""
    return next((found[key] for key in _WHOLE_TEXTS if isinstance(found.get(key), str)), "")


def _listed(found: Any, depth: int) -> list[Any] | None:
    """The list of passages or words within whatever is wrapped around it."""
    if depth > 6:
        return None
    if isinstance(found, list):
        parts = [_listed(value, depth + 1) if isinstance(value, Mapping) and not _is_entry(value) else None for value in found]
        if any(part is not None for part in parts):
            return [value for one, part in zip(found, parts, strict=True) for value in (part if part is not None else [one])]
        return found
    if not isinstance(found, Mapping):
        return None
    for key in _PASSAGES:
        if isinstance(found.get(key), list) and any(_is_entry(value) for value in found[key]):
            return _with_words_beside(_with_punctuation(found[key]), found, key)
    for key in _WITHIN:
        inner = found.get(key)
        if isinstance(inner, Mapping | list):
            within = _listed(inner[:1] if key in ("alternatives", "nBest") and isinstance(inner, list) else inner, depth + 1)
            if within is not None and any(_is_entry(value) for value in within):
                return within
    return [] if any(found.get(key) == [] for key in ("segments", "words")) else None


def _with_words_beside(passages: list[Any], found: Mapping[str, Any], key: str) -> list[Any]:
    """Passages without words with those that are listed beside them, each in the passage within whose times its middle is, or in the nearest."""
    beside = next((found[name] for name in _WORDS_BESIDE if name != key and isinstance(found.get(name), list) and found[name]), None)
    timed = [(times[0], times[1], place) for place, value in enumerate(passages) if (times := _numeric_times(value)) is not None]
    if beside is None or key in _WORDS_BESIDE or not timed or any(True for value in passages if isinstance(value, Mapping) for _ in _words_of(value)):
        return passages
    timed.sort()
    words: dict[int, list[Any]] = {}
    at = 0
    for word in _with_punctuation(beside):
        times = _numeric_times(word)
        if times is not None:
            middle = (times[0] + times[1]) / 2
            at = max(0, bisect_right(timed, (middle, float("inf"), 0)) - 1)
            if at + 1 < len(timed) and timed[at + 1][0] - middle < middle - timed[at][1]:
                at += 1
        words.setdefault(timed[at][2], []).append(word)
    return [{**value, "words": words[place]} if place in words else value for place, value in enumerate(passages)]


def _numeric_times(value: Any) -> tuple[float, float] | None:
    if not isinstance(value, Mapping):
        return None
    start, end, _ = _times(value)
    if not _is_number(start) or abs(start) > _LATEST:
        return None
    return float(start), float(end) if _is_number(end) and abs(end) <= _LATEST else float(start)


def _is_entry(value: Any) -> bool:
    """Whether a value is a passage or a word: it has a text, or words, and is not just the frame around them."""
    if not isinstance(value, Mapping):
        return False
    has_time = any(key in value for key in (*_STARTS, "timestamp", "timestamps", "offsets"))
    has_words = any(isinstance(value.get(key), list) and any(isinstance(word, Mapping) for word in value[key]) for key in _WORDS)
    has_words = has_words or (has_time and bool(_joined_strings(value)))
    has_text = _written(value) is not None
    if isinstance(value.get("alternatives"), list) and (has_time or "type" in value):
        return True
    return (has_text and (has_time or "word" in value or "type" in value or "words" not in value)) or (has_words and not _frames_others(value))


def _frames_others(value: Mapping[str, Any]) -> bool:
    return any(isinstance(value.get(key), list) for key in ("segments", "chunks"))


def _with_punctuation(values: Sequence[Any]) -> list[Any]:
    """Amazon writes punctuation as entries of their own, without times: each goes to the word before it."""
    joined: list[Any] = []
    for value in values:
        is_mark = isinstance(value, Mapping) and value.get("type") in ("punctuation", "punct")
        mark = _text(value) if is_mark else None
        if mark is not None and joined:
            joined[-1] = {**joined[-1], "text_with_marks": (_text(joined[-1]) or "") + mark.strip()}
        elif not is_mark:
            joined.append(value)
    return joined


def _text(value: Mapping[str, Any]) -> str | None:
    if isinstance(value.get("text_with_marks"), str):
        return str(value["text_with_marks"])
    text = _written(value)
    options = value.get("alternatives")
    if text is None and isinstance(options, list) and options and isinstance(options[0], Mapping):
        return _written(options[0])
    return text


def _written(value: Mapping[str, Any]) -> str | None:
    """The text under one of the usual names; a word that is a number as it is written."""
    text = next((value[key] for key in _TEXTS if isinstance(value.get(key), str)), None)
    number = next((value[key] for key in _NUMERIC_TEXTS if _is_number(value.get(key))), None) if text is None else None
    return text if number is None else json.dumps(number) if abs(number) <= _LATEST else None


def _joined_strings(value: Mapping[str, Any]) -> str:
    """The words of a passage that are listed without times."""
    listed: list[Any] = next((value[key] for key in _WORDS if isinstance(value.get(key), list)), [])
    return " ".join(word for word in listed if isinstance(word, str))


def _entry(value: Any, speaker: str | None = None) -> Entry | None:
    if not isinstance(value, Mapping):
        return None
    speaker = _speaker(value) or speaker
    words = [entry for one in _words_of(value) if (entry := _entry(one, speaker)) is not None]
    text = _text(value)
    text = text if text is not None else _joined_strings(value) or None
    if text is None and not words:
        return None
    start, end, is_milliseconds = _times(value)
    return Entry(text or "", start, end, is_milliseconds, speaker, words)


def _words_of(value: Mapping[str, Any]) -> Iterator[Any]:
    for key in _WORDS:
        if isinstance(value.get(key), list):
            yield from _with_punctuation(value[key])
            return


def _speaker(value: Mapping[str, Any]) -> str | None:
    found = next((value[key] for key in _SPEAKERS if value.get(key) is not None), None)
    if isinstance(found, Mapping):
        found = next((found[key] for key in ("name", "label", "id") if found.get(key) is not None), None)
    if isinstance(found, bool) or not isinstance(found, str | int):
        return None
    return f"Speaker {found}" if isinstance(found, int) and abs(found) < 10**6 else str(found)[:200]


def _times(value: Mapping[str, Any]) -> tuple[Any, Any, bool]:
    """Start, end, and whether they are milliseconds, under whatever names they are written."""
    pair = value.get("timestamp")
    if isinstance(pair, list | tuple) and len(pair) == 2:
        return _number(pair[0]), _number(pair[1]), False
    offsets, clocks = value.get("offsets"), value.get("timestamps")
    if isinstance(offsets, Mapping):
        return offsets.get("from"), offsets.get("to"), True
    if isinstance(clocks, Mapping):
        return _number(clocks.get("from")), _number(clocks.get("to")), False
    start = next((_number(value[key]) for key in _STARTS if key in value), None)
    end = next((_number(value[key]) for key in _ENDS if key in value), None)
    if end is None and start is not None:
        length = next((_number(value[key]) for key in _LENGTHS if key in value), None)
        if _is_number(start) and _is_number(length):
            end = start + length
    return start, end, False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> Any:
    """A number that is written as text ("1.4", "1.4s", "00:01,400") as seconds; anything else as it is."""
    if not isinstance(value, str) or len(value) > 40:
        return value
    clock = seconds_of_clock(value)
    if clock is not None:
        return clock
    try:
        return float(value.strip().removesuffix("s"))
    except ValueError:
        return value
