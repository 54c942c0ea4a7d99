"""Which of a file's tracks is taken: the one that was asked for; else the one that a player would play, unless it is silent beside one that is not.

And whether the two channels of its sound cancel each other, as those of a microphone that was wired the wrong way round do.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from multigrain.errors import VideoError
from multigrain.video.limits import Limits
from multigrain.video.parts import import_part

_LISTEN_SECONDS = 300.0
"""So much of a track is listened to at most, until something is heard."""
_HEARD_SECONDS = 10.0
"""So much of what is heard decides whether the channels cancel each other."""
_SILENCE = 10 ** (-60 / 20)
"""Amplitude of a block below which nothing is heard: 60 dB below full scale."""
_CANCELLED = 0.02
"""Share of the channels' energy that is left of their sum where they cancel each other; of two unrelated ones half is left."""

_OTHER_CODES = {
    **{"cs": "cze", "de": "ger", "el": "gre", "es": "spa", "fa": "per", "fr": "fre", "hy": "arm", "is": "ice", "ka": "geo", "mk": "mac"},
    **{"ms": "may", "my": "bur", "nl": "dut", "ro": "rum", "sk": "slo", "sq": "alb", "zh": "chi", "eu": "baq", "cy": "wel", "bo": "tib"},
    **{"ja": "jpn", "pl": "pol", "pt": "por", "sv": "swe", "tr": "tur", "uk": "ukr", "hr": "hrv", "sr": "srp", "et": "est", "ga": "gle"},
}
_THREE_LETTERS = {"cze": "ces", "ger": "deu", "gre": "ell", "per": "fas", "fre": "fra", "arm": "hye", "ice": "isl", "geo": "kat", "mac": "mkd"} | {
    **{"may": "msa", "bur": "mya", "dut": "nld", "rum": "ron", "slo": "slk", "alb": "sqi", "chi": "zho", "baq": "eus", "wel": "cym", "tib": "bod"}
}


@dataclass(frozen=True)
class SoundTrack:
    """The track of sound that is taken.

    Attributes:
        index: of the stream in the file.
        is_inverse: True where its two channels cancel each other.
        notes: what the user should know.
    """

    index: int
    is_inverse: bool
    notes: tuple[str, ...] = ()


def tracks(container: Any, kind: str) -> list[Any]:
    """The tracks of a kind (`audio`, `video`) that can be decoded, without a sound file's cover picture."""
    cover = import_part("av", "reading videos").stream.Disposition.attached_pic
    return [stream for stream in getattr(container.streams, kind) if stream.codec_context is not None and not cover & stream.disposition]


def best_track(container: Any, kind: str) -> Any:
    """The track that a player would play, or None."""
    streams, best = tracks(container, kind), container.streams.best(kind)
    return best if best in streams else streams[0] if streams else None


@dataclass(frozen=True)
class _Facts:
    """What is kept of a track once its file is closed: a stream of a closed file must not be asked anything."""

    index: int
    language: str
    channels: int
    rate: int

    @classmethod
    def of(cls, stream: Any) -> "_Facts":
        name = str(stream.language or "").lower()
        return cls(stream.index, "" if name == "und" else name, stream.codec_context.channels, stream.codec_context.sample_rate)


def check_sound(channels: int, rate: int, path: Path, limits: Limits) -> None:
    """Refuses sound that nobody records, by a file's header and again by what turns out to be in it.

    Raises:
        VideoError: it has more channels, or a higher or lower rate, than allowed.
    """
    if channels > limits.channels or not limits.lowest_rate_hz <= rate <= limits.highest_rate_hz:
        raise VideoError(
            f"{path} has sound of {channels} channels and {rate} samples a second; at most {limits.channels} channels and "
            f"{limits.lowest_rate_hz} to {limits.highest_rate_hz} samples are allowed. Export it with two channels and 48000 samples a second."
        )


