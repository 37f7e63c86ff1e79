"""Candidates judged in a worker process: whatever they do there ends as a verdict here."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metalgen.errors import ProblemError, UnsupportedError
from metalgen.generation.candidate import Candidate
from metalgen.generation.sandbox import Failed, Limits, Worker
from metalgen.problem import Problem
from metalgen.problem.source import read_problem_file
from metalgen.profile import Profile
from metalgen.proposers import Accepted, Rejected

_HINTS = {
    "timed out": "does a loop never end, or do some threads wait where others never come?",
    "crashed": "it probably reads or writes outside of a buffer",
    "was killed": "it probably needs too much memory",
    "used up": "does a loop never end?",
}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A verdict; for an accepted candidate with the metallib and what was measured."""

    verdict: Accepted | Rejected
    metallib: bytes = b""
    details: Mapping[str, Any] | None = None
    is_control: bool = False


class Evaluator:
    """Opens problems and judges candidates in one warm worker process."""

    def __init__(
        self,
        limits: Limits,
        *,
        device: str = "cpu",
        on_step: Callable[[str, str], None] = lambda step, detail: None,
        room: Path | None = None,
    ) -> None:
        self._on_step = on_step
        self._launched = False
        self._steps: list[tuple[str, str, float]] = []
        self._worker = Worker(limits, device=device, on_step=self._step, room=room)
        self._limits = limits
        self.device: dict[str, Any] = {}

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the worker process; the next question starts another."""
        self._worker.stop()

    def close(self) -> None:
        """End the worker process for good, from any thread; what it was asked fails."""
        self._worker.close()

    def open(self, path: Path) -> Problem:
        """Load and describe a problem file; ProblemError where it is bad."""
        read_problem_file(path)  # a wrong path is told of without starting a process
        answer = self._worker.ask({"do": "describe", "path": str(path.resolve())})
        if isinstance(answer, Failed):
            raise ProblemError(f"'{path}' {answer.reason} while it was loaded and run once")
        if "error" in answer:
            # The child knows the absolute path, the user the one they typed.
            raise ProblemError(str(answer["error"]).replace(str(path.resolve()), str(path)))
        self.device = answer["device"]
        return Problem.from_json(answer["problem"])

    def control_reason(self, problem: Problem) -> str | None:
        """Why accepting a candidate for the problem would prove nothing; None where it would.

        Raises ProblemError where the reference fails.
        """
        answer = self._worker.ask({"do": "control", "problem": problem.to_json()})
        if isinstance(answer, Failed):
            raise ProblemError(f"'{problem.path}' {answer.reason} while its reference ran")
        if "error" in answer:
            raise ProblemError(str(answer["error"]))
        reason: str | None = answer["reason"]
        return reason

    def evaluate(
        self, problem: Problem, candidate: Candidate, *, allow_aten: bool = True
    ) -> Evaluation:
        """The verdict on a candidate; ProblemError where the reference itself fails."""
        self._steps.clear()
        answer = self._judged(problem, candidate, allow_aten=allow_aten, is_timed=True)
        steps = _spans(self._steps, time.time())
        if isinstance(answer, Failed):
            rejected = self._rejected(answer, problem)
            return Evaluation(rejected, details={**self._warned(), "steps": steps})
        found = self._verdict(answer)
        return replace(found, details={**(found.details or {}), "steps": steps})

    def rejection(
        self, problem: Problem, candidate: Candidate, *, allow_aten: bool = True
    ) -> Rejected | None:
        """What is wrong with a candidate, which is not timed; None where it is right."""
        answer = self._judged(problem, candidate, allow_aten=allow_aten, is_timed=False)
        if isinstance(answer, Failed):
            return self._rejected(answer, problem)
        if "verified" in answer:
            return None
        verdict = self._verdict(answer).verdict
        assert isinstance(verdict, Rejected)
        return verdict

    def _judged(
        self, problem: Problem, candidate: Candidate, **how: bool
    ) -> dict[str, Any] | Failed:
        request = {
            "do": "judge",
            "problem": problem.to_json(),
            "source": candidate.source,
            "plan": candidate.plan.model_dump(mode="json", exclude_defaults=True),
            # Every core may be busy all the time; the wall-clock limits end things earlier.
            "processor_seconds": 64 * (self._limits.launch_s + 60),
            **how,
        }
        answer = self._ask(request)
        if isinstance(answer, Failed) and not self._is_candidates_fault(answer):
            # An earlier candidate may have damaged the process: ask a new one before judging.
            answer = self._ask(request)
        return answer

    def profile(self, problem: Problem, candidate: Candidate, metallib: bytes) -> Profile:
        """Why an accepted candidate is as slow as it is.

        Raises UnsupportedError where it cannot be profiled.
        """
        request = {
            "do": "profile",
            "problem": problem.to_json(),
            "source": candidate.source,
            "plan": candidate.plan.model_dump(mode="json", exclude_defaults=True),
            "metallib": base64.b64encode(metallib).decode(),
        }
        answer = self._worker.ask(request)
        if isinstance(answer, Failed):
            raise UnsupportedError(f"not supported: the profile {answer.reason}")
        if "error" in answer:
            raise UnsupportedError(f"not supported: {answer['error']}")
        return Profile.from_json(answer["profile"])

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any] | Failed:
        self._launched = False
        return self._worker.ask(request)

    def _step(self, step: str, detail: str) -> None:
        self._launched |= step == "launch"
        self._steps.append((step, detail, time.time()))
        self._on_step(step, detail)

    def _is_candidates_fault(self, failed: Failed) -> bool:
        return failed.step in ("compile", "translate") or self._launched

    def _rejected(self, failed: Failed, problem: Problem) -> Rejected:
        rejected = _rejected(failed, problem, self._is_candidates_fault(failed))
        return replace(rejected, warnings=self._worker.warnings)

    def _warned(self) -> dict[str, Any]:
        warnings = self._worker.warnings
        return {"warnings": list(warnings)} if warnings else {}

    def _verdict(self, answer: Mapping[str, Any]) -> Evaluation:
        if "error" in answer:
            raise ProblemError(str(answer["error"]))
        if answer.get("overrun"):
            self._worker.stop()
        warnings = self._worker.warnings
        if "rejected" in answer:
            rejected = answer["rejected"]
            verdict = Rejected(rejected["stage"], rejected["reason"], warnings)
            return Evaluation(verdict, details=self._warned())
        accepted = answer["accepted"]
        timing = accepted["timing"]
        accepted_verdict = Accepted(
            candidate_us=timing["candidate_us"],
            eager_us=timing["eager_us"],
            device=self.device.get("name", "unknown"),
            aten_steps=accepted["aten_steps"],
            notes=tuple(accepted["notes"]),
            warnings=warnings,
        )
        details = {
            "timing": timing,
            "cases": accepted["cases"],
            "deterministic": accepted["is_deterministic"],
            **self._warned(),
        }
        metallib = base64.b64decode(accepted["metallib"])
        return Evaluation(accepted_verdict, metallib, details, accepted["is_control"])


def _spans(steps: Sequence[tuple[str, str, float]], end: float) -> list[list[object]]:
    """What judging did, for traces: each [step, detail, when it began, seconds]."""
    ends = [*(began for _, _, began in steps[1:]), end]
    return [
        [step, detail, round(began, 6), round(until - began, 6)]
        for (step, detail, began), until in zip(steps, ends, strict=True)
    ]


def _rejected(failed: Failed, problem: Problem, is_candidates_fault: bool) -> Rejected:
    if not is_candidates_fault:
        raise ProblemError(
            f"'{problem.path}' {failed.reason} while its reference ran ({failed.step})"
        )
    hint = next((text for start, text in _HINTS.items() if failed.reason.startswith(start)), "")
    where = f" (on {failed.detail})" if failed.detail else ""
    stage = "compile" if failed.step in ("compile", "translate") else "launch"
    what = "the compiler" if stage == "compile" else "the candidate"
    reason = f"{what} {failed.reason}{where}" + (f"; {hint}" if hint and stage == "launch" else "")
    return Rejected("compile" if stage == "compile" else "launch", reason)
