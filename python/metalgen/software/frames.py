"""What a thread keeps while it waits: places in a frame, and what loads and stores them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from metalgen.software.ir.model import Block, Function, Instruction, Local, Operand
from metalgen.software.ir.types import VOID, Layout, Type
from metalgen.software.simdgroup.cfg import Dominators, dominators_of

FRAME = "%metalgen.frame"
_LINE = 64  # bytes of a cache line


@dataclass(slots=True)
class Frame:
    """The layout of a frame, which begins with an i32."""

    layout: Layout
    _end: int = 4
    _accesses: int = 0

    @property
    def bytes(self) -> int:
        """An odd number of cache lines, or the frames' beginnings would share a few of them."""
        lines = -(-self._end // _LINE)
        return (lines + 1 - lines % 2) * _LINE

    def place(self, type_: Type, alignment: int = 1) -> int:
        """The offset of a new value."""
        alignment = max(alignment, self.layout.alignment(type_))
        start = -(-self._end // alignment) * alignment
        self._end = start + self.layout.size(type_)
        return start

    def load(self, name: str, type_: Type, place: int) -> list[str]:
        pointer = self._pointer()
        return [address(pointer, place), f"{name} = load {type_}, ptr {pointer}"]

    def store(self, name: str, type_: Type, place: int) -> list[str]:
        pointer = self._pointer()
        return [address(pointer, place), f"store {type_} {name}, ptr {pointer}"]

    def _pointer(self) -> str:
        self._accesses += 1
        return f"%metalgen.at.{self._accesses}"


def written(lines: Iterable[str]) -> list[Instruction]:
    """Instructions that stand as they are: from here on they are only printed."""
    return [Instruction(line, VOID, []) for line in lines]


def address(name: str, place: int) -> str:
    return f"{name} = getelementptr i8, ptr {FRAME}, i64 {place}"


def keep_in_frame(function: Function, frame: Frame, met: Mapping[str, Instruction]) -> None:
    """Have values that cannot reach a use in registers reach it by way of the frame.

    The entry leads to wherever the function goes on when called again, so that what it computed
    before no longer dominates what follows. `met` are the meetings that blocks follow, by label:
    their results are defined there.
    """
    values = _Values(function, frame, met)
    for block in function.blocks:
        for instruction in block.instructions:
            values.reload_operands(instruction, block.label)
    for block in function.blocks:
        block.instructions = list(values.kept(block))


class _Values:
    """Where values are defined, and for those that are kept, their places and later names."""

    def __init__(self, function: Function, frame: Frame, met: Mapping[str, Instruction]) -> None:
        self._frame = frame
        self._dominators: Dominators = dominators_of(function)
        self._met = met
        self._homes: dict[str, str] = {}
        self._types: dict[str, Type] = {}
        self._places: dict[str, int] = {}
        self._reloads: dict[str, dict[str, str]] = {label: {} for label in self._dominators.order}
        self._count = 0
        for label, meeting in met.items():
            self._define(meeting, label)
        for block in function.blocks:
            for instruction in block.instructions:
                self._define(instruction, block.label)

    def _define(self, instruction: Instruction, label: str) -> None:
        if instruction.result:
            self._homes[instruction.result] = label
            self._types[instruction.result] = instruction.type

    def reload_operands(self, instruction: Instruction, label: str) -> None:
        """Have the instruction, in block `label`, use values as they were reloaded."""
        is_phi = instruction.opcode == "phi"
        for at, operand in enumerate(instruction.operands):
            if isinstance(operand.value, Local):
                where = instruction.labels[at] if is_phi else label
                name = self._name_in(where, operand.value.name)
                if name != operand.value.name:
                    value = Local(name)
                    instruction.operands[at] = Operand(operand.type, value, operand.attributes)

    def _name_in(self, label: str, name: str) -> str:
        home = self._homes.get(name, label)
        if home == label or self._dominators.dominates(home, label):
            return name
        if name not in self._places:
            self._places[name] = self._frame.place(self._types[name])
        reloads = self._reloads[label]
        if name not in reloads:
            self._count += 1
            reloads[name] = f"%metalgen.kept.{self._count}"
        return reloads[name]

    def kept(self, block: Block) -> Iterator[Instruction]:
        """The block's instructions, its kept values stored and those of others reloaded."""
        phis = list(block.phis())
        yield from phis
        if block.label in self._met:
            yield from self._stored(self._met[block.label].result)
        for phi in phis:
            yield from self._stored(phi.result)
        for name, again in self._reloads[block.label].items():
            yield from written(self._frame.load(again, self._types[name], self._places[name]))
        for instruction in block.instructions[len(phis) :]:
            yield instruction
            yield from self._stored(instruction.result)

    def _stored(self, name: str) -> list[Instruction]:
        if name not in self._places:
            return []
        return written(self._frame.store(name, self._types[name], self._places[name]))
