"""What a kept run is made of: the rows that figures, reports and traces are computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Phase = Literal["functional", "optimisation"]
Purpose = Literal["proposal", "hints"]
State = Literal["waiting", "finished", "stopped"]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run as a whole: what was asked for, where and with which versions."""

    id: str
    started: float  # seconds since the epoch
    ended: float | None  # None while it runs, or where it was interrupted
    command: tuple[str, ...]
    settings: Mapping[str, Any]
    device: Mapping[str, Any]  # name, host, torch, torch_threads, ... as `measured_on` gives them


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """One problem of a run; `level` is KernelBench's, None elsewhere."""

    name: str
    source: str
    sha256: str
    level: int | None = None
    is_control: bool = False  # its output ignores the inputs: never a win
    control_reason: str | None = None
    notes: tuple[str, ...] = ()
    failure: str | None = None  # why it could not be opened; it then has no attempts
    path: str = ""  # where its file lay
    description: Mapping[str, Any] | None = None  # its tensors, once it was opened


@dataclass(frozen=True, slots=True)
class Job:
    """What is done once in a run: one model on one problem with one context."""

    problem: str
    model: str
    context: str = "plain"


@dataclass(frozen=True, slots=True)
class JobRow:
    """How far a job has come; `reason` says why its model made no further attempt.

    A finished job is never taken up again; one that was stopped, by a budget or a service that
    failed, is when the run is continued. `opening` is the swarm's best that it was shown at first.
    """

    job: Job
    state: State
    reason: str | None = None
    opening: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CallRow:
    """One question to a model and its answer; the request's text is the artefact of its hash.

    `seconds` None: unanswered so far, or when the run was killed. `error` set: the service failed.
    """

    job: Job
    purpose: Purpose
    started: float  # seconds since the epoch
    request_sha256: str
    seconds: float | None = None
    reply: str | None = None
    response_sha256: str | None = None  # of the service's answer as it came
    error: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt of one model on one problem, from the question to the verdict.

    `context` names the extra context that the model was given: "plain", "cuda", "profile" or
    "cuda+profile". Times are microseconds (medians), `cost` US dollars; None where not known.
    Tokens and cost are those of all its calls, a sub-agent's too.
    """

    problem: str
    model: str
    context: str
    phase: Phase
    number: int  # from 1, within problem, model and context
    started: float  # seconds since the epoch
    call_seconds: float  # waiting for the model
    seconds: float  # in all
    prompt: str
    reply: str
    stage: str | None  # where it was rejected: reply, plan, compile, launch, verify; None: accepted
    reason: str | None
    candidate_us: float | None = None
    eager_us: float | None = None
    compiled_us: float | None = None  # torch.compile's default backend, where it ran
    metal_steps: int = 0
    aten_steps: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    artefacts: Mapping[str, str] = field(default_factory=dict)  # file name -> SHA-256 of content
    device: str = ""  # where it was timed
    notes: tuple[str, ...] = ()
    is_control: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)  # evidence: quartiles, cases
    # What the model was told after the verdict, besides it: a profile's hints, a swarm's best.
    hints: str | None = None
    shared: Mapping[str, Any] | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether the candidate computed what the module computes."""
        return self.stage is None

    @property
    def speedup(self) -> float | None:
        """How many times faster than eager; None unless accepted."""
        if self.candidate_us is None or self.eager_us is None or self.candidate_us <= 0:
            return None
        return self.eager_us / self.candidate_us

    @property
    def job(self) -> Job:
        """What it is an attempt at."""
        return Job(self.problem, self.model, self.context)


class RunRecords(Protocol):
    """A run that can be read: a store on disk, or rows made by a test."""

    @property
    def info(self) -> RunInfo:
        """The run as a whole."""
        ...

    def problems(self) -> tuple[ProblemRow, ...]:
        """Its problems, in the order asked for."""
        ...

    def jobs(self) -> tuple[JobRow, ...]:
        """Its jobs, in the order of problems, then models, then contexts."""
        ...

    def calls(self) -> tuple[CallRow, ...]:
        """All questions to models, oldest first."""
        ...

    def attempts(self) -> tuple[AttemptRow, ...]:
        """All attempts, oldest first."""
        ...

    def artefact(self, sha256: str) -> bytes:
        """The content of a kept file; RunError where it is missing."""
        ...
