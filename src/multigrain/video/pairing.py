"""Which transcript of a folder belongs to which video: by the path below the folders that were named, then by the name alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from multigrain.errors import VideoError, first_few
from multigrain.language.languages import LANGUAGES

TRANSCRIPT_SUFFIXES = (".srt", ".vtt", ".ass", ".ssa", ".json", ".txt")
"""In the order in which they are preferred where a folder has several for one video."""
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]{2,8})*", re.IGNORECASE)
_KINDS = frozenset({"forced", "sdh", "cc", "hi", "default", "auto", "orig", "subtitles", "transcript", "captions"})


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """What belongs to what, and what is left over.

    Attributes:
        found: video -> its transcript.
        without: videos that have none.
        unused: transcripts that belong to no video; not those that are another kind or language of one that was taken.
    """

    found: Mapping[Path, Path] = field(default_factory=dict)
    without: Sequence[Path] = ()
    unused: Sequence[Path] = ()

    def notes(self) -> list[str]:
        """What is left over, a sentence each."""
        notes = []
        if self.found and self.without:
            notes.append(f"Without a transcript: {_listed(self.without)}.")
        if self.unused:
            notes.append(f"Transcripts that belong to none of the videos: {_listed(self.unused)}.")
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
    stems = {_key(relative)[-1] for relative in videos.values()} | {relative.name.casefold() for relative in videos.values()}
    candidates = [_candidate(path, folder.absolute(), stems) for path in files]
    fitting = {video: _fitting(video, relative, candidates) for video, relative in videos.items()}
    _refuse_shared(fitting)
    found = {video: chosen.path for video, given in fitting.items() if (chosen := _chosen(video, given, language)) is not None}
    known = {candidate.path for given in fitting.values() for candidate in given}
    return Pairing(found=found, without=[video for video in videos if video not in found], unused=[path for path in files if path not in known])


def _key(path: PurePath) -> tuple[str, ...]:
    """A path without its ending, in small letters: `Talk.MP4` and `talk.srt` are one."""
    return tuple(part.casefold() for part in path.with_suffix("").parts)


def _candidate(path: Path, folder: Path, stems: set[str]) -> _Candidate:
    relative = path.relative_to(folder)
    *above, name = _key(relative)
    language = None
    while name not in stems and "." in name:
        name, _, mark = name.rpartition(".")
        if mark in _KINDS or not _LANGUAGE.fullmatch(mark):
            if mark not in _KINDS:
                return _Candidate(path, _key(relative), None)
            continue
        language = language or mark
    if name not in stems:
        return _Candidate(path, _key(relative), None)
    return _Candidate(path, (*above, name), language)


def _fitting(video: Path, relative: Path, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """The transcripts of a video: those whose folders are the last of its own, the more of them the better; else those of its name."""
    key, whole = _key(relative), _key(video)
    names = {key[-1], video.name.casefold()}
    named = [candidate for candidate in candidates if candidate.key[-1] in names]
    nested = [one for one in named if len(one.key) > 1 and one.key[:-1] == whole[: len(whole) - 1][-(len(one.key) - 1) :]]
    same = [one for one in named if one.key[:-1] == key[:-1]]
    deepest = max((len(one.key) for one in nested), default=0)
    return same or [one for one in nested if len(one.key) == deepest] or named


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
        asked = language.casefold().replace("_", "-")
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
