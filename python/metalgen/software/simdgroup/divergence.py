"""Finds every value's shape, and which branches and loops part the lanes of a SIMD-group.

A data-flow analysis in the manner of Karrenberg and Hack, "Improving Performance of OpenCL on CPUs"
(2012): shapes flow from definitions to uses; a branch on a value that is not uniform makes the
joins behind it varying.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from metalgen.software.ir.model import Aggregate, Function, Instruction, Literal, Local, Operand
from metalgen.software.ir.types import Layout, Type, Vector
from metalgen.software.simdgroup.addresses import address_steps, constant
from metalgen.software.simdgroup.cfg import Graph, Loop
from metalgen.software.simdgroup.facts import Facts
from metalgen.software.simdgroup.operations import is_uniform_result
from metalgen.software.simdgroup.patterns import index_pattern, pattern_of
from metalgen.software.simdgroup.shapes import (
    UNIFORM,
    VARYING,
    Pattern,
    Shape,
    Uniform,
    evenly,
    is_uniform,
    join,
    part,
    part_types,
    parts,
    varying,
)


class Divergence:
    """The result: `shape(operand)`, `divergent_branches`, `divergent_loops`."""

    def __init__(
        self,
        function: Function,
        graph: Graph,
        layout: Layout,
        parameters: Mapping[str, Shape],
        private_strides: Mapping[str, int],
        private_scale: Callable[[Instruction], int],
        facts: Facts,
    ) -> None:
        self._graph = graph
        self._layout = layout
        self._private_strides = private_strides
        self._private_scale = private_scale
        self.facts = facts
        self.shapes: dict[str, Shape] = dict(parameters)
        self.divergent_branches: set[str] = set()
        self.divergent_loops: set[str] = set()
        self._parted_joins: set[str] = set()
        self._function = function
        while self._sweep() or self._part_lanes():
            pass

    def shape(self, operand: Operand) -> Shape:
        value = operand.value
        if isinstance(value, Local):
            return self.shapes.get(value.name, UNIFORM)
        return UNIFORM

    # Shapes from definitions to uses.

    def _sweep(self) -> bool:
        changed = False
        for label, block in self._graph.blocks.items():
            for instruction in block.instructions:
                if not instruction.result:
                    continue
                old = self.shapes.get(instruction.result)
                new = self._transfer(instruction, label)
                if new is None:
                    continue
                if old is not None:
                    new = join(old, new)
                if new != old:
                    self.shapes[instruction.result] = new
                    changed = True
        return changed

    def _transfer(self, instruction: Instruction, label: str) -> Shape | None:
        if instruction.opcode == "phi":
            return self._phi(instruction, label)
        if any(
            isinstance(o.value, Local) and o.value.name not in self.shapes
            for o in instruction.operands
        ):
            return None
        rule = _RULES.get(instruction.opcode)
        if rule is not None:
            return rule(self, instruction)
        return self._elementwise(instruction)

    def _phi(self, instruction: Instruction, label: str) -> Shape | None:
        known = [
            self.shape(o)
            for o in instruction.operands
            if not isinstance(o.value, Local) or o.value.name in self.shapes
        ]
        if not known:
            return None
        if label in self._parted_joins:
            return varying(instruction.type, self._layout)
        shape = known[0]
        for other in known[1:]:
            shape = join(shape, other)
        return shape

    def _elementwise(self, instruction: Instruction) -> Shape:
        shapes = [self.shape(o) for o in instruction.operands]
        if all(map(is_uniform, shapes)):
            return UNIFORM
        types = part_types(instruction.type, self._layout)
        if not types:
            return _scalar(instruction, instruction.type, shapes, instruction.operands, self.facts)
        return parts(
            tuple(
                _scalar(
                    instruction,
                    type_,
                    [part(shape, i) for shape in shapes],
                    [_element(operand, i) for operand in instruction.operands],
                    self.facts,
                )
                for i, type_ in enumerate(types)
            )
        )

    def _top(self, instruction: Instruction) -> Shape:
        return varying(instruction.type, self._layout)

    def _load(self, instruction: Instruction) -> Shape:
        return (
            UNIFORM if is_uniform(self.shape(instruction.operands[0])) else self._top(instruction)
        )

    def _alloca(self, instruction: Instruction) -> Shape:
        return Pattern(evenly(self._private_strides[instruction.result]))

    def _getelementptr(self, instruction: Instruction) -> Shape:
        shapes = [self.shape(o) for o in instruction.operands]
        if all(map(is_uniform, shapes)):
            return UNIFORM
        if isinstance(instruction.type, Vector):
            return self._top(instruction)
        if not isinstance(shapes[0], Pattern | Uniform):
            return VARYING
        start = shapes[0] if isinstance(shapes[0], Pattern) else Pattern(evenly(0))
        offsets, exact = start.offsets, start.exact
        scale = self._private_scale(instruction)
        for size, index in address_steps(instruction, self._layout):
            if index is None or is_uniform(self.shape(index)):
                continue
            shape = index_pattern(index, self.shape(index), self.facts)
            if not isinstance(shape, Pattern):
                return VARYING
            step = size * scale
            offsets = tuple(o + step * p for o, p in zip(offsets, shape.offsets, strict=True))
            exact = exact and shape.exact
        return Pattern(offsets, exact=exact)

    def _extractelement(self, instruction: Instruction) -> Shape:
        vector, index = map(self.shape, instruction.operands)
        if is_uniform(vector) and is_uniform(index):
            return UNIFORM
        at = constant(instruction.operands[1])
        return VARYING if at is None else part(vector, at) if _owned(instruction, at) else UNIFORM

    def _insertelement(self, instruction: Instruction) -> Shape:
        vector, element, index = map(self.shape, instruction.operands)
        if is_uniform(vector) and is_uniform(element) and is_uniform(index):
            return UNIFORM
        at = constant(instruction.operands[2])
        if at is None:
            return self._top(instruction)
        count = len(part_types(instruction.type, self._layout))
        return parts(tuple(element if i == at else part(vector, i) for i in range(count)))

    def _shufflevector(self, instruction: Instruction) -> Shape:
        first, second = (self.shape(o) for o in instruction.operands[:2])
        if is_uniform(first) and is_uniform(second):
            return UNIFORM
        source = instruction.operands[0].type
        assert isinstance(source, Vector)
        chosen = []
        for index in shuffle_mask(instruction)[: len(part_types(instruction.type, self._layout))]:
            from_second = index is not None and index >= source.count
            within = index - source.count if from_second and index is not None else index
            owned = within is not None and within < len(part_types(source, self._layout))
            chosen.append(
                part(second if from_second else first, within)
                if owned and within is not None
                else UNIFORM
            )
        return parts(tuple(chosen))

    def _extractvalue(self, instruction: Instruction) -> Shape:
        shape = self.shape(instruction.operands[0])
        for index in instruction.indices:
            shape = part(shape, index)
        return shape

    def _insertvalue(self, instruction: Instruction) -> Shape:
        aggregate, element = map(self.shape, instruction.operands)
        return self._inserted(instruction.type, aggregate, element, instruction.indices)

    def _inserted(
        self, type_: Type, aggregate: Shape, element: Shape, indices: tuple[int, ...]
    ) -> Shape:
        if not indices:
            return element
        types = part_types(type_, self._layout)
        return parts(
            tuple(
                self._inserted(types[i], part(aggregate, i), element, indices[1:])
                if i == indices[0]
                else part(aggregate, i)
                for i in range(len(types))
            )
        )

    def _bitcast(self, instruction: Instruction) -> Shape:
        operand = instruction.operands[0]
        shape = self.shape(operand)
        return (
            shape if operand.type == instruction.type else self._reinterpreted(instruction, shape)
        )

    def _reinterpreted(self, instruction: Instruction, shape: Shape) -> Shape:
        return UNIFORM if is_uniform(shape) else self._top(instruction)

    def _call(self, instruction: Instruction) -> Shape:
        shapes = [self.shape(o) for o in instruction.operands]
        if is_uniform_result(instruction.callee_name, [is_uniform(shape) for shape in shapes]):
            return UNIFORM
        return self._top(instruction)

    # Lanes that part at a branch and meet again.

    def _part_lanes(self) -> bool:
        """Marks divergent branches and loops and the joins behind them; true if any was new."""
        graph = self._graph
        before = len(self._parted_joins), len(self.divergent_branches), len(self.divergent_loops)
        for label in graph.order:
            terminator = graph.blocks[label].terminator
            if not terminator.operands or len(set(terminator.labels)) < 2:
                continue
            if terminator.opcode == "ret" or is_uniform(self.shape(terminator.operands[0])):
                continue
            self.divergent_branches.add(label)
            self._mark_joins(graph.successors[label], graph.postdominator(label), label)
        for loop in graph.loops.values():
            if any(self._leaves(label, loop) for label in self.divergent_branches):
                self.divergent_loops.add(loop.header)
                exits = graph.exits(loop)
                self._parted_joins.update(exits)
                self._mark_joins(exits, graph.common_postdominator(exits), loop.header)
        after = len(self._parted_joins), len(self.divergent_branches), len(self.divergent_loops)
        return after != before

    def _leaves(self, label: str, loop: Loop) -> bool:
        return loop.contains(label) and not loop.contains(self._graph.postdominator(label))

    def _mark_joins(self, starts: list[str], end: str, origin: str) -> None:
        """Blocks that two of the paths from `starts` reach, not going round loops that hold
        `origin`.
        """
        headers = {loop.header for loop in self._graph.loops.values() if loop.contains(origin)}
        met: dict[str, int] = {}
        for start in starts:
            for label in self._reach(start, end, headers):
                met[label] = met.get(label, 0) + 1
        self._parted_joins.update(label for label, count in met.items() if count > 1)

    def _reach(self, start: str, end: str, headers: set[str]) -> set[str]:
        if start in headers:
            return set()
        found, pending = {start}, [start]
        while pending:
            label = pending.pop()
            if label == end or label not in self._graph.successors:
                continue
            for successor in self._graph.successors[label]:
                if successor not in found and successor not in headers:
                    found.add(successor)
                    pending.append(successor)
        return found


_RULES: dict[str, Callable[[Divergence, Instruction], Shape]] = {
    "load": Divergence._load,
    "alloca": Divergence._alloca,
    "getelementptr": Divergence._getelementptr,
    "extractelement": Divergence._extractelement,
    "insertelement": Divergence._insertelement,
    "shufflevector": Divergence._shufflevector,
    "extractvalue": Divergence._extractvalue,
    "insertvalue": Divergence._insertvalue,
    "bitcast": Divergence._bitcast,
    "call": Divergence._call,
    "atomicrmw": Divergence._top,
    "cmpxchg": Divergence._top,
}


def _owned(instruction: Instruction, index: int) -> bool:
    vector = instruction.operands[0].type
    return not (isinstance(vector, Vector) and vector.count == 64) or index < 2


def _scalar(
    instruction: Instruction,
    type_: Type,
    shapes: list[Shape],
    operands: list[Operand],
    facts: Facts,
) -> Shape:
    """The shape of one scalar, of type `type_`, of an element-wise instruction."""
    if all(map(is_uniform, shapes)):
        return UNIFORM
    return pattern_of(instruction.opcode, instruction.flags, type_, operands, shapes, facts)


def _element(operand: Operand, index: int) -> Operand:
    """Part `index` of a constant vector operand; other operands as they are."""
    value = operand.value
    if isinstance(operand.type, Vector):
        if isinstance(value, Aggregate):
            return value.elements[index]
        if isinstance(value, Literal):
            return Operand(operand.type.element, value)
    return operand


def shuffle_mask(instruction: Instruction) -> list[int | None]:
    """The indices of a shufflevector; None where the result is poison."""
    operand = instruction.operands[2]
    assert isinstance(operand.type, Vector)
    value = operand.value
    if isinstance(value, Aggregate):
        return [constant(element) for element in value.elements]
    if isinstance(value, Literal) and value.text == "zeroinitializer":
        return [0] * operand.type.count
    if isinstance(value, Literal) and value.text in ("poison", "undef"):
        return [None] * operand.type.count
    number = constant(value.operands[0]) if hasattr(value, "operands") else None  # splat (i32 n)
    return [number] * operand.type.count
