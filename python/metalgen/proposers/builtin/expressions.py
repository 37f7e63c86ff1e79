"""Scalar expressions that a kernel's thread computes: loads, constants, operations on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from metalgen.proposers.builtin.indexing import Atom, Fetched, Index, Quotient, Remainder

STORAGE_TYPES: dict[torch.dtype, str] = {
    torch.float32: "float",
    torch.float16: "half",
    torch.bfloat16: "bfloat",
    torch.int64: "long",
    torch.int32: "int",
    torch.int16: "short",
    torch.int8: "char",
    torch.uint8: "uchar",
    torch.bool: "bool",
}

LOWEST = {"float": "-INFINITY", "int": "INT_MIN", "long": "LONG_MIN", "bool": "false"}
HIGHEST = {"float": "INFINITY", "int": "INT_MAX", "long": "LONG_MAX", "bool": "true"}


def compute_type(dtype: torch.dtype) -> str:
    """Metal's type to compute values of `dtype` in: all floats in float, narrow ints in int."""
    if dtype.is_floating_point:
        return "float"
    if dtype in (torch.bool, torch.int64):
        return STORAGE_TYPES[dtype]
    return "int"


@dataclass(frozen=True, eq=False)
class Expr:
    """One value of one thread; `type` is Metal's type it is computed in."""

    type: str


@dataclass(frozen=True, eq=False)
class Constant(Expr):
    """A literal."""

    value: float | int | bool


@dataclass(frozen=True, eq=False)
class Load(Expr):
    """buffer[index]"""

    buffer: str
    index: Index


@dataclass(frozen=True, eq=False)
class IndexValue(Expr):
    """The value of an index itself (arange)."""

    index: Index


@dataclass(frozen=True, eq=False)
class Variable(Expr):
    """A value that the kernel holds in a variable of that name, such as a row's maximum."""

    name: str


@dataclass(frozen=True, eq=False)
class Apply(Expr):
    """An operation of forms.FORMS on arguments; `name` is the graph's name for it, if any."""

    form: str
    args: tuple[Expr, ...]
    name: str | None = None


def number(value: float | int | bool, type_: str = "float") -> Constant:
    return Constant(type_, value)


def apply(form: str, *args: Expr, type_: str | None = None) -> Apply:
    """The operation with the type of its last argument unless `type_` says otherwise.

    A truth value joined with a constant one is simplified; graphs are full of such masks.
    """
    if form in ("and", "or"):
        neutral = form == "and"
        kept = [arg for arg in args if not (isinstance(arg, Constant) and arg.value is neutral)]
        if len(kept) == 1 and isinstance(kept[0], Apply):
            return kept[0]
    return Apply(type_ or args[-1].type, form, args)


def convert(value: Expr, type_: str) -> Expr:
    """`value` in another compute type."""
    if value.type == type_:
        return value
    if isinstance(value, IndexValue) and type_ != "bool":
        return IndexValue(type_, value.index)
    if isinstance(value, Constant):
        python = {"float": float, "bool": bool}.get(type_, int)
        return Constant(type_, python(value.value))
    return Apply(type_, f"to_{type_}", (value,))


def as_int(value: Expr) -> Expr | None:
    """Whole-number arithmetic on positions alone, done in 32 bits; None for anything else.

    Positions in a tensor are below 2^31, and GPUs have no 64-bit lanes.
    """
    if isinstance(value, IndexValue):
        return IndexValue("int", value.index)
    if isinstance(value, Constant) and isinstance(value.value, int) and abs(value.value) < 2**20:
        return Constant("int", value.value)
    if isinstance(value, Apply) and value.form in ("add", "sub", "neg"):
        args = [as_int(arg) for arg in value.args]
        known = tuple(arg for arg in args if arg is not None)
        return Apply("int", value.form, known, value.name) if len(known) == len(args) else None
    return None


def children(value: Expr) -> tuple[Expr, ...]:
    """The expressions directly inside `value`, those that indices fetch included."""
    if isinstance(value, Apply):
        return value.args
    if isinstance(value, Load | IndexValue):
        return tuple(
            atom.value
            for atom in sorted(value.index.atoms(), key=lambda atom: atom.key)
            if isinstance(atom, Fetched)
        )
    return ()


def walk(*roots: Expr) -> Iterator[Expr]:
    """Every expression reachable from `roots`, each once, inner ones first."""
    seen: set[int] = set()
    stack: list[tuple[Expr, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        value, expanded = stack.pop()
        if expanded:
            yield value
        elif id(value) not in seen:
            seen.add(id(value))
            stack.append((value, True))
            stack.extend((child, False) for child in reversed(children(value)))


def indices(*roots: Expr) -> list[Index]:
    """Every index in the expressions."""
    return [value.index for value in walk(*roots) if isinstance(value, Load | IndexValue)]


class Rewriter:
    """Replaces atoms in the indices of expressions; what was shared stays shared."""

    def __init__(self, change: Callable[[Atom], Index | None]) -> None:
        self._change = change
        self._done: dict[int, tuple[Expr, Expr]] = {}
        self._fetched: dict[str, Index] = {}

    def expression(self, root: Expr) -> Expr:
        for value in walk(root):
            if id(value) not in self._done:
                self._done[id(value)] = (value, self._rebuild(value))
        return self._done[id(root)][1]

    def index(self, index: Index) -> Index:
        return index.rewrite(self._atom)

    def _rebuild(self, value: Expr) -> Expr:
        if isinstance(value, Load | IndexValue):
            return replace(value, index=self.index(value.index))
        if isinstance(value, Apply):
            return replace(value, args=tuple(self._done[id(arg)][1] for arg in value.args))
        return value

    def _atom(self, atom: Atom) -> Index | None:
        if isinstance(atom, Fetched):
            if atom.key not in self._fetched:
                value = self.expression(atom.value)
                self._fetched[atom.key] = Index.of(Fetched(atom.name, value))
            return self._fetched[atom.key]
        if isinstance(atom, Quotient | Remainder):
            return None
        return self._change(atom)
