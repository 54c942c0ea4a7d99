"""The words that a recogniser lists, as they were spoken: pieces joined, what is missing put in, descriptions and speakers' numbers taken out."""

from collections.abc import Sequence
from dataclasses import replace

from multigrain.video.json_shapes import Entry
from multigrain.video.sounds import descriptions
from multigrain.video.speakers import numbered_speaker
from multigrain.video.spoken import counted, first_pieces
from multigrain.video.uncovered_text import uncovered


def continued(words: Sequence[Entry]) -> list[Entry]:
    """Words of which some were written in several pieces: where words begin with a space, one without goes on with the one before."""
    spaced = sum(word.text.startswith(" ") for word in words)
    if 2 * spaced <= len(words):
        return list(words)
    joined: list[Entry] = []
    for word in words:
        goes_on = bool(joined) and not word.text.startswith(" ") and word.text and word.speaker == joined[-1].speaker
        if goes_on:
            before = joined[-1]
            end = word.end if word.end is not None else before.end
            joined[-1] = Entry(before.text + word.text, before.start, end, before.is_milliseconds, before.speaker)
        else:
            joined.append(word)
    return joined


def complete(passages: Sequence[Entry]) -> list[str]:
    """Puts in what the words of passages leave out of their text, in place and without time, and says so."""
    missing: list[str] = []
    respelled: list[tuple[str, str]] = []
    num_passages = num_missing = 0
    for passage in passages:
        if not passage.words or not passage.text.strip():
            continue
        lacking = uncovered(passage.text, [word.text for word in passage.words])
        respelled += lacking.respelled
        num_passages += bool(lacking.missing)
        num_missing += sum(len(run) for _, run in lacking.missing)
        missing += [" ".join(run) for _, run in lacking.missing]
        for place, run in reversed(lacking.missing):
            speaker = passage.words[max(0, place - 1)].speaker
            passage.words[place:place] = [Entry(word, speaker=speaker) for word in run]
    notes = []
    if missing:
        notes.append(
            f"{counted(num_missing, 'word stands', 'words stand')} in the text of {counted(num_passages, 'passage', 'passages')} and not in its "
            f"list of words ({first_pieces(missing)}); taken from the text."
        )
    if respelled:
        text, listed = respelled[0]
        notes.append(
            f"{counted(len(respelled), 'place of the text is', 'places of the text are')} written otherwise in the list of words "
            f"({text[:40]!r} as {listed[:40]!r}); the list was taken."
        )
    return notes


def without_descriptions(words: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """The words without descriptions of sounds, also such as go over several words ("[door", "slams]"), and these descriptions."""
    line = " ".join(word.text.strip() for word in words)
    parts = list(descriptions(line))
    if not parts:
        return list(words), []
    kept: list[Entry] = []
    place, number = 0, 0
    for word in words:
        text, end = word.text.strip(), place + len(word.text.strip())
        while number < len(parts) and parts[number].end() <= place:
            number += 1
        spoken, position, within = "", place, number
        while within < len(parts) and parts[within].start() < end:
            spoken += line[position : max(position, parts[within].start())] + " "
            position = min(end, parts[within].end())
            within += 1
        spoken = (spoken + line[position:end]).strip()
        if spoken or not text:
            kept.append(word if spoken == text else replace(word, text=" " * word.text.startswith(" ") + spoken))
        place = end + 1
    return kept, [part[0] for part in parts]


def with_numbered_speakers(words: Sequence[Entry]) -> list[Entry]:
    """The words without a speaker's number among them, such as `SPEAKER_00:`, which says who speaks from there on."""
    kept: list[Entry] = []
    speaker = None
    place = 0
    while place < len(words):
        pair = " ".join(word.text.strip() for word in words[place : place + 2])
        alone, both = numbered_speaker(words[place].text.strip()), numbered_speaker(pair) if pair.endswith(":") else None
        if alone is None and both is None:
            word = words[place]
            kept.append(word if speaker is None or word.speaker is not None else replace(word, speaker=speaker))
        speaker = alone or both or speaker
        place += 2 if alone is None and both is not None else 1
    return kept
