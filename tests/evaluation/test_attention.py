from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import CONFIGS

from multigrain.data.planted import read_bindings
from multigrain.data.store import Store
from multigrain.errors import StoreError
from multigrain.evaluation.attention import score_attention
from multigrain.evaluation.attention_example import example_maps, piece_labels
from multigrain.models import build_model
from multigrain.models.base import MultimodalModel
from multigrain.models.mult import MulT
from multigrain.schema import Batch, ModelOutput


class KnowsTheTruth(MulT):
    """Its second audio layer's third head looks at each word's own event; all else is uniform."""

    truth: dict[str, list]
    certainty = 1.0

    def forward(self, batch: Batch, with_attention: bool = False) -> ModelOutput:
        uniform = (batch.audio.mask / batch.audio.mask.sum(dim=1, keepdim=True))[:, None, None, None, :]
        shape = (batch.size, 1, 4, batch.text.mask.shape[1], batch.audio.mask.shape[1])
        layers = [uniform.expand(shape).clone() for _ in range(3)]
        for row, name in enumerate(batch.ids):
            for binding in self.truth[name]:
                if binding.audio_step is not None:
                    layers[1][row, 0, 2, binding.word] = 0.0
                    layers[1][row, 0, 2, binding.word, binding.audio_step] = self.certainty
                    layers[1][row, 0, 2, binding.word, binding.audio_step - 1] = 1.0 - self.certainty
        return ModelOutput(torch.zeros(batch.size, 1), attention={"audio_to_text": layers})


def model_of(planted: Store, name: str) -> MultimodalModel:
    torch.manual_seed(0)
    return build_model(name, CONFIGS[name], planted.task, planted.features)


def test_attention_on_the_truth_scores_one(planted: Store) -> None:
    usual = model_of(planted, "mult")
    model = KnowsTheTruth(usual.config, planted.task, planted.features)
    model.truth = read_bindings(planted.path)
    scores = score_attention(model, planted, batch_utterances=7)
    assert set(scores) == {"audio_to_text"}
    score = scores["audio_to_text"]
    lengths = dict(zip(planted.split("test").ids, planted.split("test").lengths("audio"), strict=True))
    events = [lengths[name] for name in lengths for binding in model.truth[name] if binding.audio_step is not None]
    assert score.num_words == len(events)
    assert score.chance == pytest.approx(np.mean(1 / np.array(events)))
    assert score.best_head == (1, 0, 2)
    assert score.best_head_share == pytest.approx(1.0)
    assert score.best_head_found == pytest.approx(1.0)
    assert score.best_layer == 1
    assert score.best_layer_share == pytest.approx((1 + 3 * score.chance) / 4, rel=1e-5)
    assert score.overall == pytest.approx((1 + 11 * score.chance) / 12, rel=1e-5)


@pytest.mark.parametrize(("certainty", "found"), [(0.7, 1.0), (0.5, 0.5), (0.3, 0.0)])
def test_an_event_is_found_where_its_weight_is_the_largest(planted: Store, certainty: float, found: float) -> None:
    usual = model_of(planted, "mult")
    model = KnowsTheTruth(usual.config, planted.task, planted.features)
    model.truth, model.certainty = read_bindings(planted.path), certainty
    score = score_attention(model, planted)["audio_to_text"]
    assert score.best_head == (1, 0, 2)
    assert score.best_head_share == pytest.approx(certainty, rel=1e-5)
    assert score.best_head_found == pytest.approx(found)


def test_untrained_attention_is_about_chance(planted: Store) -> None:
    for name in ("mult", "mcmut"):
        scores = score_attention(model_of(planted, name), planted)
        assert set(scores) == {"audio_to_text", "vision_to_text"}
        for score in scores.values():
            assert score.overall == pytest.approx(score.chance, rel=0.3)


def test_model_without_attention_has_no_score(planted: Store) -> None:
    assert score_attention(model_of(planted, "lf_lstm"), planted) == {}


def test_a_store_without_truth_is_refused(make_store, planted: Store) -> None:
    with pytest.raises(StoreError, match="is not a planted store"):
        score_attention(model_of(planted, "mult"), make_store())


def test_example_map_shows_real_steps_and_marks_events(planted: Store, tmp_path: Path) -> None:
    model = KnowsTheTruth(model_of(planted, "mult").config, planted.task, planted.features)
    model.truth = read_bindings(planted.path)
    (shown,) = example_maps(model, planted, "truth", "test", score_attention(model, planted))
    assert shown.source == "audio"
    assert shown.weights.shape[0] == len(shown.words)
    np.testing.assert_allclose(shown.weights.sum(axis=1), 1.0, atol=1e-5)
    assert shown.marks
    assert all(shown.weights[word, step] == 1.0 for word, step in shown.marks)
    assert {word for word, _ in shown.marks} <= set(shown.polar_words)


def test_example_map_of_a_store_without_truth_has_no_marks(make_store) -> None:
    store = make_store()
    torch.manual_seed(0)
    model = build_model("mult", CONFIGS["mult"], store.task, store.features)
    maps = example_maps(model, store, "mult")
    assert {shown.source for shown in maps} == {"audio", "vision"}
    assert all(shown.marks == () and shown.polar_words == () for shown in maps)


def test_word_pieces_are_called_by_their_words():
    assert piece_labels(["good", "zx", "film"], [-1, 0, 1, 1, 2, -1]) == ("·", "good", "zx", "..zx", "film", "·")
