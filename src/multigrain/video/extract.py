"""From one video to utterances: words with their times, voice and face.

    extracted = extract_video("talk.mp4", transcript="talk.srt")
    for utterance in extracted.utterances:
        print(utterance.start_seconds, utterance.text, utterance.features["audio"].shape)

Sound and pictures are read side by side, piece by piece: what stays in memory is a few numbers a second.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

import numpy as np
from jaxtyping import Bool, Float, Int

from multigrain.data.readers.transcripts import WORDS
from multigrain.errors import VideoError
from multigrain.language.words import join_words
from multigrain.schema import MODALITIES, FeatureSpec, StepTimes, Utterance
from multigrain.video import acoustic, facial
from multigrain.video.ahead import ahead
from multigrain.video.face_tracking import FaceTracker
from multigrain.video.limits import Limits
from multigrain.video.media import Media, inspect_media, pictures, sound_blocks
from multigrain.video.recognition import check_recognizer
from multigrain.video.segment import Segment, TranscriptOrigin
from multigrain.video.sound import Sound
from multigrain.video.speech import SpeechDetector, Stretch
from multigrain.video.transcript import Transcript, clean_text, read_transcript
from multigrain.video.words import GivenSegment, Heard, find_segments

Progress = Callable[[str, float], None]
"""Called with the stage and the share of it that is done, in 0..1; from more than one thread, though never at once."""

STAGES: tuple[str, ...] = ("sound", "faces", "words")
FEATURES: dict[str, FeatureSpec] = {"text": WORDS, "audio": acoustic.ACOUSTIC_SPEC, "vision": facial.FACIAL_SPEC}
"""What extraction computes: words for a language model, voice and face."""

CUES_PER_UTTERANCE = 4
"""Captions that roll through the picture show a sentence in so many cues."""
_TELL_SECONDS = 2.0  # how often the share that is done is reported, in seconds of the video
_LEAST_SPEECH_SECONDS = 0.2  # less of it in an utterance is the edge of its neighbour's, and no voice


@dataclass(frozen=True, kw_only=True)
class ExtractedVideo:
    """What was found in one video.

    Attributes:
        utterances: in the order of time, split `test`, group and id from the file's name. `features` has `text` (words without vectors,
            for a language model), `audio` and `vision` where they are there; `step_times` says when each frame is.
        features: where each modality's features come from; those that an utterance of this video has.
        word_times: per utterance, start and end in seconds of each of its words; None where a word was not found in the sound.
        duration_seconds: of the video.
        face_share: share of the looked-at pictures that show a face; None where no picture was looked at.
        voice_share: share of the sound in which somebody speaks; None where there is no sound.
        transcript_origin: `subtitles`, `text` (placed by alignment), `words` (given with times), `recognised` or `none`.
        is_transcript_reliable: False for text that pocketsphinx recognised: a last resort whose words are often wrong.
        notes: what the user should know, a sentence each.
        skipped: numbers of the given segments that begin after the video's end and have no utterance.
        seconds: time that each part of the work took. Sound and faces are worked on side by side, so that the sum is more than the whole.
    """

    utterances: tuple[Utterance, ...]
    features: Mapping[str, FeatureSpec]
    word_times: tuple[tuple[tuple[float, float] | None, ...], ...]
    duration_seconds: float
    face_share: float | None
    voice_share: float | None
    transcript_origin: TranscriptOrigin
    is_transcript_reliable: bool
    notes: list[str]
    seconds: Mapping[str, float]
    skipped: tuple[int, ...] = ()


@dataclass
class _Voice:
    """Frames of the voice, 100 a second from 0 s on; which of them are spoken, and the stretches of speech that say so."""

    frames: Float[np.ndarray, "step 25"]
    is_spoken: Bool[np.ndarray, " step"]
    speech: list[Stretch]


@dataclass
class _Faces:
    """Frames of the face: the steps at which there is one, their features, and how many steps were looked at."""

    steps: Int[np.ndarray, " step"]
    frames: Float[np.ndarray, "step 35"]
    num_looked_at: int = 0
    last_second: float = 0.0


@dataclass
class _Clock:
    """Seconds that each part of the work took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Adds the time that the block takes."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - begin


