"""What of a text did not reach the model: words beyond what its language model takes, and text of a language that it does not read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from multigrain.analysis.analyze import analyze_split, analyze_text
from multigrain.analysis.unread_text import beyond_notes
from multigrain.analysis.variants import UtteranceInput, input_from_utterance
from multigrain.data.language_store import read_text_with
from multigrain.data.store import Store, StoreWriter
from multigrain.errors import CheckpointError
from multigrain.language.reader import TextReader
from multigrain.models.base import MultimodalModel
from multigrain.models.default_checkpoint import default_checkpoint
from multigrain.schema import FeatureSpec, Task, Utterance

PIECES = 22
"""What the reader of these tests takes, without the pieces at both ends."""


@pytest.fixture
def model(small_model: Callable[..., MultimodalModel], reader: TextReader) -> MultimodalModel:
    return small_model("pooled", {"text": reader.spec}, text_reader=reader)


def spoken(model: MultimodalModel, num_words: int) -> UtteranceInput:
    words = ("good",) * num_words
    return input_from_utterance(model, Utterance(id="a", split="test", group="a", features={}, text=" ".join(words), words=words))


def test_words_beyond_what_the_language_model_takes_are_counted(model: MultimodalModel) -> None:
    whole, one_more, long = spoken(model, PIECES), spoken(model, PIECES + 1), spoken(model, 40)
    assert beyond_notes([whole], [{}]) == []
    assert beyond_notes([one_more], [{}]) == ["In this utterance: the last word is beyond what the language model takes, and not read."]
    beyond = "the last 19 words are beyond what the language model takes, and not read."
    assert beyond_notes([whole, long, one_more], [{}, {}, {}]) == [f"In 2 of the 3 utterances: {beyond}"]
    assert beyond_notes([long], [{"text": "the words are not read: it has no letters"}]) == []
    assert beyond_notes([spoken(model, 0)], [{}]) == []


def test_the_analysis_of_a_store_says_so(model: MultimodalModel, reader: TextReader, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "long.store", task=Task(), features={"text": FeatureSpec(dim=0, extractor="words")}) as writer:
        for name, count in (("short", 3), ("long", 30)):
            words = ("good",) * count
            writer.add(Utterance(id=name, split="test", group=name, features={}, label=1.0, text=" ".join(words), words=words))
    split = read_text_with(Store.open(tmp_path / "long.store"), reader).split("test")
    model.save_pretrained(tmp_path / "checkpoint")
    notes = analyze_split(model, split, [0, 1], checkpoint=tmp_path / "checkpoint").notes
    assert "In 1 of the 2 utterances: the last 8 words are beyond what the language model takes, and not read." in notes


def test_the_included_checkpoint_does_not_read_german() -> None:
    try:
        default_checkpoint()
    except CheckpointError as error:
        pytest.skip(f"this checkout has no included checkpoint: {error}")
    found = analyze_text("Ich hasse diesen langen Film, er ist schrecklich.\nI hated this film, it is terrible.")
    german, english = found.utterances
    assert german.absent["text"] == "the words are not read: it seems to be in German, and the checkpoint was trained on English"
    assert (german.modalities, german.interval) == ((), None)
    assert [one["scores"][0] is None for one in found.to_dict()["utterances"]] == [True, False]
    assert english.scores[0] < -1.0
    reason = german.absent["text"]
    assert f"In 1 of the 2 utterances: {reason}. The text had no part in the score." in found.notes
