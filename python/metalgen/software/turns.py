"""Where a SIMD-group lets the others read threadgroup memory first, before it writes there.

On a GPU the SIMD-groups of a threadgroup run side by side: what all read behind a barrier they have
read long before one of them comes to write there again, and real kernels count on it where a second
barrier is missing. Here they run one after the other. A SIMD-group that may have read since the
last barrier what it is about to write, or what lies beside it, therefore waits until each of the
others has come to such a place too, or to a barrier. Unlike a barrier a turn is met by whom it
concerns, in divergent control flow too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from metalgen.software.ir.model import Block, Function, Global, Instruction, Local, Module, Operand
from metalgen.software.ir.types import VOID, Pointer
from metalgen.software.signature import Parameter

TURN = "metalgen.turn"
_DECLARATION = f"declare void @{TURN}() convergent"
_THREADGROUP = Pointer(3)
_OF_ONE_THREAD = frozenset(
    {"thread_position_in_grid", "thread_position_in_threadgroup", "thread_index_in_threadgroup"}
)
_COPIES = ("llvm.memcpy.", "llvm.memmove.")


def _is_barrier(instruction: Instruction) -> bool:
    return instruction.callee_name == "air.wg.barrier"


def add_turns(module: Module, function: Function, signature: Sequence[Parameter]) -> None:
    """Call TURN before every write that may come too early for others."""
    if not any(map(_is_barrier, function.instructions())):
        return
    turns = _Turns(function, signature)
    for block in function.blocks:
        block.instructions = list(turns.written(block))
    if turns.added:
        module.declarations[TURN] = _DECLARATION


class _Turns:
    """What has been read since the last barrier or turn, at the start of each block."""

    def __init__(self, function: Function, signature: Sequence[Parameter]) -> None:
        self.added = False
        self._definitions = {i.result: i for i in function.instructions() if i.result}
        self._own = _of_one_thread(function, signature)
        self._read: dict[str, frozenset[str]] = {b.label: frozenset() for b in function.blocks}
        blocks = {block.label: block for block in function.blocks}
        waiting = list(blocks)
        while waiting:
            block = blocks[waiting.pop()]
            after = frozenset(self._after(block))
            for label in block.successors():
                if not after <= self._read[label]:
                    self._read[label] |= after
                    waiting.append(label)

    def written(self, block: Block) -> Iterator[Instruction]:
        """The block's instructions and its turns."""
        read = set(self._read[block.label])
        for instruction in block.instructions:
            if self._needs_turn(instruction, read):
                self.added = True
                yield Instruction("call", VOID, [], callee=Global(f"@{TURN}"))
            self._step(instruction, read)
            yield instruction

    def _after(self, block: Block) -> set[str]:
        read = set(self._read[block.label])
        for instruction in block.instructions:
            self._step(instruction, read)
        return read

    def _step(self, instruction: Instruction, read: set[str]) -> None:
        """Bring `read` from before the instruction to behind it."""
        if _is_barrier(instruction) or self._needs_turn(instruction, read):
            read.clear()
        read.update(str(operand.value) for operand in _reads(instruction))

    def _needs_turn(self, instruction: Instruction, read: Collection[str]) -> bool:
        return bool(read) and any(
            self._may_clash(str(operand.value), other)
            for operand in _writes(instruction)
            for other in read
        )

    def _may_clash(self, written: str, read: str) -> bool:
        """Whether others may still want to read at `read` when this thread writes to `written`."""
        if written == read and written in self._own:
            return False
        roots = self._root(written), self._root(read)
        return None in roots or roots[0] == roots[1]

    def _root(self, pointer: str) -> str | None:
        """The variable or parameter that an address is computed from; None if it is not known."""
        definition = self._definitions.get(pointer)
        while definition is not None and definition.opcode in ("getelementptr", "bitcast"):
            if pointer.startswith("%threadgroup."):
                return pointer
            pointer = str(definition.operands[0].value)
            definition = self._definitions.get(pointer)
        return pointer if definition is None else None


def _of_one_thread(function: Function, signature: Sequence[Parameter]) -> set[str]:
    """The values that depend on which thread it is."""
    own = {
        parameter.name
        for parameter, meaning in zip(function.parameters, signature, strict=False)
        if meaning.builtin in _OF_ONE_THREAD
    }
    before = -1
    while before != len(own):
        before = len(own)
        own |= {i.result for i in function.instructions() if i.result and _depends(i, own)}
    return own


def _depends(instruction: Instruction, names: Collection[str]) -> bool:
    values = (operand.value for operand in instruction.operands)
    return any(isinstance(value, Local) and value.name in names for value in values)


def _reads(instruction: Instruction) -> list[Operand]:
    """Threadgroup memory that an instruction reads, atomics aside."""
    name = instruction.callee_name
    if instruction.opcode == "load":
        found = instruction.operands[:1]
    elif name.startswith(_COPIES):
        found = instruction.operands[1:2]
    else:
        found = instruction.operands if "simdgroup_matrix_8x8_load" in name else []
    return [operand for operand in found if operand.type == _THREADGROUP]


def _writes(instruction: Instruction) -> list[Operand]:
    """Threadgroup memory that an instruction writes, atomics aside."""
    name = instruction.callee_name
    if instruction.opcode == "store":
        found = instruction.operands[1:2]
    elif name.startswith((*_COPIES, "llvm.memset.")):
        found = instruction.operands[:1]
    else:
        found = instruction.operands if "simdgroup_matrix_8x8_store" in name else []
    return [operand for operand in found if operand.type == _THREADGROUP]
