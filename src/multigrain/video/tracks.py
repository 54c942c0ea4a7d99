"""Which of a file's tracks is taken: the one that was asked for; else the one that a player would play, unless it is silent beside one that is not.

And whether the two channels of its sound cancel each other, as those of a microphone that was wired the wrong way round do.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
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


def check_sound(stream: Any, path: Any, limits: Limits) -> None:
    """Refuses sound that nobody records.

    Raises:
        VideoError: the track has more channels, or a higher or lower rate, than allowed, by its header.
    """
    channels, rate = stream.codec_context.channels, stream.codec_context.sample_rate
    if channels > limits.channels or not limits.lowest_rate_hz <= rate <= limits.highest_rate_hz:
        raise VideoError(
            f"{path} has sound of {channels} channels and {rate} samples a second; at most {limits.channels} channels and {limits.lowest_rate_hz} to "
            f"{limits.highest_rate_hz} samples are allowed. Export it with two channels and 48000 samples a second."
        )


def choose_sound(containers: Any, asked: str | None, path: Any, limits: Limits) -> SoundTrack | None:
    """The track of sound to take.

    Args:
        containers: opens the file anew each time that it is called.
        asked: a number from 1 on, or a language; None for the one that a player would play, or the first that is not silent.
        path: of the file, for messages.
        limits: of channels and rate.

    Raises:
        VideoError: there is no such track, or it exceeds the limits.
    """
    with containers() as container:
        found, best = tracks(container, "audio"), best_track(container, "audio")
        if best is None:
            if asked is not None:
                raise VideoError(f"{path} has no sound, so that there is no track {asked!r} of it. Leave out --audio-track.")
            return None
        chosen = best if asked is None else _asked(found, asked, path)
        names = [f"{number} ({_language(stream) or 'no language'})" for number, stream in enumerate(found, start=1)]
        numbers = {stream.index: number for number, stream in enumerate(found, start=1)}
    order = (
        [numbers[chosen.index], *(number for number in numbers.values() if number != numbers[chosen.index])]
        if asked is None
        else [numbers[chosen.index]]
    )
    heard = None
    for number in order:
        check_sound(found[number - 1], path, limits)
        with containers() as container:
            heard = _listen(container, tracks(container, "audio")[number - 1])
        if heard.is_heard:
            break
    number = number if heard is not None and heard.is_heard else order[0]
    notes = []
    if len(found) > 1:
        why = "" if number == order[0] else f", since {order[0]}, which players take, is silent"
        notes.append(f"The file has {len(found)} tracks of sound: {', '.join(names)}; {number} was used{why}.")
    is_inverse = heard is not None and heard.is_heard and heard.is_inverse
    if is_inverse:
        notes.append("The two channels of the sound cancel each other (one is wired the wrong way round); the second was turned around.")
    return SoundTrack(index=found[number - 1].index, is_inverse=is_inverse, notes=tuple(notes))


def _asked(found: list[Any], asked: str, path: Any) -> Any:
    wanted = asked.strip().lower()
    if re.fullmatch(r"[0-9]{1,3}", wanted):
        matching = found[int(wanted) - 1 : int(wanted)] if int(wanted) else []
    else:
        matching = [stream for stream in found if _is_language(_language(stream), wanted)]
    if matching:
        return matching[0]
    names = ", ".join(f"{number} ({_language(stream) or 'no language'})" for number, stream in enumerate(found, start=1))
    raise VideoError(f"{path} has no track of sound {asked!r}; it has {names}. Name one of these numbers or languages with --audio-track.")


def _language(stream: Any) -> str:
    name = str(stream.language or "").lower()
    return "" if name == "und" else name


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
    is_stereo = stream.codec_context.channels == 2
    return _Heard(is_heard=seconds > 0, is_inverse=is_stereo and seconds > 0 and together < _CANCELLED * each)


def _blocks(container: Any, stream: Any) -> Iterator[Float[np.ndarray, "channel sample"]]:
    av = import_part("av", "reading videos")
    packets = container.demux(stream)
    resampler, layout = None, None
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            for frame in packet.decode():
                if resampler is None or layout != (frame.layout.name, frame.format.name, frame.sample_rate):
                    layout = (frame.layout.name, frame.format.name, frame.sample_rate)
                    resampler = av.AudioResampler("fltp")  # the same channels and rate, as numbers
                frame.pts = None
                for piece in resampler.resample(frame):
                    yield np.nan_to_num(piece.to_ndarray(), nan=0.0, posinf=0.0, neginf=0.0).clip(-4, 4)
        except (av.error.FFmpegError, ValueError):  # what is broken is said when the track is decoded
            return
