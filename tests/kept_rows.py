"""Runs made of rows, as a store would give them: what figures and reports are tested on."""

from __future__ import annotations

from dataclasses import dataclass, field

from metalgen.errors import RunError
from metalgen.runs import AttemptRow, CallRow, Job, JobRow, ProblemRow, RunInfo, RunStore

STARTED = 1_750_000_000.0
DEVICE = {"name": "software device", "host": "Linux x86_64", "torch": "2.13.0", "torch_threads": 2}


def info(**changes):
    values = {
        "id": "run-1",
        "started": STARTED,
        "ended": STARTED + 600,
        "command": ("metalgen", "bench", "problems"),
        "settings": {"attempts": 5},
        "device": DEVICE,
    }
    return RunInfo(**{**values, **changes})


def problem(name, level=1, **changes):
    return ProblemRow(name, f"# {name}\n", "0" * 64, level, **changes)


def attempt(name, model="m", number=1, speedup=None, **changes):
    """An attempt that was accepted, with this speedup over 100 us of eager, or refused."""
    verdict = {"stage": "verify", "reason": "output 'y': 3 of 8 elements are wrong"}
    if speedup is not None:
        verdict = {"stage": None, "reason": None, "candidate_us": 100 / speedup, "eager_us": 100.0}
    values = {
        "problem": name,
        "model": model,
        "context": "plain",
        "phase": "functional",
        "number": number,
        "started": STARTED + number,
        "call_seconds": 0.5,
        "seconds": 1.0,
        "prompt": "write a kernel",
        "reply": "```metal\nkernel void f() {}\n```\n",
        "metal_steps": 1,
        "input_tokens": 100,
        "output_tokens": 50,
        "cost": 0.01,
        **verdict,
    }
    return AttemptRow(**{**values, **changes})


@dataclass
class Rows:
    """A run in memory; implements `RunRecords`."""

    info: RunInfo
    problem_rows: list[ProblemRow]
    attempt_rows: list[AttemptRow]
    call_rows: list[CallRow] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    job_rows: list[JobRow] = field(default_factory=list)

    def problems(self):
        return tuple(self.problem_rows)

    def jobs(self):
        jobs = dict.fromkeys(Job(a.problem, a.model, a.context) for a in self.attempt_rows)
        return (*self.job_rows, *(JobRow(job, "finished") for job in jobs))

    def calls(self):
        return tuple(self.call_rows)

    def attempts(self):
        return tuple(self.attempt_rows)

    def artefact(self, sha256):
        if sha256 not in self.files:
            raise RunError(f"no file {sha256}")
        return self.files[sha256]


def stored(rows, folder):
    """The rows in a run's folder."""
    jobs = [row.job for row in rows.jobs()]
    store = RunStore.create(folder, rows.info, rows.problem_rows, jobs)
    for attempt in rows.attempt_rows:
        files = {name: rows.files[sha256] for name, sha256 in attempt.artefacts.items()}
        store.add_attempt(attempt, files)
    for row in rows.jobs():
        store.settle(row.job, row.state, row.reason)
    store.close()
    return folder
