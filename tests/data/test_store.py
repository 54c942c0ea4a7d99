"""The store: what is written is read back, and nothing that is wrong gets in or opens."""

import errno
import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from multigrain.data import store_writer
from multigrain.data.store import Store, StoreWriter
from multigrain.errors import DataError, StoreError
from multigrain.schema import FeatureSpec, Task, Utterance

FEATURES = {"text": FeatureSpec(dim=3, extractor="made"), "audio": FeatureSpec(dim=2)}


def utterance(name="u0", split="train", text=4, audio=6, label=1.0, **changes):
    """A small utterance; `text` and `audio` are step counts, None for absent."""
    generator = np.random.default_rng([*name.encode()])
    features = {} if text is None else {"text": generator.normal(size=(text, 3)).astype(np.float32)}
    if audio is not None:
        features["audio"] = generator.normal(size=(audio, 2)).astype(np.float32)
    return replace(Utterance(id=name, split=split, group="video", features=features, label=label), **changes)


def write(path, utterances, task=None, **options):
    with StoreWriter(path, task=task or Task(), features=FEATURES, **options) as writer:
        for item in utterances:
            writer.add(item)
    return Store.open(path)


def hidden_files(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


# What is written is read back ---------------------------------------------------------------------------------------


def test_round_trip_of_every_field(tmp_path):
    first = utterance("a", text=3, audio=5)
    first = replace(first, text="né à 7", words=("né", "à", "7"), start_seconds=0.5, end_seconds=2.25, group="g1")
    written = [first, utterance("b", text=1, audio=None, label=-2.5), utterance("c", split="test", label=0.1)]
    store = write(tmp_path / "x.store", written, source={"name": "x.pkl"}, licence="CC0", extra={"fact": 3})
    assert list(store.splits) == ["train", "test"]
    assert store.manifest["extra"] == {"fact": 3}
    assert store.manifest["source"] == {"name": "x.pkl"}
    assert store.manifest["licence"] == "CC0"
    train = store.split("train")
    assert (len(train), train.ids, train.groups, train.modalities) == (2, ("a", "b"), ("g1", "video"), ("text", "audio"))
    assert train.lengths("audio").tolist() == [5, 0]
    assert train.labels.tolist() == [[1.0], [-2.5]]
    for index, original in enumerate(written[:2]):
        again = train.utterance(index)
        assert set(again.features) == set(original.features)
        for name in original.features:
            np.testing.assert_array_equal(again.features[name], original.features[name])
        for name in ("id", "split", "group", "label", "text", "words", "start_seconds", "end_seconds", "readout", "context_key"):
            assert getattr(again, name) == getattr(original, name), name
    np.testing.assert_array_equal(train.values("text"), np.concatenate([item.features["text"] for item in written[:2]]))


def test_the_safetensors_library_reads_the_file(tmp_path):
    store = write(tmp_path / "x.store", [utterance("a"), utterance("b", text=None), utterance("c", split="valid", audio=None)])
    for split in ("train", "valid"):
        with safe_open(tmp_path / "x.store" / f"{split}.safetensors", framework="pt") as file:
            assert set(file.keys()) == {"labels", *(f"{m}/{part}" for m in ("text", "audio") for part in ("values", "starts", "lengths"))}
            for modality in ("text", "audio"):
                np.testing.assert_array_equal(file.get_tensor(f"{modality}/values").numpy(), store.split(split).values(modality))
                np.testing.assert_array_equal(file.get_tensor(f"{modality}/lengths").numpy(), store.split(split).lengths(modality))


def test_batch_is_padded_to_its_longest_and_masked(tmp_path):
    split = write(tmp_path / "x.store", [utterance(f"u{i}", text=i + 1, audio=2 * i or None) for i in range(6)]).split("train")
    batch = split.batch([4, 0, 2])
    assert batch.ids == ("u4", "u0", "u2")
    assert batch.vision is None
    assert batch.text.features.shape == (3, 5, 3)
    assert batch.audio.features.shape == (3, 8, 2)
    assert batch.text.lengths.tolist() == [5, 1, 3]
    assert batch.audio.lengths.tolist() == [8, 0, 4]
    assert batch.audio.is_present.tolist() == [True, False, True]
    assert batch.text.readout.tolist() == [4, 0, 2]
    assert batch.audio.readout.tolist() == [7, 0, 3]
    for row, index in enumerate([4, 0, 2]):
        for name, values in split.utterance(index).features.items():
            sequence = getattr(batch, name)
            np.testing.assert_array_equal(sequence.features[row, : len(values)].numpy(), values)
            assert sequence.features[row, len(values) :].abs().sum() == 0
    assert batch.audio.features[1].abs().sum() == 0
    only_absent = split.batch(np.array([0]))
    assert only_absent.audio.features.shape == (1, 1, 2)
    assert not only_absent.audio.mask.any()
    assert split.batch(torch.tensor([3]), ["text"]).audio is None
    assert split.__getitems__([1, 2]).ids == ("u1", "u2")


def test_a_modality_that_no_utterance_of_a_split_has(tmp_path):
    split = write(tmp_path / "x.store", [utterance("a", audio=None), utterance("b", audio=None)]).split("train")
    assert split.batch([0, 1]).audio.features.shape == (2, 1, 2)
    assert split.values("audio").shape == (0, 2)


def test_context_is_stored_once_and_read_at_each_readout(tmp_path):
    video = np.arange(15, dtype=np.float32).reshape(5, 3)
    items = [
        Utterance(id=f"v{i}", split="train", group="v", features={"text": video.copy()}, label=0.0, context_key="v", readout=i) for i in range(5)
    ]
    split = write(tmp_path / "x.store", items).split("train")
    assert split.values("text").shape == (5, 3)
    batch = split.batch([3, 1])
    assert batch.text.readout.tolist() == [3, 1]
    np.testing.assert_array_equal(batch.text.features[1].numpy(), video)
    again = write(tmp_path / "again.store", [split.utterance(i) for i in range(5)])
    assert again.split("train").values("text").shape == (5, 3)
    assert again.split("train").utterance(2).readout == 2
    assert again.fingerprint == Store.open(tmp_path / "x.store").fingerprint


def test_utterances_of_a_context_can_be_read_with_its_sequence_once(tmp_path):
    generator = np.random.default_rng(0)
    videos = {name: {"text": generator.normal(size=(steps, 3)).astype(np.float32)} for name, steps in (("v", 5), ("w", 7))}
    videos["w"]["audio"] = generator.normal(size=(7, 2)).astype(np.float32)
    items = [
        Utterance(id=f"{name}{i}", split="train", group=name, features=dict(videos[name]), label=0.0, context_key=name, readout=i)
        for name, steps in (("v", 5), ("w", 7))
        for i in range(steps)
    ]
    split = write(tmp_path / "x.store", items).split("train")
    contexts = split.contexts(["text", "audio"])
    assert contexts is not None
    assert len(set(contexts[:5])) == len(set(contexts[5:])) == 1
    assert contexts[0] != contexts[5]
    rows = [8, 1, 11, 0, 5]
    shared, apart = split.batch(rows, shares_contexts=True), split.batch(rows)
    assert shared.text.features.shape[0] == 2
    assert shared.size == apart.size == 5
    assert shared.ids == apart.ids
    for name in ("text", "audio"):
        one, other = getattr(shared, name).unshared(), getattr(apart, name)
        np.testing.assert_array_equal(one.features, other.features)
        np.testing.assert_array_equal(one.mask, other.mask)
        assert one.readout[one.is_present].tolist() == other.readout[other.is_present].tolist()
    assert pickle.loads(pickle.dumps(split)).contexts(["text"]) is not None


def test_utterances_with_sequences_of_their_own_have_no_contexts(tmp_path):
    split = write(tmp_path / "x.store", [utterance("a"), utterance("b")]).split("train")
    assert split.contexts(["text", "audio"]) is None
    assert split.batch([1, 0], shares_contexts=True).text.rows is None


def test_statistics_are_those_of_the_finite_training_rows(tmp_path):
    generator = np.random.default_rng(0)
    values = (generator.normal(size=(40, 3)) * [1, 100, 0] + [1e4, -5, 7]).astype(np.float32)
    values[3, 0], values[10, 1] = np.nan, -np.inf
    items = [replace(utterance(f"u{i}", audio=None), features={"text": values[8 * i : 8 * i + 8]}) for i in range(5)]
    items += [replace(items[0], id="again", context_key="k"), replace(items[0], id="once more", context_key="k")]  # stored once
    store = write(tmp_path / "x.store", [*items, utterance("other", split="test")], replace_nonfinite=0.0)
    used = np.concatenate([values, values[:8]]).astype(np.float64)
    used[~np.isfinite(used)] = np.nan
    np.testing.assert_allclose(store.features["text"].mean, np.nanmean(used, axis=0), rtol=1e-12)
    np.testing.assert_allclose(store.features["text"].std, np.nanstd(used, axis=0), rtol=1e-9, atol=1e-12)
    assert store.features["text"].extractor == "made"
    assert store.features["audio"].mean is None
    assert store.manifest["replaced"] == {"text": 3, "audio": 0}  # one of them is in the rows that the last two share
    assert np.isfinite(store.split("train").values("text")).all()
    assert store.split("train").values("text")[3, 0] == 0.0


def test_fingerprint_follows_content_and_nothing_else(tmp_path):
    items = [utterance("a"), utterance("b", split="test")]
    first = write(tmp_path / "x.store", items).fingerprint
    assert write(tmp_path / "y.store", items[::-1], licence="other").fingerprint == first
    for number, changed in enumerate([utterance("a", label=1.5), utterance("other"), utterance("a", group="other"), utterance("a", text=5)]):
        assert write(tmp_path / f"{number}.store", [changed, items[1]]).fingerprint != first, number


def test_pickled_split_is_small_and_reads_the_same(make_store):
    split = make_store(counts={"train": 200}).split("train")
    expected = split.batch([5, 3])
    data = pickle.dumps(split)
    assert len(data) < 5000
    again = pickle.loads(data).batch([5, 3])
    assert again.ids == expected.ids
    assert torch.equal(again.vision.features, expected.vision.features)


def test_opening_takes_milliseconds(make_store):
    path = make_store().path
    start = time.perf_counter()
    for _ in range(20):
        Store.open(path)
    assert (time.perf_counter() - start) / 20 < 0.05


def test_tasks_and_unlabelled_splits(make_store, tmp_path):
    emotions = make_store(task=Task(kind="emotions"), name="emotions.store")
    assert emotions.task.kind == "emotions"
    assert emotions.split("train").labels.shape == (12, 4)
    assert emotions.split("train").utterance(0).label.shape == (4,)
    store = write(tmp_path / "x.store", [utterance("a"), utterance("b", split="test", label=None)])
    assert store.split("test").labels is None
    assert store.split("test").batch([0]).label is None
    assert store.split("test").utterance(0).label is None


def test_labels_out_of_range_are_counted(tmp_path):
    store = write(tmp_path / "x.store", [utterance("a", label=3.2), utterance("b", label=np.array([[-3.0]])), utterance("c", label=-4.0)])
    assert store.manifest["splits"]["train"]["labels_out_of_range"] == 2
    assert store.split("train").labels[:, 0].tolist() == pytest.approx([3.2, -3.0, -4.0])


# What must not get in -------------------------------------------------------------------------------------------------

FULL = np.zeros((4, 3), np.float32)
BAD_UTTERANCES = {
    "label not a number": (utterance("bad", label=float("nan")), r"'bad' of split 'train' has the label \[nan\].*not a finite number.*Remove"),
    "infinite label": (utterance("bad", label=float("inf")), r"'bad'.*\[inf\]"),
    "two labels for one score": (utterance("bad", label=np.zeros(2)), r"'bad'.*2 labels; the task 'regression' expects one score"),
    "no label where others have one": (
        utterance("bad", label=None),
        r"'bad' of split 'train' has no label, but utterances before it in that split have one",
    ),
    "duplicate id": (utterance("good", split="test"), r"'good' of split 'test'.*already in the store \(in split 'train'\).*unique"),
    "unknown split": (utterance("bad", split="tset"), r"'bad'.*unknown split.*train, valid, test. Did you mean 'test'\?"),
    "wrong width": (replace(utterance("bad", split="test"), features={"text": np.zeros((4, 7))}), r"'bad' of split 'test': text has 7.*has 3"),
    "one dimension": (replace(utterance("bad"), features={"text": np.zeros(3)}), r"'bad'.*text has shape \(3,\); expected \(steps, 3\)"),
    "unknown modality": (replace(utterance("bad"), features={"vision": FULL}), r"'bad'.*'vision'.*not declared.*text, audio"),
    "not numbers": (replace(utterance("bad"), features={"text": np.full((2, 3), "x")}), r"'bad'.*text holds values of type <U1"),
    "readout outside": (utterance("bad", readout=5), r"'bad'.*readout step 5 lies outside its text, which has 4 steps"),
    "context that differs": (utterance("bad", context_key="k", text=9), r"'bad'.*text differs from.*context key 'k'"),
}


@pytest.mark.parametrize("case", BAD_UTTERANCES)
def test_bad_utterance_is_refused_by_name_and_leaves_nothing(tmp_path, case):
    bad, message = BAD_UTTERANCES[case]
    with pytest.raises(DataError, match=message):
        write(tmp_path / "x.store", [utterance("good", context_key="k"), bad])
    assert list(tmp_path.iterdir()) == []


def test_label_where_others_have_none(tmp_path):
    with pytest.raises(DataError, match=r"'b' of split 'test' has a label, but utterances before it in that split have none"):
        write(tmp_path / "x.store", [utterance("a", split="test", label=None), utterance("b", split="test")])


def test_wrong_number_of_emotions(tmp_path):
    with pytest.raises(DataError, match=r"1 labels; the task 'emotions' expects 4, one for each of neutral, happy, sad, angry"):
        write(tmp_path / "x.store", [utterance("a")], task=Task(kind="emotions"))


def test_empty_store(tmp_path):
    with pytest.raises(DataError, match="No utterance was added"):
        write(tmp_path / "x.store", [])
    assert list(tmp_path.iterdir()) == []


def test_no_or_unknown_modalities(tmp_path):
    for features in ({}, {"video": FeatureSpec(dim=2)}):
        with pytest.raises(DataError, match="at least one of the modalities text, audio, vision"):
            StoreWriter(tmp_path / "x.store", task=Task(), features=features)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nonfinite_features_are_one_error_with_the_first_place_and_all_counts(tmp_path, value):
    first, second, third = utterance("a"), utterance("b", split="valid"), utterance("c", split="test")
    second.features["audio"][2, 1] = value
    second.features["audio"][5, 0] = np.nan
    third.features["text"][0, 0] = value
    with pytest.raises(DataError) as caught:
        write(tmp_path / "x.store", [first, second, third])
    message = str(caught.value)
    assert f"split 'valid', utterance 'b', audio, step 2, feature 1 ({value})" in message
    assert "1 in text, 2 in audio" in message
    assert "--replace-nonfinite 0" in message
    assert list(tmp_path.iterdir()) == []


def test_value_too_large_for_float32_counts_as_infinite(tmp_path):
    large = replace(utterance("a"), features={"text": np.full((1, 3), 1e300)})
    with pytest.raises(DataError, match="3 in text"):
        write(tmp_path / "x.store", [large])


# Atomicity --------------------------------------------------------------------------------------------------------------


def test_killed_writer_leaves_nothing_that_opens(tmp_path, caplog):
    script = """
        import os, sys
        import numpy as np
        from multigrain.data.store import StoreWriter
        from multigrain.schema import FeatureSpec, Task, Utterance
        writer = StoreWriter(sys.argv[1], task=Task(), features={"text": FeatureSpec(dim=3)})
        for index in range(10**9):
            values = np.ones((1000, 3), np.float32)
            writer.add(Utterance(id=str(index), split="train", group="g", features={"text": values}, label=0.0))
            if index == 300:
                print("half-way", flush=True)
            if index > 300:
                import time
                time.sleep(0.01)
    """
    path = tmp_path / "x.store"
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), str(path)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "half-way\n"
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    (leftover,) = hidden_files(tmp_path)
    assert (tmp_path / leftover / "train.text.part").stat().st_size > 1_000_000
    with pytest.raises(StoreError, match="interrupted conversion"):
        Store.open(tmp_path / leftover)
    (tmp_path / leftover / "manifest.json").write_text("{}")  # not even with a manifest
    with pytest.raises(StoreError, match="interrupted conversion"):
        Store.open(tmp_path / leftover)
    with pytest.raises(StoreError, match="no store at"):
        Store.open(path)
    with caplog.at_level(logging.WARNING):
        assert len(write(path, [utterance()]).split("train")) == 1
    assert leftover in caplog.text


