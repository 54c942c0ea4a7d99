"""From one video to utterances: words with their times, voice and face.

extracted = extract_video("talk.mp4", transcript="talk.srt")
for utterance in extracted.utterances:
    print(utterance.start_seconds, utterance.text, utterance.features["audio"].shape)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from multigrain.schema import FeatureSpec, Utterance
from multigrain.video.limits import Limits

TranscriptOrigin = Literal["subtitles", "text", "words", "recognised", "none"]
Progress = Callable[[str, float], None]
"""Called with the stage and the share of it that is done, in 0..1."""

STAGES: tuple[str, ...] = ("sound", "voice activity", "acoustic", "transcript", "alignment", "faces")


@dataclass(frozen=True, kw_only=True)
class ExtractedVideo:
    """What was found in one video.

    Attributes:
        utterances: in the order of time, split `test`, group and id from the file's name. `features` has `text` (words without vectors,
            for a language model), `audio` and `vision` where they are there; `step_times` says when each frame is.
        features: where each modality's features come from; those that an utterance of this video has.
        word_times: per utterance, start and end in seconds of each of its words; None where a word was not found in the sound.
        duration_seconds: of the video.
        face_share: share of the looked-at pictures that show a face; None for a file without picture.
        transcript_origin: `subtitles`, `text` (placed by alignment), `words` (given with times), `recognised` or `none`.
        is_transcript_reliable: False for text that pocketsphinx recognised: a last resort whose words are often wrong.
        notes: what the user should know, a sentence each.
        seconds: time that each stage took. Stages run side by side, so that their sum is more than the whole.
    """

    utterances: tuple[Utterance, ...]
    features: Mapping[str, FeatureSpec]
    word_times: tuple[tuple[tuple[float, float] | None, ...], ...]
    duration_seconds: float
    face_share: float | None
    transcript_origin: TranscriptOrigin
    is_transcript_reliable: bool
    notes: list[str]
    seconds: Mapping[str, float]


def extract_video(
    path: str | Path,
    *,
    transcript: str | Path | None = None,
    recognizer: str = "none",
    limits: Limits = Limits(),  # noqa: B008
    progress: Progress | None = None,
) -> ExtractedVideo:
    """Everything that can be found in one video or sound file.

    Args:
        path: the file; mp4, mov, mkv, webm, avi, mpg, wav, mp3, flac and whatever else ffmpeg reads.
        transcript: subtitles (.srt, .vtt, .ass), plain text (.txt), or words with times (.json).
        recognizer: what to do without transcript: `none`, `whisper:MODEL` (a name or folder of faster-whisper) or `pocketsphinx`.
        limits: what is refused.
        progress: told how far each stage is.

    Raises:
        VideoError: the file or its transcript cannot be read or exceeds a limit, or a library that it needs is missing.
    """
    raise NotImplementedError
