"""Integer divisions that never trap: Metal leaves x / 0 undefined, a CPU ends the process."""

from __future__ import annotations

from metalgen.software.ir.model import Function, Instruction, Literal
from metalgen.software.ir.types import VOID, Vector

_DIVISIONS = ("udiv", "sdiv", "urem", "srem")


def contain_divisions(function: Function) -> None:
    """Have x / 0 be x, and x / -1 be -x, of whatever x."""
    for block in function.blocks:
        if any(i.opcode in _DIVISIONS for i in block.instructions):
            block.instructions = [w for i in block.instructions for w in _contained(i)]


def _contained(division: Instruction) -> list[Instruction]:
    if division.opcode not in _DIVISIONS or _is_harmless(division):
        return [division]
    type_, result = division.type, division.result
    dividend, divisor = (operand.value for operand in division.operands)
    one, minus = (_number(division, value) for value in (1, -1))
    condition = f"<{type_.count} x i1>" if isinstance(type_, Vector) else "i1"
    lines = [
        f"{result}.zero = icmp eq {type_} {divisor}, {_number(division, 0)}",
        f"{result}.divisor = select {condition} {result}.zero, {type_} {one}, {type_} {divisor}",
    ]
    if division.opcode[0] == "u":
        lines.append(f"{result} = {division.opcode} {type_} {dividend}, {result}.divisor")
    else:
        special = f"sub {type_} {_number(division, 0)}, {dividend}"
        if division.opcode == "srem":
            special = f"xor {type_} {dividend}, {dividend}"
        lines += [
            f"{result}.minus = icmp eq {type_} {result}.divisor, {minus}",
            f"{result}.safe = select {condition} {result}.minus, {type_} {one}, "
            f"{type_} {result}.divisor",
            f"{result}.plain = {division.opcode} {type_} {dividend}, {result}.safe",
            f"{result}.special = {special}",
            f"{result} = select {condition} {result}.minus, {type_} {result}.special, "
            f"{type_} {result}.plain",
        ]
    return [Instruction(line, VOID, []) for line in lines]  # from here on only printed


def _is_harmless(division: Instruction) -> bool:
    divisor = division.operands[1].value
    return isinstance(divisor, Literal) and divisor.text.isdigit() and divisor.text != "0"


def _number(division: Instruction, value: int) -> str:
    type_ = division.type
    return f"splat ({type_.element} {value})" if isinstance(type_, Vector) else str(value)
