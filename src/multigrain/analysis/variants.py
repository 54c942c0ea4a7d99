"""One utterance with parts of it taken away, and what the model says then: the ground that every explanation stands on.

Taken away are whole modalities, words (with all their pieces) or steps of the voice or the face. What is left moves together, as where frames
are missing (docs/decisions/missing-modalities.md), so that the model sees a shorter utterance and no hole.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from multigrain.evaluation.missing_frames import keep_steps, keep_tokens
from multigrain.language.encoder import TextEncoder
from multigrain.language.pieces import NO_WORD
from multigrain.language.words import cut_words
from multigrain.schema import Batch, FeatureSpec, ModalitySequence, StepTimes, Utterance

if TYPE_CHECKING:
    from multigrain.data.batchable import BatchableSplit
    from multigrain.models.base import MultimodalModel

ROWS, ROWS_OF_TEXT = 16, 64
"""Variants that are predicted together; more where there is only text, whose rows are small."""
PIECES_AT_ONCE = 2048
"""Pieces, padding included, that a language model reads together."""
MOST_KEPT_PIECES = 65_536
"""Of what it has read, kept to be asked for again: 100 MB with states of 384 numbers."""


@dataclass(frozen=True, kw_only=True)
class UtteranceInput:
    """An utterance as a model reads it, with the words that its text steps belong to.

    Attributes:
        batch: of this one utterance, with the modalities that the model reads and the data have.
        words: of the transcript; "step 0" ... where the text has vectors but no words are known.
        word_of_step: index of the word that each text step is (a piece) of; -1 for special tokens. Empty without text.
        step_times: when the steps of the voice and the face are in the video, where known.
    """

    batch: Batch
    words: tuple[str, ...]
    word_of_step: Int[np.ndarray, " step"]
    step_times: Mapping[str, StepTimes] = field(default_factory=dict)

    @property
    def present(self) -> tuple[str, ...]:
        """The modalities that are there, in the order text, audio, vision."""
        return tuple(name for name, sequence in self.batch.modalities.items() if bool(sequence.mask.any()))

    @property
    def words_read(self) -> list[int]:
        """The words that reach the model: all, but for those beyond what its language model takes."""
        return sorted(set(self.word_of_step.tolist()) - {NO_WORD})

    def num_steps(self, modality: str) -> int:
        """Real steps of a modality; 0 where it is absent."""
        sequence = self.batch.modalities.get(modality)
        return 0 if sequence is None else int(sequence.mask.sum())


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What is left of an utterance.

    Attributes:
        modalities: those that stay; None for all that are there.
        without_words: words that are taken away.
        without_steps: (modality, start, end): steps start .. end - 1 that are taken away.
    """

    modalities: frozenset[str] | None = None
    without_words: frozenset[int] = frozenset()
    without_steps: tuple[tuple[str, int, int], ...] = ()


WHOLE = Variant()


def input_from_split(model: "MultimodalModel", split: "BatchableSplit", index: int) -> UtteranceInput:
    """An utterance of a store.

    Args:
        model: that is to be explained.
        split: of a store opened for the model.
        index: position in the split.
    """
    from multigrain.data.language_split import words_of

    batch = split.batch([index], [name for name in model.features if name in split.modalities])
    steps = 0 if batch.text is None else int(batch.text.mask.sum())
    words, utterance = tuple(words_of(split.records[index])), split.utterance(index)
    if batch.tokens is not None:
        word_of_step = batch.tokens.word[0, :steps].numpy()
    else:
        words = words if not steps or len(words) == steps else tuple(f"step {step}" for step in range(steps))
        word_of_step = np.arange(steps)
    return UtteranceInput(batch=batch, words=words, word_of_step=word_of_step, step_times=known_times(utterance, model.features))


