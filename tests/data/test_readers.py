import contextlib
import json
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigrain.data.readers import READERS, ReadOptions, ReadResult
from multigrain.data.readers.csd import mean_over_words
from multigrain.data.readers.padding import real_span, strip_padding
from multigrain.errors import DataError
from multigrain.schema import SPLITS, Utterance

SHARED = Path(__file__).parents[3] / "shared" / "data"
STEPS = {"text": 6, "audio": 9, "vision": 12}
DIMS = {"text": 4, "audio": 2, "vision": 3}


def padded(lengths: list[int], time: int, dim: int, side: str, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(len(lengths), time, dim)).astype(np.float32)
    for row, length in zip(values, lengths, strict=True):
        if side == "left":
            row[: time - length] = 0
        else:
            row[length:] = 0
    return values


def mult_split(split: str, lengths: list[int] = [3, 5], side: str = "left", aligned: bool = False, with_id: bool = True) -> dict[str, Any]:  # noqa: B006
    scale = {"text": 1, "audio": 1, "vision": 2}
    table: dict[str, Any] = {
        name: padded([length * (1 if aligned else scale[name]) for length in lengths], 6 if aligned else STEPS[name], DIMS[name], side, index)
        for index, name in enumerate(STEPS)
    }
    table["labels"] = np.linspace(-3, 3, len(lengths)).reshape(-1, 1, 1)
    if with_id:
        table["id"] = np.array(
            [[f"{split}video{index // 2}".encode(), str(index).encode(), str(index + 1.5).encode()] for index in range(len(lengths))]
        )
    return table


def mult(**changes: Any) -> dict[str, Any]:
    return {split: mult_split(split, **changes) for split in SPLITS}


def written(folder: Path, value: Any, name: str = "data.pkl") -> Path:
    path = folder / name
    path.write_bytes(pickle.dumps(value, protocol=4))
    return path


def read(format: str, source: Path, **options: Any) -> tuple[ReadResult, list[Utterance]]:
    result = READERS[format].read(source, ReadOptions(**options))
    utterances = list(result.utterances)
    assert [(place.id, place.split, place.group) for place in result.places] == [(u.id, u.split, u.group) for u in utterances]
    assert len({u.id for u in utterances}) == len(utterances)
    for utterance in utterances:
        for name, values in utterance.features.items():
            assert values.shape[1] == result.features[name].dim
    return result, utterances


def lengths(utterance: Utterance) -> dict[str, int]:
    return {name: len(values) for name, values in utterance.features.items()}


# Padding ----------------------------------------------------------------------------------------------------------


def test_real_span_keeps_zeros_inside_and_at_the_other_end() -> None:
    real = np.array([False, False, True, False, True, False])
    assert real_span(real, "left") == slice(2, 6)
    assert real_span(real, "right") == slice(0, 5)
    assert real_span(np.zeros(3, bool), "left") == slice(0, 0)


def test_nan_and_infinity_are_not_padding() -> None:
    values = np.array([[0.0], [np.nan], [-np.inf], [0.0]])
    np.testing.assert_array_equal(strip_padding({"audio": values}, "left", False)["audio"], values[1:])


# MulT -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
def test_mult_recovers_lengths_and_content(tmp_path: Path, side: str) -> None:
    content = mult(side=side)
    result, utterances = read("mult", written(tmp_path, content))
    assert lengths(utterances[0]) == {"text": 3, "audio": 3, "vision": 6}
    expected = content["train"]["vision"][1]
    np.testing.assert_array_equal(utterances[1].features["vision"], expected[2:] if side == "left" else expected[:10])
    assert utterances[0].id == "trainvideo0[0..1.5]"
    assert utterances[0].group == "trainvideo0"
    assert (utterances[1].start_seconds, utterances[1].end_seconds) == (1.0, 2.5)
    assert [u.label for u in utterances[:2]] == [-3.0, 3.0]
    assert result.task.to_dict()["kind"] == "regression"
    assert any(f"taken off the {side}" in note for note in result.notes)


def test_mult_aligned_keeps_the_steps_of_the_words(tmp_path: Path) -> None:
    content = mult(aligned=True)
    content["train"]["vision"][0, 3] = 0  # no face during the first real word
    content["train"]["audio"][1] = 0  # no audio at all
    _, utterances = read("mult", written(tmp_path, content))
    assert lengths(utterances[0]) == {"text": 3, "audio": 3, "vision": 3}
    assert lengths(utterances[1]) == {"text": 5, "vision": 5}
    _, unaligned = read("mult", written(tmp_path, content), aligned=False)
    assert lengths(unaligned[0]) == {"text": 3, "audio": 3, "vision": 2}
    with pytest.raises(DataError, match=r"--aligned was given, but the modalities have different numbers of steps"):
        read("mult", written(tmp_path, mult()), aligned=True)


