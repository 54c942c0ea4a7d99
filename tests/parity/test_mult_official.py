"""MulT against the outputs of its authors' code, and against an independent transcription for partial checkpoints."""

import math

import numpy as np
import pytest
import torch

from multigrain import Batch, FeatureSpec, Task
from multigrain.errors import CheckpointError
from multigrain.models import MulT, build_model

CASES = {"mult_all_targets": False, "mult_all_targets_causal": True, "mult_text_target": False}
LETTERS = "lav"
INPUTS = {"l": "text", "a": "audio", "v": "vision"}


def golden_case(golden, name):
    with np.load(golden / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    weights = {key.removeprefix("weight/"): value for key, value in arrays.items() if key.startswith("weight/")}
    inputs = {key.removeprefix("input/"): value for key, value in arrays.items() if key.startswith("input/")}
    return weights, inputs, arrays["output/prediction"], arrays["output/last_hidden"]


@pytest.mark.parametrize("name", sorted(CASES))
@pytest.mark.parametrize("kind", ["numpy", "tensor"])
def test_agrees_with_the_authors_outputs(golden, name, kind):
    weights, inputs, prediction, last_hidden = golden_case(golden, name)
    if kind == "tensor":
        weights = {key: torch.from_numpy(value) for key, value in weights.items()}
    model = MulT.from_official(weights, num_heads=5, future_mask=CASES[name])
    output = model(Batch.from_arrays(**inputs))
    np.testing.assert_allclose(output.prediction.detach().numpy(), prediction, atol=1e-5, rtol=0)
    np.testing.assert_allclose(output.representations["fused"].detach().numpy(), last_hidden, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", sorted(CASES))
def test_transcription_agrees_with_the_authors_outputs(golden, name):
    weights, inputs, prediction, _ = golden_case(golden, name)
    targets = "lav" if "all" in name else "l"
    np.testing.assert_allclose(transcribed(weights, inputs, targets, future_mask=CASES[name]), prediction, atol=1e-6, rtol=0)


@pytest.mark.parametrize("target", ["a", "v"])
def test_checkpoints_with_only_the_stacks_into_one_target(golden, target):
    weights, inputs, _, _ = golden_case(golden, "mult_all_targets")
    head = {key: value for key, value in golden_case(golden, "mult_text_target")[0].items() if key.startswith(("proj1", "proj2", "out"))}
    partial = {
        key: value for key, value in weights.items() if key.startswith((f"trans_{target}_with", "trans_l_mem", "trans_a_mem", "trans_v_mem", "proj_"))
    } | head
    model = MulT.from_official(partial, num_heads=5)
    assert model.config.targets == (INPUTS[target],)
    prediction = model(Batch.from_arrays(**inputs)).prediction.detach().numpy()
    np.testing.assert_allclose(prediction, transcribed(partial, inputs, target, future_mask=False), atol=1e-5, rtol=0)


def test_parameter_count_of_the_published_size():
    features = {"text": FeatureSpec(dim=300), "audio": FeatureSpec(dim=5), "vision": FeatureSpec(dim=20)}
    settings = {"width": 30, "num_heads": 5, "num_layers": 5, "num_summary_layers": 5, "tied_norms": True}
    model = build_model("mult", settings, Task(), features)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_071_211


def test_input_that_already_has_the_common_width_is_taken_as_it_is(golden):
    weights, inputs, _, _ = golden_case(golden, "mult_all_targets")
    wide = {**weights, "proj_a.weight": np.full((30, 30, 1), 7.0, np.float32)}
    audio = np.random.default_rng(0).normal(size=(3, 11, 30))
    model = MulT.from_official(wide, num_heads=5)
    identity = {**weights, "proj_a.weight": np.eye(30, dtype=np.float32)[:, :, None]}
    expected = transcribed(identity, {**inputs, "audio": audio}, "lav", future_mask=False)
    prediction = model(Batch.from_arrays(**{**inputs, "audio": audio})).prediction.detach().numpy()
    np.testing.assert_allclose(prediction, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("trans_a_with_v.layers.2.fc1.weight"), "missing .*audio.*layers.2.feed_forward.expand.weight"),
        (lambda weights: weights.update({"something.else": np.zeros(3)}), "has something.else, which MulT does not"),
        (lambda weights: weights.update({"proj1.weight": np.zeros((4, 4))}), r"of shape \(4, 4\); the rest of the weights implies"),
        (lambda weights: weights.clear(), "no checkpoint of the MulT authors' code"),
    ],
)
def test_state_dicts_that_do_not_fit_are_refused(golden, change, message):
    weights = dict(golden_case(golden, "mult_all_targets")[0])
    change(weights)
    with pytest.raises(CheckpointError, match=message):
        MulT.from_official(weights, num_heads=5)


