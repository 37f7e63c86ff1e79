"""Performs meetings: LLVM IR that runs an operation once for all lanes, from slots to slots."""

from __future__ import annotations

import re
from collections.abc import Iterator

from metalgen.software import runtime
from metalgen.software.abi import SIMDGROUP_WIDTH
from metalgen.software.ir.types import I1, I8, VOID, Float, Type, Vector
from metalgen.software.matrices import NOMINAL, OWNED, cell
from metalgen.software.meetings import SLOT_BYTES, Meeting, Value, stored

_MATRIX = "air.simdgroup_matrix_"
_VECTOR_SUFFIX = re.compile(r"\.v\d+(?=[a-z])")


def perform(meeting: Meeting) -> Iterator[str]:
    """Instructions that run the operation for the lanes of the mask `%active`, in `%payload`."""
    for value in meeting.operands:
        yield from _load_slots(value)
    if meeting.name.startswith(_MATRIX):
        yield from _perform_on_matrices(meeting)
    elif meeting.operands or meeting.result:
        yield from _perform_on_lanes(meeting)


def calls(meeting: Meeting) -> list[str]:
    """The runtime functions that `perform` calls."""
    if meeting.name.startswith(_MATRIX):
        return [f"rowmajor.{meeting.name}"]
    has_values = meeting.operands or meeting.result
    return [f"v32.{_VECTOR_SUFFIX.sub('.', meeting.name)}"] if has_values else []


def _perform_on_lanes(meeting: Meeting) -> Iterator[str]:
    """Component by component: the runtime's functions take <32 x T> of scalars, i32 for 32 i1."""
    (name,) = calls(meeting)
    returned = runtime.declaration(name).removeprefix("declare ").partition(" @")[0]
    components = meeting.result.components if meeting.result else []
    for c, (slot, type_) in enumerate(components):
        slots = [v.components[c if isinstance(v.type, Vector) else 0] for v in meeting.operands]
        arguments = [
            f"i32 %slot.{s}.mask" if t == I1 else f"{_lanes(t)} %slot.{s}" for s, t in slots
        ]
        result = f"%result.{slot}"
        yield f"{result} = call {returned} @{name}({', '.join([*arguments, 'i32 %active'])})"
        if returned == str(type_):
            yield from _splat(result, type_)
            result += ".all"
        elif type_ == I1:
            yield f"{result}.all = bitcast i32 {result} to {_lanes(I1)}"
            result += ".all"
        yield from _store_slot(result, slot, type_)


def _perform_on_matrices(meeting: Meeting) -> Iterator[str]:
    """Matrices gathered from their lanes; all else is the same for all lanes by Metal's rule."""
    yield "%first.bit = call i32 @llvm.cttz.i32(i32 %active, i1 false)"
    yield f"%first = and i32 %first.bit, {SIMDGROUP_WIDTH - 1}"
    arguments = []
    for j, value in enumerate(meeting.operands):
        operand = f"%operand.{j}"
        if _is_matrix(value.type):
            yield from _gather(value, operand)
            arguments.append(f"{_whole(value.type)} {operand}")
        else:
            yield from _from_first_lane(value, operand)
            arguments.append(f"{value.type} {operand}")
    (name,) = calls(meeting)
    result = meeting.result
    returned = VOID if result is None else _whole(result.type)
    call = f"call {returned} @{name}({', '.join(arguments)})"
    yield call if result is None else f"%matrix = {call}"
    if result is not None:
        for element, (slot, type_) in enumerate(result.components):
            cells = ", ".join(f"i32 {8 * r + c}" for r, c in _cells(element))
            yield (
                f"%result.{slot} = shufflevector {returned} %matrix, {returned} poison, "
                f"<{SIMDGROUP_WIDTH} x i32> <{cells}>"
            )
            yield from _store_slot(f"%result.{slot}", slot, type_)


def _is_matrix(type_: Type) -> bool:
    return isinstance(type_, Vector) and isinstance(type_.element, Float)


def _whole(type_: Type) -> Vector:
    assert isinstance(type_, Vector)
    return Vector(NOMINAL, type_.element)


def _cells(element: int) -> list[tuple[int, int]]:
    """Row and column of each lane's first or second element."""
    return [cell(lane, element) for lane in range(SIMDGROUP_WIDTH)]


def _gather(value: Value, name: str) -> Iterator[str]:
    (first, type_), (second, _) = value.components
    places = {
        place: lane + SIMDGROUP_WIDTH * element
        for element in range(OWNED)
        for lane, place in enumerate(_cells(element))
    }
    mask = ", ".join(f"i32 {places[divmod(i, 8)]}" for i in range(NOMINAL))
    yield (
        f"{name} = shufflevector {_lanes(type_)} %slot.{first}, {_lanes(type_)} %slot.{second}, "
        f"<{NOMINAL} x i32> <{mask}>"
    )


def _from_first_lane(value: Value, name: str) -> Iterator[str]:
    vector = "poison"
    for c, (slot, type_) in enumerate(value.components):
        scalar = f"{name}.{c}" if isinstance(value.type, Vector) else name
        yield f"{scalar} = extractelement {_lanes(type_)} %slot.{slot}, i32 %first"
        if isinstance(value.type, Vector):
            after = name if c == value.type.count - 1 else f"{name}.vector.{c}"
            yield f"{after} = insertelement {value.type} {vector}, {type_} {scalar}, i32 {c}"
            vector = after


def _lanes(type_: Type) -> Vector:
    return Vector(SIMDGROUP_WIDTH, type_)


def _load_slots(value: Value) -> Iterator[str]:
    """Define `%slot.N`, all lanes of a slot, for each of the value's."""
    for slot, type_ in value.components:
        name = f"%slot.{slot}"
        loaded = f"{name}.bytes" if type_ == I1 else name
        yield f"{name}.at = getelementptr i8, ptr %payload, i64 {slot * SLOT_BYTES}"
        yield f"{loaded} = load {_lanes(stored(type_))}, ptr {name}.at, align 64"
        if type_ == I1:
            yield f"{name} = trunc {_lanes(I8)} {loaded} to {_lanes(I1)}"
            yield f"{name}.mask = bitcast {_lanes(I1)} {name} to i32"


def _splat(value: str, type_: Type) -> Iterator[str]:
    """Define `value.all`, the scalar in all lanes."""
    lanes = _lanes(type_)
    yield f"{value}.one = insertelement {lanes} poison, {type_} {value}, i32 0"
    yield (
        f"{value}.all = shufflevector {lanes} {value}.one, {lanes} poison, "
        f"<{SIMDGROUP_WIDTH} x i32> zeroinitializer"
    )


def _store_slot(value: str, slot: int, type_: Type) -> Iterator[str]:
    if type_ == I1:
        yield f"{value}.bytes = zext {_lanes(I1)} {value} to {_lanes(I8)}"
        value = f"{value}.bytes"
    yield f"%result.at.{slot} = getelementptr i8, ptr %payload, i64 {slot * SLOT_BYTES}"
    yield f"store {_lanes(stored(type_))} {value}, ptr %result.at.{slot}, align 64"
