"""Function constants as callers name them, matched to what a kernel declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metalgen import _core
from metalgen.air import FunctionConstant
from metalgen.errors import LaunchError
from metalgen.library.value_types import value_type

Constants = Mapping[int | str, int | float | bool]


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


def _converted(constant: FunctionConstant, value: object) -> bool | int | float:
    declared = value_type(constant.type_name)
    if declared is None or declared.rows * declared.columns != 1:
        raise LaunchError(
            f"function constant {constant.name!r} is a {constant.type_name}, no scalar"
        )
    try:
        if not isinstance(value, (bool, int, float)):
            raise LaunchError(f"expected a number, found a {type(value).__name__}")
        declared.pack([value])
    except LaunchError as error:
        raise LaunchError(f"function constant {constant.name!r}: {error}") from None
    if constant.type_name == "bool":
        return bool(value)
    return float(value) if declared.scalar.is_float else int(value)
