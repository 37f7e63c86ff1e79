"""What an instruction of AIR costs a GPU: its kind, as `chips.Rates` names it, and FLOPs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from metalgen.software.ir.model import Instruction, Local
from metalgen.software.ir.types import Float, Int, Type, Vector

_MATRIX_FLOPS = 2 * 8 * 8 * 8  # of a SIMD-group, an 8×8 product and sum
_LANES = 32

_FLOAT_OPCODES = {"fadd": 1, "fsub": 1, "fmul": 1, "fneg": 0, "frem": 1}
_INTEGER_OPCODES = frozenset("add sub and or xor".split())
_DIVISIONS = frozenset("udiv sdiv urem srem".split())
_SHIFTS = frozenset("shl lshr ashr".split())
_CONVERSIONS = frozenset("fptosi fptoui sitofp uitofp fptrunc fpext".split())
_SPECIAL = re.compile(
    r"air\.(fast_)?(exp|log|sin|cos|tan|sqrt|rsqrt|pow|atan|asin|acos|sinh|cosh|tanh|divide|recip"
    r"|erf)"
)
_BETWEEN_LANES = re.compile(r"air\.(simd|quad)_(\w+?)\.")
_REDUCTIONS = frozenset("sum product min max and or xor".split())
_MULTIPLY_ADD = re.compile(r"(air|llvm)\.(fma|fmuladd)\b")
_CHEAP = re.compile(
    r"(air|llvm)\.(fast_)?(fabs|abs|fmin|fmax|min|max|clamp|saturate|floor|ceil|trunc|rint|round"
    r"|fract|sign|copysign|minnum|maxnum|umin|umax|smin|smax|median3|mix|step|dot)"
)
_FREE = re.compile(
    r"(air\.(wg\.|simdgroup\.barrier|get_|is_uniform)|llvm\.(lifetime|assume|dbg|mem|experimental))"
)


@dataclass(slots=True)
class Operations:
    """Of some instructions: how many of each kind a thread executes, FLOPs, meeting points."""

    kinds: Counter[str] = field(default_factory=Counter)
    flops: float = 0.0  # of one thread; matrices' are shared out among the lanes
    barriers: int = 0
    matrix_products: int = 0
    between_lanes: int = 0


def operations(instructions: Iterable[Instruction]) -> Operations:
    """What a block costs. A product that feeds one sum is taken to become one multiply-add."""
    listed = list(instructions)
    fused = _fused(listed)
    found = Operations()
    for instruction in listed:
        if instruction.opcode == "call":
            _add_call(found, instruction)
        elif instruction.result not in fused:
            _add_plain(found, instruction)
        elif isinstance(instruction.type, Vector | Float):
            found.flops += _width(instruction.type)  # the sum's FLOPs, at no further cycle
    return found


def _fused(listed: list[Instruction]) -> set[str]:
    """Sums of which one operand is a product that nothing else in the block uses."""
    uses = Counter(str(o.value) for i in listed for o in i.operands if isinstance(o.value, Local))
    products = {i.result for i in listed if i.opcode == "fmul" and _may_fuse(i)}
    return {
        i.result
        for i in listed
        if i.opcode in ("fadd", "fsub")
        and _may_fuse(i)
        and any(str(o.value) in products and uses[str(o.value)] == 1 for o in i.operands)
    }


def _may_fuse(instruction: Instruction) -> bool:
    return bool({"fast", "contract"} & set(instruction.flags))


def _add_plain(found: Operations, instruction: Instruction) -> None:
    opcode, type_ = instruction.opcode, instruction.type
    width = _width(type_)
    if opcode in _FLOAT_OPCODES:
        found.kinds[_float_kind(type_)] += width
        found.flops += _FLOAT_OPCODES[opcode] * width
    elif opcode == "fdiv":
        found.kinds["special" if _may_fuse(instruction) else "precise"] += width
        found.flops += width
    elif opcode == "mul":
        found.kinds["integer_64" if _bits(type_) == 64 else "integer_multiply"] += width
    elif opcode in _INTEGER_OPCODES:
        found.kinds["integer_64" if _bits(type_) == 64 else "integer"] += width
    elif opcode in _DIVISIONS:
        found.kinds["precise"] += width
    elif opcode in _SHIFTS:
        found.kinds["shift"] += width
    elif opcode in _CONVERSIONS:
        found.kinds["convert"] += width
    elif opcode in ("icmp", "fcmp", "select"):
        found.kinds["compare"] += width
    elif opcode == "getelementptr":
        found.kinds["integer"] += sum(isinstance(o.value, Local) for o in instruction.operands[1:])


def _add_call(found: Operations, call: Instruction) -> None:
    name, width = call.callee_name, _width(call.type)
    between = _BETWEEN_LANES.match(name)
    if name == "air.wg.barrier":
        found.barriers += 1
    elif name.startswith("air.simdgroup_matrix_8x8_multiply"):
        found.matrix_products += 1
        found.kinds["matrix"] += 1
        found.flops += _MATRIX_FLOPS / _LANES
    elif between is not None:
        reduces = between[2] in _REDUCTIONS or between[2].startswith("prefix")
        found.kinds["reduce" if reduces else "shuffle"] += width
        found.between_lanes += 1
        if reduces and _is_float(call.type):
            found.flops += width
    elif _MULTIPLY_ADD.match(name):
        found.kinds[_float_kind(call.type)] += width
        found.flops += 2 * width
    elif name.startswith("air.convert."):
        found.kinds["convert"] += width
    elif _SPECIAL.match(name):
        found.kinds["special" if ".fast_" in name else "precise"] += width
        found.flops += width
    elif _CHEAP.match(name):
        found.kinds["compare"] += width
        found.flops += width if _is_float(call.type) else 0
    elif not _FREE.match(name):
        found.kinds["integer"] += width


def _width(type_: Type) -> int:
    return type_.count if isinstance(type_, Vector) else 1


def _scalar(type_: Type) -> Type:
    return type_.element if isinstance(type_, Vector) else type_


def _is_float(type_: Type) -> bool:
    return isinstance(_scalar(type_), Float)


def _float_kind(type_: Type) -> str:
    scalar = _scalar(type_)
    return "fp32" if isinstance(scalar, Float) and scalar.name == "float" else "fp16"


def _bits(type_: Type) -> int:
    scalar = _scalar(type_)
    return scalar.bits if isinstance(scalar, Int) else 32
