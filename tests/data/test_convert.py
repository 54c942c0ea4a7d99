import hashlib
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from multigrain.cli.data import register
from multigrain.data import convert as module
from multigrain.data.convert import assign_splits, convert, describe_source
from multigrain.data.readers import Place, ReadOptions
from multigrain.data.store import Store
from multigrain.errors import DataError, MultigrainError, UnsafePickleError
from multigrain.schema import SPLITS

SHARED = Path(__file__).parents[3] / "shared" / "data"


def content() -> dict[str, Any]:
    generator = np.random.default_rng(0)
    made = {}
    for split, count in (("train", 6), ("valid", 2), ("test", 2)):
        made[split] = {
            "text": generator.normal(size=(count, 4, 3)).astype(np.float32),
            "audio": generator.normal(size=(count, 9, 2)).astype(np.float32),
            "vision": generator.normal(size=(count, 8, 5)).astype(np.float32),
            "labels": np.linspace(-3, 3, count).reshape(-1, 1, 1),
            "id": np.array([[f"{split}{index // 2}", index, index + 1] for index in range(count)], dtype=object),
        }
        made[split]["text"][:, :2] = 0
    return made


def pickled(folder: Path, value: Any) -> Path:
    path = folder / "mosi_data_noalign.pkl"
    path.write_bytes(pickle.dumps(value, protocol=4))
    return path


def nothing_left(folder: Path, *expected: str) -> bool:
    return sorted(path.name for path in folder.iterdir()) == sorted(expected)


def run(*arguments: object) -> Any:
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def test_a_store_of_what_the_pickle_holds(tmp_path: Path) -> None:
    made, source = content(), pickled(tmp_path, content())
    seen: list[tuple[str, int, int]] = []
    path = convert("mult", source, tmp_path / "a.store", progress=lambda *report: seen.append(report))
    store = Store.open(path)
    assert {name: len(split) for name, split in store.splits.items()} == {"train": 6, "valid": 2, "test": 2}
    first = store.split("train").utterance(0)
    np.testing.assert_array_equal(first.features["text"], made["train"]["text"][0, 2:])
    np.testing.assert_array_equal(first.features["vision"], made["train"]["vision"][0])
    assert first.id == "train0[0..1]"
    assert store.manifest["source"] == {
        "name": source.name,
        "bytes": source.stat().st_size,
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "format": "mult",
    }
    assert any("taken off the left" in note for note in store.manifest["extra"]["notes"])
    assert seen[-1] == ("converting", 10, 10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(tmp_path: Path, bad: float) -> None:
    made = content()
    made["train"]["audio"][1, 4, 1] = made["test"]["audio"][0, 0, 0] = bad
    source = pickled(tmp_path, made)
    with pytest.raises(DataError, match=r"2 in audio. The first is at split 'train', utterance 'train0\[1..2\]', audio, step 4, feature 1"):
        convert("mult", source, tmp_path / "a.store")
    assert nothing_left(tmp_path, source.name)
    store = Store.open(convert("mult", source, tmp_path / "a.store", replace_nonfinite=0.0))
    assert store.manifest["replaced"]["audio"] == 2
    assert store.split("train").utterance(1).features["audio"][4, 1] == 0


def test_bad_input_leaves_nothing(tmp_path: Path) -> None:
    for key, change, message in (
        ("labels", np.array([[[np.nan]], [[1.0]]]), "1 of 2 labels are not numbers"),
        ("audio", np.ones((2, 9, 7)), "audio has 2 features a step in split 'train' but 7 in split 'test'"),
        ("vision", np.ones((1, 8, 5)), "split 'test' has 2 labels but 1 rows of vision"),
        ("text", None, "split 'test' has no 'text'"),
    ):
        made = content()
        made["test"][key] = change
        with pytest.raises(DataError, match=message):
            convert("mult", pickled(tmp_path, made), tmp_path / "a.store")
        assert nothing_left(tmp_path, "mosi_data_noalign.pkl")


class Payload:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.marker}",)


def test_a_payload_in_a_pickle_never_runs(tmp_path: Path) -> None:
    made = content()
    made["test"]["extra"] = Payload(tmp_path / "marker")
    source = pickled(tmp_path, made)
    with pytest.raises(UnsafePickleError, match=r"it asks for posix.system"):
        convert("mult", source, tmp_path / "a.store")
    assert nothing_left(tmp_path, source.name)


