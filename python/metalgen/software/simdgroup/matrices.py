"""SIMD-group matrices: 8×8 values of which each lane owns two."""

from __future__ import annotations

from metalgen.errors import UnsupportedError
from metalgen.software.ir.model import Function, Instruction, Local
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


_REGISTERS = 8  # sums that the host's registers hold besides what they are made of


def products_in_turn(function: Function) -> frozenset[str]:
    """The products of blocks that add to more matrices at a time than the host can hold."""
    found: set[str] = set()
    for block in function.blocks:
        products = [i for i in block.instructions if _is_product(i)]
        here = {i.result: i for i in block.instructions if i.result}
        if _sums_at_once(products, here) > _REGISTERS:
            found |= {product.result for product in products}
    return frozenset(found)


def _sums_at_once(products: list[Instruction], here: dict[str, Instruction]) -> int:
    """How many sums, at most, still grow when another has begun to."""
    sum_of: dict[str, int] = {}
    first: list[int] = []
    last: list[int] = []
    for position, product in enumerate(products):
        before = _product_added_to(product, here)
        number = sum_of[before] if before in sum_of else len(first)
        if number == len(first):
            first.append(position)
            last.append(position)
        sum_of[product.result] = number
        last[number] = position
    return max(
        (sum(f <= at <= g for f, g in zip(first, last, strict=True)) for at in first), default=0
    )


def _is_product(instruction: Instruction) -> bool:
    return instruction.callee_name.startswith(f"{_PREFIX}multiply_accumulate.")


def _product_added_to(product: Instruction, here: dict[str, Instruction]) -> str | None:
    """The other product of the same block that it adds to, if it does, given by its parts."""
    value = product.operands[2].value
    while isinstance(value, Local) and value.name in here:
        source = here[value.name]
        if _is_product(source):
            return source.result
        if source.opcode == "insertelement":
            value = source.operands[1].value
        elif source.opcode in ("shufflevector", "extractelement"):
            value = source.operands[0].value
        else:
            return None
    return None


def lower_matrix(
    lanes: Lanes, call: Instruction, operands: list[Held], mask: Mask, in_turn: frozenset[str]
) -> Held | None:
    """multiply, multiply_accumulate, load, store, init_filled: by every lane of the SIMD-group
    together.
    """
    name = call.callee_name
    if call.result in in_turn:
        name = name.replace("multiply_accumulate", "multiply_accumulate_in_turn")
    operation = call.callee_name.removeprefix(_PREFIX).split(".")[0]
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
