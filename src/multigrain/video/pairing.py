"""Which transcript of a folder belongs to which video: by the path below the folders that were named, then by the name alone."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from multigrain.errors import VideoError, first_few
from multigrain.language.languages import LANGUAGES, language_code

TRANSCRIPT_SUFFIXES = (".srt", ".vtt", ".ass", ".ssa", ".json", ".txt")
"""In the order in which they are preferred where a folder has several for one video."""
_KINDS = frozenset({"forced", "sdh", "cc", "hi", "default", "auto", "orig", "subtitles", "transcript", "captions"})


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """What belongs to what, and what is left over.

    Attributes:
        found: video -> its transcript.
        without: videos that have none.
        unused: transcripts that belong to no video; not those that are another kind or language of one that was taken.
        other_languages: transcripts of the videos in a language that was not asked for.
        by_name_alone: videos whose transcript is in a folder of another name.
    """

    found: Mapping[Path, Path] = field(default_factory=dict)
    without: Sequence[Path] = ()
    unused: Sequence[Path] = ()
    other_languages: Sequence[Path] = ()
    by_name_alone: Sequence[Path] = ()

    def notes(self) -> list[str]:
        """What is left over, a sentence each."""
        notes = []
        if self.found and self.without:
            notes.append(f"Without a transcript: {_listed(self.without)}.")
        if self.unused:
            notes.append(f"Transcripts that belong to none of the videos: {_listed(self.unused)}.")
        if self.other_languages:
            notes.append(f"Transcripts in other languages, not used: {_listed(self.other_languages)}.")
        if self.by_name_alone:
            shown = [f"{'/'.join(video.parts[-2:])} with {'/'.join(self.found[video].parts[-2:])}" for video in self.by_name_alone]
            notes.append(f"Paired by name, from a folder of another name: {len(shown)} ({first_few(shown)}).")
        return notes


@dataclass(frozen=True)
class _Candidate:
    """A transcript as it may belong to a video: its path below the folder without ending and language, and the language."""

    path: Path
    key: tuple[str, ...]
    language: str | None


def pair_transcripts(videos: Mapping[Path, Path], folder: Path, language: str | None = None) -> Pairing:
    """The transcript of each video that has one in a folder.

    Args:
        videos: absolute path of each video -> its path below the folder that it was found in, or its name.
        folder: of transcripts, with or without folders in it as the videos have them; a name may end in a language (`talk.en.srt`).
        language: the one that is taken where there are several; an unmarked transcript serves any.

    Raises:
        VideoError: a transcript fits several videos, several fit one, or there are several languages and none was asked for.
    """
    files = sorted(path for path in folder.absolute().rglob("*") if path.suffix.lower() in TRANSCRIPT_SUFFIXES and path.is_file())
    stems = {_key(relative)[-1] for relative in videos.values()} | {_folded(relative.name) for relative in videos.values()}
    candidates = [_candidate(path, folder.absolute(), stems) for path in files]
    fitting = {video: _by_path(video, relative, candidates) for video, relative in videos.items()}
    taken = {candidate.path for given in fitting.values() for candidate in given}
    left = [candidate for candidate in candidates if candidate.path not in taken]
    by_name = {video: _named(video, relative, left) for video, relative in videos.items() if not fitting[video]}
    fitting |= by_name
    _refuse_shared(fitting)
    chosen = {video: one for video, given in fitting.items() if (one := _chosen(video, given, language)) is not None}
    known = {candidate.path for given in fitting.values() for candidate in given}
    return Pairing(
        found={video: one.path for video, one in chosen.items()},
        without=[video for video in videos if video not in chosen],
        unused=[path for path in files if path not in known],
        other_languages=[
            candidate.path
            for video, given in fitting.items()
            for candidate in given
            if candidate.language is not None and (video not in chosen or candidate.language != chosen[video].language)
        ],
        by_name_alone=[video for video in by_name if video in chosen and len(chosen[video].key) > 1 and len(videos[video].parts) > 1],
    )


def _key(path: PurePath) -> tuple[str, ...]:
    """A path without its ending, in small letters: `Talk.MP4` and `talk.srt` are one, and an accent is one however it is written."""
    return tuple(_folded(part) for part in path.with_suffix("").parts)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _candidate(path: Path, folder: Path, stems: set[str]) -> _Candidate:
    relative = path.relative_to(folder)
    *above, name = _key(relative)
    language = None
    while name not in stems:
        marked = _without_mark(name)
        if marked is None:
            return _Candidate(path, _key(relative), None)
        name, code = marked
        language = language or code
    return _Candidate(path, (*above, name), language)


def _without_mark(name: str) -> tuple[str, str | None] | None:
    """A name without its last mark, and the language that this says: `talk.sdh` is `talk` and none, `talk.en_us` and `talk_en` are `talk` and one.

    After an underscore only languages that are known by name count, since other words of three letters stand there too, such as `talk_raw`.
    """
    base, _, mark = name.rpartition(".")
    if base and mark in _KINDS:
        return base, None
    if base and (code := language_code(mark)) is not None:
        return base, code
    base, _, mark = name.rpartition("_")
    code = language_code(mark)
    return (base, code) if base and code in LANGUAGES else None


def _named(video: Path, relative: Path, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """The transcripts that are called as a video is, in whatever folder."""
    names = {_key(relative)[-1], _folded(video.name)}
    return [candidate for candidate in candidates if candidate.key[-1] in names]


def _by_path(video: Path, relative: Path, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """The transcripts of a video by their folders, which are the last of its own, the more of them the better."""
    key, whole, named = _key(relative), _key(video), _named(video, relative, candidates)
    nested = [one for one in named if len(one.key) > 1 and one.key[:-1] == whole[: len(whole) - 1][-(len(one.key) - 1) :]]
    same = [one for one in named if one.key[:-1] == key[:-1]]
    deepest = max((len(one.key) for one in nested), default=0)
    return same or [one for one in nested if len(one.key) == deepest]


def _refuse_shared(fitting: Mapping[Path, Sequence[_Candidate]]) -> None:
    """Raises where a transcript fits several videos that are called the same, or transcripts of several folders fit one video."""
    owners: dict[Path, Path] = {}
    for video, candidates in fitting.items():
        for candidate in candidates:
            other = owners.setdefault(candidate.path, video)
            if other != video:
                raise VideoError(
                    f"The transcript {candidate.path} fits two videos by its name: {other} and {video}. Put the transcripts into folders that are "
                    "called as those of the videos, or extract the folders one by one."
                )
        folders = sorted({candidate.path.parent for candidate in candidates})
        if len(folders) > 1:
            raise VideoError(
                f"Transcripts in several folders fit the video {video}: {folders[0]} and {folders[1]} have one of its name. Name the folder with its "
                "transcripts, or put them into folders that are called as those of the videos."
            )


def _chosen(video: Path, candidates: Sequence[_Candidate], language: str | None) -> _Candidate | None:
    languages = sorted({candidate.language for candidate in candidates if candidate.language})
    unmarked = [candidate for candidate in candidates if candidate.language is None]
    if language is not None:
        asked = language_code(language) or language.casefold().replace("_", "-")
        exact = [one for one in candidates if (one.language or "").replace("_", "-") == asked]
        near = [one for one in candidates if re.split("[-_]", one.language or "")[0] == asked]
        left = exact or near or unmarked
    elif unmarked or len(languages) <= 1:
        left = unmarked or list(candidates)
    else:
        known = ", ".join(f"{one} ({LANGUAGES[one]})" if one in LANGUAGES else one for one in languages)
        raise VideoError(f"{video} has transcripts in several languages: {known}. Choose one with --language, such as --language {languages[0]}.")
    return min(left, key=lambda one: (TRANSCRIPT_SUFFIXES.index(one.path.suffix.lower()), str(one.path)), default=None)


def _listed(paths: Sequence[Path]) -> str:
    return f"{len(paths)} ({first_few(['/'.join(path.parts[-2:]) for path in paths])})"