def test_unknown_format_missing_file_and_existing_store(tmp_path: Path) -> None:
    source = pickled(tmp_path, content())
    with pytest.raises(DataError, match=r"There is no format 'mul'.*Did you mean 'mult'"):
        convert("mul", source, tmp_path / "a.store")
    with pytest.raises(DataError, match=r"There is no file or folder at .*Did you mean 'mosi_data_noalign.pkl'"):
        convert("mult", tmp_path / "mosi_data_noaling.pkl", tmp_path / "a.store")
    convert("mult", source, tmp_path / "a.store")
    with pytest.raises(MultigrainError, match=r"already a store"):
        convert("mult", source, tmp_path / "a.store")
    convert("mult", source, tmp_path / "a.store", overwrite=True)


def test_an_option_without_effect_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        convert("mult", pickled(tmp_path, content()), tmp_path / "a.store", ReadOptions(context=True, padding="left"))
    assert "makes no use of: context. They have no effect" in caplog.text
    assert "padding" not in caplog.text


def test_published_files_are_known_by_their_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = pickled(tmp_path, content())
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert "published_as" not in describe_source(source, "mult")
    monkeypatch.setitem(module.PUBLISHED_FILES, digest, "a known file")
    assert describe_source(source, "mult")["published_as"] == "a known file"
    assert all(len(key) == 64 for key in module.PUBLISHED_FILES)


def places(groups: dict[str, tuple[str, int]]) -> list[Place]:
    return [Place(f"{group}_{index}", split, group) for group, (split, count) in groups.items() for index in range(count)]


def test_valid_share_takes_whole_groups_out_of_training() -> None:
    given = places({f"v{index}": ("train", 5) for index in range(20)} | {"t": ("test", 7)})
    splits = assign_splits(given, ReadOptions(valid_share=0.15, seed=3))
    assert splits.count("valid") == 15
    assert splits[-7:] == ["test"] * 7
    by_group: dict[str, set[str | None]] = {}
    for place, split in zip(given, splits, strict=True):
        by_group.setdefault(place.group, set()).add(split)
    assert all(len(found) == 1 for found in by_group.values())
    assert splits == assign_splits(given, ReadOptions(valid_share=0.15, seed=3))
    assert splits != assign_splits(given, ReadOptions(valid_share=0.15, seed=4))
    with pytest.raises(DataError, match=r"the training split has 1 groups"):
        assign_splits(places({"v": ("train", 5)}), ReadOptions(valid_share=0.15))


def test_cross_validation_by_groups() -> None:
    given = places({f"v{index}": ("valid" if index % 2 else "test", 1 + index % 3) for index in range(20)} | {"x": ("train", 9)})
    tested: list[str] = []
    for fold in range(5):
        splits = assign_splits(given, ReadOptions(num_folds=5, fold=fold, from_splits=("valid", "test")))
        assert splits[-9:] == [None] * 9
        by_split = {name: {place.group for place, split in zip(given, splits, strict=True) if split == name} for name in SPLITS}
        assert not by_split["train"] & by_split["test"]
        assert not by_split["train"] & by_split["valid"]
        assert all(by_split.values())
        tested += by_split["test"]
    assert sorted(tested) == sorted(f"v{index}" for index in range(20))
    with pytest.raises(DataError, match=r"5 folds need at least as many groups"):
        assign_splits(places({"v": ("train", 9)}), ReadOptions(num_folds=5))


