"""What a run may spend on language models, and what it has spent; `refusal` is the one check."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from metalgen.proposers import Priced, Proposer, Reply

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits to all models and problems of a run together; None is no limit.

    They are held before every question, so that the last answer may go over them.
    """

    cost: float | None = None  # US dollars
    tokens: int | None = None  # read and written


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


class Spending:
    """A run's budget and what is left of it; threads may share it."""

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self.spent = Spent()
        self._lock = threading.Lock()

    def add(self, reply: Reply) -> None:
        """Count a reply."""
        with self._lock:
            self.spent = self.spent.plus(Spent.on([reply]))

    def refusal(self, proposer: Proposer) -> str | None:
        """Why `proposer` must not be asked again; None where it may."""
        budget, spent = self.budget, self.spent
        is_paid = isinstance(proposer, Priced)
        if budget.cost is not None:
            if spent.cost is None or (isinstance(proposer, Priced) and proposer.price is None):
                return (
                    f"what '{proposer.name}' costs is not known, so --max-cost cannot be kept; add "
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


def _sum(left: Number | None, right: Number | None) -> Number | None:
    return None if left is None or right is None else left + right
