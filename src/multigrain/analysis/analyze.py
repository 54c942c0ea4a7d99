"""From a video, a text or stored utterances to an `Analysis`."""

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from multigrain import __version__
from multigrain.analysis.checkpoint_facts import check_extractable, check_reads_text, facts_of
from multigrain.analysis.explain import WORD_METHOD, Explanation, explain, plan_of
from multigrain.analysis.links import words_attend
from multigrain.analysis.long_text import cut_utterances
from multigrain.analysis.result import TITLES, AnalysedOrigin, Analysis, Interval, UtteranceAnalysis, WordContribution
from multigrain.analysis.strips import strips_of
from multigrain.analysis.unread_text import beyond_notes, unreadable_notes, without_unreadable_text
from multigrain.analysis.variants import UtteranceInput, VariantScorer, input_from_split, input_from_utterance
from multigrain.analysis.work import MOST_PIECES, parts_of, unweighed_note, weighed_utterances
from multigrain.errors import DataError
from multigrain.evaluation.conformal import COVERAGE, Conformal
from multigrain.language.words import cut_words, join_words
from multigrain.models import load
from multigrain.models.checkpoint import fetch_checkpoint
from multigrain.schema import MODALITIES, FeatureSpec, Utterance

if TYPE_CHECKING:
    from multigrain.data.batchable import BatchableSplit
    from multigrain.language.reader import TextReader
    from multigrain.models.base import MultimodalModel
    from multigrain.video.extract import ExtractedVideo
    from multigrain.video.limits import Limits

Progress = Callable[[str, float], None]
"""Called with the stage and the share of it that is done, in 0..1."""
STAGE = "analysis"
ABSENT = {"text": "no words are known", "audio": "nobody speaks", "vision": "no face was found"}
ABSENT_IN_FILE = {"audio": "there is no sound", "vision": "there is no picture"}
ABSENT_WORDS = {"text": "words", "audio": "a voice", "vision": "a face"}
ABSENT_IN_TEXT = dict.fromkeys(MODALITIES, "only a text was given")
ABSENT_IN_STORE = dict.fromkeys(MODALITIES, "the store has none of it here")


def analyze(
    video: str | Path,
    *,
    transcript: str | Path | None = None,
    checkpoint: str | Path | None = None,
    recognizer: str = "none",
    progress: Progress | None = None,
    limits: "Limits | None" = None,
    audio_track: str | None = None,
) -> Analysis:
    """What a model says of a video, utterance by utterance, and why.

    Args:
        video: file with sound or pictures or both.
        transcript: subtitles, plain text or JSON with word times; None for none.
        checkpoint: folder, run folder or hub id of a trained model; None for the one that comes with multigrain.
        recognizer: `none`, `pocketsphinx` or `whisper:MODEL`; used where there is no transcript.
        progress: is told how far it is.
        limits: on the size, length and pictures of the video.
        audio_track: the track of sound by its number from 1 on or its language; by default the one that players take, if it is not silent.

    Raises:
        CheckpointError: the model reads features that cannot be extracted from a video.
        MultigrainError: the video or the transcript cannot be used; the message says why.
    """
    from multigrain.video.extract import check_video, extract_video
    from multigrain.video.limits import Limits

    limits = limits or Limits()
    check_video(video, transcript=transcript, recognizer=recognizer, limits=limits, audio_track=audio_track)  # refused before a model is loaded
    where = _checkpoint_or_default(checkpoint)
    model = load(str(where))
    check_extractable(model, where)
    extracted = extract_video(video, transcript=transcript, recognizer=recognizer, limits=limits, progress=progress, audio_track=audio_track)
    return analyze_extracted(extracted, source=Path(video).name, model=model, checkpoint=where, progress=progress)


