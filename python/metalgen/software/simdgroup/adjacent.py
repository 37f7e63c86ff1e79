"""Joins a thread's loads, and its stores, of neighbouring scalars into loads and stores of vectors.

Unrolled loops leave scalars behind where a whole SIMD-group has its data side by side: what 32
lanes read four floats apart is one stretch of memory only when all four are read at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from metalgen.software.ir.model import Block, Function, Instruction, Literal, Local, Operand
from metalgen.software.ir.types import I64, Float, Int, Layout, Vector
from metalgen.software.simdgroup.addresses import address_steps, constant

_ARITHMETIC = re.compile(
    r"air\.(fast_)?(exp|log|sin|cos|tan|sqrt|rsqrt|pow|fma|fabs|abs|[fs]?min|[fs]?max|clamp"
    r"|floor|ceil|rint|round|trunc|erf|sign|saturate|convert)"
)
_LONGEST = 8  # elements of a vector
_DEEPEST = 8  # getelementptrs followed


def join_adjacent(function: Function, layout: Layout) -> None:
    """Rewrites the blocks of `function` in place."""
    definitions = {i.result: i for i in function.instructions() if i.result}
    for block in function.blocks:
        _Joiner(block, layout, definitions).run()


@dataclass(frozen=True, slots=True)
class _Access:
    position: int  # of the instruction in its block
    instruction: Instruction
    offset: int  # bytes from what all of a run have in common


class _Joiner:
    """The accesses of one block, in runs between which memory may change or be read."""

    def __init__(self, block: Block, layout: Layout, definitions: dict[str, Instruction]) -> None:
        self._block = block
        self._layout = layout
        self._definitions = definitions
        self._replaced: dict[int, list[Instruction]] = {}

    def run(self) -> None:
        for opcode in ("load", "store"):
            for run in self._runs(opcode):
                for joined in self._adjacent(run):
                    self._join(opcode, joined)
            self._rewrite()

    def _runs(self, opcode: str) -> Iterator[list[_Access]]:
        """Accesses with a root in common that no other access to memory stands between."""
        open_runs: dict[object, list[_Access]] = {}
        for position, instruction in enumerate(self._block.instructions):
            if instruction.opcode == opcode and self._is_plain(instruction):
                root, offset = self._root(instruction.operands[-1], 0)
                key = (root, str(self._type(instruction)))
                if opcode == "store":
                    yield from (r for other, r in open_runs.items() if other != key)
                    open_runs = {key: open_runs.get(key, [])}
                open_runs.setdefault(key, []).append(_Access(position, instruction, offset))
            elif self._is_boundary(opcode, instruction):
                yield from open_runs.values()
                open_runs = {}
        yield from open_runs.values()

    def _is_plain(self, instruction: Instruction) -> bool:
        type_ = self._type(instruction)
        sized = isinstance(type_, Float) or (isinstance(type_, Int) and type_.bits % 8 == 0)
        return sized and not instruction.flags and not instruction.ordering

    def _type(self, instruction: Instruction) -> object:
        return instruction.type if instruction.opcode == "load" else instruction.operands[0].type

    def _is_boundary(self, opcode: str, instruction: Instruction) -> bool:
        if instruction.opcode == "call":
            return not _is_pure(instruction.callee_name)
        reads = ("load",) if opcode == "store" else ()
        return instruction.opcode in ("store", "atomicrmw", "cmpxchg", "fence", *reads)

    def _root(self, pointer: Operand, depth: int) -> tuple[object, int]:
        """What the address is computed from, and how many bytes it lies beyond that."""
        value = pointer.value
        definition = self._definitions.get(value.name) if isinstance(value, Local) else None
        if definition is None or definition.opcode != "getelementptr" or depth == _DEEPEST:
            return str(value), 0
        if isinstance(definition.type, Vector):
            return str(value), 0
        fixed, indices = 0, []
        for size, index in address_steps(definition, self._layout):
            if index is None:
                fixed += size
                continue
            name, more = self._index(index)
            fixed += more * size
            indices.append((size, name))
        root, offset = self._root(definition.operands[0], depth + 1)
        return (root, tuple(indices)) if indices else root, offset + fixed

    def _index(self, index: Operand) -> tuple[object, int]:
        """An index as a part that varies and a constant that is added without wrapping."""
        definition = self._definition(index)
        if definition is None:
            return str(index.value), 0
        if definition.opcode in ("zext", "sext"):
            inner = self._definition(definition.operands[0])
            if inner is not None and _adds(inner, definition.opcode):
                number = constant(inner.operands[1])
                if number is not None and number >= 0:
                    return (definition.opcode, str(inner.operands[0].value)), number
            return (definition.opcode, str(definition.operands[0].value)), 0
        if _adds(definition, "") and (number := constant(definition.operands[1])) is not None:
            return str(definition.operands[0].value), number
        return str(index.value), 0

    def _definition(self, operand: Operand) -> Instruction | None:
        value = operand.value
        return self._definitions.get(value.name) if isinstance(value, Local) else None

    def _adjacent(self, run: list[_Access]) -> Iterator[list[_Access]]:
        """Accesses to 2, 4 or 8 elements side by side."""
        if len(run) < 2:
            return
        type_ = self._type(run[0].instruction)
        size = self._layout.size(type_)  # type: ignore[arg-type]
        by_offset = {access.offset: access for access in run}
        if len(by_offset) < len(run):
            return
        pending = sorted(by_offset)
        while pending:
            stretch = [pending.pop(0)]
            while pending and pending[0] == stretch[-1] + size:
                stretch.append(pending.pop(0))
            while len(stretch) > 1:
                count = min(_LONGEST, 1 << (len(stretch).bit_length() - 1))
                yield [by_offset[offset] for offset in stretch[:count]]
                stretch = stretch[count:]

    def _join(self, opcode: str, accesses: list[_Access]) -> None:
        instructions = [access.instruction for access in accesses]
        first = min(accesses, key=lambda access: access.position)
        last = max(accesses, key=lambda access: access.position)
        type_ = self._type(instructions[0])
        vector = Vector(len(accesses), type_)  # type: ignore[arg-type]
        stem = f"%joined.{len(self._definitions)}"
        if opcode == "load":
            self._join_loads(first.position, instructions, vector, stem)
        else:
            self._join_stores(last.position, instructions, vector, stem)
        for access in accesses:
            self._replaced.setdefault(access.position, [])

    def _join_loads(
        self, position: int, loads: list[Instruction], vector: Vector, stem: str
    ) -> None:
        pointer, more = self._pointer(position, loads[0], loads, stem)
        whole = Instruction("load", vector, [pointer], f"{stem}.whole", align=_alignment(loads))
        parts = [
            Instruction(
                "extractelement",
                vector.element,
                [Operand(vector, Local(whole.result)), Operand(I64, Literal(str(index)))],
                load.result,
            )
            for index, load in enumerate(loads)
        ]
        self._definitions[whole.result] = whole
        self._replaced[position] = [*more, whole, *parts]

    def _join_stores(
        self, position: int, stores: list[Instruction], vector: Vector, stem: str
    ) -> None:
        built: list[Instruction] = []
        value = Operand(vector, Literal("poison"))
        for index, store in enumerate(stores):
            operands = [value, store.operands[0], Operand(I64, Literal(str(index)))]
            built.append(Instruction("insertelement", vector, operands, f"{stem}.{index}"))
            value = Operand(vector, Local(f"{stem}.{index}"))
        whole = Instruction(
            "store", stores[0].type, [value, stores[0].operands[1]], align=_alignment(stores)
        )
        self._definitions[f"{stem}.whole"] = whole
        self._replaced[position] = [*built, whole]

    def _pointer(
        self, position: int, lowest: Instruction, loads: list[Instruction], stem: str
    ) -> tuple[Operand, list[Instruction]]:
        """The lowest address where the first of the loads stands, which may have another."""
        first = self._block.instructions[position]
        if first is lowest:
            return lowest.operands[0], []
        back = -self._layout.size(first.type) * loads.index(first)
        operands = [first.operands[0], Operand(I64, Literal(str(back)))]
        type_ = first.operands[0].type
        moved = Instruction("getelementptr", type_, operands, f"{stem}.at", source_type=Int(8))
        self._definitions[moved.result] = moved
        return Operand(type_, Local(moved.result)), [moved]

    def _rewrite(self) -> None:
        if not self._replaced:
            return
        instructions: list[Instruction] = []
        for position, instruction in enumerate(self._block.instructions):
            instructions += self._replaced.get(position, [instruction])
        self._block.instructions = instructions
        self._replaced = {}


def _is_pure(name: str) -> bool:
    """Whether a called function leaves memory alone, as LLVM's arithmetic does and Metal's."""
    if name.startswith("llvm."):
        return not name.startswith(("llvm.mem", "llvm.masked", "llvm.lifetime"))
    return _ARITHMETIC.match(name) is not None


def _adds(instruction: Instruction, extension: str) -> bool:
    """Whether it is a sum that may be taken apart, before or after the given extension."""
    if instruction.opcode == "or":
        return "disjoint" in instruction.flags
    wanted = {"zext": "nuw", "sext": "nsw"}.get(extension)
    return instruction.opcode == "add" and (wanted is None or wanted in instruction.flags)


def _alignment(accesses: list[Instruction]) -> int:
    return min(instruction.align or 1 for instruction in accesses)
