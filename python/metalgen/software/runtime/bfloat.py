"""Spells out bf16 arithmetic as f32, where LLVM would call a function for each lane."""

from __future__ import annotations

from dataclasses import replace

import llvmlite.binding as llvm

from metalgen.software.ir.model import Function, Global, Instruction, Local, Module, Operand
from metalgen.software.ir.types import F32, Float, Type, Vector

_BF16 = Float("bfloat")
_ARITHMETIC = ("fadd", "fsub", "fmul", "fdiv", "frem")
_FUSED = ("llvm.fmuladd.", "llvm.fma.")


def host_has_bf16() -> bool:
    """Whether this host's processor rounds to bf16 in one instruction."""
    features = llvm.get_host_cpu_features()
    return any(features.get(name, False) for name in ("avx512bf16", "avxneconvert", "bf16"))


def spell_out_bf16(module: Module, function: Function) -> None:
    """Makes `function` add, multiply and round bf16 by way of f32 and the runtime's conversion."""
    for block in function.blocks:
        block.instructions = [
            replacement
            for instruction in block.instructions
            for replacement in _spelled_out(module, instruction)
        ]


def _spelled_out(module: Module, instruction: Instruction) -> list[Instruction]:
    wide = _in_f32(instruction.type)
    if wide is None:
        return [instruction]
    if instruction.opcode == "fptrunc":
        (source,) = instruction.operands
        return [_rounding(module, instruction, source)] if source.type == wide else [instruction]
    fused = instruction.callee_name.startswith(_FUSED)
    if instruction.opcode not in _ARITHMETIC and not fused:
        return [instruction]
    widened = [
        Instruction("fpext", wide, [operand], _derived(instruction, str(i)))
        for i, operand in enumerate(instruction.operands)
    ]
    operands = [Operand(wide, Local(extension.result)) for extension in widened]
    computed = replace(
        instruction, type=wide, operands=operands, result=_derived(instruction, "wide")
    )
    if fused:
        stem = instruction.callee_name.rpartition(".")[0]
        name = f"{stem}.{'f32' if wide == F32 else f'v{_lanes(wide)}f32'}"
        computed.callee = Global(f"@{name}")
        _declare(module, name, wide, [wide] * 3)
    return [
        *widened,
        computed,
        _rounding(module, instruction, Operand(wide, Local(computed.result))),
    ]


def _in_f32(type_: Type) -> Type | None:
    """The f32 type of as many lanes; None unless `type_` is bf16."""
    if type_ == _BF16:
        return F32
    if isinstance(type_, Vector) and type_.element == _BF16:
        return Vector(type_.count, F32)
    return None


def _lanes(type_: Type) -> int:
    return type_.count if isinstance(type_, Vector) else 1


def _derived(instruction: Instruction, suffix: str) -> str:
    """A name that no other value has: plain numbers would have to stay consecutive."""
    stem = instruction.result[1:].strip('"')
    return f'%"{stem}.bf16.{suffix}"'


def _rounding(module: Module, instruction: Instruction, wide: Operand) -> Instruction:
    count = f"v{_lanes(wide.type)}" if isinstance(wide.type, Vector) else ""
    name = f"air.convert.f.{count}bf16.f.{count}f32"
    _declare(module, name, instruction.type, [wide.type])
    return Instruction(
        "call", instruction.type, [wide], instruction.result, callee=Global(f"@{name}")
    )


def _declare(module: Module, name: str, result: Type, parameters: list[Type]) -> None:
    listed = ", ".join(map(str, parameters))
    module.declarations.setdefault(name, f"declare {result} @{name}({listed})")
