"""`multigrain bench`: MulT's and MCMuT's training steps and predictions on this machine, with the compiled kernels and without."""

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from multigrain.benchmark.cell import PREDICT, TRAIN, CellSpec
from multigrain.benchmark.lengths import UNALIGNED_PADDING, BatchSteps, bucketed_batches, draw_words, plan_of, steps_of
from multigrain.benchmark.lines import LineProcess, ProcessFailed
from multigrain.benchmark.machine import load, machine_facts
from multigrain.benchmark.models import MODELS
from multigrain.errors import RecipeError, require
from multigrain.layers.native.library import SWITCH, unavailable

REAL, FULL = "real lengths", "all 50/375/500"
UTTERANCES = 1284
"""Of the epoch whose batches are measured: MOSI's training split."""

PREDICTION_BATCH = 64
STEPS_A_ROUND = 6
MOST_ROUNDS = 15
_PREDICTIONS_A_ROUND = 3
_TRAINING_SHARE = 0.75  # of the time of a cell that also predicts
_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the command line leaves open.

    Attributes:
        batch: utterances of a training step.
        threads: of torch.
        seconds: about how long it may take in all; each cell has at least one round, however long that is.
        device: `auto` (a GPU where there is one), `cpu` or `cuda`.
        models: of `MODELS`.
        inputs: of `REAL` and `FULL` (every step of 50/375/500 is computed).
    """

    batch: int = 16
    threads: int
    seconds: float = 60.0
    device: str = "auto"
    models: tuple[str, ...] = MODELS
    inputs: tuple[str, ...] = (REAL, FULL)

    def __post_init__(self) -> None:
        """Checks every value."""
        require(1 <= self.batch <= UTTERANCES, "--batch", self.batch, f"1 to {UTTERANCES} utterances")
        require(self.threads >= 1, "--threads", self.threads, "at least 1")
        require(self.seconds > 0, "--seconds", self.seconds, "a number above 0")
        for model in self.models:
            require(model in MODELS, "--model", model, " or ".join(MODELS))


@dataclass
class CellResult:
    """What became of a cell: its rounds, or why there are none (or no more)."""

    spec: CellSpec
    device: str
    train: list[dict[str, Any]] = field(default_factory=list)
    predict: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything at full precision but the lengths of each batch, as plain JSON values."""
        spec = self.spec
        known = {"model": spec.model, "input": spec.input, "is_native": spec.is_native, "threads": spec.threads, "device": self.device}
        sizes = {"batch": len(spec.batches[0]), "prediction_batch": PREDICTION_BATCH if spec.predicted else None}
        return {**known, **sizes, "train": self.train, "predict": self.predict, "error": self.error}


def median(rounds: Sequence[dict[str, Any]], name: str) -> float:
    """Over the rounds, of which there must be one."""
    return statistics.median(answer[name] for answer in rounds)


