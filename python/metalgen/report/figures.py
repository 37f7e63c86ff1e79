"""The figures of a study, each as a function of outcomes with its definition and source.

N is the number of counted problems: those asked for, without controls and without problems that
could not be opened. A problem that was not solved, or not attempted, stays in N. An outcome's speed
is the baseline's median time over the candidate's, for the fastest accepted candidate.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from metalgen.report.outcomes import Outcome, column_of
from metalgen.runs import AttemptRow

# The thresholds of fast_p that KernelBench's authors and the study report.
FAST_P = (0.0, 0.5, 0.8, 1.0, 1.5, 2.0)

Speed = Callable[[AttemptRow], float | None]


def over_eager(attempt: AttemptRow) -> float | None:
    """Speed against eager PyTorch."""
    return attempt.speedup


def over_compiled(attempt: AttemptRow) -> float | None:
    """Speed against torch.compile's default backend; None where that did not run."""
    if attempt.candidate_us is None or attempt.compiled_us is None or attempt.candidate_us <= 0:
        return None
    return attempt.compiled_us / attempt.candidate_us


def correct_by_attempt(outcomes: Sequence[Outcome]) -> tuple[float, ...]:
    """Entry k - 1: the share of N with an accepted candidate among each column's first k attempts.

    Only attempts of the functional phase count, of which there are as many entries as the longest
    job made. Later attempts have seen what was wrong with those before: this is not pass@k.
    """
    numbers = [a.number for o in outcomes for a in o.attempts if a.phase == "functional"]
    firsts = [outcome.first_accepted for outcome in outcomes]
    return tuple(
        sum(first is not None and first <= k for first in firsts) / len(firsts)
        for k in range(1, max(numbers, default=0) + 1)
    )


def fast_p(speeds: Sequence[float | None], p: float) -> float:
    """The share of problems solved and more than `p` times as fast; None is a failure.

    fast_p of KernelBench (Ouyang et al. 2025, arXiv:2502.10517, section 3.3): 1/N * sum of
    1(correct and speed > p); fast_0 is the share solved.
    """
    return sum(speed is not None and speed > p for speed in speeds) / len(speeds) if speeds else 0.0


def geometric_mean(values: Sequence[float]) -> float | None:
    """The N-th root of the product (the mean to use for ratios: Fleming and Wallace 1986)."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The chance that one of `k` samples, drawn without replacement, is correct.

    1 - C(n - c, k) / C(n, k): the unbiased estimator of Chen et al. 2021, arXiv:2107.03374.
    Raises ValueError where there are fewer than `k` samples.
    """
    if not 1 <= k <= samples or not 0 <= correct <= samples:
        raise ValueError(f"pass@{k} of {correct} correct among {samples} samples is not defined")
    return 1 - math.comb(samples - correct, k) / math.comb(samples, k)


def mean_pass_at_k(outcomes: Sequence[Outcome]) -> tuple[float, ...]:
    """Entry k - 1: pass@k, its samples being the jobs (model x context) on each problem.

    A job's attempts depend on one another, jobs do not: k of them drawn at random, at least one
    solves the problem; the mean over all problems. There are as many entries as the problem with
    the fewest jobs has, problems without any left out.
    """
    samples = [
        (len(jobs), len({column_of(a) for a in outcome.attempts if a.is_accepted}))
        for outcome in outcomes
        if (jobs := {column_of(a) for a in outcome.attempts})
    ]
    fewest = min((n for n, _ in samples), default=0)
    return tuple(
        statistics.fmean(pass_at_k(n, c, k) for n, c in samples) for k in range(1, fewest + 1)
    )


@dataclass(frozen=True, slots=True)
class Speeds:
    """How fast the outcomes are beside one baseline.

    `problems` is N without the solved problems on which the baseline was not measured.
    `geometric_mean` and `median` count failures as 1.0; `geometric_mean_correct` and
    `median_correct` are over the solved problems alone, None where there is none.
    `geometric_mean_fallback` is what a user gets who keeps PyTorch wherever it is faster: failures
    and candidates slower than the baseline count as 1.0.
    """

    problems: int
    geometric_mean: float | None
    geometric_mean_correct: float | None
    geometric_mean_fallback: float | None
    median: float | None
    median_correct: float | None
    fast: Mapping[float, float]


