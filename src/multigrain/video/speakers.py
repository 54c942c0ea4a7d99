"""Who speaks, where a transcript says so before the words: `Name: words`, `[SPEAKER_00]: words`."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from multigrain.errors import first_few
from multigrain.language.words import ends_sentence
from multigrain.video.spoken import Turn
from multigrain.video.text_cleaning import clean_text

_COLON = r"(?::(?= |$)|：)"
_LABEL = re.compile(
    rf"(?:>>+ ?|[-–—] ?)?(?:[\[(](?P<bracketed>[^\[\]()]{{1,60}})[\])] ?(?P<colon>{_COLON})?|(?P<bare>[^\[\](){{}}<>:：]{{1,60}}){_COLON}) ?"
)
_NUMBERED = re.compile(
    r"(?:unknown |unidentified )?(?:speaker|spk|voice|person|participant|sprecher(?:in)?|locuteur|hablante|说话人|发言人)[ _-]?[\da-f]{0,3}",
    re.IGNORECASE,
)
_LONGEST_NAME, _MOST_WORDS = 40, 4
_PARTICLES = frozenset({*("von", "van", "de", "der", "den", "del", "la", "le", "du", "da", "di", "al", "el", "bin", "ibn", "of", "the", "and")})
_NO_NAMES = frozenset(
    {
        *("note", "notes", "ps", "nb", "pro", "pros", "con", "cons", "question", "questions", "answer", "answers", "update", "edit", "warning"),
        *("verdict", "conclusion", "summary", "example", "tip", "tips", "hint", "fact", "facts", "result", "results", "disclaimer", "spoiler"),
        *("spoilers", "plot", "acting", "music", "rating", "score", "overall", "story", "first", "second", "third", "remember", "look", "listen"),
        *("title", "date", "time", "topic", "subject", "source", "today", "one", "thing", "reason", "option", "step", "part", "chapter", "rule"),
        *("lesson", "caution", "important", "bottom", "end", "also", "again", "honestly", "seriously"),
    }
)
_MOST_LISTED = 6


def with_speakers(lines: Sequence[Sequence[Turn]], *, is_continued: bool) -> list[list[Turn]]:
    """The same lines with the names before their words taken for speakers, where these are names.

    A number of a speaker (SPEAKER_00, Speaker 2) always is. A name is where at least half of the cues begin with one, or where the same one occurs
    again; "Warning: it is long" once in a long text is not.

    Args:
        lines: of each cue or paragraph, without markup; lines that have a speaker already keep it.
        is_continued: a paragraph without a name is spoken by who spoke before; in subtitles only what continues a sentence is.
    """
    accepted = _accepted([[turn.text for turn in turns if turn.speaker is None] for turns in lines])
    if not accepted:
        return [list(turns) for turns in lines]
    found: list[list[Turn]] = []
    last: Turn | None = None
    for turns in lines:
        goes_on = last is not None and (is_continued or not ends_sentence(last.text))
        speaker = last.speaker if last is not None and goes_on else None
        kept: list[Turn] = []
        for turn in turns:
            text = turn.text
            if turn.speaker is not None:
                speaker = turn.speaker
            elif (label := _label(text)) is not None and label[0] in accepted:
                speaker, text = label
            kept.append(Turn(text, speaker))
        found.append([turn for turn in kept if turn.text])
        last = next((turn for turn in reversed(kept) if turn.text), Turn("", speaker) if is_continued else last)
    return found


def speaker_note(names: Iterable[str | None]) -> list[str]:
    """A sentence that says who was taken for a speaker, since their names are no words; none where nobody is named."""
    known = list(dict.fromkeys(name for name in names if name))
    if not known:
        return []
    return [f"The transcript names who speaks ({first_few(known, _MOST_LISTED)}); the names are kept as speakers, not as words."]


def is_numbered(name: str) -> bool:
    """Whether it is a recogniser's number for somebody (SPEAKER_00, Speaker 2), who is another person in another video."""
    return _NUMBERED.fullmatch(name) is not None or name.isdecimal()


def _accepted(cues: Sequence[Sequence[str]]) -> set[str]:
    labels = [label[0] for lines in cues for line in lines if (label := _label(line)) is not None]
    counts = Counter(labels)
    names = {name for name in counts if not is_numbered(name)}
    labelled_cues = sum(any(_label(line) is not None for line in lines) for lines in cues)
    if labelled_cues >= 2 and 2 * labelled_cues >= len(cues):
        return set(counts)
    return {name for name in counts if name not in names or counts[name] >= 2}


def _label(line: str) -> tuple[str, str] | None:
    """The name that a line begins with and the rest of the line, or None; whether it is one, the whole file decides."""
    found = _LABEL.match(line)
    if found is None:
        return None
    name = clean_text(found["bracketed"] or found["bare"] or "")
    rest = line[found.end() :].strip()
    if found["bracketed"] and not found["colon"] and not is_numbered(name):
        return None
    return (name, rest) if is_numbered(name) or _is_name(name) else None


def _is_name(name: str) -> bool:
    words = name.split()
    if not 1 <= len(words) <= _MOST_WORDS or len(name) > _LONGEST_NAME or name.casefold() in _NO_NAMES or words[0].casefold() in _NO_NAMES:
        return False
    if any(character in '!?;…。！？、"“”' for character in name) or not words[0][0].isalpha():
        return False
    return all(
        (word[0].isalpha() and not word[0].islower()) or word[0].isdigit() or word.casefold() in _PARTICLES or (number > 0 and word[0] in "('&-")
        for number, word in enumerate(words)
    )
