"""LLVM IR that computes Metal's thread positions and sizes from a Threadgroup."""

from __future__ import annotations

from metalgen.errors import UnsupportedError
from metalgen.software import abi
from metalgen.software.ir.types import I16, Int, Type, Vector
from metalgen.software.signature import Parameter

_STATIC_MEMORY = abi.offset("threadgroup_memory")
_AXES = ("x", "y", "z")
_LOADED = ("position", "size", "full_size", "grid", "groups")

# Built-in → the i32 values of its components, which `uniform_values` and `thread_values` define.
_BUILTINS: dict[str, tuple[str, ...]] = {
    "thread_position_in_grid": tuple(f"%grid_position.{a}" for a in _AXES),
    "thread_position_in_threadgroup": tuple(f"%{a}" for a in _AXES),
    "threadgroup_position_in_grid": tuple(f"%position.{a}" for a in _AXES),
    "threads_per_threadgroup": tuple(f"%size.{a}" for a in _AXES),
    "dispatch_threads_per_threadgroup": tuple(f"%full_size.{a}" for a in _AXES),
    "threads_per_grid": tuple(f"%grid.{a}" for a in _AXES),
    "threadgroups_per_grid": tuple(f"%groups.{a}" for a in _AXES),
    "grid_size": tuple(f"%grid.{a}" for a in _AXES),
    "grid_origin": ("0", "0", "0"),
    "thread_index_in_threadgroup": ("%index",),
    "thread_index_in_simdgroup": ("%lane",),
    "simdgroup_index_in_threadgroup": ("%simdgroup",),
    "thread_index_in_quadgroup": ("%quad_lane",),
    "quadgroup_index_in_threadgroup": ("%quadgroup",),
    "simdgroups_per_threadgroup": ("%simdgroups",),
    "dispatch_simdgroups_per_threadgroup": ("%full_simdgroups",),
    "quadgroups_per_threadgroup": ("%quadgroups",),
    "dispatch_quadgroups_per_threadgroup": ("%full_quadgroups",),
    "threads_per_simdgroup": (str(abi.SIMDGROUP_WIDTH),),
    "thread_execution_width": (str(abi.SIMDGROUP_WIDTH),),
}


def uniform_values() -> list[str]:
    """Instructions for what all threads of the threadgroup `%threadgroup` share."""
    lines: list[str] = []
    for field in _LOADED:
        for axis, name in enumerate(_AXES):
            at = abi.offset(field) + 4 * axis
            lines += [
                f"%{field}.{name}.at = getelementptr i8, ptr %threadgroup, i64 {at}",
                f"%{field}.{name} = load i32, ptr %{field}.{name}.at, align 4",
            ]
    lines += [f"%first.{a} = mul nuw i32 %position.{a}, %full_size.{a}" for a in _AXES]
    return lines + _counts("", "size") + _counts("full_", "full_size")


def _counts(prefix: str, size: str) -> list[str]:
    return [
        f"%{prefix}area = mul nuw nsw i32 %{size}.x, %{size}.y",
        f"%{prefix}threads = mul nuw nsw i32 %{prefix}area, %{size}.z",
        f"%{prefix}threads.31 = add nuw nsw i32 %{prefix}threads, 31",
        f"%{prefix}simdgroups = lshr i32 %{prefix}threads.31, 5",
        f"%{prefix}threads.3 = add nuw nsw i32 %{prefix}threads, 3",
        f"%{prefix}quadgroups = lshr i32 %{prefix}threads.3, 2",
    ]


def thread_values() -> list[str]:
    """Instructions for what belongs to the thread at `%x`, `%y`, `%z`, after `uniform_values`."""
    # A grid has fewer than 2^32 threads along each axis and a threadgroup few: nothing wraps.
    return [
        *(f"%grid_position.{a} = add nuw i32 %first.{a}, %{a}" for a in _AXES),
        "%slice = mul nuw nsw i32 %z, %size.y",
        "%row = add nuw nsw i32 %slice, %y",
        "%row.start = mul nuw nsw i32 %row, %size.x",
        "%index = add nuw nsw i32 %row.start, %x",
        "%lane = and i32 %index, 31",
        "%simdgroup = lshr i32 %index, 5",
        "%quad_lane = and i32 %index, 3",
        "%quadgroup = lshr i32 %index, 2",
    ]


def is_thread_value(parameter: Parameter) -> bool:
    """Whether a parameter differs between the threads of a threadgroup."""
    return parameter.builtin.startswith("thread_") or parameter.builtin in (
        "simdgroup_index_in_threadgroup",
        "quadgroup_index_in_threadgroup",
    )


def argument(parameter: Parameter, type_: Type, name: str, metadata: str = "") -> list[str]:
    """Instructions that define `name`, the value of type `type_` that `parameter` stands for.

    `metadata` is attached to the loads of pointers.
    """
    match parameter.kind:
        case "buffer":
            return _pointer("buffers", parameter.index, name, metadata)
        case "threadgroup":
            return _pointer("threadgroup_buffers", parameter.index, name, metadata)
        case "static":
            return [
                f"{name}.at = getelementptr i8, ptr %threadgroup, i64 {_STATIC_MEMORY}",
                f"{name} = load ptr, ptr {name}.at, align 8",
            ]
    components = _BUILTINS.get(parameter.builtin)
    if components is None:
        raise UnsupportedError(f"not supported: kernel argument [[{parameter.builtin}]]")
    return _builtin(components, type_, name, parameter.builtin)


def _pointer(table: str, index: int, name: str, metadata: str) -> list[str]:
    if not 0 <= index < abi.BUFFERS:
        raise UnsupportedError(
            f"not supported: buffer index {index}, expected 0 to {abi.BUFFERS - 1}"
        )
    return [
        f"{name}.table.at = getelementptr i8, ptr %threadgroup, i64 {abi.offset(table)}",
        f"{name}.table = load ptr, ptr {name}.table.at, align 8",
        f"{name}.at = getelementptr ptr, ptr {name}.table, i64 {index}",
        f"{name} = load ptr, ptr {name}.at, align 8{metadata}",
    ]


def _builtin(components: tuple[str, ...], type_: Type, name: str, builtin: str) -> list[str]:
    element = type_.element if isinstance(type_, Vector) else type_
    count = type_.count if isinstance(type_, Vector) else 1
    if not isinstance(element, Int) or element.bits not in (16, 32) or count > len(components):
        raise UnsupportedError(f"not supported: [[{builtin}]] of LLVM type {type_}")
    lines = []
    values = list(components[:count])
    if element == I16:
        lines = [f"{name}.{i} = trunc i32 {value} to i16" for i, value in enumerate(values)]
        values = [f"{name}.{i}" for i in range(count)]
    if not isinstance(type_, Vector):
        return [*lines, f"{name} = or {element} {values[0]}, 0"]
    before = "poison"
    for i, value in enumerate(values):
        after = name if i == count - 1 else f"{name}.v{i}"
        lines.append(f"{after} = insertelement {type_} {before}, {element} {value}, i32 {i}")
        before = after
    return lines
