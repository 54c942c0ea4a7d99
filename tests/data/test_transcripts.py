"""Transcripts as a store of words without vectors."""

from pathlib import Path

import pytest

from multigrain.data.convert import convert
from multigrain.data.doctor import examine
from multigrain.data.language_split import words_of
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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "text,label,split,start,end\nit’s good,1.5,train,62.5,3661\nbad,-2,dev,,\n"),
        ("t.csv", "\ufeffText;Label;Split;Start;End\n\nit’s good;1,5;train;0:01:02,500;01:01:01\nbad;-2;dev;;\n"),
        ("t.tsv", "text\tlabel\tsplit\tstart\tend\nit’s  good\t1,5\tTrain\t1:02.5\t1:01:01\nbad\t-2\tdev\t\t\n"),
        ("t.csv", "label;split;text;start;end;more\r\n1.5;train;it’s good;62.5;3661;x;\r\n-2;dev;bad\r\n"),
    ],
    ids=["commas", "semicolons, decimal commas, clock times, capitals and empty lines", "tabs", "crlf, longer and shorter lines"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_tables_as_they_are_saved(tmp_path, name, content, encoding):
    path = tmp_path / name
    path.write_bytes(content.encode("utf-8") if encoding == "utf-8" else content.removeprefix("\ufeff").encode("cp1252"))
    store = Store.open(convert("transcripts", path, tmp_path / "t.store", ReadOptions(splits=("train", "valid"))))
    train = store.split("train").records[0]
    assert (train["text"], train["words"]) == ("it’s good", ["it’s", "good"])
    assert (train["start_seconds"], train["end_seconds"]) == (62.5, 3661.0)
    assert [split.labels.tolist() for split in store.splits.values()] == [[[1.5]], [[-2.0]]]
    text = content.removeprefix("\ufeff").replace("\r\n", "\n")
    line = 1 + text[: text.index("’")].count("\n")
    notes = [note for note in store.manifest["extra"].get("notes", []) if "Windows-1252" in note]
    said = f"{name} is not in UTF-8 (line {line}); it was read as Windows-1252. If its names look wrong, save it as UTF-8."
    assert notes == ([] if encoding == "utf-8" else [said])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text,label,split\ngood,1,train\n\x81,1,train\n", r"line 3: byte 30 is not UTF-8"),
        (b"text,label,split,start\ngood,1,train,soon\n", r"line 2: start is 'soon'; expected seconds, such as 12.5, or 00:01:12.5"),
        (b"text,label,split,start\ngood,1,train,-1\n", r"line 2: start is '-1'"),
        (b"text;label;split\n\ngood;eins;train\n", r"line 3: the label 'eins' is not a number"),
        (b"text,label,split\n\0,1,train\n", r"holds zero bytes"),
        (b"", r"is empty"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        convert("transcripts", tmp_path / "t.csv", tmp_path / "t.store", ReadOptions(splits=("train",)))


def test_words_of_scripts_without_spaces(tmp_path):
    (tmp_path / "t.csv").write_text("text,label,split\n我讨厌这部电影。,-1,train\nI like 北京烤鸭,1,train\n", encoding="utf-8")
    store = Store.open(convert("transcripts", tmp_path / "t.csv", tmp_path / "t.store", ReadOptions(splits=("train",))))
    chinese, mixed = store.split("train").records
    assert (chinese["words"], chinese["text"]) == (["我", "讨厌", "这", "部", "电影。"], "我讨厌这部电影。")
    assert mixed["words"][:3] == ["I", "like", "北京"]
    assert store.split("train").lengths("text").tolist() == [5, len(mixed["words"])]


def test_a_record_without_words_has_those_of_its_text():
    assert words_of({"text": "我讨厌电影。"}) == ["我", "讨厌", "电影。"]
    assert words_of({"text": "so  it is", "words": None}) == ["so", "it", "is"]
    assert words_of({"text": "我讨厌", "words": ["我讨厌"]}) == ["我讨厌"]
    assert words_of({"text": None}) == []
