"""Cells in processes of their own, their rounds taken in turn, so that a slow minute of the machine hits all of them."""

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import multigrain
from multigrain.benchmark.lines import LineProcess, ProcessFailed
from step.spec import COSTLIEST, ROUND, CellSpec

SCRIPT = Path(__file__).parents[1] / "training_step.py"
PACKAGE_FOLDER = Path(multigrain.__file__).parents[1]
CELL_COMMAND = "_cell"  # hidden: what a cell's process is started with


@dataclass
class CellResult:
    """What became of a cell.

    Attributes:
        spec: what was measured.
        ready: parameters, versions and memory after the imports; empty where it never got so far.
        rounds: the answers, one a round.
        costliest: the answer after the costliest batch; empty where none was asked for.
        error: why there are no more, or None.
    """

    spec: CellSpec
    ready: dict[str, Any] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    costliest: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    def median(self, name: str) -> float:
        """The median over the rounds, of which there must be one."""
        return statistics.median(self.values(name))

    def values(self, name: str) -> list[float]:
        """One value a round."""
        return [answer[name] for answer in self.rounds]

    @property
    def peak_bytes(self) -> int:
        """Peak memory above the imports, of any step; there must be a round."""
        return (self.costliest or self.rounds[-1])["peak_bytes"]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the lengths of each batch, as plain JSON values."""
        spec = {name: value for name, value in self.spec.__dict__.items() if name not in ("batches", "warm_up", "costliest")}
        return {**spec, "ready": self.ready, "rounds": self.rounds, "costliest": self.costliest, "error": self.error}


class CellProcess:
    """A cell's process; `ask` waits for its next answer."""

    def __init__(self, spec: CellSpec, python: str):
        self.result = CellResult(spec)
        path = os.pathsep.join(filter(None, (str(PACKAGE_FOLDER), os.environ.get("PYTHONPATH"))))  # MMSA's environment has no multigrain
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(spec.threads))
        self._process = LineProcess([python, str(SCRIPT), CELL_COMMAND], {**threads, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"})

    def start(self, limit_seconds: float) -> None:
        """Builds and warms up."""
        answer = self._ask(self.result.spec.to_json(), limit_seconds)
        if answer is not None:
            self.result.ready = answer

    def round(self, limit_seconds: float) -> None:
        """Measures one round, unless the cell has failed before."""
        if self.result.error is None:
            answer = self._ask(ROUND, limit_seconds)
            if answer is not None:
                self.result.rounds.append(answer)

    def costliest(self, limit_seconds: float) -> None:
        """Measures the memory of the epoch's costliest batch, where there is one and the cell has not failed."""
        if self.result.error is None and self.result.spec.costliest is not None:
            self.result.costliest = self._ask(COSTLIEST, limit_seconds) or {}

    def stop(self) -> CellResult:
        """Ends the process and gives what was measured."""
        self._process.stop()
        return self.result

    def _ask(self, line: str, limit_seconds: float) -> dict[str, Any] | None:
        try:
            return self._process.ask(line, limit_seconds)
        except ProcessFailed as failure:
            self.result.error = str(failure)
            return None


def run_cells(specs: list[CellSpec], pythons: dict[str, str], *, rounds: int, limit_seconds: float) -> list[CellResult]:
    """Warms the cells up one after the other, then takes their rounds in turn.

    Args:
        specs: the cells.
        pythons: implementation -> the interpreter that it runs under.
        rounds: rounds of each.
        limit_seconds: the most that a warm-up or a round may take.
    """
    processes: list[CellProcess] = []
    try:
        for spec in specs:
            say(f"{spec.name}: warming up")
            processes.append(CellProcess(spec, pythons[spec.implementation]))
            processes[-1].start(limit_seconds)
            _say_error(processes[-1])
        for number in range(rounds):
            for process in processes:
                had_failed = process.result.error is not None
                time.sleep(0.3)  # lets the last one's threads fall asleep
                process.round(limit_seconds)
                if not had_failed:
                    _say_error(process)
            say(f"round {number + 1} of {rounds}: " + ", ".join(_short(process.result) for process in processes))
        for process in processes:
            process.costliest(limit_seconds)
    finally:
        results = [process.stop() for process in processes]
    return results


def say(text: str) -> None:
    """A line of progress, on standard error."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def _say_error(process: CellProcess) -> None:
    if process.result.error is not None:
        say(f"{process.result.spec.name}: {process.result.error}")


def _short(result: CellResult) -> str:
    return "failed" if result.error or not result.rounds else f"{result.rounds[-1]['seconds_per_step']:.3g} s"


Runner = Callable[[list[CellSpec], int], list[CellResult]]
