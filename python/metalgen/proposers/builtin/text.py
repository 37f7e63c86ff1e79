"""Writes expressions and indices as MSL, with a variable for each value that has a name."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from metalgen.proposers.builtin.expressions import (
    Apply,
    Constant,
    Expr,
    IndexValue,
    Load,
    Variable,
    children,
    walk,
)
from metalgen.proposers.builtin.forms import ADD, FORMS, MULTIPLY, PRIMARY, UNARY
from metalgen.proposers.builtin.indexing import (
    Atom,
    Axis,
    Fetched,
    Index,
    Monomial,
    Quotient,
    Remainder,
    Size,
)
from metalgen.proposers.builtin.naming import Names


@dataclass(frozen=True, slots=True)
class Binding:
    """A tensor as a kernel sees it: the variable's name and the element type in memory."""

    name: str
    storage: str


@dataclass
class Scope:
    """Statements of one block, and the variables it declared."""

    axes: frozenset[Axis]
    lines: list[str] = field(default_factory=list)
    by_expression: dict[int, str] = field(default_factory=dict)
    by_text: dict[str, str] = field(default_factory=dict)


class Writer:
    """Prints one kernel's body: scopes nest, a value goes to the outermost that can have it."""

    def __init__(self, bindings: Mapping[str, Binding], names: Names) -> None:
        self._bindings = bindings
        self._names = names
        self._scopes: list[Scope] = []
        self._uses: Counter[int] = Counter()
        self._axes: dict[int, frozenset[Axis]] = {}
        self._keep: list[Expr] = []
        self.helpers: set[str] = set()
        self.sizes: dict[str, Size] = {}

    def open(self, axes: Iterable[Axis] = ()) -> Scope:
        """Begin a block in which `axes` vary."""
        self._scopes.append(Scope(frozenset(axes)))
        return self._scopes[-1]

    def close(self) -> list[str]:
        """End the innermost block and give its statements; later blocks may reuse its names."""
        scope = self._scopes.pop()
        self._names.release(scope.by_text.values())
        return scope.lines

    def count(self, *roots: Expr) -> None:
        """Announce expressions that will be written, so that what they share gets a variable."""
        for value in walk(*roots):
            self._keep.append(value)
            for child in children(value):
                self._uses[id(child)] += 1

    def text(self, value: Expr) -> str:
        """The expression as an operand of nothing."""
        return self._write(value, False)[0]

    def inline(self, value: Expr, binding: int = 0) -> str:
        """The expression without any new variables, in parentheses if it binds looser."""
        return _parenthesized(self._write(value, True), binding)

    def index(self, index: Index, inline: bool = False) -> str:
        """The index as an unsigned expression."""
        return self._sum(index, inline)[0]

    def operand(self, index: Index) -> str:
        """The index, in parentheses unless it is a single factor."""
        return _parenthesized(self._sum(index, True), PRIMARY)

    def _write(self, value: Expr, inline: bool) -> tuple[str, int]:
        for scope in self._scopes:
            if id(value) in scope.by_expression:
                return scope.by_expression[id(value)], PRIMARY
        text = self._compose(value, inline)
        if inline or not self._deserves_name(value):
            return text
        return self._declare(value, text[0]), PRIMARY

    def _deserves_name(self, value: Expr) -> bool:
        shared = self._uses[id(value)] > 1
        if isinstance(value, Apply):
            return shared or value.name is not None
        return shared and isinstance(value, Load)

    def _declare(self, value: Expr, text: str) -> str:
        scope = self._scope_of(value)
        if text in scope.by_text:
            scope.by_expression[id(value)] = scope.by_text[text]
            return scope.by_text[text]
        name = self._names.fresh(self._wanted_name(value))
        scope.lines.append(f"const {value.type} {name} = {text};")
        scope.by_text[text] = scope.by_expression[id(value)] = name
        self._keep.append(value)
        return name

    def _wanted_name(self, value: Expr) -> str:
        if isinstance(value, Apply):
            return value.name or f"{value.form}_"
        assert isinstance(value, Load)
        return f"{self._bindings[value.buffer].name}_value"

    def _scope_of(self, value: Expr) -> Scope:
        return self._scope_for(self._axes_of(value))

    def _scope_for(self, used: frozenset[Axis]) -> Scope:
        """The outermost block in which values over these axes do not change."""
        for depth in reversed(range(len(self._scopes))):
            if self._scopes[depth].axes & used or depth == 0:
                return self._scopes[depth]
        raise AssertionError("a value is written outside every block")

    def _axes_of(self, value: Expr) -> frozenset[Axis]:
        for part in walk(value):
            if id(part) not in self._axes:
                own = part.index.axes() if isinstance(part, Load | IndexValue) else set()
                inner = (self._axes[id(child)] for child in children(part))
                self._axes[id(part)] = frozenset(own).union(*inner)
                self._keep.append(part)
        return self._axes[id(value)]

    def _compose(self, value: Expr, inline: bool) -> tuple[str, int]:
        if isinstance(value, Constant):
            return literal_text(value)
        if isinstance(value, Variable):
            return value.name, PRIMARY
        if isinstance(value, IndexValue):
            return self._index_value(value, inline)
        if isinstance(value, Load):
            binding = self._bindings[value.buffer]
            text = f"{binding.name}[{self.index(value.index, inline)}]"
            if binding.storage != value.type:
                text = f"{value.type}({text})"
            return text, PRIMARY
        assert isinstance(value, Apply)
        return self._apply(value, inline)

    def _apply(self, value: Apply, inline: bool) -> tuple[str, int]:
        form = FORMS[value.form]
        if form.helper:
            self.helpers.add(form.helper)
        parts: list[str] = []
        for position, arg in enumerate(value.args):
            # Only where its condition holds may a guarded value be read.
            kept_in_place = inline or (value.form == "guard" and position > 0)
            least = _least_binding(form.binding, position, value.form)
            parts.append(_parenthesized(self._write(arg, kept_in_place), least))
        return form.text.format(*parts), form.binding

    def _index_value(self, value: IndexValue, inline: bool) -> tuple[str, int]:
        text, binding = self._sum(value.index, inline)
        if value.type == "uint":
            return text, binding
        if value.type != "int" and any(factor < 0 for _, factor in value.index.terms):
            text = f"int({text})"
        return f"{value.type}({text})", PRIMARY

    def _sum(self, index: Index, inline: bool) -> tuple[str, int]:
        if not index.terms:
            return "0", PRIMARY
        terms = sorted(index.terms, key=_term_order)
        text, binding = self._product(*terms[0], inline)
        for monomial, factor in terms[1:]:
            part = _parenthesized(self._product(monomial, abs(factor), inline), ADD + 1)
            text, binding = f"{text} {'-' if factor < 0 else '+'} {part}", ADD
        return text, binding

    def _product(self, monomial: Monomial, factor: int, inline: bool) -> tuple[str, int]:
        parts = [self._atom(atom, inline) for atom in sorted(monomial, key=_atom_order)]
        if factor != 1 or not parts:
            parts.append((str(factor), PRIMARY if factor >= 0 else UNARY))
        if len(parts) == 1:
            return parts[0]
        head = _parenthesized(parts[0], MULTIPLY)
        rest = [_parenthesized(part, MULTIPLY + 1) for part in parts[1:]]
        return " * ".join([head, *rest]), MULTIPLY

    def _atom(self, atom: Atom, inline: bool) -> tuple[str, int]:
        if isinstance(atom, Axis):
            return atom.name, PRIMARY
        if isinstance(atom, Size):
            self.sizes[atom.name] = atom
            return atom.name, PRIMARY
        if isinstance(atom, Fetched):
            return f"uint({self._write(atom.value, inline)[0]})", PRIMARY
        assert isinstance(atom, Quotient | Remainder)
        return self._divided(atom, inline)

    def _divided(self, atom: Quotient | Remainder, inline: bool) -> tuple[str, int]:
        """A division, taken out of the loops that do not change it."""
        for visible in self._scopes:
            if atom.key in visible.by_text:
                return visible.by_text[atom.key], PRIMARY
        symbol = "/" if isinstance(atom, Quotient) else "%"
        above = _parenthesized(self._sum(atom.numerator, inline), MULTIPLY)
        below = _parenthesized(self._sum(atom.divisor, inline), MULTIPLY + 1)
        text = f"{above} {symbol} {below}"
        axes, atoms = Index.of(atom).axes(), Index.of(atom).atoms()
        scope = self._scope_for(frozenset(axes)) if self._scopes else None
        moves = scope is not None and scope is not self._scopes[-1]
        if scope is None or not moves or any(isinstance(part, Fetched) for part in atoms):
            return text, MULTIPLY
        kind = "whole" if isinstance(atom, Quotient) else "rest"
        name = self._names.fresh(kind if axes else "extent")
        scope.lines.append(f"const uint {name} = {text};")
        scope.by_text[atom.key] = name
        return name, PRIMARY


