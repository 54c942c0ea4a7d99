"""The compiled layer against the plain modules (outputs and gradients), its dropout against an explicit one, and what happens without a compiler."""

import copy
import ctypes
import itertools
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from multigrain.layers.attention import AttentionBias
from multigrain.layers.multi_scale import ScaleAggregation
from multigrain.layers.native import library as native_library
from multigrain.layers.native.layer import MOST_SCALES, is_native, native_layers
from multigrain.layers.native.library import library, without_native_kernels
from multigrain.layers.sparsemax import sparsemax
from multigrain.layers.transformer import TransformerLayer, TransformerSettings, TransformerStack
from multigrain.models.mcmut import MCMuTConfig, MultiScaleLayer

pytestmark = pytest.mark.skipif(native_library.unavailable() is not None, reason=f"no compiled kernels: {native_library.unavailable()}")

DROPS = {"attention_dropout": 0.3, "hidden_dropout": 0.25, "residual_dropout": 0.2}
USES = {"attention": 0, "aggregation": 1, "residual": 2, "hidden": 3, "update": 4}


def transformer_layer(dim: int = 20, heads: int = 4, *, is_crossmodal: bool = True, **settings: object) -> TransformerLayer:
    torch.manual_seed(0)
    return spread(TransformerLayer(dim, heads, TransformerSettings(**settings), is_crossmodal=is_crossmodal))  # type: ignore[arg-type]


def multi_scale_layer(scales: int, dim: int = 20, heads: int = 4, **config: object) -> MultiScaleLayer:
    torch.manual_seed(0)
    rates = dict.fromkeys(("attention_dropout", "hidden_dropout", "residual_dropout"), 0.0)
    return spread(MultiScaleLayer(MCMuTConfig(width=dim, num_heads=heads, **{**rates, **config}), scales))  # type: ignore[arg-type]


