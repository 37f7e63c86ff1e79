"""From PyTorch problems to verified Metal kernels: attempts, verdicts, kept artefacts."""

from metalgen.generation.budget import Budget, Spending, Spent
from metalgen.generation.candidate import Candidate, parse_reply
from metalgen.generation.loop import Interrupted, Means, begin, conduct, generate
from metalgen.generation.report import Report, Silent
from metalgen.generation.result import AttemptRecord, Result
from metalgen.generation.sandbox import Limits
from metalgen.generation.study import Settings, Task

__all__ = [
    "AttemptRecord",
    "Budget",
    "Candidate",
    "Interrupted",
    "Limits",
    "Means",
    "Report",
    "Result",
    "Settings",
    "Silent",
    "Spending",
    "Spent",
    "Task",
    "begin",
    "conduct",
    "generate",
    "parse_reply",
]