def speeds_of(outcomes: Sequence[Outcome], speed: Speed = over_eager) -> Speeds:
    """How fast the best accepted candidates are; `speed` chooses the baseline."""
    bests = [outcome.best for outcome in outcomes]
    # Where the candidate is right but its baseline is not known, there is no speed to count.
    known = [
        value for best in bests if (value := speed(best) if best else None) is not None or not best
    ]
    correct = [value for value in known if value is not None]
    whole = [1.0 if value is None else value for value in known]
    return Speeds(
        problems=len(known),
        geometric_mean=geometric_mean(whole),
        geometric_mean_correct=geometric_mean(correct),
        geometric_mean_fallback=geometric_mean([max(1.0, value) for value in whole]),
        median=statistics.median(whole) if whole else None,
        median_correct=statistics.median(correct) if correct else None,
        fast={p: fast_p(known, p) for p in FAST_P},
    )


@dataclass(frozen=True, slots=True)
class Effort:
    """What the attempts on all counted problems took, failures included.

    `cost` is US dollars, None where any attempt's is not known. A win is a problem solved faster
    than eager. `seconds` is the sum over jobs, whether or not they ran side by side.
    """

    attempts: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    cost_per_solved: float | None
    cost_per_win: float | None
    seconds: float


def effort_of(outcomes: Sequence[Outcome]) -> Effort:
    """Tokens, money and time of all attempts, and money per problem solved and per win."""
    attempts = [attempt for outcome in outcomes for attempt in outcome.attempts]
    costs = [attempt.cost for attempt in attempts]
    cost = None if None in costs else sum(c for c in costs if c is not None)
    solved = sum(outcome.is_solved for outcome in outcomes)
    wins = sum(is_win(outcome) for outcome in outcomes)
    return Effort(
        attempts=len(attempts),
        input_tokens=sum(attempt.input_tokens or 0 for attempt in attempts),
        output_tokens=sum(attempt.output_tokens or 0 for attempt in attempts),
        cost=cost,
        cost_per_solved=None if cost is None or not solved else cost / solved,
        cost_per_win=None if cost is None or not wins else cost / wins,
        seconds=sum(attempt.seconds for attempt in attempts),
    )


def is_win(outcome: Outcome) -> bool:
    """Whether the problem was solved faster than eager."""
    best = outcome.best
    return best is not None and (best.speedup or 0.0) > 1.0


@dataclass(frozen=True, slots=True)
class Steps:
    """Of the best accepted candidates' steps: the share that are Metal kernels, and ATen operators.

    `all_metal` is the share of solved problems without any ATen step; None where none is solved.
    """

    metal: float | None
    aten: float | None
    all_metal: float | None


def steps_of(outcomes: Sequence[Outcome]) -> Steps:
    """Shares of all steps together, a long plan counting for more than a short one."""
    bests = [best for outcome in outcomes if (best := outcome.best) is not None]
    metal = sum(best.metal_steps for best in bests)
    aten = sum(best.aten_steps for best in bests)
    whole = metal + aten
    return Steps(
        metal=metal / whole if whole else None,
        aten=aten / whole if whole else None,
        all_metal=sum(not best.aten_steps for best in bests) / len(bests) if bests else None,
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of one set of outcomes."""

    problems: int
    attempted: int
    solved: int
    wins: int
    correct_by_attempt: tuple[float, ...]
    pass_at_k: tuple[float, ...]
    eager: Speeds
    compiled: Speeds | None  # None where torch.compile was measured on no solved problem
    effort: Effort
    steps: Steps

    @property
    def correct(self) -> float:
        """The share of problems solved (fast_0 against eager)."""
        return self.solved / self.problems if self.problems else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain objects; the thresholds of fast_p become text."""
        plain = asdict(self)
        for speeds in (plain["eager"], plain["compiled"]):
            if speeds is not None:
                speeds["fast_p"] = {f"{p:g}": share for p, share in speeds.pop("fast").items()}
        return {**plain, "correct": self.correct}


def figures_of(outcomes: Sequence[Outcome]) -> Figures:
    """Every figure of these outcomes."""
    bests = [best for outcome in outcomes if (best := outcome.best) is not None]
    has_compiled = any(over_compiled(best) is not None for best in bests)
    return Figures(
        problems=len(outcomes),
        attempted=sum(bool(outcome.attempts) for outcome in outcomes),
        solved=sum(outcome.is_solved for outcome in outcomes),
        wins=sum(is_win(outcome) for outcome in outcomes),
        correct_by_attempt=correct_by_attempt(outcomes),
        pass_at_k=mean_pass_at_k(outcomes),
        eager=speeds_of(outcomes),
        compiled=speeds_of(outcomes, over_compiled) if has_compiled else None,
        effort=effort_of(outcomes),
        steps=steps_of(outcomes),
    )
