import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from multigrain.analysis.page_data import page_data
from multigrain.analysis.result import Analysis, CheckpointFacts, ModalityContribution, UtteranceAnalysis, WordContribution, strongest_words
from multigrain.analysis.tables import write_csv
from multigrain.errors import DataError
from multigrain.schema import Task

FACTS = CheckpointFacts(
    name="a", model="mult", paper="p", multigrain_version="1", features={"text": "x"}, text_encoder=None, sha256="0", has_attention=False
)


def analysis(*scores: float, seconds: tuple[float, ...] = (), task: Task | None = None) -> Analysis:
    starts = [sum(seconds[:place], 0.0) for place in range(len(seconds))] or [None] * len(scores)
    ends = [start + length for start, length in zip(starts, seconds, strict=True)] if seconds else [None] * len(scores)
    utterances = tuple(
        UtteranceAnalysis(
            id=str(place),
            scores=(score,),
            start_seconds=starts[place],
            end_seconds=ends[place],
            modalities=(ModalityContribution(modality="text", value=score, alone=score, without=0.0),),
        )
        for place, score in enumerate(scores)
    )
    return Analysis(source="s", kind="store", task=task or Task(), checkpoint=FACTS, utterances=utterances)


def test_the_summary_weighs_by_seconds_where_they_are_known() -> None:
    timed = analysis(1.0, -2.0, 0.5, seconds=(1.0, 3.0, 4.0)).summary
    assert timed.mean_scores == pytest.approx(((1 - 6 + 2) / 8,))
    assert (timed.seconds, timed.highest, timed.lowest) == (8.0, 0, 1)
    assert timed.modalities == pytest.approx({"text": 3.5 / 3})
    assert analysis(1.0, -2.0).summary.mean_scores == (-0.5,)
    assert analysis(1.0, -2.0).summary.seconds is None


def test_strongest_words_in_either_direction() -> None:
    words = tuple(WordContribution(word=word, contribution=value) for word, value in (("a", 0.1), ("b", -0.5), ("c", None), ("d", 0.3)))
    assert [word.word for word in strongest_words(UtteranceAnalysis(id="u", scores=(0.0,), words=words), 2)] == ["b", "d"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format_version 1, got 2"),
        ({"utterances": 3}, "damaged"),
        ({"unknown": 3}, "no 'unknown'"),
        ({"utterances": [{"id": "x"}]}, "scores"),
    ],
)
def test_what_is_no_analysis_is_refused(change: dict, message: str, tmp_path: Path) -> None:
    values = analysis(1.0).to_dict() | change
    with pytest.raises(DataError, match=message):
        Analysis.from_dict(values)
    (tmp_path / "a.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match=message):
        Analysis.read_json(tmp_path / "a.json")


def test_a_file_that_is_missing_or_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as an analysis"):
        Analysis.read_json(tmp_path / "none.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as an analysis"):
        Analysis.read_json(tmp_path / "a.json")


def test_an_utterance_without_any_modality_has_no_score_in_json_csv_and_page(tmp_path):
    whole = UtteranceAnalysis(id="a", scores=(0.5,), modalities=(ModalityContribution(modality="text", value=0.5, alone=0.5, without=0.0),))
    bare = UtteranceAnalysis(id="b", scores=(0.1,), baseline=0.1)
    found = Analysis(source="v.mp4", kind="video", task=Task(), checkpoint=FACTS, utterances=(whole, bare))
    values = found.to_dict()
    assert [one["scores"] for one in values["utterances"]] == [[0.5], [None]]
    assert values["summary"]["mean_scores"] == [0.5]
    assert Analysis.from_dict(values) == found
    assert [one["scores"] for one in page_data(found)["utterances"]] == [[0.5], [None]]
    rows = list(csv.DictReader(write_csv(tmp_path / "a.csv", found).read_text().splitlines()))
    assert [row["score"] for row in rows] == ["0.5", ""]
    alone = replace(found, utterances=(bare,))
    assert alone.to_dict()["summary"]["mean_scores"] == [None]
    assert Analysis.from_dict(alone.to_dict()) == alone