def test_existing_store_is_kept_unless_told(tmp_path):
    path = tmp_path / "x.store"
    write(path, [utterance("first")])
    with pytest.raises(StoreError, match=r"already a store at .*x.store.*--overwrite"):
        write(path, [utterance("second")])
    assert Store.open(path).split("train").ids == ("first",)
    with pytest.raises(DataError, match="'bad'"):
        write(path, [utterance("bad", label=float("nan"))], overwrite=True)
    assert Store.open(path).split("train").ids == ("first",)
    assert write(path, [utterance("second")], overwrite=True).split("train").ids == ("second",)
    assert hidden_files(tmp_path) == []


def test_what_is_not_a_store_is_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for path in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        with pytest.raises(DataError, match="is not a store, so it is left alone"):
            write(path, [utterance()], overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"


def test_adding_after_the_end(tmp_path):
    writer = StoreWriter(tmp_path / "x.store", task=Task(), features=FEATURES)
    writer.add(utterance("a"))
    assert writer.finish() == writer.finish() == tmp_path / "x.store"
    with pytest.raises(DataError, match=r"'b'.*after the store .* was finished"):
        writer.add(utterance("b"))
    given_up = StoreWriter(tmp_path / "y.store", task=Task(), features=FEATURES)
    given_up.discard()
    with pytest.raises(DataError, match="given up"):
        given_up.finish()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a device that is always full")
def test_full_disk_while_adding(tmp_path, monkeypatch):
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: real(Path("/dev/full") if self.suffix == ".part" else self, *a, **{**k, "buffering": 0}))
    with pytest.raises(DataError, match=r"x.store could not be written: the disk is full.*Free some space"):
        write(tmp_path / "x.store", [utterance(f"u{i}") for i in range(3)])
    assert list(tmp_path.iterdir()) == []


