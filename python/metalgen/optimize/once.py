"""Which steps of a plan depend on parameters alone: they are done once, what they make is kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from metalgen.errors import UnsupportedError
from metalgen.library import Library
from metalgen.plan import kernels_of
from metalgen.plan.check import step_names, written_names
from metalgen.plan.schema import KernelStep, parse_plan


def mark_once(
    plan: dict[str, Any], library: Library, parameters: Collection[str]
) -> dict[str, Any]:
    """The plan with `once` on every step that may have it, through what such steps make."""
    parsed = parse_plan(plan)
    kernels = kernels_of(library)
    lasting: set[str] = set(parameters)
    steps = [dict(step) for step in plan["steps"]]
    for raw, step in zip(steps, parsed.steps, strict=True):
        written = written_names(step, kernels)
        needed = step_names(step) - written
        sizes = {name for each in written for name in parsed.allocations[each].names}
        is_lasting = needed | sizes <= lasting and not written & parsed.outputs.keys()
        if is_lasting and _writes_alone(written, parsed.steps, kernels):
            raw["once"] = True
            lasting |= written
        else:
            raw.pop("once", None)
    return {**plan, "steps": steps}


def _writes_alone(written: Collection[str], steps: Sequence[Any], kernels: Any) -> bool:
    """Whether one step alone writes these."""
    return all(sum(name in written_names(step, kernels) for step in steps) == 1 for name in written)


def around(
    steps: Sequence[dict[str, Any]], library: Library, name: str, needed: Collection[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The steps that can run before `name` is there, and those that read it, each in order.

    Raises UnsupportedError where one of `needed` is only there afterwards.
    """
    kernels = kernels_of(library)
    tainted = {name}
    before: list[dict[str, Any]] = []
    after: list[dict[str, Any]] = []
    for raw in steps:
        step = KernelStep.model_validate(raw)
        written = written_names(step, kernels)
        if (step_names(step) - written) & tainted:
            tainted |= written
            after.append(raw)
            if late := sorted(written & set(needed)):
                raise UnsupportedError(f"not supported: '{late[0]}' is computed with the result")
        else:
            before.append(raw)
    return before, after
