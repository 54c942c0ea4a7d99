"""Many videos to one store, in parallel processes; what is done of an interrupted extraction is not done again.

Until the store is whole, each finished video lies as a small store of its own in a hidden folder beside it.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from multigrain import __version__
from multigrain.data.store import Store, StoreWriter
from multigrain.data.store_format import check_destination
from multigrain.errors import VideoError
from multigrain.schema import MODALITIES, Task
from multigrain.video.acoustic import LICENCE_NOTE
from multigrain.video.extract import FEATURES, extract_video
from multigrain.video.labels import LabelledSegment, unique_names, without_lines
from multigrain.video.limits import Limits
from multigrain.video.recognition import check_recognizer
from multigrain.video.speakers import is_numbered
from multigrain.video.spoken import counted
from multigrain.video.words import GivenSegment
from multigrain.video.workers import run_tasks

_PARTS_MARK = ".extracting"
_FACTS = "video.json"


@dataclass(frozen=True)
class Failure:
    """A video of which nothing was extracted, and why."""

    video: Path
    reason: str


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What became of many videos.

    Attributes:
        store: the store's path; None where every video failed.
        num_utterances: in the store.
        videos: per video that is in the store, what is in the manifest about it.
        failures: the others.
        num_reused: videos that an earlier extraction had done.
        parts: where finished videos are kept for another attempt; None where none failed.
    """

    store: Path | None
    num_utterances: int
    videos: list[dict[str, Any]]
    failures: list[Failure]
    num_reused: int
    parts: Path | None


@dataclass(frozen=True, kw_only=True)
class _VideoTask:
    """What a worker process needs to know about one video."""

    video: Path
    part: Path
    transcript: Path | None
    recognizer: str
    limits: Limits
    segments: tuple[GivenSegment, ...] | None
    with_faces: bool
    audio_track: str | None
    is_strict: bool


@dataclass
class _Plan:
    """Which videos are to be extracted, and which are done."""

    tasks: list[_VideoTask] = field(default_factory=list)
    done: dict[Path, Path] = field(default_factory=dict)  # video -> its part


def extract_store(
    videos: Sequence[str | Path],
    store_path: str | Path,
    *,
    transcripts: Mapping[Path, Path] | None = None,
    labels: Mapping[Path, Sequence[LabelledSegment]] | None = None,
    task: Task | None = None,
    recognizer: str = "none",
    with_faces: bool = True,
    group: Literal["video", "speaker"] = "video",
    workers: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    progress: Callable[[Path, str, float], None] = lambda video, stage, share: None,
    on_done: Callable[[Path, str | None], None] = lambda video, reason: None,
    audio_track: str | None = None,
    is_strict: bool = False,
) -> Extraction:
    """Extracts videos into one store; a video that cannot be extracted is a failure in the result, and the others are done.

    Args:
        videos: the files, each once.
        store_path: the store's folder; it appears when all is done.
        transcripts: of the videos that have one.
        labels: utterances with labels of `labels.read_labels`, for training; videos without any are left out. By default utterances are
            found, have no label, and are in split `test`.
        task: what the labels are; by default scores in -3..3.
        recognizer, with_faces: see `extract_video`.
        group: what the utterances' group is: the video, or who speaks in it as the transcript says; a name is the same person in all videos, a
            recogniser's number (SPEAKER_00) another one in each, and an utterance of nobody's name is of its video. A table's own groups stay.
        workers: processes at once; 0 works in this process.
        resume: go on where an interrupted extraction to the same path ended; what was finished of the same files is kept.
        overwrite: replace a store that is already there.
        limits: what is refused.
        progress: told a video, a stage and its share.
        on_done: told each video when it is done, with the reason where it failed.
        audio_track: see `extract_video`.
        is_strict: a video of which a labelled utterance begins after its end is a failure; else that utterance is left out, with a note.

    Raises:
        VideoError: no videos, or an interrupted extraction lies there and `resume` is False.
        DataError: there is something at the store's path.
    """
    check_recognizer(recognizer)
    paths = list(dict.fromkeys(Path(video).absolute() for video in videos))
    if labels is not None:
        paths = [path for path in paths if labels.get(path)]
    if not paths:
        raise VideoError("There is no video to extract. Name at least one file, or a folder with some.")
    target = Path(store_path).absolute()
    check_destination(target, overwrite)
    parts = target.with_name(f".{target.name}{_PARTS_MARK}")
    if parts.exists() and not resume:
        raise VideoError(f"{parts} holds what an interrupted extraction to {target} had finished. Add --resume to go on with it, or delete it.")
    parts.mkdir(parents=True, exist_ok=True)
    plan = _planned(paths, parts, transcripts or {}, labels, recognizer, limits, with_faces, audio_track, is_strict)
    num_reused = len(plan.done)
    failures = []
    for outcome in run_tasks(
        _extract_part, plan.tasks, workers, parts, lambda number, stage, share: progress(plan.tasks[number].video, stage, share)
    ):
        ended = plan.tasks[outcome.number]
        on_done(ended.video, outcome.reason)
        if outcome.reason is None:
            plan.done[ended.video] = ended.part
        else:
            failures.append(Failure(ended.video, outcome.reason))
    done = {path: plan.done[path] for path in paths if path in plan.done}
    facts = [_facts(part) for part in done.values()]
    if labels is not None:
        labels = without_lines(labels, {path: own["skipped"] for path, own in zip(done, facts, strict=True)})
    num_utterances = _assemble(target, done, facts, labels, task or Task(), group, overwrite) if done else 0
    if not failures:
        shutil.rmtree(parts, ignore_errors=True)
    return Extraction(
        store=target if done else None,
        num_utterances=num_utterances,
        videos=facts,
        failures=failures,
        num_reused=num_reused,
        parts=parts if failures else None,
    )


