"""A kernel's arguments as a whole SIMD-group holds them, computed from a Threadgroup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from metalgen.errors import UnsupportedError
from metalgen.software import builtins
from metalgen.software.ir.model import Function
from metalgen.software.ir.model import Parameter as IrParameter
from metalgen.software.ir.types import I32, PTR, Int, Pointer, Type, Vector
from metalgen.software.signature import Parameter
from metalgen.software.simdgroup.arithmetic import known_line, no_wrap
from metalgen.software.simdgroup.lanes import Lanes
from metalgen.software.simdgroup.shapes import Pattern, evenly
from metalgen.software.simdgroup.values import WIDTH, Held, Line, Parted, Same, Wide, wide_type

Variant = Literal["any", "rows", "full"]
_LARGEST_THREADGROUP = 1024
_AXES = "xyz"


class Positions:
    """Where the 32 threads of SIMD-group `%simdgroup` stand."""

    def __init__(self, lanes: Lanes, variant: Variant) -> None:
        self._lanes = lanes
        self._is_full = variant == "full"
        for line in builtins.uniform_values():
            lanes.builder.emit(line)
        self._first = lanes.builder.value("shl i32 %simdgroup, 5")
        self.index: Held = self._line(self._first, WIDTH)
        self.lane: Held = Line(I32, "0", Pattern(evenly(1), 0, 0))
        self.local: list[Held] = self._anywhere() if variant == "any" else self._in_one_row()

    def _line(self, base: str, divisor: int) -> Line:
        return Line(I32, base, Pattern(evenly(1), divisor))

    def _in_one_row(self) -> list[Held]:
        value = self._lanes.builder.value
        row = value(f"udiv i32 {self._first}, %size.x")
        x = value(f"urem i32 {self._first}, %size.x")
        y, z = value(f"urem i32 {row}, %size.y"), value(f"udiv i32 {row}, %size.y")
        return [self._line(x, WIDTH), Same(I32, y), Same(I32, z)]

    def _anywhere(self) -> list[Held]:
        builder, wide = self._lanes.builder, wide_type(I32)
        width, height = (builder.splat(I32, f"%size.{axis}") for axis in "xy")
        index = self._lanes.wide(self.index)
        row = builder.value(f"udiv {wide} {index}, {width}")
        x = builder.value(f"urem {wide} {index}, {width}")
        y = builder.value(f"urem {wide} {row}, {height}")
        z = builder.value(f"udiv {wide} {row}, {height}")
        return [Wide(I32, text) for text in (x, y, z)]

    def in_grid(self) -> list[Held]:
        builder = self._lanes.builder
        held: list[Held] = []
        for axis, local in zip(_AXES, self.local, strict=True):
            first = f"%first.{axis}"
            match local:
                case Same(_, text):
                    held.append(Same(I32, builder.value(f"add i32 {first}, {text}")))
                case Line(base=base):
                    start = builder.value(f"add i32 {first}, {base}")
                    held.append(self._line(start, WIDTH if self._is_full else 1))
                case _:
                    wide, all_first = wide_type(I32), builder.splat(I32, first)
                    text = builder.value(f"add {wide} {all_first}, {self._lanes.wide(local)}")
                    held.append(Wide(I32, text))
        return held

    def mask_bits(self) -> str:
        """The i32 mask of the lanes that have a thread."""
        if self._is_full:
            return "-1"
        builder = self._lanes.builder
        left = builder.value(f"sub i32 %threads, {self._first}")
        idle = builder.value(f"sub i32 {WIDTH}, {left}")
        some = builder.value(f"lshr i32 -1, {idle}")
        full = builder.value(f"icmp uge i32 {left}, {WIDTH}")
        return builder.value(f"select i1 {full}, i32 -1, i32 {some}")

    def _quads(self) -> tuple[Held, Held]:
        """(thread_index_in_quadgroup, quadgroup_index_in_threadgroup)."""
        builder, wide = self._lanes.builder, wide_type(I32)
        index = self._lanes.wide(self.index)
        lane = builder.value(f"and {wide} {index}, splat (i32 3)")
        quad = builder.value(f"lshr {wide} {index}, splat (i32 2)")
        return Wide(I32, lane), Wide(I32, quad)

    def builtin(self, name: str) -> list[Held] | None:
        """The i32 components of a built-in that the lanes may differ in; None for others."""
        match name:
            case "thread_position_in_threadgroup":
                return self.local
            case "thread_position_in_grid":
                return self.in_grid()
            case "thread_index_in_threadgroup":
                return [self.index]
            case "thread_index_in_simdgroup":
                return [self.lane]
            case "simdgroup_index_in_threadgroup":
                return [Same(I32, "%simdgroup")]
            case "thread_index_in_quadgroup":
                return [self._quads()[0]]
            case "quadgroup_index_in_threadgroup":
                return [self._quads()[1]]
        return None


def arguments(
    function: Function, signature: Sequence[Parameter], lanes: Lanes, positions: Positions
) -> dict[str, Held]:
    """Every parameter of the kernel as the SIMD-group holds it."""
    held: dict[str, Held] = {}
    pairs = zip(function.parameters, signature, strict=True)
    for number, (parameter, meaning) in enumerate(pairs):
        held[parameter.name] = _argument(parameter, meaning, number, lanes, positions)
    return held


def _argument(
    parameter: IrParameter, meaning: Parameter, number: int, lanes: Lanes, positions: Positions
) -> Held:
    components = positions.builtin(meaning.builtin) if meaning.kind == "builtin" else None
    if components is None:
        type_: Type = PTR if isinstance(parameter.type, Pointer) else parameter.type
        for line in builtins.argument(meaning, type_, f"%argument.{number}"):
            lanes.builder.emit(line)
        return Same(type_, f"%argument.{number}")
    element = parameter.type.element if isinstance(parameter.type, Vector) else parameter.type
    count = parameter.type.count if isinstance(parameter.type, Vector) else 1
    if not isinstance(element, Int) or count > len(components):
        raise UnsupportedError(
            f"not supported: [[{meaning.builtin}]] of LLVM type {parameter.type}"
        )
    parts = [_resized(lanes, component, element) for component in components[:count]]
    if not isinstance(parameter.type, Vector):
        return parts[0]
    return Parted(parameter.type, tuple(parts))


def _resized(lanes: Lanes, held: Held, type_: Int) -> Held:
    """An i32 position as the integer type that the kernel declares."""
    if type_ == I32:
        return held
    opcode = "trunc" if type_.bits < I32.bits else "zext"
    value = lanes.builder.value
    match held:
        case Same(_, text):
            return Same(type_, value(f"{opcode} i32 {text} to {type_}"))
        case Line():
            return _resized_line(lanes, held, type_, opcode)
    wide = value(f"{opcode} {wide_type(I32)} {lanes.wide(held)} to {wide_type(type_)}")
    return Wide(type_, wide)


def _resized_line(lanes: Lanes, line: Line, type_: Int, opcode: str) -> Line:
    pattern = line.pattern
    if pattern.base is not None:
        return known_line(type_, pattern)
    value = lanes.builder.value
    base = value(f"{opcode} i32 {line.base} to {type_}")
    wide = value(f"{opcode} {wide_type(I32)} {lanes.wide(line)} to {wide_type(type_)}")
    if opcode == "trunc":
        return Line(type_, base, pattern)
    return Line(
        type_, base, replace(pattern, exact=False), no_wrap(lanes, line, signed=False), wide
    )


_LARGEST_INDEX = _LARGEST_THREADGROUP + WIDTH - 1  # of lanes past the last thread
# The largest value that any lane can have, those that do not run included.
_BOUNDS = {
    "thread_index_in_threadgroup": _LARGEST_INDEX,
    "thread_position_in_threadgroup": _LARGEST_INDEX,
    "thread_index_in_simdgroup": WIDTH - 1,
    "simdgroup_index_in_threadgroup": _LARGEST_THREADGROUP // WIDTH - 1,
    "thread_index_in_quadgroup": 3,
    "quadgroup_index_in_threadgroup": _LARGEST_INDEX // 4,
    "threads_per_threadgroup": _LARGEST_THREADGROUP,
    "threads_per_simdgroup": WIDTH,
    "simdgroups_per_threadgroup": _LARGEST_THREADGROUP // WIDTH,
}


def bounds(function: Function, signature: Sequence[Parameter]) -> dict[str, list[int | None]]:
    """What is known of the largest values of the kernel's parameters, component by component."""
    known: dict[str, list[int | None]] = {}
    for parameter, meaning in zip(function.parameters, signature, strict=True):
        if meaning.kind == "builtin" and meaning.builtin in _BOUNDS:
            count = parameter.type.count if isinstance(parameter.type, Vector) else 1
            known[parameter.name] = [_BOUNDS[meaning.builtin]] * count
    return known