def extract_video(
    path: str | Path,
    *,
    transcript: str | Path | None = None,
    recognizer: str = "none",
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    progress: Progress | None = None,
    segments: Sequence[GivenSegment] | None = None,
    with_faces: bool = True,
    audio_track: str | None = None,
) -> ExtractedVideo:
    """Everything that can be found in one video or sound file.

    Args:
        path: the file; mp4, mov, mkv, webm, avi, mpg, wav, mp3, flac and others that ffmpeg reads.
        transcript: subtitles (.srt, .vtt, .ass), plain text (.txt), or words with times (.json).
        recognizer: what to do without transcript: `none`, `whisper:MODEL` (a name or folder of faster-whisper) or `pocketsphinx`.
        limits: what is refused.
        progress: told how far each of `STAGES` is.
        segments: the utterances, where they are known, such as from a table of labels; by default they are found.
        with_faces: False leaves the face out, and needs no mediapipe.
        audio_track: which track of sound is heard: its number from 1 on, or its language; by default the one that players take, unless it is
            silent beside one that is not.

    Raises:
        VideoError: the file or its transcript cannot be read or exceeds a limit, or a library that it needs is missing.
    """
    media, given = check_video(path, transcript=transcript, recognizer=recognizer, limits=limits, audio_track=audio_track)
    if segments is not None:
        _check_count(len(segments), media.path, limits)
    tell, clock, stop = _one_at_a_time(progress), _Clock(), Event()
    with Sound() as sound, ThreadPoolExecutor(1) as pool:
        looking = pool.submit(_look, media, clock, tell, stop) if media.has_picture and with_faces else None
        try:
            voice = _hear(media, sound, clock, tell, looking) if media.has_sound else None
            duration = max(media.duration_seconds or 0.0, sound.duration_seconds)
            if media.duration_seconds is None and looking is not None:
                duration = max(duration, looking.result().last_second)
            with clock.of("words"):
                heard = Heard(sound if media.has_sound else None, [] if voice is None else voice.speech, duration)
                found = find_segments(heard, given, recognizer, segments, lambda share: tell("words", share))
            _check_count(len(found.segments), media.path, limits)
            tell("words", 1.0)
            faces = None if looking is None else looking.result()
        except BaseException:
            stop.set()
            raise
    notes = [*media.notes, *(given.notes if given else []), *found.notes, *_notes(media, with_faces, faces, sound.duration_seconds)]
    name = clean_text(media.path.stem) or "video"
    utterances = tuple(_utterance(f"{name}_{number}", name, segment, voice, faces) for number, segment in enumerate(found.segments))
    used = {modality for utterance in utterances for modality in utterance.features}
    return ExtractedVideo(
        utterances=utterances,
        features={modality: FEATURES[modality] for modality in MODALITIES if modality in used},
        word_times=tuple(segment.word_times for segment in found.segments),
        duration_seconds=duration,
        face_share=None if faces is None else len(faces.steps) / max(1, faces.num_looked_at),
        voice_share=None if voice is None else float(voice.is_spoken.sum()) / max(1, len(voice.is_spoken)),
        transcript_origin=found.origin,
        is_transcript_reliable=found.is_reliable,
        notes=notes,
        seconds=dict(clock.seconds),
        skipped=found.skipped,
    )


