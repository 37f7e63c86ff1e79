"""What fast maths allows is decided here, once: then all code of a kernel computes the same bits.

LLVM would decide late, by what stands in one block when it selects instructions: otherwise for
whole SIMD-groups than for single threads, and hardly at all where it selects quickly.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from metalgen.software import target
from metalgen.software.ir.instructions import FAST
from metalgen.software.ir.model import (
    Block,
    Function,
    Global,
    Instruction,
    Literal,
    Local,
    Module,
    Operand,
)
from metalgen.software.ir.types import F32, Int, Type, Vector

_FUSED = {"float": "f32", "half": "f16"}  # bfloat is computed in float, step by step
# What of it is left to LLVM changes no result that is finite.
_LEFT = frozenset({"nnan", "ninf", "nsz"})


def settle_fast_maths(module: Module, function: Function) -> None:
    """Fuse products with sums, divide once by what several are divided by; forbid all else."""
    uses = Counter(
        operand.value.name
        for instruction in function.instructions()
        for operand in instruction.operands
        if isinstance(operand.value, Local)
    )
    for block in function.blocks:
        _share_reciprocals(block)
        if target.has_fused_products():
            _fuse(module, block, uses)
    for instruction in function.instructions():
        if any(flag in FAST for flag in instruction.flags):
            instruction.flags = tuple(flag for flag in instruction.flags if _may_stay(flag))


def _may_stay(flag: str) -> bool:
    return flag not in FAST or flag in _LEFT


def _allows(instruction: Instruction, flag: str) -> bool:
    return flag in instruction.flags or "fast" in instruction.flags


# Products.


def _fuse(module: Module, block: Block, uses: Counter[str]) -> None:
    """Turn sums of a product used once into `air.fma`."""
    products: dict[str, Instruction] = {}
    gone: set[str] = set()
    written: list[Instruction] = []
    for instruction in block.instructions:
        if (
            instruction.opcode == "fmul"
            and _may_fuse(instruction)
            and uses[instruction.result] == 1
        ):
            products[instruction.result] = instruction
        at = _position_of_product(instruction, products)
        if at is None:
            written.append(instruction)
            continue
        product = products.pop(str(instruction.operands[at].value))
        gone.add(product.result)
        written += _fused(module, instruction, at, product)
    block.instructions = [i for i in written if i.result not in gone or not i.result]


def _may_fuse(instruction: Instruction) -> bool:
    return _allows(instruction, "contract") and _suffix(instruction.type) is not None


def _position_of_product(instruction: Instruction, products: dict[str, Instruction]) -> int | None:
    """Which operand of a sum or difference is a product to be fused with it."""
    if instruction.opcode not in ("fadd", "fsub") or not _may_fuse(instruction):
        return None
    for at, operand in enumerate(instruction.operands):
        if isinstance(operand.value, Local) and operand.value.name in products:
            return at
    return None


def _fused(module: Module, total: Instruction, at: int, product: Instruction) -> list[Instruction]:
    """`a * b + c`, `a * b - c` as `a * b + -c`, `c - a * b` as `-a * b + c`."""
    type_ = total.type
    first, second = product.operands
    other = total.operands[1 - at]
    before: list[Instruction] = []
    if total.opcode == "fsub":
        negated = other if at == 0 else first
        before.append(Instruction("fneg", type_, [negated], f"{total.result}.minus"))
        minus = Operand(type_, Local(before[0].result))
        first, other = (first, minus) if at == 0 else (minus, other)
    name = f"air.fma.{_suffix(type_)}"
    module.declarations.setdefault(name, f"declare {type_} @{name}({type_}, {type_}, {type_})")
    call = Instruction("call", type_, [first, second, other], total.result)
    call.callee = Global(f"@{name}")
    return [*before, call]


def _suffix(type_: Type) -> str | None:
    if isinstance(type_, Vector):
        suffix = _FUSED.get(str(type_.element))
        return suffix and f"v{type_.count}{suffix}"
    return _FUSED.get(str(type_))


# Quotients.


def _share_reciprocals(block: Block) -> None:
    """Multiply by the reciprocal where several floats are divided by one."""
    here = {i.result: i for i in block.instructions if i.result}
    divided: defaultdict[str, list[Instruction]] = defaultdict(list)
    for instruction in block.instructions:
        divisor = _divisor(instruction, here)
        if divisor is not None:
            divided[divisor].append(instruction)
    for divisor, quotients in divided.items():
        if sum(_elements(quotient.type) for quotient in quotients) > 1:
            _multiply_instead(block, divisor, quotients)


def _divisor(instruction: Instruction, here: dict[str, Instruction]) -> str | None:
    """The one float, a local value, that a quotient's elements are divided by."""
    if instruction.opcode != "fdiv" or not _allows(instruction, "arcp"):
        return None
    value = instruction.operands[1].value
    if not isinstance(value, Local):
        return None
    if instruction.type == F32:
        return value.name
    splat = here.get(value.name)
    if splat is None or splat.opcode != "shufflevector" or splat.type != instruction.type:
        return None
    first = splat.operands[0].value
    inserted = here.get(first.name) if isinstance(first, Local) else None
    is_first = str(splat.operands[2].value) == "zeroinitializer"
    if inserted is None or inserted.opcode != "insertelement" or not is_first:
        return None
    scalar, index = inserted.operands[1], inserted.operands[2].value
    is_local = isinstance(scalar.value, Local) and scalar.type == F32
    return str(scalar.value) if is_local and str(index) == "0" else None


def _elements(type_: Type) -> int:
    return type_.count if isinstance(type_, Vector) else 1


def _multiply_instead(block: Block, divisor: str, quotients: list[Instruction]) -> None:
    reciprocal = f"{divisor}.reciprocal.{quotients[0].result[1:]}"
    one = Operand(F32, Literal("1.0"))
    at = next(k for k, i in enumerate(block.instructions) if i is quotients[0])
    inverse = Instruction("fdiv", F32, [one, Operand(F32, Local(divisor))], reciprocal)
    block.instructions.insert(at, inverse)
    for quotient in quotients:
        quotient.opcode = "fmul"
        factor = Local(reciprocal)
        if isinstance(quotient.type, Vector):
            factor = Local(f"{quotient.result}.factor")
            at = next(k for k, i in enumerate(block.instructions) if i is quotient)
            block.instructions[at:at] = _splat(quotient.type, reciprocal, factor.name)
        quotient.operands[1] = Operand(quotient.type, factor)


def _splat(type_: Vector, scalar: str, name: str) -> list[Instruction]:
    poison = Operand(type_, Literal("poison"))
    zero = Operand(Int(64), Literal("0"))
    one = Instruction(
        "insertelement", type_, [poison, Operand(F32, Local(scalar)), zero], f"{name}.one"
    )
    mask = Operand(Vector(type_.count, Int(32)), Literal("zeroinitializer"))
    all_ = Instruction(
        "shufflevector", type_, [Operand(type_, Local(one.result)), poison, mask], name
    )
    return [one, all_]
