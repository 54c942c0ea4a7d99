"""Checkpoints that anybody may have written: each fault is one sentence, at once, and takes no memory."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from multigrain.errors import CheckpointError
from multigrain.models import build_model, load
from multigrain.schema import FeatureSpec, Task


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    features = {"text": FeatureSpec(dim=6, mean=(0.0,) * 6, std=(1.0,) * 6), "audio": FeatureSpec(dim=4), "vision": FeatureSpec(dim=3)}
    build_model("mult", {"width": 4, "num_heads": 2, "num_layers": 1}, Task(), features, clip=10.0).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    load(str(tmp_path))  # everything is imported, and it is whole
    return tmp_path


def refused(folder: Path, match: str) -> None:
    start = time.process_time()
    with pytest.raises(CheckpointError, match=match) as caught:
        load(str(folder))
    assert time.process_time() - start < 5  # a tenth of a second without the checks of shapes and types that tests add
    assert "\n" not in str(caught.value)[:200]


HUGE = 10**9
CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "a huge width": ({"config": {"width": 4 * 10**5}}, "describes a larger model than"),
    "an impossible width": ({"config": {"width": HUGE}}, "expected a whole number of at most"),
    "many layers": ({"config": {"num_layers": 10**6}}, "describes a larger model than"),
    "a width that is text": ({"config": {"width": "40"}}, "config, width is '40'; expected a whole number"),
    "a width that is true": ({"config": {"width": True}}, "expected a whole number"),
    "a width that is a fraction": ({"config": {"width": 4.0}}, "expected a whole number"),
    "a width that is nothing": ({"config": {"width": None}}, "expected a whole number"),
    "no heads": ({"config": {"num_heads": 0}}, "num_heads"),
    "a negative number of layers": ({"config": {"num_layers": -1}}, "num_layers|larger model|cannot be read into|cannot be built"),
    "a kernel without size": ({"config": {"kernel_size": 0}}, "kernel_size|cannot be built|cannot be read"),
    "a rate that is no number": ({"config": {"text_dropout": float("nan")}}, "expected a finite number"),
    "a choice that is none": ({"config": {"residual": "other"}}, "expected one of 'plain', 'normalised'"),
    "targets that are none": ({"config": {"targets": [1, {}]}}, "targets"),
    "an unknown setting": ({"config": {"wdith": 4}}, "sets .'wdith'."),
    "a config that is a list": ({"config": []}, "config"),
    "an unknown model": ({"model": "../x"}, "names the model '../x'"),
    "a model that is a list": ({"model": []}, "expected text"),
    "features wider than the weights": (
        {"features": {"text": {"dim": 999_999, "mean": None, "std": None}}},
        "describes a larger model than|cannot be read into",
    ),
    "features of a billion": ({"features": {"text": {"dim": HUGE, "mean": None, "std": None}}}, "expected a whole number of at most"),
    "features of a negative width": ({"features": {"audio": {"dim": -4}}}, "are -4 wide"),
    "another number of means": ({"features": {"text": {"mean": [0.0]}}}, "statistics"),
    "means that are no numbers": ({"features": {"text": {"mean": [float("inf")] * 6}}}, "expected a finite number"),
    "an unknown modality": ({"features": {"smell": {"dim": 3}}}, "smell"),
    "an unknown task": ({"task": {"kind": "guess"}}, "expected one of"),
    "a task without range": ({"task": {"minimum": 3.0, "maximum": 3.0}}, "nothing can be predicted"),
    "a task without classes": ({"task": {"kind": "classification", "class_values": []}}, "nothing can be predicted"),
    "normalise that is text": ({"normalise": "yes"}, "expected true or false"),
    "clip that is a list": ({"clip": [1]}, "clip"),
    "a text encoder that is a number": ({"text_encoder": 3}, "text_encoder"),
    "a text encoder with a number for a name": ({"text_encoder": {"name": 3, "sha256": "x"}}, "text_encoder, name is 3; expected text"),
    "a text encoder elsewhere": ({"text_encoder": {"name": "/etc", "mode": "frozen", "sha256": "x"}}, "cannot be found here"),
    "another format": ({"format_version": "x" * 5000}, "checkpoint format version"),
}


def merged(first: Any, second: Any) -> Any:
    if isinstance(first, dict) and isinstance(second, dict):
        return {key: merged(first.get(key), second[key]) if key in second else first[key] for key in {**first, **second}}
    return second


@pytest.mark.parametrize("name", CONFIGS)
def test_a_hostile_description_is_one_sentence_at_once(folder, name):
    change, match = CONFIGS[name]
    path = folder / "config.json"
    path.write_text(json.dumps(merged(json.loads(path.read_text()), change)))
    refused(folder, match)


@pytest.mark.parametrize("missing", ["model", "config", "task", "features", "normalise", "clip", "format_version"])
def test_a_description_that_lacks_something(folder, missing):
    path = folder / "config.json"
    values = json.loads(path.read_text())
    del values[missing]
    path.write_text(json.dumps(values))
    refused(folder, missing.replace("format_version", "format version"))


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"null", b'"x"', b"[" * 200_000, b'{"a":' * 100_000, b"\xff\xfe", b"{" + b" " * 1000])
def test_json_that_is_none(folder, content):
    (folder / "config.json").write_bytes(content)
    refused(folder, "is not valid JSON|expected a JSON object")


def weights_changed(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = next(name for name, values in weights.items() if values.ndim == 2)
    weights[name] = change(weights[name])
    save_file(weights, path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda values: values.index_fill(0, torch.tensor([0]), float("nan")), "numbers of .* are NaN or infinite"),
        (lambda values: values * float("inf"), "are NaN or infinite"),
        (lambda values: values.to(torch.int64), "is of type int64, not float32"),
        (lambda values: values.to(torch.bool), "is of type bool, not float32"),
        (lambda values: values[:1].contiguous(), "size mismatch"),
        (lambda values: torch.zeros(0), "size mismatch|larger model"),
    ],
    ids=["nan", "infinite", "integers", "truths", "another shape", "nothing"],
)
def test_weights_that_are_none(folder, change, match):
    weights_changed(folder, change)
    refused(folder, match)


def test_weights_in_half_precision_are_read(folder):
    weights_changed(folder, lambda values: values.half())
    assert next(iter(load(str(folder)).parameters())).dtype == torch.float32


@pytest.mark.parametrize(
    "content", [b"", b"x" * 100, (10**15).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"{}", (4).to_bytes(8, "little") + b"[[[["]
)
def test_a_weights_file_that_is_none(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, "The weights in|larger model")
