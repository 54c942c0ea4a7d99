from collections.abc import Callable

import numpy as np
import pytest
import torch

from multigrain.analysis.spans import spans_of
from multigrain.analysis.variants import WHOLE, Variant, VariantScorer, input_from_split, input_from_utterance, variant_batch
from multigrain.data.language_store import read_text_with
from multigrain.data.store import Store
from multigrain.language.reader import TextReader
from multigrain.models.base import MultimodalModel
from multigrain.schema import Batch, FeatureSpec, StepTimes, Utterance

DIMS = {"text": 6, "audio": 4, "vision": 5}


def spoken(text: str, audio: int = 12, vision: int = 8) -> Utterance:
    generator = np.random.default_rng(0)
    features = {
        name: generator.normal(size=(count, DIMS[name])).astype(np.float32) for name, count in (("audio", audio), ("vision", vision)) if count
    }
    return Utterance(id="u", split="test", group="v", features=features, text=text, words=tuple(text.split()), start_seconds=2.0, end_seconds=6.0)


@pytest.fixture
def model(small_model: Callable[..., MultimodalModel], reader: TextReader) -> MultimodalModel:
    features = {"text": reader.spec, "audio": FeatureSpec(dim=4, rate_hz=4.0), "vision": FeatureSpec(dim=5)}
    return small_model("mcmut", features, text_reader=reader)


def test_without_a_word_is_the_utterance_that_never_had_it(model: MultimodalModel) -> None:
    scorer = VariantScorer(model)
    whole, shorter = (input_from_utterance(model, spoken(text)) for text in ("the film was not good", "the film was good"))
    without = scorer.scores(whole, [Variant(without_words=frozenset({3}))])
    assert without == pytest.approx(scorer.scores(shorter, [WHOLE]), abs=1e-5)
    assert without != pytest.approx(scorer.scores(whole, [WHOLE]), abs=1e-3)


def test_without_all_words_is_without_text(model: MultimodalModel) -> None:
    given = input_from_utterance(model, spoken("good film"))
    batch = variant_batch(given, [Variant(without_words=frozenset({0, 1})), WHOLE])
    assert batch.text is not None
    assert batch.text.is_present.tolist() == [False, True]
    scores = VariantScorer(model).scores(given, [Variant(without_words=frozenset({0, 1})), Variant(modalities=frozenset({"audio", "vision"}))])
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_without_steps_they_are_gone_and_the_rest_moves_together(model: MultimodalModel) -> None:
    given = input_from_utterance(model, spoken("good film"))
    batch = variant_batch(given, [Variant(without_steps=(("audio", 2, 5),)), Variant(without_steps=(("vision", 0, 8),))])
    assert batch.audio is not None
    assert batch.vision is not None
    assert batch.audio.lengths.tolist() == [9, 12]
    assert batch.vision.is_present.tolist() == [True, False]
    expected = torch.cat([given.batch.audio.features[0, :2], given.batch.audio.features[0, 5:]])
    torch.testing.assert_close(batch.audio.features[0, :9], expected)


def test_one_by_one_and_together_are_equal_and_texts_are_read_once(model: MultimodalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    given = input_from_utterance(model, spoken("the film was not good"))
    variants = [WHOLE, Variant(modalities=frozenset({"text"})), Variant(without_words=frozenset({2})), Variant(without_steps=(("audio", 0, 3),))]
    expected = np.concatenate([model.predict(variant_batch(given, [variant])).numpy() for variant in variants])
    read: list[int] = []
    encoder = model.text_encoder
    forward = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda ids, mask: (read.append(len(ids)), forward(ids, mask))[1])
    scorer = VariantScorer(model)
    assert scorer.scores(given, variants) == pytest.approx(expected, abs=1e-5)
    assert scorer.scores(given, variants) == pytest.approx(expected, abs=1e-5)
    assert sum(read) == 2  # the whole text, and that without a word
    assert model.text_encoder is encoder


def test_a_frozen_language_models_cached_states_are_not_used_for_a_shorter_text(
    make_store: Callable[..., Store], tiny_encoder, small_model: Callable[..., MultimodalModel]
) -> None:
    from multigrain.language.settings import TextEncoderSettings

    frozen = TextReader.from_settings(TextEncoderSettings(name=str(tiny_encoder), max_tokens=24, mode="frozen"))
    store = read_text_with(make_store(), frozen)
    model = small_model("mult", {**store.features, "text": frozen.spec}, text_reader=frozen)
    index = int(np.argmax([len(record["text"].split()) for record in store.split("test").records]))
    given = input_from_split(model, store.split("test"), index)
    assert given.batch.text.features.shape[-1] == frozen.width  # cached
    fresh = input_from_utterance(model, store.split("test").utterance(index))
    variants = [WHOLE, Variant(without_words=frozenset({0}))]
    scorer = VariantScorer(model)
    assert scorer.scores(given, variants) == pytest.approx(scorer.scores(fresh, variants), abs=1e-5)


def test_words_beyond_what_the_language_model_takes_are_not_read(model: MultimodalModel) -> None:
    given = input_from_utterance(model, spoken(" ".join(["good"] * 30)))
    assert len(given.words) == 30
    assert given.words_read == list(range(22))  # 24 pieces with [CLS] and [SEP]


def test_an_utterance_without_anything_has_a_score(model: MultimodalModel) -> None:
    given = input_from_utterance(model, spoken("", audio=0, vision=0))
    assert given.present == ()
    assert np.isfinite(VariantScorer(model).scores(given, [WHOLE, Variant(modalities=frozenset())])).all()


def test_spans_cover_all_steps_once_and_know_their_times(model: MultimodalModel) -> None:
    utterance = spoken("good film")
    utterance.step_times = {"vision": StepTimes(2.0, ((2.0, 3), (5.0, 5)))}  # a second and a half without a face
    given = input_from_utterance(model, utterance)
    audio = spans_of(given, "audio", most=32, shortest_seconds=0.5)  # 4 Hz by its specification, from 2 s on
    assert [(span.start_step, span.end_step) for span in audio] == [(2 * place, 2 * place + 2) for place in range(6)]
    assert (audio[0].start_seconds, audio[-1].end_seconds) == pytest.approx((2.0, 5.0))
    vision = spans_of(given, "vision", most=4, shortest_seconds=0.1)
    assert [step for span in vision for step in range(span.start_step, span.end_step)] == list(range(8))
    assert all(span.end_seconds <= 3.5 or span.start_seconds >= 5.0 for span in vision)  # none reaches over the gap


def test_spans_without_times_are_equal_shares_of_the_steps(planted: Store, small_model: Callable[..., MultimodalModel]) -> None:
    model = small_model("mult", planted.features)
    given = input_from_split(model, planted.split("test"), 0)
    count = given.num_steps("vision")
    spans = spans_of(given, "vision", most=5, shortest_seconds=1.0)
    assert len(spans) == 5
    assert {span.start_seconds for span in spans} == {None}
    assert [step for span in spans for step in range(span.start_step, span.end_step)] == list(range(count))
    assert len(spans_of(given, "vision", most=1000, shortest_seconds=1.0)) == count


def test_batches_without_a_modality_stay_without_it(small_model: Callable[..., MultimodalModel]) -> None:
    model = small_model("lf_lstm", {name: FeatureSpec(dim=dim) for name, dim in DIMS.items()})
    given = input_from_utterance(model, spoken("good film", vision=0))
    assert given.present == ("audio",)  # text vectors cannot come from a transcript
    assert isinstance(variant_batch(given, [WHOLE]), Batch)
