"""The ratios that the benchmark is for, beside their goals."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from step.growth import LINEAR, Point, exponents
from step.processes import CellResult

MEMORY_LIMIT_BYTES = 700e6


@dataclass(frozen=True)
class Claim:
    """One number, in words, and its goal.

    Attributes:
        text: what came out.
        goal: what it should be; None where there is no goal.
        is_met: None where there is no goal or no number.
    """

    text: str
    goal: str | None = None
    is_met: bool | None = None

    def __str__(self) -> str:
        verdict = {True: "met", False: "not met", None: "not measured"}[self.is_met]
        return self.text if self.goal is None else f"{self.text} (goal: {self.goal}; {verdict})"


@dataclass(frozen=True)
class Line:
    """What was compared, and the numbers that came out."""

    label: str
    claims: tuple[Claim, ...]

    def __str__(self) -> str:
        return f"{self.label}: {', '.join(map(str, self.claims))}"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """A cell of ours against one of another's."""

    label: str
    ours: str
    other: str
    times: float | None = None
    memory_share: float | None = None
    by: str = "seconds_per_step"


COMPARISONS = (
    Comparison("1. MulT, real lengths", "mult_real", "mmsa_unaligned", 25.0, 1 / 20),
    Comparison("MulT, real lengths, random batches", "mult_random", "mmsa_unaligned"),
    Comparison("2. MCMuT, real lengths, against MulT", "mcmut_real", "mmsa_unaligned", 14.0),
    Comparison("MCMuT, real lengths, random batches, against MulT", "mcmut_random", "mmsa_unaligned"),
    Comparison("3. MulT, 50/375/500", "mult_full", "mmsa_unaligned", 4.0),
    Comparison("MCMuT, 50/375/500, against MulT", "mcmut_full", "mmsa_unaligned"),
    Comparison("MulT, padded to 50/375/500, masked", "mult_masked", "mmsa_unaligned"),
    Comparison("4. MulT, aligned 50/50/50", "mult_aligned", "mmsa_aligned", 4.0),
    Comparison("MCMuT, aligned 50/50/50, against MulT", "mcmut_aligned", "mmsa_aligned"),
    Comparison("MulT, aligned, real lengths", "mult_aligned_real", "mmsa_aligned"),
    Comparison("5. Prediction with MulT, real lengths", "mult_predict", "mmsa_predict", 200.0, by="utterances_per_second"),
    Comparison("Prediction with MCMuT, real lengths, against MulT", "mcmut_predict", "mmsa_predict", by="utterances_per_second"),
    Comparison("7. MMIN, real lengths, against MISA", "mmin_real", "misa_padded", 3.0),
    Comparison("8. MMIN, 50/375/500, against MISA", "mmin_full", "misa_full", 1.0),
    Comparison("MMIN without FIN, real lengths, against MISA", "mmin_coarse_real", "misa_padded"),
    Comparison("MMIN without FIN, 50/375/500, against MISA", "mmin_coarse_full", "misa_full"),
    Comparison("MMIN without FIN, 50/50/50 (what MISA reads of it), against MISA", "mmin_coarse_aligned", "misa_full"),
)
OTHERS = {"mmsa": "MMSA's", "official": "the authors'"}


def ratio_lines(results: Mapping[str, CellResult]) -> list[Line]:
    """All comparisons whose cells were to be measured, first with MMSA's, then with the authors' code (which has no goals)."""
    lines = []
    for other in OTHERS:
        for comparison in COMPARISONS:
            key = comparison.other.replace("mmsa", other)
            is_only_of_mmsa = other != "mmsa" and key == comparison.other  # MISA has no other implementation here
            if is_only_of_mmsa or comparison.ours not in results or key not in results:
                continue
            ours, theirs, has_goals = results[comparison.ours], results[key], other == "mmsa"
            if has_goals or (ours.rounds and theirs.rounds):
                lines.append(_compared(comparison, ours, theirs, OTHERS[other], has_goals=has_goals))
    if "mcmut_real" in results:
        lines.append(_memory_line("2. MCMuT, real lengths", results["mcmut_real"]))
    return lines