def test_killed_half_way_leaves_nothing_that_opens(tmp_path: Path) -> None:
    source, store = pickled(tmp_path, content()), tmp_path / "a.store"
    script = (
        "import sys, time\nfrom multigrain.data.convert import convert\n"
        "def stop(what, done, total):\n"
        "    if what == 'converting' and done == 5:\n        print('half', flush=True)\n        time.sleep(60)\n"
        "convert('mult', sys.argv[1], sys.argv[2], progress=stop)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(source), str(store)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == "half\n"
        child.send_signal(signal.SIGKILL)
        child.wait(60)
    assert not store.exists()
    with pytest.raises(MultigrainError):
        Store.open(store)
    convert("mult", source, store)
    assert len(Store.open(store).split("train")) == 6


# The command line -------------------------------------------------------------------------------------------------


def test_command_convert_and_doctor(tmp_path: Path) -> None:
    made = content()
    made["valid"]["text"][0, 2, 0] = np.nan
    source, store, page = pickled(tmp_path, made), tmp_path / "a.store", tmp_path / "page.html"
    result = run("convert", "--format", "mult", "--replace-nonfinite", 0, "--extractor", "text=glove", "--licence", "research only", source, store)
    assert result.exit_code == 0, result.output
    assert "6 train, 2 valid, 2 test utterances; features text 3, audio 2, vision 5" in result.output
    assert Store.open(store).manifest["licence"] == "research only"
    assert Store.open(store).features["text"].extractor == "glove"
    result = run("doctor", store, "--json", "--html", page)
    assert json.loads(result.stdout)["is_healthy"] is (result.exit_code == 0)
    assert "<html" in page.read_text()


def test_command_doctor_exit_code(tmp_path: Path) -> None:
    made = content()
    made["test"]["id"][:, 0] = "train0"  # a video in two splits
    store = convert("mult", pickled(tmp_path, made), tmp_path / "a.store")
    result = run("doctor", store)
    assert result.exit_code == 1
    assert "train0" in result.output


def test_command_planted(tmp_path: Path) -> None:
    result = run("planted", "--size", 12, tmp_path / "p.store", "--valid-size", 5, "--test-size=6", "--aligned", "--text-noise", 0.1)
    assert result.exit_code == 0, result.output
    assert "12 train, 5 valid, 6 test" in result.output
    dials = Store.open(tmp_path / "p.store").manifest["extra"]["planted"]["config"]
    assert (dials["aligned"], dials["text_noise"]) == (True, 0.1)
    assert "--num-keys 4" in run("planted", tmp_path / "p.store", "--dials").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("planted", "p.store", "--num-key", "3"), "no dial --num-key. Did you mean 'num-keys'"),
        (("planted", "p.store", "--num-keys", "many"), "--num-keys many: expected a whole number"),
        (("planted", "--size", "3"), "needs the name of one store to make"),
        (("planted", "p.store", "--num-keys"), "--num-keys needs a value"),
        (("convert", "--format", "arrays", "--column", "vision", "x", "y"), "--column vision: expected NAME=VALUE"),
        (("convert", "--format", "mult", "absent.pkl", "y"), "There is no file or folder at absent.pkl"),
        (("doctor", "absent.store"), "absent.store"),
    ],
)
def test_command_errors_are_one_paragraph(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, MultigrainError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


# Real data --------------------------------------------------------------------------------------------------------


def shared(name: str) -> Path:
    if not (SHARED / name).is_file():
        pytest.skip("the shared real data is not beside this checkout")
    return SHARED / name


def test_mosi_in_context(tmp_path: Path) -> None:
    options = ReadOptions(context=True, columns={"group": "video_id", "split": "orig_split", "vision": "video"}, valid_share=0.15)
    store = Store.open(convert("arrays", shared("mosi_utterance/features.npz"), tmp_path / "mosi.store", options))
    counts = {name: len(split) for name, split in store.splits.items()}
    assert sum(counts.values()) == 2199
    assert counts["test"] == 752
    assert 0.15 <= counts["valid"] / 1447 < 0.2
    groups = {name: set(split.groups) for name, split in store.splits.items()}
    assert not groups["train"] & groups["valid"]
    with np.load(SHARED / "mosi_utterance" / "features.npz") as source:
        videos, clips, text = source["video_id"], source["clip"], source["text"]
    split = store.split("test")
    for index in (0, 100, 751):
        utterance = split.utterance(index)
        rows = np.flatnonzero(videos == utterance.group)
        rows = rows[np.argsort(clips[rows])]
        np.testing.assert_array_equal(utterance.features["text"], text[rows])
        assert f"{utterance.group}_{clips[rows[utterance.readout]]}" == utterance.id


def test_mmmo_by_split_and_by_folds(tmp_path: Path) -> None:
    source = shared("mmmo_mfn/mmmo.npz")
    store = Store.open(convert("arrays", source, tmp_path / "a.store", ReadOptions(label_range=(1.0, 5.0))))
    assert {name: len(split) for name, split in store.splits.items()} == {"train": 220, "valid": 40, "test": 80}
    assert store.split("train").lengths("text").max() == 0
    assert store.split("test").lengths("text").min() > 0
    options = ReadOptions(label_range=(1.0, 5.0), num_folds=5, fold=2, from_splits=("valid", "test"))
    folds = Store.open(convert("arrays", source, tmp_path / "b.store", options))
    assert {name: len(split) for name, split in folds.splits.items()} == {"train": 72, "valid": 24, "test": 24}
    assert folds.split("train").lengths("text").min() > 0
