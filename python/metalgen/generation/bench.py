"""Many problems, one model: how many are solved, and how fast the solutions are."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metalgen.errors import MetalgenError, ProblemError
from metalgen.generation.budget import Budget, Spending, Spent
from metalgen.generation.evaluator import Evaluator
from metalgen.generation.loop import Settings, default_device, generate_with
from metalgen.generation.report import Silent
from metalgen.generation.result import Result
from metalgen.generation.sandbox import Limits
from metalgen.problem import Problem
from metalgen.proposers import Attempt, Priced, Proposer, Reply

# KernelBench's metric: the share of problems solved correctly and more than p times as fast.
FAST_P = (0.0, 0.5, 0.8, 1.0, 1.5, 2.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One problem's outcome; `reason` says why it was not solved."""

    problem: str
    attempts: int
    speedup: float | None
    candidate_us: float | None
    eager_us: float | None
    reason: str | None
    is_control: bool
    seconds: float
    spent: Spent = field(default_factory=Spent)

    @property
    def is_accepted(self) -> bool:
        """Whether a candidate was accepted."""
        return self.speedup is not None


@dataclass(frozen=True, slots=True)
class Bench:
    """All outcomes; controls (outputs that ignore the inputs) count neither as wins nor losses."""

    model: str
    rows: tuple[Row, ...]
    device: dict[str, Any]

    @property
    def counted(self) -> tuple[Row, ...]:
        """The rows that figures are made of."""
        return tuple(row for row in self.rows if not row.is_control)

    @property
    def geometric_mean(self) -> float:
        """Of the speed against eager, unsolved problems counting as 1.0."""
        logs = [math.log(row.speedup) if row.speedup else 0.0 for row in self.counted]
        return math.exp(sum(logs) / len(logs)) if logs else 1.0

    @property
    def spent(self) -> Spent:
        """What all problems took together."""
        return functools.reduce(Spent.plus, (row.spent for row in self.rows), Spent())

    def fast(self, p: float) -> float:
        """fast_p: the share of problems solved and more than `p` times as fast as eager."""
        wins = [row for row in self.counted if row.speedup is not None and row.speedup > p]
        return len(wins) / len(self.counted) if self.counted else 0.0

    def to_json(self) -> dict[str, Any]:
        """What `metalgen bench --json` prints."""
        return {
            "model": self.model,
            "device": self.device,
            "problems": len(self.rows),
            "controls": len(self.rows) - len(self.counted),
            "accepted": sum(row.is_accepted for row in self.counted),
            "geometric_mean": self.geometric_mean,
            "spent": self.spent.to_json(),
            "fast_p": {str(p): self.fast(p) for p in FAST_P},
            "rows": [
                {
                    "problem": row.problem,
                    "accepted": row.is_accepted,
                    "attempts": row.attempts,
                    "speedup": row.speedup,
                    "candidate_us": row.candidate_us,
                    "eager_us": row.eager_us,
                    "reason": row.reason,
                    "control": row.is_control,
                    "seconds": round(row.seconds, 2),
                    "spent": row.spent.to_json(),
                }
                for row in self.rows
            ],
        }


def find_problems(folder: Path) -> list[Path]:
    """Problem files below a folder, by path; ProblemError where there are none."""
    if folder.is_file():
        return [folder]
    found = sorted(p for p in folder.rglob("*.py") if not p.name.startswith(("_", ".")))
    if not found:
        raise ProblemError(f"no problem files (*.py) in '{folder}'")
    return found


class _Shared:
    """A proposer that threads take turns with: PyTorch's export is not made for several at once."""

    def __init__(self, proposer: Proposer) -> None:
        self.name = proposer.name
        if isinstance(proposer, Priced):
            self.price = proposer.price
        self._proposer = proposer
        self._turn = threading.Lock()

    def propose(self, problem: Problem, history: Sequence[Attempt]) -> Reply:
        with self._turn:
            return self._proposer.propose(problem, history)


def run_bench(
    problems: Sequence[Path],
    proposer: Proposer,
    *,
    attempts: int = 5,
    allow_aten: bool = True,
    jobs: int = 1,
    limits: Limits | None = None,
    out: Path | None = None,
    device: str | None = None,
    budget: Budget | None = None,
) -> Iterator[Row]:
    """Rows in the order of `problems`, each as soon as it and those before it are done.

    Several jobs disturb one another's timing: figures worth keeping come from one. `budget` is for
    all problems together.
    """
    shared = proposer if jobs == 1 else _Shared(proposer)
    evaluators: list[Evaluator] = []
    local = threading.local()
    spending = Spending(budget)

    def run(path: Path) -> Row:
        if not hasattr(local, "evaluator"):
            local.evaluator = Evaluator(limits or Limits(), device=device or default_device())
            evaluators.append(local.evaluator)
        folder = None if out is None else out / path.parent.name / path.stem
        settings = Settings(attempts, allow_aten, False, folder, spending)
        return _row(local.evaluator, path, shared, settings)

    try:
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            yield from pool.map(run, problems)
    finally:
        for evaluator in evaluators:
            evaluator.stop()


def _row(evaluator: Evaluator, path: Path, proposer: Proposer, settings: Settings) -> Row:
    started = time.perf_counter()
    try:
        result = generate_with(evaluator, path, [proposer], settings, Silent())
    except MetalgenError as error:
        return Row(path.stem, 0, None, None, None, str(error), False, 0.0)
    seconds = time.perf_counter() - started
    if result.best is None:
        return Row(
            problem=path.stem,
            attempts=len(result.attempts),
            speedup=None,
            candidate_us=None,
            eager_us=None,
            reason=_reason(result),
            is_control=False,
            seconds=seconds,
            spent=result.spent,
        )
    verdict = result.best.verdict
    return Row(
        problem=path.stem,
        attempts=len(result.attempts),
        speedup=verdict.speedup,
        candidate_us=verdict.candidate_us,
        eager_us=verdict.eager_us,
        reason=None,
        is_control=result.best.is_control,
        seconds=seconds,
        spent=result.spent,
    )


def _reason(result: Result) -> str:
    """The last rejection, or why there was no attempt."""
    from metalgen.proposers import Rejected

    for record in reversed(result.attempts):
        if isinstance(record.verdict, Rejected):
            return f"{record.verdict.stage}: {record.verdict.reason.splitlines()[0]}"
    return result.stopped[-1].reason if result.stopped else "no attempt was made"
