"""Runs as they are kept: every problem, call and attempt of a study, and the files they made."""

from metalgen.runs.reading import StoredRun, open_run
from metalgen.runs.records import (
    AttemptRow,
    CallRow,
    Job,
    JobRow,
    ProblemRow,
    RunInfo,
    RunRecords,
)
from metalgen.runs.store import RunStore

__all__ = [
    "AttemptRow",
    "CallRow",
    "Job",
    "JobRow",
    "ProblemRow",
    "RunInfo",
    "RunRecords",
    "RunStore",
    "StoredRun",
    "open_run",
]
