"""From a PyTorch problem to a verified Metal kernel: attempts, verdicts, kept artefacts."""

from metalgen.generation.candidate import Candidate, parse_reply
from metalgen.generation.loop import generate
from metalgen.generation.report import Report, Silent
from metalgen.generation.result import AttemptRecord, Result
from metalgen.generation.sandbox import Limits

__all__ = [
    "AttemptRecord",
    "Candidate",
    "Limits",
    "Report",
    "Result",
    "Silent",
    "generate",
    "parse_reply",
]
