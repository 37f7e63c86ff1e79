"""Lanes at known distances: a few long loads or stores, and shuffles."""

from __future__ import annotations

from collections.abc import Sequence

from metalgen.software.ir.types import Array, Layout, Named, Pointer, Struct, Type, Vector
from metalgen.software.simdgroup.access import Access, base_of, gather, part_offsets, scatter
from metalgen.software.simdgroup.covers import Cover, cover
from metalgen.software.simdgroup.lanes import Lanes
from metalgen.software.simdgroup.shapes import evenly
from metalgen.software.simdgroup.values import WIDTH, Held, Line, Wide, wide_type

_MOST_PARTS = 8  # of a vector that is loaded or stored at once


def covered(access: Access, type_: Type, *, holes: bool) -> Cover | None:
    """How to reach all lanes' elements at once; None where other ways are better or must do."""
    line = access.pointer
    if not isinstance(line, Line) or line.holds == "false" or access.scale != 1:
        return None
    element = type_.element if isinstance(type_, Vector) else type_
    count = type_.count if isinstance(type_, Vector) else 1
    if isinstance(element, Array | Struct | Named | Pointer) or count > _MOST_PARTS:
        return None
    bits = access.lanes.layout.bits(element)
    if bits % 8 or (count == 1 and line.pattern.offsets == evenly(bits // 8)):
        return None
    return cover(line.pattern.offsets, bits // 8, count, holes=holes)


def _whole(access: Access) -> str:
    """The condition (i1) under which all 32 lanes run and their addresses are in line."""
    builder = access.lanes.builder
    line = access.pointer
    assert isinstance(line, Line)
    if access.mask.is_full:
        return line.holds
    full = builder.value(f"icmp eq i32 {access.mask.bits}, -1")
    return full if line.holds == "true" else builder.value(f"and i1 {full}, {line.holds}")


def _numbers(values: Sequence[int | None]) -> str:
    listed = ", ".join("i32 poison" if v is None else f"i32 {v}" for v in values)
    return f"<{len(values)} x i32> <{listed}>"


def part_numbers(index: int, count: int) -> str:
    """The shuffle that takes part `index` of each lane's `count` out of memory order."""
    return _numbers([lane * count + index for lane in range(WIDTH)])


def load_covered(access: Access, type_: Type, found: Cover) -> Held:
    lanes, builder = access.lanes, access.lanes.builder
    types = lanes.part_types(type_)
    element = types[0] if types else type_
    condition = _whole(access)
    if condition == "true":
        texts = _load_pieces(access, element, found)
    else:
        wide = wide_type(element)
        slots = [builder.slot(wide) for _ in found.places]
        fast, slow, done = (builder.fresh(stem) for stem in ("line", "gather", "loaded"))
        builder.branch(condition, fast, slow)
        builder.label(fast)
        for slot, text in zip(slots, _load_pieces(access, element, found), strict=True):
            builder.store(wide, text, slot)
        builder.jump(done)
        builder.label(slow)
        for offset, slot in zip(_offsets(type_, lanes.layout), slots, strict=True):
            builder.store(wide, gather(access.at(offset), element), slot)
        builder.jump(done)
        builder.label(done)
        texts = [builder.load(wide, slot) for slot in slots]
    elements: list[Held] = [Wide(element, text) for text in texts]
    return lanes.parted(type_, elements) if types else elements[0]


def _offsets(type_: Type, layout: Layout) -> list[int]:
    return part_offsets(type_, layout) if isinstance(type_, Vector) else [0]


def _load_pieces(access: Access, element: Type, found: Cover) -> list[str]:
    """The wide value of every part."""
    builder = access.lanes.builder
    texts = []
    for piece in found.pieces:
        at = access.at(piece.offset)
        vector = f"<{piece.count} x {element}>"
        texts.append(builder.value(f"load {vector}, ptr {base_of(at)}, align {at.align}"))
    counts = [piece.count for piece in found.pieces]
    length = max(counts)
    joined = concatenate(access.lanes, element, texts, counts)
    starts = [0]
    for count in counts:
        starts.append(starts[-1] + count)
    place_of = {
        starts[number] + index: number * length + index
        for number, count in enumerate(counts)
        for index in range(count)
    }
    total = f"<{length * _power_of_two(len(counts))} x {element}>"
    return [
        builder.value(
            f"shufflevector {total} {joined}, {total} poison, "
            f"{_numbers([place_of[place] for place in part])}"
        )
        for part in found.places
    ]


def _power_of_two(number: int) -> int:
    """The least power of two that is no less."""
    return 1 << (number - 1).bit_length()


def concatenate(lanes: Lanes, element: Type, texts: list[str], counts: list[int]) -> str:
    """Vectors one behind the other, each taking as much room as the longest, a power of two."""
    builder, length = lanes.builder, max(counts)
    whole = []
    for text, count in zip(texts, counts, strict=True):
        if count < length:
            order = _numbers([i if i < count else None for i in range(length)])
            vector = f"<{count} x {element}>"
            text = builder.value(f"shufflevector {vector} {text}, {vector} poison, {order}")
        whole.append(text)
    whole += ["poison"] * (_power_of_two(len(whole)) - len(whole))
    while len(whole) > 1:
        vector, order = f"<{length} x {element}>", _numbers(list(range(2 * length)))
        whole = [
            "poison"
            if first == second == "poison"
            else builder.value(f"shufflevector {vector} {first}, {vector} {second}, {order}")
            for first, second in zip(whole[::2], whole[1::2], strict=True)
        ]
        length *= 2
    return whole[0]


def store_covered(access: Access, value: Held, found: Cover) -> None:
    lanes, builder = access.lanes, access.lanes.builder
    types = lanes.part_types(value.type)
    element = types[0] if types else value.type
    parts = [lanes.wide(part) for part in lanes.parts(value)] if types else [lanes.wide(value)]
    condition = _whole(access)
    if condition == "true":
        _store_pieces(access, element, parts, found)
        return
    fast, slow, done = (builder.fresh(stem) for stem in ("line", "scatter", "stored"))
    builder.branch(condition, fast, slow)
    builder.label(fast)
    _store_pieces(access, element, parts, found)
    builder.jump(done)
    builder.label(slow)
    for offset, part in zip(_offsets(value.type, lanes.layout), parts, strict=True):
        scatter(access.at(offset), Wide(element, part))
    builder.jump(done)
    builder.label(done)


def _store_pieces(access: Access, element: Type, parts: list[str], found: Cover) -> None:
    builder = access.lanes.builder
    length = WIDTH * _power_of_two(len(parts))
    joined = concatenate(access.lanes, element, parts, [WIDTH] * len(parts))
    source = {
        place: part * WIDTH + lane
        for part, places in enumerate(found.places)
        for lane, place in enumerate(places)
    }
    whole, start = f"<{length} x {element}>", 0
    for piece in found.pieces:
        at = access.at(piece.offset)
        order = _numbers([source[start + index] for index in range(piece.count)])
        text = builder.value(f"shufflevector {whole} {joined}, {whole} poison, {order}")
        vector = f"<{piece.count} x {element}>"
        builder.emit(f"store {vector} {text}, ptr {base_of(at)}, align {at.align}")
        start += piece.count


def interleave(lanes: Lanes, element: Type, parts: list[str]) -> tuple[str, str]:
    """All elements in memory order: (type, operand)."""
    count = len(parts)
    text = concatenate(lanes, element, parts, [WIDTH] * count)
    order = _numbers([part * WIDTH + lane for lane in range(WIDTH) for part in range(count)])
    type_ = f"<{WIDTH * _power_of_two(count)} x {element}>"
    text = lanes.builder.value(f"shufflevector {type_} {text}, {type_} poison, {order}")
    return f"<{WIDTH * count} x {element}>", text
