"""Where a SIMD-group lets the others read threadgroup memory first, before it writes there.

On a GPU the SIMD-groups of a threadgroup run side by side: what all read behind a barrier they have
read long before one of them comes to write there again, and real kernels count on it where a second
barrier is missing. Here they run one after the other. A SIMD-group that may have read since the
last barrier what it is about to write, or what lies beside it, therefore waits until each of the
others has come to such a place too, or to a barrier. Unlike a barrier a turn is met by whom it
concerns, in divergent control flow too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from metalgen.software.ir.model import Block, Function, Global, Instruction, Local, Module
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
    return instruction.callee is not None and instruction.callee_name == "air.wg.barrier"


def add_turns(module: Module, function: Function, signature: Sequence[Parameter]) -> None:
    """Call TURN before every write that may come too early for others."""
    if not any(map(_is_barrier, function.instructions())):
        return
    turns = _Turns(function, signature)
    for block in function.blocks:
        block.instructions = list(turns.written(block))
    if turns.added:
        module.declarations[TURN] = _DECLARATION


@dataclass(frozen=True, slots=True)
class _Access:
    """What an instruction does to threadgroup memory: the addresses it reads and writes."""

    is_barrier: bool
    reads: tuple[str, ...]
    writes: tuple[str, ...]


class _Turns:
    """What has been read since the last barrier or turn, at the start of each block."""

    def __init__(self, function: Function, signature: Sequence[Parameter]) -> None:
        self.added = False
        self._definitions = {i.result: i for i in function.instructions() if i.result}
        self._own = _of_one_thread(function, signature)
        self._roots: dict[str, str | None] = {}
        self._read: dict[str, frozenset[str]] = {b.label: frozenset() for b in function.blocks}
        blocks = {block.label: block for block in function.blocks}
        accesses = {label: _accesses(block) for label, block in blocks.items()}
        successors = {label: block.successors() for label, block in blocks.items()}
        waiting = list(blocks)
        while waiting:
            at = waiting.pop()
            after = self._after(self._read[at], accesses[at].values())
            for label in successors[at]:
                if not after <= self._read[label]:
                    self._read[label] |= after
                    waiting.append(label)

    def written(self, block: Block) -> Iterator[Instruction]:
        """The block's instructions and its turns."""
        read = set(self._read[block.label])
        accesses = _accesses(block)
        for position, instruction in enumerate(block.instructions):
            if position in accesses:
                if self._needs_turn(accesses[position], read):
                    self.added = True
                    yield Instruction("call", VOID, [], callee=Global(f"@{TURN}"))
                self._step(accesses[position], read)
            yield instruction

    def _after(self, before: frozenset[str], accesses: Iterable[_Access]) -> frozenset[str]:
        read = set(before)
        for access in accesses:
            self._step(access, read)
        return frozenset(read)

    def _step(self, access: _Access, read: set[str]) -> None:
        """Bring `read` from before the access to behind it."""
        if access.is_barrier or self._needs_turn(access, read):
            read.clear()
        read.update(access.reads)

    def _needs_turn(self, access: _Access, read: Collection[str]) -> bool:
        return any(self._may_clash(written, other) for written in access.writes for other in read)

    def _may_clash(self, written: str, read: str) -> bool:
        """Whether others may still want to read at `read` when this thread writes to `written`."""
        if written == read and written in self._own:
            return False
        roots = self._root(written), self._root(read)
        return None in roots or roots[0] == roots[1]

    def _root(self, pointer: str) -> str | None:
        """The variable or parameter that an address is computed from; None if it is not known."""
        if pointer not in self._roots:
            self._roots[pointer] = self._found_root(pointer)
        return self._roots[pointer]

    def _found_root(self, pointer: str) -> str | None:
        definition = self._definitions.get(pointer)
        while definition is not None and definition.opcode in ("getelementptr", "bitcast"):
            if pointer.startswith("%threadgroup."):
                return pointer
            pointer = str(definition.operands[0].value)
            definition = self._definitions.get(pointer)
        return pointer if definition is None else None


def _accesses(block: Block) -> dict[int, _Access]:
    """The barriers and accesses of a block by position."""
    found: dict[int, _Access] = {}
    for position, instruction in enumerate(block.instructions):
        if instruction.opcode in ("load", "store", "call"):
            access = _Access(_is_barrier(instruction), _reads(instruction), _writes(instruction))
            if access.is_barrier or access.reads or access.writes:
                found[position] = access
    return found


def _of_one_thread(function: Function, signature: Sequence[Parameter]) -> set[str]:
    """The values that depend on which thread it is."""
    own = {
        parameter.name
        for parameter, meaning in zip(function.parameters, signature, strict=False)
        if meaning.builtin in _OF_ONE_THREAD
    }
    users: defaultdict[str, list[str]] = defaultdict(list)
    for instruction in function.instructions():
        for operand in instruction.operands if instruction.result else ():
            if isinstance(operand.value, Local):
                users[operand.value.name].append(instruction.result)
    waiting = list(own)
    while waiting:
        new = [name for name in users[waiting.pop()] if name not in own]
        own.update(new)
        waiting += new
    return own


def _reads(instruction: Instruction) -> tuple[str, ...]:
    """Threadgroup memory that an instruction reads, atomics aside."""
    name = instruction.callee_name
    if instruction.opcode == "load":
        found = instruction.operands[:1]
    elif name.startswith(_COPIES):
        found = instruction.operands[1:2]
    else:
        found = instruction.operands if "simdgroup_matrix_8x8_load" in name else []
    return tuple(str(operand.value) for operand in found if operand.type == _THREADGROUP)


def _writes(instruction: Instruction) -> tuple[str, ...]:
    """Threadgroup memory that an instruction writes, atomics aside."""
    name = instruction.callee_name
    if instruction.opcode == "store":
        found = instruction.operands[1:2]
    elif name.startswith((*_COPIES, "llvm.memset.")):
        found = instruction.operands[:1]
    else:
        found = instruction.operands if "simdgroup_matrix_8x8_store" in name else []
    return tuple(str(operand.value) for operand in found if operand.type == _THREADGROUP)
