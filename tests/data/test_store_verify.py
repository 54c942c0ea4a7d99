"""Content that was changed in place: found by the doctor, and by evaluate and train where they are asked."""

import json
from pathlib import Path

import numpy as np
import pytest

from multigrain.cli import main
from multigrain.data.doctor import examine
from multigrain.data.store import Store, StoreWriter
from multigrain.data.store_format import read_header
from multigrain.data.store_verify import changed_splits, check_content
from multigrain.errors import StoreError
from multigrain.schema import FeatureSpec, Task, Utterance


def write_store(path: Path, *, has_words: bool = False) -> Path:
    random = np.random.default_rng(0)
    features = {"text": FeatureSpec(dim=0 if has_words else 3), "audio": FeatureSpec(dim=2)}
    with StoreWriter(path, task=Task(), features=features) as writer:
        for number in range(60):
            split = ("train", "valid", "test")[number % 3]
            text = np.zeros((4, 0), np.float32) if has_words else random.normal(size=(4, 3)).astype(np.float32)
            writer.add(
                Utterance(
                    id=f"{split}{number}",
                    split=split,
                    group=f"{split}-{number // 9}",
                    features={"text": text, "audio": random.normal(size=(5, 2)).astype(np.float32)},
                    label=float(np.clip(random.normal(), -3, 3)),
                    words=("it", "was", "so", "good"),
                    text="it was so good",
                )
            )
        return writer.finish()


def negate_labels(store: Path, split: str) -> None:
    path = store / f"{split}.safetensors"
    raw = read_header(path)
    begin, end = json.loads(raw[8:])["labels"]["data_offsets"]
    content = bytearray(path.read_bytes())
    labels = np.frombuffer(content[len(raw) + begin : len(raw) + end], "<f4")
    content[len(raw) + begin : len(raw) + end] = (-labels).tobytes()
    path.write_bytes(content)


@pytest.mark.parametrize("has_words", [False, True])
def test_what_is_as_it_was_written_is_well(tmp_path, has_words):
    store = Store.open(write_store(tmp_path / "a.store", has_words=has_words))
    assert changed_splits(store) == []
    check_content(store)


def test_negated_labels_are_found(tmp_path, capsys):
    path = write_store(tmp_path / "a.store")
    negate_labels(path, "train")
    assert changed_splits(Store.open(path)) == ["train"]
    with pytest.raises(StoreError, match=r"is not what was written: that of train was changed in place"):
        check_content(Store.open(path))
    diagnosis = examine(Store.open(path))
    assert [finding.topic for finding in diagnosis.problems] == ["content_changed"]
    assert main(["data", "doctor", str(path)]) == 1
    assert "The content of 'train' is not what was written" in " ".join(capsys.readouterr().out.split())


def test_changed_words_groups_and_hashes_are_found(tmp_path):
    path = write_store(tmp_path / "a.store", has_words=True)
    lines = path / "test.utterances.jsonl"
    original = lines.read_text()
    for old, new in (("good", "sore"), ("test-0", "test-1"), ('"test2"', '"tent2"')):
        lines.write_text(original.replace(old, new))
        assert changed_splits(Store.open(path)) == ["test"], old
    lines.write_text(original)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["fingerprint"] = "0" * 64
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert len(changed_splits(Store.open(path))) == 3


def test_train_and_evaluate_verify_where_they_are_asked(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_store(tmp_path / "a.store")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"model:\n  name: lf_lstm\n  width: 4\ndata:\n  store: {path}\ntraining:\n  epochs: 1\n  loggers: []\n")
    assert main(["train", str(recipe), "--run-folder", "run", "--verify"]) == 0
    assert main(["evaluate", "run", "--verify"]) == 0
    negate_labels(path, "test")
    capsys.readouterr()
    for command in (["evaluate", "run", "--verify"], ["train", "run", "--resume", "--verify"], ["evaluate", "run", "--store", str(path), "--verify"]):
        assert main(command) == 2
        assert "is not what was written: that of test" in " ".join(capsys.readouterr().err.split())
