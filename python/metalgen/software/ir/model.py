"""LLVM IR as Python objects: modules, functions, blocks, instructions and their operands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from metalgen.software.ir.types import Layout, Struct, Type


@dataclass(frozen=True, slots=True)
class Local:
    """A value of the function: `%name`, the percent sign included."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Global:
    """A function or global variable: `@name`, the at sign included."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant without parts: a number, `true`, `null`, `undef`, `poison`, `zeroinitializer`, a
    metadata node.
    """

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A constant with parts: `<...>`, `[...]`, `{...}`."""

    brackets: tuple[str, str]
    elements: tuple[Operand, ...]

    def __str__(self) -> str:
        opening, closing = self.brackets
        return f"{opening}{', '.join(map(str, self.elements))}{closing}"


@dataclass(frozen=True, slots=True)
class Expression:
    """A constant expression: an instruction whose operands are constants."""

    opcode: str
    flags: tuple[str, ...]
    operands: tuple[Operand, ...]
    source_type: Type | None = None  # getelementptr's
    target: Type | None = None  # a cast's

    def __str__(self) -> str:
        head = " ".join((self.opcode, *self.flags))
        inner = ", ".join(map(str, self.operands))
        if self.source_type is not None:
            inner = f"{self.source_type}, {inner}"
        return f"{head} ({inner} to {self.target})" if self.target else f"{head} ({inner})"


Value = Local | Global | Literal | Aggregate | Expression


@dataclass(frozen=True, slots=True)
class Operand:
    type: Type
    value: Value
    attributes: str = ""  # of a call's argument

    def __str__(self) -> str:
        # `!s` spares the look-up of __format__: most of a kernel's text are operands.
        if self.attributes:
            return f"{self.type!s} {self.attributes} {self.value!s}"
        return f"{self.type!s} {self.value!s}"


@dataclass(slots=True)
class Instruction:
    """One instruction; which fields count depends on the opcode, as `ir.write` shows."""

    opcode: str
    type: Type  # of the result; VOID for those without one
    operands: list[Operand]
    result: str = ""  # "%name", or "" where there is none
    flags: tuple[str, ...] = ()  # nsw, fast, inbounds, volatile, tail ...
    predicate: str = ""  # of icmp, fcmp; the operation of atomicrmw
    source_type: Type | None = None  # of getelementptr and alloca
    labels: list[str] = field(default_factory=list)  # "%name": of phi, br, switch (default first)
    indices: tuple[int, ...] = ()  # of extractvalue, insertvalue
    callee: Value | None = None
    return_attributes: str = ""  # of call
    ordering: str = ""  # 'syncscope("x") monotonic', of atomics
    align: int = 0
    suffix: str = ""  # "#3" and attached metadata, as text

    @property
    def is_terminator(self) -> bool:
        return self.opcode in ("br", "switch", "ret", "unreachable")

    @property
    def callee_name(self) -> str:
        """The called function without its at sign; empty for what is not a direct call."""
        return unquoted(self.callee.name) if isinstance(self.callee, Global) else ""


@dataclass(slots=True)
class Block:
    label: str  # "%name", as branches name it
    instructions: list[Instruction]

    @property
    def terminator(self) -> Instruction:
        return self.instructions[-1]

    def successors(self) -> list[str]:
        return list(dict.fromkeys(self.terminator.labels))

    def phis(self) -> Iterator[Instruction]:
        return (i for i in self.instructions if i.opcode == "phi")


@dataclass(frozen=True, slots=True)
class Parameter:
    type: Type
    name: str
    attributes: str = ""


@dataclass(slots=True)
class Function:
    name: str  # without the at sign and quotes
    return_type: Type
    parameters: list[Parameter]
    blocks: list[Block]
    prefix: str = ""  # linkage and the like, before the return type
    suffix: str = ""  # attributes, after the parameters

    def instructions(self) -> Iterator[Instruction]:
        return (instruction for block in self.blocks for instruction in block.instructions)


@dataclass(frozen=True, slots=True)
class GlobalVariable:
    name: str  # without the at sign and quotes
    type: Type
    address_space: int
    definition: str  # the whole line


@dataclass(slots=True)
class Module:
    structs: dict[str, Struct]
    globals: dict[str, GlobalVariable]
    declarations: dict[str, str]  # name → the whole line
    functions: dict[str, Function]
    header: list[str]  # source name, data layout, triple, type definitions
    footer: list[str]  # attribute groups and metadata

    @property
    def layout(self) -> Layout:
        return Layout(self.structs)


def unquoted(name: str) -> str:
    """`@"a b"` or `%"a b"` or `@f` without sigil and quotes."""
    return name[2:-1] if name[1:2] == '"' else name[1:]
