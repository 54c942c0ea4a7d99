"""What an analysis finds: scores with their evidence, as plain frozen values that go into JSON and come back equal.

Scores and contributions are in the label's own units (-3..3 for sentiment as MOSI has it; probabilities for emotions), times in seconds
from the start of the video, shares in 0..1. Nothing here is rounded.
"""

import json
import os
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from multigrain.errors import DataError
from multigrain.schema import Task
from multigrain.video.segment import TranscriptOrigin

FORMAT_VERSION = 1

AnalysedOrigin = Literal[TranscriptOrigin, "store"]
"""Where the words come from: as in a video, or out of a store."""
LinkMethod = Literal["attention", "interaction"]
TITLES: Mapping[str, str] = {"text": "text", "audio": "voice", "vision": "face"}
"""What each modality is called where it is shown."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Where the label of such an utterance lies, by split conformal prediction.

    Attributes:
        low, high: its ends, within the label's range.
        coverage: the share of new utterances, like those that it was calibrated on, whose label lies within theirs.
    """

    low: float
    high: float
    coverage: float


@dataclass(frozen=True, kw_only=True)
class ModalityContribution:
    """What one modality did to the score of an utterance.

    Attributes:
        modality: text, audio or vision.
        value: its exact Shapley value over the subsets of the modalities that are present; together with `baseline` they sum to the score.
        alone: the score from this modality alone.
        without: the score from all the others, the baseline where there are none.
    """

    modality: str
    value: float
    alone: float
    without: float


@dataclass(frozen=True, kw_only=True)
class WordContribution:
    """What one word did to the score of an utterance.

    Attributes:
        word: as it is written in the transcript.
        contribution: in label units; positive where the word raises the score. None where the text was not read by the model.
        start_seconds, end_seconds: when it is said, or None where that is not known.
    """

    word: str
    contribution: float | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Span:
    """Some steps of the voice or the face of an utterance.

    Attributes:
        modality: audio or vision.
        start_step, end_step: steps start_step .. end_step - 1 of the utterance's own sequence.
        start_seconds, end_seconds: the same in the video, or None where the steps have no times.
    """

    modality: str
    start_step: int
    end_step: int
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What one stretch of the voice or the face did to the score.

    Attributes:
        span: which stretch.
        contribution: the score less that without the stretch, in label units.
    """

    span: Span
    contribution: float


@dataclass(frozen=True, kw_only=True)
class Link:
    """A word that the model read together with some seconds of the voice or the face.

    Attributes:
        word: index of the word in the utterance.
        span: the seconds.
        effect: measured on the model: the word's contribution with the seconds there, less that with them taken away, in label units.
            Links are ordered by its size.
        attention: share, 0..1, of the word's attention that falls on the span, mean over layers, scales and heads; None without attention.
        method: where the pair was looked for: among the strongest attention, or among all words and spans (models without attention).
    """

    word: int
    span: Span
    effect: float
    attention: float | None = None
    method: LinkMethod


@dataclass(frozen=True, kw_only=True)
class AttentionMap:
    """Where each word looked in the voice or the face.

    Attributes:
        modality: audio or vision, which answers.
        spans: the columns, one after another.
        weights: (word, span): the share, 0..1, of the word's attention that falls on the span, mean over layers, scales and heads; a row is
            all 0 where the model did not read the word.
    """

    modality: str
    spans: tuple[Span, ...]
    weights: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A measured course over the seconds of an utterance, to be shown under it; such as the loudness of the voice.

    Attributes:
        modality: audio or vision.
        name: what was measured, in words.
        unit: of the values, empty where they have none.
        times_seconds: of each value, in the video.
        values: None where nothing could be measured (no face).
    """

    modality: str
    name: str
    unit: str
    times_seconds: tuple[float, ...]
    values: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class UtteranceAnalysis:
    """One utterance with its score and the evidence for it.

    Attributes:
        id: unique within the analysis.
        start_seconds, end_seconds: its place in the video, or None.
        text: the transcript, empty where there is none.
        speaker: who speaks, as the transcript says; None where it does not.
        scores: all scores, in the task's order: one, or one per emotion; of an utterance without any modality what the model says of nothing,
            which is no score, and null in JSON.
        explained: index of the score that everything below explains: 0, or the most probable emotion.
        interval: of that score, or None where the checkpoint is not calibrated for what was present.
        baseline: the score from no modality at all.
        modalities: those present, with what each did.
        subset_scores: the score from each subset of them, named "text", "text + audio" ...; "none" is the baseline.
        absent: modalities that the model reads but that were not there, with the reason.
        words: of the transcript.
        moments: of the voice and the face, in time order.
        links: the strongest, strongest first; empty where the model links nothing.
        attention: one map for the voice and one for the face, where the model has attention from words to them.
        strips: measured courses of the voice and the face.
        face_share: share, 0..1, of its time in which a face was found, or None where nobody looked.
        voice_share: share, 0..1, of its time in which somebody speaks, or None where there is no sound.
        label: of a stored utterance, where it has one.
    """

    id: str
    scores: tuple[float, ...]
    start_seconds: float | None = None
    end_seconds: float | None = None
    text: str = ""
    speaker: str | None = None
    explained: int = 0
    interval: Interval | None = None
    baseline: float = 0.0
    modalities: tuple[ModalityContribution, ...] = ()
    subset_scores: Mapping[str, float] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    words: tuple[WordContribution, ...] = ()
    moments: tuple[Moment, ...] = ()
    links: tuple[Link, ...] = ()
    attention: tuple[AttentionMap, ...] = ()
    strips: tuple[Strip, ...] = ()
    face_share: float | None = None
    voice_share: float | None = None
    label: tuple[float, ...] | None = None

    @property
    def score(self) -> float:
        """The explained score."""
        return self.scores[self.explained]


