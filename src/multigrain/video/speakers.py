"""Who speaks, where a transcript says so before the words: `Name: words`, `[SPEAKER_00]: words`."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from multigrain.errors import first_few
from multigrain.language.words import ends_sentence
from multigrain.video.headings import FIRST_NAMES, HEADINGS, ROLES, SENTENCE_WORDS, SURNAMES
from multigrain.video.sounds import is_description
from multigrain.video.spoken import Turn
from multigrain.video.text_cleaning import clean_text

_COLON = r"(?::(?= |$)|：)"
_LABEL = re.compile(
    rf"(?:>>+ ?|[-–—] ?)?(?:[\[(](?P<bracketed>[^\[\]()]{{1,60}})[\])] ?(?P<colon>{_COLON})?|"
    rf"(?P<bare>[^\[\](){{}}<>:：]{{1,60}})(?P<aside>\([^()]{{1,40}}\) ?)?{_COLON}) ?"
)
_NUMBERED = re.compile(
    r"(?:unknown |unidentified )?(?:speaker|spk|voice|person|participant|sprecher(?:in)?|locuteur|hablante|说话人|发言人)"
    r"(?:[ _-]?(?:\d[\da-f]{0,2}|[a-z]))?|"
    r"(?:male |female )?(?:guest|student|host|caller|respondent|interviewee|interviewer|man|woman|male|female)[ _-]?\d{1,3}",
    re.IGNORECASE,
)
_CLOCK_BESIDE = re.compile(r"[ ,;|–-]+\d{1,2}(?::\d{2}){1,2}(?:[.,]\d+)?$|^\d{1,2}(?::\d{2}){1,2}(?:[.,]\d+)?[ ,;|–-]+")
_LONGEST_NAME, _MOST_WORDS = 40, 4
_PARTICLES = frozenset({*("von", "van", "de", "der", "den", "del", "la", "le", "du", "da", "di", "al", "el", "bin", "ibn", "of", "the", "and")})
_TITLES = frozenset({"dr.", "mr.", "mrs.", "ms.", "prof.", "st.", "sr.", "jr.", "rev.", "gen.", "col.", "sgt.", "lt.", "capt.", "hon."})
_INITIALS = re.compile(r"(?:\w\.)+")
_MOST_LISTED = 6
_OFTEN = 3  # as many times a single name makes a speaker in a text that mostly has none
_MOST_OF_THE_CUES = 0.8  # begin with a line that is a name, where these lines are names


@dataclass(frozen=True)
class _Label:
    """What stands before the words of a line and may say who speaks.

    Attributes:
        name: without a time, and without how something is said.
        rest: the line's words.
        is_in_brackets_only: no colon follows.
    """

    name: str
    rest: str
    is_in_brackets_only: bool = False


def with_speakers(lines: Sequence[Sequence[Turn]], *, is_continued: bool) -> list[list[Turn]]:
    """The same lines with the names before their words taken for speakers, where these are names.

    A number of a speaker (SPEAKER_00, Speaker 2) always is. A name is where it comes again: with another one, or often; what is plainly a name also
    once, where at least half of the cues begin with one. Words of judgement and topics ("Verdict", "Good") never are.

    Args:
        lines: of each cue or paragraph, without markup; lines that have a speaker already keep it.
        is_continued: a paragraph without a name is spoken by who spoke before; in subtitles only what continues a sentence is.
    """
    texts = [[turn.text for turn in turns if turn.speaker is None] for turns in lines]
    accepted, first_lines = _accepted(texts), _first_lines(texts)
    if not accepted and not first_lines:
        return [list(turns) for turns in lines]
    found: list[list[Turn]] = []
    last: Turn | None = None
    for turns in lines:
        goes_on = last is not None and (is_continued or not ends_sentence(last.text))
        speaker = last.speaker if last is not None and goes_on else None
        kept: list[Turn] = []
        for number, turn in enumerate(turns):
            text = turn.text
            if turn.speaker is not None:
                speaker = turn.speaker
            elif number == 0 and len(turns) > 1 and text in first_lines:
                speaker, text = text, ""
            elif (label := _label(text)) is not None and label.name in accepted:
                speaker, text = label.name, label.rest
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


def numbered_speaker(text: str) -> str | None:
    """The number of a speaker that a text is and nothing else, such as `SPEAKER_00:` or `[Speaker 2]`, or None."""
    label = _label(text if text.endswith((":", "：", "]", ")")) or "_" not in text else f"{text}:")
    return label.name if label is not None and not label.rest and _is_sure(label.name) else None


def is_numbered(name: str) -> bool:
    """Whether it is a recogniser's number for somebody (SPEAKER_00, Speaker 2), who is another person in another video."""
    return _NUMBERED.fullmatch(name) is not None or name.isdecimal()


def _is_sure(name: str) -> bool:
    """Whether it is surely a speaker: a recogniser's word for one with a number or a letter, and no number alone."""
    return _NUMBERED.fullmatch(name) is not None and (not name.isalpha() or " " in name)