def test_mult_side_as_asked(tmp_path: Path) -> None:
    _, utterances = read("mult", written(tmp_path, mult()), padding="right")
    assert lengths(utterances[0]) == {"text": 6, "audio": 9, "vision": 12}


@pytest.mark.parametrize("column", [0, 1])
def test_mult_emotions(tmp_path: Path, column: int) -> None:
    content = mult()
    present = np.array([[1, 0, 0, 1], [0, 0, 1, 0]])
    for table in content.values():
        table["labels"] = np.eye(2)[present]
    result, utterances = read("mult", written(tmp_path, content), present_column=column)
    assert result.task.kind == "emotions"
    assert result.task.emotions == ("neutral", "happy", "sad", "angry")
    np.testing.assert_array_equal(utterances[0].label, present[0] if column else 1 - present[0])
    assert any("neutral 0.500, happy" in note for note in result.notes)


def test_mult_without_ids_and_with_repeated_ids(tmp_path: Path) -> None:
    result, utterances = read("mult", written(tmp_path, mult(with_id=False)))
    assert (utterances[0].id, utterances[0].group) == ("train_00000", "train_00000")
    assert any("no ids" in note for note in result.notes)
    content = mult()
    for table in content.values():
        table["id"] = np.array([["v", "0", "1"], ["v", "0", "1"]], dtype=object)
    result, utterances = read("mult", written(tmp_path, content))
    assert [u.id for u in utterances[:2]] == ["v[0..1]", "v[0..1]#2"]
    assert {u.group for u in utterances} == {"v"}
    assert any("occur more than once" in note for note in result.notes)


def missing_split(content: dict[str, Any]) -> None:
    del content["test"]


def missing_modality(content: dict[str, Any]) -> None:
    del content["valid"]["audio"]


def fewer_rows(content: dict[str, Any]) -> None:
    content["train"]["vision"] = content["train"]["vision"][:1]


def other_width(content: dict[str, Any]) -> None:
    content["test"]["audio"] = content["test"]["audio"][:, :, :1]


def nan_label(content: dict[str, Any]) -> None:
    content["valid"]["labels"][1] = np.nan


def no_labels(content: dict[str, Any]) -> None:
    del content["train"]["labels"]


def odd_labels(content: dict[str, Any]) -> None:
    content["train"]["labels"] = np.zeros((2, 7))


def flat_features(content: dict[str, Any]) -> None:
    content["train"]["text"] = content["train"]["text"][:, 0]


BAD_MULT = {
    missing_split: r"has no split 'test'; it holds \['train', 'valid'\].*--splits",
    missing_modality: r"split 'valid' has no 'audio'; it holds .*--modalities",
    fewer_rows: r"split 'train' has 2 labels but 1 rows of vision",
    other_width: r"audio has 2 features a step in split 'train' but 1 in split 'test'.*Nothing was written",
    nan_label: r"1 of 2 labels are not numbers.*first is that of utterance 'validvideo0\[1..2.5\]'",
    no_labels: r"split 'train' has no 'labels'",
    odd_labels: r"labels of split 'train' have shape \(2, 7\)",
    flat_features: r"text of split 'train' has shape \(2, 4\).*expected an array of numbers \(utterances, steps, features\)",
}


@pytest.mark.parametrize("damage", BAD_MULT, ids=lambda function: function.__name__)
def test_mult_bad_input(tmp_path: Path, damage: Any) -> None:
    content = mult()
    damage(content)
    with pytest.raises(DataError, match=BAD_MULT[damage]):
        READERS["mult"].read(written(tmp_path, content), ReadOptions())


