"""One kernel in the making: which tensors it names, what it computes, its text and its launch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metalgen.proposers.builtin.division import flatten
from metalgen.proposers.builtin.evaluate import buffer_name
from metalgen.proposers.builtin.expressions import (
    STORAGE_TYPES,
    Expr,
    Load,
    Variable,
    compute_type,
    convert,
    walk,
)
from metalgen.proposers.builtin.formula import formula_of
from metalgen.proposers.builtin.fuse import Fusion, Group, Member, evaluate
from metalgen.proposers.builtin.indexing import Index, Size
from metalgen.proposers.builtin.labels import label_of
from metalgen.proposers.builtin.loops import Access, Work
from metalgen.proposers.builtin.naming import Names
from metalgen.proposers.builtin.sizes import plan_expression
from metalgen.proposers.builtin.tensors import Pointwise, Reduction, Stored, Table, Tensor
from metalgen.proposers.builtin.text import Binding, Writer


@dataclass(frozen=True)
class Kernel:
    """A finished kernel: MSL, the launch plan's step, and what the text needs beside it."""

    name: str
    source: str
    step: dict[str, Any]
    helpers: frozenset[str]
    tables: tuple[Table, ...]


@dataclass
class Part:
    """A member with its expressions as they are rewritten for the kernel's axes."""

    member: Member
    accesses: list[Access]

    @property
    def tensor(self) -> Tensor:
        return self.member.tensor

    @property
    def value(self) -> Expr:
        return self.accesses[0].value


