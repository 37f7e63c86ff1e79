"""Read a kept candidate back, from a run's directory or from a reply in a file."""

from __future__ import annotations

import json
from pathlib import Path

from metalgen.errors import ProblemError, ProposalError
from metalgen.generation.candidate import Candidate, parse_reply
from metalgen.plan import parse_plan


def read_candidate(path: Path) -> Candidate:
    """The candidate in a run's directory, in its `best`, or in a file that holds a reply.

    Raises ProposalError where there is none, PlanError where its plan is malformed.
    """
    if path.is_file():
        return parse_reply(path.read_text(encoding="utf-8", errors="replace"))
    for folder in (path, path / "best"):
        source, plan = folder / "kernels.metal", folder / "plan.json"
        if source.is_file() and plan.is_file():
            return Candidate(source.read_text(encoding="utf-8"), parse_plan(plan.read_bytes()))
    raise ProposalError(
        f"no candidate at '{path}'; expected a folder with kernels.metal and plan.json, or a file"
        f" with a reply"
    )


def problem_of(path: Path) -> Path:
    """The problem file that a kept candidate's manifest names; ProblemError where there is none."""
    for folder in (path, path / "best"):
        manifest = folder / "manifest.json"
        if manifest.is_file():
            return Path(json.loads(manifest.read_text(encoding="utf-8"))["problem"]["path"])
    raise ProblemError(f"'{path}' has no manifest that names its problem; give it with --problem")