def test_mult_other_content(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds a list; expected a dict with one entry per split"):
        READERS["mult"].read(written(tmp_path, [1]), ReadOptions())
    with pytest.raises(DataError, match=r"split 'train' is a list; expected a dict of arrays"):
        READERS["mult"].read(written(tmp_path, {split: [] for split in SPLITS}), ReadOptions())


def test_only_some_splits_and_modalities(tmp_path: Path) -> None:
    content = mult()
    del content["train"], content["test"]["audio"]
    result, utterances = read("mult", written(tmp_path, content), splits=("test",), modalities=("text", "vision"))
    assert {u.split for u in utterances} == {"test"}
    assert list(result.features) == ["text", "vision"]
    assert result.splits == ("test",)


# MMSA -------------------------------------------------------------------------------------------------------------


def mmsa(aligned: bool = False, sims: bool = False) -> dict[str, Any]:
    content: dict[str, Any] = {"config": {"any": 1}}
    for split in SPLITS:
        steps = dict.fromkeys(STEPS, 6) if aligned else STEPS
        mask = np.zeros((2, 3, 6), np.float32)
        mask[0, 1, :4] = mask[1, 1, :6] = 1
        content[split] = {
            **{name: padded([4, 6], steps[name], DIMS[name], "right", index) for index, name in enumerate(STEPS)},
            "text_bert": mask,
            "raw_text": np.array(["what a film", "no"]),
            "id": [f"{split}$_$1", f"{split}$_$2"],
            "regression_labels": np.array([-0.5, 1.0], np.float32),
            "annotations": ["Negative", "Positive"],
        }
        if not aligned:
            content[split] |= {"audio_lengths": [5, 9], "vision_lengths": [4, 12]}
        if sims:
            content[split]["regression_labels_T"] = np.zeros(2)
    return content


def test_mmsa_unaligned(tmp_path: Path) -> None:
    content = mmsa()
    content["train"]["vision"][1] = 0
    result, utterances = read("mmsa", written(tmp_path, content))
    assert lengths(utterances[0]) == {"text": 4, "audio": 5, "vision": 4}
    assert lengths(utterances[1]) == {"text": 6, "audio": 9}
    assert (utterances[0].id, utterances[0].group, utterances[0].text) == ("train$_$1", "train", "what a film")
    assert (result.task.minimum, result.task.maximum) == (-3, 3)
    np.testing.assert_array_equal(utterances[0].features["text"], content["train"]["text"][0, :4])


def test_mmsa_aligned_and_sims(tmp_path: Path) -> None:
    content = mmsa(aligned=True, sims=True)
    content["train"]["audio"][0, 3] = 0  # silence during the last word
    result, utterances = read("mmsa", written(tmp_path, content))
    assert lengths(utterances[0]) == {"text": 4, "audio": 4, "vision": 4}
    assert (result.task.minimum, result.task.maximum) == (-1, 1)
    result, _ = read("mmsa", written(tmp_path, content), label_range=(-2.0, 2.0))
    assert result.task.maximum == 2


def test_mmsa_bad_input(tmp_path: Path) -> None:
    content = mmsa()
    content["test"]["audio_lengths"] = [5]
    with pytest.raises(DataError, match=r"split 'test' has 2 labels but 1 rows of lengths of audio"):
        read("mmsa", written(tmp_path, content))
    content = mmsa()
    content["train"]["regression_labels"][0] = np.nan
    with pytest.raises(DataError, match=r"split 'train': 1 of 2 labels are not numbers"):
        read("mmsa", written(tmp_path, content))
    with pytest.raises(DataError, match=r"no 'regression_labels'"):
        read("mmsa", written(tmp_path, mult()))


# MISA and MAG-BERT ------------------------------------------------------------------------------------------------


def items(split: str, with_ids: bool) -> list[Any]:
    made = []
    for index, words in enumerate((["what", "A", "film"], ["no"])):
        count = len(words)
        parts = (np.ones((count, 3), np.float32), np.full((count, 2), 2.0), words)
        inputs = (np.arange(count), *parts) if with_ids else (words, *parts[:2])
        made.append((inputs, np.array([[index - 1.0]]), f"{split}[{index}]"))
    return made


def vectors_file(folder: Path) -> Path:
    path = folder / "glove.tiny.txt"
    path.write_text("what 1 2\na 3 4\n. . . 5 6\nunrelated 7 8\n", encoding="utf-8")
    return path


def misa_folder(folder: Path) -> Path:
    for name in ("train", "dev", "test"):
        written(folder, items(name, True), f"{name}.pkl")
    return folder


@pytest.mark.parametrize("format", ["misa", "mag"])
def test_misa_and_mag(tmp_path: Path, format: str) -> None:
    source = misa_folder(tmp_path) if format == "misa" else written(tmp_path, {name: items(name, False) for name in ("train", "dev", "test")})
    result, utterances = read(format, source)
    assert [u.split for u in utterances] == ["train"] * 2 + ["valid"] * 2 + ["test"] * 2
    assert lengths(utterances[0]) == {"audio": 3, "vision": 3}
    assert (utterances[2].id, utterances[2].group, utterances[2].words) == ("dev[0]", "dev", ("what", "A", "film"))
    assert utterances[2].label == -1.0
    assert any("text is absent" in note for note in result.notes)
    result, utterances = read(format, source, word_vectors=vectors_file(tmp_path))
    np.testing.assert_array_equal(utterances[0].features["text"], [[1, 2], [3, 4], [0, 0]])
    assert any("6 of 12 words (50.0 %)" in note for note in result.notes)
    assert result.features["text"].extractor == "glove.tiny"


def test_misa_single_file_names_its_split(tmp_path: Path) -> None:
    result, utterances = read("misa", misa_folder(tmp_path) / "dev.pkl")
    assert result.splits == ("valid",)
    assert {u.split for u in utterances} == {"valid"}
    with pytest.raises(DataError, match=r"does not say which split it is"):
        read("misa", written(tmp_path, items("x", True), "mosi.pkl"))


def test_misa_bad_input(tmp_path: Path) -> None:
    folder = misa_folder(tmp_path)
    good = items("test", True)
    (inputs, label, segment), other = good
    written(folder, [((*inputs[:3], ["too", "few"]), label, segment), other], "test.pkl")
    with pytest.raises(DataError, match=r"split 'test', item 0 \(test\[0\]\): vision is \(3, 3\) for 2 words"):
        read("misa", folder)
    written(folder, [(inputs, np.array([[np.nan]]), segment)], "test.pkl")
    with pytest.raises(DataError, match=r"split 'test': 1 of 1 labels are not numbers"):
        read("misa", folder)
    wide = ((inputs[0], np.ones((3, 9), np.float32), *inputs[2:]), label, segment)
    written(folder, [wide], "test.pkl")
    with pytest.raises(DataError, match=r"vision has 3 features a step in split 'train' but 9 in split 'test'"):
        read("misa", folder)
    written(folder, [(inputs, label)], "test.pkl")
    with pytest.raises(DataError, match=r"another form"):
        read("misa", folder)
    (folder / "test.pkl").unlink()
    with pytest.raises(DataError, match=r"has no split 'test'"):
        read("misa", folder)


def test_misa_real_file() -> None:
    source = SHARED / "mosi_aligned_valid" / "dev.pkl"
    if not source.is_file():
        pytest.skip("the shared real data is not beside this checkout")
    result, utterances = read("misa", source)
    assert len(utterances) == 229
    assert {name: spec.dim for name, spec in result.features.items()} == {"audio": 74, "vision": 47}
    assert len({u.group for u in utterances}) == 10
    assert max(len(u.words or ()) for u in utterances) == 44


# CMU SDK ----------------------------------------------------------------------------------------------------------


def csd(folder: Path, name: str, videos: dict[str, tuple[Any, Any]], dimension_names: Any = None) -> Path:
    import h5py

    path = folder / f"{name}.csd"
    with h5py.File(path, "w") as file:
        for video, (features, intervals) in videos.items():
            file[f"{name}/data/{video}/features"] = features
            file[f"{name}/data/{video}/intervals"] = np.asarray(intervals, dtype=np.float64)
        file[f"{name}/metadata/root name"] = json.dumps(name)
        if dimension_names is not None:
            file[f"{name}/metadata/dimension names"] = dimension_names
    return path


def csd_folder(folder: Path) -> Path:
    frames = np.arange(20, dtype=np.float32)[:, None] + 1
    times = np.stack([np.arange(20) * 0.1, np.arange(20) * 0.1 + 0.1], axis=1)
    words = np.array([[b"sp"], [b"good"], [b"film"], [b"bad"]])
    spans = [[0.0, 0.2], [0.2, 0.5], [0.5, 1.0], [1.0, 1.2]]
    csd(folder, "words", {video: (words, spans) for video in "abc"})
    csd(folder, "COVAREP", {video: (frames, times) for video in "abc"})
    csd(folder, "OpenSMILE", {video: (frames * 10, times) for video in "abc"})
    csd(folder, "FACET", {"a": (frames[:7], times[:7]), "b": (frames, times)})
    csd(folder, "labels", {video: ([[1.5], [-2.0]], [[0.0, 1.0], [1.0, 2.0]]) for video in "abcd"})
    (folder / "folds.json").write_text(json.dumps({"train": ["a"], "valid": ["b"], "test": ["c"]}))
    return folder


def test_csd_aligned(tmp_path: Path) -> None:
    source = csd_folder(tmp_path)
    result, utterances = read("csd", source, folds_file=source / "folds.json")
    assert {name: spec.dim for name, spec in result.features.items()} == {"audio": 2, "vision": 1}
    first = utterances[0]
    assert (first.id, first.group, first.split, first.label) == ("a[0]", "a", "train", 1.5)
    assert (first.words, first.start_seconds, first.end_seconds) == (("good", "film"), 0.0, 1.0)
    np.testing.assert_allclose(first.features["audio"], [[4, 40], [8, 80]])  # frames 3..5 and 6..10
    np.testing.assert_allclose(first.features["vision"], [[4], [6.5]])  # only two frames of "film" have a face
    assert utterances[1].words == ("bad",)
    assert "vision" not in utterances[1].features  # its only step would be zeros
    assert "vision" not in utterances[-1].features
    assert any("1 videos of labels.csd are in no fold" in note for note in result.notes)
    assert any("1 words have no frame of vision" in note for note in result.notes)


def test_csd_unaligned_and_word_vectors(tmp_path: Path) -> None:
    source = csd_folder(tmp_path)
    (source / "vectors.txt").write_text("good 1 2\nfilm 3 4\n")
    _, utterances = read("csd", source, folds_file=source / "folds.json", aligned=False, word_vectors=source / "vectors.txt")
    assert lengths(utterances[0]) == {"text": 2, "audio": 10, "vision": 7}
    np.testing.assert_array_equal(utterances[0].features["text"], [[1, 2], [3, 4]])


def test_csd_text_vectors_and_named_files(tmp_path: Path) -> None:
    source = csd_folder(tmp_path)
    glove = csd(tmp_path, "vectors_of_mine", {video: (np.arange(8).reshape(4, 2), [[0, 0.2], [0.2, 0.5], [0.5, 1], [1, 1.2]]) for video in "abc"})
    with pytest.raises(DataError, match=r"vectors_of_mine.csd: its name does not tell what it holds"):
        read("csd", source, folds_file=source / "folds.json")
    text = (glove, source / "words.csd")
    result, utterances = read("csd", source, folds_file=source / "folds.json", text_files=text, audio_files=(Path("COVAREP.csd"),))
    np.testing.assert_array_equal(utterances[0].features["text"], [[2, 3], [4, 5]])
    assert {name: spec.dim for name, spec in result.features.items()} == {"text": 2, "audio": 1, "vision": 1}


def seven_labels(folder: Path, names: Any) -> Path:
    rows = [[0.1, 1.5, 0.0, 0.0], [0.2, -2.0, 0.0, 1.0]]
    csd(folder, "labels", {video: (rows, [[0.0, 1.0], [1.0, 2.0]]) for video in "abc"}, names)
    return folder


@pytest.mark.parametrize(
    "names",
    [
        json.dumps(["happy", "Sentiment", "sad", "anger"]),
        [b"happy", b"sentiment", b"sad", b"anger"],
        [json.dumps(["joy", "sentiment score", "x", "y"])],
    ],
    ids=["JSON", "rows", "JSON in a row"],
)
def test_csd_takes_the_label_that_is_called_sentiment_and_says_so(tmp_path: Path, names: Any) -> None:
    source = seven_labels(csd_folder(tmp_path), names)
    result, utterances = read("csd", source, folds_file=source / "folds.json")
    assert [utterance.label for utterance in utterances[:2]] == [1.5, -2.0]
    assert any("labels.csd has 4 labels an utterance" in note and "was taken as the score" in note for note in result.notes)
    _, utterances = read("csd", source, folds_file=source / "folds.json", label_column="3")
    assert [utterance.label for utterance in utterances[:2]] == [0.0, 1.0]


@pytest.mark.parametrize(
    "names", [None, json.dumps(["happy", "sad", "anger", "fear"]), json.dumps(["sentiment", "happy"]), "not JSON", json.dumps("x")]
)
def test_csd_asks_where_no_label_is_sentiment(tmp_path: Path, names: Any) -> None:
    source = seven_labels(csd_folder(tmp_path), names)
    with pytest.raises(DataError, match=r"has 4 labels an utterance .*--label-column NAME"):
        read("csd", source, folds_file=source / "folds.json")
    _, utterances = read("csd", source, folds_file=source / "folds.json", label_column="1")
    assert utterances[0].label == 1.5
    with pytest.raises(DataError, match=r"--label-column hapy"):
        read("csd", source, folds_file=source / "folds.json", label_column="hapy")


def test_csd_files_that_are_damaged_or_mean_harm(tmp_path: Path) -> None:
    import h5py

    source = csd_folder(tmp_path)
    path = source / "COVAREP.csd"

    def spoilt(change: Any, message: str) -> None:
        csd_folder(tmp_path)
        with h5py.File(path, "r+") as file:
            change(file["COVAREP/data/a"])
        with pytest.raises(DataError, match=message):
            read("csd", source, folds_file=source / "folds.json")

    def huge(group: Any) -> None:
        del group["features"]
        group.create_dataset("features", shape=(1 << 40, 1), chunks=(1024, 1), dtype="f4", fillvalue=1.0)

    def elsewhere(group: Any) -> None:
        del group["features"]
        group["features"] = h5py.ExternalLink("/etc/passwd", "/x")

    def missing(group: Any) -> None:
        del group["intervals"]

    def a_group(group: Any) -> None:
        del group["features"]
        group.create_group("features")

    def records(group: Any) -> None:
        del group["features"]
        group["features"] = np.zeros(20, dtype=[("x", "f4")])

    def odd_intervals(group: Any) -> None:
        del group["intervals"]
        group["intervals"] = np.zeros((20, 3))

    spoilt(huge, "would take 4398.0 GB")
    spoilt(elsewhere, "lie in another file")
    spoilt(missing, "intervals are missing")
    spoilt(a_group, "no table of numbers")
    spoilt(records, "no table of numbers")
    spoilt(odd_intervals, "features have shape|expected one row")


def test_csd_lists_of_names_that_are_damaged(tmp_path: Path) -> None:
    """HDF5 looks a name up in a heap, a part of which is read at each lookup; h5py has several exceptions for what it finds there."""
    source = seven_labels(csd_folder(tmp_path), json.dumps(["joy", "sentiment", "x", "y"]))
    path = source / "labels.csd"
    whole = path.read_bytes()
    heaps = [place for place in range(len(whole)) if whole.startswith(b"HEAP", place)]
    assert len(heaps) >= 2
    for place in [heap + offset for heap in heaps for offset in (0, *range(8, 40))]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x7F]) + whole[place + 1 :])
        with contextlib.suppress(DataError):
            read("csd", source, folds_file=source / "folds.json")