@dataclass(frozen=True, kw_only=True)
class CheckpointFacts:
    """Which model said so.

    Attributes:
        name: of the checkpoint's folder or hub id, without the path.
        model: name of the model, such as "mcmut".
        paper: its paper, venue and year.
        multigrain_version: that trained it.
        features: modality -> extractor, version and width, in words.
        text_encoder: the language model that reads the text, or None.
        languages: that its text was trained on, as codes; empty where it does not say.
        sha256: of the weights' file.
        has_attention: whether words attend voice or face in it.
        calibration: how the intervals were made, in words; None without.
        card: its model card (Markdown), empty where there is none.
    """

    name: str
    model: str
    paper: str
    multigrain_version: str
    features: Mapping[str, str]
    text_encoder: str | None
    sha256: str
    has_attention: bool
    calibration: str | None = None
    card: str = ""
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SpeakerSummary:
    """What one speaker said, in short; of the utterances that have a score.

    Attributes:
        speaker: the name.
        num_utterances: how many of theirs have a score.
        seconds: that these take together, or None where times are not known.
        mean_scores: (label,) mean of the scores, weighed by the utterances' seconds where they are known.
        modalities: modality -> mean over utterances of the contribution's size (absolute Shapley value).
    """

    speaker: str
    num_utterances: int
    seconds: float | None
    mean_scores: tuple[float, ...]
    modalities: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """An analysis in short: of the utterances that have words, voice or face, if any has; of the others nothing is known.

    Attributes:
        num_utterances: how many these are.
        seconds: that they take together, or None where times are not known.
        mean_scores: (label,) mean of the scores, weighed by the utterances' seconds where they are known.
        highest, lowest: index of the utterance with the highest and the lowest score; the first of the scores, for emotions.
        modalities: modality -> mean over utterances of the contribution's size (absolute Shapley value).
        speakers: the same of each speaker, in the order in which they first speak; empty where nobody is named.
    """

    num_utterances: int
    seconds: float | None
    mean_scores: tuple[float, ...]
    highest: int
    lowest: int
    modalities: Mapping[str, float]
    speakers: tuple[SpeakerSummary, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """All that was found out about a video, a text, or utterances of a store.

    Attributes:
        source: name of the file, without its folder; "text" for a text alone.
        kind: what was analysed.
        duration_seconds: of the video, or None.
        task: what the scores are.
        checkpoint: which model said so.
        utterances: in time order, at least one.
        transcript: where the words come from.
        is_transcript_reliable: False for words that were recognised by a last resort and are often wrong.
        word_method: how the words' contributions were computed, in words.
        notes: what the reader has to know, such as a modality that could not be used.
        created: ISO date and time.
        multigrain_version: that made the analysis.
    """

    source: str
    kind: Literal["video", "text", "store"]
    task: Task
    checkpoint: CheckpointFacts
    utterances: tuple[UtteranceAnalysis, ...]
    duration_seconds: float | None = None
    transcript: AnalysedOrigin = "none"
    is_transcript_reliable: bool = True
    word_method: str = ""
    notes: tuple[str, ...] = ()
    created: str = ""
    multigrain_version: str = ""

    @property
    def score_names(self) -> tuple[str, ...]:
        """What each score of an utterance is called."""
        return self.task.emotions if self.task.kind == "emotions" else ("sentiment",)

    @property
    def summary(self) -> Summary:
        """The analysis in short."""
        indices = [index for index, one in enumerate(self.utterances) if one.modalities] or list(range(len(self.utterances)))
        counted = [self.utterances[index] for index in indices]
        order = sorted(indices, key=lambda index: self.utterances[index].scores[0])
        return Summary(
            num_utterances=len(counted),
            seconds=_total_seconds(counted),
            mean_scores=_mean_scores(counted),
            highest=order[-1],
            lowest=order[0],
            modalities=_effects(counted),
            speakers=self._speakers(),
        )

    def _speakers(self) -> tuple[SpeakerSummary, ...]:
        names = dict.fromkeys(one.speaker for one in self.utterances if one.speaker is not None)
        spoken = {name: [one for one in self.utterances if one.speaker == name and one.modalities] for name in names}
        return tuple(
            SpeakerSummary(
                speaker=name,
                num_utterances=len(theirs),
                seconds=_total_seconds(theirs),
                mean_scores=_mean_scores(theirs) if theirs else (),
                modalities=_effects(theirs) if theirs else {},
            )
            for name, theirs in spoken.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, with the format's version and, for readers of the JSON, the summary.

        An utterance of which nothing was found that the model reads has null for its scores, and a summary of nothing but such ones null for their
        mean: what a model says of nothing is no score.
        """
        values = {"format_version": FORMAT_VERSION, **_plain(self), "summary": _plain(self.summary)}
        for one, plain in zip(self.utterances, values["utterances"], strict=True):
            if not one.modalities:
                plain["scores"] = [None] * len(one.scores)
        if not any(one.modalities for one in self.utterances):
            values["summary"]["mean_scores"] = [None] * len(self.score_names)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Analysis":
        """The inverse of `to_dict`.

        Raises:
            DataError: of a newer format, or not an analysis.
        """
        version = values.get("format_version") if isinstance(values, Mapping) else None
        if version != FORMAT_VERSION:
            raise DataError(
                f"This is no analysis that this multigrain can read: expected format_version {FORMAT_VERSION}, got {version!r}. "
                "Analyse the video again, or update multigrain."
            )
        try:
            own = {name: value for name, value in values.items() if name not in ("format_version", "summary")}
            return _build(cls, {**own, "utterances": [_with_scores(one) for one in own["utterances"]]})
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise DataError(f"This analysis is damaged ({error}). Analyse the video again.") from error

    def write_json(self, path: str | os.PathLike[str]) -> Path:
        """Writes it as a JSON file, whole or not at all; returns the file."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(target.name + ".part")
        beside.write_text(json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(beside, target)
        return target

    @classmethod
    def read_json(cls, path: str | os.PathLike[str]) -> "Analysis":
        """Reads what `write_json` wrote.

        Raises:
            DataError: no such file, not JSON, or not an analysis of this format.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as an analysis ({error}). Expected a file that `multigrain analyze --json` wrote.") from error


def _total_seconds(utterances: Sequence[UtteranceAnalysis]) -> float | None:
    lengths = [one.end_seconds - one.start_seconds for one in utterances if one.start_seconds is not None and one.end_seconds is not None]
    return sum(lengths) if len(lengths) == len(utterances) and sum(lengths) > 0 else None


def _mean_scores(utterances: Sequence[UtteranceAnalysis]) -> tuple[float, ...]:
    """Weighed by seconds where all are known; of at least one utterance."""
    is_timed = _total_seconds(utterances) is not None
    weights = [(one.end_seconds or 0.0) - (one.start_seconds or 0.0) if is_timed else 1.0 for one in utterances]
    count = len(utterances[0].scores)
    return tuple(sum(weight * one.scores[place] for weight, one in zip(weights, utterances, strict=True)) / sum(weights) for place in range(count))


def _effects(utterances: Sequence[UtteranceAnalysis]) -> dict[str, float]:
    names = dict.fromkeys(part.modality for one in utterances for part in one.modalities)
    parts = [part for one in utterances for part in one.modalities]
    return {name: sum(abs(part.value) for part in parts if part.modality == name) / len(utterances) for name in names}


# Plain values and back ----------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _with_scores(utterance: Mapping[str, Any]) -> dict[str, Any]:
    """Null scores, of an utterance in which nothing was found, as what the model says of nothing."""
    baseline = utterance.get("baseline", 0.0)
    return {**utterance, "scores": [baseline if score is None else score for score in utterance["scores"]]}


def _build(kind: Any, value: Any) -> Any:
    """A value of the annotated type out of plain JSON values; unknown keys are an error."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _build(next(part for part in inner if part is not type(None)), value)
    if origin is tuple:
        return tuple(_build(inner[0], item) for item in value)
    if origin is Mapping:
        return {key: _build(inner[1], item) for key, item in value.items()}
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        unknown = sorted(set(value) - set(hints))
        if unknown:
            raise ValueError(f"{kind.__name__} has no {unknown[0]!r}")
        return kind(**{name: _build(hints[name], item) for name, item in value.items()})
    return float(value) if kind is float else value  # other writers of JSON write 1.0 as 1


# Reading ------------------------------------------------------------------------------------------------------------


def strongest_words(utterance: UtteranceAnalysis, count: int) -> list[WordContribution]:
    """The words that did most to the score, in either direction, strongest first; none of those without a contribution."""
    known = [word for word in utterance.words if word.contribution is not None]
    return sorted(known, key=lambda word: -abs(word.contribution or 0.0))[:count]