def _accepted(cues: Sequence[Sequence[str]]) -> set[str]:
    """Which names are speakers, by all of the file."""
    labels = [[label for line in lines if (label := _label(line)) is not None] for lines in cues]
    counts = Counter(label.name for found in labels for label in found)
    sure = {name for name in counts if _is_sure(name)}
    names = {name for name in counts if name not in sure and not name[0].islower()}
    unbracketed = {label.name for found in labels for label in found if not label.is_in_brackets_only}
    again = {name for name in names if counts[name] >= 2}
    is_mostly_named = 2 * sum(any(label.name in names | sure for label in found) for found in labels) >= len(cues)
    accepted = {name for name in again if len(again) >= 2 or is_mostly_named or counts[name] >= _OFTEN or name.casefold() in ROLES}
    has_headings = any(_is_heading(line) for lines in cues for line in lines)
    if is_mostly_named and not has_headings and len(names | sure) >= 2:
        persons = sum(_is_person(name) for name in names)
        if accepted or sure or 2 * persons >= len(names):
            accepted |= names & unbracketed
    small = {name for name in counts if name not in sure and name[0].islower() and counts[name] >= 2}
    if len(small) >= 2 and 2 * sum(any(label.name in small for label in found) for found in labels) >= len(cues):
        accepted |= small
    return accepted | sure


def _first_lines(cues: Sequence[Sequence[str]]) -> set[str]:
    """The names that stand alone in the first line of cues, as Stream and Teams write them: of most of the cues, and at least two that come again."""
    first = [lines[0] for lines in cues if len(lines) > 1]
    counts = Counter(line for line in first if is_name(line) and not line[0].islower() and not line.isdecimal())
    again = {name for name in counts if counts[name] >= 2}
    return set(counts) if len(again) >= 2 and counts.total() >= _MOST_OF_THE_CUES * len(cues) else set()


def _label(line: str) -> _Label | None:
    """The name that a line begins with, or None; whether it is one, the whole file decides."""
    found = _LABEL.match(line)
    if found is None:
        return None
    is_bare = found["bare"] is not None
    name = clean_text(_CLOCK_BESIDE.sub("", clean_text(found["bracketed"] or found["bare"] or "")))
    rest = line[found.end() :].strip()
    has_colon = is_bare or bool(found["colon"])
    if not name:
        return None
    if not has_colon and not _is_sure(name) and (not rest or found[0].lstrip(">-–— ")[0] == "(" or is_description(f"[{name}]")):
        return None
    if not (_is_sure(name) or is_name(name)) or (not has_colon and name[0].islower() and not _is_sure(name)):
        return None
    if found["aside"]:
        aside = clean_text(found["aside"])
        is_manner = aside.upper() != aside.lower() and (aside == aside.lower() or name == name.upper())
        name = name if is_manner else f"{name} {aside}"
    return _Label(name, rest, not has_colon)


def _is_heading(line: str) -> bool:
    """Whether a line begins with a topic or a judgement and a colon."""
    found = _LABEL.match(line)
    words = clean_text(found["bare"]).casefold().split() if found is not None and found["bare"] else []
    return 0 < len(words) <= _MOST_WORDS and any(word in HEADINGS for word in words)


def is_name(name: str) -> bool:
    """Whether it has the form of a name: few words, capitals, and none that stands for something else."""
    words = name.split()
    folded = [word.casefold().strip("'’\"") for word in words]
    if not 1 <= len(words) <= _MOST_WORDS or len(name) > _LONGEST_NAME or any(word in HEADINGS for word in folded):
        return False
    is_letter = len(words) == 1 and len(name) == 1 and name.isupper()  # Q and A, I and R of interviews
    if folded[0] in SENTENCE_WORDS and not is_letter and not (folded[0] == "the" and len(words) > 1 and name == name.upper()):
        return False
    if any(character in '!?;…。！？、"“”' for character in name) or not (name[0].isalpha() or name.isdecimal()):
        return False
    if any("." in word and word not in _TITLES and not _INITIALS.fullmatch(word) for word in folded):
        return False
    if len(words) == 1 and name.isalpha() and name == name.lower() != name.upper():
        return len(name) > 1
    return all(
        (word[0].isalpha() and not word[0].islower()) or word[0].isdigit() or word.casefold() in _PARTICLES or (number > 0 and word[0] in "('&-")
        for number, word in enumerate(words)
    )


def _is_person(name: str) -> bool:
    """Whether it is plainly somebody's name: a common first name, a first and a last one, capitals, a title, a role, a Chinese surname."""
    words = name.split()
    is_full = len(words) >= 2 and all(word[0].isalpha() or word[0] == "(" for word in words)
    is_capitals = len(name) > 1 and name == name.upper() != name.lower()
    return is_full or is_capitals or name.casefold() in ROLES | FIRST_NAMES or (name[0] in SURNAMES and 2 <= len(name) <= 4)
