"""What a kernel's parameter is bound to: a buffer, threadgroup memory or a built-in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from metalgen.compiler.attributes import (
    INDICES,
    POSITIONS,
    UNSUPPORTED_PARAMETERS,
    Attribute,
    is_standard,
)
from metalgen.compiler.complaints import Complaints
from metalgen.compiler.scopes import Source

MAXIMUM_INDEX = 30


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a parameter's value comes from; a memory's `index` is None until it is chosen."""

    kind: Literal["memory", "buffer", "threadgroup", "builtin"]
    index: int | None = None
    expression: str | None = None  # what clang is to evaluate to the index
    builtin: str | None = None
    condition: str | None = None  # the function constant that decides whether it exists


@dataclass(frozen=True, slots=True)
class Parameter:
    """A kernel's parameter as written, with the offset of its name."""

    name: str
    start: int
    binding: Binding
    is_threadgroup: bool  # declared as pointer or reference to threadgroup memory


def read_binding(
    source: Source, attributes: Iterable[Attribute], complaints: Complaints
) -> Binding:
    """The binding that a parameter's attributes ask for; memory without an index if none does."""
    binding = Binding("memory")
    for attribute in attributes:
        binding = _refine(source, binding, attribute, complaints)
    return binding


def _refine(
    source: Source, binding: Binding, attribute: Attribute, complaints: Complaints
) -> Binding:
    name = attribute.name
    if name == "buffer":
        return _indexed(source, replace(binding, kind="buffer"), attribute, complaints)
    if name == "threadgroup":
        return _indexed(source, replace(binding, kind="threadgroup"), attribute, complaints)
    if name in POSITIONS or name in INDICES:
        if binding.kind != "memory":
            complaints.add(attribute.start, f"'{name}' cannot be combined with another attribute")
        return replace(binding, kind="builtin", builtin=name)
    if name == "function_constant":
        return replace(binding, condition=source.slice(attribute.first, attribute.last))
    if name in UNSUPPORTED_PARAMETERS:
        complaints.add(attribute.start, f"not supported: {UNSUPPORTED_PARAMETERS[name]}")
    elif not is_standard(name):
        complaints.add(attribute.start, f"unknown attribute '{name}'")
    return binding


def _indexed(
    source: Source, binding: Binding, attribute: Attribute, complaints: Complaints
) -> Binding:
    """`binding` with the index in the attribute's parentheses."""
    text = source.slice(attribute.first, attribute.last)
    if not text:
        complaints.add(attribute.start, f"'{attribute.name}' expects an index")
        return replace(binding, index=0)
    try:
        index = int(text.rstrip("uUlL"), 0)
    except ValueError:
        return replace(binding, expression=text)
    _check_range(attribute.name, index, attribute.start, complaints)
    return replace(binding, index=index)


def _check_range(name: str, index: int, start: int, complaints: Complaints) -> None:
    if not 0 <= index <= MAXIMUM_INDEX:
        limits = f"must be between 0 and {MAXIMUM_INDEX}"
        complaints.add(start, f"'{name}' index {index} is out of range: {limits}")


def evaluated(
    parameters: Sequence[Parameter], indices: Sequence[int], complaints: Complaints
) -> tuple[Parameter, ...]:
    """`parameters` with the values that clang found for their index expressions, in order."""
    values = iter(indices)
    result: list[Parameter] = []
    for parameter in parameters:
        binding = parameter.binding
        if binding.expression is not None:
            index = next(values)
            _check_range(binding.kind, index, parameter.start, complaints)
            binding = replace(binding, index=index, expression=None)
        result.append(replace(parameter, binding=binding))
    return choose_indices(result, complaints)


def choose_indices(
    parameters: Sequence[Parameter], complaints: Complaints
) -> tuple[Parameter, ...]:
    """Give memory without an index the lowest free one of its kind, in order, as Metal does.

    That has to wait while there are expressions to be evaluated.
    """
    if any(parameter.binding.expression is not None for parameter in parameters):
        return tuple(parameters)
    settled = [_settle_kind(parameter) for parameter in parameters]
    taken: dict[tuple[str, int], Parameter] = {}
    for parameter in settled:
        _claim(parameter, taken, complaints)
    result: list[Parameter] = []
    for parameter in settled:
        binding = parameter.binding
        if binding.kind != "builtin" and binding.index is None:
            index = next(i for i in range(1000) if (binding.kind, i) not in taken)
            parameter = replace(parameter, binding=replace(binding, index=index))
            taken[binding.kind, index] = parameter
            if index > MAXIMUM_INDEX:
                complaints.add(
                    parameter.start,
                    f"no {binding.kind} index is left for '{parameter.name}': there are "
                    f"{MAXIMUM_INDEX + 1}",
                )
        result.append(parameter)
    return tuple(result)


def _settle_kind(parameter: Parameter) -> Parameter:
    binding = parameter.binding
    if binding.kind != "memory":
        return parameter
    kind: Literal["threadgroup", "buffer"] = "threadgroup" if parameter.is_threadgroup else "buffer"
    return replace(parameter, binding=replace(binding, kind=kind))


def _claim(
    parameter: Parameter, taken: dict[tuple[str, int], Parameter], complaints: Complaints
) -> None:
    binding = parameter.binding
    if binding.kind == "builtin" or binding.index is None:
        return
    other = taken.setdefault((binding.kind, binding.index), parameter)
    # Parameters that function constants switch may share an index: only one of them exists.
    if other is not parameter and not (binding.condition and other.binding.condition):
        complaints.add(
            parameter.start,
            f"{binding.kind} index {binding.index} of '{parameter.name}' is already taken by "
            f"'{other.name}'",
        )