def input_from_utterance(model: "MultimodalModel", utterance: Utterance) -> UtteranceInput:
    """An utterance of a video: its transcript through the model's language model, its voice and face as they were extracted."""
    words = utterance.words if utterance.words is not None else tuple(cut_words(utterance.text or ""))
    sequences: dict[str, ModalitySequence | None] = {}
    tokens, word_of_step = None, np.zeros(0, np.int64)
    if "text" in model.features and model.text_encoder is not None:
        table = model.text_encoder.reader.pieces.split([list(words)])
        sequences["text"], tokens, word_of_step = table.sequence(np.zeros(1, np.int64)), table.tokens(np.zeros(1, np.int64)), table.word
    for name in model.features:
        if name in utterance.features and name != "text" and len(utterance.features[name]):
            values = torch.from_numpy(np.asarray(utterance.features[name], dtype=np.float32))[None]
            sequences[name] = ModalitySequence.from_lengths(values, torch.tensor([values.shape[1]]))
    batch = Batch(ids=(utterance.id,), groups=(utterance.group,), tokens=tokens).with_modalities(sequences)
    return UtteranceInput(batch=batch, words=tuple(words), word_of_step=word_of_step, step_times=known_times(utterance, model.features))


def known_times(utterance: Utterance, features: Mapping[str, FeatureSpec]) -> dict[str, StepTimes]:
    """When an utterance's steps are: as it says itself, else at their extractor's rate from its beginning on; of context, nothing is known."""
    times = dict(utterance.step_times)
    for name, spec in features.items():
        if name not in times and name in utterance.features and spec.rate_hz and utterance.start_seconds is not None and utterance.readout is None:
            times[name] = StepTimes(spec.rate_hz, ((utterance.start_seconds, len(utterance.features[name])),))
    return times


def variant_batch(given: UtteranceInput, variants: Sequence[Variant]) -> Batch:
    """The variants of an utterance as the rows of a batch."""
    count, tokens = len(variants), given.batch.tokens
    sequences: dict[str, ModalitySequence] = {}
    for name, sequence in given.batch.modalities.items():
        kept = torch.stack([_kept(given, variant, name, sequence.mask[0]) for variant in variants])
        rows = ModalitySequence(sequence.features.expand(count, -1, -1), sequence.mask.expand(count, -1), sequence.readout.expand(count))
        if name == "text" and tokens is not None:  # cached states know the words that are gone: they are made anew
            rows = replace(rows, features=rows.features[..., :0])
            tokens = keep_tokens(replace(tokens, ids=tokens.ids.expand(count, -1), mask=rows.mask, word=tokens.word.expand(count, -1)), kept)
        sequences[name] = keep_steps(rows, kept)
    names = tuple(str(row) for row in range(count))
    return Batch(ids=names, tokens=tokens).with_modalities(sequences)


def _kept(given: UtteranceInput, variant: Variant, modality: str, mask: Bool[Tensor, " time"]) -> Bool[Tensor, " time"]:
    if variant.modalities is not None and modality not in variant.modalities:
        return torch.zeros_like(mask)
    kept = mask.clone()
    for name, start, end in variant.without_steps:
        if name == modality:
            kept[start:end] = False
    if modality == "text" and variant.without_words:
        steps = len(given.word_of_step)
        kept[:steps] &= torch.from_numpy(~np.isin(given.word_of_step, list(variant.without_words)))
        if not bool((kept[:steps] & torch.from_numpy(given.word_of_step != NO_WORD)).any()):
            kept[:] = False  # special tokens around nothing are no text
    return kept


def variant_texts(given: UtteranceInput, variants: Sequence[Variant]) -> list[Int[np.ndarray, "_"]]:
    """The pieces of text that each variant leaves; none for a variant without text."""
    sequence, tokens = given.batch.modalities.get("text"), given.batch.tokens
    if sequence is None or tokens is None:
        return []
    pieces = tokens.ids[0].numpy()
    return [pieces[_kept(given, variant, "text", sequence.mask[0]).numpy()] for variant in variants]


