"""MMIN against the paper: an independent transcription of its equations, with loops over utterances, steps, heads and codes.

The transcription sees each utterance at its own length, without padding and without the modalities that it lacks; the model
sees all of them in one padded batch. Modalities are in the paper's order: text, vision, audio.
"""

import math

import numpy as np
import pytest
import torch

from multigrain import FeatureSpec, Task
from multigrain.layers.attention import AttentionBias
from multigrain.layers.position import sinusoidal_positions
from multigrain.layers.sparse_attention import SparseMultiHeadAttention
from multigrain.losses import task_loss
from multigrain.models import build_model
from multigrain.schema import Batch, ModalitySequence

DIMS = {"text": 6, "vision": 5, "audio": 4}
LENGTHS = {"text": [4, 1, 3, 5, 2], "vision": [5, 7, 0, 3, 2], "audio": [6, 2, 5, 4, 0]}  # 0: absent
READOUTS = {"text": [3, 0, 1, 4, 1], "vision": [4, 6, 0, 0, 1], "audio": [5, 1, 2, 3, 0]}  # some within their context
LABELS = [-2.0, 0.4, 1.5, 3.0, -0.7]
SMALL = {"width": 8, "num_heads": 2, "num_layers": 2}
NO_DROPOUT = {f"{name}_dropout": 0.0 for name in ("attention", "hidden", "residual", "text", "embedding", "output")}


def small_model(modalities=("text", "vision", "audio"), **settings):
    """Width 8, float64, weights away from their initial zeros and ones, so that no term of an equation can hide."""
    features = {name: FeatureSpec(dim=DIMS[name]) for name in modalities}
    torch.manual_seed(0)
    model = build_model("mmin", {**SMALL, **NO_DROPOUT, **settings}, Task(), features).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.2)
    return model


def random_inputs(seed=0):
    generator = np.random.default_rng(seed)
    return {name: [generator.normal(size=(length, DIMS[name])) for length in LENGTHS[name]] for name in DIMS}


def padded_batch(inputs, modalities=DIMS):
    """All utterances in one batch; what is in the padding is NaN."""
    sequences = {}
    for name in modalities:
        features = np.full((len(LABELS), max(LENGTHS[name]) + 2, DIMS[name]), np.nan)
        for row, steps in enumerate(inputs[name]):
            features[row, : len(steps)] = steps
        sequences[name] = ModalitySequence.from_lengths(
            torch.from_numpy(features), torch.tensor(LENGTHS[name]), torch.tensor(READOUTS[name], dtype=torch.long)
        )
    return Batch(**sequences, label=torch.tensor(LABELS, dtype=torch.float64)[:, None])


# The transcription --------------------------------------------------------------------------------------------------


def softmax(scores):
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()


def sparsemax(scores):
    """Algorithm 1 of Martins and Astudillo, score by score."""
    ordered = sorted(scores, reverse=True)
    size, total, kept = 0, 0.0, 0.0
    for place, score in enumerate(ordered, start=1):
        total += score
        if 1 + place * score > total:
            size, kept = place, total
    threshold = (kept - 1) / size
    return np.array([max(score - threshold, 0.0) for score in scores])


