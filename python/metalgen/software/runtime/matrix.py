"""8x8 SIMD-group matrices held whole, row by row: `rowmajor.air.simdgroup_matrix_8x8_NAME`.

A product accumulates in f32, one fused multiply-add per column of A for all 64 elements, and is
rounded once to the accumulator's type. Where it runs `in_turn` LLVM does not mix it with the next:
for kernels with more sums than the host has registers. In loads and stores the origin (column,
row) counts in memory, before any transposition.
"""

from __future__ import annotations

from metalgen.software import target
from metalgen.software.runtime.ir import Code, Function, Type, Value, constant, vector_constant
from metalgen.software.runtime.rounding import narrow, widen

_SIDE = 8
_CELLS = [(row, column) for row in range(_SIDE) for column in range(_SIDE)]
_TRANSPOSED = [column * _SIDE + row for row, column in _CELLS]
_POINTER = Type("ptr")
_MEMORY = (_POINTER, Type("i64"), Type("i64", 2), Type("i1"))  # elements per row, origin, transpose
_STRIDED = (_POINTER, *(Type("i64", 2),) * 3)  # extents, strides, origin; of columns, then of rows


def _multiply_accumulate(
    code: Code, arguments: list[Value], result: Type, *, in_turn: bool
) -> Value:
    a, b, total = (widen(code, argument) for argument in arguments)
    total = _in_place(code, total) if in_turn else total
    for k in range(_SIDE):
        column_of_a = code.permute(a, [row * _SIDE + k for row, _ in _CELLS])
        row_of_b = code.permute(b, [k * _SIDE + column for _, column in _CELLS])
        total = code.intrinsic("fmuladd", column_of_a, row_of_b, total)
    return narrow(code, _in_place(code, total) if in_turn else total, result)


def _in_place(code: Code, total: Value) -> Value:
    """`total`, by an empty piece of assembly that LLVM must leave in its place.

    Else it would mix many products, column by column, and keep all their sums in memory.
    """
    constraint, floats = _registers()
    if not floats:
        return total
    count = total.type.lanes // floats
    part = Type(total.type.element, floats)
    parts = [code.permute(total, list(range(i * floats, (i + 1) * floats))) for i in range(count)]
    outputs = ",".join([f"={constraint}"] * count + [str(i) for i in range(count)])
    struct = "{ " + ", ".join([part.ir] * count) + " }"
    listed = ", ".join(f"{part.ir} {value.text}" for value in parts)
    held = code.let(f'call {struct} asm sideeffect "", "{outputs}"({listed})', Type(struct))
    parts = [code.let(f"extractvalue {struct} {held.text}, {i}", part) for i in range(count)]
    while len(parts) > 1:
        lanes = list(range(2 * parts[0].type.lanes))
        parts = [code.shuffle(parts[i], parts[i + 1], lanes) for i in range(0, len(parts), 2)]
    return parts[0]


def _registers() -> tuple[str, int]:
    """How assembly names the vector registers, and the floats that one holds; 0 if it does not."""
    host = target.host()
    if host.has("avx512f"):
        return "v", 16
    return ("x", 8) if host.has("avx") else ("", 0)


def _row_pointers(
    code: Code, pointer: Value, stride: Value, origin: Value, element: Type
) -> list[Value]:
    column, row = code.extract(origin, 0), code.extract(origin, 1)
    start = code.binary("add", code.binary("mul", row, stride), column)
    pointers = []
    for i in range(_SIDE):
        offset = code.binary("add", start, code.binary("mul", stride, constant(i, stride.type)))
        gep = f"getelementptr {element.ir}, ptr {pointer.text}, i64 {offset.text}"
        pointers.append(code.let(gep, _POINTER))
    return pointers


def _alignment(element: Type) -> int:
    return element.bits // 8