def check_video(
    path: str | Path, *, transcript: str | Path | None = None, recognizer: str = "none", limits: Limits, audio_track: str | None = None
) -> tuple[Media, Transcript | None]:
    """What can be said against a video or its transcript within a moment, before anything is computed; both as they were opened.

    Raises:
        VideoError: as `extract_video` does.
    """
    check_recognizer(recognizer)
    media = inspect_media(path, limits, audio_track)
    given = None if transcript is None else read_transcript(transcript, limits, video_seconds=media.duration_seconds)
    if transcript is not None and given is not None and given.origin == "subtitles":
        _check_count(len(given.cues) // CUES_PER_UTTERANCE, Path(transcript), limits)
    return media, given


def _check_count(utterances: int, path: Path, limits: Limits) -> None:
    if utterances > limits.utterances:
        raise VideoError(f"{path} has {utterances} utterances; at most {limits.utterances} are allowed. Cut it into parts, each with its transcript.")


def _one_at_a_time(progress: Progress | None) -> Progress:
    """The same, called by one thread at a time."""
    lock = Lock()

    def tell(stage: str, share: float) -> None:
        if progress is not None:
            with lock:
                progress(stage, share)

    return tell


def _hear(media: Media, sound: Sound, clock: _Clock, tell: Progress, looking: Future[_Faces] | None) -> _Voice:
    """Reads the sound once: keeps it on disk, and gives the voice's frames and where somebody speaks.

    Ends with the error of `looking` as soon as there is one, not after an hour of sound.
    """
    stream, detector = acoustic.AcousticStream(), SpeechDetector()
    frames, blocks, told = [], sound_blocks(media), 0.0
    while True:
        with clock.of("decode sound"):
            block = next(blocks, None)
        if block is None:
            break
        if looking is not None and looking.done():
            looking.result()
        sound.write(block)
        with clock.of("acoustic"):
            frames.append(stream.push(block))
        with clock.of("voice activity"):
            detector.push(block)
        if sound.duration_seconds - told > _TELL_SECONDS:
            told = sound.duration_seconds
            tell("sound", min(1.0, told / (media.duration_seconds or media.limits.duration_seconds)))
    with clock.of("acoustic"):
        frames.append(stream.finish())
    with clock.of("voice activity"):
        speech = detector.finish()
    tell("sound", 1.0)
    found = np.concatenate(frames)
    is_spoken = np.zeros(len(found), bool)
    for begin, end in speech:
        is_spoken[int(np.ceil(begin * acoustic.FRAME_RATE_HZ - 1e-6)) : int(np.ceil(end * acoustic.FRAME_RATE_HZ - 1e-6))] = True
    return _Voice(found, is_spoken, speech)


def _look(media: Media, clock: _Clock, tell: Progress, stop: Event) -> _Faces:
    """Reads the pictures once and follows the face through them."""
    with clock.of("load face mesh"):
        tracker = FaceTracker()
    steps: list[int] = []
    geometry = facial.FaceGeometry()
    repeats: list[int] = []  # steps that each of the faces is shown at
    num_looked_at, told, second = 0, 0.0, 0.0
    with tracker, closing(ahead(pictures(media, facial.FRAME_RATE_HZ))) as shown:
        while not stop.is_set():
            with clock.of("wait for picture"):
                picture = next(shown, None)
            if picture is None:
                break
            second = picture.steps.stop / facial.FRAME_RATE_HZ
            num_looked_at += len(picture.steps)
            with clock.of("faces"):
                landmarks = tracker.follow(picture.pixels, picture.steps.start / facial.FRAME_RATE_HZ)
                if landmarks is not None:
                    steps += picture.steps
                    repeats.append(len(picture.steps))
                    geometry.push(landmarks, picture.pixels.shape[1], picture.pixels.shape[0])
            if second - told > _TELL_SECONDS:
                told = second
                tell("faces", min(1.0, second / (media.duration_seconds or media.limits.duration_seconds)))
    tell("faces", 1.0)
    found = np.repeat(geometry.finish(), np.array(repeats, np.int64), axis=0)
    return _Faces(np.array(steps, np.int64), facial.without_median(found), num_looked_at, second)


def _utterance(identifier: str, group: str, segment: Segment, voice: _Voice | None, faces: _Faces | None) -> Utterance:
    features: dict[str, np.ndarray] = {}
    times: dict[str, StepTimes] = {}
    if segment.words:
        features["text"] = np.zeros((len(segment.words), 0), np.float32)
    if voice is not None:
        first, last = _steps_within(segment, acoustic.FRAME_RATE_HZ)
        steps = first + np.flatnonzero(voice.is_spoken[first:last])
        if len(steps) >= _LEAST_SPEECH_SECONDS * acoustic.FRAME_RATE_HZ:
            features["audio"], times["audio"] = voice.frames[steps], StepTimes.of_steps(acoustic.FRAME_RATE_HZ, steps)
    if faces is not None:
        first, last = _steps_within(segment, facial.FRAME_RATE_HZ)
        low, high = np.searchsorted(faces.steps, [first, last])
        if high > low:
            features["vision"], times["vision"] = faces.frames[low:high].copy(), StepTimes.of_steps(facial.FRAME_RATE_HZ, faces.steps[low:high])
    return Utterance(
        id=identifier,
        split="test",
        group=group,
        features=features,
        text=join_words(segment.words) or None,
        words=segment.words or None,
        start_seconds=segment.start,
        end_seconds=segment.end,
        word_times=segment.word_times if segment.words else None,
        step_times=times,
        speaker=segment.speaker,
    )


def _steps_within(segment: Segment, rate_hz: float) -> tuple[int, int]:
    """The first of the grid's steps that begins within the segment, and the one after the last."""
    return int(np.ceil(segment.start * rate_hz - 1e-6)), int(np.ceil(segment.end * rate_hz - 1e-6))


def _notes(media: Media, with_faces: bool, faces: _Faces | None, sound_seconds: float) -> list[str]:
    notes = []
    if not media.has_sound:
        notes.append("The file has no sound: there is no voice, and words cannot be placed in time.")
    if not media.has_picture:
        notes.append("The file has no picture: there is no face.")
    elif faces is None:
        notes.append("The face was left out, as asked.")
    elif not len(faces.steps):
        notes.append("No human face was found in the picture.")
    decoded = max(sound_seconds, 0.0 if faces is None else faces.last_second)
    is_all_decoded = faces is not None or not media.has_picture
    if is_all_decoded and media.duration_seconds is not None and decoded < 0.9 * media.duration_seconds - 1.0:
        notes.append(f"The header says {media.duration_seconds:.1f} s, but only {decoded:.1f} s can be decoded: the file seems to be cut short.")
    return notes