def transcribed(weights, inputs, targets, *, future_mask, num_heads=5):
    """MulT (ACL 2019) step by step and utterance by utterance in float64, in the authors' parameter names."""
    weights = {key: np.asarray(value, np.float64) for key, value in weights.items()}

    def norm(states, name):
        centred = states - states.mean(-1, keepdims=True)
        return centred / np.sqrt(states.var(-1, keepdims=True) + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def positions(states):
        time, dim = states.shape
        table = np.zeros((time, dim))
        for step in range(time):
            for index in range(dim // 2):
                angle = np.float32(step + 1) * np.float32(math.exp(-index * math.log(10000) / (dim // 2 - 1)))
                table[step, index], table[step, dim // 2 + index] = math.sin(angle), math.cos(angle)
        return states * math.sqrt(dim) + table

    def attention(name, target, source):
        dim = target.shape[1]
        weight, bias = weights[f"{name}.in_proj_weight"], weights[f"{name}.in_proj_bias"]
        query, key, value = (
            states @ weight[part * dim : (part + 1) * dim].T + bias[part * dim : (part + 1) * dim]
            for part, states in enumerate((target, source, source))
        )
        head_dim, answers = dim // num_heads, np.zeros_like(target)
        for head in range(num_heads):
            at = slice(head * head_dim, (head + 1) * head_dim)
            for step in range(len(target)):
                scores = key[:, at] @ (query[step, at] * head_dim**-0.5)
                if future_mask:
                    scores[np.arange(len(source)) > step + abs(len(source) - len(target))] = -np.inf
                shares = np.exp(scores - scores.max())
                answers[step, at] = shares / shares.sum() @ value[:, at]
        return answers @ weights[f"{name}.out_proj.weight"].T + weights[f"{name}.out_proj.bias"]

    def stack(name, target, source):
        states, answer = positions(target), None if source is None else positions(source)
        layers = 1 + max(int(key.split(".")[2]) for key in weights if key.startswith(f"{name}.layers."))
        for layer in (f"{name}.layers.{index}" for index in range(layers)):
            normalised = norm(states, f"{layer}.layer_norms.0")
            states = states + attention(f"{layer}.self_attn", normalised, normalised if answer is None else norm(answer, f"{layer}.layer_norms.0"))
            inner = np.maximum(norm(states, f"{layer}.layer_norms.1") @ weights[f"{layer}.fc1.weight"].T + weights[f"{layer}.fc1.bias"], 0)
            states = states + inner @ weights[f"{layer}.fc2.weight"].T + weights[f"{layer}.fc2.bias"]
        return norm(states, f"{name}.layer_norm")

    predictions = []
    for utterance in range(len(inputs["text"])):
        low = {letter: inputs[INPUTS[letter]][utterance] @ weights[f"proj_{letter}.weight"][:, :, 0].T for letter in LETTERS}
        lasts = []
        for target in targets:
            streams = [stack(f"trans_{target}_with_{source}", low[target], low[source]) for source in LETTERS if source != target]
            lasts.append(stack(f"trans_{target}_mem", np.concatenate(streams, axis=1), None)[-1])
        last = np.concatenate(lasts)
        hidden = weights["proj2.weight"] @ np.maximum(weights["proj1.weight"] @ last + weights["proj1.bias"], 0) + weights["proj2.bias"] + last
        predictions.append(weights["out_layer.weight"] @ hidden + weights["out_layer.bias"])
    return np.stack(predictions)
