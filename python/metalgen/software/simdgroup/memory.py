"""Loads and stores of a whole SIMD-group: once, side by side, interleaved, or gathered."""

from __future__ import annotations

from dataclasses import dataclass

from metalgen.software.ir.types import I8, I64, Array, Int, Layout, Type, Vector
from metalgen.software.simdgroup.arithmetic import offset_pointer
from metalgen.software.simdgroup.lanes import Lanes
from metalgen.software.simdgroup.values import (
    WIDTH,
    Held,
    Line,
    Mask,
    Same,
    Wide,
    wide_type,
)


@dataclass(frozen=True, slots=True)
class Access:
    """One load or store of every active lane."""

    lanes: Lanes
    pointer: Held
    mask: Mask
    align: int  # bytes, of each lane's address
    scale: int = 1  # how often offsets count: see PrivateLayout

    def at(self, offset: int) -> Access:
        """The same access, `offset` bytes further on."""
        if offset == 0:
            return self
        index = Same(I64, str(offset * self.scale))
        pointer = offset_pointer(self.lanes, self.pointer, index, 1)
        align = min(self.align, offset & -offset)
        return Access(self.lanes, pointer, self.mask, align, self.scale)


def part_offsets(type_: Type, layout: Layout) -> list[int]:
    """Byte offsets of the parts of a vector or aggregate."""
    if isinstance(type_, Vector):
        size = layout.bits(type_.element) // 8
        return [size * i for i in range(type_.count)]
    if isinstance(type_, Array):
        size = layout.size(type_.element)
        return [size * i for i in range(type_.count)]
    struct = layout.struct(type_)  # type: ignore[arg-type]
    return [layout.offset(struct, i) for i in range(len(struct.elements))]


def load(access: Access, type_: Type) -> Held:
    """The value of type `type_` at each lane's address; lanes that do not run get anything."""
    lanes = access.lanes
    if isinstance(access.pointer, Same):
        align = f", align {access.align}"
        text = lanes.builder.value(f"load {type_}, ptr {access.pointer.text}{align}")
        return Same(type_, text)
    types = lanes.part_types(type_)
    if not types:
        return Wide(type_, _load_lanes(access, type_))
    interleaved = _interleaved_parts(access, type_)
    if interleaved:
        return _load_interleaved(access, type_, interleaved)
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
    if not types:
        _store_lanes(access, value)
        return
    interleaved = _interleaved_parts(access, value.type)
    if interleaved:
        _store_interleaved(access, value, interleaved)
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
    return line.holds if isinstance(line, Line) and line.stride == size else ""


def _load_lanes(access: Access, type_: Type) -> str:
    condition = _side_by_side(access, access.lanes.layout.size(type_))
    if condition in ("", "false"):
        return _gather(access, type_)
    if condition == "true":
        return _load_contiguous(access, type_)
    builder = access.lanes.builder
    slot = builder.slot(wide_type(type_))
    fast, slow, done = (builder.fresh(stem) for stem in ("line", "gather", "loaded"))
    builder.branch(condition, fast, slow)
    builder.label(fast)
    builder.store(wide_type(type_), _load_contiguous(access, type_), slot)
    builder.jump(done)
    builder.label(slow)
    builder.store(wide_type(type_), _gather(access, type_), slot)
    builder.jump(done)
    builder.label(done)
    return builder.load(wide_type(type_), slot)


def _store_lanes(access: Access, value: Held) -> None:
    condition = _side_by_side(access, access.lanes.layout.size(value.type))
    if condition in ("", "false"):
        _scatter(access, value)
        return
    if condition == "true":
        _store_contiguous(access, value)
        return
    builder = access.lanes.builder
    fast, slow, done = (builder.fresh(stem) for stem in ("line", "scatter", "stored"))
    builder.branch(condition, fast, slow)
    builder.label(fast)
    _store_contiguous(access, value)
    builder.jump(done)
    builder.label(slow)
    _scatter(access, value)
    builder.jump(done)
    builder.label(done)


def _suffix(type_: Type) -> str:
    """How intrinsics name <32 x type>."""
    return f"v{WIDTH}{type_suffix(type_)}"


def type_suffix(type_: Type) -> str:
    """How intrinsics name a scalar type."""
    return {"half": "f16", "bfloat": "bf16", "float": "f32", "double": "f64", "ptr": "p0"}.get(
        str(type_), str(type_)
    )


def _base(access: Access) -> str:
    assert isinstance(access.pointer, Line)
    return access.pointer.base


def _load_contiguous(access: Access, type_: Type) -> str:
    builder = access.lanes.builder
    wide = wide_type(type_)
    name = f"llvm.masked.load.{_suffix(type_)}.p0"
    builder.declare(name, wide, ["ptr", f"<{WIDTH} x i1>", wide])
    return builder.value(
        f"call {wide} @{name}(ptr align {access.align} {_base(access)}, "
        f"<{WIDTH} x i1> {access.mask.lanes}, {wide} poison)"
    )


def _store_contiguous(access: Access, value: Held) -> None:
    builder = access.lanes.builder
    wide = wide_type(value.type)
    name = f"llvm.masked.store.{_suffix(value.type)}.p0"
    builder.declare(name, "void", [wide, "ptr", f"<{WIDTH} x i1>"])
    builder.emit(
        f"call void @{name}({wide} {access.lanes.wide(value)}, "
        f"ptr align {access.align} {_base(access)}, <{WIDTH} x i1> {access.mask.lanes})"
    )


