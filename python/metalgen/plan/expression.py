"""Integer expressions over tensor shapes, as launch plans write them: parsed, never run as Python.

    sum     := product (("+" | "-") product)*
    product := unary (("*" | "//" | "%") unary)*
    unary   := "-" unary | atom
    atom    := INTEGER | "(" sum ")" | ("min" | "max" | "ceil_div") "(" sum ("," sum)* ")"
             | NAME ".shape[" ["-"] INTEGER "]" | NAME ".numel()" | NAME ".ndim" | NAME

A NAME is a tensor's (`x`, `fc.weight`, `layers.0.weight`); alone it must be an integer input of
the module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from metalgen.errors import PlanError

MAX_LENGTH = 4000  # models that pad and shift windows write long ones
MAX_DEPTH = 40
# Anything beyond cannot be a size or an index, only a mistake (or an attempt to exhaust memory).
MAX_MAGNITUDE = 2**63 - 1

_TOKEN = re.compile(r"\s*(?:(\d+)|([A-Za-z_]\w*(?:\.\w+)*)|(//|[-+*%(),\[\]])|(\S))")
_FUNCTIONS = {"min": (1, None), "max": (1, None), "ceil_div": (2, 2)}
_HINTS = {"/": "use // for whole numbers", ".": "only whole numbers are allowed"}


@dataclass(frozen=True, slots=True)
class TensorType:
    """What a plan may know of a tensor before it runs."""

    shape: tuple[int, ...]
    dtype: str


Scope = Mapping[str, "TensorType | int | float"]


@dataclass(frozen=True, slots=True)
class Integer:
    """A literal."""

    value: int


@dataclass(frozen=True, slots=True)
class Dimension:
    """`name.shape[axis]`; a negative axis counts from the end."""

    name: str
    axis: int


@dataclass(frozen=True, slots=True)
class ElementCount:
    """`name.numel()`."""

    name: str


@dataclass(frozen=True, slots=True)
class Rank:
    """`name.ndim`."""

    name: str


@dataclass(frozen=True, slots=True)
class Value:
    """A number the module is called with."""

    name: str


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator (`+ - * // %`) or a function (`min max ceil_div`) over its operands."""

    operator: str
    operands: tuple[Node, ...]


Node = Integer | Dimension | ElementCount | Rank | Value | Operation


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression with the text (or whole number) it came from."""

    text: str | int
    node: Node

    def __str__(self) -> str:
        return str(self.text)

    @property
    def names(self) -> frozenset[str]:
        """Names the expression needs."""
        return frozenset(_names(self.node))

    @property
    def constant(self) -> int | None:
        """Its value where it needs no name, else None."""
        return None if self.names else self.evaluate({})

    def evaluate(self, scope: Scope) -> int:
        """Its exact value; PlanError for unknown names, division by zero and absurd sizes."""
        try:
            return _evaluate(self.node, scope)
        except PlanError as error:
            raise PlanError(f"{error} in '{self.text}'") from None


def parse_expression(raw: object) -> Expression:
    """Read a whole number or an expression's text; PlanError says what was expected."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        return Expression(raw, Integer(_bounded(raw)))
    if not isinstance(raw, str):
        raise PlanError(
            f"expected a whole number or an expression such as 'x.shape[0]', found {_shown(raw)}"
        )
    if len(raw) > MAX_LENGTH:
        raise PlanError(f"expression is {len(raw)} characters long, at most {MAX_LENGTH} allowed")
    return Expression(raw, _Parser(raw).parse())


def _shown(raw: object) -> str:
    text = repr(raw)
    return text if len(text) <= 60 else text[:57] + "..."


