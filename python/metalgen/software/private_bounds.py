"""Keeps a thread's accesses to its private arrays inside them.

On a GPU an index beyond a private array reaches memory of the same thread, or none, and kernels in
use rely on it: threads past the end of a row compute negative counts and still go through their
loops. On a host such a store would hit another thread's frame.
"""

from __future__ import annotations

from metalgen.software.ir.model import (
    Function,
    Global,
    Instruction,
    Literal,
    Local,
    Module,
    Operand,
)
from metalgen.software.ir.types import Array, Int


def contain_private_accesses(module: Module, function: Function) -> None:
    """Send indices beyond an array, also negative ones, to a spare element behind it."""
    arrays = {i.result: i for i in function.instructions() if _is_array(i)}
    only_accessed = _addresses_only_accessed(function)
    guarded: dict[str, Instruction] = {}
    for block in function.blocks:
        instructions: list[Instruction] = []
        for instruction in block.instructions:
            array = _indexed_array(instruction, arrays)
            if array is not None and instruction.result in only_accessed:
                guarded[array.result] = array
                instructions.append(_limit_index(module, instruction, array))
            instructions.append(instruction)
        block.instructions = instructions
    for array in guarded.values():
        assert isinstance(array.source_type, Array)
        array.source_type = Array(array.source_type.count + 1, array.source_type.element)


def _is_array(instruction: Instruction) -> bool:
    return instruction.opcode == "alloca" and isinstance(instruction.source_type, Array)


def _addresses_only_accessed(function: Function) -> set[str]:
    """The results that serve as addresses of loads and stores and as nothing else."""
    accessed: set[str] = set()
    otherwise: set[str] = set()
    for instruction in function.instructions():
        is_access = instruction.opcode in ("load", "store")
        for place, operand in enumerate(instruction.operands):
            if isinstance(operand.value, Local):
                is_address = is_access and place == len(instruction.operands) - 1
                (accessed if is_address else otherwise).add(operand.value.name)
    return accessed - otherwise


def _indexed_array(instruction: Instruction, arrays: dict[str, Instruction]) -> Instruction | None:
    """The array that a getelementptr with one variable index of whole elements points into."""
    if instruction.opcode != "getelementptr" or len(instruction.operands) != 2:
        return None
    base, index = instruction.operands
    array = arrays.get(str(base.value))
    if array is None or not isinstance(index.value, Local) or not isinstance(index.type, Int):
        return None
    assert isinstance(array.source_type, Array)
    return array if instruction.source_type == array.source_type.element else None


def _limit_index(module: Module, address: Instruction, array: Instruction) -> Instruction:
    """Make `address` use the smaller of its index and the array's length, which is returned."""
    index = address.operands[1]
    assert isinstance(array.source_type, Array)
    name = f"llvm.umin.{index.type}"
    declaration = f"declare {index.type} @{name}({index.type}, {index.type})"
    module.declarations.setdefault(name, declaration)
    length = Operand(index.type, Literal(str(array.source_type.count)))
    limited = f"{address.result}.index"
    address.operands[1] = Operand(index.type, Local(limited))
    return Instruction(
        "call", index.type, [index, length], result=limited, callee=Global(f"@{name}")
    )
