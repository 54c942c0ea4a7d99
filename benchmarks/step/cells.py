"""Which cells each part of the table has."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from multigrain.benchmark.lengths import ALIGNED_PADDING, UNALIGNED_PADDING, BatchSteps, Plan, bucketed_batches, plan_of, steps_of
from step.spec import CellSpec
from step.words import random_batches, word_counts

LIMIT_STEPS = 9
PREDICTION_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the command line leaves open.

    Attributes:
        utterances: of the epoch that batches are drawn from.
        batch: utterances of a training step.
        steps: steps that a round of ours at real lengths times.
        words: a CSV file of transcripts, or None.
        threads, seed, dropouts, future_mask: see `CellSpec`.
        official: checkout of the authors' code, or None.
        with_mmsa: MMSA's cells are there.
        extras: also padded input whose masks tell the real lengths, and aligned input at real lengths.
    """

    utterances: int = 1284
    batch: int = 16
    steps: int = 27
    words: Path | None = None
    threads: int = 2
    seed: int = 0
    dropouts: str = "authors"
    future_mask: bool = False
    official: Path | None = None
    with_mmsa: bool = True
    extras: bool = False


class Cells:
    """Makes the cells of each part from one draw of utterances, so that all implementations get the same."""

    def __init__(self, choices: Choices):
        self.choices = choices
        self.words = word_counts(choices.utterances, choices.words, np.random.default_rng(choices.seed))
        steps, batch, seed = steps_of(self.words), choices.batch, choices.seed
        self.bucketed = plan_of(bucketed_batches(steps, batch, shuffle=True, seed=seed), choices.steps)
        self.random = plan_of(random_batches(steps, batch, seed=seed), max(1, choices.steps // 3))
        prediction = bucketed_batches(steps, PREDICTION_BATCH, shuffle=False, seed=seed)
        self.prediction = plan_of(prediction, len(prediction))

    def unaligned(self) -> list[CellSpec]:
        """Training on unaligned input: ours at real lengths and with every step real, the others padded."""
        full = self._full(UNALIGNED_PADDING)
        cells = [
            self._cell("mult_real", "ours: MulT, real lengths", self.bucketed),
            self._cell("mult_random", "ours: MulT, real lengths, random batches", self.random),
            self._cell("mcmut_real", "ours: MCMuT, real lengths", self.bucketed, model="mcmut"),
            self._cell("mcmut_random", "ours: MCMuT, real lengths, random batches", self.random, model="mcmut"),
            self._cell("mult_full", "ours: MulT, all of 50/375/500 real", full),
            self._cell("mcmut_full", "ours: MCMuT, all of 50/375/500 real", full, model="mcmut"),
        ]
        if self.choices.extras:
            cells.append(self._padded("mult_masked", "ours: MulT, padded to 50/375/500, masked", self.bucketed, UNALIGNED_PADDING))
        return cells + self._others("unaligned", "padded to 50/375/500", self.bucketed, UNALIGNED_PADDING)

    def mmin(self) -> list[CellSpec]:
        """MMIN over cached states beside MMSA's MISA, at real lengths and with all of 50/375/500 real."""
        full = self._full(UNALIGNED_PADDING)
        cells = [
            self._cell("mmin_real", "ours: MMIN, real lengths", self.bucketed, model="mmin"),
            self._cell("mmin_full", "ours: MMIN, all of 50/375/500 real", full, model="mmin"),
            self._cell("mmin_coarse_real", "ours: MMIN without FIN, real lengths", self.bucketed, model="mmin_coarse"),
            self._cell("mmin_coarse_full", "ours: MMIN without FIN, all of 50/375/500 real", full, model="mmin_coarse"),
            self._cell("mmin_coarse_aligned", "ours: MMIN without FIN, all of 50/50/50 real", self._full(ALIGNED_PADDING), model="mmin_coarse"),
        ]
        if self.choices.with_mmsa:
            padded = self._padded("misa_padded", "MMSA: MISA, padded to 50/375/500", self.bucketed, UNALIGNED_PADDING)
            cells += [
                replace(padded, model="misa", implementation="mmsa"),
                replace(self._cell("misa_full", "MMSA: MISA, all of 50/375/500 real", full, model="misa"), implementation="mmsa", steps_per_round=4),
            ]
        return cells

    def aligned(self) -> list[CellSpec]:
        """Training on aligned input, every step real for ours."""
        full, count = self._full(ALIGNED_PADDING), 4
        cells = [
            replace(self._cell("mult_aligned", "ours: MulT, all of 50/50/50 real", full), steps_per_round=count),
            replace(self._cell("mcmut_aligned", "ours: MCMuT, all of 50/50/50 real", full, model="mcmut"), steps_per_round=count),
        ]
        if self.choices.extras:
            aligned = _aligned(self.bucketed)
            cells.append(self._cell("mult_aligned_real", "ours: MulT, aligned, real lengths", aligned))
        others = self._others("aligned", "padded to 50/50/50", _aligned(self.bucketed), ALIGNED_PADDING)
        return cells + [replace(cell, steps_per_round=count) for cell in others]

    def inference(self) -> list[CellSpec]:
        """Prediction without gradients, as `predict_split` makes its batches: of 64, in order of length, all of the split in each round.

        The others are given the same batches; since they compute every step of their padding, one batch a round is as good as all.
        """
        plan = self.prediction
        cells = [
            self._cell("mult_predict", "ours: MulT, prediction, real lengths", plan),
            self._cell("mcmut_predict", "ours: MCMuT, prediction, real lengths", plan, model="mcmut"),
            *self._others("predict", "prediction, padded to 50/375/500", plan, UNALIGNED_PADDING),
        ]
        return [replace(cell, kind="predict", warm_up=cell.warm_up[:1]) for cell in cells]

    def limit(self) -> list[CellSpec]:
        """Ours beside what the machine could do."""
        plan, full = _thinned(self.bucketed, LIMIT_STEPS), self._full(UNALIGNED_PADDING)
        cells = [
            self._cell("limit_mult_real", "MulT, real lengths", plan),
            self._cell("limit_mcmut_real", "MCMuT, real lengths", plan, model="mcmut"),
            self._cell("limit_mult_full", "MulT, all of 50/375/500 real", full),
            self._cell("limit_mult_aligned", "MulT, all of 50/50/50 real", self._full(ALIGNED_PADDING)),
        ]
        return [replace(cell, kind="limit", steps_per_round=1, costliest=None) for cell in cells]

    def _cell(self, key: str, name: str, plan: Plan, *, model: str = "mult") -> CellSpec:
        choices = self.choices
        return CellSpec(
            key=key,
            name=name,
            model=model,  # type: ignore[arg-type]
            batches=plan.batches,
            warm_up=plan.batches[:2],
            costliest=plan.costliest,
            steps_per_round=len(plan.batches),
            threads=choices.threads,
            seed=choices.seed,
            dropouts=choices.dropouts,
            future_mask=choices.future_mask,
        )

    def _padded(self, key: str, name: str, plan: Plan, pad_to: list[int]) -> CellSpec:
        """One step a round, since padding makes all alike; the rounds go through the plan's batches in turn."""
        return replace(self._cell(key, name, plan), pad_to=pad_to, steps_per_round=1, warm_up=plan.batches[:1])

    def _others(self, part: str, what: str, plan: Plan, pad_to: list[int]) -> list[CellSpec]:
        cells = []
        if self.choices.with_mmsa:
            cells.append(replace(self._padded(f"mmsa_{part}", f"MMSA: MulT, {what}", plan, pad_to), implementation="mmsa"))
        if self.choices.official:
            cell = self._padded(f"official_{part}", f"authors: MulT, {what}", plan, pad_to)
            cells.append(replace(cell, implementation="official", official=str(self.choices.official)))
        return cells

    def _full(self, steps: list[int]) -> Plan:
        batch: BatchSteps = [list(steps)] * self.choices.batch
        return Plan(batches=[batch], costliest=None, waste=0.0, cost_share=1.0)


def _aligned(plan: Plan) -> Plan:
    """The same utterances with one step a word in every modality."""

    def in_words(batch: BatchSteps) -> BatchSteps:
        return [[steps[0]] * 3 for steps in batch]

    costliest = None if plan.costliest is None else in_words(plan.costliest)
    return replace(plan, batches=[in_words(batch) for batch in plan.batches], costliest=costliest)


def _thinned(plan: Plan, count: int) -> Plan:
    """A plan of fewer of its batches, again even over cost."""
    thinner = plan_of([np.array(batch) for batch in plan.batches], count)
    return replace(thinner, waste=plan.waste)