class Transcription:
    """Sections 2.1 to 2.4 for one utterance at a time."""

    def __init__(self, model):
        self.config, self.modalities = model.config, [name for name in DIMS if name in model.features]
        self.weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}

    def linear(self, states, name):
        return states @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, states, name):
        spread = np.sqrt(states.var(-1, keepdims=True) + 1e-5)
        return (states - states.mean(-1, keepdims=True)) / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def attention(self, target, source, name, normalise):
        query, key, value = (
            states @ weight.T + bias
            for states, weight, bias in zip(
                (target, source, source),
                np.split(self.weights[f"{name}.in_projection.weight"], 3),
                np.split(self.weights[f"{name}.in_projection.bias"], 3),
                strict=True,
            )
        )
        size = target.shape[1] // self.config.num_heads
        attended = np.zeros_like(target)
        for head in range(self.config.num_heads if len(source) else 0):
            part = slice(head * size, (head + 1) * size)
            for step in range(len(target)):
                shares = normalise(np.array([query[step, part] @ key[other, part] / math.sqrt(size) for other in range(len(source))]))
                for other, share in enumerate(shares):
                    attended[step, part] += share * value[other, part]
        return self.linear(attended, f"{name}.out_projection")

    def stack(self, target, source, name, num_layers, normalise):
        """Pre-norm layers; a source of None is the target itself. The residual of crossmodal ones may start from the target's norm."""
        for index in range(num_layers):
            at = f"{name}.layers.{index}"
            asks = self.norm(target, f"{at}.target_norm")
            answers = asks if source is None else self.norm(source, f"{at}.source_norm")
            start = asks if source is not None and self.config.residual == "normalised" else target
            target = start + self.attention(asks, answers, f"{at}.attention", normalise)
            inner = np.maximum(self.linear(self.norm(target, f"{at}.feed_forward_norm"), f"{at}.feed_forward.expand"), 0)
            target = target + self.linear(inner, f"{at}.feed_forward.contract")
        return self.norm(target, f"{name}.final_norm")

    def text(self, steps, readout):
        """Section 2.1, given vectors: X_L and h_L."""
        words = steps @ self.weights["branches.text.projection.convolution.weight"][:, :, 0].T
        if len(words):
            words = words * math.sqrt(8) + sinusoidal_positions(len(words), 8, torch.zeros(1, dtype=torch.float64)).numpy()
        start = self.weights["branches.text.summary"] + (words[readout] if len(words) else 0)
        states = self.stack(np.concatenate([start[None], words]), None, "branches.text.stack", self.config.num_text_layers, softmax)
        return states[1:], states[0]

    def recurrent(self, steps, readout, name):
        """Section 2.1, audio and vision: an LSTM's states, and the one at the readout step."""
        weight = {kind: self.weights[f"branches.{name}.recurrent.{kind}_l0"] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        hidden, cell, states = np.zeros(8), np.zeros(8), []
        for step in steps:
            gates = weight["weight_ih"] @ step + weight["bias_ih"] + weight["weight_hh"] @ hidden + weight["bias_hh"]
            let_in, forget, new, let_out = np.split(gates, 4)
            cell = cell / (1 + np.exp(-forget)) + np.tanh(new) / (1 + np.exp(-let_in))
            hidden = np.tanh(cell) / (1 + np.exp(-let_out))
            states.append(hidden)
        return np.array(states).reshape(-1, 8), states[readout]

    def mlp(self, code, name):
        """Linear, LayerNorm, ReLU, Linear."""
        return self.linear(np.maximum(self.norm(self.linear(code, f"{name}.0"), f"{name}.1"), 0), f"{name}.4")

    def shares_of_identity(self, code):
        return softmax(self.linear(np.maximum(self.linear(code, "discriminator.0"), 0), "discriminator.3"))

    def utterance(self, steps, readouts):
        """Predicts one utterance; `steps` has entries for the modalities that it has. Returns the prediction and the codes."""
        config = self.config
        here = [name for name in self.modalities if name in steps]
        states, codes = {}, {"private": {}, "common": {}, "fine": {}}
        for place, name in enumerate(self.modalities):
            if name in here:
                branch = self.text(steps[name], readouts[name]) if name == "text" else self.recurrent(steps[name], readouts[name], name)
                states[name], summary = branch
                codes["private"][name] = self.mlp(summary, f"encoders.private.{place}")  # Eq. 1
                codes["common"][name] = self.mlp(summary, "encoders.common")  # Eq. 2
        nothing = np.zeros((0, 8))
        normalise = {"sparsemax": sparsemax, "softmax": softmax}[config.attention]
        if config.predicts_from_fine:  # section 2.3
            enriched = {}
            for target in here:
                streams = [
                    self.stack(states[target], states.get(source, nothing), f"fine.pairwise.{source}_to_{target}", config.num_layers, normalise)
                    for source in self.modalities
                    if source != target
                ]
                enriched[target] = states[target]
                if streams:
                    enriched[target] = states[target] + self.linear(np.concatenate(streams, axis=1), f"fine.joins.{target}")
            guides = np.array([codes["common"].get(name, np.zeros(8)) for name in self.modalities])
            for source in self.modalities:
                guides = self.stack(guides, enriched.get(source, nothing), f"fine.guided.{source}", config.num_layers, normalise)
            codes["fine"] = {name: guides[place] for place, name in enumerate(self.modalities) if name in here}
        kinds = ["private", "common"] * config.predicts_from_coarse + ["fine"] * config.predicts_from_fine
        stacked = np.array([codes[kind][name] for kind in kinds for name in here])
        stacked = self.stack(stacked, None, "fusion", config.num_fusion_layers, softmax)  # section 2.4
        fused = dict(zip([(kind, name) for kind in kinds for name in here], stacked, strict=True))
        concatenated = np.concatenate([fused.get((kind, name), np.zeros(8)) for kind in kinds for name in self.modalities])
        return self.linear(np.maximum(self.linear(concatenated, "hidden"), 0), "output"), codes

    def batch(self, inputs):
        """Predictions (batch, 1), and each utterance's codes."""
        results = []
        for row in range(len(LABELS)):
            here = [name for name in self.modalities if LENGTHS[name][row] > 0]
            results.append(self.utterance({name: inputs[name][row] for name in here}, {name: READOUTS[name][row] for name in here}))
        return np.stack([prediction for prediction, _ in results]), [codes for _, codes in results]

    def identity_loss(self, utterances):
        """Eqs. 3 and 4 for a list of {modality: code}."""
        total = 0.0
        for utterance in utterances:
            for name, code in utterance.items():
                total += math.log(self.shares_of_identity(code)[self.modalities.index(name)])
        return -total / len(utterances)


def rows_of(utterances, name, form):
    """H_m as {row: code}; in the normalised form centred over its rows, at length 1."""
    rows = {row: utterance[name] for row, utterance in enumerate(utterances) if name in utterance}
    if form == "normalised":
        mean = sum(rows.values()) / len(rows)
        rows = {row: (code - mean) / (math.sqrt(sum((code - mean) ** 2)) + 1e-6) for row, code in rows.items()}
    return rows


def unbiased_hsic(first, second):
    """Song et al. 2012, Eq. 5, with linear kernels: tr(KL) + 1'K1 1'L1 / ((n-1)(n-2)) - 2/(n-2) 1'KL1 over n(n-3), both with zero diagonals."""
    n = len(first)
    first, second = (np.array([[0.0 if i == j else float(rows[i] @ rows[j]) for j in range(n)] for i in range(n)]) for rows in (first, second))
    one = np.ones(n)
    cross = (one @ first @ one) * (one @ second @ one) / ((n - 1) * (n - 2))
    return (np.trace(first @ second) + cross - 2 / (n - 2) * (one @ first @ second @ one)) / (n * (n - 3))


def alignment(first, second):
    """The ratio of Kornblith et al. 2019 over the rows that both have."""
    both = [row for row in first if row in second]
    if len(both) < 4:
        return 0.0
    first, second = [first[row] for row in both], [second[row] for row in both]
    return unbiased_hsic(first, second) / math.sqrt(unbiased_hsic(first, first) * unbiased_hsic(second, second))


def squares(first, second, form):
    """||first^T second||_F^2, entry by entry; its mean entry in the normalised form."""
    if form == "alignment":
        return alignment(first, second)
    total = 0.0
    for i in range(8):
        for j in range(8):
            total += sum(first[row][i] * second[row][j] for row in first if row in second) ** 2
    return total if form == "literal" else total / 64


def transcribed_separation(codes, modalities, form):
    """Eq. 5."""
    private = {name: rows_of([utterance["private"] for utterance in codes], name, form) for name in modalities}
    common = {name: rows_of([utterance["common"] for utterance in codes], name, form) for name in modalities}
    total = sum(squares(common[name], private[name], form) for name in modalities)
    for place, name in enumerate(modalities):
        total += sum(squares(private[name], private[other], form) for other in modalities[place + 1 :])
    return total


# The model against it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modalities", "settings"),
    [
        (("text", "vision", "audio"), {}),
        (("text", "vision", "audio"), {"attention": "softmax"}),
        (("text", "vision", "audio"), {"residual": "normalised"}),
        (("text", "vision", "audio"), {"num_layers": 1, "num_text_layers": 2, "num_fusion_layers": 2, "num_heads": 4}),
        (("text", "vision", "audio"), {"predicts_from_coarse": False}),
        (("text", "vision", "audio"), {"predicts_from_fine": False}),
        (("vision", "audio"), {}),
        (("text", "audio"), {}),
        (("text", "vision"), {"predicts_from_coarse": False}),
        (("text",), {}),
    ],
    ids=str,
)
def test_prediction_agrees_with_the_transcription(modalities, settings):
    model, inputs = small_model(modalities, **settings), random_inputs()
    output = model(padded_batch(inputs, modalities))
    expected, codes = Transcription(model).batch({name: inputs[name] for name in modalities})
    present = [[name for name in modalities if LENGTHS[name][row]] for row in range(len(LABELS))]
    kept = [row for row, names in enumerate(present) if names]  # the transcription has nothing to say about nothing
    np.testing.assert_allclose(output.prediction.detach().numpy()[kept], expected[kept], atol=1e-9, rtol=0)
    for kind in ["private", "common"] * model.config.predicts_from_coarse + ["fine"] * model.config.predicts_from_fine:
        for row in kept:
            for name in modalities:
                code = codes[row][kind].get(name, np.zeros(8))
                np.testing.assert_allclose(output.representations[f"{kind}_{name}"][row].detach().numpy(), code, atol=1e-9, rtol=0)