def _memory_line(label: str, result: CellResult) -> Line:
    goal = f"under {MEMORY_LIMIT_BYTES / 1e6:.0f} MB in any batch"
    if not result.rounds:
        return Line(label, (Claim("peak memory unknown", goal),))
    peak, typical = result.peak_bytes, result.median("typical_peak_bytes")
    text = f"peak memory {peak / 1e6:.0f} MB above the imports in the costliest batch, {typical / 1e6:.0f} MB typically"
    return Line(label, (Claim(text, goal, peak < MEMORY_LIMIT_BYTES),))


def _compared(comparison: Comparison, ours: CellResult, other: CellResult, whose: str, *, has_goals: bool) -> Line:
    times_goal = f"at least {comparison.times:g} times" if has_goals and comparison.times else None
    memory_goal = f"at most 1/{1 / comparison.memory_share:.0f} in any batch" if has_goals and comparison.memory_share else None
    if not (ours.rounds and other.rounds):
        missing = ours.spec.name if not ours.rounds else other.spec.name
        return Line(comparison.label, (Claim(f"no ratio, since there is no number for `{missing}`", times_goal),))
    pairs = zip(ours.values(comparison.by), other.values(comparison.by), strict=False)  # a cell may have failed in a later round
    ratios = [_times_faster(comparison.by, mine, theirs) for mine, theirs in pairs]
    times = _times_faster(comparison.by, ours.median(comparison.by), other.median(comparison.by))
    share = ours.peak_bytes / other.peak_bytes
    typical = ours.median("typical_peak_bytes") / other.median("typical_peak_bytes")
    speed = f"{times:.3g} times {'as fast as' if times < 1 else 'faster than'} {whose} (rounds {min(ratios):.2g} to {max(ratios):.2g})"
    if comparison.by == "utterances_per_second":
        speed = f"{times:.3g} times the utterances a second of {whose} (rounds {min(ratios):.2g} to {max(ratios):.2g})"
    memory = f"{_share(share)} its memory in the costliest batch, {_share(typical)} typically"
    return Line(
        comparison.label,
        (
            Claim(speed, times_goal, None if times_goal is None else times >= (comparison.times or 0.0)),
            Claim(memory, memory_goal, None if memory_goal is None else share <= (comparison.memory_share or 0.0)),
        ),
    )


def _share(share: float) -> str:
    return f"1/{1 / share:.1f} of" if share <= 1.0 else f"{share:.1f} times"


def _times_faster(by: str, ours: float, other: float) -> float:
    return ours / other if by == "utterances_per_second" else other / ours


def growth_lines(points: Sequence[Point]) -> list[Line]:
    """The exponents of time and memory, and whether MCMuT's memory is linear in length."""
    lines = []
    for model, title in (("mult", "MulT"), ("mcmut", "MCMuT")):
        for series in ("length", "batch"):
            for name, what in (("peak_bytes", "peak memory"), ("seconds", "time")):
                overall, last = exponents(points, model, series, name)
                has_goal = (model, series, name) == ("mcmut", "length", "peak_bytes")
                label = f"{'6. ' if has_goal else ''}{title}, {what}"
                text = f"grows with {series} to the power of {_power(overall)} ({_power(last)} in the last doubling)"
                complete = all(point.reason is None for point in points if (point.model, point.series) == (model, series))
                goal = f"linear: at most {LINEAR} in the last doubling, up to length x8" if has_goal else None
                lines.append(Line(label, (Claim(text, goal, _is_linear(last, complete) if has_goal else None),)))
    return lines


def _is_linear(last: float | None, complete: bool) -> bool | None:
    """Not linear as soon as any doubling says so; linear only when the largest size was measured."""
    if last is None:
        return None
    return False if last > LINEAR else (True if complete else None)


def _power(exponent: float | None) -> str:
    return "?" if exponent is None else f"{exponent:.2f}"
