"""From a plan's expressions to numbers, for one set of shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metalgen.errors import PlanError
from metalgen.plan.expression import Expression, Scope, TensorType, lookup
from metalgen.plan.schema import DTYPES, Allocation, Extent, KernelStep, LaunchPlan


@dataclass(frozen=True, slots=True)
class Geometry:
    """How one kernel is launched: sizes, threadgroup memory in bytes, function constants."""

    keywords: Mapping[str, Any]
    group_size: tuple[int, ...] | None
    is_empty: bool


def resolve_allocations(
    plan: LaunchPlan, scope: Mapping[str, TensorType | int | float]
) -> dict[str, TensorType]:
    """Shape and dtype of every buffer and output; they may depend on one another, in no circle."""
    resolved: dict[str, TensorType] = {}
    pending = dict(plan.allocations)
    while pending:
        known = {**scope, **resolved}
        ready = [name for name, each in pending.items() if not each.names & pending.keys()]
        if not ready:
            raise PlanError(f"the sizes of {', '.join(sorted(pending))} depend on one another")
        for name in ready:
            place = f"{'outputs' if name in plan.outputs else 'buffers'}.{name}"
            resolved[name] = _resolve(pending.pop(name), known, place)
    return resolved


def _resolve(allocation: Allocation, scope: Scope, place: str) -> TensorType:
    try:
        return TensorType(_shape(allocation, scope), _dtype(allocation.dtype, scope))
    except PlanError as error:
        raise PlanError(f"{place}: {error}") from None


def _shape(allocation: Allocation, scope: Scope) -> tuple[int, ...]:
    shape = allocation.shape
    if isinstance(shape, str):
        return _tensor(shape.removesuffix(".shape"), scope).shape
    sizes = tuple(size.evaluate(scope) for size in shape)
    for size, expression in zip(sizes, shape, strict=True):
        if size < 0:
            raise PlanError(f"size '{expression}' is negative ({size})")
    return sizes


def _dtype(dtype: str, scope: Scope) -> str:
    if dtype in DTYPES:
        return dtype
    return _tensor(dtype.removesuffix(".dtype"), scope).dtype


def _tensor(name: str, scope: Scope) -> TensorType:
    found = lookup(name, scope)
    if not isinstance(found, TensorType):
        raise PlanError(f"'{name}' is the number {found}, not a tensor")
    return found


def resolve_geometry(step: KernelStep, scope: Scope, place: str) -> Geometry:
    """Sizes of one launch; PlanError where one is negative or beyond what Metal can count."""
    try:
        grid = _extent(step.threads or step.threadgroups or (), scope)
        group = None if step.group_size is None else _extent(step.group_size, scope)
        memory = {int(i): size.evaluate(scope) for i, size in step.threadgroup_memory.items()}
        constants = {_key(k): _value(value, scope) for k, value in step.constants.items()}
    except PlanError as error:
        raise PlanError(f"{place}: {error}") from None
    keywords: dict[str, Any] = {"threads" if step.threads is not None else "threadgroups": grid}
    if group is not None:
        keywords["group_size"] = group
    if memory:
        keywords["threadgroup_memory"] = memory
    if constants:
        keywords["constants"] = constants
    return Geometry(keywords, group, is_empty=0 in grid)


def _extent(extent: Extent, scope: Scope) -> tuple[int, ...]:
    sizes = tuple(size.evaluate(scope) for size in extent)
    for size, expression in zip(sizes, extent, strict=True):
        if not 0 <= size < 2**32:
            raise PlanError(f"launch size '{expression}' is {size}; expected 0 to 2**32 - 1")
    return sizes


def _key(name: str) -> str | int:
    return int(name) if name.isdigit() else name


def _value(value: Expression | float, scope: Scope) -> int | float:
    return value.evaluate(scope) if isinstance(value, Expression) else value
