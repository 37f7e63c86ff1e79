"""SIMD-group matrices: 8×8 values of which each lane owns two."""

from __future__ import annotations

from metalgen.errors import UnsupportedError
from metalgen.software.ir.model import Instruction
from metalgen.software.ir.types import Type, Vector
from metalgen.software.simdgroup.lanes import Lanes
from metalgen.software.simdgroup.values import WIDTH, Held, Mask, Same, Wide, wide_type

_PREFIX = "air.simdgroup_matrix_8x8_"


def row_and_column(lane: int) -> tuple[int, int]:
    """Where the first of a lane's two elements stands; the second is its right neighbour."""
    quad = lane // 4
    return (quad & 4) + (lane // 2 % 4), (quad & 2) * 2 + (lane % 2) * 2


# Row-major position of elements 0 and 1 of every lane, and back.
_POSITIONS = [
    8 * row + column + element
    for element in (0, 1)
    for row, column in map(row_and_column, range(WIDTH))
]
_FRAGMENTS = sorted(range(2 * WIDTH), key=_POSITIONS.__getitem__)


def lower_matrix(lanes: Lanes, call: Instruction, operands: list[Held], mask: Mask) -> Held | None:
    """multiply, multiply_accumulate, load, store, init_filled: by every lane of the SIMD-group
    together.
    """
    name = call.callee_name
    operation = name.removeprefix(_PREFIX).split(".")[0]
    runtime = f"rowmajor.{name}"
    if operation in ("multiply_accumulate", "multiply"):
        arguments = [_row_major(lanes, operand) for operand in operands]
        return _fragments(lanes, call.type, lanes.builder.call(runtime, str(call.type), arguments))
    if operation in ("init_filled", "init_diag"):
        arguments = [(str(o.type), _uniform(lanes, o, mask)) for o in operands]
        return _fragments(lanes, call.type, lanes.builder.call(runtime, str(call.type), arguments))
    if operation in ("load", "load_strided"):
        arguments = [(str(o.type), _uniform(lanes, o, mask)) for o in operands]
        return _fragments(lanes, call.type, lanes.builder.call(runtime, str(call.type), arguments))
    if operation in ("store", "store_strided"):
        rest = [(str(o.type), _uniform(lanes, o, mask)) for o in operands[1:]]
        lanes.builder.call(runtime, "void", [_row_major(lanes, operands[0]), *rest])
        return None
    raise UnsupportedError(f"not supported: the function {name!r} on the software device")


def _uniform(lanes: Lanes, held: Held, mask: Mask) -> str:
    """A scalar or vector that every lane must have passed alike: the lowest active lane's."""
    if isinstance(held, Same):
        return held.text
    parts = lanes.part_types(held.type)
    if parts:
        elements: list[Held] = [
            Same(part.type, _uniform(lanes, part, mask)) for part in lanes.parts(held)
        ]
        return lanes.same(lanes.parted(held.type, elements))
    lane = lanes.builder.call("llvm.cttz.i32", "i32", [("i32", mask.bits), ("i1", "true")])
    wide = f"{wide_type(held.type)} {lanes.wide(held)}"
    return lanes.builder.value(f"extractelement {wide}, i32 {lane}")


def _numbers(values: list[int]) -> str:
    return f"<{len(values)} x i32> <" + ", ".join(f"i32 {v}" for v in values) + ">"


def _row_major(lanes: Lanes, held: Held) -> tuple[str, str]:
    """The whole matrix as an operand of type <64 x T>, from the lanes' elements."""
    element = lanes.part_types(held.type)[0]
    first, second = (lanes.wide(part) for part in lanes.parts(held))
    wide = wide_type(element)
    order = _numbers(_FRAGMENTS)
    text = lanes.builder.value(f"shufflevector {wide} {first}, {wide} {second}, {order}")
    return f"<64 x {element}>", text


def _fragments(lanes: Lanes, type_: Type, text: str) -> Held:
    """Each lane's two elements of a row-major matrix."""
    assert isinstance(type_, Vector)
    elements: list[Held] = []
    for start in (0, WIDTH):
        order = _numbers(_POSITIONS[start : start + WIDTH])
        one = lanes.builder.value(f"shufflevector {type_} {text}, {type_} poison, {order}")
        elements.append(Wide(type_.element, one))
    return lanes.parted(type_, elements)
