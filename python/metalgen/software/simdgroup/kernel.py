"""Lowers the instructions of one block for a whole SIMD-group, and keeps values between blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from metalgen.errors import UnsupportedError
from metalgen.software.ir.model import Function, Instruction, Local, Operand
from metalgen.software.ir.types import I64, Layout, Vector
from metalgen.software.simdgroup import vectors
from metalgen.software.simdgroup.access import Access
from metalgen.software.simdgroup.addresses import address_steps
from metalgen.software.simdgroup.arithmetic import (
    extend_index,
    lower_elementwise,
    offset_pointer,
)
from metalgen.software.simdgroup.builder import Builder
from metalgen.software.simdgroup.calls import Calls
from metalgen.software.simdgroup.cfg import Graph
from metalgen.software.simdgroup.divergence import Divergence
from metalgen.software.simdgroup.facts import Facts
from metalgen.software.simdgroup.lanes import Lanes, Slot, load_slot, make_slot, store_slot
from metalgen.software.simdgroup.matrices import products_in_turn
from metalgen.software.simdgroup.memory import load, store
from metalgen.software.simdgroup.operations import BARRIERS, NO_OPERATIONS
from metalgen.software.simdgroup.patterns import index_pattern
from metalgen.software.simdgroup.private import PrivateLayout, lay_out
from metalgen.software.simdgroup.shapes import Parts, Pattern, Shape, Uniform, Varying, evenly
from metalgen.software.simdgroup.values import Held, Line, Mask, Parted, Same, Wide
from metalgen.software.turns import TURN

Wait = Callable[[bool], None]


def shape_of(held: Held) -> Shape:
    """The shape that a held value shows."""
    match held:
        case Same():
            return Uniform()
        case Line(pattern=pattern):
            return pattern
        case Wide():
            return Varying()
        case Parted(elements=elements):
            return Parts(tuple(map(shape_of, elements)))


class Kernel:
    """One kernel under translation; `wait` writes how others are waited for, by turn or barrier."""

    def __init__(
        self,
        function: Function,
        layout: Layout,
        builder: Builder,
        parameters: Mapping[str, Held],
        bounds: Mapping[str, Sequence[int | None]],
        defined: Callable[[str], bool],
        wait: Wait,
    ) -> None:
        self.builder = builder
        self.lanes = Lanes(builder, layout)
        self.graph = Graph(function)
        self.private: PrivateLayout = lay_out(function, layout)
        shapes = {name: shape_of(held) for name, held in parameters.items()}
        self.divergence = Divergence(
            function,
            self.graph,
            layout,
            shapes,
            self.private.strides,
            self._scale_of,
            Facts(function, bounds),
        )
        self._layout = layout
        self._parameters = parameters
        self._wait = wait
        self._calls = Calls(self.lanes, self.private, defined, products_in_turn(function))
        self._slots = self._make_slots()
        self._here: dict[str, Held] = {}

    def _scale_of(self, instruction: Instruction) -> int:
        return self.private.scale(instruction.result)

    # Values between blocks.

    def _make_slots(self) -> dict[str, Slot]:
        """Storage for every phi and every value that a later block uses."""
        slots: dict[str, Slot] = {}
        home = {
            i.result: label
            for label, block in self.graph.blocks.items()
            for i in block.instructions
            if i.result
        }
        types = {i.result: i.type for b in self.graph.blocks.values() for i in b.instructions}
        for label, block in self.graph.blocks.items():
            for instruction in block.instructions:
                wanted = [instruction.result] if instruction.opcode == "phi" else []
                places = instruction.labels if instruction.opcode == "phi" else None
                for position, operand in enumerate(instruction.operands):
                    used_in = places[position] if places else label
                    value = operand.value
                    if isinstance(value, Local) and home.get(value.name, used_in) != used_in:
                        wanted.append(value.name)
                for name in wanted:
                    if name not in slots:
                        shape = self.divergence.shapes.get(name, Uniform())
                        slots[name] = make_slot(self.lanes, types[name], shape)
        return slots

    def held(self, operand: Operand) -> Held:
        """How `operand` is held at this point of the current block."""
        value = operand.value
        if not isinstance(value, Local):
            return self.lanes.constant(operand)
        if value.name in self._parameters:
            return self._parameters[value.name]
        if value.name not in self._here:
            self._here[value.name] = load_slot(self.lanes, self._slots[value.name])
        return self._here[value.name]

    def copy_to_phis(self, source: str, target: str, edge: Mask | None) -> None:
        """Hands over what `target`'s phis take from `source`; with `edge` for its lanes alone."""
        known = dict(self._here)
        copies = []
        for phi in self.graph.blocks[target].phis():
            index = phi.labels.index(source)
            copies.append((self._slots[phi.result], self.held(phi.operands[index])))
        for slot, held in copies:
            store_slot(self.lanes, slot, held, edge)
        self._here = known  # what was loaded here does not dominate the other edges

    # Instructions.

    def lower_block(self, label: str, mask: Mask) -> None:
        """Everything of a block but its terminator."""
        self._here = {}
        block = self.graph.blocks[label]
        for phi in block.phis():
            self._here[phi.result] = load_slot(self.lanes, self._slots[phi.result])
        for instruction in block.instructions[:-1]:
            if instruction.opcode == "phi":
                continue
            held = self._lower(instruction, mask)
            if instruction.result and held is not None:
                held = self.lanes.shaped(held, self.divergence.shapes[instruction.result])
                self._here[instruction.result] = held
                if instruction.result in self._slots:
                    store_slot(self.lanes, self._slots[instruction.result], held)

    def _lower(self, instruction: Instruction, mask: Mask) -> Held | None:
        rule = _RULES.get(instruction.opcode)
        if rule is not None:
            return rule(self, instruction, mask)
        shape = self.divergence.shapes[instruction.result]
        operands = [self.held(o) for o in instruction.operands]
        return lower_elementwise(self.lanes, instruction, operands, shape, mask)

    def _access(self, instruction: Instruction, pointer: Operand, mask: Mask) -> Access:
        name = pointer.value.name if isinstance(pointer.value, Local) else ""
        align = instruction.align or 1
        return Access(self.lanes, self.held(pointer), mask, align, self.private.scale(name))

    def _load(self, instruction: Instruction, mask: Mask) -> Held:
        return load(self._access(instruction, instruction.operands[0], mask), instruction.type)

    def _store(self, instruction: Instruction, mask: Mask) -> None:
        value, pointer = instruction.operands
        store(self._access(instruction, pointer, mask), self.held(value))

    def _alloca(self, instruction: Instruction, mask: Mask) -> Held:
        size = self.private.sizes[instruction.result]
        stride = self.private.strides[instruction.result]
        base = self.builder.slot(f"[{size} x i8]", 64)
        return Line(instruction.type, base, Pattern(evenly(stride)))

    def _getelementptr(self, instruction: Instruction, mask: Mask) -> Held:
        held = [self.held(o) for o in instruction.operands]
        if isinstance(instruction.type, Vector):
            raise UnsupportedError("not supported: vectors of pointers")
        if all(isinstance(h, Same) for h in held):
            words = " ".join(("getelementptr", *instruction.flags))
            listed = ", ".join(f"{h.type} {self.lanes.same(h)}" for h in held)
            text = self.builder.value(f"{words} {instruction.source_type}, {listed}")
            return Same(instruction.type, text)
        scale = self.private.scale(instruction.result)
        pointer, fixed = held[0], 0
        for size, index in address_steps(instruction, self._layout):
            if index is None:
                fixed += size
            else:
                facts = self.divergence.facts
                shape = index_pattern(index, self.divergence.shape(index), facts)
                step = extend_index(self.lanes, self.held(index), shape)
                pointer = offset_pointer(self.lanes, pointer, step, size * scale)
        if fixed:
            pointer = offset_pointer(self.lanes, pointer, Same(I64, str(fixed * scale)), 1)
        return pointer

    def _call(self, instruction: Instruction, mask: Mask) -> Held | None:
        name = instruction.callee_name
        if name in BARRIERS:
            self._wait(name == TURN)
            return None
        if NO_OPERATIONS.match(name):
            return None
        return self._calls.lower(instruction, [self.held(o) for o in instruction.operands], mask)

    def _fence(self, instruction: Instruction, mask: Mask) -> None:
        self.builder.emit(f"fence {instruction.ordering}")

    def _vector(self, instruction: Instruction, mask: Mask) -> Held:
        operands = [self.held(o) for o in instruction.operands]
        return vectors.lower(self.lanes, instruction, operands)

    def _unsupported(self, instruction: Instruction, mask: Mask) -> Held:
        raise UnsupportedError(f"not supported: the LLVM instruction {instruction.opcode!r}")


_RULES: dict[str, Callable[[Kernel, Instruction, Mask], Held | None]] = {
    "load": Kernel._load,
    "store": Kernel._store,
    "alloca": Kernel._alloca,
    "getelementptr": Kernel._getelementptr,
    "call": Kernel._call,
    "fence": Kernel._fence,
    "atomicrmw": Kernel._unsupported,
    "cmpxchg": Kernel._unsupported,
    **dict.fromkeys(vectors.OPCODES, Kernel._vector),
}