def test_csd_overlap_rule_against_a_plain_loop() -> None:
    generator = np.random.default_rng(0)
    edges = np.cumsum(generator.uniform(0.01, 0.1, 41))
    spans, values = np.stack([edges[:-1], edges[1:]], axis=1), generator.normal(size=(40, 3))
    words = np.array([[edges[3], edges[7]], [edges[7] + 0.5e-5, edges[7] + 0.9e-5], [edges[10] - 2e-5, edges[10] + 0.5e-5], [90.0, 91.0]])
    means, missing = mean_over_words(values, spans, words)
    expected = []
    for start, end in words:
        inside = [row for row, (low, high) in zip(values, spans, strict=True) if min(high, end) - max(low, start) > 1e-5]
        expected.append(np.mean(inside, axis=0) if inside else np.zeros(3))
    np.testing.assert_allclose(means, expected, rtol=1e-6)
    assert missing == 2
    np.testing.assert_allclose(means[2], values[9], rtol=1e-6)  # the next frame overlaps by less than 1e-5 s


def test_csd_bad_input(tmp_path: Path) -> None:
    source = csd_folder(tmp_path)
    with pytest.raises(DataError, match=r"needs its folds: give --folds"):
        read("csd", source)
    folds = source / "other.json"
    folds.write_text(json.dumps({"train": ["a"], "valid": ["b"]}))
    with pytest.raises(DataError, match=r"has no split 'test'"):
        read("csd", source, folds_file=folds)
    folds.write_text(json.dumps({"train": ["a"], "valid": ["b"], "test": ["a"]}))
    with pytest.raises(DataError, match=r"video 'a' is in split 'train' and in 'test'"):
        read("csd", source, folds_file=folds)
    folds.write_text(json.dumps({"train": ["a"], "valid": ["b"], "test": ["z"]}))
    with pytest.raises(DataError, match=r"no video of split 'test'"):
        read("csd", source, folds_file=folds)
    csd(source, "labels", {video: ([[np.nan]], [[0.0, 1.0]]) for video in "abc"})
    with pytest.raises(DataError, match=r"3 of 3 labels are not numbers.*'a\[0\]'"):
        read("csd", source, folds_file=source / "folds.json")
    (source / "labels.csd").write_bytes(b"not HDF5")
    with pytest.raises(DataError, match=r"cannot be read as a .csd"):
        read("csd", source, folds_file=source / "folds.json")


