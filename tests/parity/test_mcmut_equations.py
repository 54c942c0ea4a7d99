"""MCMuT against the paper: an independent plain-loop transcription, its relation to MulT, and its order of complexity."""

import math

import numpy as np
import pytest
import torch

from multigrain import Batch, FeatureSpec, Task
from multigrain.errors import RecipeError
from multigrain.layers import position
from multigrain.models import build_model
from multigrain.models.mcmut_levels import needed_levels, source_levels

FEATURES = {"text": FeatureSpec(dim=6), "audio": FeatureSpec(dim=4), "vision": FeatureSpec(dim=5)}
TIMES = {"text": 4, "audio": 6, "vision": 5}
NO_DROPOUT = {"attention_dropout": 0.0, "hidden_dropout": 0.0, "residual_dropout": 0.0, "output_dropout": 0.0}
NO_MULT_DROPOUT = {f"{name}_dropout": 0.0 for name in ("text", "hidden", "residual", "embedding", "output")} | {
    f"attention_dropout_{name}": 0.0 for name in ("text", "audio", "vision")
}


@pytest.fixture(autouse=True)
def exact_positions(monkeypatch):
    """The package's table is float32, as MulT's; here it is the transcription's own, in float64, so that all else can be compared to 1e-10."""
    monkeypatch.setattr(position, "_tables", {})
    monkeypatch.setattr(position, "_table", lambda time, dim, device: torch.from_numpy(positions(time, dim)))


def test_the_table_of_positions_is_the_transcription(monkeypatch):
    monkeypatch.undo()
    for dim in (8, 16, 40):
        np.testing.assert_allclose(position.sinusoidal_positions(50, dim, torch.zeros(1)).numpy(), positions(50, dim), atol=1e-5, rtol=0)


def random_inputs(seed=0):
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=(2, TIMES[name], spec.dim)) for name, spec in FEATURES.items()}


def double_batch(inputs):
    batch = Batch.from_arrays(**inputs)
    for name, sequence in batch.modalities.items():
        sequence.features = torch.from_numpy(inputs[name])
    return batch


def perturbed(model, seed=1):
    """Weights away from their initial zeros and ones, in float64, so that no term of an equation can hide."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.2)
    return model


# (c) an independent transcription -----------------------------------------------------------------------------------


def asked_levels(interaction, level, num_layers, source_blocks, source_scales, source_layers):
    """Section "Block Interaction Mechanism" and "Variants", as sets of source levels, written from the text."""
    if source_scales == "lowest":
        return [0]
    if interaction in ("dense", "global"):
        return [j for j in range(level) if j <= source_blocks * (source_layers if interaction == "dense" else 1)]
    block = math.ceil(level / num_layers)
    is_first = level % num_layers == 1 or num_layers == 1
    if is_first:
        return [source_layers * b for b in range(block) if b <= source_blocks]
    own = min(block, source_blocks)
    first_of_block = source_layers * (own - 1) + 1
    if interaction == "block":
        return [first_of_block]
    return [first_of_block + offset for offset in range(level - (num_layers * (block - 1) + 1)) if offset < source_layers]


def positions(length, dim):
    """MulT's sinusoidal table, in its own words: positions from 1, sines in the first half, cosines in the second."""
    half = dim // 2
    frequencies = np.exp(-math.log(10000) / (half - 1) * np.arange(half))
    angles = np.arange(1, length + 1)[:, None] * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def convolved(steps, weight):
    """Eq. 1 with zeros beyond both ends, so that steps keep their number; `weight` is (out, in, kernel)."""
    reach = weight.shape[2] // 2
    result = np.zeros((len(steps), weight.shape[0]))
    for step in range(len(steps)):
        for offset in range(-reach, reach + 1):
            if 0 <= step + offset < len(steps):
                result[step] += weight[:, :, offset + reach] @ steps[step + offset]
    return result


