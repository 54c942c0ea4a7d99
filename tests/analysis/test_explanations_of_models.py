"""Every model in MODELS is explained, whatever is there, and what is said of it holds together."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from multigrain.analysis.analyze import analyze_split
from multigrain.analysis.explain import explain
from multigrain.analysis.report_html import render_page
from multigrain.analysis.result import Analysis
from multigrain.analysis.tables import to_rich, write_csv
from multigrain.analysis.variants import VariantScorer, input_from_split
from multigrain.data.store import Store
from multigrain.language.reader import TextReader
from multigrain.models import MODELS
from multigrain.models.base import MultimodalModel
from multigrain.schema import MODALITIES, Task

PRESENT = [subset for size in range(4) for subset in combinations(MODALITIES, size)]
EMOTIONS = Task(kind="emotions", emotions=("happy", "sad"))


def with_attention(model: MultimodalModel) -> bool:
    return model.name in ("mult", "mcmut", "mmin")


@pytest.mark.parametrize("name", sorted(MODELS))
def test_any_subset_of_modalities(name: str, planted: Store, small_model: Callable[..., MultimodalModel]) -> None:
    model = small_model(name, planted.features)
    scorer, split = VariantScorer(model), planted.split("test")
    given = input_from_split(model, split, 1)
    whole = float(model.predict(given.batch)[0, 0])
    for present in PRESENT:
        left = replace(given, batch=given.batch.with_modalities({other: None for other in given.batch.modalities if other not in present}))
        left = left if "text" in present else replace(left, word_of_step=np.zeros(0, np.int64))
        explanation = explain(scorer, left)
        assert {part.modality for part in explanation.modalities} == set(present) & set(model.features)
        assert explanation.baseline + sum(part.value for part in explanation.modalities) == pytest.approx(explanation.scores[0], abs=1e-4)
        assert len(explanation.words) == (0 if "text" not in left.present else len(left.words))
        assert np.isfinite([*explanation.words.values(), *(moment.contribution for moment in explanation.moments)]).all()
        sources = [entry.modality for entry in explanation.attention]
        expected = [other for other in ("audio", "vision") if other in present] if with_attention(model) and "text" in present else []
        assert sources == expected
        for entry in explanation.attention:
            np.testing.assert_allclose(np.asarray(entry.weights).sum(axis=1), 1.0, atol=1e-4)
    assert explanation.scores[0] == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize("task", [Task(), Task(kind="classification"), EMOTIONS], ids=lambda task: task.kind)
@pytest.mark.parametrize("name", ["mcmut", "lf_lstm"])
def test_from_a_store_to_page_json_csv_and_terminal(
    name: str,
    task: Task,
    make_store: Callable[..., Store],
    reader: TextReader,
    small_model: Callable[..., MultimodalModel],
    tmp_path: Path,
) -> None:
    from multigrain.data.language_store import read_text_with

    store = read_text_with(make_store(task=task), reader)
    model = small_model(name, store.features, task=task, text_reader=reader)
    model.save_pretrained(tmp_path / "checkpoint")
    analysis = analyze_split(model, store.split("test"), [0, 1, 2], checkpoint=tmp_path / "checkpoint")
    assert [one.id for one in analysis.utterances] == list(store.split("test").ids[:3])
    assert analysis.checkpoint.has_attention == with_attention(model)
    assert analysis.utterances[0].scores == pytest.approx(model.predict(store.split("test").batch([0]))[0].tolist(), abs=1e-5)
    if task.kind == "emotions":
        assert analysis.utterances[0].score == max(analysis.utterances[0].scores)
    assert Analysis.from_dict(json.loads(json.dumps(analysis.to_dict()))) == analysis
    assert Analysis.read_json(analysis.write_json(tmp_path / "analysis.json")) == analysis
    assert analysis.utterances[2].id in render_page(analysis)
    assert to_rich(analysis).row_count == 3
    assert len(write_csv(tmp_path / "analysis.csv", analysis).read_text().splitlines()) == 4
