"""Loads and stores of a whole SIMD-group: once, side by side, in a few stretches, or gathered."""

from __future__ import annotations

from metalgen.software.ir.types import I8, Int, Type, Vector
from metalgen.software.simdgroup.access import (
    Access,
    gather,
    load_contiguous,
    part_offsets,
    scatter,
    store_contiguous,
)
from metalgen.software.simdgroup.lanes import Lanes
from metalgen.software.simdgroup.shapes import evenly
from metalgen.software.simdgroup.stretches import covered, load_covered, store_covered
from metalgen.software.simdgroup.values import (
    WIDTH,
    Held,
    Line,
    Mask,
    Same,
    Wide,
    wide_type,
)

_LONGEST_BLOCK = 64  # bytes that a lane copies at once


def load(access: Access, type_: Type) -> Held:
    """The value of type `type_` at each lane's address; lanes that do not run get anything."""
    lanes = access.lanes
    if isinstance(access.pointer, Same):
        align = f", align {access.align}"
        text = lanes.builder.value(f"load {type_}, ptr {access.pointer.text}{align}")
        return Same(type_, text)
    types = lanes.part_types(type_)
    cover = covered(access, type_, holes=True)
    if cover is not None:
        return load_covered(access, type_, cover)
    if not types:
        return Wide(type_, _load_lanes(access, type_))
    offsets = part_offsets(type_, lanes.layout)
    elements = [load(access.at(o), t) for o, t in zip(offsets, types, strict=False)]
    return lanes.parted(type_, elements)


def store(access: Access, value: Held) -> None:
    """Stores each active lane's value; of several lanes at one address the last wins."""
    lanes = access.lanes
    if isinstance(access.pointer, Same):
        text = _last_active(lanes, value, access.mask)
        align = f", align {access.align}"
        lanes.builder.emit(f"store {value.type} {text}, ptr {access.pointer.text}{align}")
        return
    types = lanes.part_types(value.type)
    cover = covered(access, value.type, holes=False)
    if cover is not None and cover.is_whole:
        store_covered(access, value, cover)
        return
    if not types:
        _store_lanes(access, value)
        return
    for part, offset in zip(
        lanes.parts(value), part_offsets(value.type, lanes.layout), strict=False
    ):
        store(access.at(offset), part)


def _last_active(lanes: Lanes, value: Held, mask: Mask) -> str:
    """One lane's value as an operand: that of the highest active lane."""
    builder = lanes.builder
    if isinstance(value, Same):
        return value.text
    types = lanes.part_types(value.type)
    if types:
        elements: list[Held] = [
            Same(part.type, _last_active(lanes, part, mask)) for part in lanes.parts(value)
        ]
        return lanes.same(lanes.parted(value.type, elements))
    zeros = builder.call("llvm.ctlz.i32", "i32", [("i32", mask.bits), ("i1", "true")])
    lane = builder.value(f"sub i32 31, {zeros}")
    return builder.value(f"extractelement {wide_type(value.type)} {lanes.wide(value)}, i32 {lane}")


def _side_by_side(access: Access, size: int) -> str:
    """The condition (i1) under which the lanes' addresses are `size` bytes apart; "" if they never
    are.
    """
    line = access.pointer
    is_line = isinstance(line, Line) and line.pattern.offsets == evenly(size)
    return line.holds if is_line and isinstance(line, Line) else ""


def _load_lanes(access: Access, type_: Type) -> str:
    condition = _side_by_side(access, access.lanes.layout.size(type_))
    if condition in ("", "false"):
        return gather(access, type_)
    if condition == "true":
        return load_contiguous(access, type_)
    builder = access.lanes.builder
    slot = builder.slot(wide_type(type_))
    fast, slow, done = (builder.fresh(stem) for stem in ("line", "gather", "loaded"))
    builder.branch(condition, fast, slow)
    builder.label(fast)
    builder.store(wide_type(type_), load_contiguous(access, type_), slot)
    builder.jump(done)
    builder.label(slow)
    builder.store(wide_type(type_), gather(access, type_), slot)
    builder.jump(done)
    builder.label(done)
    return builder.load(wide_type(type_), slot)


