"""What runs on a GPU never waits for it: the whole step of a model on the `meta` device, where whoever asks for a value gets an error."""

import pytest
import torch

from multigrain.layers.attention import AttentionBias, _fused, attend
from multigrain.layers.masking import attention_mask
from multigrain.losses import task_loss
from multigrain.models import build_model
from multigrain.schema import Batch, FeatureSpec, Task

DIMS = {"text": 12, "audio": 5, "vision": 7}
META = torch.device("meta")


def batch_of(lengths: dict[str, list[int]]) -> Batch:
    torch.manual_seed(1)
    features = {name: torch.randn(len(counts), max(counts), DIMS[name]) for name, counts in lengths.items()}
    return Batch.from_arrays(**features, lengths=lengths, label=torch.linspace(-1, 1, 3))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("mult", {"attention_dropout_audio": 0.2}),
        ("mcmut", {"num_blocks": 2, "layers_per_block": 2}),
        ("mcmut", {"num_blocks": 2, "layers_per_block": 2, "scale_dropout": 0.5}),
        ("mmin", {}),
    ],
)
def test_a_training_step_asks_for_no_value(name: str, config: dict[str, object]) -> None:
    task = Task()
    model = build_model(name, {"width": 16, "num_heads": 2, **config}, task, {key: FeatureSpec(dim=dim) for key, dim in DIMS.items()})
    model = model.to(META).train()
    batch = batch_of({"text": [4, 2, 3], "audio": [9, 0, 5], "vision": [6, 6, 6]}).to(META)
    output = model(batch)
    loss = task_loss(task, output.prediction, batch.label)
    for term in output.losses.values():
        loss = loss + term
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.8)


def test_the_check_can_fail() -> None:
    with pytest.raises(RuntimeError, match="meta"):
        bool(torch.ones(2, device=META).all())


@pytest.mark.parametrize("lengths", [[5, 5, 5], [5, 3, 1], [5, 0, 2]])
def test_masks_that_are_always_given_change_nothing(lengths: list[int]) -> None:
    """A GPU's mask and presence, computed here, give what those of a CPU give, which leaves them out where it can."""
    torch.manual_seed(0)
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    query, key, value = torch.randn(3, 2, 4, 6), torch.randn(3, 2, 5, 6), torch.randn(3, 2, 5, 6)
    present = mask.any(dim=1)
    always = AttentionBias((mask | ~present[:, None])[:, None, None, :], present)
    torch.testing.assert_close(attend(query, key, value, always)[0], attend(query, key, value, AttentionBias.from_mask(mask))[0])
    shapes = [None if part is None else part.shape for part in attention_mask(mask.to(META))]
    assert shapes == [part.shape for part in always[:2]]


@pytest.mark.parametrize("width", [6, 8, 10])
def test_heads_filled_up_change_nothing(width: int) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, time, width, dtype=torch.float64, requires_grad=True) for time in (4, 5, 5))
    allowed = (torch.arange(5) < torch.tensor([5, 3])[:, None])[:, None, None, :]
    found, expected = (_fused(query, key, value, allowed, 0.0, multiple) for multiple in (8, 1))
    assert found.shape == query.shape
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(*(torch.autograd.grad(result.square().sum(), (query, key, value)) for result in (found, expected)), strict=True):
        torch.testing.assert_close(ours, theirs)