def measure(choices: Choices, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Measures, and gives everything as plain JSON values.

    Args:
        choices: what and for how long.
        say: is told what is being measured.

    Returns:
        `machine`; `load_at_end`; `device`; `no_native`: why there are no compiled kernels, or None; `padding_waste` of the batches at
        real lengths; `seconds` that it took; `cells`: see `CellResult.to_dict`.

    Raises:
        RecipeError: there is no such device.
    """
    start = time.monotonic()
    facts, (device, device_name) = machine_facts(), _device(choices.device)
    say("compiled kernels: compiling them where this machine has not yet, about ten seconds")
    no_native = "They are for a CPU." if device == "cuda" else unavailable()
    waves, waste = _waves(choices, device, with_native=no_native is None)
    results: list[CellResult] = []
    for number, wave in enumerate(waves):
        left = choices.seconds - (time.monotonic() - start)
        say(f"{wave[0].model}, {wave[0].input}")
        results += _measure_together(wave, device_name, left / (len(waves) - number))
    return {
        "machine": facts,
        "load_at_end": load(),
        "device": device_name,
        "threads": choices.threads,
        "no_native": no_native,
        "padding_waste": waste,
        "seconds": time.monotonic() - start,
        "cells": [result.to_dict() for result in results],
    }


def _device(name: str) -> tuple[str, str]:
    """The device as torch calls it, and as people do.

    Raises:
        RecipeError: there is none.
    """
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise RecipeError(f"--device is {name!r}; expected auto, cpu or cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise RecipeError("--device is cuda, but torch finds no GPU here. Use --device cpu, or install a torch that goes with your GPU.")
    if name == "cpu" or not torch.cuda.is_available():
        return "cpu", "CPU"
    return "cuda", torch.cuda.get_device_name()


def _waves(choices: Choices, device: str, *, with_native: bool) -> tuple[list[list[CellSpec]], float]:
    """The cells, those that are compared together, and the padding waste at real lengths."""
    steps = steps_of(draw_words(UTTERANCES, np.random.default_rng(0)))
    plan = plan_of(bucketed_batches(steps, choices.batch, shuffle=True, seed=0), STEPS_A_ROUND)
    predicted = plan_of(bucketed_batches(steps, PREDICTION_BATCH, shuffle=False, seed=0), _PREDICTIONS_A_ROUND).batches
    full: BatchSteps = [list(UNALIGNED_PADDING)] * choices.batch
    assert plan.costliest is not None
    batches = {REAL: (plan.batches, [plan.batches[0], plan.costliest], predicted), FULL: ([full], [full], [])}
    waves = [
        [
            CellSpec(
                model=model,
                input=kind,
                is_native=is_native,
                batches=batches[kind][0],
                warm_up=batches[kind][1],
                predicted=batches[kind][2],
                threads=choices.threads,
                device=device,
            )
            for is_native in ((True, False) if with_native else (False,))
        ]
        for model in choices.models
        for kind in choices.inputs
    ]
    return waves, plan.waste


def _measure_together(wave: list[CellSpec], device_name: str, seconds: float) -> list[CellResult]:
    """Cells in processes of their own; their rounds are taken in turn, so that a slow moment of the machine hits all of them."""
    end = time.monotonic() + seconds
    results = [CellResult(spec, device_name) for spec in wave]
    processes: list[LineProcess] = []
    try:
        for spec in wave:  # they import side by side
            threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(spec.threads))
            environment = {**threads, "PYTHONWARNINGS": "ignore", **({} if spec.is_native else {SWITCH: "0"})}
            processes.append(LineProcess([sys.executable, "-m", "multigrain.benchmark.cell"], environment))
            processes[-1].tell(spec.to_json())
        pairs = list(zip(processes, results, strict=True))
        for process, result in pairs:
            _ask(process, result, None)
        trained_by = time.monotonic() + (_TRAINING_SHARE if wave[0].predicted else 1.0) * (end - time.monotonic())
        _take_rounds(pairs, TRAIN, trained_by)
        if wave[0].predicted:
            _take_rounds(pairs, PREDICT, end)
    finally:
        for process in processes:
            process.stop(patience_seconds=2.0)
    return results


def _take_rounds(pairs: list[tuple[LineProcess, CellResult]], request: str, end: float) -> None:
    """Rounds of all cells in turn: one at least, and as many more as are likely to fit."""
    for number in range(MOST_ROUNDS):
        start = time.monotonic()
        if number and start >= end:
            return
        for process, result in pairs:
            time.sleep(0.2)  # lets the last one's threads fall asleep
            _ask(process, result, request)
        if time.monotonic() + 0.5 * (time.monotonic() - start) > end:
            return


def _ask(process: LineProcess, result: CellResult, request: str | None) -> None:
    """Adds the answer to a request to the result; None waits until the cell is ready."""
    if result.error is not None:
        return
    try:
        if request is None:
            process.answer(_PATIENCE_SECONDS)
        else:
            (result.train if request == TRAIN else result.predict).append(process.ask(request, _PATIENCE_SECONDS))
    except ProcessFailed as failure:
        result.error = str(failure)


def default_threads() -> int:
    """As many as this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
