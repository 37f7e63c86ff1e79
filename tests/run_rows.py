"""Rows of runs that several tests share."""

from __future__ import annotations

from typing import Any

from metalgen.runs import AttemptRow, Job, ProblemRow, RunInfo, RunStore

JOB = Job("add", "m")


def info(**changes: Any) -> RunInfo:
    """A run that has just started."""
    values: dict[str, Any] = {
        "id": "run-1",
        "started": 1000.0,
        "ended": None,
        "command": ("generate", "add.py"),
        "settings": {"attempts": 5},
        "device": {"name": "software device"},
    }
    return RunInfo(**{**values, **changes})


def problem(name: str = "add", **changes: Any) -> ProblemRow:
    """A problem that was not opened yet."""
    values: dict[str, Any] = {"name": name, "source": "class Model: ...", "sha256": "0" * 64}
    return ProblemRow(**{**values, **changes})


def attempt(number: int = 1, job: Job = JOB, **changes: Any) -> AttemptRow:
    """An accepted attempt."""
    values: dict[str, Any] = {
        "problem": job.problem,
        "model": job.model,
        "context": job.context,
        "phase": "functional",
        "number": number,
        "started": 1000.0 + number,
        "call_seconds": 1.5,
        "seconds": 2.5,
        "prompt": '[{"role": "user", "content": "ü"}]',
        "reply": "a reply",
        "stage": None,
        "reason": None,
        "candidate_us": 10.0,
        "eager_us": 20.0,
        "notes": ("a note",),
        "details": {"cases": ["as given"]},
    }
    return AttemptRow(**{**values, **changes})


def store_in(folder: Any, jobs: tuple[Job, ...] = (JOB,)) -> RunStore:
    """A new run with these jobs."""
    names = dict.fromkeys(job.problem for job in jobs)
    return RunStore.create(folder, info(), [problem(name) for name in names], jobs)