def _load(code: Code, arguments: list[Value], matrix: Type) -> Value:
    pointer, stride, origin, transpose = arguments
    element = Type(matrix.element)
    row = Type(matrix.element, _SIDE)
    parts = [
        code.let(f"load {row.ir}, ptr {address.text}, align {_alignment(element)}", row)
        for address in _row_pointers(code, pointer, stride, origin, element)
    ]
    while len(parts) > 1:
        lanes = list(range(2 * parts[0].type.lanes))
        parts = [code.shuffle(parts[i], parts[i + 1], lanes) for i in range(0, len(parts), 2)]
    return code.select(transpose, code.permute(parts[0], _TRANSPOSED), parts[0])


def _store(code: Code, arguments: list[Value]) -> None:
    matrix, pointer, stride, origin, transpose = arguments
    element = Type(matrix.type.element)
    cells = code.select(transpose, code.permute(matrix, _TRANSPOSED), matrix)
    for i, address in enumerate(_row_pointers(code, pointer, stride, origin, element)):
        row = code.permute(cells, list(range(i * _SIDE, (i + 1) * _SIDE)))
        align = f"align {_alignment(element)}"
        code.do(f"store {row.type.ir} {row.text}, ptr {address.text}, {align}")


def _cell_pointers(code: Code, arguments: list[Value], element: Type) -> list[Value]:
    """Where each cell lies, given what macOS 26 passes; a transposed matrix swaps its strides."""
    pointer, _, strides, origin = arguments
    products: list[Value] = []
    for cells in ([column for _, column in _CELLS], [row for row, _ in _CELLS]):
        which = int(bool(products))
        places = code.binary(
            "add",
            code.splat(code.extract(origin, which), len(cells)),
            vector_constant(cells, "i64"),
        )
        stride = code.splat(code.extract(strides, which), len(cells))
        products.append(code.binary("mul", places, stride))
    offsets = code.binary("add", *products)
    return [
        code.let(
            f"getelementptr {element.ir}, ptr {pointer.text}, i64 {code.extract(offsets, i).text}",
            _POINTER,
        )
        for i in range(len(_CELLS))
    ]


def _load_strided(code: Code, arguments: list[Value], matrix: Type) -> Value:
    element = Type(matrix.element)
    result = Value("poison", matrix)
    for i, address in enumerate(_cell_pointers(code, arguments, element)):
        cell = code.let(f"load {element.ir}, ptr {address.text}", element)
        result = code.insert(result, cell, i)
    return result


def _store_strided(code: Code, arguments: list[Value]) -> None:
    matrix, *memory = arguments
    element = Type(matrix.type.element)
    for i, address in enumerate(_cell_pointers(code, memory, element)):
        code.do(f"store {element.ir} {code.extract(matrix, i).text}, ptr {address.text}")


def _filled(code: Code, arguments: list[Value]) -> Value:
    return code.splat(arguments[0], _SIDE * _SIDE)


def _diagonal(code: Code, arguments: list[Value]) -> Value:
    filled = _filled(code, arguments)
    lanes = [cell if row == column else 64 + cell for cell, (row, column) in enumerate(_CELLS)]
    return code.shuffle(filled, constant(0, filled.type), lanes)


def matrix_function(name: str, suffixes: tuple[Type, ...]) -> Function | None:
    """The function `rowmajor.air.simdgroup_matrix_8x8_name.suffixes`, pointer suffixes left out."""
    if not suffixes or suffixes[0].lanes != 64 or not suffixes[0].is_float:
        return None
    matrix = suffixes[0]
    if name in ("multiply_accumulate", "multiply_accumulate_in_turn") and len(suffixes) == 4:
        in_turn = name.endswith("in_turn")
        return Function(
            suffixes[1:], matrix, lambda c, a: _multiply_accumulate(c, a, matrix, in_turn=in_turn)
        )
    if name == "load":
        return Function(_MEMORY, matrix, lambda c, a: _load(c, a, matrix), pure=False)
    if name == "store":
        return Function((matrix, *_MEMORY), None, _store, pure=False)
    if name == "load_strided":
        return Function(_STRIDED, matrix, lambda c, a: _load_strided(c, a, matrix), pure=False)
    if name == "store_strided":
        return Function((matrix, *_STRIDED), None, _store_strided, pure=False)
    if name in ("init_filled", "init_diag"):
        body = _filled if name == "init_filled" else _diagonal
        return Function((Type(matrix.element),), matrix, body)
    return None