def spread(layer: nn.Module) -> nn.Module:  # type: ignore[misc]
    """No parameter is left at a value, such as 0 or 1, that would hide a mistake."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return layer


def masked(lengths: list[int], source: int) -> Tensor:
    return torch.arange(source) < torch.tensor(lengths)[:, None]


def run(layer: nn.Module, target: Tensor, sources: list[Tensor] | None, bias: AttentionBias) -> list[Tensor]:
    """The output, and the gradients of inputs and parameters under a fixed mixture of outputs."""
    layer.zero_grad()
    inputs = [part.detach().clone().requires_grad_() for part in (target, *(sources or []))]
    given = inputs[1:] if isinstance(layer, MultiScaleLayer) else inputs[1] if sources else None
    output, _ = layer(inputs[0], given, bias)
    mixture = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output).sin() / math.sqrt(output.shape[1])
    (output * mixture).sum().backward()
    return [output.detach(), *(part.grad for part in (*inputs, *layer.parameters()) if part.grad is not None)]


def check_equal(layer: nn.Module, target: Tensor, sources: list[Tensor] | None, bias: AttentionBias) -> None:
    assert is_native(target, sources, bias.allowed, 4)
    found = run(layer, target, sources, bias)
    exact = copy.deepcopy(layer).double()
    expected = run(exact, target.double(), None if sources is None else [source.double() for source in sources], bias)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5 * max(1.0, float(theirs.abs().max())))


@pytest.mark.parametrize(
    "settings",
    [{}, {"residual": "normalised"}, {"tied_norms": True}, {"query_key_gain": 2.0}, {"is_sparse": True}, {"is_sparse": True, "query_key_gain": 5.0}],
    ids=lambda settings: str(settings) or "plain",
)
@pytest.mark.parametrize("lengths", [[9, 5, 12], [12, 12, 12], [12, 0, 3]])
def test_a_crossmodal_layer_is_the_plain_one(settings: dict[str, object], lengths: list[int]) -> None:
    layer = transformer_layer(**settings)
    check_equal(layer, torch.randn(3, 17, 20), [torch.randn(3, 12, 20)], AttentionBias.from_mask(masked(lengths, 12)))


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize(("dim", "heads"), [(20, 4), (15, 3), (28, 4), (30, 5), (16, 1), (7, 1), (40, 2), (132, 4)])
def test_a_self_attention_layer_is_the_plain_one_at_any_width(dim: int, heads: int, is_sparse: bool) -> None:
    layer = transformer_layer(dim, heads, is_crossmodal=False, is_sparse=is_sparse)
    check_equal(layer, torch.randn(3, 19, dim), None, AttentionBias.from_mask(masked([19, 7, 1], 19)))


@pytest.mark.parametrize(("time", "source"), [(1, 1), (1, 40), (40, 1), (16, 16), (63, 65), (64, 64), (65, 63), (130, 250), (250, 130), (270, 5)])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_any_lengths(time: int, source: int, is_sparse: bool) -> None:
    lengths = [source, max(1, source // 2)]
    bias = AttentionBias.from_mask(masked(lengths, source))
    check_equal(transformer_layer(is_sparse=is_sparse), torch.randn(2, time, 20), [torch.randn(2, source, 20)], bias)


@pytest.mark.parametrize("uses_scale_attention", [True, False])
@pytest.mark.parametrize("scales", [1, 2, 3, 5])
@pytest.mark.parametrize("time", [3, 70])
def test_a_layer_of_several_scales_is_the_plain_one(scales: int, uses_scale_attention: bool, time: int) -> None:
    layer = multi_scale_layer(scales, uses_scale_attention=uses_scale_attention)
    sources = [torch.randn(3, 33, 20) for _ in range(scales)]
    check_equal(layer, torch.randn(3, time, 20), sources, AttentionBias.from_mask(masked([33, 0, 20], 33)))


@pytest.mark.parametrize("uses_scale_attention", [True, False])
def test_scales_that_an_utterance_does_without_neither_ask_nor_answer(uses_scale_attention: bool) -> None:
    layer = multi_scale_layer(4, uses_scale_attention=uses_scale_attention, scale_dropout=0.5)
    target, sources, bias = torch.randn(6, 10, 20), [torch.randn(6, 12, 20) for _ in range(4)], AttentionBias.from_mask(masked([12] * 6, 12))
    torch.manual_seed(3)
    found = run(layer, target, sources, bias)
    with without_native_kernels():
        torch.manual_seed(3)
        expected = run(layer, target, sources, bias)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_lowest_scale_alone_when_scale_dropout_leaves_all_others_out() -> None:
    layer = multi_scale_layer(3, scale_dropout=1.0)
    check_equal(layer, torch.randn(2, 10, 20), [torch.randn(2, 12, 20) for _ in range(3)], AttentionBias.from_mask(masked([12, 4], 12)))


@pytest.mark.parametrize("is_sparse", [False, True])
def test_steps_left_out_in_the_middle_of_a_source(is_sparse: bool) -> None:
    mask = masked([12, 9], 12)
    mask[0, 4:7] = False
    check_equal(transformer_layer(is_sparse=is_sparse), torch.randn(2, 5, 20), [torch.randn(2, 12, 20)], AttentionBias.from_mask(mask))
    check_equal(transformer_layer(is_crossmodal=False, is_sparse=is_sparse), torch.randn(2, 12, 20), None, AttentionBias.from_mask(mask))


@pytest.mark.parametrize("is_sparse", [False, True])
def test_scores_beyond_what_an_exponential_holds(is_sparse: bool) -> None:
    layer = transformer_layer(query_key_gain=60.0, is_sparse=is_sparse)
    target, source, bias = torch.randn(2, 9, 20), torch.randn(2, 12, 20), AttentionBias.from_mask(masked([12, 8], 12))
    output, _ = layer(target, source, bias)
    expected, _ = copy.deepcopy(layer).double()(target.double(), source.double(), bias)
    torch.testing.assert_close(output.double(), expected, rtol=1e-3, atol=1e-3)


def test_a_largest_score_of_zero_is_no_sign_of_small_scores() -> None:
    """The first tiles of sources answer with zeros, and what comes after them with more than an exponential holds."""
    layer = transformer_layer()
    with torch.no_grad():
        layer.attention.in_projection.bias.zero_()
        layer.source_norm.bias.zero_()  # type: ignore[union-attr]
        layer.attention.in_projection.weight[:40] *= 60.0
    target, source, bias = torch.randn(1, 9, 20), torch.randn(1, 90, 20), AttentionBias(None, None)
    source[:, :70] = 1.0  # without spread, so that their layer norm is 0
    output, _ = layer(target, source, bias)
    expected, _ = copy.deepcopy(layer).double()(target.double(), source.double(), bias)
    torch.testing.assert_close(output.double(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_padding_and_company_change_no_bit(is_sparse: bool) -> None:
    layer = transformer_layer(is_sparse=is_sparse)
    target, source = torch.randn(3, 20, 20), torch.randn(3, 40, 20)
    alone, _ = layer(target[:1, :11], source[:1, :17], AttentionBias(None, None))
    together, _ = layer(target, source, AttentionBias.from_mask(masked([17, 40, 3], 40)))
    assert torch.equal(alone[0], together[0, :11])


@pytest.mark.parametrize("count", [1, 8, 9, 17, 31, 48, 49])
def test_how_many_steps_are_computed_together_changes_no_bit(count: int) -> None:
    layer, bias = transformer_layer(), AttentionBias.from_mask(masked([35], 40))
    target, source = torch.randn(1, 60, 20), torch.randn(1, 40, 20)
    whole, _ = layer(target, source, bias)
    first, _ = layer(target, source, bias.of_target(masked([count], 60)))
    assert torch.equal(first[:, :count], whole[:, :count])
    assert not first[:, count:].any()


@pytest.mark.parametrize(("scales", "is_sparse"), [(None, False), (None, True), (1, False), (3, False)])
def test_target_steps_that_nobody_reads_are_left_out(scales: int | None, is_sparse: bool) -> None:
    """Zero in the output; all that depends on the others is as if they had been computed."""
    layer = transformer_layer(is_crossmodal=False, is_sparse=is_sparse) if scales is None else multi_scale_layer(scales)
    mask = masked([20, 7, 0, 1], 20)
    sources = None if scales is None else [torch.randn(4, 12, 20) for _ in range(scales)]
    target, bias = torch.randn(4, 20, 20), AttentionBias.from_mask(mask if scales is None else masked([12, 12, 5, 0], 12))
    real = mask.unsqueeze(-1)

    def gradients(bias: AttentionBias) -> list[Tensor]:
        layer.zero_grad()
        inputs = [part.clone().requires_grad_() for part in (target, *(sources or []))]
        output, _ = layer(inputs[0], inputs[1:] if sources else None, bias)
        (output * real * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
        return [output.detach(), *(part.grad for part in (*inputs, *layer.parameters()) if part.grad is not None)]

    (output, *found), (whole, *expected) = gradients(bias.of_target(mask)), gradients(bias)
    assert torch.equal(output, whole * real)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_equal_seeds_give_equal_bits_and_threads_change_only_rounding(is_sparse: bool) -> None:
    layer = transformer_layer(**DROPS, is_sparse=is_sparse)
    target, source, bias = torch.randn(7, 20, 20), torch.randn(7, 40, 20), AttentionBias.from_mask(masked([17, 40, 3, 40, 40, 1, 0], 40))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 1, 2, 2, 3):
            torch.set_num_threads(threads)
            torch.manual_seed(5)
            results.append(run(layer, target, [source], bias))
    finally:
        torch.set_num_threads(before)
    for first, second in ((0, 1), (2, 3)):
        assert all(torch.equal(*pair) for pair in zip(results[first], results[second], strict=True))
    for other in (2, 4):
        assert torch.equal(results[0][0], results[other][0])
        for pair in zip(results[0], results[other], strict=True):
            torch.testing.assert_close(*pair, rtol=1e-4, atol=1e-5)


def test_layers_that_read_what_others_give_in_one_call() -> None:
    """A small tower: results are asked again, read as a residual and wanted from the middle; gradients of all readers meet."""
    lower, upper, across = transformer_layer(), multi_scale_layer(2), transformer_layer(is_crossmodal=False)
    mask = masked([12, 0, 7], 12)
    bias, own = AttentionBias.from_mask(mask), AttentionBias(None, None)

    def together(target: Tensor, source: Tensor) -> list[Tensor]:
        calls = [
            lower.native_call(0, [1], bias),
            across.native_call(1, None, bias),
            upper.native_call(2, [1, 3], bias, 3),
            across.native_call(4, None, own),
        ]
        return native_layers([target, source], calls, [2, 5])

    def apart(target: Tensor, source: Tensor) -> list[Tensor]:
        first, second = lower(target, source, bias)[0], across(source, None, bias)[0]
        return [first, across(upper(first, [source, second], bias)[0], None, own)[0]]

    def gradients(compute: Callable[[Tensor, Tensor], list[Tensor]], *tensors: Tensor) -> list[Tensor]:
        inputs = [tensor.clone().requires_grad_() for tensor in tensors]
        layers = nn.ModuleList([lower, upper, across])
        layers.zero_grad()
        outputs = compute(*inputs)
        sum((output * torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)).sum() for output in outputs).backward()  # type: ignore[union-attr]
        return [*(output.detach() for output in outputs), *(part.grad.clone() for part in (*inputs, *layers.parameters()) if part.grad is not None)]

    tensors = torch.randn(3, 9, 20), torch.randn(3, 12, 20)
    found = gradients(together, *tensors)
    with torch.no_grad():  # where what is not wanted is nowhere kept
        assert all(torch.equal(ours, trained) for ours, trained in zip(together(*tensors), found[:2], strict=True))
    nn.ModuleList([lower, upper, across]).double()
    expected = gradients(apart, *(tensor.double() for tensor in tensors))
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5 * max(1.0, float(theirs.abs().max())))


@pytest.mark.parametrize("is_crossmodal", [True, False])
def test_a_stack_is_its_layers_one_by_one(is_crossmodal: bool) -> None:
    torch.manual_seed(0)
    stack = spread(TransformerStack(20, 4, 3, TransformerSettings(**DROPS), is_crossmodal=is_crossmodal)).eval()
    target, source, bias = torch.randn(2, 9, 20), torch.randn(2, 12, 20) if is_crossmodal else None, AttentionBias(None, None)
    states = target
    for layer in stack:
        states, _ = layer(states, source, bias)
    assert torch.equal(stack(target, source, bias)[0], stack.final_norm(states))


def test_layers_read_as_zero_what_the_ones_before_them_left_out() -> None:
    """Fewer steps of a state are there than a later layer asks with, or asks for; and a state of no step at all is read."""
    layer, everywhere = transformer_layer(), AttentionBias(None, None)
    target, source = torch.randn(3, 30, 20), torch.randn(3, 12, 20)
    short = everywhere.of_target(masked([7, 30, 0], 30))
    first, _ = layer(target, source, short)
    calls = [layer.native_call(0, [1], short), layer.native_call(2, [1], everywhere), layer.native_call(0, [2], everywhere)]
    with torch.no_grad():
        asking, asked = native_layers([target, source], calls, [3, 4])
    torch.testing.assert_close(asking, layer(first, source, everywhere)[0])
    torch.testing.assert_close(asked, layer(target, first, everywhere)[0])


def test_prediction_allocates_nothing_for_results_that_nobody_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, bias, made = transformer_layer(is_crossmodal=False), AttentionBias(None, None), []
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, **options: made.append(size) or empty(*size, **options))  # type: ignore[func-returns-value]
    states, calls = torch.randn(2, 9, 20), [layer.native_call(number, None, bias) for number in range(4)]
    with torch.no_grad():
        native_layers([states], calls)
    assert made == [((2, 9, 20),)]


def test_each_layer_of_a_call_draws_its_own_masks() -> None:
    layer = transformer_layer(is_crossmodal=False, residual_dropout=0.5)
    states, bias = torch.randn(2, 9, 20), AttentionBias(None, None)
    first, second = native_layers([states], [layer.native_call(0, None, bias)] * 2, [1, 2])
    again, _ = native_layers([states], [layer.native_call(0, None, bias)] * 2, [1, 2])
    assert not torch.equal(first, second)
    assert not torch.equal(first, again)


def test_more_scales_than_there_are_registers_for_take_the_plain_way() -> None:
    sources = [torch.randn(2, 6, 20)] * (MOST_SCALES + 1)
    assert is_native(torch.randn(2, 5, 20), sources[1:], None, 4)
    assert not is_native(torch.randn(2, 5, 20), sources, None, 4)


def mask_of(seed: int, use: str, part: int, rate: float, rows: int, columns: int, *, by_columns: bool = True) -> Tensor:
    """The compiled mask, 0 or 1 / (1 - rate), as float64."""
    output = torch.empty(rows, columns)
    kernels = library()
    assert kernels is not None
    kernels.multigrain_mask(seed, (USES[use] << 56) + part, round(rate * 2**32), rows, columns, by_columns, ctypes.c_void_p(output.data_ptr()))
    return output.double()


@pytest.mark.parametrize("uses_scale_attention", [True, False])
@pytest.mark.parametrize("scales", [1, 3])
def test_dropout_is_that_of_the_masks_written_out(scales: int, uses_scale_attention: bool) -> None:
    """The layer once more in plain tensors, one utterance after the other, with every mask applied where it belongs."""
    layer = multi_scale_layer(scales, uses_scale_attention=uses_scale_attention, **DROPS)
    lengths, heads, width = [13, 70], 4, 5
    target, sources = torch.randn(2, 75, 20), [torch.randn(2, 70, 20) for _ in range(scales)]
    torch.manual_seed(11)
    found = run(layer, target, sources, AttentionBias.from_mask(masked(lengths, 70)))
    torch.manual_seed(11)
    seed = int(torch.randint(2**62, (1,)))
    layer = copy.deepcopy(layer).double()
    layer.zero_grad()
    inputs = [part.double().requires_grad_() for part in (target, *sources)]
    outputs = []
    for number, length in enumerate(lengths):
        offset = number * scales * heads
        normalised = layer.target_norm(inputs[0][number])
        answers = []
        for scale in range(scales):
            states = layer.source_norm(inputs[1 + scale][number, :length])
            attention = layer.crossmodal
            query = normalised @ attention.query_weight[scale].T + attention.query_bias[scale]
            key, value = (states @ attention.key_value_weight[scale].T + attention.key_value_bias[scale]).chunk(2, dim=1)
            attended = []
            for head in range(heads):
                part = slice(head * width, (head + 1) * width)
                weights = (query[:, part] @ key[:, part].T / math.sqrt(width)).softmax(dim=1)
                mask = mask_of(seed, "attention", offset + scale * heads + head, 0.3, 75, length, by_columns=False)
                attended.append((weights * mask) @ value[:, part])
            answers.append(torch.cat(attended, dim=1) @ attention.output_weight[scale].T + attention.output_bias[scale])
        aggregated = torch.stack(answers).mean(dim=0)
        if isinstance(layer.aggregation, ScaleAggregation):
            mask = mask_of(seed, "aggregation", offset, 0.3, scales * scales * heads, 75).view(scales, scales, heads, 75)
            aggregated = layer.aggregation._aggregate(torch.stack(answers), None, mask)
        states = normalised + mask_of(seed, "residual", offset, 0.2, 20, 75).T * aggregated
        feed_forward = layer.feed_forward
        hidden = mask_of(seed, "hidden", offset, 0.25, 80, 75).T * feed_forward.expand(layer.feed_forward_norm(states)).relu()
        outputs.append(states + mask_of(seed, "update", offset, 0.2, 20, 75).T * feed_forward.contract(hidden))
    output = torch.stack(outputs)
    (output * torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output).sin() / math.sqrt(75)).sum().backward()
    gradients = [parameter.grad for parameter in layer.parameters() if parameter.grad is not None]
    for ours, theirs in zip(found, [output.detach(), *(part.grad for part in inputs), *gradients], strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5 * max(1.0, float(theirs.abs().max())))


def test_sparse_attention_drops_by_its_masks_and_keeps_its_support() -> None:
    """Sparsemax's weights are dropped after they are made: the support, and with it the gradient's mean, is that of all of them."""
    layer = transformer_layer(**DROPS, is_sparse=True, query_key_gain=2.0)
    lengths, heads, width = [13, 70], 4, 5
    target, source = torch.randn(2, 75, 20), torch.randn(2, 70, 20)
    torch.manual_seed(11)
    found = run(layer, target, [source], AttentionBias.from_mask(masked(lengths, 70)))
    torch.manual_seed(11)
    seed = int(torch.randint(2**62, (1,)))
    layer = copy.deepcopy(layer).double()
    layer.zero_grad()
    inputs = [part.double().requires_grad_() for part in (target, source)]
    projection, outputs, zeros = layer.attention.in_projection, [], []
    for number, length in enumerate(lengths):
        query = functional.linear(layer.target_norm(inputs[0][number]), projection.weight[:20], projection.bias[:20])
        states = layer.source_norm(inputs[1][number, :length])
        key, value = functional.linear(states, projection.weight[20:], projection.bias[20:]).chunk(2, dim=1)
        attended = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            weights = sparsemax(query[:, part] @ key[:, part].T / math.sqrt(width))
            zeros.append((weights == 0).double().mean())
            attended.append((weights * mask_of(seed, "attention", number * heads + head, 0.3, 75, length, by_columns=False)) @ value[:, part])
        answers = layer.attention.out_projection(torch.cat(attended, dim=1))
        states = inputs[0][number] + mask_of(seed, "residual", number * heads, 0.2, 20, 75).T * answers
        hidden = mask_of(seed, "hidden", number * heads, 0.25, 80, 75).T * layer.feed_forward.expand(layer.feed_forward_norm(states)).relu()
        outputs.append(states + mask_of(seed, "update", number * heads, 0.2, 20, 75).T * layer.feed_forward.contract(hidden))
    assert 0.3 < torch.stack(zeros).mean() < 0.99
    output = torch.stack(outputs)
    (output * torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output).sin() / math.sqrt(75)).sum().backward()
    gradients = [parameter.grad for parameter in layer.parameters() if parameter.grad is not None]
    for ours, theirs in zip(found, [output.detach(), *(part.grad for part in inputs), *gradients], strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5 * max(1.0, float(theirs.abs().max())))


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1e3, 1e7])
def test_sparse_weights_sum_to_one_at_any_scale_of_scores(scale: float) -> None:
    """Values of one everywhere come out as one: from scores that are all equal, and from such whose best hides every other."""
    layer = transformer_layer(is_sparse=True)
    with torch.no_grad():
        layer.attention.in_projection.weight[:20] *= scale
        layer.attention.in_projection.weight[40:] = 0.0
        layer.attention.in_projection.bias[40:] = 1.0
    target, source, bias = 3 * torch.randn(2, 37, 20), torch.randn(2, 50, 20), AttentionBias.from_mask(masked([50, 9], 50))
    with without_native_kernels():
        expected, _ = copy.deepcopy(layer).double()(target.double(), source.double(), bias)
    torch.testing.assert_close(layer(target, source, bias)[0].double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_what_is_no_number_stays_none(is_sparse: bool) -> None:
    target, source = torch.randn(2, 5, 20), torch.randn(2, 9, 20)
    source[0, 3] = float("nan")
    target[1, 2] = float("nan")
    output, _ = transformer_layer(is_sparse=is_sparse)(target, source, AttentionBias(None, None))
    assert output[0].isnan().all()
    assert output[1, 2].isnan().all()
    assert not output[1, [0, 1, 3, 4]].isnan().any()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_masks_have_their_rate_and_no_pattern(rate: float) -> None:
    mask = mask_of(1, "attention", 0, rate, 512, 512)
    assert torch.equal(mask, mask_of(1, "attention", 0, rate, 512, 512, by_columns=False))
    dropped = (mask == 0).double()
    spread = math.sqrt(rate * (1 - rate))
    assert abs(dropped.mean() - rate) < 4 * spread / 512
    assert torch.allclose(mask[mask > 0], torch.tensor(1 / (1 - rate), dtype=torch.float64))
    for axis in (0, 1):  # sums of rows and of columns scatter as those of independent draws do
        scatter = dropped.sum(dim=axis).var() / (512 * rate * (1 - rate))
        assert 0.75 < scatter < 1.25
    centred = (dropped - rate) / spread
    for rows, columns in itertools.product((0, 1, 2, 7, 16, 64), repeat=2):
        if rows or columns:
            assert abs((centred * centred.roll((rows, columns), (0, 1))).mean()) < 5 / 512, (rows, columns)
    for rows, columns in ((1, 1), (1, 16), (16, 1), (3, 5)):  # the four corners of a rectangle
        corners = centred * centred.roll(rows, 0) * centred.roll(columns, 1) * centred.roll((rows, columns), (0, 1))
        assert abs(corners.mean()) < 5 / 512, (rows, columns)
    for other in (mask_of(2, "attention", 0, rate, 512, 512), mask_of(1, "attention", 1, rate, 512, 512), mask_of(1, "hidden", 0, rate, 512, 512)):
        assert abs((centred * ((other == 0).double() - rate) / spread).mean()) < 5 / 512


def test_dropout_on_attention_weights_changes_no_expectation() -> None:
    layer = transformer_layer(attention_dropout=0.4)
    with torch.no_grad():  # the feed-forward half adds nothing, so that the output is linear in the mask
        layer.feed_forward.contract.weight.zero_()
    layer.feed_forward.requires_grad_(False)
    target, source = torch.randn(2, 6, 20), torch.randn(2, 9, 20)
    results = [run(layer, target, [source], AttentionBias(None, None)) for _ in range(600)]
    layer.eval()
    expected = run(layer, target, [source], AttentionBias(None, None))
    for draws, exact in zip(zip(*results, strict=True), expected, strict=True):
        stacked = torch.stack(draws)
        error = stacked.std(dim=0) / math.sqrt(len(draws)) + 1e-5
        assert ((stacked.mean(dim=0) - exact).abs() / error).max() < 6


def test_what_it_cannot_compute_takes_the_plain_way() -> None:
    target, sources = torch.randn(2, 5, 20), [torch.randn(2, 6, 20)]
    assert is_native(target, sources, None, 4)
    assert not is_native(target.double(), sources, None, 4)
    assert not is_native(target, sources, torch.ones(2, 1, 5, 6, dtype=torch.bool), 4), "a future mask"
    assert not is_native(target, sources, None, 4, nn.Parameter(torch.ones(20, dtype=torch.float64)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not is_native(target, sources, None, 4)
    with without_native_kernels():
        assert not is_native(target, sources, None, 4)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_weights_that_are_looked_at_are_those_of_the_same_layer(is_sparse: bool) -> None:
    layer = transformer_layer(is_sparse=is_sparse).eval()
    target, source, bias = torch.randn(2, 5, 20), torch.randn(2, 9, 20), AttentionBias.from_mask(masked([9, 4], 9))
    quick, nothing = layer(target, source, bias)
    looked_at, weights = layer(target, source, bias, with_weights=True)
    assert nothing is None
    assert weights.shape == (2, 4, 5, 9)
    torch.testing.assert_close(quick, looked_at, rtol=1e-5, atol=1e-5)


def fresh(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """As in a new process whose cache is elsewhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    kept = native_library._load
    monkeypatch.setattr(native_library, "_load", native_library._load.__wrapped__)
    assert kept is not native_library._load


