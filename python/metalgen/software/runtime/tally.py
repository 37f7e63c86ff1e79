"""What instrumented kernels call in place of nothing: `v32.air.simd_active_tally*`, of no kernel.

`software.counting` writes the calls. They are SIMD-group operations, so that every lowering makes
them once for the lanes that are active together. All return 0: operations without a result would
need a form of their own.
"""

from __future__ import annotations

from metalgen.software.runtime.ir import LANES, Code, Function, Type, Value, constant

BLOCK = "air.simd_active_tally.i64"
ACCESS = "air.simd_active_tally_access.i64"
MATRIX = "air.simd_active_tally_matrix.i64"

_WIDE = Type("i64", LANES)
_MASK = Type("i32")
_POINTER = Type("ptr")


def tally_function(stem: str) -> Function | None:
    """The function `v32.air.stem.i64`: a site's address, what is counted, the mask of lanes."""
    bodies = {"simd_active_tally": (1, _block), "simd_active_tally_access": (3, _access)}
    bodies["simd_active_tally_matrix"] = (4, _matrix)
    if stem not in bodies:
        return None
    operands, body = bodies[stem]
    return Function((*[_WIDE] * operands, _MASK), _MASK, body, pure=False)


def _block(code: Code, arguments: list[Value]) -> Value:
    site, active = arguments
    return code.call("tally_block", _MASK, _pointer(code, site, active), active)


def _access(code: Code, arguments: list[Value]) -> Value:
    site, addresses, bytes_, active = arguments
    memory = code.let(f"alloca {_WIDE.ir}, align 64", _POINTER)
    code.do(f"store {_WIDE.ir} {addresses.text}, ptr {memory.text}, align 64")
    each = _first(code, bytes_, active)
    return code.call("tally_access", _MASK, _pointer(code, site, active), memory, each, active)


def _matrix(code: Code, arguments: list[Value]) -> Value:
    site, first, stride, row, active = arguments
    same = [_first(code, value, active) for value in (first, stride, row)]
    return code.call("tally_matrix", _MASK, _pointer(code, site, active), *same, active)


def _first(code: Code, values: Value, active: Value) -> Value:
    """The lowest active lane's; the others' may be anything."""
    lane = code.intrinsic("cttz", active, flag=", i1 false")
    return code.extract(values, code.binary("and", lane, constant(LANES - 1, _MASK)))


def _pointer(code: Code, site: Value, active: Value) -> Value:
    return code.let(f"inttoptr i64 {_first(code, site, active).text} to ptr", _POINTER)