def _gather(access: Access, type_: Type) -> str:
    builder = access.lanes.builder
    wide = wide_type(type_)
    name = f"llvm.masked.gather.{_suffix(type_)}.v{WIDTH}p0"
    builder.declare(name, wide, [f"<{WIDTH} x ptr>", f"<{WIDTH} x i1>", wide])
    return builder.value(
        f"call {wide} @{name}(<{WIDTH} x ptr> align {access.align} "
        f"{access.lanes.wide(access.pointer)}, "
        f"<{WIDTH} x i1> {access.mask.lanes}, {wide} poison)"
    )


def _scatter(access: Access, value: Held) -> None:
    builder = access.lanes.builder
    wide = wide_type(value.type)
    name = f"llvm.masked.scatter.{_suffix(value.type)}.v{WIDTH}p0"
    builder.declare(name, "void", [wide, f"<{WIDTH} x ptr>", f"<{WIDTH} x i1>"])
    builder.emit(
        f"call void @{name}({wide} {access.lanes.wide(value)}, "
        f"<{WIDTH} x ptr> align {access.align} {access.lanes.wide(access.pointer)}, "
        f"<{WIDTH} x i1> {access.mask.lanes})"
    )


# Vectors that lie side by side: one long load or store and shuffles.


def _interleaved_parts(access: Access, type_: Type) -> int:
    """Elements from one lane's vector to the next, if they leave no gap; else 0."""
    if not isinstance(type_, Vector) or access.scale != 1:
        return 0
    bits = access.lanes.layout.bits(type_.element)
    if bits % 8 or type_.count > 8:
        return 0
    condition = _side_by_side(access, type_.count * bits // 8)
    return type_.count if condition not in ("", "false") else 0


def _whole(access: Access) -> str:
    """The condition (i1) under which all 32 lanes run and their addresses are in line."""
    builder = access.lanes.builder
    full = builder.value(f"icmp eq i32 {access.mask.bits}, -1")
    line = access.pointer
    assert isinstance(line, Line)
    return full if line.holds == "true" else builder.value(f"and i1 {full}, {line.holds}")


def _numbers(values: list[int]) -> str:
    return f"<{len(values)} x i32> <" + ", ".join(f"i32 {v}" for v in values) + ">"


def part_numbers(index: int, count: int) -> str:
    """The shuffle that takes part `index` of each lane's `count` out of memory order."""
    return _numbers([lane * count + index for lane in range(WIDTH)])


def _load_interleaved(access: Access, type_: Type, count: int) -> Held:
    lanes, builder = access.lanes, access.lanes.builder
    element = lanes.part_types(type_)[0]
    wide, long = wide_type(element), f"<{WIDTH * count} x {element}>"
    slots = [builder.slot(wide) for _ in range(count)]
    fast, slow, done = (builder.fresh(stem) for stem in ("line", "gather", "loaded"))
    builder.branch(_whole(access), fast, slow)
    builder.label(fast)
    text = builder.value(f"load {long}, ptr {_base(access)}, align {access.align}")
    for index, slot in enumerate(slots):
        order = part_numbers(index, count)
        one = builder.value(f"shufflevector {long} {text}, {long} poison, {order}")
        builder.store(wide, one, slot)
    builder.jump(done)
    builder.label(slow)
    for offset, slot in zip(part_offsets(type_, lanes.layout), slots, strict=True):
        builder.store(wide, _gather(access.at(offset), element), slot)
    builder.jump(done)
    builder.label(done)
    elements: list[Held] = [Wide(element, builder.load(wide, slot)) for slot in slots]
    return lanes.parted(type_, elements)


def _store_interleaved(access: Access, value: Held, count: int) -> None:
    lanes, builder = access.lanes, access.lanes.builder
    element = lanes.part_types(value.type)[0]
    fast, slow, done = (builder.fresh(stem) for stem in ("line", "scatter", "stored"))
    parts = [lanes.wide(part) for part in lanes.parts(value)]
    builder.branch(_whole(access), fast, slow)
    builder.label(fast)
    long, text = interleave(lanes, element, parts)
    builder.emit(f"store {long} {text}, ptr {_base(access)}, align {access.align}")
    builder.jump(done)
    builder.label(slow)
    for offset, part in zip(part_offsets(value.type, lanes.layout), parts, strict=True):
        _scatter(access.at(offset), Wide(element, part))
    builder.jump(done)
    builder.label(done)


def interleave(lanes: Lanes, element: Type, parts: list[str]) -> tuple[str, str]:
    """All elements in memory order: (type, operand)."""
    count = len(parts)
    padded = 1 << (count - 1).bit_length()
    texts = parts + ["poison"] * (padded - count)
    length = WIDTH
    while len(texts) > 1:
        joined = _numbers(list(range(2 * length)))
        type_ = f"<{length} x {element}>"
        texts = [
            lanes.builder.value(f"shufflevector {type_} {a}, {type_} {b}, {joined}")
            for a, b in zip(texts[::2], texts[1::2], strict=True)
        ]
        length *= 2
    order = [part * WIDTH + lane for lane in range(WIDTH) for part in range(count)]
    type_ = f"<{length} x {element}>"
    text = lanes.builder.value(
        f"shufflevector {type_} {texts[0]}, {type_} poison, {_numbers(order)}"
    )
    return f"<{WIDTH * count} x {element}>", text


# Blocks of memory.


def copy(destination: Access, source: Access, length: int) -> None:
    """Copies `length` bytes for each active lane."""
    for offset, type_ in _pieces(length, min(destination.align, source.align)):
        store(destination.at(offset), load(source.at(offset), type_))


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
