"""What a proposer is given and what it answers; whoever writes kernels implements `Proposer`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from types import TracebackType

    from metalgen.problem import Problem
    from metalgen.proposers.models import Price
    from metalgen.proposers.patience import Turn
    from metalgen.proposers.prompts import Message, Prompts

Stage = Literal["reply", "plan", "compile", "launch", "verify"]


@dataclass(frozen=True, slots=True)
class Reply:
    """A proposer's answer: a fenced `metal` block and a fenced `json` block (the plan).

    `cost` is in US dollars; it and the counts are None where they are not known. `response` is what
    a service answered, as it came.
    """

    text: str
    prompt: str = ""
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    cost: float | None = 0.0
    response: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A candidate that computes what the module computes; times are medians in microseconds.

    `warnings` are the compiler's about its source, a line each.
    """

    candidate_us: float
    eager_us: float
    device: str
    aten_steps: int = 0
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def speedup(self) -> float:
        """How many times faster than eager PyTorch on the same device."""
        return self.eager_us / self.candidate_us if self.candidate_us > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a candidate failed, worded for whoever must repair it."""

    stage: Stage
    reason: str
    warnings: tuple[str, ...] = ()


Verdict = Accepted | Rejected


@dataclass(frozen=True, slots=True)
class Fastest:
    """Of several attempts the fastest accepted one: its number, from 1, and its verdict."""

    number: int
    verdict: Accepted


def fastest_of(verdicts: Sequence[Verdict]) -> Fastest | None:
    """The first of the fastest; None where none was accepted."""
    accepted = [
        Fastest(number, verdict)
        for number, verdict in enumerate(verdicts, start=1)
        if isinstance(verdict, Accepted)
    ]
    return max(accepted, key=lambda each: each.verdict.speedup, default=None)


@dataclass(frozen=True, slots=True)
class Shared:
    """The fastest accepted candidate so far, whoever wrote it: what a swarm shows its members."""

    model: str
    source: str
    plan: str  # JSON
    verdict: Accepted


@dataclass(frozen=True, slots=True)
class Attempt:
    """One reply, what became of it, and what else its author was told then.

    `hints` are what a profile of the candidate suggests, `shared` the best candidate of a swarm.
    """

    reply: Reply
    verdict: Verdict
    hints: str | None = None
    shared: Shared | None = None


class Proposer(Protocol):
    """Writes candidates for a problem, better ones when shown what became of earlier ones."""

    @property
    def name(self) -> str:
        """What reports call it: "builtin", a model's name."""
        ...

    def propose(self, problem: Problem, history: Sequence[Attempt]) -> Reply:
        """The next reply; `history` holds this proposer's earlier attempts, oldest first.

        Raises ProposalError for a reply that is unusable (counts as an attempt, the next may be
        better), UnsupportedError when it has nothing (more) to offer, ProviderError when the
        service behind it fails.
        """
        ...


@runtime_checkable
class Priced(Protocol):
    """A proposer whose replies are paid for."""

    @property
    def price(self) -> Price | None:
        """What tokens cost; None where that is not known."""
        ...


class Chat(Protocol):
    """A language model that answers conversations; open within `async with`."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    @property
    def price(self) -> Price | None:
        """What tokens cost; None where that is not known."""
        ...

    @property
    def service(self) -> str:
        """Who answers: those with the same share its limits."""
        ...

    @property
    def has_vision(self) -> bool:
        """Whether it reads pictures."""
        ...

    def request(self, messages: Sequence[Message]) -> str:
        """What is asked, as text: what replies are kept by."""
        ...

    async def ask(self, messages: Sequence[Message], turn: Turn | None = None) -> Reply:
        """The answer; `turn` says when it may be asked. Raises ProviderError."""
        ...

    async def __aenter__(self) -> Chat:
        """Open its connections."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close them."""
        ...


@runtime_checkable
class Conversational(Protocol):
    """A proposer whose replies are a language model's: asked side by side, shown contexts."""

    @property
    def chat(self) -> Chat:
        """The model."""
        ...

    @property
    def prompts(self) -> Prompts:
        """What it is sent."""
        ...