def analyze_extracted(
    extracted: "ExtractedVideo", *, source: str, model: "MultimodalModel", checkpoint: str | Path, progress: Progress | None = None
) -> Analysis:
    """What a model says of a video whose utterances were extracted already.

    Args:
        extracted: by `extract_video`.
        source: the file's name.
        model: loaded from `checkpoint`; its features must be those that were extracted.
        checkpoint: where the model was loaded from, for the facts about it.
        progress: is told how far it is.

    Raises:
        CheckpointError: the model reads other features.
        DataError: no utterance was found.
    """
    from multigrain.video.acoustic import ACOUSTIC_SPEC
    from multigrain.video.facial import FACIAL_SPEC

    check_extractable(model, checkpoint)
    if not extracted.utterances:
        raise DataError(
            f"No utterance was found in {source}: nobody speaks, and it comes without a transcript. {' '.join(extracted.notes)} "
            "Give a transcript with --transcript, or another video."
        )
    utterances, cut_notes = cut_utterances(_reader(model), extracted.utterances)
    inputs = [(utterance, input_from_utterance(model, utterance)) for utterance in utterances]
    shares = {"audio": extracted.voice_share, "vision": extracted.face_share}
    reasons = {**ABSENT, **{name: reason for name, reason in ABSENT_IN_FILE.items() if shares[name] is None}}
    made = _analysis("video", source, extracted.transcript_origin, model, checkpoint, inputs, extracted.features, reasons, progress)
    return replace(
        made,
        utterances=tuple(
            replace(
                one,
                face_share=None if extracted.face_share is None else _share_of_time(utterance, "vision", FACIAL_SPEC),
                voice_share=None if extracted.voice_share is None else _share_of_time(utterance, "audio", ACOUSTIC_SPEC),
            )
            for one, utterance in zip(made.utterances, utterances, strict=True)
        ),
        duration_seconds=extracted.duration_seconds,
        is_transcript_reliable=extracted.is_transcript_reliable,
        notes=(*extracted.notes, *cut_notes, *made.notes),
    )


def _share_of_time(utterance: Utterance, modality: str, spec: FeatureSpec) -> float | None:
    """The share of an utterance's time in which a modality has steps, or None where its place is not known."""
    if utterance.start_seconds is None or utterance.end_seconds is None or utterance.end_seconds <= utterance.start_seconds or not spec.rate_hz:
        return None
    return min(1.0, len(utterance.features.get(modality, ())) / (spec.rate_hz * (utterance.end_seconds - utterance.start_seconds)))


def analyze_text(text: str, *, checkpoint: str | Path | None = None, progress: Progress | None = None) -> Analysis:
    """What a model says of a text alone, one utterance a line that has words; a line longer than its language model reads is cut into sentences.

    Names before the words of lines (`Ann: I loved it`) are speakers, as in a transcript.

    Raises:
        CheckpointError: the model reads no transcripts.
        DataError: the text has no words.
    """
    where = _checkpoint_or_default(checkpoint)
    model = load(str(where))
    check_reads_text(model, where)
    lines, speaker_notes = _spoken_lines(text)
    if not lines:
        raise DataError("The text has no words. Give at least one word; each line is analysed by itself.")
    whole = [
        Utterance(id=f"line-{number}", split="test", group="text", features={}, text=join_words(words), words=tuple(words), speaker=speaker)
        for number, (words, speaker) in enumerate(lines, start=1)
    ]
    utterances, cut_notes = cut_utterances(_reader(model), whole)
    inputs = [(utterance, input_from_utterance(model, utterance)) for utterance in utterances]
    made = _analysis("text", "text", "text", model, where, inputs, {}, ABSENT_IN_TEXT, progress)
    return replace(made, notes=(*speaker_notes, *cut_notes, *made.notes))


def _spoken_lines(text: str) -> tuple[list[tuple[list[str], str | None]], list[str]]:
    """The words of each line that has any, and who says them; and a note that names the speakers."""
    from multigrain.video.speakers import speaker_note, with_speakers
    from multigrain.video.spoken import Turn
    from multigrain.video.text_cleaning import clean_text

    lines = [[Turn(line)] for line in (clean_text(line) for line in text.splitlines()) if line]
    turns = [turn for kept in with_speakers(lines, is_continued=True) for turn in kept]
    return [(words, turn.speaker) for turn in turns if (words := cut_words(turn.text))], speaker_note(turn.speaker for turn in turns)


def _reader(model: "MultimodalModel") -> "TextReader | None":
    return model.text_encoder.reader if "text" in model.features and model.text_encoder is not None else None


def analyze_split(
    model: "MultimodalModel", split: "BatchableSplit", indices: Sequence[int], *, checkpoint: str | Path, progress: Progress | None = None
) -> Analysis:
    """What a model says of some utterances of a store.

    Args:
        model: loaded from `checkpoint`.
        split: of a store opened for the model (with its text encoder, where it has one).
        indices: positions in the split, at least one.
        checkpoint: where the model was loaded from, for the facts about it.
        progress: is told how far it is.

    Raises:
        DataError: no index, or one out of range.
    """
    if not indices:
        raise DataError(f"No utterance of the split {split.name!r} was chosen to be analysed. Name at least one.")
    inputs = [(split.utterance(index), input_from_split(model, split, index)) for index in indices]
    return _analysis("store", f"{split.name} split", "store", model, checkpoint, inputs, model.features, ABSENT_IN_STORE, progress)


def _checkpoint_or_default(checkpoint: str | Path | None) -> str | Path:
    if checkpoint is not None:
        return checkpoint
    from multigrain.models.default_checkpoint import default_checkpoint

    return default_checkpoint()


