"""Rewrites that every lowering of a kernel needs: threadgroup variables placed, address spaces
dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from metalgen.errors import UnsupportedError
from metalgen.software.ir.model import (
    Aggregate,
    Expression,
    Function,
    Global,
    Instruction,
    Literal,
    Local,
    Module,
    Operand,
    Parameter,
    Value,
    unquoted,
)
from metalgen.software.ir.types import I64, Int, Pointer

THREADGROUP_MEMORY = "%threadgroup_memory"
_THREADGROUP = 3
_ALIGNMENT = 16  # Metal's for threadgroup allocations


@dataclass(frozen=True, slots=True)
class ThreadgroupMemory:
    """What a kernel's static threadgroup variables take."""

    bytes: int
    alignment: int


def place_threadgroup_variables(module: Module, function: Function) -> ThreadgroupMemory:
    """Makes threadgroup variables offsets from a new last parameter, THREADGROUP_MEMORY."""
    space = Pointer(_THREADGROUP)
    base = Operand(space, Local(THREADGROUP_MEMORY))
    names = [n for n, v in module.globals.items() if v.address_space == _THREADGROUP]
    places: dict[str, Local] = {}
    placed: list[Instruction] = []
    end, alignment = 0, _ALIGNMENT
    for number, name in enumerate(names):
        variable = module.globals.pop(name)
        wanted = max(_ALIGNMENT, _declared_alignment(variable.definition))
        end, alignment = _round_up(end, wanted), max(alignment, wanted)
        places[name] = Local(f"%threadgroup.{number}")
        index = Operand(I64, Literal(str(end)))
        placed.append(
            Instruction(
                "getelementptr", space, [base, index], places[name].name, source_type=Int(8)
            )
        )
        end += module.layout.size(variable.type)
    function.parameters.append(Parameter(space, THREADGROUP_MEMORY))
    placed += _replace_globals(function, places)
    function.blocks[0].instructions[:0] = placed
    return ThreadgroupMemory(end, alignment)


def _declared_alignment(definition: str) -> int:
    match = re.search(r", align (\d+)", definition)
    return int(match[1]) if match else 1


def _round_up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


def _replace_globals(function: Function, places: dict[str, Local]) -> list[Instruction]:
    """Replaces uses of the variables; returns what constant expressions over them have become."""
    expanded: dict[Expression, Instruction] = {}

    def replaced(value: Value) -> Value:
        match value:
            case Global(name) if unquoted(name) in places:
                return places[unquoted(name)]
            case Expression() if _mentions(value, places):
                if value not in expanded:
                    operands = [_with(o, replaced(o.value)) for o in value.operands]
                    result = f"%threadgroup.expression.{len(expanded)}"
                    type_ = value.target or value.operands[0].type
                    instruction = Instruction(value.opcode, type_, operands, result)
                    instruction.flags, instruction.source_type = value.flags, value.source_type
                    expanded[value] = instruction
                return Local(expanded[value].result)
            case Aggregate() if any(_mentions(o.value, places) for o in value.elements):
                raise UnsupportedError(
                    "not supported: the address of a threadgroup variable in a constant"
                )
        return value

    for instruction in function.instructions() if places else ():
        instruction.operands = [_with(o, replaced(o.value)) for o in instruction.operands]
    return list(expanded.values())


def _with(operand: Operand, value: Value) -> Operand:
    return operand if value is operand.value else Operand(operand.type, value, operand.attributes)


def _mentions(value: Value, places: dict[str, Local]) -> bool:
    match value:
        case Global(name):
            return unquoted(name) in places
        case Expression(operands=operands) | Aggregate(elements=operands):
            return any(_mentions(operand.value, places) for operand in operands)
    return False


def flatten_address_spaces(text: str) -> str:
    """The text of a module with every pointer in the host's one address space."""
    text = re.sub(r" addrspace\(\d+\)", "", text).replace("addrspacecast", "bitcast")
    text = re.sub(r"@llvm\.[\w.]+", lambda match: re.sub(r"\.p\d+", ".p0", match[0]), text)
    return "\n".join(_declared_once(text.splitlines())) + "\n"


def _declared_once(lines: list[str]) -> Iterator[str]:
    """All lines but further declarations of what only differed by its address spaces."""
    seen: set[str] = set()
    for line in lines:
        if line.startswith("declare "):
            name = line[line.index("@") : line.index("(", line.index("@"))]
            if name in seen:
                continue
            seen.add(name)
        yield line
