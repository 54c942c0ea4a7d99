"""Which utterances a video has and when each of their words is spoken, by what is known: a transcript, a recogniser, labels, or nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from threading import Lock

from multigrain.errors import VideoError
from multigrain.language.words import cut_words
from multigrain.video.alignment import Aligner, WordTime
from multigrain.video.letter_to_sound import spoken_words
from multigrain.video.recognition import UNRELIABLE_NOTE, recognise
from multigrain.video.segment import (
    FoundSegments,
    Segment,
    by_speaker,
    even_segments,
    num_overlapping,
    segments_of_cues,
    segments_of_speech,
    segments_of_words,
    split_long,
)
from multigrain.video.sound import Sound
from multigrain.video.speech import Stretch
from multigrain.video.spoken import Cue, TimedWord, Transcript, Turn, counted
from multigrain.video.unplaced_text import shared_out

_LONGEST_AT_ONCE = 45.0  # seconds of sound in which words are placed in one go
_AROUND_CUE = 0.3  # seconds; subtitles often come a little late and go a little early
_MOST_WORDS_PER_SECOND, _MOST_WORDS_ANYWAY = 20, 200  # four times as fast as anybody speaks; short clips may have a little more

_END_SLACK = 0.5  # seconds; tables round, and headers and frames do too

_ALIGNER_LOCK = Lock()


@dataclass(frozen=True)
class Heard:
    """What was heard of a video.

    Attributes:
        sound: None where there is none.
        speech: where somebody speaks.
        duration: in seconds.
    """

    sound: Sound | None
    speech: Sequence[Stretch]
    duration: float


@dataclass(frozen=True)
class GivenSegment:
    """An utterance whose place is known: start and end in seconds (None: the video's), and its text where that is known."""

    start: float | None = None
    end: float | None = None
    text: str | None = None


def find_segments(
    heard: Heard,
    transcript: Transcript | None,
    recognizer: str,
    given: Sequence[GivenSegment] | None,
    progress: Callable[[float], None] = lambda share: None,
) -> FoundSegments:
    """The utterances of a video.

    Args:
        heard: its sound.
        transcript: what is said, where that is known.
        recognizer: what to do otherwise; see `recognition.RECOGNIZERS`.
        given: the utterances, where they are known.
        progress: told the share that is done.

    Raises:
        VideoError: plain text without sound to place it in, more words than can be spoken, or all given utterances after the video's end.
    """
    skipped, notes = _after_the_end(given or (), heard)
    inside = [segment for number, segment in enumerate(given or ()) if number not in skipped]
    if given is not None and all(segment.text is not None for segment in inside):
        return FoundSegments(segments=_aligned(_given(inside, heard), heard, progress), origin="text", notes=notes, skipped=skipped)
    found = _found(heard, transcript, recognizer, progress)
    if not found.segments:
        found = replace(found, segments=even_segments(0.0, heard.duration))
    if given is None:
        return found
    own = _aligned(_given(inside, heard), heard, lambda share: None)  # those with a text of their own
    return replace(found, segments=_regrouped(own, found.segments), notes=[*found.notes, *notes], skipped=skipped)


def _found(heard: Heard, transcript: Transcript | None, recognizer: str, progress: Callable[[float], None]) -> FoundSegments:
    if transcript is None and recognizer != "none" and heard.sound is not None:
        words = recognise(heard.sound, heard.speech, recognizer, progress)
        is_reliable = recognizer != "pocketsphinx"
        notes = [] if is_reliable else [UNRELIABLE_NOTE]
        segments = segments_of_words([word.text for word in words], [_word_time(word, heard.duration) for word in words], heard.duration)
        return FoundSegments(segments=segments, origin="recognised", is_reliable=is_reliable, notes=notes)
    if transcript is None:
        notes = ["Nobody speaks in this video; it was cut into even pieces."] if heard.sound is not None and not heard.speech else []
        return FoundSegments(segments=segments_of_speech(heard.speech, heard.duration), origin="none", notes=notes)
    _check_speed(transcript, heard)
    if transcript.origin == "words":
        return _of_words(transcript, heard, progress)
    if transcript.origin == "subtitles":
        return _of_subtitles(transcript.cues, heard, progress)
    return _of_text(transcript.sentences, heard)


def _of_words(transcript: Transcript, heard: Heard, progress: Callable[[float], None]) -> FoundSegments:
    """Words with times; passages of which only the whole has times are placed as subtitles are, and words of which none has any as a text is."""
    if not transcript.cues and all(word.start is None for word in transcript.words):
        return _of_text([Turn(word.text, word.speaker) for word in transcript.words], heard)
    within = [word for word in transcript.words if word.start is None or word.start < heard.duration]
    notes = _late_note(len(transcript.words) - len(within), "words", heard)
    segments = segments_of_words(
        [word.text for word in within],
        [_word_time(word, heard.duration) for word in within],
        heard.duration,
        speakers=[word.speaker for word in within] if any(word.speaker for word in within) else (),
        passages=[word.passage for word in within],
    )
    if transcript.cues:
        placed = _of_subtitles(transcript.cues, heard, progress)
        segments, notes = sorted([*segments, *placed.segments], key=lambda segment: segment.start), notes + placed.notes
    return FoundSegments(segments=segments, origin="words", notes=notes)


def _word_time(word: TimedWord, duration: float) -> WordTime:
    return None if word.start is None or word.end is None else (word.start, min(word.end, duration))


def _check_speed(transcript: Transcript, heard: Heard) -> None:
    """Refuses words that cannot all be spoken in this video, whose times are given; with plain text those that are not found are left out."""
    count = sum(len(cue.text.split()) for cue in transcript.cues if cue.start < heard.duration)
    count += sum(word.start is not None and word.start < heard.duration for word in transcript.words)
    if count > _MOST_WORDS_ANYWAY + _MOST_WORDS_PER_SECOND * heard.duration:
        raise VideoError(
            f"The transcript has {count} words within the {heard.duration:.1f} s of the video, more than can be spoken. Check that it is the "
            "transcript of this video."
        )


def _of_subtitles(cues: Sequence[Cue], heard: Heard, progress: Callable[[float], None]) -> FoundSegments:
    late = sum(cue.start >= heard.duration for cue in cues)
    if _are_times_of_day(cues, heard):
        return _untimed(cues, heard)
    notes = _late_note(late, "subtitles", heard)
    found = segments_of_cues(cues, heard.duration)
    if overlapping := num_overlapping(found):
        notes.append(
            f"{counted(overlapping, 'subtitle overlaps', 'subtitles overlap')} another one: people who speak at once stay utterances of their own."
        )
    aligned = [part for segment in _aligned(found, heard, progress) for part in by_speaker(segment)]
    segments = [piece for segment in aligned for piece in split_long(segment, heard.duration)]
    return FoundSegments(segments=segments, origin="subtitles", notes=notes + _unplaced_note(segments, heard))


def _are_times_of_day(cues: Sequence[Cue], heard: Heard) -> bool:
    """Whether all the stamps of a text lie behind the end of the video, as times of day do."""
    return bool(cues) and cues[-1].end == float("inf") and all(cue.start >= heard.duration for cue in cues)


def _untimed(cues: Sequence[Cue], heard: Heard) -> FoundSegments:
    found = _of_text([turn for cue in cues for turn in cue.parts], heard)
    note = f"The time stamps begin at {cues[0].start:.0f} s, after the video's end: they were not used, and the text was placed by its sound."
    return replace(found, notes=[note, *found.notes])


def _of_text(sentences: Sequence[Turn], heard: Heard) -> FoundSegments:
    if heard.sound is None:
        raise VideoError("The transcript is plain text, which is placed by the sound, and the video has none. Give subtitles, which have times.")
    cut = [(cut_words(sentence.text), sentence.speaker) for sentence in sentences]
    words = [word for part, _ in cut for word in part]
    speakers = [speaker for part, speaker in cut for _ in part] if any(speaker for _, speaker in cut) else []
    with _ALIGNER_LOCK:
        times = _aligner().place(words, heard.sound, heard.speech)
    last = max((index for index, time in enumerate(times) if time is not None), default=-1)
    notes = []
    lost = [word for word in words[last + 1 :] if spoken_words(word)]
    if last < 0 and not lost:
        return shared_out(sentences, heard.speech, heard.duration)
    if lost:
        notes.append(
            f"The last {len(lost)} words of the transcript, from {' '.join(lost[:6])!r} on, were not found in the sound and were left out. Is it the "
            "transcript of this video?"
        )
        words, times, speakers = words[: last + 1], times[: last + 1], speakers[: last + 1]
    segments = segments_of_words(words, times, heard.duration, speakers=speakers)
    return FoundSegments(segments=segments, origin="text", notes=notes + _unplaced_note(segments, heard))


def _aligned(segments: Sequence[Segment], heard: Heard, progress: Callable[[float], None]) -> list[Segment]:
    """Segments with the times of their words, where there is sound."""
    if heard.sound is None:
        return list(segments)
    aligned = []
    for number, segment in enumerate(segments, start=1):
        before = segments[number - 2].end if number > 1 else 0.0
        after = segments[number].start if number < len(segments) else heard.duration
        start, end = max(min(before, segment.start), segment.start - _AROUND_CUE), min(max(after, segment.end), segment.end + _AROUND_CUE)
        times = segment.word_times
        if segment.words:
            with _ALIGNER_LOCK:
                times = tuple(_placed(segment.words, heard, start, end))
        aligned.append(replace(segment, word_times=times))
        progress(number / len(segments))
    return aligned


def _placed(words: Sequence[str], heard: Heard, start: float, end: float) -> list[WordTime]:
    """When the words of a stretch of the sound are spoken; a long one is looked through window after window."""
    assert heard.sound is not None
    if end - start <= _LONGEST_AT_ONCE:
        return _aligner().align(words, heard.sound.read(start, end), start)
    speech = [(max(start, begin), min(end, stop)) for begin, stop in heard.speech if begin < end and stop > start]
    return _aligner().place(words, heard.sound, speech)


@cache
def _aligner() -> Aligner:
    """One for the whole process: its model takes a fifth of a second to load."""
    return Aligner()


def _given(given: Sequence[GivenSegment], heard: Heard) -> list[Segment]:
    segments = []
    for segment in given:
        start, end = segment.start or 0.0, heard.duration if segment.end is None else segment.end
        words = tuple(cut_words(segment.text or ""))
        segments.append(Segment(start=start, end=min(end, heard.duration), words=words, word_times=(None,) * len(words)))
    return segments


def _after_the_end(given: Sequence[GivenSegment], heard: Heard) -> tuple[tuple[int, ...], list[str]]:
    """The numbers of the utterances that begin after the video's end, and what is to be said of them and of those that end after it."""
    skipped = tuple(number for number, segment in enumerate(given) if (segment.start or 0.0) >= heard.duration)
    if given and len(skipped) == len(given):
        raise VideoError(
            f"All {len(given)} utterances are to begin after the video's end: the first at {given[0].start or 0.0:g} s, and the video lasts "
            f"{heard.duration:.2f} s. Mend their times."
        )
    notes = []
    if skipped:
        starts = ", ".join(f"{given[number].start or 0.0:g} s" for number in skipped[:5])
        notes.append(
            f"{len(skipped)} of the {len(given)} utterances {'begins' if len(skipped) == 1 else 'begin'} after the video's end at "
            f"{heard.duration:.1f} s and {'was' if len(skipped) == 1 else 'were'} left out ({starts})."
        )
    late = [segment.end for number, segment in enumerate(given) if number not in skipped and (segment.end or 0.0) > heard.duration + _END_SLACK]
    if late:
        which = counted(len(late), "utterance ends", "utterances end")
        was = "was" if len(late) == 1 else "were"
        notes.append(f"{which} after the video's end at {heard.duration:.1f} s and {was} cut there (the first at {late[0]:g} s).")
    return skipped, notes


def _regrouped(given: Sequence[Segment], found: Sequence[Segment]) -> list[Segment]:
    """The given utterances with those of the found words whose middle lies within; a word without time goes with the one before it."""
    words: list[tuple[str, WordTime, float, str | None]] = []
    for segment in found:
        middle = segment.start
        for word, time, speaker in zip(segment.words, segment.word_times, segment.speakers or (None,) * len(segment.words), strict=True):
            middle = middle if time is None else (time[0] + time[1]) / 2
            words.append((word, time, middle, speaker))
    regrouped = []
    for segment in given:
        if segment.words:
            regrouped.append(segment)
            continue
        inside = [entry for entry in words if segment.start <= entry[2] < segment.end]
        regrouped.append(
            replace(
                segment,
                words=tuple(entry[0] for entry in inside),
                word_times=tuple(entry[1] for entry in inside),
                speakers=tuple(entry[3] for entry in inside) if any(entry[3] for entry in inside) else (),
            )
        )
    return regrouped


def _late_note(count: int, what: str, heard: Heard) -> list[str]:
    if not count:
        return []
    return [f"{count} of the {what} begin after the video's end at {heard.duration:.1f} s and were left out. Is it the transcript of this video?"]


def _unplaced_note(segments: Sequence[Segment], heard: Heard) -> list[str]:
    entries = [entry for segment in segments for entry in zip(segment.words, segment.word_times, strict=True)]
    unplaced = [word for word, time in entries if time is None and spoken_words(word)]
    if not unplaced or heard.sound is None:
        return []
    return [f"{len(unplaced)} of {len(entries)} words could not be placed in time, such as {unplaced[0][:40]!r}; their utterances are complete."]
