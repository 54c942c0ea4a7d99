"""What the step benchmark feeds: lengths, batches, features."""

from pathlib import Path

import numpy as np
import pytest
import torch
from step.cells import Cells, Choices
from step.implementations import build
from step.mmin import misa_inputs
from step.spec import CellSpec
from step.words import random_batches, word_counts

from multigrain.benchmark.features import padded_features
from multigrain.benchmark.lengths import bucketed_batches, padded_pairs, padding_waste, plan_of, steps_of
from multigrain.errors import DataError


def test_built_in_law_is_mosi_s() -> None:
    words = word_counts(200_000, None, np.random.default_rng(0))
    assert words.min() == 1
    assert words.max() == 50
    assert words.mean() == pytest.approx(12.4, abs=0.1)
    assert np.quantile(words, [0.1, 0.25, 0.5, 0.75, 0.9]).tolist() == [5, 7, 10, 16, 23]


def test_words_are_drawn_from_a_file_and_capped(tmp_path: Path) -> None:
    path = tmp_path / "meta.csv"
    path.write_text("id,text\na,one two three\nb," + "word " * 80 + "\nc,\n", encoding="utf-8")
    assert set(word_counts(200, path, np.random.default_rng(0)).tolist()) == {1, 3, 50}


@pytest.mark.parametrize(("content", "message"), [("id,words\n1,2\n", "no column `text`"), ("id,text\n", "no rows")])
def test_a_file_without_words_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "meta.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        word_counts(5, path, np.random.default_rng(0))


def test_steps_follow_the_words() -> None:
    assert steps_of([1, 10, 50]).tolist() == [[1, 8, 10], [10, 75, 100], [50, 375, 500]]


def test_padding_waste_counts_padded_steps() -> None:
    assert padding_waste([np.array([[4, 4, 4], [2, 2, 2]])]) == pytest.approx(0.25)


def test_pairs_cover_all_nine_directions() -> None:
    assert padded_pairs(np.array([[2, 3, 5], [1, 1, 1]])) == 2 * sum(target * source for target in (2, 3, 5) for source in (2, 3, 5))


def test_a_plan_stands_for_its_epoch() -> None:
    steps = steps_of(word_counts(1284, None, np.random.default_rng(0)))
    bucketed, random = bucketed_batches(steps, 16, shuffle=True, seed=0), random_batches(steps, 16, seed=0)
    plan = plan_of(bucketed, 27)
    assert len(bucketed) == len(random) == 80
    assert {len(batch) for batch in bucketed + random} == {16}
    assert len(plan.batches) == 27
    assert plan.cost_share == pytest.approx(1.0, abs=0.05)
    assert padded_pairs(np.array(plan.costliest)) == max(padded_pairs(batch) for batch in bucketed)
    assert plan.waste < 0.12 < 0.4 < padding_waste(random)


def test_an_utterance_does_not_depend_on_its_padding() -> None:
    batch = [[2, 15, 20], [4, 30, 40]]
    trimmed, lengths = padded_features(batch, None, seed=3)
    padded, _ = padded_features(batch, [50, 375, 500], seed=3)
    for name, values in trimmed.items():
        assert torch.equal(values, padded[name][:, : values.shape[1]])
        assert not padded[name][:, values.shape[1] :].any()
    assert lengths["audio"].tolist() == [15, 30]
    assert not trimmed["text"][0, 2:].any()


def test_all_implementations_get_the_same_utterances() -> None:
    cells = Cells(Choices(utterances=200, steps=5, official=Path("somewhere")))
    by_key = {cell.key: cell for part in (cells.unaligned(), cells.aligned(), cells.inference()) for cell in part}
    assert by_key["mmsa_unaligned"].batches == by_key["mult_real"].batches == by_key["official_unaligned"].batches
    assert by_key["mmsa_unaligned"].pad_to == [50, 375, 500]
    assert by_key["mult_real"].pad_to is None
    assert by_key["mult_full"].batches == [[[50, 375, 500]] * 16]
    assert by_key["mmsa_aligned"].batches[0][0][0] == by_key["mult_real"].batches[0][0][0]
    assert {len(batch) for batch in by_key["mmsa_predict"].batches} == {64}


def test_mmin_and_misa_get_the_same_utterances() -> None:
    by_key = {cell.key: cell for cell in Cells(Choices(utterances=200, steps=5)).mmin()}
    assert by_key["misa_padded"].batches == by_key["mmin_real"].batches == by_key["mmin_coarse_real"].batches
    assert by_key["misa_full"].batches == by_key["mmin_full"].batches == [[[50, 375, 500]] * 16]
    assert {cell.dims["text"] for cell in by_key.values()} == {768}


@pytest.mark.parametrize("model", ["mmin", "mmin_coarse"])
def test_mmin_is_trained_with_all_terms_of_its_loss(model: str) -> None:
    spec = CellSpec(key="k", name="n", model=model, batches=[], warm_up=[], threads=1)  # type: ignore[arg-type]
    contender = build(spec)
    features, lengths = padded_features([[2, 5, 6], [3, 4, 7]], None, dims=spec.dims, seed=0)
    label = torch.zeros(2, 1)
    batch = contender.pack(features, lengths, label)
    contender.module.eval()  # no dropout, so that both predict the same
    output = contender.module(batch)
    assert set(output.losses) == {"separation", "adversarial", "private"}
    expected = output.prediction.square().mean() + sum(output.losses.values())
    torch.testing.assert_close(contender.loss(batch, label), expected)


def test_misa_is_told_how_many_states_are_real() -> None:
    features, lengths = padded_features([[2, 15, 20], [4, 30, 40]], None, dims={"text": 8, "audio": 5, "vision": 20}, seed=3)
    states, text, audio, vision = misa_inputs(features, lengths, torch.zeros(2, 1))
    assert states is features["text"]
    assert text[:, 1].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert (audio.shape[2], vision.shape[2]) == (5, 20)
