"""The checkpoint that comes with multigrain: small, offline, any subset of modalities, and as good as its card says."""

import json
import re
import socket
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

import multigrain
from multigrain.data.convert import convert
from multigrain.data.language_store import open_store
from multigrain.data.readers import ReadOptions
from multigrain.errors import CheckpointError
from multigrain.evaluation.conformal import COVERAGE, Conformal, coverage_on, modality_key
from multigrain.evaluation.predict import predict_split
from multigrain.metrics import compute_metrics
from multigrain.models import LateFusion
from multigrain.models import default_checkpoint as module
from multigrain.models.default_checkpoint import default_checkpoint
from multigrain.schema import Batch, ModalitySequence
from multigrain.video.acoustic import ACOUSTIC_SPEC
from multigrain.video.facial import FACIAL_SPEC

MEGABYTE = 1_000_000
PAGE = Path(__file__).parents[2] / "docs" / "default-checkpoint.md"
GOOD, BAD = "i loved it and it is a wonderful film", "i hated it and it is a terrible film"


@pytest.fixture(scope="module")
def model() -> LateFusion:
    loaded = multigrain.load(str(default_checkpoint()))
    assert isinstance(loaded, LateFusion)
    return loaded


@pytest.fixture(scope="module")
def figures() -> dict:
    return json.loads((default_checkpoint() / "figures.json").read_text(encoding="utf-8"))


def batch_of(model: LateFusion, names: tuple[str, ...]) -> Batch:
    """Two utterances with these modalities: words, and steps around the mean of what was learned from."""
    generator = torch.Generator().manual_seed(0)
    sequences = {}
    for name in names:
        if name != "text":
            spec = model.features[name]
            steps = torch.tensor(spec.mean) + torch.tensor(spec.std) * torch.randn(2, 30, spec.dim, generator=generator)
            sequences[name] = ModalitySequence.from_lengths(steps, torch.tensor([30, 12]))
    if "text" in names:
        words = model.text_batch([GOOD, BAD])
        return Batch(text=words.text, tokens=words.tokens, ids=words.ids, **sequences)
    return Batch(ids=("0", "1"), **sequences)


def test_it_is_small():
    size = sum(path.stat().st_size for path in default_checkpoint().rglob("*"))
    assert size < 8 * MEGABYTE


def test_it_loads_and_predicts_without_a_network(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    loaded = multigrain.load(str(default_checkpoint()))
    good, bad = loaded.predict(loaded.text_batch([GOOD, BAD]))[:, 0].tolist()
    assert bad < -1.0 < 1.0 < good


def test_any_subset_of_modalities_gives_an_answer_with_an_interval(model: LateFusion):
    names, conformal = tuple(model.features), Conformal.read(default_checkpoint())
    assert conformal is not None
    for count in range(1, len(names) + 1):
        for present in combinations(names, count):
            scores = model.predict(batch_of(model, present))[:, 0]
            assert bool(torch.isfinite(scores).all())
            assert bool((scores.abs() <= 4.0).all())
            ends = conformal.interval(float(scores[0]), present, COVERAGE)
            assert ends is not None
            assert -3.0 <= ends[0] < ends[1] <= 3.0
            assert conformal.half_widths[modality_key(present)][COVERAGE] < 3.0


def test_it_reads_what_extraction_makes(model: LateFusion, figures: dict):
    made = {"audio": ACOUSTIC_SPEC, "vision": FACIAL_SPEC}
    for name, spec in model.features.items():
        assert name == "text" or made[name].difference(spec) is None
    assert list(model.features) == figures["used"]


def test_it_names_the_language_of_its_words(model: LateFusion):
    assert model.text_encoder is not None
    assert model.text_encoder.reader.settings.languages == ("en",)


def test_another_language_model_is_refused(tiny_encoder: Path):
    with pytest.raises(CheckpointError, match=r"minilm.*another one.*--text-encoder FOLDER"):
        multigrain.load(str(default_checkpoint()), text_encoder=str(tiny_encoder))


def test_a_missing_file_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    with pytest.raises(CheckpointError, match=r"lacks config\.json and model\.safetensors"):
        default_checkpoint()


def test_no_part_that_does_not_help_is_used(figures: dict):
    assert figures["used"] == [name for name, gain in figures["gain_over_constant"].items() if gain["low"] > 0]


def test_the_page_has_the_figures_of_the_checkpoint(figures: dict):
    rows = dict(re.findall(r"^\| ([^|]+?) \| (.*) \|$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    for name, values in figures["test"].items():
        if name != "together":
            for metric, digits in (("mae", 2), ("correlation", 2), ("accuracy_2_non0", 2)):
                one = values[metric]
                assert f"{one['value']:.{digits}f} ({one['low']:.{digits}f} to {one['high']:.{digits}f})" in rows[name], (name, metric)


@pytest.mark.slow
def test_mosi_test_figures_are_those_of_the_page(model: LateFusion, figures: dict, shared_data: Path, tmp_path: Path):
    reading = ReadOptions(columns={"split": "sdk_fold", "group": "video_id"}, lower_case=True)
    path = convert("transcripts", shared_data / "mosi_utterance" / "meta.csv", tmp_path / "mosi_text.store", reading)
    assert model.text_encoder is not None
    split = open_store(path, model.text_encoder.reader).split("test")
    found = predict_split(model, split)
    assert found.labels is not None
    metrics = compute_metrics(model.task, found.scores, found.labels)
    expected = figures["test"]["text"]
    assert len(found.ids) == expected["utterances"] == 686
    for name in ("mae", "correlation", "accuracy_2_has0", "accuracy_2_non0"):
        assert metrics[name] == pytest.approx(expected[name]["value"], abs=0.003), name
    conformal = Conformal.read(default_checkpoint())
    assert conformal is not None
    assert coverage_on(conformal, model, split)["text"] == pytest.approx(expected["coverage"]["value"], abs=0.003)
    assert np.std(found.scores) > 0.5