# Arrays -----------------------------------------------------------------------------------------------------------


def array_folder(folder: Path, header: str = "id,group,split,label,text,start,end") -> Path:
    lines = [header]
    for index, split in enumerate(("train", "train", "dev", "test")):
        lines.append(f"u{index},g{index // 2},{split},{index - 1.5},what a film,{index},{index + 0.5}")
        for name, shape in (("text", (3, 4)), ("audio", (2,)), ("video", (5, 3))):
            (folder / name).mkdir(exist_ok=True)
            if (name, index) != ("audio", 3):
                np.save(folder / name / f"u{index}.npy", np.full(shape, index + 1.0))
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_arrays_folder(tmp_path: Path) -> None:
    result, utterances = read("arrays", array_folder(tmp_path))
    assert lengths(utterances[0]) == {"text": 3, "audio": 1, "vision": 5}
    assert lengths(utterances[3]) == {"text": 3, "vision": 5}
    assert [u.split for u in utterances] == ["train", "train", "valid", "test"]
    assert (utterances[2].group, utterances[2].label, utterances[2].text, utterances[2].end_seconds) == ("g1", 0.5, "what a film", 2.5)
    assert any("1 of 4 utterances have no file in audio/" in note for note in result.notes)


def test_arrays_folder_emotions(tmp_path: Path) -> None:
    folder = array_folder(tmp_path)
    (folder / "labels.csv").write_text("id,split,label_happy,label_sad\nu0,train,1,0\nu1,valid,0,1\nu2,test,0,0\n")
    result, utterances = read("arrays", folder)
    assert result.task.emotions == ("happy", "sad")
    np.testing.assert_array_equal(utterances[1].label, [0, 1])