def _analysis(
    kind: Literal["video", "text", "store"],
    source: str,
    transcript: AnalysedOrigin,
    model: "MultimodalModel",
    checkpoint: str | Path,
    inputs: Sequence[tuple[Utterance, UtteranceInput]],
    features: Mapping[str, FeatureSpec],
    reasons: Mapping[str, str],
    progress: Progress | None,
) -> Analysis:
    inputs, unread = without_unreadable_text(model, inputs)
    folder = fetch_checkpoint(str(model.loaded_from or checkpoint), {})  # intervals and facts of these weights, not of what the hub has by now
    scorer, conformal = VariantScorer(model), Conformal.read(folder)
    givens = [given for _, given in inputs]
    weighed, found = weighed_utterances(givens, MOST_PIECES[kind]), []
    for part in parts_of(givens, weighed):
        if progress is not None:
            progress(STAGE, part.start / len(inputs))
        scorer.forget()
        scorer.read_ahead([(givens[number], plan_of(givens[number], with_words=number in weighed).variants) for number in part])
        for number in part:
            explanation = explain(scorer, givens[number], with_words=number in weighed)
            found.append(_utterance_analysis(explanation, conformal, *inputs[number], list(model.features), features, {**reasons, **unread[number]}))
    if progress is not None:
        progress(STAGE, 1.0)
    return Analysis(
        source=source,
        kind=kind,
        task=model.task,
        checkpoint=facts_of(folder, str(checkpoint), model, has_attention=words_attend(scorer, inputs[0][1])),
        utterances=tuple(found),
        transcript=transcript,
        word_method=WORD_METHOD,
        notes=(
            *unreadable_notes(unread),
            *beyond_notes(givens, unread),
            *_notes(kind, model, conformal, found),
            *unweighed_note(givens, weighed, MOST_PIECES[kind]),
        ),
        created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        multigrain_version=__version__,
    )


def _utterance_analysis(
    explanation: Explanation,
    conformal: Conformal | None,
    utterance: Utterance,
    given: UtteranceInput,
    read: Sequence[str],
    features: Mapping[str, FeatureSpec],
    reasons: Mapping[str, str],
) -> UtteranceAnalysis:
    ends = None if conformal is None else conformal.interval(explanation.scores[0], given.present, COVERAGE)
    times = utterance.word_times or ()
    times = times if len(times) == len(given.words) else (None,) * len(given.words)
    label = utterance.label
    return UtteranceAnalysis(
        id=utterance.id,
        start_seconds=utterance.start_seconds,
        end_seconds=utterance.end_seconds,
        text=utterance.text or join_words(utterance.words or ()),
        speaker=utterance.speaker,
        scores=explanation.scores,
        explained=explanation.explained,
        interval=None if ends is None else Interval(low=ends[0], high=ends[1], coverage=COVERAGE),
        baseline=explanation.baseline,
        modalities=explanation.modalities,
        subset_scores=explanation.subset_scores,
        absent={name: reasons[name] for name in read if name not in given.present},
        words=tuple(
            WordContribution(
                word=word,
                contribution=explanation.words.get(place),
                start_seconds=None if time is None else time[0],
                end_seconds=None if time is None else time[1],
            )
            for place, (word, time) in enumerate(zip(given.words, times, strict=True))
        ),
        moments=explanation.moments,
        links=explanation.links,
        attention=explanation.attention,
        strips=strips_of(utterance, features, given.step_times),
        label=None if label is None else tuple(np.atleast_1d(np.asarray(label, dtype=np.float64)).tolist()),
    )


def _notes(kind: str, model: "MultimodalModel", conformal: Conformal | None, found: Sequence[UtteranceAnalysis]) -> tuple[str, ...]:
    """What the reader has to know that no single utterance tells."""
    notes = []
    bare = sum(not one.modalities for one in found)
    if bare:
        which = "this utterance" if len(found) == 1 else f"{bare} of the {len(found)} utterances"
        nothing = " nor ".join(ABSENT_WORDS[name] for name in MODALITIES if name in model.features)
        notes.append(f"In {which} there are neither {nothing}: there is no score.")
    unread = [TITLES[name] for name in MODALITIES if name not in model.features]
    if kind == "video" and unread:
        notes.append(f"This model does not read the {' nor the '.join(unread)}, which had no part in the scores.")
    if conformal is None and model.task.kind != "emotions":
        notes.append("The scores have no intervals: this checkpoint is not calibrated (multigrain calibrate).")
    elif conformal is not None and any(one.interval is None and one.modalities for one in found):
        notes.append("Some scores have no interval: the checkpoint is not calibrated for the modalities that these utterances have.")
    return tuple(notes)