def transcribed_mcmut(model, inputs):
    """Eqs. 1-5 for one utterance at a time, with loops over steps, heads and scales."""
    config = model.config
    weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    width, heads = config.width, config.num_heads
    head_dim = width // heads

    def norm(states, name):
        centred = states - states.mean(-1, keepdims=True)
        return centred / np.sqrt(states.var(-1, keepdims=True) + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(states, name):
        return states @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def softmax(scores):
        shares = np.exp(scores - scores.max())
        return shares / shares.sum()

    def placed(states, factor=None):  # sqrt(d) is MulT's code's; Eq. 2 as printed has none
        return states * (math.sqrt(states.shape[1]) if factor is None else factor) + positions(*states.shape)

    def feed_forward(states, name):
        return linear(np.maximum(linear(states, f"{name}.expand"), 0), f"{name}.contract")

    def crossmodal(target, source, name, scale):  # Eq. 3, with the heads' results joined by W_O
        query = target @ weights[f"{name}.query_weight"][scale].T + weights[f"{name}.query_bias"][scale]
        packed = source @ weights[f"{name}.key_value_weight"][scale].T + weights[f"{name}.key_value_bias"][scale]
        key, value = packed[:, :width], packed[:, width:]
        answers = np.zeros_like(target)
        for step in range(len(target)):
            for head in range(heads):
                at = slice(head * head_dim, (head + 1) * head_dim)
                shares = softmax(np.array([query[step, at] @ key[other, at] / math.sqrt(head_dim) for other in range(len(source))]))
                answers[step, at] = sum(share * value[other, at] for other, share in enumerate(shares))
        return answers @ weights[f"{name}.output_weight"][scale].T + weights[f"{name}.output_bias"][scale]

    def aggregate(candidates, name):  # the multi-scale attention over one step's candidates
        result = np.zeros_like(next(iter(candidates.values())))
        for step in range(len(result)):
            labelled = np.stack([answer[step] + weights[f"{name}.embedding"][scale] for scale, answer in candidates.items()])
            query, key, value = np.split(linear(labelled, f"{name}.in_projection"), 3, axis=-1)
            attended = np.zeros_like(labelled)
            for head in range(heads):
                at = slice(head * head_dim, (head + 1) * head_dim)
                for s in range(len(labelled)):
                    attended[s, at] = softmax(key[:, at] @ query[s, at] / math.sqrt(head_dim)) @ value[:, at]
            result[step] = (labelled + linear(attended, f"{name}.out_projection")).mean(axis=0)
        return result

    def layer(target, sources, name, num_scales):
        normalised = norm(target, f"{name}.target_norm")
        answers = {scale: norm(source, f"{name}.source_norm") for scale, source in sources.items()}
        candidates = {scale: crossmodal(normalised, answer, f"{name}.crossmodal", scale) for scale, answer in answers.items()}  # Eq. 4
        if num_scales == 1:
            aggregated = candidates[0]
        elif config.uses_scale_attention:
            aggregated = aggregate(candidates, f"{name}.aggregation")
        else:
            aggregated = np.mean(list(candidates.values()), axis=0)
        residual = aggregated + (normalised if config.residual == "normalised" else target)
        return residual + feed_forward(norm(residual, f"{name}.feed_forward_norm"), f"{name}.feed_forward")  # Eq. 5

    def summary(states, name):
        states = placed(states)
        for index in range(config.num_summary_layers):
            at = f"{name}.layers.{index}"
            normalised = norm(states, f"{at}.target_norm")
            dim = states.shape[1]
            query, key, value = np.split(linear(normalised, f"{at}.attention.in_projection"), 3, axis=-1)
            attended = np.zeros_like(states)
            for head in range(heads):
                part = slice(head * dim // heads, (head + 1) * dim // heads)
                for step in range(len(states)):
                    attended[step, part] = softmax(key[:, part] @ query[step, part] / math.sqrt(dim // heads)) @ value[:, part]
            states = states + linear(attended, f"{at}.attention.out_projection")
            states = states + feed_forward(norm(states, f"{at}.feed_forward_norm"), f"{at}.feed_forward")
        return norm(states, f"{name}.final_norm")

    blocks = config.num_blocks if isinstance(config.num_blocks, dict) else dict.fromkeys(FEATURES, config.num_blocks)
    layers = config.layers_per_block if isinstance(config.layers_per_block, dict) else dict.fromkeys(FEATURES, config.layers_per_block)
    depth = {name: blocks[name] * (1 if config.interaction == "global" else layers[name]) for name in FEATURES}
    predictions = []
    for utterance in range(2):
        low = {
            name: placed(
                convolved(inputs[name][utterance], weights[f"projections.{name}.convolution.weight"]),
                None if config.scales_low_level else 1.0,
            )
            for name in FEATURES
        }  # Eqs. 1-2
        known = {}

        def state(source, target, level, low=low, known=known):
            """Z_{source -> target}^[level], from what it asks, whatever the order of levels is."""
            if level == 0:
                return low[target]
            if (source, target, level) not in known:
                asked = asked_levels(config.interaction, level, layers[target], blocks[source], config.source_scales, layers[source])
                scales = [j for j in range(len(asked)) if f"scale {j}" not in model.left_out] or range(len(asked))
                sources = {scale: state(target, source, asked[scale]) for scale in scales}
                name = f"streams.{source}_to_{target}.{level - 1}"
                known[source, target, level] = layer(state(source, target, level - 1), sources, name, len(asked))
            return known[source, target, level]

        lasts = []
        for target in (name for name in FEATURES if name in (config.targets or FEATURES)):
            final = [norm(state(source, target, depth[target]), f"final_norms.{source}_to_{target}") for source in FEATURES if source != target]
            lasts.append(summary(np.concatenate(final, axis=1), f"summary.{target}")[-1])
        fused = np.concatenate(lasts)
        hidden = linear(np.maximum(linear(fused, "head.first"), 0), "head.second") + fused
        predictions.append(linear(hidden, "head.output"))
    return np.stack(predictions)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"interaction": "dense"},
        {"interaction": "local_dense"},
        {"interaction": "global", "num_blocks": 3},
        {"interaction": "local_dense", "layers_per_block": 3},
        {"interaction": "dense", "source_scales": "lowest"},
        {"uses_scale_attention": False},
        {"targets": ("audio",)},
        {"targets": ("text", "vision")},
        {"num_blocks": {"text": 3, "audio": 1, "vision": 2}},
        {"num_blocks": {"text": 1, "audio": 3, "vision": 2}, "interaction": "local_dense", "layers_per_block": 3},
        {"num_blocks": {"text": 3, "audio": 1, "vision": 1}, "interaction": "dense", "targets": ("text",)},
        {"layers_per_block": {"text": 3, "audio": 1, "vision": 2}},
        {"layers_per_block": {"text": 1, "audio": 3, "vision": 2}, "num_blocks": {"text": 3, "audio": 2, "vision": 1}, "interaction": "local_dense"},
        {"layers_per_block": {"text": 2, "audio": 1, "vision": 2}, "interaction": "dense"},
        {"kernel_size": {"text": 1, "audio": 3, "vision": 5}},
        {"scales_low_level": False},
    ],
    ids=str,
)
def test_agrees_with_the_transcription_of_the_equations(settings):
    config = {"width": 8, "num_heads": 2, "num_blocks": 2, "layers_per_block": 2, "num_summary_layers": 2, **NO_DROPOUT, **settings}
    model, inputs = perturbed(build_model("mcmut", config, Task(), FEATURES)), random_inputs()
    prediction = model(double_batch(inputs)).prediction.detach().numpy()
    np.testing.assert_allclose(prediction, transcribed_mcmut(model, inputs), atol=1e-10, rtol=0)


@pytest.mark.parametrize("uses_scale_attention", [True, False])
@pytest.mark.parametrize("name", ["only scale 0", "without scale 0", "without scale 1", "without scale 2"])
def test_ablations_agree_with_the_transcription_of_what_is_left(name, uses_scale_attention):
    """Layers that would have no scale left keep what they have."""
    config = {"width": 8, "num_heads": 2, "num_blocks": 3, "layers_per_block": 2, "num_summary_layers": 1, **NO_DROPOUT}
    model = perturbed(build_model("mcmut", {**config, "uses_scale_attention": uses_scale_attention}, Task(), FEATURES))
    inputs = random_inputs()
    whole = model(double_batch(inputs)).prediction.detach().numpy()
    with model.without(model.ablations[name]):
        prediction = model(double_batch(inputs)).prediction.detach().numpy()
        np.testing.assert_allclose(prediction, transcribed_mcmut(model, inputs), atol=1e-10, rtol=0)
    assert np.abs(prediction - whole).max() > 1e-6
    np.testing.assert_array_equal(model(double_batch(inputs)).prediction.detach().numpy(), whole)


# (b) dense over scale 0 alone is MulT -------------------------------------------------------------------------------


@pytest.mark.parametrize("residual", ["normalised", "plain"])
def test_dense_over_the_lowest_scale_is_mult(residual):
    size = {"width": 8, "num_heads": 2, "num_summary_layers": 2}
    dense = {"interaction": "dense", "source_scales": "lowest", "num_blocks": 2, "layers_per_block": 2, "residual": residual, **NO_DROPOUT}
    mcmut = perturbed(build_model("mcmut", {**size, **dense}, Task(), FEATURES))
    mult = build_model("mult", {**size, "num_layers": 4, "residual": residual, **NO_MULT_DROPOUT}, Task(), FEATURES).double().eval()
    weights = dict(mcmut.state_dict())
    translated = {name: weights[name] for name in mult.state_dict() if name in weights}
    for stream in mcmut.streams:
        translated |= {f"crossmodal.{stream}.final_norm.{kind}": weights[f"final_norms.{stream}.{kind}"] for kind in ("weight", "bias")}
        for index in range(4):
            ours, theirs = f"streams.{stream}.{index}", f"crossmodal.{stream}.layers.{index}"
            for kind in ("weight", "bias"):
                query, key_value = weights[f"{ours}.crossmodal.query_{kind}"][0], weights[f"{ours}.crossmodal.key_value_{kind}"][0]
                translated[f"{theirs}.attention.in_projection.{kind}"] = torch.cat([query, key_value])
                translated[f"{theirs}.attention.out_projection.{kind}"] = weights[f"{ours}.crossmodal.output_{kind}"][0]
                for part in ("target_norm", "source_norm", "feed_forward_norm", "feed_forward.expand", "feed_forward.contract"):
                    translated[f"{theirs}.{part}.{kind}"] = weights[f"{ours}.{part}.{kind}"]
    mult.load_state_dict(translated)  # strict: every weight of MulT has its counterpart
    batch = double_batch(random_inputs())
    torch.testing.assert_close(mcmut(batch).prediction, mult(batch).prediction, rtol=0, atol=1e-10)
    float_batch = Batch.from_arrays(**random_inputs())
    torch.testing.assert_close(mcmut.float()(float_batch).prediction, mult.float()(float_batch).prediction, rtol=0, atol=1e-6)


# (a) the order of complexity -----------------------------------------------------------------------------------------


def test_parameter_counts_follow_the_papers_order_of_complexity():
    def count(name, **settings):
        return sum(parameter.numel() for parameter in build_model(name, settings, Task(), FEATURES).parameters())

    by_complexity = [
        count("mcmut", interaction="dense"),
        count("mcmut", interaction="local_dense"),
        count("mcmut", interaction="block"),
        count("mult", num_layers=12),
        count("mcmut", interaction="global"),
    ]
    assert by_complexity == sorted(by_complexity, reverse=True)
    assert len(set(by_complexity)) == 5


# the interaction graph -----------------------------------------------------------------------------------------------


def test_mcmut_of_the_paper_attends_what_section_2_6_says():
    levels = [source_levels("block", level, 3, 12) for level in range(1, 13)]
    assert levels == [(0,), (1,), (1,), (0, 3), (4,), (4,), (0, 3, 6), (7,), (7,), (0, 3, 6, 9), (10,), (10,)]


def test_a_deeper_stream_attends_all_that_a_shallower_one_has():
    assert [source_levels("block", level, 2, 2) for level in range(1, 7)] == [(0,), (1,), (0, 2), (1,), (0, 2), (1,)]
    assert source_levels("dense", 6, 2, 2) == (0, 1, 2)
    assert source_levels("global", 4, 3, 2) == (0, 1, 2)


def test_levels_that_no_output_reads_are_not_built():
    asks = {"a_to_b": {1: (0,), 2: (1,)}, "b_to_a": {1: (0,), 2: (1,)}}
    assert needed_levels(("a_to_b",), asks, {"a_to_b": 2, "b_to_a": 2}) == {"a_to_b": {1, 2}, "b_to_a": {1}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_heads": 3}, r"mcmut has num_heads = 3; expected a number that divides width \(40\)"),
        ({"num_blocks": 0}, "num_blocks = 0; expected at least 1. Change"),
        ({"layers_per_block": {"text": 2, "audio": 0}}, "layers_per_block = .* expected at least 1 everywhere"),
        ({"layers_per_block": {"smell": 2}}, "expected a number, or numbers for some of"),
        ({"num_blocks": {"text": 2}}, "expected a number for audio too"),
        ({"targets": ()}, "targets = .*expected one or more of"),
        ({"attention_dropout": 1.0}, "attention_dropout = 1.0; expected a rate"),
        ({"kernel_size": 2}, "kernel_size = 2; expected an odd number"),
        ({"num_blcks": 2}, "has no setting 'num_blcks'. Did you mean 'num_blocks'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        build_model("mcmut", settings, Task(), FEATURES)


def test_a_single_modality_or_an_absent_target_is_refused():
    with pytest.raises(RecipeError, match="needs at least two modalities and was given"):
        build_model("mcmut", {}, Task(), {"text": FeatureSpec(dim=3)})
    with pytest.raises(RecipeError, match=r"has targets .* but the data has only \['text', 'audio'\]"):
        build_model("mult", {"targets": ("vision",)}, Task(), {"text": FeatureSpec(dim=3), "audio": FeatureSpec(dim=3)})


@pytest.mark.parametrize("name", ["mult", "mcmut"])
def test_two_modalities_are_enough(name):
    model = build_model(name, {"width": 8, "num_heads": 2}, Task(), {"text": FeatureSpec(dim=3), "vision": FeatureSpec(dim=3)})
    output = model(Batch.from_arrays(text=np.ones((2, 4, 3)), vision=np.ones((2, 5, 3))), with_attention=True)
    assert sorted(output.attention) == ["text_to_vision", "vision_to_text"]
