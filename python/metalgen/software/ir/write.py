"""Writes a Module as the textual LLVM IR that LLVM reads."""

from __future__ import annotations

from collections.abc import Callable

from metalgen.software.ir.model import Block, Function, Instruction, Module, Operand
from metalgen.software.ir.opcodes import BINARY, CASTS
from metalgen.software.ir.types import VOID


def write_module(module: Module) -> str:
    lines = list(module.header)
    lines += [variable.definition for variable in module.globals.values()]
    lines += module.declarations.values()
    for function in module.functions.values():
        lines += ["", write_function(function)]
    return "\n".join([*lines, "", *module.footer]) + "\n"


def write_function(function: Function) -> str:
    parameters = ", ".join(
        " ".join(filter(None, (str(p.type), p.attributes, p.name))) for p in function.parameters
    )
    head = " ".join(filter(None, ("define", function.prefix, str(function.return_type))))
    lines = [f"{head} {global_name(function.name)}({parameters}) {function.suffix} {{"]
    for block in function.blocks:
        lines += _block(block)
    return "\n".join([*lines, "}"])


def global_name(name: str) -> str:
    """`name` with an at sign, quoted: legal whatever its characters."""
    return f'@"{name}"'


def _block(block: Block) -> list[str]:
    return [f"{block.label[1:]}:", *(f"  {write_instruction(i)}" for i in block.instructions)]


def write_instruction(instruction: Instruction) -> str:
    text = _WRITERS.get(instruction.opcode, _plain)(instruction)
    head = f"{instruction.result} = " if instruction.result else ""
    suffix = instruction.suffix
    if suffix and not suffix.startswith(","):
        suffix = f" {suffix}"
    return f"{head}{text}{suffix}"


def _head(instruction: Instruction) -> str:
    return " ".join((instruction.opcode, *instruction.flags))


def _list(operands: list[Operand]) -> str:
    return ", ".join(map(str, operands))


def _plain(instruction: Instruction) -> str:
    """Every operand with its type: select, extractelement, insertelement, shufflevector, fneg,
    freeze.
    """
    return f"{_head(instruction)} {_list(instruction.operands)}"


def _binary(instruction: Instruction) -> str:
    first, second = instruction.operands
    words = filter(None, (_head(instruction), instruction.predicate))
    return f"{' '.join(words)} {first}, {second.value}"


def _cast(instruction: Instruction) -> str:
    return f"{_head(instruction)} {instruction.operands[0]} to {instruction.type}"


def _phi(instruction: Instruction) -> str:
    pairs = zip(instruction.operands, instruction.labels, strict=True)
    arms = ", ".join(f"[ {operand.value}, {label} ]" for operand, label in pairs)
    return f"{_head(instruction)} {instruction.type} {arms}"


def _memory_tail(instruction: Instruction) -> str:
    ordering = f" {instruction.ordering}" if instruction.ordering else ""
    align = f", align {instruction.align}" if instruction.align else ""
    return ordering + align


def _load(instruction: Instruction) -> str:
    pointer = instruction.operands[0]
    return f"{_head(instruction)} {instruction.type}, {pointer}{_memory_tail(instruction)}"


def _store(instruction: Instruction) -> str:
    return f"{_head(instruction)} {_list(instruction.operands)}{_memory_tail(instruction)}"


def _getelementptr(instruction: Instruction) -> str:
    return f"{_head(instruction)} {instruction.source_type}, {_list(instruction.operands)}"


def _alloca(instruction: Instruction) -> str:
    count = f", {instruction.operands[0]}" if instruction.operands else ""
    return f"alloca {instruction.source_type}{count}{_memory_tail(instruction)}"


def _call(instruction: Instruction) -> str:
    tail = [flag for flag in instruction.flags if flag in ("tail", "musttail", "notail")]
    fast = [flag for flag in instruction.flags if flag not in tail]
    words = [*tail, "call", *fast, instruction.return_attributes, str(instruction.type)]
    head = " ".join(filter(None, words))
    return f"{head} {instruction.callee}({_list(instruction.operands)})"


def _branch(instruction: Instruction) -> str:
    condition = f"{instruction.operands[0]}, " if instruction.operands else ""
    return f"br {condition}" + ", ".join(f"label {label}" for label in instruction.labels)


def _switch(instruction: Instruction) -> str:
    value, *cases = instruction.operands
    default, *labels = instruction.labels
    arms = " ".join(f"{case}, label {label}" for case, label in zip(cases, labels, strict=True))
    return f"switch {value}, label {default} [ {arms} ]"


def _return(instruction: Instruction) -> str:
    return f"ret {instruction.operands[0]}" if instruction.operands else f"ret {VOID}"


def _with_indices(instruction: Instruction) -> str:
    indices = "".join(f", {index}" for index in instruction.indices)
    return f"{instruction.opcode} {_list(instruction.operands)}{indices}"


def _fence(instruction: Instruction) -> str:
    return f"fence {instruction.ordering}"


def _atomicrmw(instruction: Instruction) -> str:
    words = " ".join((_head(instruction), instruction.predicate))
    return f"{words} {_list(instruction.operands)}{_memory_tail(instruction)}"


_WRITERS: dict[str, Callable[[Instruction], str]] = {
    **dict.fromkeys((*BINARY, "icmp", "fcmp"), _binary),
    **dict.fromkeys(CASTS, _cast),
    "phi": _phi,
    "load": _load,
    "store": _store,
    "getelementptr": _getelementptr,
    "alloca": _alloca,
    "call": _call,
    "br": _branch,
    "switch": _switch,
    "ret": _return,
    "unreachable": _head,
    "extractvalue": _with_indices,
    "insertvalue": _with_indices,
    "fence": _fence,
    "atomicrmw": _atomicrmw,
    "cmpxchg": _store,
}