class _Parser:
    """Recursive descent over one expression's tokens."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokens(text))
        self.position = 0

    def parse(self) -> Node:
        node = self.sum(0)
        if self.peek():
            self.fail(f"unexpected '{self.peek()}'")
        return node

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def expect(self, token: str) -> None:
        if self.take() != token:
            self.position -= 1
            self.fail(f"expected '{token}', found '{self.peek() or 'the end'}'")

    def fail(self, problem: str) -> NoReturn:
        raise PlanError(f"{problem} in '{self.text}'")

    def sum(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH} levels")
        return self.chain(("+", "-"), self.product, depth)

    def product(self, depth: int) -> Node:
        return self.chain(("*", "//", "%"), self.unary, depth)

    def chain(self, operators: tuple[str, ...], part: Callable[[int], Node], depth: int) -> Node:
        node, links = part(depth), 0
        while self.peek() in operators:
            operator = self.take()
            node = Operation(operator, (node, part(depth)))
            links += 1
            if links > MAX_DEPTH:
                self.fail(f"more than {MAX_DEPTH} operators in one chain")
        return node

    def unary(self, depth: int) -> Node:
        if self.peek() != "-":
            return self.atom(depth)
        if depth > MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH} levels")
        self.take()
        return Operation("-", (Integer(0), self.unary(depth + 1)))

    def atom(self, depth: int) -> Node:
        token = self.take()
        if token.isdigit():
            return Integer(_bounded(int(token)))
        if token == "(":
            node = self.sum(depth + 1)
            self.expect(")")
            return node
        if token in _FUNCTIONS and self.peek() == "(":
            return self.call(token, depth)
        if not token[:1].isidentifier():
            self.fail(f"expected a number or a name, found '{token or 'the end'}'")
        return self.name(token)

    def call(self, function: str, depth: int) -> Node:
        self.expect("(")
        operands = [self.sum(depth + 1)]
        while self.peek() == ",":
            self.take()
            operands.append(self.sum(depth + 1))
        self.expect(")")
        least, most = _FUNCTIONS[function]
        if len(operands) < least or (most is not None and len(operands) > most):
            self.fail(f"{function} takes {least} operands, found {len(operands)}")
        return Operation(function, tuple(operands))

    def name(self, token: str) -> Node:
        name, _, attribute = token.rpartition(".")
        if name and attribute == "shape" and self.peek() == "[":
            return Dimension(name, self.axis())
        if name and attribute == "numel" and self.peek() == "(":
            self.take()
            self.expect(")")
            return ElementCount(name)
        if name and attribute == "ndim":
            return Rank(name)
        if self.peek() == "(":
            self.fail(
                f"'{token}(' is unknown; there are name.shape[i], name.numel(), name.ndim,"
                f" min, max and ceil_div"
            )
        return Value(token)

    def axis(self) -> int:
        self.expect("[")
        sign = -1 if self.peek() == "-" else 1
        if sign < 0:
            self.take()
        token = self.take()
        if not token.isdigit():
            self.fail(f"expected a whole number as the axis, found '{token or 'the end'}'")
        self.expect("]")
        return sign * int(token[:4])


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        number, name, operator, other = match.groups()
        if other:
            hint = _HINTS.get(other, "allowed are + - * // % min max ceil_div and parentheses")
            raise PlanError(f"'{other}' is not allowed in '{text}'; {hint}")
        if token := number or name or operator:
            yield token


def _names(node: Node) -> Iterator[str]:
    match node:
        case Operation(_, operands):
            for operand in operands:
                yield from _names(operand)
        case Dimension(name) | ElementCount(name) | Rank(name) | Value(name):
            yield name


def _evaluate(node: Node, scope: Scope) -> int:
    match node:
        case Integer(value):
            return value
        case Dimension(name, axis):
            return _dimension(name, axis, scope)
        case ElementCount(name):
            return _element_count(_tensor(name, scope).shape)
        case Rank(name):
            return len(_tensor(name, scope).shape)
        case Value(name):
            return _whole_number(name, scope)
        case Operation(operator, operands):
            return _bounded(_apply(operator, [_evaluate(operand, scope) for operand in operands]))


def _element_count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _dimension(name: str, axis: int, scope: Scope) -> int:
    shape = _tensor(name, scope).shape
    if not -len(shape) <= axis < len(shape):
        raise PlanError(f"'{name}' has {len(shape)} dimensions, so there is no shape[{axis}]")
    return shape[axis]


def lookup(name: str, scope: Scope) -> TensorType | int | float:
    """What `name` stands for; PlanError lists the known names."""
    try:
        return scope[name]
    except KeyError:
        known = ", ".join(sorted(scope)) or "none"
        raise PlanError(f"unknown name '{name}' (known names: {known})") from None


def _tensor(name: str, scope: Scope) -> TensorType:
    found = lookup(name, scope)
    if isinstance(found, TensorType):
        return found
    raise PlanError(f"'{name}' is the number {found}, which has no shape")


def _whole_number(name: str, scope: Scope) -> int:
    found = lookup(name, scope)
    if isinstance(found, int):
        return int(found)
    if isinstance(found, TensorType):
        raise PlanError(f"'{name}' is a tensor; write {name}.shape[i] or {name}.numel()")
    raise PlanError(f"'{name}' is {found}, not a whole number")


def _apply(operator: str, operands: list[int]) -> int:
    if operator in ("//", "%", "ceil_div") and operands[1] == 0:
        raise PlanError("division by zero")
    match operator:
        case "+":
            return operands[0] + operands[1]
        case "-":
            return operands[0] - operands[1]
        case "*":
            return operands[0] * operands[1]
        case "//":
            return operands[0] // operands[1]
        case "%":
            return operands[0] % operands[1]
        case "ceil_div":
            return -(-operands[0] // operands[1])
        case "min":
            return min(operands)
        case _:
            return max(operands)


def _bounded(value: int) -> int:
    if abs(value) > MAX_MAGNITUDE:
        raise PlanError("a value beyond 2**63 cannot be a size")
    return value


def render_python(node: Node, name: Callable[[str], str]) -> str:
    """The expression as Python source, each tensor written as `name(tensor)` says."""
    match node:
        case Integer(value):
            return str(value)
        case Dimension(tensor, axis):
            return f"{name(tensor)}.shape[{axis}]"
        case ElementCount(tensor):
            return f"{name(tensor)}.numel()"
        case Rank(tensor):
            return f"{name(tensor)}.ndim"
        case Value(number):
            return name(number)
        case Operation(operator, operands):
            parts = [render_python(operand, name) for operand in operands]
            return _render_operation(operator, parts)


def _render_operation(operator: str, parts: list[str]) -> str:
    if operator == "ceil_div":
        return f"-(-({parts[0]}) // ({parts[1]}))"
    if operator in _FUNCTIONS:
        return f"{operator}({', '.join(parts)})" if len(parts) > 1 else parts[0]
    if operator == "-" and parts[0] == "0":
        return f"(-{parts[1]})"
    return f"({parts[0]} {operator} {parts[1]})"
