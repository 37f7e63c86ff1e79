"""What a run may spend on language models, and what it has spent; `refusal` is the one check."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from metalgen.proposers import Accepted, Priced, Reply, Verdict
from metalgen.runs.records import Phase

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits to all models and problems of a run together; None is no limit.

    They are held before every question, so that the last answer may go over them.
    """

    cost: float | None = None  # US dollars
    tokens: int | None = None  # read and written
    seconds: float | None = None  # of wall time, from when the run is begun or continued


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens read and written, and US dollars; None where a part of it is not known."""

    input_tokens: int | None = 0
    output_tokens: int | None = 0
    cost: float | None = 0.0

    @classmethod
    def on(cls, replies: Iterable[Reply]) -> Spent:
        """What replies took together."""
        spent = cls()
        for reply in replies:
            spent = spent.plus(cls(reply.input_tokens, reply.output_tokens, reply.cost))
        return spent

    def plus(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(
            _sum(self.input_tokens, other.input_tokens),
            _sum(self.output_tokens, other.output_tokens),
            _sum(self.cost, other.cost),
        )

    @property
    def tokens(self) -> int | None:
        """Read and written."""
        return _sum(self.input_tokens, self.output_tokens)

    @property
    def is_free(self) -> bool:
        """Whether no service was asked."""
        return self == Spent()

    def to_json(self) -> dict[str, Any]:
        """The figures by name."""
        return asdict(self)

    def __str__(self) -> str:
        cost = "an unknown cost" if self.cost is None else f"${self.cost:.4f}"
        if self.input_tokens is None or self.output_tokens is None:
            return f"{cost}, an unknown number of tokens"
        return f"{cost}, {self.input_tokens:,} tokens read and {self.output_tokens:,} written"


def phase_after(verdicts: Sequence[Verdict], attempts: int, rounds: int) -> Phase | None:
    """What a job does next: up to `attempts` until one is accepted, then `rounds` for more speed.

    None where it is done.
    """
    accepted = [i for i, verdict in enumerate(verdicts) if isinstance(verdict, Accepted)]
    if not accepted:
        return "functional" if len(verdicts) < attempts else None
    return "optimisation" if len(verdicts) - 1 - accepted[0] < rounds else None


class Spending:
    """A run's budget, what is left of it, and whose turn it is to spend.

    Where money or tokens are limited, a question waits while those under way may use up the rest,
    by the dearest answers so far: side by side they go over the budget by no more than one would.
    """

    def __init__(self, budget: Budget | None = None, spent: Spent | None = None) -> None:
        self.budget = budget or Budget()
        self.spent = spent or Spent()
        self._started = time.monotonic()
        self._under_way: Counter[str] = Counter()
        self._dearest: dict[str, Spent] = {}
        self._settled = asyncio.Event()

    async def admit(self, name: str, proposer: object) -> str | None:
        """Wait for a turn; why there is none, or None, and then `settle` must follow."""
        while True:
            refusal = self.refusal(name, proposer)
            if refusal is not None:
                return refusal
            if not self._must_wait():
                self._under_way[name] += 1
                return None
            self._settled.clear()
            await self._settled.wait()

    def settle(self, name: str, reply: Reply | None) -> None:
        """Count a reply, or that there was none."""
        self._under_way[name] -= 1
        if reply is not None:
            spent = Spent.on([reply])
            self.spent = self.spent.plus(spent)
            self._dearest[name] = _dearer(spent, self._dearest.get(name, Spent()))
        self._settled.set()

    def refusal(self, name: str, proposer: object) -> str | None:
        """Why `proposer` must not be asked again; None where it may."""
        budget, spent = self.budget, self.spent
        passed = time.monotonic() - self._started
        if budget.seconds is not None and passed >= budget.seconds:
            return f"the time is used up: {passed:.0f} of {budget.seconds:.0f} s (--max-seconds)"
        is_paid = isinstance(proposer, Priced)
        if budget.cost is not None:
            if spent.cost is None or (isinstance(proposer, Priced) and proposer.price is None):
                return (
                    f"what '{name}' costs is not known, so --max-cost cannot be kept; add "
                    f"its price to the file that METALGEN_MODELS names, or use --max-tokens"
                )
            # A budget of nothing is enough for what costs nothing.
            if spent.cost >= budget.cost and (spent.cost or is_paid):
                return f"the budget is used up: ${spent.cost:.4f} of ${budget.cost:.4f}"
        if budget.tokens is not None:
            if spent.tokens is None:
                return "the service does not count tokens, so --max-tokens cannot be kept"
            if spent.tokens >= budget.tokens and (spent.tokens or is_paid):
                return f"the budget is used up: {spent.tokens:,} of {budget.tokens:,} tokens"
        return None

    def _must_wait(self) -> bool:
        budget = self.budget
        if (budget.cost is None and budget.tokens is None) or not self._under_way.total():
            return False
        if not self._dearest:  # nobody knows yet what an answer takes
            return True
        dearest = functools.reduce(_dearer, self._dearest.values())
        expected = self.spent
        for other, count in self._under_way.items():
            for _ in range(count):
                expected = expected.plus(self._dearest.get(other, dearest))
        return _reaches(expected.cost, budget.cost) or _reaches(expected.tokens, budget.tokens)


def _reaches(amount: float | None, limit: float | None) -> bool:
    return limit is not None and amount is not None and amount >= limit


def _dearer(left: Spent, right: Spent) -> Spent:
    return max(left, right, key=lambda spent: (spent.cost or 0.0, spent.tokens or 0))


def _sum(left: Number | None, right: Number | None) -> Number | None:
    return None if left is None or right is None else left + right
