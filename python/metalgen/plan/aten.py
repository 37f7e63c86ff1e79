"""Steps that call an ATen operator: functional overloads only, nothing is written in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from metalgen.errors import PlanError
from metalgen.plan.constants import Constant, parse_constant
from metalgen.plan.expression import Scope
from metalgen.plan.schema import Allocation, AtenStep

# Functional, but they read or make what a plan has no business with.
_REFUSED = frozenset({"_local_scalar_dense", "item", "from_file", "_print", "set_data"})


def aten_operator(name: str, place: str) -> Callable[..., Any]:
    """The functional operator called `addmm` or `add.Tensor`; PlanError for any other."""
    base, _, overload = name.partition(".")
    packet = getattr(torch.ops.aten, base, None) if base.isidentifier() else None
    if not isinstance(packet, torch._ops.OpOverloadPacket) or base in _REFUSED:
        raise PlanError(f"{place}: ATen has no operator '{name}'")
    overloads: list[str] = packet.overloads()  # type: ignore[no-untyped-call]
    if overload and overload not in overloads:
        raise PlanError(f"{place}: '{base}' has the overloads {', '.join(overloads)}")
    chosen = [getattr(packet, each) for each in ([overload] if overload else overloads)]
    if not all(_is_functional(each) for each in chosen if overload or not _takes_out(each)):
        raise PlanError(f"{place}: '{name}' is random or writes in place; use another operator")
    return getattr(packet, overload) if overload else packet


def _takes_out(operator: torch._ops.OpOverload) -> bool:
    """Whether it writes only what the caller hands it by keyword, which plans cannot."""
    written = [a for a in operator._schema.arguments if a.alias_info and a.alias_info.is_write]
    return bool(written) and all(argument.kwarg_only for argument in written)


def _is_functional(operator: torch._ops.OpOverload) -> bool:
    return (
        not operator._schema.is_mutable
        and torch.Tag.nondeterministic_seeded not in operator.tags
        and bool(operator._schema.returns)
    )


def check_aten_step(step: AtenStep, declared: Mapping[str, Allocation], place: str) -> None:
    """PlanError where the operator or its results' names cannot be used."""
    aten_operator(step.aten, place)
    if "out" in step.kwargs:
        raise PlanError(f"{place}.kwargs: 'out' would write in place; name the result with \"out\"")
    for name in step.results:
        if name not in declared:
            raise PlanError(f"{place}.out: '{name}' is declared neither as buffer nor as output")
    for value in [*step.args, *step.kwargs.values()]:
        aten_value(value, None, {}, place)


def aten_value(raw: object, scope: Scope | None, tensors: Mapping[str, object], place: str) -> Any:
    """A step's argument as PyTorch takes it; without a scope only its form is checked."""
    if raw is None or isinstance(raw, bool | int | float):
        return raw
    if isinstance(raw, str):
        return tensors[raw] if scope is not None else raw
    if isinstance(raw, list):
        return [aten_value(item, scope, tensors, place) for item in raw]
    value = _typed(raw, place)
    if scope is None:
        return None
    numbers = value.numbers(scope)
    return numbers[0] if value.is_scalar else numbers


def _typed(raw: object, place: str) -> Constant:
    if isinstance(raw, dict):
        try:
            value = parse_constant(raw)
        except PlanError as error:
            raise PlanError(f"{place}: {error}") from None
        if isinstance(value, Constant):
            return value
    raise PlanError(
        f"{place}: expected a tensor's name, a number, a list or a typed value such as"
        f' {{"int": "x.shape[0]"}}, found {raw!r}'
    )
