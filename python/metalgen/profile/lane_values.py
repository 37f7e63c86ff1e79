"""What the lanes of sampled SIMD-groups hold, as far as that follows from sizes and positions.

A value is an array of integers, one per lane. One that was loaded from where all lanes look alike
is `opaque`: the same unknown number in every lane, to which `numbers` is added. Everything else
that is not known is None; floats never are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metalgen.profile.samples import Numbers
from metalgen.software.ir.model import Instruction, Operand
from metalgen.software.ir.types import Array, Int, Layout, Named, Pointer, Struct, Type, Vector


@dataclass(frozen=True, slots=True)
class Lanes:
    """One integer or pointer in every lane; a pointer counts bytes from `base`."""

    numbers: Numbers
    opaque: bool = False
    base: str = ""

    @property
    def is_uniform(self) -> bool:
        """Whether all lanes of a SIMD-group hold the same."""
        return bool((self.numbers == self.numbers[:, :1]).all())


Value = Lanes | tuple["Lanes | None", ...] | None  # a tuple: a vector's components


def constant(operand: Operand, shape: tuple[int, int]) -> Value:
    """The value of a literal operand; None for floats and what has no number."""
    text = str(operand.value)
    if isinstance(operand.type, Vector):
        return _constant_vector(operand, shape)
    if text in ("true", "false"):
        return Lanes(np.full(shape, int(text == "true"), np.int64))
    if text == "zeroinitializer" and isinstance(operand.type, Int):
        return Lanes(np.zeros(shape, np.int64))
    try:
        number = int(text)
    except ValueError:
        return None
    if not isinstance(operand.type, Int) or not -(2**63) <= number < 2**63:
        return None
    return Lanes(np.full(shape, number, np.int64))


def _constant_vector(operand: Operand, shape: tuple[int, int]) -> Value:
    assert isinstance(operand.type, Vector)
    elements = getattr(operand.value, "elements", None)
    if elements is not None:
        found = [constant(element, shape) for element in elements]
        return tuple(each if isinstance(each, Lanes) else None for each in found)
    if str(operand.value) == "zeroinitializer" and isinstance(operand.type.element, Int):
        return (Lanes(np.zeros(shape, np.int64)),) * operand.type.count
    return (None,) * operand.type.count


def evaluate(instruction: Instruction, operands: Sequence[Value], layout: Layout) -> Value:
    """The result of an instruction that is no load, call or phi."""
    opcode = instruction.opcode
    if opcode == "getelementptr":
        return _address(instruction, operands, layout)
    if opcode == "extractelement":
        return _extract(operands)
    if opcode == "insertelement":
        return _insert(instruction, operands)
    if opcode == "shufflevector":
        return None
    if isinstance(instruction.type, Vector):
        return _by_component(instruction, operands, layout)
    if any(not isinstance(each, Lanes) for each in operands):
        return None
    return _scalar(instruction, [each for each in operands if isinstance(each, Lanes)])


def _by_component(instruction: Instruction, operands: Sequence[Value], layout: Layout) -> Value:
    vector = instruction.type
    assert isinstance(vector, Vector)
    if not isinstance(vector.element, Int):
        return (None,) * vector.count
    one = Instruction(
        instruction.opcode,
        vector.element,
        [Operand(_element(o.type), o.value) for o in instruction.operands],
        predicate=instruction.predicate,
    )
    components: list[Lanes | None] = []
    for i in range(vector.count):
        parts = [each[i] if isinstance(each, tuple) else each for each in operands]
        found = evaluate(one, parts, layout)
        components.append(found if isinstance(found, Lanes) else None)
    return tuple(components)


def _element(type_: Type) -> Type:
    return type_.element if isinstance(type_, Vector) else type_


def _scalar(instruction: Instruction, given: list[Lanes]) -> Value:
    opcode = instruction.opcode
    if opcode in ("zext", "sext", "trunc", "freeze", "bitcast"):
        return _cast(instruction, given[0])
    if opcode == "select":
        return _select(given)
    if opcode == "icmp":
        return _compare(instruction, *given)
    if opcode in ("add", "sub"):
        return _sum(opcode, *given)
    if opcode in ("mul", "shl") and given[0].opaque != given[-1].opaque:
        return _scaled(opcode, *given)
    operation = _OPERATIONS.get(opcode)
    if operation is None or any(each.opaque for each in given):
        return None
    bits = _bits(instruction.type)
    return Lanes(_wrapped(operation(given[0].numbers, given[1].numbers, bits), bits))


def _cast(instruction: Instruction, value: Lanes) -> Lanes | None:
    source = instruction.operands[0].type
    if not isinstance(source, Int) or not isinstance(instruction.type, Int):
        return value if instruction.opcode in ("freeze", "bitcast") else None
    if value.opaque:
        return value
    if instruction.opcode == "zext":
        return Lanes(_unsigned(value.numbers, source.bits))
    return Lanes(_wrapped(value.numbers, instruction.type.bits))


def _select(given: list[Lanes]) -> Lanes | None:
    condition, yes, no = given
    if condition.opaque or yes.base != no.base or yes.opaque or no.opaque:
        return None
    return Lanes(np.where(condition.numbers != 0, yes.numbers, no.numbers), base=yes.base)


def _sum(opcode: str, a: Lanes, b: Lanes) -> Lanes:
    numbers = a.numbers + b.numbers if opcode == "add" else a.numbers - b.numbers
    # Two unknown numbers make one; that a difference might cancel them is let go.
    return Lanes(numbers, a.opaque or b.opaque, a.base or b.base)


def _scaled(opcode: str, a: Lanes, b: Lanes) -> Lanes | None:
    """An unknown number times a known one stays the same for all lanes where the factor is."""
    unknown, factor = (a, b) if a.opaque else (b, a)
    if (opcode == "shl" and b.opaque) or not factor.is_uniform or unknown.base:
        return None
    by = factor.numbers if opcode == "mul" else np.int64(1) << (factor.numbers & 63)
    return Lanes(unknown.numbers * by, opaque=True)


_COMPARISONS: Mapping[str, Callable[[Numbers, Numbers], NDArray[np.bool_]]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def _compare(instruction: Instruction, a: Lanes, b: Lanes) -> Lanes | None:
    if a.opaque or b.opaque or a.base != b.base:
        return None
    predicate = instruction.predicate
    x, y = a.numbers, b.numbers
    if predicate[0] == "u":
        bits = _bits(instruction.operands[0].type)
        x, y = _unsigned(x, bits), _unsigned(y, bits)
    compare = _COMPARISONS[predicate if predicate in ("eq", "ne") else predicate[1:]]
    return Lanes(compare(x, y).astype(np.int64))


def _bits(type_: Type) -> int:
    return type_.bits if isinstance(type_, Int) else 64


def _wrapped(numbers: Numbers, bits: int) -> Numbers:
    if bits >= 64:
        return numbers
    shift = np.int64(64 - bits)
    wrapped: Numbers = (numbers << shift) >> shift
    return wrapped


def _unsigned(numbers: Numbers, bits: int) -> Numbers:
    """Without a sign; of 64 bits none that is used for sizes reaches the last."""
    return numbers if bits >= 64 else numbers & np.int64((1 << bits) - 1)


def _divide(a: Numbers, b: Numbers) -> Numbers:
    return np.where(b != 0, a // np.where(b == 0, 1, b), 0)


def _modulo(a: Numbers, b: Numbers) -> Numbers:
    return np.where(b != 0, a % np.where(b == 0, 1, b), 0)


def _toward_zero(a: Numbers, b: Numbers) -> Numbers:
    return np.sign(a) * np.sign(b) * _divide(np.abs(a), np.abs(b))


_OPERATIONS: Mapping[str, Callable[[Numbers, Numbers, int], Numbers]] = {
    "mul": lambda a, b, bits: a * b,
    "and": lambda a, b, bits: a & b,
    "or": lambda a, b, bits: a | b,
    "xor": lambda a, b, bits: a ^ b,
    "shl": lambda a, b, bits: a << (b & 63),
    "lshr": lambda a, b, bits: _unsigned(a, bits) >> (b & 63),
    "ashr": lambda a, b, bits: a >> (b & 63),
    "udiv": lambda a, b, bits: _divide(_unsigned(a, bits), _unsigned(b, bits)),
    "urem": lambda a, b, bits: _modulo(_unsigned(a, bits), _unsigned(b, bits)),
    "sdiv": lambda a, b, bits: _toward_zero(a, b),
    "srem": lambda a, b, bits: a - _toward_zero(a, b) * b,
    "umin": lambda a, b, bits: np.minimum(_unsigned(a, bits), _unsigned(b, bits)),
    "umax": lambda a, b, bits: np.maximum(_unsigned(a, bits), _unsigned(b, bits)),
    "smin": lambda a, b, bits: np.minimum(a, b),
    "smax": lambda a, b, bits: np.maximum(a, b),
}


def extreme(name: str, type_: Type, operands: Sequence[Value]) -> Value:
    """What `air.min`, `llvm.umax` and their like give; None for other functions."""
    parts = name.split(".")
    stem = {"min": "min", "max": "max"}.get(parts[1] if len(parts) > 1 else "", "")
    if parts[0] == "air" and stem and len(parts) > 2 and parts[2] in ("u", "s"):
        operation = _OPERATIONS[f"{parts[2]}{stem}"]
    elif parts[0] == "llvm" and len(parts) > 1 and parts[1] in _OPERATIONS:
        operation = _OPERATIONS[parts[1]]
    else:
        return None
    first, second = operands[:2]
    if not isinstance(first, Lanes) or not isinstance(second, Lanes):
        return None
    if first.opaque or second.opaque:
        return None
    bits = _bits(type_)
    return Lanes(_wrapped(operation(first.numbers, second.numbers, bits), bits))


def _extract(operands: Sequence[Value]) -> Value:
    vector, index = operands
    if not isinstance(vector, tuple) or not isinstance(index, Lanes) or not index.is_uniform:
        return None
    place = int(index.numbers.flat[0])
    return vector[place] if 0 <= place < len(vector) else None


def _insert(instruction: Instruction, operands: Sequence[Value]) -> Value:
    vector, element, index = operands
    assert isinstance(instruction.type, Vector)
    count = instruction.type.count
    components: list[Lanes | None] = list(vector) if isinstance(vector, tuple) else [None] * count
    if not isinstance(index, Lanes) or not index.is_uniform:
        return None
    components[int(index.numbers.flat[0])] = element if isinstance(element, Lanes) else None
    return tuple(components)


def _address(instruction: Instruction, operands: Sequence[Value], layout: Layout) -> Value:
    pointer = operands[0]
    if not isinstance(pointer, Lanes) or instruction.source_type is None:
        return None
    numbers, opaque = pointer.numbers, pointer.opaque
    type_: Type = instruction.source_type
    for position, index in enumerate(operands[1:]):
        if not isinstance(index, Lanes):
            return None
        if position and isinstance(type_, Struct | Named):
            place = int(index.numbers.flat[0])
            numbers = numbers + layout.offset(type_, place)
            type_ = layout.struct(type_).elements[place]
            continue
        if position:
            if not isinstance(type_, Array | Vector):
                return None
            type_ = type_.element
        numbers = numbers + index.numbers * layout.size(type_)
        opaque = opaque or index.opaque
    return Lanes(numbers, opaque, pointer.base)


def parameter_pointer(name: str, shape: tuple[int, int], type_: Type) -> Lanes | None:
    """Where a pointer parameter points: the start of its own buffer."""
    return Lanes(np.zeros(shape, np.int64), base=name) if isinstance(type_, Pointer) else None
