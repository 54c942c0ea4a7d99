"""From a video, a text or stored utterances to an `Analysis`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from multigrain.analysis.result import Analysis

if TYPE_CHECKING:
    from multigrain.data.batchable import BatchableSplit
    from multigrain.models.base import MultimodalModel
    from multigrain.video.limits import Limits

Progress = Callable[[str, float], None]
"""Called with the stage and the share of it that is done, in 0..1."""


def analyze(
    video: str | Path,
    *,
    transcript: str | Path | None = None,
    checkpoint: str | Path | None = None,
    recognizer: str = "none",
    progress: Progress | None = None,
    limits: "Limits | None" = None,
) -> Analysis:
    """What a model says of a video, utterance by utterance, and why.

    Args:
        video: file with sound or pictures or both.
        transcript: subtitles, plain text or JSON with word times; None for none.
        checkpoint: folder, run folder or hub id of a trained model; None for the one that comes with multigrain.
        recognizer: `none`, `pocketsphinx` or `whisper:MODEL`; used where there is no transcript.
        progress: is told how far it is.
        limits: on the size, length and pictures of the video.

    Raises:
        CheckpointError: the model reads features that cannot be extracted from a video.
        MultigrainError: the video or the transcript cannot be used; the message says why.
    """
    raise NotImplementedError


def analyze_text(text: str, *, checkpoint: str | Path | None = None) -> Analysis:
    """What a model says of a text alone, one utterance a line.

    Raises:
        CheckpointError: the model reads no transcripts.
        DataError: the text has no words.
    """
    raise NotImplementedError


def analyze_split(
    model: "MultimodalModel", split: "BatchableSplit", indices: Sequence[int], *, checkpoint: str | Path, progress: Progress | None = None
) -> Analysis:
    """What a model says of some utterances of a store.

    Args:
        model: loaded from `checkpoint`.
        split: of a store opened for the model (with its text encoder, where it has one).
        indices: positions in the split.
        checkpoint: where the model was loaded from, for the facts about it.
        progress: is told how far it is.
    """
    raise NotImplementedError