class VariantScorer:
    """A model's scores for variants of utterances; equal texts go through its language model once.

    Args:
        model: a trained model, on any device.
    """

    def __init__(self, model: "MultimodalModel"):
        self.model = model.eval()
        self._text_encoder = None if model.text_encoder is None else _RememberingEncoder(model.text_encoder)

    def read_ahead(self, work: Sequence[tuple[UtteranceInput, Sequence[Variant]]]) -> None:
        """Lets the language model read the texts of many utterances' variants at once, those of one length together; their scores are then quick.

        What was read stays until `forget`.
        """
        if self._text_encoder is None:
            return
        device = next(iter(self.model.parameters())).device
        with torch.no_grad():
            self._text_encoder.read([text for given, variants in work for text in variant_texts(given, variants)], device)

    def scores(self, given: UtteranceInput, variants: Sequence[Variant]) -> Float[np.ndarray, "variant label"]:
        """The scores of each variant, in the label's units."""
        found = [np.zeros((0, self.model.task.label_dim))]
        rows = ROWS_OF_TEXT if set(given.present) <= {"text"} else ROWS
        for start in range(0, len(variants), rows):
            batch = variant_batch(given, variants[start : start + rows])
            with self.remembering():
                found.append(self.model.predict(batch).double().cpu().numpy())
        return np.concatenate(found)

    def remembering(self) -> "_Swap":
        """Within it the model's language model answers from memory where it has read a text before."""
        return _Swap(self.model, self._text_encoder)

    def forget(self) -> None:
        """Empties the memory of texts, between one utterance and the next."""
        if self._text_encoder is not None:
            self._text_encoder.states.clear()


class _Swap:
    """Puts another text encoder into a model for a while."""

    def __init__(self, model: "MultimodalModel", encoder: TextEncoder | None):
        self._model, self._encoder, self._own = model, encoder, model.text_encoder

    def __enter__(self) -> None:
        self._model.text_encoder = self._encoder

    def __exit__(self, *_: object) -> None:
        self._model.text_encoder = self._own


class _RememberingEncoder(TextEncoder):
    """A language model that reads each text once; without gradients."""

    def __init__(self, encoder: TextEncoder):
        nn.Module.__init__(self)
        self.reader = encoder.reader
        self._encoder = [_merged(encoder)]  # in a list, so that torch does not take it for a part of this module
        self.states: dict[bytes, Tensor] = {}

    @torch.no_grad()
    def forward(self, ids: Int[Tensor, "batch token"], mask: Bool[Tensor, "batch token"]) -> Float[Tensor, "batch token dim"]:
        pieces = ids.cpu().numpy()
        texts = [row[real] for row, real in zip(pieces, mask.cpu().numpy(), strict=True)]
        self.read(texts, ids.device)
        answer = torch.zeros(*ids.shape, self.reader.width, device=ids.device)
        for row, text in enumerate(texts):
            answer[row][mask[row]] = self.states[text.tobytes()]
        return answer

    def read(self, texts: Sequence[Int[np.ndarray, "_"]], device: torch.device) -> None:
        """Reads texts that were not read before; the shortest first, so that each is among its like and next to nothing is padding."""
        if sum(map(len, self.states.values())) > MOST_KEPT_PIECES and any(text.tobytes() not in self.states for text in texts):
            self.states.clear()
        new = sorted({text.tobytes(): text for text in texts if text.tobytes() not in self.states}.items(), key=lambda item: len(item[1]))
        start = 0
        while start < len(new):
            count = 1
            while start + count < len(new) and (count + 1) * len(new[start + count][1]) <= PIECES_AT_ONCE:
                count += 1
            group = new[start : start + count]
            longest = max(1, len(group[-1][1]))
            ids, mask = np.zeros((count, longest), np.int64), np.zeros((count, longest), bool)
            for row, (_, text) in enumerate(group):
                ids[row, : len(text)], mask[row, : len(text)] = text, True
            states = self._encoder[0](torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))
            for (key, text), found in zip(group, states, strict=True):
                self.states[key] = found[: len(text)]
            start += count


def _merged(encoder: TextEncoder) -> TextEncoder:
    """The same language model with its low-rank matrices added to those that they stand beside, so that each layer is one product; a copy."""
    if encoder.reader.settings.mode != "lora":
        return encoder
    merged = copy.deepcopy(encoder).eval()
    for module in merged.modules():
        merge = getattr(module, "merge", None)
        if hasattr(module, "lora_A") and callable(merge):
            merge()
    return merged