def test_arrays_folder_bad_input(tmp_path: Path) -> None:
    folder = array_folder(tmp_path)
    np.save(folder / "text" / "u3.npy", np.ones((2, 7)))
    with pytest.raises(DataError, match=r"text has 4 features a step in split 'train' but 7 in split 'test'"):
        read("arrays", folder)
    np.save(folder / "text" / "u3.npy", np.array([{}], dtype=object))
    with pytest.raises(DataError, match=r"u3.npy cannot be read as an array of numbers"):
        read("arrays", folder)
    array_folder(folder, "id,group,split,score,text,start,end")
    with pytest.raises(DataError, match=r"no column 'label'; it has"):
        read("arrays", folder)
    assert read("arrays", folder, columns={"label": "score"})[1][0].label == -1.5
    with pytest.raises(DataError, match=r"--column label=scores: there is no 'scores'.*Did you mean 'score'"):
        read("arrays", folder, columns={"label": "scores"})
    table = folder / "labels.csv"
    table.write_text("id,split,label\nu0,train,nan\nu1,valid,1\nu2,test,1\n")
    with pytest.raises(DataError, match=r"1 of 3 labels are not numbers"):
        read("arrays", folder)
    table.write_text("id,split,label\n../u0,train,1\n")
    with pytest.raises(DataError, match=r"the id '\.\./u0' cannot be the name of a file"):
        read("arrays", folder)
    table.write_text("id,split,label\nu0,trian,1\n")
    with pytest.raises(DataError, match=r"unknown split 'trian'.*Did you mean 'train'"):
        read("arrays", folder)
    table.unlink()
    with pytest.raises(DataError, match=r"has no labels.csv"):
        read("arrays", folder)


