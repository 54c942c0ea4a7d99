"""The links of models whose answer is known: one that binds words to events as planted, and one that adds its modalities up."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from multigrain.analysis.explain import explain
from multigrain.analysis.variants import UtteranceInput, VariantScorer
from multigrain.models.base import MultimodalModel, Paper
from multigrain.schema import Batch, FeatureSpec, ModelOutput, Task

WORDS = ("so", "good", "it", "bad", "was", "then")
POLARITY = (0.0, 2.0, 0.0, -1.0, 0.0, 0.0)
FEATURES = {name: FeatureSpec(dim=2) for name in ("text", "audio", "vision")}


@dataclass(frozen=True, kw_only=True)
class Empty:
    """No settings."""


class Binds(MultimodalModel):
    """A word counts as its polarity, and once more where the voice has a step with the word's own key.

    A word's first feature is its polarity, its second its key; an acoustic step's second feature is the key that it answers.
    """

    name: ClassVar[str] = "binds"
    config_class: ClassVar[type] = Empty
    paper: ClassVar[Paper] = Paper("none", "none", 2026, "none")
    looks_at_key: ClassVar[bool] = True
    has_attention: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__(Empty(), Task(), FEATURES)
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, batch: Batch, with_attention: bool = False) -> ModelOutput:
        given = self.prepare(batch)
        text, audio, vision = (given[name].features for name in ("text", "audio", "vision"))
        answers = (text[:, :, None, 1] == audio[:, None, :, 1]) & given["text"].mask[:, :, None] & given["audio"].mask[:, None, :]
        answers = answers & (text[:, :, None, 1] != 0)
        bound = self.bound(text[..., 0], answers)
        prediction = self.scale * (text[..., 0].sum(dim=1) + bound + vision[..., 0].sum(dim=1)).unsqueeze(1)
        looked = answers if self.looks_at_key else ~answers
        weights = (looked + 1e-3 * given["audio"].mask[:, None, :]).float()
        weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-9)
        attention = {"audio_to_text": [weights[:, None, None]]} if with_attention and self.has_attention else {}
        return ModelOutput(prediction, attention=attention)

    def bound(self, polarity: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        return (polarity * answers.any(dim=2)).sum(dim=1)


class Adds(Binds):
    """The voice counts by itself, whatever is said; attention looks as if it mattered."""

    def bound(self, polarity: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(polarity))


class LooksAway(Binds):
    """Its attention is everywhere but where the binding is."""

    looks_at_key = False


class Blind(Binds):
    """Binds, and shows no attention."""

    has_attention = False


def utterance(audio_keys: list[float]) -> UtteranceInput:
    text = np.stack([POLARITY, [0.0, 7.0, 0.0, 8.0, 0.0, 9.0]], axis=1)[None]
    audio = np.stack([np.ones(len(audio_keys)), audio_keys], axis=1)[None]
    vision = np.full((1, 4, 2), 0.1)
    return UtteranceInput(batch=Batch.from_arrays(text=text, audio=audio, vision=vision), words=WORDS, word_of_step=np.arange(6))


GIVEN = utterance([0.0, 0.0, 8.0, 0.0, 0.0, 0.0, 7.0, 0.0])


def places(given: UtteranceInput, model: MultimodalModel) -> list[tuple[int, str, int, float]]:
    return [(link.word, link.span.modality, link.span.start_step, round(link.effect, 4)) for link in explain(VariantScorer(model), given).links]


def test_bindings_are_found_with_their_effect() -> None:
    assert places(GIVEN, Binds()) == [(1, "audio", 6, 2.0), (3, "audio", 2, -1.0)]


def test_attention_alone_makes_no_link() -> None:
    assert places(GIVEN, Adds()) == []


def test_where_attention_looks_elsewhere_nothing_is_claimed() -> None:
    found = places(GIVEN, LooksAway())
    assert (1, "audio", 6, 2.0) not in found
    assert all((word, step) in ((1, 6), (3, 2)) for word, _, step, _ in found)


def test_without_attention_bindings_are_searched() -> None:
    explanation = explain(VariantScorer(Blind()), GIVEN)
    assert explanation.attention == ()
    assert [(link.word, link.span.modality, link.method, link.attention) for link in explanation.links] == [
        (1, "audio", "interaction", None),
        (3, "audio", "interaction", None),
    ]
    for link, step in zip(explanation.links, (6, 2), strict=True):
        assert link.span.start_step <= step < link.span.end_step


def test_modalities_words_and_moments_are_what_the_model_does() -> None:
    explanation = explain(VariantScorer(Binds()), GIVEN)
    assert explanation.scores == pytest.approx((2.4,))
    assert {part.modality: round(part.value, 4) for part in explanation.modalities} == {"text": 1.5, "audio": 0.5, "vision": 0.4}
    assert {WORDS[word]: round(value, 4) for word, value in explanation.words.items()} == dict(
        zip(WORDS, (0.0, 4.0, 0.0, -2.0, 0.0, 0.0), strict=True)
    )
    moments = {(moment.span.modality, moment.span.start_step): round(moment.contribution, 4) for moment in explanation.moments}
    assert moments == {("audio", step): {6: 2.0, 2: -1.0}.get(step, 0.0) for step in range(8)} | {("vision", step): 0.1 for step in range(4)}


def test_the_attention_map_is_the_models_own() -> None:
    (entry,) = explain(VariantScorer(Binds()), GIVEN).attention
    weights = np.asarray(entry.weights)
    assert weights.shape == (6, 8)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    assert weights[1].argmax() == 6
    assert weights[3].argmax() == 2
