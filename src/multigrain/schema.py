"""The words that every part of multigrain shares: utterance, sequence, batch, task, feature specification, output.

Axis names used in shapes here and everywhere: `batch` utterances, `sequence` one each unless they share them, `time` steps of one modality,
`dim` features of a step, `word` words. Masks are True where a step is real; padding is always on the right.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from multigrain.errors import DataError
from multigrain.step_times import StepTimes as StepTimes

MODALITIES: tuple[str, ...] = ("text", "audio", "vision")
SPLITS: tuple[str, ...] = ("train", "valid", "test")
IEMOCAP_EMOTIONS: tuple[str, ...] = ("neutral", "happy", "sad", "angry")


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """Where one modality's features come from; a checkpoint is only ever fed the features it was trained on.

    Attributes:
        dim: features per step; 0 for words without vectors, which a language model is to read.
        extractor: name of what computed them, such as "glove.840B.300d" or "covarep"; "unknown" when the file is silent.
        version: the extractor's version, or an empty string.
        rate_hz: steps per second; None for one step a word or where it is not known.
        mean: per-feature mean over the training split's finite values, or None.
        std: per-feature standard deviation over the same values, or None.
        pooling: of a language model's states, which vector stands for the utterance: that of the `first` token or the `mean`; None
            for features of any other kind.
    """

    dim: int
    extractor: str = "unknown"
    version: str = ""
    rate_hz: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    pooling: Literal["first", "mean"] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The specification as plain JSON values."""
        return {name: value for name, value in asdict(self).items() if name != "pooling" or value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FeatureSpec":
        """The inverse of `to_dict`."""
        tuples = {name: tuple(values[name]) for name in ("mean", "std") if values.get(name) is not None}
        return cls(**{**values, **tuples})

    def difference(self, other: "FeatureSpec") -> str | None:
        """How `other` differs from this one in a way that makes a model's input meaningless, or None."""
        for name in ("dim", "extractor", "version"):
            if getattr(self, name) != getattr(other, name):
                return f"{name} {getattr(self, name)!r} against {getattr(other, name)!r}"
        return None


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is predicted.

    Attributes:
        kind: `regression` (one score), `classification` (ordered classes; the reported score is the expected
            value, and the most probable class is reported beside it) or `emotions` (several yes/no labels).
        minimum, maximum: the label's range, for regression and classification.
        class_values: the value that each class stands for, ascending, for classification.
        emotions: names of the binary labels, for emotions.
    """

    kind: Literal["regression", "classification", "emotions"] = "regression"
    minimum: float = -3.0
    maximum: float = 3.0
    class_values: tuple[float, ...] = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
    emotions: tuple[str, ...] = IEMOCAP_EMOTIONS

    @property
    def head_dim(self) -> int:
        """Width of a model's output layer for this task."""
        return {"regression": 1, "classification": len(self.class_values), "emotions": 2 * len(self.emotions)}[self.kind]

    @property
    def label_dim(self) -> int:
        """Labels per utterance: 1, or one per emotion."""
        return len(self.emotions) if self.kind == "emotions" else 1

    @property
    def answer_dim(self) -> int:
        """Width of `answers`: a score a label, and for classification the most probable class beside it."""
        return self.label_dim + (1 if self.kind == "classification" else 0)

    @property
    def labels_in_words(self) -> str:
        """What a label is, such as "scores in -3..3" or "emotions happy, sad"; tasks that agree in it can share labels."""
        return "emotions " + ", ".join(self.emotions) if self.kind == "emotions" else f"scores in {self.minimum:g}..{self.maximum:g}"

    def scores(self, prediction: Float[Tensor, "batch head"]) -> Float[Tensor, "batch label"]:
        """A model's raw output as scores: the value itself, the expected value, or each emotion's probability.

        Args:
            prediction: (batch, head_dim).

        Returns:
            (batch, label_dim), in the label's own units; probabilities in 0..1 for emotions.
        """
        if self.kind == "classification":
            values = prediction.new_tensor(self.class_values)
            return (prediction.softmax(dim=-1) * values).sum(dim=-1, keepdim=True)
        if self.kind == "emotions":
            return prediction.unflatten(-1, (-1, 2)).softmax(dim=-1)[..., 1]
        return prediction

    def answers(self, prediction: Float[Tensor, "batch head"]) -> Float[Tensor, "batch answer"]:
        """All that metrics are made from: the scores, and for classification the value of the most probable class in a last column.

        >>> Task(kind="classification").answers(torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0]])).round().tolist()
        [[3.0, 3.0]]
        """
        scores = self.scores(prediction)
        if self.kind != "classification":
            return scores
        return torch.cat([scores, prediction.new_tensor(self.class_values)[prediction.argmax(dim=-1, keepdim=True)]], dim=-1)

    def nearest_class(self, values: Float[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
        """The index of the class whose value is nearest: what a label is trained as and scored as.

        A value half-way between two classes falls to the even one where the classes are whole numbers (as rounding half to even does,
        in which Acc-7 is published), and to the lower one otherwise.

        >>> Task(kind="classification").nearest_class(torch.tensor([-0.5, 0.5, 1.5, 7.0])).tolist()  # 0, 0, 2, 3
        [3, 3, 5, 6]
        """
        classes = torch.tensor(self.class_values, dtype=torch.float64, device=values.device)
        middles, exact = (classes[1:] + classes[:-1]) / 2, values.to(torch.float64).contiguous()
        lower, upper = torch.searchsorted(middles, exact), torch.searchsorted(middles, exact, right=True)
        if any(value != round(value) for value in self.class_values):
            return lower
        return torch.where(classes[lower] % 2 == 0, lower, upper)

    def to_dict(self) -> dict[str, Any]:
        """The task as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Task":
        """The inverse of `to_dict`."""
        tuples = {name: tuple(values[name]) for name in ("class_values", "emotions") if name in values}
        return cls(**{**values, **tuples})


@dataclass(kw_only=True)
class Utterance:
    """One utterance as it comes out of a file or a video, before batching.

    Attributes:
        id: unique within a data set, such as "03bSnISJMiM_12".
        split: `train`, `valid` or `test`.
        group: video or speaker; two splits must not share one.
        features: per modality (time, dim) float array; a modality that is absent has no entry.
        label: the score; an array of 0/1 for emotions; None when unlabelled.
        text: the transcript, where known.
        words: one per text step, where known.
        start_seconds, end_seconds: place in the video, where known.
        word_times: start and end in the video of each of `words`, in seconds; None for a word whose place is not known, or throughout.
        step_times: when the steps of a modality are in the video, where known.
        speaker: who speaks, as the transcript says; None where it does not.
        context_key: utterances with the same key share their features (a video's sequence), which are stored once.
        readout: per modality the step that stands for this utterance; None means the last step.
    """

    id: str
    split: str
    group: str
    features: dict[str, np.ndarray]
    label: float | np.ndarray | None = None
    text: str | None = None
    words: tuple[str, ...] | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    word_times: tuple[tuple[float, float] | None, ...] | None = None
    step_times: dict[str, StepTimes] = field(default_factory=dict)
    speaker: str | None = None
    context_key: str | None = None
    readout: int | None = None


@dataclass
class ModalitySequence:
    """One modality of a batch: features, which steps are real, and the step that stands for the utterance.

    Attributes:
        features: (sequence, time, dim), one sequence an utterance unless `rows` says otherwise; the content of padded steps is never read.
        mask: (sequence, time), True = real. A row that is False throughout is an absent modality.
        readout: (batch,), index of the step that stands for the utterance; the last real step unless the
            utterance is given in its video's context. 0 for an absent modality.
        rows: (batch,), the sequence that each utterance is in, where the utterances of a video share theirs, so that it is computed once
            for all of them; None: utterance i is in sequence i. Only a model that `reads_shared_contexts` is ever given such a batch.
    """

    features: Float[Tensor, "sequence time dim"]
    mask: Bool[Tensor, "sequence time"]
    readout: Int[Tensor, " batch"]
    rows: Int[Tensor, " batch"] | None = None

    @classmethod
    def from_lengths(
        cls, features: Float[Tensor, "batch time dim"], lengths: Int[Tensor, " batch"], readout: Int[Tensor, " batch"] | None = None
    ) -> "ModalitySequence":
        """A sequence whose row i has `lengths[i]` real steps, right-padded."""
        steps = torch.arange(features.shape[1], device=features.device)
        last = (lengths - 1).clamp(min=0)
        return cls(features, steps[None, :] < lengths[:, None], last if readout is None else readout)

    @classmethod
    def absent(cls, batch: int, dim: int, like: Tensor) -> "ModalitySequence":
        """A modality that no utterance of the batch has: one padded step each."""
        return cls(
            like.new_zeros(batch, 1, dim),
            torch.zeros(batch, 1, dtype=torch.bool, device=like.device),
            torch.zeros(batch, dtype=torch.long, device=like.device),
        )

    @property
    def lengths(self) -> Int[Tensor, " sequence"]:
        """Number of real steps of each sequence."""
        return self.mask.sum(dim=1)

    @property
    def is_present(self) -> Bool[Tensor, " sequence"]:
        """True where the sequence has this modality at all."""
        return self.mask.any(dim=1)

    def unshared(self) -> "ModalitySequence":
        """The same with a sequence of its own for each utterance."""
        return self if self.rows is None else ModalitySequence(self.features[self.rows], self.mask[self.rows], self.readout)

    def to(self, device: torch.device | str) -> "ModalitySequence":
        """The same sequence on another device."""
        return self._map(lambda value: value.to(device, non_blocking=True))

    def pin_memory(self) -> "ModalitySequence":
        """The same sequence in page-locked memory."""
        return self._map(lambda value: value.pin_memory())

    def _map(self, function: Callable[[Tensor], Tensor]) -> "ModalitySequence":
        rows = None if self.rows is None else function(self.rows)
        return ModalitySequence(function(self.features), function(self.mask), function(self.readout), rows)


@dataclass
class TokenSequence:
    """Ids for a language model, with the word that each word-piece belongs to.

    In a `Batch`, `text` says beside it which tokens are real and which stands for the utterance; its features are of width 0 until the
    language model's states take their place, or are its states.

    Attributes:
        ids: (batch, token) vocabulary ids.
        mask: (batch, token), True = real.
        word: (batch, token) index of the word a token is a piece of; -1 for special tokens and padding.
    """

    ids: Int[Tensor, "batch token"]
    mask: Bool[Tensor, "batch token"]
    word: Int[Tensor, "batch token"]

    def to(self, device: torch.device | str) -> "TokenSequence":
        """The same tokens on another device."""
        return TokenSequence(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))

    def pin_memory(self) -> "TokenSequence":
        """The same tokens in page-locked memory."""
        return TokenSequence(*(getattr(self, f.name).pin_memory() for f in fields(self)))


@dataclass
class Batch:
    """What every model is called with: utterances padded to the longest of the batch, with masks.

    Attributes:
        text, audio, vision: one `ModalitySequence` each, or None when the data set has no such modality.
        label: (batch, label_dim) float, or None when unlabelled.
        ids: the utterances' ids.
        groups: their videos or speakers.
        tokens: ids for a language model, or None.
        speakers: (batch, time) integer id of who speaks at each step of a conversation, or None.
    """

    text: ModalitySequence | None = None
    audio: ModalitySequence | None = None
    vision: ModalitySequence | None = None
    label: Float[Tensor, "batch label"] | None = None
    ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    tokens: TokenSequence | None = None
    speakers: Int[Tensor, "batch time"] | None = None

    @classmethod
    def from_arrays(
        cls,
        *,
        text: Any = None,
        audio: Any = None,
        vision: Any = None,
        lengths: Mapping[str, Sequence[int] | np.ndarray | Tensor] | None = None,
        label: Any = None,
        ids: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
    ) -> "Batch":
        """A batch from right-padded arrays or tensors, as float32.

        Args:
            text, audio, vision: (batch, time, dim) each, or None where there is no such modality.
            lengths: real steps per utterance, by modality; a modality that is not named is real throughout.
            label: (batch,) or (batch, label_dim).
            ids, groups: names; by default "0", "1", ... and no groups.

        Raises:
            DataError: no modality given, or arrays that do not fit each other.

        >>> batch = Batch.from_arrays(text=np.ones((2, 5, 3)), lengths={"text": [5, 2]})
        >>> batch.text.mask.sum(dim=1).tolist()
        [5, 2]
        """
        given = {name: value for name, value in (("text", text), ("audio", audio), ("vision", vision)) if value is not None}
        if not given:
            raise DataError("Batch.from_arrays was given no modality. Pass at least one of text=, audio=, vision= as (batch, time, dim).")
        unknown = sorted(set(lengths or {}) - set(given))
        if unknown:
            raise DataError(f"Batch.from_arrays was given lengths for {unknown}, but no such array. Name only {sorted(given)} in lengths=.")
        sequences = {name: _sequence_from_array(name, value, (lengths or {}).get(name)) for name, value in given.items()}
        sizes = {name: sequence.features.shape[0] for name, sequence in sequences.items()}
        if len(set(sizes.values())) != 1:
            raise DataError(f"Batch.from_arrays: the arrays hold different numbers of utterances: {sizes}. Give each the same.")
        size = next(iter(sizes.values()))
        target = None if label is None else torch.as_tensor(np.asarray(label), dtype=torch.float32).reshape(size, -1)
        return cls(
            text=sequences.get("text"),
            audio=sequences.get("audio"),
            vision=sequences.get("vision"),
            label=target,
            ids=tuple(ids) if ids is not None else tuple(str(index) for index in range(size)),
            groups=tuple(groups) if groups is not None else (),
        )

    @property
    def modalities(self) -> dict[str, ModalitySequence]:
        """The modalities that are there, by name, in the order text, audio, vision."""
        named = {"text": self.text, "audio": self.audio, "vision": self.vision}
        return {name: sequence for name, sequence in named.items() if sequence is not None}

    @property
    def size(self) -> int:
        """Number of utterances."""
        for sequence in self.modalities.values():
            return sequence.readout.shape[0]
        return len(self.ids) if self.tokens is None else self.tokens.ids.shape[0]

    def unshared(self) -> "Batch":
        """The same batch with a sequence of its own for each utterance; see `ModalitySequence.rows`."""
        return self.with_modalities({name: sequence.unshared() for name, sequence in self.modalities.items()})

    def absent(self, dim: int, like: Tensor) -> ModalitySequence:
        """A modality that no utterance of the batch has, in sequences like those of the others."""
        shared = next((sequence for sequence in self.modalities.values() if sequence.rows is not None), None)
        if shared is None:
            return ModalitySequence.absent(self.size, dim, like)
        absent = ModalitySequence.absent(shared.mask.shape[0], dim, like)
        return ModalitySequence(absent.features, absent.mask, torch.zeros_like(shared.readout), shared.rows)

    def with_modalities(self, sequences: Mapping[str, ModalitySequence | None]) -> "Batch":
        """The same batch with some modalities replaced (None takes one away)."""
        unknown = sorted(set(sequences) - set(MODALITIES))
        if unknown:
            raise DataError(f"Unknown modalities {unknown}; expected some of {list(MODALITIES)}.")
        return replace(self, **dict(sequences))  # type: ignore[arg-type]

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        return self._map(lambda value: value.to(device))

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory, for fast copies to a GPU."""
        return self._map(lambda value: value.pin_memory())

    def _map(self, function: Any) -> "Batch":
        moved: dict[str, Any] = {
            name: None if getattr(self, name) is None else function(getattr(self, name))
            for name in ("text", "audio", "vision", "label", "tokens", "speakers")
        }
        return replace(self, **moved)


@dataclass
class ModelOutput:
    """What every model returns.

    Attributes:
        prediction: (batch, head_dim) raw output; `Task.scores` turns it into scores.
        losses: named auxiliary terms, each a scalar already weighted by the model's configuration.
        representations: named vectors, (batch, dim) each, for analysis.
        attention: when asked for: "audio_to_text" (text asks, audio answers) -> one tensor per layer,
            (batch, scale, head, target, source), rows sum to 1 over real source steps.
    """

    prediction: Float[Tensor, "batch head"]
    losses: dict[str, Tensor] = field(default_factory=dict)
    representations: dict[str, Tensor] = field(default_factory=dict)
    attention: dict[str, list[Tensor]] = field(default_factory=dict)


def _sequence_from_array(name: str, value: Any, lengths: Any) -> ModalitySequence:
    features = torch.as_tensor(value if isinstance(value, Tensor) else np.asarray(value)).to(torch.float32)
    if features.ndim != 3:
        raise DataError(f"Batch.from_arrays: {name} has shape {tuple(features.shape)}; expected (batch, time, dim).")
    batch, time, _ = features.shape
    if lengths is None:
        counts = torch.full((batch,), time, dtype=torch.long)
    else:
        counts = torch.as_tensor(np.asarray(lengths), dtype=torch.long)
        if counts.shape != (batch,) or bool((counts < 0).any()) or bool((counts > time).any()):
            raise DataError(
                f"Batch.from_arrays: lengths[{name!r}] is {counts.tolist()}; expected {batch} values between 0 and {time}, one per utterance."
            )
    return ModalitySequence.from_lengths(features, counts)