def flat_npz(folder: Path, **changes: Any) -> Path:
    arrays = {
        "id": np.array(["b_10", "b_2", "a_1", "c_1"]),
        "group": np.array(["b", "b", "a", "c"]),
        "split": np.array(["train", "train", "valid", "test"]),
        "label": np.array([1.0, -1.0, 0.5, 2.0]),
        "text": np.arange(8, dtype=np.float32).reshape(4, 2) + 1,
        "vision": padded([2, 3, 4, 1], 4, 3, "right"),
    }
    path = folder / "data.npz"
    np.savez(path, **{name: value for name, value in (arrays | changes).items() if value is not None})
    return path


def test_arrays_npz(tmp_path: Path) -> None:
    _, utterances = read("arrays", flat_npz(tmp_path))
    assert [lengths(u) for u in utterances[:2]] == [{"text": 1, "vision": 2}, {"text": 1, "vision": 3}]
    _, utterances = read("arrays", flat_npz(tmp_path, vision_lengths=np.array([4, 4, 0, 1])))
    assert [lengths(u).get("vision") for u in utterances] == [4, 4, None, 1]


def test_arrays_npz_in_context(tmp_path: Path) -> None:
    result, utterances = read("arrays", flat_npz(tmp_path, vision=None), context=True)
    by_id = {u.id: u for u in utterances}
    np.testing.assert_array_equal(by_id["b_2"].features["text"], [[3, 4], [1, 2]])  # b_2 comes before b_10
    assert (by_id["b_2"].readout, by_id["b_10"].readout, by_id["a_1"].readout) == (0, 1, 0)
    assert by_id["b_2"].context_key == by_id["b_10"].context_key != by_id["a_1"].context_key
    assert any("in the order of the numbers in their ids" in note for note in result.notes)
    _, utterances = read("arrays", flat_npz(tmp_path, vision=None, clip=np.array([1, 2, 1, 1])), context=True)
    assert [u.id for u in utterances[:2]] == ["b_10", "b_2"]
    split_group = flat_npz(tmp_path, vision=None, split=np.array(["train", "test", "train", "test"]))
    _, utterances = read("arrays", split_group, context=True, splits=("train", "test"))
    assert all(len(u.features["text"]) == 1 for u in utterances)  # never the context of another split
    with pytest.raises(DataError, match=r"--context puts one vector an utterance in a row, but vision of utterance"):
        read("arrays", flat_npz(tmp_path), context=True)


