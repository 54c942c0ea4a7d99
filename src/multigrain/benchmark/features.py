"""Random features of utterances of given lengths."""

from collections.abc import Mapping

import torch
from torch import Tensor

from multigrain.benchmark.lengths import DIMS, BatchSteps


def padded_features(
    batch: BatchSteps, pad_to: list[int] | None, seed: int, dims: Mapping[str, int] = DIMS
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(batch, time, dim) features by modality, zero beyond each utterance, and (batch,) lengths; an utterance does not depend on its padding."""
    widths = pad_to or [max(steps) for steps in zip(*batch, strict=True)]
    features = {name: torch.zeros(len(batch), width, dim) for (name, dim), width in zip(dims.items(), widths, strict=True)}
    generator = torch.Generator()
    for row, steps in enumerate(batch):
        generator.manual_seed(seed + row)
        for values, count in zip(features.values(), steps, strict=True):
            values[row, :count] = torch.randn(count, values.shape[-1], generator=generator)
    lengths = {name: torch.tensor([steps[place] for steps in batch]) for place, name in enumerate(dims)}
    return features, lengths
