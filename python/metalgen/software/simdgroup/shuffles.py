"""SIMD-group operations that need no runtime function: lane numbers known when translating,
reductions.
"""

from __future__ import annotations

import re

from metalgen.software.ir.types import I1, Float, Int, Type
from metalgen.software.simdgroup.access import type_suffix
from metalgen.software.simdgroup.lanes import Lanes
from metalgen.software.simdgroup.values import WIDTH, Held, Mask, Same, Wide, wide_type

_SHUFFLE = re.compile(r"air\.(simd|quad)_(shuffle|broadcast)(_up|_down|_xor)?\.")
_REDUCTION = re.compile(r"air\.simd_(sum|product|min|max|and|or|xor)\.(?:([su])\.)?")


def lower(lanes: Lanes, name: str, type_: Type, operands: list[Held], mask: Mask) -> Held | None:
    """The result, or None where the operation is left to the runtime."""
    match = _SHUFFLE.match(name)
    if match:
        return _shuffle(lanes, match, type_, operands, mask)
    match = _REDUCTION.match(name)
    if match:
        return _reduction(lanes, match, type_, operands[0], mask)
    if name.startswith(("air.simd_any", "air.simd_all")):
        return _vote(lanes, name, operands[0], mask)
    return None


def _shuffle(
    lanes: Lanes, match: re.Match[str], type_: Type, operands: list[Held], mask: Mask
) -> Held | None:
    group, _, direction = match.groups()
    value, which = operands
    everywhere = group == "simd" and not direction
    if not isinstance(which, Same) or not (everywhere or which.text.isdigit()):
        return None
    builder, wide = lanes.builder, wide_type(type_)
    # Kernels that add up the lanes of a smaller threadgroup read zeros beyond its end.
    given = builder.blend(type_, mask, lanes.wide(value), "zeroinitializer")
    if everywhere:
        lane = f"{which.type} {which.text}"
        return Same(type_, builder.value(f"extractelement {wide} {given}, {lane}"))
    width = WIDTH if group == "simd" else 4
    sources = [_source(lane, direction or "", int(which.text), width) for lane in range(WIDTH)]
    order = ", ".join(f"i32 {source}" for source in sources)
    shuffled = f"shufflevector {wide} {given}, {wide} poison, <{WIDTH} x i32> <{order}>"
    return Wide(type_, builder.value(shuffled))


def _source(lane: int, direction: str, amount: int, width: int) -> int:
    """The lane that `lane` reads from; its own where that would lie outside the group."""
    start, within = lane - lane % width, lane % width
    source = {
        "": amount,
        "_up": within - amount,
        "_down": within + amount,
        "_xor": within ^ amount,
    }[direction]
    return start + source if 0 <= source < width else lane


def _reduction(
    lanes: Lanes, match: re.Match[str], type_: Type, value: Held, mask: Mask
) -> Held | None:
    operation, sign = match.groups()
    identity = _identity(operation, sign, type_)
    if identity is None:
        return None
    builder, wide = lanes.builder, wide_type(type_)
    active = builder.blend(type_, mask, lanes.wide(value), f"splat ({type_} {identity})")
    name, initial, flags = _intrinsic(operation, sign, type_)
    full = f"llvm.vector.reduce.{name}.v{WIDTH}{type_suffix(type_)}"
    arguments = [(str(type_), initial)] if initial else []
    types = [t for t, _ in arguments] + [wide]
    callee = builder.declare(full, str(type_), types)
    listed = ", ".join([*(f"{t} {v}" for t, v in arguments), f"{wide} {active}"])
    return Same(type_, builder.value(f"call {flags}{type_} {callee}({listed})"))


def _identity(operation: str, sign: str | None, type_: Type) -> str | None:
    """What inactive lanes contribute; None for types left to the runtime."""
    if isinstance(type_, Float):
        if type_.name != "float":
            return None
        # NaN is what fmin and fmax pass over.
        return {"sum": "-0.0", "product": "1.0"}.get(operation, "0x7FF8000000000000")
    if not isinstance(type_, Int) or type_ == I1:
        return None
    largest = (1 << (type_.bits - 1)) - 1
    extremes = {
        "min": str(largest) if sign == "s" else "-1",
        "max": str(-largest - 1) if sign == "s" else "0",
    }
    return {"sum": "0", "product": "1", "and": "-1", "or": "0", "xor": "0", **extremes}[operation]


def _intrinsic(operation: str, sign: str | None, type_: Type) -> tuple[str, str, str]:
    """(name, start value, flags) of the reduction intrinsic."""
    if isinstance(type_, Float):
        # The order in which a GPU adds the lanes is its own affair, so LLVM may choose one too.
        sums = {"sum": ("fadd", "-0.0", "reassoc "), "product": ("fmul", "1.0", "reassoc ")}
        return sums.get(operation, (f"f{operation}", "", ""))
    letter = "s" if sign == "s" else "u"
    integers = {"sum": "add", "product": "mul", "min": f"{letter}min", "max": f"{letter}max"}
    return integers.get(operation, operation), "", ""


def _vote(lanes: Lanes, name: str, value: Held, mask: Mask) -> Held:
    builder = lanes.builder
    bits = builder.bits(lanes.wide(value), mask)
    wanted = f"icmp eq i32 {bits}, {mask.bits}" if "all" in name else f"icmp ne i32 {bits}, 0"
    return Same(I1, builder.value(wanted))