def test_full_disk_at_the_end(tmp_path, monkeypatch):
    def fail(path, parts):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_writer, "write_safetensors", fail)
    with pytest.raises(DataError, match="the disk is full"):
        write(tmp_path / "x.store", [utterance()])
    assert list(tmp_path.iterdir()) == []


def test_full_disk_for_real(tmp_path):
    script = """
        import sys
        import numpy as np
        from multigrain.data.store import StoreWriter
        from multigrain.errors import DataError
        from multigrain.schema import FeatureSpec, Task, Utterance
        try:
            with StoreWriter(sys.argv[1], task=Task(), features={"text": FeatureSpec(dim=3)}) as writer:
                for index in range(int(sys.argv[2])):
                    values = np.ones((10_000, 3), np.float32)
                    writer.add(Utterance(id=str(index), split="train", group="g", features={"text": values}, label=0.0))
        except DataError as error:
            print(error)
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    disk = tmp_path / "disk"
    disk.mkdir()
    inside = 'mount -t tmpfs -o size=4m tmpfs "$1" || exit 77; "$2" "$3" "$1/x.store" 1000; "$2" "$3" "$1/x.store" 25; ls -A "$1"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", inside, "sh", disk, sys.executable, tmp_path / "script.py"]
    if shutil.which("unshare") is None or (run := subprocess.run(command, capture_output=True, text=True)).returncode in (1, 77):
        pytest.skip("needs to mount a small tmpfs in a namespace of its own, which this machine does not allow")
    lines = run.stdout.splitlines()
    assert len(lines) == 2, run  # full while adding, full while assembling (3 MB and once more), and an empty disk after
    assert all("could not be written: the disk is full" in line for line in lines)


def test_place_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"x.store could not be written: (Not a directory|File exists)"):
        write(tmp_path / "file" / "x.store", [utterance()])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(DataError, match=r"could not be written: Permission denied"):
            write(tmp_path / "x.store", [utterance()])
    finally:
        tmp_path.chmod(0o700)


# What must not open -----------------------------------------------------------------------------------------------------


def test_truncated_file_is_named_with_both_sizes(make_store):
    path = make_store().path
    for name in ("valid.safetensors", "valid.utterances.jsonl"):
        file = path / name
        whole = file.read_bytes()
        file.write_bytes(whole[:-10])
        with pytest.raises(StoreError, match=rf"{name} is truncated: expected {len(whole)} bytes, found {len(whole) - 10}"):
            Store.open(path)
        file.write_bytes(whole + b"x")
        with pytest.raises(StoreError, match=f"{name} is too long"):
            Store.open(path)
        file.unlink()
        with pytest.raises(StoreError, match=f"{name} is missing"):
            Store.open(path)
        file.write_bytes(whole)
    Store.open(path)


def test_exchanged_file_of_the_same_size(make_store):
    path = make_store().path
    file = path / "test.safetensors"
    data = file.read_bytes()
    file.write_bytes(data.replace(b"text/values", b"tent/values"))
    with pytest.raises(StoreError, match="header differs"):
        Store.open(path)
    file.write_bytes(b"\xff" * len(data))
    with pytest.raises(StoreError, match="not a safetensors file"):
        Store.open(path)


def test_newer_format_says_to_update(make_store):
    path = make_store().path
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "format_version": 99, "multigrain_version": "7.0"}))
    with pytest.raises(StoreError, match=r"format 99, written by multigrain 7.0.*up to 1.*Update multigrain"):
        Store.open(path)


def test_what_is_not_a_store(tmp_path, make_store):
    with pytest.raises(StoreError, match=r"no store at .*nowhere.*multigrain data convert"):
        Store.open(tmp_path / "nowhere")
    (tmp_path / "file.pkl").write_text("x")
    with pytest.raises(StoreError, match=r"is a file, and a store is a folder"):
        Store.open(str(tmp_path / "file.pkl"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match=r"is not a store: it has no manifest.json"):
        Store.open(tmp_path / "empty")
    for text, message in (("{", "cannot be read as JSON"), ("[1]", "no format_version"), ('{"format_version": 1}', "damaged or was edited")):
        (tmp_path / "empty" / "manifest.json").write_text(text)
        with pytest.raises(StoreError, match=message):
            Store.open(tmp_path / "empty")
    path = make_store().path
    shutil.move(path, tmp_path / "renamed")  # a store may be moved
    assert len(Store.open(tmp_path / "renamed").split("train")) == 12


def test_asking_for_what_is_not_there(make_store):
    store = make_store(counts={"train": 3, "valid": 2}, modalities=("text", "audio"))
    with pytest.raises(StoreError, match=r"no split 'test'; it has train, valid"):
        store.split("test")
    split = store.split("train")
    with pytest.raises(DataError, match=r"no modality 'vision'; it has text, audio"):
        split.batch([0], ["vision"])
    for indices in ([], [3], [-1]):
        with pytest.raises(DataError, match="at least one index between 0 and 2"):
            split.batch(indices)
    with pytest.raises(IndexError):
        split.utterance(3)