def test_without_a_compiler_everything_runs_on_pytorch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fresh(monkeypatch, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert native_library.unavailable() == "No C++ compiler was found (c++, g++, clang++)."
    layer, bias = transformer_layer(), AttentionBias(None, None)
    assert not is_native(torch.randn(2, 5, 20), None, None, 4)
    assert layer(torch.randn(2, 5, 20), torch.randn(2, 9, 20), bias)[0].isfinite().all()


def test_a_compiler_that_fails_is_said_once_and_passed_by(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fresh(monkeypatch, tmp_path)
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho 'no such instruction' >&2\nexit 1\n", encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert native_library.unavailable() == f"{broken} could not compile them: no such instruction"
    assert "could not be compiled, so that PyTorch's are used: no such instruction" in caplog.text
    assert not list(tmp_path.glob("multigrain/native/*.so"))


def test_the_switch_leaves_them_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIGRAIN_NATIVE", "0")
    assert library() is None
    assert native_library.unavailable() == "MULTIGRAIN_NATIVE=0 leaves them out."


def test_a_forked_child_has_threads_of_its_own() -> None:
    code = """
import os, warnings, torch
warnings.simplefilter("ignore")
from multigrain.layers.attention import AttentionBias
from multigrain.layers.sparsemax import sparsemax
from multigrain.layers.transformer import TransformerLayer, TransformerSettings, TransformerStack
torch.set_num_threads(2)
layer = TransformerLayer(20, 4, TransformerSettings(), is_crossmodal=True)
answer = lambda: layer(torch.ones(4, 5, 20), torch.ones(4, 6, 20), AttentionBias(None, None))[0]
before = answer().detach()
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(answer().detach(), before) else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["-mno-avx512f", "-mno-avx"])
def test_narrower_vectors_give_the_same(flag: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    target, sources, bias = torch.randn(3, 70, 20), [torch.randn(3, 33, 20) for _ in range(3)], AttentionBias.from_mask(masked([33, 0, 20], 33))
    layers = [(multi_scale_layer(3), sources), (transformer_layer(is_sparse=True, query_key_gain=3.0), sources[:1])]
    expected = [run(layer, target, given, bias) for layer, given in layers]
    fresh(monkeypatch, tmp_path)
    monkeypatch.setattr(native_library, "_FLAGS", (*native_library._FLAGS, flag))
    kernels, reason = native_library._load()
    if kernels is None:
        pytest.skip(f"this compiler knows no {flag}: {reason}")
    assert kernels.multigrain_lanes() < 16
    monkeypatch.setattr(native_library, "_load", lambda: (kernels, None))
    for (layer, given), results in zip(layers, expected, strict=True):
        for ours, theirs in zip(run(layer, target, given, bias), results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