@pytest.mark.parametrize("form", ["literal", "normalised", "alignment"])
def test_the_four_terms_of_the_loss_agree_with_the_transcription(form):
    weights = {"separation_weight": 0.7, "adversarial_weight": 0.2, "private_weight": 0.4}
    model, inputs = small_model(separation=form, **weights), random_inputs()
    batch = padded_batch(inputs)
    output, transcription = model(batch), Transcription(model)
    prediction, codes = transcription.batch(inputs)
    separation = transcribed_separation(codes, transcription.modalities, form)  # Eq. 5
    adversarial = transcription.identity_loss([utterance["common"] for utterance in codes])  # Eq. 3
    private = transcription.identity_loss([utterance["private"] for utterance in codes])  # Eq. 4
    sentiment = sum((prediction[row, 0] - label) ** 2 for row, label in enumerate(LABELS)) / len(LABELS)
    assert set(output.losses) == {"separation", "adversarial", "private"}
    assert output.losses["separation"].item() == pytest.approx(0.7 * separation, abs=1e-9, rel=1e-12)
    assert separation != 0.0
    assert output.losses["adversarial"].item() == pytest.approx(0.2 * adversarial, abs=1e-9)
    assert output.losses["private"].item() == pytest.approx(0.4 * private, abs=1e-9)
    task_term = (output.prediction - batch.label).square().mean()
    assert task_term.item() == pytest.approx(sentiment, abs=1e-9)
    total = task_loss(model.task, output.prediction, batch.label, "mse").item() + sum(term.item() for term in output.losses.values())
    assert total == pytest.approx(sentiment + 0.7 * separation + 0.2 * adversarial + 0.4 * private, rel=1e-6)  # Eq. 6, in the loop's float32