def _store_lanes(access: Access, value: Held) -> None:
    condition = _side_by_side(access, access.lanes.layout.size(value.type))
    if condition in ("", "false"):
        scatter(access, value)
        return
    if condition == "true":
        store_contiguous(access, value)
        return
    builder = access.lanes.builder
    fast, slow, done = (builder.fresh(stem) for stem in ("line", "scatter", "stored"))
    builder.branch(condition, fast, slow)
    builder.label(fast)
    store_contiguous(access, value)
    builder.jump(done)
    builder.label(slow)
    scatter(access, value)
    builder.jump(done)
    builder.label(done)


# Blocks of memory.


def copy(destination: Access, source: Access, length: int) -> None:
    """Copies `length` bytes for each active lane."""
    if _is_copied_by_lane(destination, source, length):
        _copy_by_lane(destination, source, length)
        return
    for offset, type_ in _pieces(length, min(destination.align, source.align)):
        store(destination.at(offset), load(source.at(offset), type_))


def _is_copied_by_lane(destination: Access, source: Access, length: int) -> bool:
    """Whether one long load and store for each lane are better than taking the lanes apart."""
    private = destination.scale != 1 or source.scale != 1
    known = all(isinstance(a.pointer, Same) for a in (destination, source))
    return destination.mask.is_full and not private and not known and 8 <= length <= _LONGEST_BLOCK


def _copy_by_lane(destination: Access, source: Access, length: int) -> None:
    """All lanes load before one stores: they run in lockstep."""
    builder = destination.lanes.builder
    words = f"<{length // 4} x i32>" if length % 4 == 0 else f"<{length} x i8>"
    froms, tos = (_lane_pointers(access) for access in (source, destination))
    loaded = [
        builder.value(f"load {words}, ptr {pointer}, align {source.align}") for pointer in froms
    ]
    for text, pointer in zip(loaded, tos, strict=True):
        builder.emit(f"store {words} {text}, ptr {pointer}, align {destination.align}")


def _lane_pointers(access: Access) -> list[str]:
    lanes, pointer = access.lanes, access.pointer
    value = lanes.builder.value
    if isinstance(pointer, Same):
        return [pointer.text] * WIDTH
    if isinstance(pointer, Line) and pointer.pattern.exact:
        offsets = pointer.pattern.offsets
        return [value(f"getelementptr i8, ptr {pointer.base}, i64 {o}") for o in offsets]
    wide = f"{wide_type(pointer.type)} {lanes.wide(pointer)}"
    return [value(f"extractelement {wide}, i64 {lane}") for lane in range(WIDTH)]


def fill(destination: Access, byte: Held, length: int, granule: int) -> None:
    """Sets `length` bytes to `byte` for each active lane, `granule` bytes at a time."""
    lanes = destination.lanes
    type_ = Int(8 * granule)
    if isinstance(byte, Same) and byte.text in ("0", "zeroinitializer"):
        value: Held = Same(type_, "0")
    else:
        wide = lanes.builder.value(f"zext {wide_type(I8)} {lanes.wide(byte)} to {wide_type(type_)}")
        repeated = sum(1 << (8 * i) for i in range(granule))
        wide = lanes.builder.value(f"mul {wide_type(type_)} {wide}, splat ({type_} {repeated})")
        value = Wide(type_, wide)
    for offset in range(0, length, granule):
        store(destination.at(offset), value)


def _pieces(length: int, align: int) -> list[tuple[int, Type]]:
    """A copy as few typed pieces: vectors of words where the length allows."""
    size = next(s for s in (4, 2, 1) if length % s == 0 and (align >= s or s == 1))
    words = length // size
    step = next(s for s in (8, 4, 3, 2, 1) if words % s == 0)
    type_: Type = Vector(step, Int(8 * size)) if step > 1 else Int(8 * size)
    return [(offset, type_) for offset in range(0, length, step * size)]
