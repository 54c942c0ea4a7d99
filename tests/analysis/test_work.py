"""The work of an analysis is bounded, and said, before it starts; and reading ahead changes no number."""

from pathlib import Path

import numpy as np
import pytest
import torch

from multigrain.analysis import analyze as analyze_module
from multigrain.analysis.analyze import analyze_text
from multigrain.analysis.explain import explain, plan_of
from multigrain.analysis.variants import UtteranceInput, Variant, VariantScorer, input_from_utterance
from multigrain.analysis.work import PART_PIECES, parts_of, unweighed_note, weighed_utterances
from multigrain.language.reader import TextReader
from multigrain.language.settings import TextEncoderSettings
from multigrain.models import build_model
from multigrain.models.base import MultimodalModel
from multigrain.schema import Task, Utterance
from tiny_encoder import WORDS, write_tiny_encoder

MODES = {"frozen": {}, "lora": {"lora_targets": ("query", "value", "dense")}}


@pytest.fixture(params=MODES, scope="module")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MultimodalModel:
    """A model that reads text; the low-rank matrices of its language model are not zero."""
    folder = write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")
    reader = TextReader.from_settings(TextEncoderSettings(name=str(folder), max_tokens=32, mode=request.param, **MODES[request.param]))
    torch.manual_seed(0)
    made = build_model("unimodal", {"width": 8, "num_heads": 2, "num_layers": 1}, Task(), {"text": reader.spec}, text_reader=reader)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_" in name:
                parameter.normal_(0.0, 0.3)
    return made.eval()


def given(model: MultimodalModel, words: int, seed: int = 0) -> UtteranceInput:
    spoken = tuple(np.random.default_rng(seed).choice(WORDS, size=words).tolist())
    return input_from_utterance(model, Utterance(id=f"u{seed}", split="test", group="g", features={}, text=" ".join(spoken), words=spoken))


def test_scores_are_the_same_read_ahead_with_others_or_one_by_one(model: MultimodalModel):
    utterances = [given(model, words, seed) for seed, words in enumerate((1, 9, 3, 20))]
    ahead = VariantScorer(model)
    ahead.read_ahead([(one, plan_of(one).variants) for one in utterances])
    for one in utterances:
        for variant in plan_of(one).variants:
            left = [word for place, word in enumerate(one.words) if place not in variant.without_words]
            is_there = variant.modalities is None or "text" in variant.modalities
            plain = model.predict(model.text_batch([" ".join(left) if is_there else ""])).double().numpy()
            assert ahead.scores(one, [variant]) == pytest.approx(plain, abs=1e-5)


def test_nothing_is_read_twice(model: MultimodalModel, monkeypatch: pytest.MonkeyPatch):
    one, scorer = given(model, 12), VariantScorer(model)
    scorer.read_ahead([(one, plan_of(one).variants)])
    monkeypatch.setattr(scorer._text_encoder, "_encoder", [None])
    assert len(explain(scorer, one).words) == 12


def test_what_is_kept_is_bounded(model: MultimodalModel, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("multigrain.analysis.variants.MOST_KEPT_PIECES", 30)
    scorer = VariantScorer(model)
    scores = [scorer.scores(given(model, 8, seed), [Variant()])[0, 0] for seed in (0, 1, 2, 3, 4, 5, 0)]
    assert scores[0] == pytest.approx(scores[-1], abs=1e-6)
    assert len(scorer._text_encoder.states) < 6


def test_the_model_itself_is_left_as_it_was(model: MultimodalModel):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    explain(VariantScorer(model), given(model, 5))
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_shortest_utterances_are_weighed_first_so_that_most_words_are(model: MultimodalModel):
    utterances = [given(model, words, seed) for seed, words in enumerate((20, 2, 10, 2))]
    costs = {number: one.num_steps("text") * (2 + len(one.words)) for number, one in enumerate(utterances)}
    assert weighed_utterances(utterances, 10**6) == frozenset({0, 1, 2, 3})
    assert weighed_utterances(utterances, costs[1] + costs[2] + costs[3]) == frozenset({1, 2, 3})
    assert weighed_utterances(utterances, costs[1]) == frozenset({1})
    assert weighed_utterances(utterances, 0) == frozenset()
    assert unweighed_note(utterances, frozenset({0, 1, 2, 3}), 5) == ()
    (note,) = unweighed_note(utterances, frozenset({1, 3}), 1234)
    assert "The words of 2 of the 4 utterances, the longest ones (30 words)" in note
    assert "1,234 word-pieces" in note


def test_parts_hold_every_utterance_once_in_order_and_not_too_much(model: MultimodalModel):
    utterances = [given(model, 30)] * 100
    weighed = frozenset(range(0, 100, 2))
    parts = list(parts_of(utterances, weighed))
    assert [number for part in parts for number in part] == list(range(100))
    costs = [sum(utterances[number].num_steps("text") * (2 + 30 * (number in weighed)) for number in part) for part in parts]
    assert len(parts) > 1
    assert all(cost <= PART_PIECES for cost in costs)
    assert list(parts_of([], frozenset())) == []


def test_a_long_text_is_scored_whole_and_says_which_words_were_not_weighed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    reader = TextReader.from_settings(TextEncoderSettings(name=str(write_tiny_encoder(tmp_path / "encoder")), max_tokens=32, mode="frozen"))
    build_model("unimodal", {"width": 8, "num_heads": 2, "num_layers": 1}, Task(), {"text": reader.spec}, text_reader=reader).save_pretrained(
        tmp_path / "checkpoint"
    )
    text = "so good\n" + "so good " * 12 + "\nso bad"
    whole = analyze_text(text, checkpoint=tmp_path / "checkpoint")
    assert all(word.contribution is not None for one in whole.utterances for word in one.words)
    monkeypatch.setitem(analyze_module.MOST_PIECES, "text", 60)
    bounded = analyze_text(text, checkpoint=tmp_path / "checkpoint")
    assert [one.scores for one in bounded.utterances] == [pytest.approx(one.scores, abs=1e-6) for one in whole.utterances]
    assert [[word.contribution is not None for word in one.words] for one in bounded.utterances] == [[True] * 2, [False] * 24, [True] * 2]
    assert "The words of 1 of the 3 utterances, the longest ones (24 words), were not weighed" in " ".join(bounded.notes)
