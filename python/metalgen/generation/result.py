"""What a run gave: every attempt with its verdict, the best candidate, the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metalgen.generation.budget import Spent
from metalgen.generation.candidate import Candidate
from metalgen.generation.record import sha256
from metalgen.problem import Problem
from metalgen.proposers import Accepted, Attempt, Rejected, Reply, Shared, Verdict
from metalgen.runs.records import Phase


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt as it is kept: who wrote what, what became of it, how long it took.

    `hints` and `shared` are what its author was told after the verdict, besides it.
    """

    model: str
    number: int
    reply: Reply
    verdict: Verdict
    seconds: float
    details: Mapping[str, Any] = field(default_factory=dict)
    context: str = "plain"
    phase: Phase = "functional"
    started: float = 0.0  # seconds since the epoch
    call_seconds: float = 0.0
    hints: str | None = None
    shared: Shared | None = None

    @property
    def attempt(self) -> Attempt:
        """What the proposer is shown of it."""
        return Attempt(self.reply, self.verdict, self.hints, self.shared)

    def to_json(self) -> dict[str, Any]:
        """A line of attempts.jsonl."""
        return {
            "model": self.model,
            "attempt": self.number,
            "context": self.context,
            "phase": self.phase,
            "verdict": verdict_json(self.verdict),
            "seconds": round(self.seconds, 3),
            "input_tokens": self.reply.input_tokens,
            "output_tokens": self.reply.output_tokens,
            "cost": self.reply.cost,
            "prompt_sha256": sha256(self.reply.prompt) if self.reply.prompt else None,
            "reply": self.reply.text,
            **self.details,
        }


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict as plain objects."""
    told = {"warnings": list(verdict.warnings)} if verdict.warnings else {}
    if isinstance(verdict, Rejected):
        return {"verdict": "rejected", "stage": verdict.stage, "reason": verdict.reason, **told}
    return {
        "verdict": "accepted",
        "candidate_us": verdict.candidate_us,
        "eager_us": verdict.eager_us,
        "speedup": verdict.speedup,
        "device": verdict.device,
        "aten_steps": verdict.aten_steps,
        "notes": list(verdict.notes),
        **told,
    }


def verdict_of_json(plain: Mapping[str, Any]) -> Verdict:
    """What `verdict_json` gave."""
    warnings = tuple(plain.get("warnings", ()))
    if plain["verdict"] == "rejected":
        return Rejected(plain["stage"], plain["reason"], warnings)
    return Accepted(
        candidate_us=plain["candidate_us"],
        eager_us=plain["eager_us"],
        device=plain["device"],
        aten_steps=plain["aten_steps"],
        notes=tuple(plain["notes"]),
        warnings=warnings,
    )


@dataclass(frozen=True, slots=True)
class Best:
    """The fastest accepted candidate and its evidence."""

    record: AttemptRecord
    verdict: Accepted
    candidate: Candidate
    metallib: bytes
    is_control: bool


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why a model made no further attempt: a service that failed, or nothing (more) to offer."""

    model: str
    reason: str
    is_provider_error: bool
    context: str = "plain"


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run."""

    problem: Problem
    attempts: tuple[AttemptRecord, ...]
    best: Best | None
    stopped: tuple[Stopped, ...]
    device: Mapping[str, Any]
    directory: Path | None

    @property
    def is_accepted(self) -> bool:
        """Whether any candidate was accepted."""
        return self.best is not None

    @property
    def spent(self) -> Spent:
        """What all attempts took together."""
        return Spent.on(record.reply for record in self.attempts)

    def to_json(self) -> dict[str, Any]:
        """What `metalgen generate --json` prints."""
        best = self.best
        return {
            "problem": self.problem.name,
            "problem_sha256": self.problem.sha256,
            "accepted": self.is_accepted,
            "control": best is not None and best.is_control,
            "best": None
            if best is None
            else {
                "model": best.record.model,
                "attempt": best.record.number,
                "context": best.record.context,
                **verdict_json(best.verdict),
            },
            "attempts": [_summary(record) for record in self.attempts],
            "stopped": [{"model": s.model, "reason": s.reason} for s in self.stopped],
            "spent": self.spent.to_json(),
            "notes": list(self.problem.notes),
            "device": dict(self.device),
            "directory": None if self.directory is None else str(self.directory),
        }


def _summary(record: AttemptRecord) -> dict[str, Any]:
    line = record.to_json()
    del line["reply"]
    return line
