"""From a PyTorch problem to a verified Metal kernel: attempts, verdicts, kept artefacts."""

from metalgen.generation.budget import Budget, Spending, Spent
from metalgen.generation.candidate import Candidate, parse_reply
from metalgen.generation.loop import generate
from metalgen.generation.report import Report, Silent
from metalgen.generation.result import AttemptRecord, Result
from metalgen.generation.sandbox import Limits

__all__ = [
    "AttemptRecord",
    "Budget",
    "Candidate",
    "Limits",
    "Report",
    "Result",
    "Silent",
    "Spending",
    "Spent",
    "generate",
    "parse_reply",
]
