"""Meeting points: calls in which the threads of a SIMD-group or threadgroup take part together.

A thread that arrives stores its operands into `payload`, the SIMD-group's table of slots: one slot
of 32 lanes for each scalar. When the others have arrived the operation runs once for all lanes
and leaves its results in the slots behind the operands, from where every thread takes its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from metalgen.software.abi import SIMDGROUP_WIDTH
from metalgen.software.ir.model import Instruction, Operand
from metalgen.software.ir.types import I1, I8, VOID, Type, Vector
from metalgen.software.meeting_order import RECONVERGE
from metalgen.software.turns import TURN

SLOT_BYTES = 8 * SIMDGROUP_WIDTH
_PREFIXES = ("air.wg.", "air.simd", "air.quad")
_ORDER_ONLY = (RECONVERGE, "air.simdgroup.barrier")


def is_meeting(instruction: Instruction) -> bool:
    """Whether threads meet in this instruction."""
    return instruction.callee is not None and is_meeting_name(instruction.callee_name)


def is_meeting_name(name: str) -> bool:
    return name.startswith(_PREFIXES) or name in (RECONVERGE, TURN)


def is_threadgroup_barrier(instruction: Instruction) -> bool:
    return instruction.callee_name == "air.wg.barrier"


@dataclass(frozen=True, slots=True)
class Value:
    """An operand or result of a meeting and the slots of its components."""

    type: Type
    first_slot: int

    @property
    def components(self) -> list[tuple[int, Type]]:
        """Slot and type of each."""
        if not isinstance(self.type, Vector):
            return [(self.first_slot, self.type)]
        return [(self.first_slot + i, self.type.element) for i in range(self.type.count)]

    @property
    def end(self) -> int:
        return self.components[-1][0] + 1

    def moved(self, slots: int) -> Value:
        return replace(self, first_slot=self.first_slot + slots)


@dataclass(frozen=True, slots=True)
class Meeting:
    """One meeting point of SIMD-group scope, as the scheduler sees it."""

    number: int
    name: str
    operands: tuple[Value, ...]
    result: Value | None

    @property
    def slots(self) -> int:
        return max((value.end for value in self._values()), default=0)

    @property
    def first_slot(self) -> int:
        return min((value.first_slot for value in self._values()), default=0)

    @property
    def operation(self) -> Meeting:
        """What happens here, as if in the first slots: the same for meetings that do the same."""
        back = -self.first_slot
        operands = tuple(value.moved(back) for value in self.operands)
        return Meeting(0, self.name, operands, self.result and self.result.moved(back))

    def _values(self) -> Iterator[Value]:
        yield from self.operands
        if self.result is not None:
            yield self.result


def meeting_of(call: Instruction, number: int, first_slot: int) -> Meeting:
    """The meeting that `call` is, its slots assigned in order from `first_slot` on.

    Lanes may wait at several meetings at a time, so no two share slots.
    """
    if call.callee_name in _ORDER_ONLY:
        return Meeting(number, call.callee_name, (), None)
    values: list[Value] = []
    end = first_slot
    for operand in call.operands:
        values.append(Value(operand.type, end))
        end = values[-1].end
    result = None if call.type == VOID else Value(call.type, end)
    return Meeting(number, call.callee_name, tuple(values), result)


def stored(type_: Type) -> Type:
    """How a scalar lies in a slot."""
    return I8 if type_ == I1 else type_


def store_operands(call: Instruction, meeting: Meeting) -> Iterator[str]:
    """Instructions by which a thread hands over its operands, at `%metalgen.lane`."""
    prefix = f"%metalgen.{meeting.number}"
    for j, (operand, value) in enumerate(zip(call.operands, meeting.operands, strict=False)):
        for c, (slot, type_) in enumerate(value.components):
            name = f"{prefix}.{j}.{c}"
            component = str(operand.value)
            if isinstance(operand.type, Vector):
                yield f"{name} = extractelement {_plain(operand)}, i32 {c}"
                component = name
            if type_ == I1:
                yield f"{name}.wide = zext i1 {component} to i8"
                component = f"{name}.wide"
            yield from _at(f"{name}.at", slot, type_)
            yield f"store {stored(type_)} {component}, ptr {name}.at"


def load_result(call: Instruction, meeting: Meeting) -> Iterator[str]:
    """Instructions by which a thread takes its result."""
    if meeting.result is None or not call.result:
        return
    prefix = f"%metalgen.{meeting.number}.result"
    vector = f"{call.type} poison"
    components = meeting.result.components
    for c, (slot, type_) in enumerate(components):
        name = f"{prefix}.{c}" if isinstance(call.type, Vector) else call.result
        yield from _at(f"{prefix}.{c}.at", slot, type_)
        if type_ == I1:
            yield f"{prefix}.{c}.wide = load i8, ptr {prefix}.{c}.at"
            yield f"{name} = trunc i8 {prefix}.{c}.wide to i1"
        else:
            yield f"{name} = load {type_}, ptr {prefix}.{c}.at"
        if isinstance(call.type, Vector):
            after = call.result if c == len(components) - 1 else f"{prefix}.{c}.vector"
            yield f"{after} = insertelement {vector}, {type_} {name}, i32 {c}"
            vector = f"{call.type} {after}"


def _plain(operand: Operand) -> str:
    return f"{operand.type} {operand.value}"


def _at(name: str, slot: int, type_: Type) -> Iterator[str]:
    yield f"{name}.slot = getelementptr i8, ptr %metalgen.payload, i64 {slot * SLOT_BYTES}"
    yield f"{name} = getelementptr {stored(type_)}, ptr {name}.slot, i64 %metalgen.lane"