def _least_binding(binding: int, position: int, form: str) -> int:
    """How tightly an argument must bind to stand without parentheses."""
    if binding == PRIMARY:
        return 0
    if form in ("select", "guard"):
        # Chained conditions read well in the last place only.
        return 0 if position == 2 else 6
    return binding + (1 if position else 0)


def _parenthesized(text: tuple[str, int], least: int) -> str:
    return text[0] if text[1] >= least else f"({text[0]})"


def _term_order(term: tuple[Monomial, int]) -> tuple[int, int, int, list[str]]:
    """Positive terms first, loop variables with large strides first, plain numbers last."""
    monomial, factor = term
    stride = math.prod(
        (atom.hint for atom in monomial if isinstance(atom, Size)), start=abs(factor)
    )
    varying = any(not isinstance(atom, Size) for atom in monomial)
    return factor < 0, not varying, -stride, [atom.key for atom in monomial]


def _atom_order(atom: Atom) -> tuple[bool, str]:
    return isinstance(atom, Size), atom.key


def literal_text(value: Constant) -> tuple[str, int]:
    """A constant as MSL writes it, and how tightly it binds."""
    if value.type == "bool":
        return ("true" if value.value else "false"), PRIMARY
    if value.type != "float":
        text = str(int(value.value)) + ("l" if value.type == "long" else "")
        return text, PRIMARY if value.value >= 0 else UNARY
    amount = float(value.value)
    if math.isnan(amount):
        return "NAN", PRIMARY
    with np.errstate(over="ignore"):
        rounded = np.float32(amount)
    if np.isinf(rounded):
        return ("INFINITY", PRIMARY) if amount > 0 else ("-INFINITY", UNARY)
    return f"{rounded!s}f", PRIMARY if amount >= 0 else UNARY
