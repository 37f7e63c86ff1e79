"""Predicted times of launch plans on chips that are not here, to rank variants by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from metalgen.air import Metallib
from metalgen.chips import Chip, Estimate, find_chip, predict
from metalgen.errors import PlanError
from metalgen.plan import LaunchPlan, parse_plan
from metalgen.plan.expression import TensorType
from metalgen.profile.figures import DispatchFigures, figures
from metalgen.profile.launches import Launch, launches
from metalgen.profile.static_runs import static_runs

Sizes = Mapping[str, TensorType | int | float | tuple[tuple[int, ...], str]]
Name = TypeVar("Name")


def estimate(
    metallib: bytes | Metallib, plan: LaunchPlan | str, sizes: Sizes, chip: Chip | str
) -> Estimate:
    """What a chip would take for a plan's dispatches, from their AIR; nothing is run.

    `sizes` has every input and parameter by name, as `TensorType(shape, dtype)` or
    `(shape, dtype)`, and the values of inputs that are numbers. Steps marked `once` and ATen
    operators are left out; the latter are named in `notes`. Raises PlanError, MetallibError and
    UnsupportedError as running the plan would.
    """
    parsed = plan if isinstance(plan, LaunchPlan) else parse_plan(plan)
    known = find_chip(chip) if isinstance(chip, str) else chip
    every = static_figures(metallib, parsed, sizes)
    predicted = predict([each.work() for each in every if not each.launch.is_once], known)
    aten = tuple(f"{step.aten} runs in ATen, not counted" for step in parsed.aten_steps)
    return _with_notes(predicted, aten)


def rank(
    variants: Mapping[Name, tuple[bytes | Metallib, LaunchPlan | str]],
    sizes: Sizes,
    chip: Chip | str,
    *,
    by: str = "seconds",
) -> list[tuple[Name, Estimate]]:
    """Variants with their estimates, the best first; `by` is "seconds" or "joules".

    By joules a variant whose energy is unknown comes after those whose is known.
    """
    if by not in ("seconds", "joules"):
        raise PlanError(f"cannot rank by '{by}'; expected seconds or joules")
    known = find_chip(chip) if isinstance(chip, str) else chip
    found = [
        (n, estimate(metallib, plan, sizes, known)) for n, (metallib, plan) in variants.items()
    ]
    return sorted(found, key=lambda pair: _cost(pair[1], by))


def static_figures(
    metallib: bytes | Metallib, plan: LaunchPlan, sizes: Sizes
) -> tuple[DispatchFigures, ...]:
    """The figures of every dispatch from AIR alone, in the plan's order."""
    library = metallib if isinstance(metallib, Metallib) else Metallib(metallib)
    kernels = {name: library.kernel(name) for name in library.names}
    scope = {name: _size(size) for name, size in sizes.items()}
    return tuple(dispatch_figures(library, launch) for launch in launches(plan, kernels, scope))


def dispatch_figures(library: Metallib, launch: Launch) -> DispatchFigures:
    """One dispatch's figures from its kernel's AIR."""
    followed = static_runs(library.bitcode(launch.kernel), launch)
    info = library.kernel(launch.kernel)
    return figures(launch, info, followed.runs, "static", followed.unknowns)


def _size(size: TensorType | float | tuple[tuple[int, ...], str]) -> TensorType | int | float:
    return TensorType(tuple(size[0]), size[1]) if isinstance(size, tuple) else size


def _cost(found: Estimate, by: str) -> tuple[bool, float]:
    cost = found.seconds if by == "seconds" else found.joules
    return cost is None, cost or 0.0


def _with_notes(found: Estimate, more: Sequence[str]) -> Estimate:
    return replace(found, notes=(*found.notes, *more)) if more else found
