"""What is known of integers before a kernel runs: how large they can be, what divides them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from metalgen.software.ir.model import Function, Instruction, Local, Operand
from metalgen.software.ir.types import Int
from metalgen.software.simdgroup.addresses import constant
from metalgen.software.simdgroup.shapes import power_of_two

_DEEPEST = 24  # definitions followed


class Facts:
    """Answers about scalar operands, found by following their definitions.

    All 32 lanes count, those that do not run included.
    """

    def __init__(self, function: Function, bounds: Mapping[str, Sequence[int | None]]) -> None:
        """`bounds` are those of parameters, component by component."""
        self._definitions = {i.result: i for i in function.instructions() if i.result}
        self._components = bounds
        self._bounds = {n: bound[0] for n, bound in bounds.items() if len(bound) == 1}
        self._divisors: dict[str, int] = {}

    def bound(self, operand: Operand, depth: int = 0) -> int | None:
        """The largest value that any lane can have, if none can be negative; None if unknown."""
        number = constant(operand)
        if number is not None:
            return number if number >= 0 else None
        value = operand.value
        if not isinstance(value, Local) or not isinstance(operand.type, Int):
            return None
        if value.name not in self._bounds:
            definition = self._definitions.get(value.name)
            if definition is None or depth > _DEEPEST:
                return None
            self._bounds[value.name] = self._bound(definition, operand.type, depth + 1)
        return self._bounds[value.name]

    def _bound(self, definition: Instruction, type_: Int, depth: int) -> int | None:
        rule = _BOUNDS.get(definition.opcode)
        if definition.opcode == "extractelement":
            return self._component(definition)
        if definition.opcode == "select":
            arms = [self.bound(o, depth) for o in definition.operands[1:]]
            return None if None in arms else max(b or 0 for b in arms)
        if definition.opcode == "and":
            # Either alone bounds the result.
            bounds = [self.bound(o, depth) for o in definition.operands]
            return min((b for b in bounds if b is not None), default=None)
        if rule is None:
            return None
        known = [self.bound(o, depth) for o in definition.operands]
        source = definition.operands[0].type
        if known[0] is None and definition.opcode == "zext" and isinstance(source, Int):
            return (1 << source.bits) - 1
        if known[0] is None and definition.opcode == "urem" and known[1]:
            return known[1] - 1
        if any(b is None for b in known):
            return None
        result = rule(*(b for b in known if b is not None))
        return result if 0 <= result < 1 << (type_.bits - 1) else None

    def _component(self, definition: Instruction) -> int | None:
        vector, index = definition.operands
        at = constant(index)
        bounds = (
            self._components.get(vector.value.name) if isinstance(vector.value, Local) else None
        )
        return bounds[at] if bounds and at is not None and at < len(bounds) else None

    def divisor(self, operand: Operand, depth: int = 0) -> int:
        """A power of two that divides the value in every lane; 0 if the value is 0."""
        number = constant(operand)
        if number is not None:
            return power_of_two(number)
        value = operand.value
        if not isinstance(value, Local):
            return 1
        if value.name not in self._divisors:
            definition = self._definitions.get(value.name)
            if definition is None or depth > _DEEPEST:
                return 1
            self._divisors[value.name] = self._divisor(definition, depth + 1)
        return self._divisors[value.name]

    def _divisor(self, definition: Instruction, depth: int) -> int:
        operands = definition.operands
        match definition.opcode:
            case "shl":
                amount = constant(operands[1])
                return self.divisor(operands[0], depth) << min(amount, 63) if amount else 1
            case "mul":
                return self.divisor(operands[0], depth) * self.divisor(operands[1], depth)
            case "and":
                return max(self.divisor(o, depth) for o in operands)
            case "add" | "sub" | "or":
                first, second = (self.divisor(o, depth) for o in operands)
                return min(first or second, second or first)
            case "zext" | "sext" | "trunc" | "freeze":
                return self.divisor(operands[0], depth)
        return 1


def _next_ones(first: int, second: int) -> int:
    return (1 << max(first, second).bit_length()) - 1


_BOUNDS: dict[str, Callable[..., int]] = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "shl": lambda a, b: a << min(b, 64),
    "or": _next_ones,
    "xor": _next_ones,
    "lshr": lambda a, _: a,
    "ashr": lambda a, _: a,
    "udiv": lambda a, _: a,
    "sdiv": lambda a, _: a,
    "urem": lambda a, b: min(a, max(b - 1, 0)),
    "srem": lambda a, b: min(a, max(b - 1, 0)),
    "zext": lambda a: a,
    "sext": lambda a: a,
    "trunc": lambda a: a,
}