def _planned(
    paths: Sequence[Path],
    parts: Path,
    transcripts: Mapping[Path, Path],
    labels: Mapping[Path, Sequence[LabelledSegment]] | None,
    recognizer: str,
    limits: Limits,
    with_faces: bool,
    audio_track: str | None,
    is_strict: bool,
) -> _Plan:
    plan = _Plan()
    for path in paths:
        segments = None if labels is None else tuple(line.segment for line in labels[path])
        transcript = transcripts.get(path)
        decisive = [
            *(__version__, {name: spec.to_dict() for name, spec in FEATURES.items()}, asdict(limits), recognizer, with_faces, audio_track, is_strict),
            *(str(path), None if transcript is None else _content(transcript)),
            None if segments is None else [asdict(segment) for segment in segments],
        ]
        part = parts / f"{hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:24]}.store"
        if (part / _FACTS).is_file() and _facts(part)["sha256"] == _content(path):
            plan.done[path] = part
        else:
            shutil.rmtree(part, ignore_errors=True)  # of a video that was another then
            plan.tasks.append(
                _VideoTask(
                    video=path,
                    part=part,
                    transcript=transcript,
                    recognizer=recognizer,
                    limits=limits,
                    segments=segments,
                    with_faces=with_faces,
                    audio_track=audio_track,
                    is_strict=is_strict,
                )
            )
    return plan


def _content(path: Path) -> str:
    """What tells a file from what it was before, whatever its name, size and times say."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _facts(part: Path) -> dict[str, Any]:
    return dict(json.loads((part / _FACTS).read_text(encoding="utf-8")))


def _extract_part(task: _VideoTask, progress: Callable[[str, float], None]) -> None:
    """Extracts one video into a small store of its own; runs in a worker process."""
    sha256 = _content(task.video)
    found = extract_video(
        task.video,
        transcript=task.transcript,
        recognizer=task.recognizer,
        limits=task.limits,
        progress=progress,
        segments=task.segments,
        with_faces=task.with_faces,
        audio_track=task.audio_track,
    )
    if task.is_strict and found.skipped:
        raise VideoError(
            f"{task.video}: {counted(len(found.skipped), 'utterance begins', 'utterances begin')} after its end at {found.duration_seconds:.2f} s. "
            "Mend the times."
        )
    if not found.features:
        raise VideoError(f"{task.video}: neither words nor voice nor a face were found. {' '.join(found.notes)}")
    facts = {
        "file": task.video.name,
        "duration_seconds": found.duration_seconds,
        "face_share": found.face_share,
        "voice_share": found.voice_share,
        "transcript_origin": found.transcript_origin,
        "is_transcript_reliable": found.is_transcript_reliable,
        "utterances": len(found.utterances),
        "speakers": sorted({one.speaker for one in found.utterances if one.speaker is not None}),
        "notes": found.notes,
        "skipped": list(found.skipped),
        "sha256": sha256,
    }
    with StoreWriter(task.part, task=Task(), features=found.features) as writer:
        for utterance in found.utterances:
            writer.add(utterance)
        writer.add_file(_FACTS, json.dumps(facts, ensure_ascii=False).encode())


def _assemble(
    target: Path,
    done: Mapping[Path, Path],
    facts: list[dict[str, Any]],
    labels: Mapping[Path, Sequence[LabelledSegment]] | None,
    task: Task,
    group: str,
    overwrite: bool,
) -> int:
    """Writes the store from the videos' own, with the labels where there are any."""
    stores = {video: Store.open(part) for video, part in done.items()}
    used = {modality for store in stores.values() for modality in store.features}
    features = {modality: FEATURES[modality] for modality in MODALITIES if modality in used}
    names, num_utterances = unique_names(list(done)), 0
    licence = LICENCE_NOTE if "audio" in features else None
    source = {"name": f"{len(done)} videos", "format": "videos"}
    with StoreWriter(target, task=task, features=features, source=source, licence=licence, extra={"videos": facts}, overwrite=overwrite) as writer:
        for video, store in stores.items():
            split, name = store.split("test"), names[video]
            lines = None if labels is None else labels[video]
            for index in range(len(split)):
                stored = store.stored["test"].utterance(index)
                own = _speaker_group(stored.speaker, name) if group == "speaker" else name
                utterance = replace(stored, id=f"{name}_{index}", group=own, readout=None, context_key=None)
                if lines is not None:
                    line = lines[index]
                    utterance = replace(utterance, id=line.id or utterance.id, group=line.group or own, label=line.label, split=line.split)
                writer.add(utterance)
                num_utterances += 1
    return num_utterances


def _speaker_group(speaker: str | None, video: str) -> str:
    """The group of who speaks: their name, within the video where that is but a number; the video where nobody is named."""
    if speaker is None:
        return video
    return f"{video}/{speaker}" if is_numbered(speaker) else speaker