def test_arrays_npz_by_split_with_a_modality_missing_in_one(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {}
    for index, split in enumerate(SPLITS):
        arrays |= {f"video_{split}": padded([2, 3], 4, 3, "left", index), f"y_{split}": np.array([1.0, 5.0])}
        if split != "train":
            arrays[f"text_{split}"] = padded([2, 3], 4, 5, "left", index + 3)
    path = tmp_path / "data.npz"
    np.savez_compressed(path, **arrays)
    result, utterances = read("arrays", path, label_range=(1.0, 5.0))
    assert [lengths(u) for u in utterances[:3]] == [{"vision": 2}, {"vision": 3}, {"text": 2, "vision": 2}]
    assert {name: spec.dim for name, spec in result.features.items()} == {"text": 5, "vision": 3}
    assert any("split 'train' has no text: absent from all its 2" in note for note in result.notes)
    np.savez(path, **{name: value for name, value in arrays.items() if name != "y_test"})
    with pytest.raises(DataError, match=r"has no split 'test'"):
        read("arrays", path)
    np.savez(path, **(arrays | {"video_test": padded([2, 3], 4, 9, "left")}))
    with pytest.raises(DataError, match=r"vision has 3 features a step in split 'train' but 9 in split 'test'"):
        read("arrays", path)
    np.savez(path, **(arrays | {"video_test": padded([2], 4, 3, "left")}))
    with pytest.raises(DataError, match=r"split 'test': there are 2 labels but 1 rows of vision"):
        read("arrays", path)


def test_arrays_npz_bad_input(tmp_path: Path) -> None:
    for changes, message in (
        ({"label": np.array([1, np.nan, 0, 0])}, r"1 of 4 labels are not numbers.*'b_2'"),
        ({"label": None}, r"has no array 'label'; it holds .*--column label=NAME"),
        ({"text": np.ones((3, 2))}, "there are 4 labels but 3 rows of text"),
        ({"text": np.array([np.ones(2)] * 4 + [None], dtype=object)[:4]}, "'text' holds Python objects"),
        ({"text": None, "vision": None}, "has no 'text, audio or vision'"),
        ({"split": np.array(["train"] * 4)}, "has no split 'valid'.*--valid-share"),
    ):
        with pytest.raises(DataError, match=message):
            read("arrays", flat_npz(tmp_path, **changes))
    with pytest.raises(DataError, match=r"the file has no 'audio'"):
        read("arrays", flat_npz(tmp_path), modalities=("audio",))
    with pytest.raises(DataError, match=r"--column visoin=\.\.\.: unknown column.*Did you mean 'vision'"):
        read("arrays", flat_npz(tmp_path), columns={"visoin": "x"})
    path = flat_npz(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"cannot be read as an npz file"):
        read("arrays", path)
    with pytest.raises(DataError, match=r"neither a folder nor an .npz file"):
        read("arrays", written(tmp_path, {}))


@pytest.mark.parametrize("format", READERS)
def test_a_missing_source_says_so(tmp_path: Path, format: str) -> None:
    with pytest.raises(DataError, match=r"There is no "):
        READERS[format].read(tmp_path / "absent", ReadOptions())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "rigth"}, "Unknown value 'rigth' for padding.*Did you mean 'right'"),
        ({"splits": ("dev",)}, "Unknown value 'dev' for splits"),
        ({"valid_share": 15.0}, "between 0 and 1"),
        ({"num_folds": 5, "fold": 5}, "Fold 5 of 5"),
        ({"num_folds": 5, "valid_share": 0.1}, "give one of them"),
        ({"label_range": (3.0, -3.0)}, "lower end first"),
        ({"present_column": 2}, "so it is 0 or 1"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ReadOptions(**options)


def test_every_reader_describes_itself(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for name, reader in READERS.items():
        assert reader.name == name
        assert reader.description
        assert all(hasattr(ReadOptions(), option) for option in reader.options)


@pytest.mark.parametrize(
    ("start", "said"), [(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"), (b"\n<!DOCTYPE html>", "a web page")]
)
def test_what_downloads_bring_in_place_of_a_data_set_is_named(tmp_path: Path, start: bytes, said: str) -> None:
    for format_name, name in (("mult", "a.pkl"), ("arrays", "a.npz"), ("csd", "labels.csd")):
        (tmp_path / name).write_bytes(start)
        with pytest.raises(DataError, match=said):
            read(format_name, tmp_path / name, folds_file=tmp_path / "folds.json")


def test_parts_of_another_kind_are_a_sentence(tmp_path: Path) -> None:
    """For which no check has a sentence of its own."""
    for change in ({"audio_lengths": [None]}, {"regression_labels": [[1], [1, 2]]}, {"audio_lengths": [float("nan")]}, {"id": 3}):
        content = {"text": np.ones((1, 2, 3)), "audio": np.ones((1, 2, 3)), "vision": np.ones((1, 2, 3)), "regression_labels": np.zeros(1), **change}
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(dict.fromkeys(("train", "valid", "test"), content)))
        with pytest.raises(DataError, match="is not of the format 'mmsa', or is damaged"):
            read("mmsa", tmp_path / "a.pkl")


def test_sims_without_its_other_labels_is_noted(tmp_path: Path) -> None:
    content = {
        "text": np.ones((1, 2, 3)),
        "audio": np.ones((1, 2, 3)),
        "vision": np.ones((1, 2, 3)),
        "regression_labels": np.full(1, 0.6),
        "id": ["v$_$1"],
    }
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(dict.fromkeys(("train", "valid", "test"), content)))
    assert any("--range -1 1" in note for note in read("mmsa", tmp_path / "a.pkl")[0].notes)
    assert not any("--range -1 1" in note for note in read("mmsa", tmp_path / "a.pkl", label_range=(-1.0, 1.0))[0].notes)