def choose_sound(opened: Callable[[], Any], asked: str | None, path: Path, limits: Limits) -> SoundTrack | None:
    """The track of sound to take.

    Args:
        opened: opens the file anew each time that it is called.
        asked: a number from 1 on, or a language; None for the one that a player would play, or the first that is not silent.
        path: of the file, for messages.
        limits: of channels and rate.

    Raises:
        VideoError: there is no such track, or it exceeds the limits.
    """
    with opened() as container:
        best = best_track(container, "audio")
        found = [_Facts.of(stream) for stream in tracks(container, "audio")]
        place = next((place for place, facts in enumerate(found) if best is not None and facts.index == best.index), None)
    if place is None:
        if asked is not None:
            raise VideoError(f"{path} has no sound, so that there is no track {asked!r} of it. Leave out --audio-track.")
        return None
    if asked is not None:
        place = _asked(found, asked, path)
    check_sound(found[place].channels, found[place].rate, path, limits)
    heard = _heard_in(opened, place)
    chosen = place
    if asked is None and not heard.is_heard:
        for other, facts in enumerate(found):
            if other == place:
                continue
            check_sound(facts.channels, facts.rate, path, limits)
            heard_there = _heard_in(opened, other)
            if heard_there.is_heard:
                chosen, heard = other, heard_there
                break
    notes = []
    if len(found) > 1:
        why = "" if chosen == place else f", since {place + 1}, which players take, is silent"
        notes.append(f"The file has {len(found)} tracks of sound: {_names(found)}; {chosen + 1} was used{why}.")
    if heard.is_inverse:
        notes.append("The two channels of the sound cancel each other (one is wired the wrong way round); the second was turned around.")
    return SoundTrack(index=found[chosen].index, is_inverse=heard.is_inverse, notes=tuple(notes))


def _names(found: list[_Facts]) -> str:
    return ", ".join(f"{number} ({facts.language or 'no language'})" for number, facts in enumerate(found, start=1))


def _asked(found: list[_Facts], asked: str, path: Path) -> int:
    """The place of the wanted track among all."""
    wanted = asked.strip().lower()
    if re.fullmatch(r"[0-9]{1,3}", wanted):
        matching = [int(wanted) - 1] if 1 <= int(wanted) <= len(found) else []
    else:
        matching = [place for place, facts in enumerate(found) if _is_language(facts.language, wanted)]
    if matching:
        return matching[0]
    raise VideoError(f"{path} has no track of sound {asked!r}; it has {_names(found)}. Name one of these numbers or languages with --audio-track.")


def _heard_in(opened: Callable[[], Any], place: int) -> "_Heard":
    with opened() as container:
        return _listen(container, tracks(container, "audio")[place])


def _is_language(name: str, wanted: str) -> bool:
    """Whether a track's language is the wanted one, in two letters or three, of either standard, with or without region."""

    def known(code: str) -> str:
        code = re.split(r"[-_]", code)[0]
        code = _OTHER_CODES.get(code, code)
        return _THREE_LETTERS.get(code, code)

    first, second = known(name), known(wanted)
    return bool(first) and (first == second or (min(len(first), len(second)) == 2 and first[:2] == second[:2]))


@dataclass
class _Heard:
    is_heard: bool = False
    is_inverse: bool = False


def _listen(container: Any, stream: Any) -> _Heard:
    """Whether anything is heard in a track, and whether its channels cancel each other where something is."""
    each = together = seconds = listened = 0.0
    for samples in _blocks(container, stream):
        duration = samples.shape[1] / max(1, stream.codec_context.sample_rate or 1)
        listened += duration
        if np.sqrt((samples**2).mean()) > _SILENCE:
            seconds += duration
            each += float((samples**2).sum())
            together += float((samples.sum(axis=0) ** 2).sum()) / len(samples)
        if listened > _LISTEN_SECONDS or seconds > _HEARD_SECONDS:
            break
    is_inverse = stream.codec_context.channels == 2 and seconds > 0 and together < _CANCELLED * each
    return _Heard(is_heard=seconds > 0, is_inverse=is_inverse)


def _blocks(container: Any, stream: Any) -> Iterator[Float[np.ndarray, "channel sample"]]:
    av = import_part("av", "reading videos")
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            for frame in packet.decode():
                yield np.nan_to_num(_as_numbers(frame), nan=0.0, posinf=0.0, neginf=0.0).clip(-4, 4)
        except (av.error.FFmpegError, ValueError):  # what is broken is said when the track is decoded
            return


def _as_numbers(frame: Any) -> Float[np.ndarray, "channel sample"]:
    """A frame's samples, full scale at 1. FFmpeg's own conversion crashes the process on eight channels whose places no header names."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype.kind == "f":
        return np.asarray(samples, dtype=np.float32)
    middle = 128 if samples.dtype == np.uint8 else 0
    return (samples.astype(np.float32) - middle) / np.float32(128 if middle else np.iinfo(samples.dtype).max)
