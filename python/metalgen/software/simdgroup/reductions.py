"""Reductions of a vector's components, `llvm.vector.reduce.*`, by a whole SIMD-group."""

from __future__ import annotations

from metalgen.software.ir.model import Instruction
from metalgen.software.simdgroup.access import type_suffix
from metalgen.software.simdgroup.lanes import Lanes
from metalgen.software.simdgroup.values import WIDTH, Held, Same, Wide, wide_type

_INSTRUCTIONS = frozenset({"add", "mul", "and", "or", "xor", "fadd", "fmul"})
# Intrinsics of two scalars whose names differ from the reduction's.
_INTRINSICS = {"fmax": "maxnum", "fmin": "minnum", "fmaximum": "maximum", "fminimum": "minimum"}


def lower_reduction(lanes: Lanes, call: Instruction, operands: list[Held]) -> Held:
    """One component after the other, behind the start value where the intrinsic has one."""
    name = call.callee_name.split(".")[3]
    parts = [*operands[:-1], *lanes.parts(operands[-1])]
    same = all(isinstance(part, Same) for part in parts)
    type_ = str(call.type) if same else wide_type(call.type)
    suffix = type_suffix(call.type) if same else f"v{WIDTH}{type_suffix(call.type)}"
    total, *texts = (lanes.same(part) if same else lanes.wide(part) for part in parts)
    for text in texts:
        if name in _INSTRUCTIONS:
            total = lanes.builder.value(f"{name} {type_} {total}, {text}")
        else:
            function = f"llvm.{_INTRINSICS.get(name, name)}.{suffix}"
            total = lanes.builder.call(function, type_, [(type_, total), (type_, text)])
    return Same(call.type, total) if same else Wide(call.type, total)
