"""The built-in proposer: kernels from templates, for whatever operators the templates cover."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from metalgen.errors import UnsupportedError
from metalgen.problem import LoadedProblem, Problem
from metalgen.proposers.builtin.assemble import Assembly, assemble
from metalgen.proposers.builtin.capture import Capture, SizeError, captures
from metalgen.proposers.builtin.lower import lower
from metalgen.proposers.builtin.materialize import copied_outputs
from metalgen.proposers.builtin.variants import VARIANTS, Variant
from metalgen.proposers.protocol import Attempt, Reply


@dataclass(frozen=True)
class BuiltinProposer:
    """Answers with fused kernels first, then with plainer ones; deterministic."""

    name: str = "builtin"

    def propose(self, problem: Problem, history: Sequence[Attempt]) -> Reply:
        """A reply for the problem; UnsupportedError names the operators that no template covers."""
        if len(history) >= len(VARIANTS):
            raise UnsupportedError(
                f"not supported: no further variant after {len(VARIANTS)} attempts"
            )
        variant = VARIANTS[len(history)]
        return Reply(reply_text(problem.load(), variant))


def reply_text(problem: LoadedProblem, variant: Variant) -> str:
    """The reply for a loaded problem: a few words, the source, the launch plan."""
    assembly, capture = _first_that_fits(
        problem, lambda capture: assemble(lower_outputs(capture, variant), variant)
    )
    notes = [f"{variant.description} for `{problem.path.stem}`: {assembly.summary}."]
    if capture.mutated:
        notes.append(
            f"Updates of {', '.join(sorted(capture.mutated))} are left out: only outputs count."
        )
    plan = json.dumps(assembly.plan, indent=2)
    return "\n\n".join(
        [" ".join(notes), f"```metal\n{assembly.source}```", f"```json\n{plan}\n```\n"]
    )


def lower_outputs(capture: Capture, variant: Variant) -> list:  # type: ignore[type-arg]
    with variant.applied():
        return copied_outputs(lower(capture))


def _first_that_fits(
    problem: LoadedProblem, build: Callable[[Capture], Assembly]
) -> tuple[Assembly, Capture]:
    """The assembly for the capture that leaves most sizes open."""
    failure: Exception | None = None
    for take in captures(problem):
        try:
            capture = take()
            return build(capture), capture
        except SizeError as error:
            failure = error
        except UnsupportedError as error:
            failure = error
            if "torch.export" not in str(error):
                raise
    assert failure is not None
    if isinstance(failure, SizeError):
        raise UnsupportedError(f"not supported: {failure}") from failure
    raise failure
