"""Words with times, or passages with times, from the JSON that recognisers write (`json_shapes` knows their shapes)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from multigrain.errors import VideoError
from multigrain.language.words import cut_words, join_words
from multigrain.video.json_shapes import Entry, find_entries, parse_json, whole_text
from multigrain.video.limits import Limits
from multigrain.video.repeated_cues import ShownCue
from multigrain.video.speakers import speaker_note
from multigrain.video.spoken import Cue, TimedWord, Transcript, Turn, counted, first_pieces
from multigrain.video.stamped_text import plain_text, read_text
from multigrain.video.subtitle_markup import spoken_part
from multigrain.video.subtitles import described_note, speakers_of, spoken_cues
from multigrain.video.text_cleaning import clean_text
from multigrain.video.time_units import is_time, to_seconds
from multigrain.video.word_lists import complete, continued, with_numbered_speakers, without_descriptions

_LATEST_SECONDS = 1e6
_MENDED_SECONDS = 0.5  # as far off recognisers round; what is further off is another mistake
_WORDS_SHARE = 0.8
_SECONDS_OF_A_WORD = 0.4
WORDS_EXPECTED = (
    'Expected {"words": [{"word": "hello", "start": 0.52, "end": 0.91}, ...]} or {"segments": [{"text": "Hello there.", "start": 0.5, "end": 2.1}, '
    "...]} with times in seconds."
)


@dataclass
class _Mended:
    """How many times were not right and could be mended."""

    early: int = 0
    backwards: int = 0
    endless: int = 0


def read_word_json(path: Path, text: str, limits: Limits, video_seconds: float | None = None) -> Transcript:
    """Reads a recogniser's JSON: words where they have times of their own, and passages as subtitles where they have not.

    Args:
        path: of the file, for messages.
        text: what it holds.
        limits: how long a text may be.
        video_seconds: how long the video is, where that is known; it tells milliseconds from seconds.

    Raises:
        VideoError: it is no JSON, of an unknown shape, a text is too long, or a time is none.
    """
    try:
        found = parse_json(text)
        entries, num_skipped = find_entries(found)
    except (ValueError, RecursionError) as error:
        raise VideoError(f"{path} cannot be read as JSON ({str(error)[:200]}). {WORDS_EXPECTED}") from error
    if not entries and whole_text(found).strip():
        plain = read_text(path, whole_text(found), limits)
        return replace(plain, notes=["The JSON has a text and no times; it is read as plain text.", *plain.notes])
    if entries is None:
        raise VideoError(f"{path} holds no list of words or passages{_example(found)}. {WORDS_EXPECTED}")
    _check(path, entries, limits)
    notes = to_seconds(entries, video_seconds)
    if num_skipped:
        notes.append(f"{counted(num_skipped, 'entry', 'entries')} of the transcript without text left out.")
    mended = _Mended()
    passages = [Entry(clean_text(whole_text(found)), words=list(entries))] if _are_words(entries) else entries
    notes += _mend_words(passages)
    untimed = [passage for passage in passages if not passage.words and passage.text.strip() and passage.start is None and passage.end is None]
    if untimed and len(untimed) == sum(bool(passage.words or passage.text.strip()) for passage in passages):
        plain = plain_text([turn for passage in untimed for turn in _turns(passage)])
        return replace(plain, notes=["The JSON has passages and no times; it is read as plain text.", *notes, *plain.notes])
    if any(passage.words for passage in passages):
        for passage in untimed:
            passage.words = [Entry(word, speaker=passage.speaker) for word in cut_words(passage.text)]
    timed = [passage.words for passage in passages if _has_words_to_place(passage)]
    words = _timed_words(path, timed, mended)
    cues = _cues(path, [passage for passage in passages if not _has_words_to_place(passage)], mended, notes)
    notes += _mended_notes(mended, words) + speaker_note([*(word.speaker for word in words), *speakers_of(cues)])
    return Transcript(origin="words" if words else "subtitles", words=tuple(words), cues=tuple(cues), notes=notes)


def _example(found: Any) -> str:
    if isinstance(found, dict):
        return f": it has {', '.join(repr(str(key)[:40]) for key in list(found)[:6])}" if found else ": it is empty"
    if isinstance(found, list):
        return f": its first entry is {str(found[0])[:100]!r}, without text" if found else ": it is empty"
    return f": it is {str(found)[:40]!r}"


def _check(path: Path, entries: Sequence[Entry], limits: Limits) -> None:
    for number, entry in enumerate(entries, start=1):
        for one in (entry, *entry.words):
            if len(one.text) > limits.line_characters:
                raise VideoError(
                    f"{path}, entry {number} has {len(one.text)} characters; at most {limits.line_characters} are allowed. {WORDS_EXPECTED}"
                )
            one.text = clean_text(one.text) if not one.text.startswith((" ", "\u2581")) else " " + clean_text(one.text.replace("\u2581", " "))


def _are_words(entries: Sequence[Entry]) -> bool:
    """Whether the entries themselves are words: none lists words, and nearly all are one word; in scripts without spaces one or two."""
    if any(entry.words for entry in entries):
        return False
    written = [entry.text.strip() for entry in entries if entry.text.strip()]
    return sum(" " not in text and len(cut_words(text)) <= 2 for text in written) >= _WORDS_SHARE * len(written)


def _mend_words(passages: Sequence[Entry]) -> list[str]:
    """Makes the words of passages those that were spoken, in place; what the user should know."""
    described: list[str] = []
    for passage in passages:
        words, parts = without_descriptions([word for word in continued(passage.words) if word.text.strip()])
        if words:
            passage.text, parts_of_text = spoken_part(passage.text)
            described += parts or parts_of_text
        passage.words = words
    notes = complete(passages)
    for passage in passages:
        passage.words = with_numbered_speakers(passage.words)
    return notes + described_note(described)


def _has_words_to_place(passage: Entry) -> bool:
    """Whether words of it have times, or nothing else has; words without, in a passage that has, are placed as a subtitle is."""
    has_times = any(word.start is not None or word.end is not None for word in passage.words)
    return has_times or (bool(passage.words) and passage.start is None and passage.end is None)


def _timed_words(path: Path, passages: Sequence[Sequence[Entry]], mended: _Mended) -> list[TimedWord]:
    """The words of all passages, passages and words in the order of time; a word without time stays behind the one before it, a passage too."""
    found: list[tuple[float, list[TimedWord]]] = []
    number, last = 0, -math.inf
    for passage, entries in enumerate(passages):
        begin, words = -math.inf, []
        for entry in entries:
            number += 1
            start, end = _checked_times(entry, f"{path}, word {number}", mended)
            for text in entry.text.split():
                words.append((start if start is not None else begin, TimedWord(text, start, end, _speaker(entry), passage)))
            begin = start if start is not None else begin
        words.sort(key=lambda word: word[0])
        last = next((word[0] for word in words if word[0] > -math.inf), last)
        found.append((last, [word for _, word in words]))
    found.sort(key=lambda group: group[0])
    return [word for _, group in found for word in group]


def _speaker(entry: Entry) -> str | None:
    return clean_text(entry.speaker or "")[:100] or None


def _cues(path: Path, entries: Sequence[Entry], mended: _Mended, notes: list[str]) -> list[Cue]:
    """Passages as subtitles; one without times goes to the one before it, or after it."""
    found: list[ShownCue] = []
    waiting: list[Turn] = []
    untimed, num_listed = [], 0
    for number, entry in enumerate(entries, start=1):
        turns = _turns(entry)
        if not turns:
            continue
        start, end = _checked_times(entry, f"{path}, passage {number}", mended)
        if start is not None and end is not None:
            found.append(ShownCue(start, end, [*waiting, *turns]))
            waiting = []
            num_listed += bool(entry.words)
            continue
        untimed.append(join_words([turn.text for turn in turns]))
        (found[-1].lines if found else waiting).extend(turns)
    if untimed:
        which = counted(len(untimed), "passage has", "passages have")
        notes.append(f"{which} no times ({first_pieces(untimed)}); put to the passage before, or after.")
    if num_listed:
        notes.append(f"{counted(num_listed, 'passage lists', 'passages list')} words of which none has a time; placed by the passage's.")
    return spoken_cues(sorted(found, key=lambda cue: cue.start), notes)


def _turns(entry: Entry) -> list[Turn]:
    """Who says which part of a passage, by its words where it lists any."""
    if not entry.words:
        return [Turn(entry.text.strip(), _speaker(entry))] if entry.text.strip() else []
    runs = [(speaker, list(words)) for speaker, words in groupby(entry.words, key=_speaker)]
    return [Turn(join_words([part for word in words for part in word.text.split()]), speaker) for speaker, words in runs]


def _checked_times(entry: Entry, where: str, mended: _Mended) -> tuple[float | None, float | None]:
    """Start and end in seconds, mended where they are a little off; None for both where the entry has none.

    Raises:
        VideoError: a time is no number, or cannot be right.
    """
    text, start, end = entry.text.strip()[:40], entry.start, entry.end
    if start is None and end is None:
        return None, None
    if start is None:
        start = max(0.0, end - _SECONDS_OF_A_WORD) if is_time(end) else None
        mended.endless += 1
    elif end is None:
        end = start + _SECONDS_OF_A_WORD * max(1, len(entry.text.split())) if is_time(start) else None
        mended.endless += 1
    if not all(isinstance(time, int | float) and not isinstance(time, bool) and time == time for time in (start, end)):
        raise VideoError(f"{where} ({text!r}) lasts from {str(entry.start)[:40]} to {str(entry.end)[:40]}. {WORDS_EXPECTED}")
    if max(start, end) > _LATEST_SECONDS:
        raise VideoError(f"{where} ({text!r}) is spoken after more than {_LATEST_SECONDS:.0f} s. {WORDS_EXPECTED}")
    if start < -_MENDED_SECONDS:
        raise VideoError(f"{where} ({text!r}) begins at {str(start)[:40]} s, before the video. Mend its times.")
    if end < start - _MENDED_SECONDS:
        raise VideoError(f"{where} ({text!r}) ends at {str(end)[:40]} s, before it begins at {str(start)[:40]} s. Mend its times.")
    mended.early += start < 0
    mended.backwards += end < start
    start = max(0.0, float(start))
    return start, max(start, float(end))


def _mended_notes(mended: _Mended, words: Sequence[TimedWord]) -> list[str]:
    notes = []
    if mended.early:
        notes.append(f"{counted(mended.early, 'word or passage begins', 'words or passages begin')} a moment before the video; put to 0 s.")
    if mended.backwards:
        notes.append(f"{counted(mended.backwards, 'word or passage ends', 'words or passages end')} a moment before the start; put to its start.")
    if mended.endless:
        notes.append(f"{counted(mended.endless, 'word or passage has', 'words or passages have')} one time only; the other was set by its length.")
    untimed = [word.text for word in words if word.start is None]
    if untimed:
        notes.append(
            f"{counted(len(untimed), 'word has', 'words have')} no time in the transcript, such as {untimed[0][:40]!r}; kept in place, without time."
        )
    return notes
