"""Sizes as data: sums, products and quotients of named sizes, compared with a graph's own.

A size is a number, a name such as "s0", or {"add" | "mul" | "floordiv" | "mod": [sizes]}.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sympy
import torch
from torch.utils._sympy import functions as symbolic

from metalgen.errors import UnsupportedError

Size = Any  # int | str | {"add": [...]}: a tree of these
_QUOTIENTS = {"floordiv": (symbolic.FloorDiv, symbolic.CleanDiv)}
_REMAINDERS = {"mod": (symbolic.Mod, symbolic.PythonMod)}


def expression_of(value: object) -> sympy.Expr | None:
    """A size of a captured graph as an expression, None for what is no size."""
    if isinstance(value, torch.fx.Node):
        value = value.meta.get("val")
    if isinstance(value, torch.SymInt):
        return value.node.expr
    if isinstance(value, int) and not isinstance(value, bool):
        return sympy.Integer(value)
    return None


def size_of(expression: sympy.Expr, names: dict[str, str]) -> Size:
    """The size as data; `names` gives symbols their names, in the order in which they are met.

    Raises UnsupportedError for what is no sum of products and quotients.
    """
    if expression.is_Integer:
        return int(expression)
    if expression.is_Symbol:
        return names.setdefault(expression.name, f"s{len(names)}")
    parts = [size_of(part, names) for part in expression.args]
    if expression.is_Add:
        return {"add": parts}
    if expression.is_Mul:
        return {"mul": parts}
    if expression.is_Pow and expression.args[1].is_Integer and 0 < int(expression.args[1]) <= 8:
        return {"mul": parts[:1] * int(expression.args[1])}
    for form, kinds in (_QUOTIENTS | _REMAINDERS).items():
        if isinstance(expression, kinds):
            return {form: parts}
    raise UnsupportedError(f"not supported: size {expression} is no sum of products and quotients")


def names_in(size: Size) -> Iterator[str]:
    """The names that occur in a size; UnsupportedError where it is not one."""
    if isinstance(size, str):
        yield size
    elif isinstance(size, dict) and len(size) == 1:
        ((form, parts),) = size.items()
        if form not in ("add", "mul", "floordiv", "mod") or not isinstance(parts, list):
            raise UnsupportedError(f"not supported: size {size}")
        for part in parts:
            yield from names_in(part)
    elif isinstance(size, bool) or not isinstance(size, int):
        raise UnsupportedError(f"not supported: size {size}")


def are_equal(pairs: Iterable[tuple[Size, sympy.Expr]]) -> bool:
    """Whether some sizes for the names make every pair equal, for all sizes of the graph.

    Every name stands alone in some pair, which says what it is.
    """
    known: dict[str, sympy.Expr] = {}
    pending = list(pairs)
    for size, expression in pending:
        if isinstance(size, str) and known.setdefault(size, expression) != expression:
            return False
    return all(
        _is_zero(evaluated(size, known) - expression)
        for size, expression in pending
        if not isinstance(size, str)
    )


def _is_zero(difference: sympy.Expr) -> bool:
    return bool(difference == 0 or sympy.expand(difference) == 0)


def evaluated(size: Size, known: Mapping[str, sympy.Expr]) -> sympy.Expr:
    """The size where its names stand for these."""
    if isinstance(size, int):
        return sympy.Integer(size)
    if isinstance(size, str):
        return known[size]
    ((form, parts),) = size.items()
    values = [evaluated(part, known) for part in parts]
    if form == "add":
        return functools.reduce(operator.add, values)
    if form == "mul":
        return functools.reduce(operator.mul, values)
    if form == "floordiv":
        return symbolic.FloorDiv(*values)
    return symbolic.Mod(*values)
