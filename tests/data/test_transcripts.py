"""Transcripts as a store of words without vectors."""

from pathlib import Path

import pytest

from multigrain.data.convert import convert
from multigrain.data.doctor import examine
from multigrain.data.readers import ReadOptions
from multigrain.data.store import Store
from multigrain.errors import DataError, MultigrainError

LINES = """key,talk,fold,said,score
a1,talk_1,train,IT WAS GOOD,1.5
a2,talk_1,train,"Not good, really",-2
b1,talk_2,dev,So so,0
c1,talk_3,test,,3
c2,talk_3,test,Great film,2.5
"""
COLUMNS = {"id": "key", "group": "talk", "split": "fold", "text": "said", "label": "score"}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "meta.csv"
    path.write_text(LINES)
    return path


def test_a_table_becomes_a_store_of_words(table, tmp_path):
    store = Store.open(convert("transcripts", table, tmp_path / "t.store", ReadOptions(columns=COLUMNS, lower_case=True)))
    assert {name: spec.dim for name, spec in store.features.items()} == {"text": 0}
    train, test = store.split("train"), store.split("test")
    assert train.records[1] | {"id": "a2", "group": "talk_1", "text": "not good, really", "words": ["not", "good,", "really"]} == train.records[1]
    assert train.labels.tolist() == [[1.5], [-2.0]]
    assert train.lengths("text").tolist() == [3, 3]
    assert test.lengths("text").tolist() == [0, 2]
    assert train.batch([0, 1]).text.features.shape == (2, 3, 0)
    assert store.manifest["extra"]["notes"] == ["1 of 5 utterances have no words (the first: 'c1'): text is absent from them"]
    assert examine(store).is_healthy


def test_the_words_are_content(table, tmp_path):
    before = Store.open(convert("transcripts", table, tmp_path / "a.store", ReadOptions(columns=COLUMNS))).fingerprint
    table.write_text(LINES.replace("IT WAS GOOD", "IT WAS POOR"))
    assert Store.open(convert("transcripts", table, tmp_path / "b.store", ReadOptions(columns=COLUMNS))).fingerprint != before


def test_a_folder_has_a_table_a_split_and_labels_may_be_words(tmp_path):
    folder = tmp_path / "talks"
    folder.mkdir()
    for name in ("my_train.csv", "my_dev.csv", "my_test.tsv"):
        separator = "\t" if name.endswith("tsv") else ","
        (folder / name).write_text(f"text{separator}group{separator}label\nso it is{separator}1{separator}negative\n")
    (folder / "README.csv.txt").write_text("no table")
    store = Store.open(convert("transcripts", folder, tmp_path / "t.store", ReadOptions(label_values={"negative": -1.0})))
    assert [split.ids for split in store.splits.values()] == [("train-2",), ("valid-2",), ("test-2",)]
    assert [split.groups for split in store.splits.values()] == [("train/1",), ("valid/1",), ("test/1",)]
    assert store.split("test").labels.tolist() == [[-1.0]]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ((",said,", ",heard,"), {}, r"--column text=said: there is no 'said'"),
        ((",score", ",points"), {"columns": {**COLUMNS, "label": "points"}}, None),
        ((",-2", ",bad"), {}, r"line 3: the label 'bad' is not a number. Give it one: --label-value bad=NUMBER"),
        ((",-2", ",bed"), {"label_values": {"bad": 1.0}}, r"Values were given for bad. Did you mean 'bad'\?"),
        ((",-2", ",nan"), {}, r"1 of 5 labels are not numbers"),
        ((",dev,", ",train,"), {}, r"has no split 'valid'; it holds \['test', 'train'\]"),
        ((",dev,", ",def,"), {}, r"unknown split 'def'; .*Did you mean 'dev'"),
        ((LINES, "key\n"), {}, r"lists no utterance"),
        (("", ""), {"columns": {**COLUMNS, "speaker": "talk"}}, r"--column speaker=...: unknown column"),
        (("", ""), {"columns": {}}, r"has no column 'text'; it has \['key', 'talk', 'fold', 'said', 'score'\]. Say which .*--column text=NAME"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_left(table, tmp_path, change, options, message):
    table.write_text(LINES.replace(*change))
    given = ReadOptions(**{"columns": COLUMNS, **options})
    if message is None:
        convert("transcripts", table, tmp_path / "t.store", given)
        return
    with pytest.raises(DataError, match=message):
        convert("transcripts", table, tmp_path / "t.store", given)
    assert [path.name for path in tmp_path.iterdir()] == ["meta.csv"]


def test_a_folder_without_tables_is_named(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(MultigrainError, match=r"expected one .csv or .tsv file a split"):
        convert("transcripts", tmp_path / "none", tmp_path / "t.store")


def test_words_are_copies_where_they_are_the_same(table, tmp_path):
    long = "we saw the film and then we saw it again and again"
    table.write_text(LINES.replace("IT WAS GOOD", long).replace("Great film", long))
    diagnosis = examine(Store.open(convert("transcripts", table, tmp_path / "t.store", ReadOptions(columns=COLUMNS))))
    assert [finding.topic for finding in diagnosis.findings if finding.level == "problem"] == ["copies_across_splits"]


def test_mosi_transcripts_with_the_sdks_folds(shared_data, tmp_path):
    options = ReadOptions(columns={"split": "sdk_fold", "group": "video_id"}, lower_case=True)
    store = Store.open(convert("transcripts", shared_data / "mosi_utterance" / "meta.csv", tmp_path / "mosi.store", options))
    assert {name: len(split) for name, split in store.splits.items()} == {"train": 1284, "valid": 229, "test": 686}
    assert {name: len(set(split.groups)) for name, split in store.splits.items()} == {"train": 52, "valid": 10, "test": 31}
