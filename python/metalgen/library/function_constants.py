"""Function constants as callers name them, matched to what a kernel declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metalgen import _core
from metalgen.air import FunctionConstant
from metalgen.errors import LaunchError
from metalgen.library.value_types import Number, ValueType, value_type

Constants = Mapping[int | str, Number | Sequence[Number]]


def function_constants(
    declared: Sequence[FunctionConstant], given: Constants
) -> list[_core.FunctionConstant]:
    """The given constants by rising index; raises LaunchError for wrong values.

    Those that the kernel has not are ignored, as Metal does: one set of values may serve many.
    """
    by_key: dict[int | str, FunctionConstant] = {constant.index: constant for constant in declared}
    by_key |= {constant.name: constant for constant in declared}
    values: dict[int, _core.FunctionConstant] = {}
    for key, value in given.items():
        constant = by_key.get(key)
        if constant is None:
            continue
        values[constant.index] = _core.FunctionConstant(
            constant.index, constant.type_name, _converted(constant, value)
        )
    return [values[index] for index in sorted(values)]


def _converted(constant: FunctionConstant, value: object) -> Number | tuple[Number, ...]:
    """A scalar's number or a vector's numbers, of the type that Python has for them."""
    declared = value_type(constant.type_name)
    if declared is None or declared.columns != 1:
        raise LaunchError(
            f"function constant {constant.name!r} is a {constant.type_name}, no scalar or vector"
        )
    try:
        given = value if _is_vector(declared) and isinstance(value, Sequence) else [value]
        numbers = [_number(each) for each in given]
        declared.pack(numbers)
    except LaunchError as error:
        raise LaunchError(f"function constant {constant.name!r}: {error}") from None
    convert = bool if declared.scalar.name == "bool" else float if declared.scalar.is_float else int
    converted = tuple(convert(each) for each in numbers)
    return converted if _is_vector(declared) else converted[0]


def _is_vector(declared: ValueType) -> bool:
    return declared.rows > 1


def _number(value: object) -> Number:
    if not isinstance(value, (bool, int, float)):
        raise LaunchError(f"expected a number, found a {type(value).__name__}")
    return value
