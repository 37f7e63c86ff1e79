"""Types, values and a small instruction builder for the LLVM IR of one runtime function."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

_NAMES = {"f16": "half", "bf16": "bfloat", "f32": "float", "f64": "double"}
LANES = 32


@dataclass(frozen=True, slots=True)
class Type:
    """An element type by its AIR suffix (f16, bf16, f32, i1 ... i64, ptr), or a vector of it."""

    element: str
    lanes: int = 1

    @property
    def element_ir(self) -> str:
        return _NAMES.get(self.element, self.element)

    @property
    def ir(self) -> str:
        return self.element_ir if self.lanes == 1 else f"<{self.lanes} x {self.element_ir}>"

    @property
    def suffix(self) -> str:
        """As LLVM names an overload of an intrinsic."""
        return self.element if self.lanes == 1 else f"v{self.lanes}{self.element}"

    @property
    def bits(self) -> int:
        """Bits of one element."""
        return int(self.element.lstrip("bfi"))

    @property
    def is_float(self) -> bool:
        return self.element in _NAMES

    def of(self, element: str) -> Type:
        """As many lanes of another element type."""
        return Type(element, self.lanes)


@dataclass(frozen=True, slots=True)
class Value:
    """An operand: a local's name or a constant, and its type."""

    text: str
    type: Type


def _float_constant(value: float, element: str) -> str:
    if element == "f16":
        return f"0xH{struct.unpack('<H', struct.pack('<e', value))[0]:04X}"
    if element == "bf16":
        return f"0xR{struct.unpack('<I', struct.pack('<f', value))[0] >> 16:04X}"
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def constant(value: float, type_: Type) -> Value:
    """`value`, which the element type must represent exactly, in every lane."""
    text = _float_constant(value, type_.element) if type_.is_float else str(int(value))
    return Value(text if type_.lanes == 1 else f"splat ({type_.element_ir} {text})", type_)


def vector_constant(values: list[int], element: str) -> Value:
    """An integer for each lane."""
    listed = ", ".join(f"{element} {value}" for value in values)
    return Value(f"<{listed}>", Type(element, len(values)))


@dataclass
class Code:
    """The instructions of one function, in order; methods append one and return its value."""

    lines: list[str] = field(default_factory=list)
    callees: dict[str, str] = field(default_factory=dict)  # functions of the C++ part: declarations

    def let(self, instruction: str, type_: Type) -> Value:
        name = f"%v{len(self.lines)}"
        self.lines.append(f"  {name} = {instruction}")
        return Value(name, type_)

    def do(self, instruction: str) -> None:
        self.lines.append(f"  {instruction}")

    def binary(self, opcode: str, x: Value, y: Value) -> Value:
        return self.let(f"{opcode} {x.type.ir} {x.text}, {y.text}", x.type)

    def unary(self, opcode: str, x: Value) -> Value:
        return self.let(f"{opcode} {x.type.ir} {x.text}", x.type)

    def compare(self, predicate: str, x: Value, y: Value) -> Value:
        """`predicate` is an instruction and its condition, as in "fcmp olt"."""
        return self.let(f"{predicate} {x.type.ir} {x.text}, {y.text}", x.type.of("i1"))

    def select(self, condition: Value, yes: Value, no: Value) -> Value:
        return self.let(
            f"select {condition.type.ir} {condition.text}, "
            f"{yes.type.ir} {yes.text}, {no.type.ir} {no.text}",
            yes.type,
        )

    def cast(self, opcode: str, x: Value, to: Type) -> Value:
        return x if x.type == to else self.let(f"{opcode} {x.type.ir} {x.text} to {to.ir}", to)

    def intrinsic(self, name: str, *arguments: Value, flag: str = "") -> Value:
        """`llvm.name`, overloaded on the first argument's type, which is also the result's."""
        overload = arguments[0].type
        listed = ", ".join(f"{value.type.ir} {value.text}" for value in arguments)
        return self.let(
            f"call {overload.ir} @llvm.{name}.{overload.suffix}({listed}{flag})", overload
        )

    def reduce(self, name: str, x: Value) -> Value:
        """`llvm.vector.reduce.name` of an integer vector."""
        result = Type(x.type.element)
        call = f"@llvm.vector.reduce.{name}.{x.type.suffix}({x.type.ir} {x.text})"
        return self.let(f"call {result.ir} {call}", result)

    def shuffle(self, x: Value, y: Value, lanes: list[int]) -> Value:
        """Lane i of the result is lane lanes[i] of x followed by y."""
        mask = vector_constant(lanes, "i32")
        return self.let(
            f"shufflevector {x.type.ir} {x.text}, {y.type.ir} {y.text}, {mask.type.ir} {mask.text}",
            Type(x.type.element, len(lanes)),
        )

    def permute(self, x: Value, lanes: list[int]) -> Value:
        return self.shuffle(x, Value("poison", x.type), lanes)

    def extract(self, x: Value, lane: Value | int) -> Value:
        index = f"i32 {lane}" if isinstance(lane, int) else f"{lane.type.ir} {lane.text}"
        return self.let(f"extractelement {x.type.ir} {x.text}, {index}", Type(x.type.element))

    def insert(self, x: Value, element: Value, lane: int) -> Value:
        return self.let(
            f"insertelement {x.type.ir} {x.text}, {element.type.ir} {element.text}, i32 {lane}",
            x.type,
        )

    def splat(self, x: Value, lanes: int) -> Value:
        """The scalar `x` in every lane."""
        if lanes == 1:
            return x
        wide = Type(x.type.element, lanes)
        return self.permute(self.insert(Value("poison", wide), x, 0), [0] * lanes)

    def call(self, name: str, result: Type, *arguments: Value) -> Value:
        """A function of the C++ part."""
        types = ", ".join(value.type.ir for value in arguments)
        self.callees[name] = f"declare {result.ir} @{name}({types})"
        listed = ", ".join(f"{value.type.ir} {value.text}" for value in arguments)
        return self.let(f"call {result.ir} @{name}({listed})", result)


@dataclass(frozen=True, slots=True)
class Function:
    """How to define one function: its body and the parameters that uses.

    A declaration may have more parameters at the end.
    """

    parameters: tuple[Type, ...]
    result: Type | None
    emit: Callable[[Code, list[Value]], Value | None]
    pure: bool = True