@pytest.mark.parametrize("progress", [0.0, 0.05, 0.5, 1.0])
def test_the_common_encoder_gets_the_reversed_gradient(progress):
    """Eq. 3: D descends on L_ac, the common encoder climbs it, weighted; the slopes are taken by differences in the transcription."""
    model, inputs = small_model(adversarial_weight=0.2), random_inputs()
    model.set_progress(progress)
    model(padded_batch(inputs)).losses["adversarial"].backward()
    parameters = dict(model.named_parameters())

    def slope(name, place, step=1e-6):
        values = []
        for sign in (1, -1):
            transcription = Transcription(model)
            transcription.weights[name] = transcription.weights[name].copy()
            transcription.weights[name][place] += sign * step
            values.append(0.2 * transcription.identity_loss([utterance["common"] for utterance in transcription.batch(inputs)[1]]))
        return (values[0] - values[1]) / (2 * step)

    factor = -(2 / (1 + math.exp(-10 * progress)) - 1)
    for name, place in (("encoders.common.4.bias", (2,)), ("encoders.common.0.weight", (1, 3)), ("branches.audio.recurrent.weight_ih_l0", (9, 2))):
        expected = slope(name, place)
        assert abs(expected) > 1e-5
        assert parameters[name].grad[place].item() == pytest.approx(factor * expected, abs=1e-8)
    for name, place in (("discriminator.0.weight", (4, 1)), ("discriminator.3.bias", (1,))):
        assert parameters[name].grad[place].item() == pytest.approx(slope(name, place), abs=1e-8)
    assert parameters["encoders.private.0.0.weight"].grad is None


@pytest.mark.parametrize("absent", [False, True])
def test_sparse_attention_with_padding_agrees_with_the_transcription(absent):
    torch.manual_seed(3)
    layer = SparseMultiHeadAttention(8, 2).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64))
    lengths = torch.tensor([5, 0 if absent else 2, 9])
    target, source = torch.randn(3, 4, 8, dtype=torch.float64), torch.randn(3, 9, 8, dtype=torch.float64)
    mask = torch.arange(9)[None, :] < lengths[:, None]
    source = source.masked_fill(~mask.unsqueeze(-1), 1e6)
    attended, weights = layer(target, source, AttentionBias.from_mask(mask), with_weights=True)
    transcription = object.__new__(Transcription)
    transcription.config = type("Config", (), {"num_heads": 2})
    transcription.weights = {f"layer.{name}": value.detach().numpy() for name, value in layer.state_dict().items()}
    for row, length in enumerate(lengths.tolist()):
        expected = transcription.attention(target[row].numpy(), source[row, :length].numpy(), "layer", sparsemax)
        np.testing.assert_allclose(attended[row].detach().numpy(), expected, atol=1e-9, rtol=0)
        assert bool((weights[row, ..., length:] == 0).all())
        torch.testing.assert_close(weights[row].sum(dim=-1), torch.full((2, 4), float(length > 0), dtype=torch.float64))
    real = weights[2]
    assert bool((real == 0).any() and (real > 0).any())
