"""How much of MMIN's gradient is L_sep's: its norm over the task's, at several widths and batches, for each form; prints a Markdown table.

    python experiments/separation_share.py planted.store [mosi.store] [--weight 0.3] [--steps 100]

Over the parameters that both reach: the encoders (Eqs. 1-2) and what is before them. Before training and after some steps of AdamW at 1e-3
on the task and all terms, mean over ten batches of the training split. A form is felt where its share is not a hundredth; its weight means
the same where the share does not move with width and batch.
"""

import argparse
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from multigrain.data.store import Store
from multigrain.models import build_model
from multigrain.models.base import MultimodalModel
from multigrain.models.mmin_coarse import Separation
from multigrain.schema import Batch

SIZES = ((32, 32), (128, 32), (32, 128), (128, 128))
BATCHES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument("--weight", type=float, default=0.3, help="of L_sep (default 0.3)")
    parser.add_argument("--steps", type=int, default=100, help="of training before the second look (default 100)")
    options = parser.parse_args()
    print("| store | width | batch | form | share at the start | share after training | L_sep at the start | L_sep after training |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for path in options.stores:
        store = Store.open(path)
        for width, batch in SIZES:
            for form in get_args(Separation):
                model = _model(store, width, form, options.weight)
                before = _look(model, store, batch)
                _train(model, store, batch, options.steps)
                after = _look(model, store, batch)
                shares = " | ".join(f"{share:.3g}" for share in (before[0], after[0], before[1] / options.weight, after[1] / options.weight))
                print(f"| {path.stem} | {width} | {batch} | {form} | {shares} |", flush=True)


def _model(store: Store, width: int, form: Separation, weight: float) -> MultimodalModel:
    torch.manual_seed(0)
    settings = {"width": width, "num_heads": 4, "num_layers": 1, "separation": form, "separation_weight": weight}
    return build_model("mmin", settings, store.task, store.features, normalise=True, clip=5.0)


def _batches(store: Store, size: int, number: int, seed: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(store.split("train")), generator=generator)
    return [store.split("train").batch(order[(place * size) % (len(order) - size) :][:size].tolist()) for place in range(number)]


def _terms(model: MultimodalModel, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The task's loss, L_sep as weighted, and the sum of all terms."""
    output = model(batch)
    assert batch.label is not None
    task = (output.prediction - batch.label).square().mean()
    return task, output.losses["separation"], task + sum(output.losses.values())


def _look(model: MultimodalModel, store: Store, size: int) -> tuple[float, float]:
    """L_sep's share of the gradient, and its value."""
    model.eval()
    shared = [parameter for name, parameter in model.named_parameters() if name.startswith(("encoders", "branches"))]
    shares, values = [], []
    for batch in _batches(store, size, BATCHES, seed=1):
        task, separation, _ = _terms(model, batch)
        norms = [_norm(torch.autograd.grad(term, shared, retain_graph=True, allow_unused=True)) for term in (separation, task)]
        shares.append(norms[0] / norms[1])
        values.append(float(separation))
    return sum(shares) / len(shares), sum(values) / len(values)


def _norm(gradients: tuple[Tensor | None, ...]) -> float:
    return float(torch.sqrt(sum((part.square().sum() for part in gradients if part is not None), torch.zeros(()))))


def _train(model: MultimodalModel, store: Store, size: int, steps: int) -> None:
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for number, batch in enumerate(_batches(store, size, steps, seed=2)):
        model.set_progress(number / steps)
        optimizer.zero_grad()
        _terms(model, batch)[2].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


if __name__ == "__main__":
    main()