class Draft:
    """Collects what a kernel needs: expressions, buffers, sizes; `finish` makes the kernel."""

    def __init__(self, fusion: Fusion, group: Group, names: Names) -> None:
        self.fusion = fusion
        self.group = group
        self.work = Work()
        self.evaluator = fusion.evaluator(group)
        self.parts = [self._part(member) for member in group.members]
        self.name = names.fresh(label_of(fusion, group))
        self._original = [part.value for part in self.parts]
        self._locals = Names()
        self.results = [part for part in self.parts if fusion.is_written(part.tensor)]
        self.operands = list(self.evaluator.loaded.values())
        self.bindings = self._bind()
        self.writer = Writer(self.bindings, self._locals)

    def _part(self, member: Member) -> Part:
        expressions = evaluate(self.evaluator, member.tensor, member)
        accesses = [Access(value) for value in expressions]
        if isinstance(member.tensor, Pointwise):
            accesses[0].target = flatten(member.index, member.tensor.shape)
        elif self.fusion.is_written(member.tensor):
            result = Variable(compute_type(member.tensor.dtype), member.tensor.name)
            accesses.append(Access(result, flatten(member.index, member.tensor.shape)))
        self.work.accesses += accesses
        return Part(member, accesses)

    def _bind(self) -> dict[str, Binding]:
        bindings: dict[str, Binding] = {}
        for part in self.parts:
            # Reductions and products are also variables: those keep the plain name.
            if not isinstance(part.tensor, Pointwise):
                self._locals.fresh(part.tensor.name)
        for tensor in self.operands:
            if isinstance(tensor, Table):
                name = self._locals.fresh(tensor.name)
                bindings[buffer_name(tensor)] = Binding(name, STORAGE_TYPES[tensor.dtype])
        for tensor in [*(part.tensor for part in self.results), *self._buffers()]:
            wanted = tensor.name if isinstance(tensor, Stored | Pointwise) else f"{tensor.name}_out"
            wanted = f"{wanted}_out" if self._is_named_value(tensor) else wanted
            name = self._locals.fresh(wanted)
            bindings[buffer_name(tensor)] = Binding(name, STORAGE_TYPES[tensor.dtype])
        return bindings

    def _is_named_value(self, tensor: Tensor) -> bool:
        return isinstance(tensor, Pointwise) and any(part.tensor is tensor for part in self.parts)

    def store(self, part: Part) -> str:
        """The statement that writes the part's value where it belongs."""
        access = part.accesses[-1]
        assert access.target is not None
        return self.assignment(part.tensor, access.target, access.value)

    def assignment(self, tensor: Tensor, target: Index, value: Expr) -> str:
        binding = self.bindings[buffer_name(tensor)]
        text = self.writer.text(convert(value, compute_type(tensor.dtype)))
        if binding.storage not in ("float", "bool") and binding.storage != value.type:
            text = f"{binding.storage}({text})"
        return f"{binding.name}[{self.writer.index(target)}] = {text};"

    def size(self, index: Index) -> str:
        """A size as an operand in the kernel's text."""
        return self.writer.operand(index)

    def local(self, wanted: str) -> str:
        """A variable name that nothing else in the kernel has."""
        return self._locals.fresh(wanted)

    def formula(self) -> list[str]:
        """What each result is, and before it what it needs of the row, as comments."""
        originals = {id(p.tensor): v for p, v in zip(self.parts, self._original, strict=True)}
        read = {
            variable.name
            for value in self._original
            for variable in walk(value)
            if isinstance(variable, Variable)
        }
        lines: list[str] = []
        for part in self.parts:
            needed = isinstance(part.tensor, Reduction) and part.tensor.name in read
            if needed:
                lines.append(formula_of(part.tensor.name, part.tensor, originals, self))
            elif part in self.results:
                name = self.bindings[buffer_name(part.tensor)].name
                lines.append(formula_of(name, part.tensor, originals, self))
        return lines

    def parameters(self, attributes: Sequence[str]) -> list[str]:
        """The kernel's parameter declarations, results first, then operands and sizes."""
        written = [
            f"device {self._storage(part.tensor)}* {self._name(part.tensor)}"
            for part in self.results
        ]
        read = [
            f"device const {self._storage(tensor)}* {self._name(tensor)}"
            for tensor in self._buffers()
        ]
        sizes = [f"constant uint& {size.name}" for size in self._sizes()]
        declared = [*written, *read, *sizes]
        widest = max(len(text) for text in declared)
        aligned = [f"{text.ljust(widest)} [[buffer({i})]]" for i, text in enumerate(declared)]
        return [*aligned, *attributes]

    def arguments(self) -> list[Any]:
        """What the launch plan passes for the buffers above."""
        tensors = [*(part.tensor for part in self.results), *self._buffers()]
        names: list[Any] = [buffer_name(tensor) for tensor in tensors]
        return names + [{"uint": size.expression} for size in self._sizes()]

    def finish(self, source: str, geometry: dict[str, Any], *, helpers: set[str]) -> Kernel:
        step: dict[str, Any] = {"kernel": self.name, "args": self.arguments(), **geometry}
        if self._is_constant() and all(isinstance(size, int) for size in _sizes_of(geometry)):
            step["once"] = True
        tables = tuple(tensor for tensor in self.operands if isinstance(tensor, Table))
        return Kernel(self.name, source, step, frozenset(helpers | self.writer.helpers), tables)

    def extents(self, *sizes: Index) -> list[Any]:
        """Sizes as the launch plan writes them."""
        return [plan_expression(size) for size in sizes]

    def loads(self, value: Expr) -> list[Load]:
        return [part for part in walk(value) if isinstance(part, Load)]

    def _buffers(self) -> list[Tensor]:
        return [tensor for tensor in self.operands if not isinstance(tensor, Table)]

    def _sizes(self) -> list[Size]:
        return sorted(self.writer.sizes.values(), key=lambda size: size.name)

    def _storage(self, tensor: Tensor) -> str:
        return self.bindings[buffer_name(tensor)].storage

    def _name(self, tensor: Tensor) -> str:
        return self.bindings[buffer_name(tensor)].name

    def _is_constant(self) -> bool:
        """Whether nothing the kernel reads, and no size, depends on the inputs."""
        reads = all(
            isinstance(tensor, Table) or (isinstance(tensor, Stored) and tensor.is_parameter)
            for tensor in self.operands
        )
        outputs = any(self.fusion.memory.is_output(part.tensor) for part in self.results)
        return reads and not outputs and not self.writer.sizes


def _sizes_of(geometry: dict[str, Any]) -> list[Any]:
    return [*geometry.get("threads", []), *geometry.get("threadgroups", [])]
