"""One kernel in the making: which memory it names, what it computes, its text and its launch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metalgen.proposers.builtin.expressions import (
    STORAGE_TYPES,
    Expr,
    Variable,
    compute_type,
    convert,
    walk,
)
from metalgen.proposers.builtin.formula import formula_of
from metalgen.proposers.builtin.indexing import Index, Size
from metalgen.proposers.builtin.loop_form import Buffer, LoopNest, Statement
from metalgen.proposers.builtin.naming import Names
from metalgen.proposers.builtin.sizes import plan_expression
from metalgen.proposers.builtin.text import Binding, Writer


@dataclass(frozen=True)
class Kernel:
    """A finished kernel: MSL, the launch plan's step, and what the text needs beside it."""

    name: str
    source: str
    step: dict[str, Any]
    helpers: frozenset[str]
    tables: tuple[Buffer, ...]


class Draft:
    """Writes one loop nest: names its memory and sizes; `finish` makes the kernel."""

    def __init__(self, nest: LoopNest, buffers: Mapping[str, Buffer]) -> None:
        self.nest = nest
        self.name = nest.name
        self._buffers = buffers
        self._locals = Names()
        self._results = [buffers[statement.result] for statement in nest.results]
        self._operands = [buffers[name] for name in nest.reads]
        self.bindings = self._bind()
        self.writer = Writer(self.bindings, self._locals)

    def _bind(self) -> dict[str, Binding]:
        # What is gathered over loops is a variable too, which keeps the plain name.
        for statement in self.nest.statements:
            if statement.how != "store":
                self._locals.fresh(statement.result)
        named = {each.result for each in self.nest.statements if each.how == "store"}
        constants = [buffer for buffer in self._operands if buffer.role == "constant"]
        bindings: dict[str, Binding] = {}
        for name in sorted(self.nest.local):
            own = self._locals.fresh(name)
            bindings[name] = Binding(own, compute_type(self._buffers[name].dtype))
        for buffer in [*constants, *self._results, *self._read()]:
            wanted = f"{buffer.word}_out" if buffer.name in named else buffer.word
            name = self._locals.fresh(wanted)
            bindings[buffer.name] = Binding(name, STORAGE_TYPES[buffer.dtype])
        return bindings

    def store(self, statement: Statement, value: Expr | None = None) -> str:
        """The line that writes the statement's result, or `value` for it, where it belongs."""
        assert statement.target is not None
        binding = self.bindings[statement.result]
        value = value or statement.stored
        text = self.writer.text(convert(value, compute_type(statement.dtype)))
        if binding.storage not in ("float", "bool") and binding.storage != value.type:
            text = f"{binding.storage}({text})"
        return f"{binding.name}[{self.writer.index(statement.target)}] = {text};"

    def memory(self, name: str) -> Buffer:
        """The buffer of that name."""
        return self._buffers[name]

    def size(self, index: Index) -> str:
        """A size as an operand in the kernel's text."""
        return self.writer.operand(index)

    def local(self, wanted: str) -> str:
        """A variable name that nothing else in the kernel has."""
        return self._locals.fresh(wanted)

    def formula(self) -> list[str]:
        """What each result is, and before it what it needs of the row, as comments."""
        values = (value for each in self.nest.statements for value in walk(each.value))
        read = {value.name for value in values if isinstance(value, Variable)}
        lines: list[str] = []
        for statement in self.nest.statements:
            if statement.how == "reduce" and statement.result in read:
                lines.append(formula_of(statement.result, statement, self))
            elif statement.target is not None:
                lines.append(formula_of(self.bindings[statement.result].name, statement, self))
        return lines

    def parameters(self, attributes: Sequence[str]) -> list[str]:
        """The kernel's parameter declarations, results first, then operands and sizes."""
        written = [self._declared("device ", buffer) for buffer in self._results]
        read = [self._declared("device const ", buffer) for buffer in self._read()]
        sizes = [f"constant uint& {size.name}" for size in self._sizes()]
        declared = [*written, *read, *sizes]
        widest = max(len(text) for text in declared)
        aligned = [f"{text.ljust(widest)} [[buffer({i})]]" for i, text in enumerate(declared)]
        return [*aligned, *attributes]

    def finish(self, source: str, geometry: dict[str, Any], *, helpers: set[str]) -> Kernel:
        """The kernel, which runs once where it depends on parameters alone."""
        step: dict[str, Any] = {"kernel": self.name, "args": self._arguments(), **geometry}
        if self._is_constant() and all(isinstance(size, int) for size in _sizes_of(geometry)):
            step["once"] = True
        tables = tuple(buffer for buffer in self._operands if buffer.role == "constant")
        return Kernel(self.name, source, step, frozenset(helpers | self.writer.helpers), tables)

    def extents(self, *sizes: Index) -> list[Any]:
        """Sizes as the launch plan writes them."""
        return [plan_expression(size) for size in sizes]

    def _arguments(self) -> list[Any]:
        """What the launch plan passes for the parameters."""
        names: list[Any] = [buffer.name for buffer in (*self._results, *self._read())]
        return names + [{"uint": size.expression} for size in self._sizes()]

    def _declared(self, space: str, buffer: Buffer) -> str:
        binding = self.bindings[buffer.name]
        return f"{space}{binding.storage}* {binding.name}"

    def _read(self) -> list[Buffer]:
        return [buffer for buffer in self._operands if buffer.role != "constant"]

    def _sizes(self) -> list[Size]:
        return sorted(self.writer.sizes.values(), key=lambda size: size.name)

    def _is_constant(self) -> bool:
        """Whether nothing the kernel reads, and no size, depends on the inputs."""
        reads = all(buffer.role in ("parameter", "constant") for buffer in self._operands)
        outputs = any(buffer.role == "output" for buffer in self._results)
        return reads and not outputs and not self.writer.sizes


def _sizes_of(geometry: dict[str, Any]) -> list[Any]:
    return [*geometry.get("threads", []), *geometry.get("threadgroups", [])]
