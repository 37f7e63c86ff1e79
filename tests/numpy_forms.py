"""Expressions of more than one type: bits reread, packed vectors, products of matrices.

Each draws what goes in with `of(type, depth)`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
from numpy_expression import Expression
from numpy_threads import Array, Threads
from numpy_types import (
    BOOL,
    FLOAT,
    HALF,
    INTEGERS,
    Scalar,
    Type,
    converted,
)

Of = Callable[[Type, int], Expression]
_OPERATORS = {"+": np.add, "-": np.subtract, "*": np.multiply}


def forms(type: Type) -> list[Callable[[Random, Of, Type, int], Expression]]:
    """Those that an expression of this type may have."""
    found: list[Callable[[Random, Of, Type, int], Expression]] = []
    if type.scalar.is_integer:
        found.append(reread)
        found.append(clamped)
    if type.scalar.is_bool:
        found.append(asked if type.width == 1 else negated)
    if type.width > 1 and not type.scalar.is_bool:
        found.append(packed)
    if type.width > 1 and type.scalar in (FLOAT, HALF):
        found += [of_matrix_and_vector, of_vector_and_matrix, of_matrices]
    if type.scalar in (FLOAT, HALF) and type.width == 1:
        found.append(dotted)
    return found


def reread(random: Random, of: Of, type: Type, depth: int) -> Expression:
    """The bits of as many bytes of other integers, or of numbers that are neither NaN nor -0."""
    size = type.scalar.bits * (4 if type.width == 3 else type.width)
    sources = [
        Type(scalar, width)
        for scalar in (*INTEGERS, FLOAT, HALF)
        for width in (1, 2, 4)
        if scalar.bits * width == size and type.width != 3
    ] or [type.of(other) for other in INTEGERS if other.bits == type.scalar.bits]
    inner = of(random.choice(sources), depth)
    text = inner.text
    if inner.type.scalar.is_float:
        zero = f"{inner.type}(0)"
        text = f"(select({text}, {zero}, isnan({text})) + {zero})"

    def value(threads: Threads) -> Array:
        values = inner.value(threads)
        if inner.type.scalar.is_float:
            values = np.where(np.isnan(values), 0, values).astype(values.dtype)
            values = values + values.dtype.type(0)
        rows = np.ascontiguousarray(values).reshape(threads.count, -1)
        return rows.view(type.scalar.dtype).reshape(_shape(threads, type))

    return Expression(type, f"as_type<{type}>({text})", value)


def clamped(random: Random, of: Of, type: Type, depth: int) -> Expression:
    """Between two numbers in order, whatever they are."""
    x, a, b = (of(type, depth) for _ in range(3))
    low, high = f"min({a.text}, {b.text})", f"max({a.text}, {b.text})"

    def value(threads: Threads) -> Array:
        one, other = a.value(threads), b.value(threads)
        return np.clip(x.value(threads), np.minimum(one, other), np.maximum(one, other))

    return Expression(type, f"{type}(clamp({x.text}, {type}({low}), {type}({high})))", value)


def asked(random: Random, of: Of, type: Type, depth: int) -> Expression:
    """Whether all or some components are true."""
    inner = of(Type(BOOL, random.randint(2, 4)), depth)
    name, do = random.choice((("all", np.all), ("any", np.any)))
    return Expression(type, f"{name}({inner.text})", lambda t: do(inner.value(t), axis=1))


def negated(random: Random, of: Of, type: Type, depth: int) -> Expression:
    inner = of(type, depth)
    return Expression(type, f"!({inner.text})", lambda t: ~inner.value(t))


def packed(random: Random, of: Of, type: Type, depth: int) -> Expression:
    """Packed vectors added up or taken apart, then as they were; integers wrap around unsigned."""
    a, b = of(type, depth), of(type, depth)
    form = f"packed_{type}"
    if type.scalar.is_integer:
        at = random.randrange(type.width)
        text = f"{type}({form}({a.text}){'.' + 'xyzw'[at]})"
        return Expression(
            type,
            text,
            lambda t: np.repeat(a.value(t)[:, at : at + 1], type.width, axis=1),
        )
    operator, do = random.choice(list(_OPERATORS.items()))

    def value(threads: Threads) -> Array:
        with np.errstate(all="ignore"):
            return converted(do(a.value(threads), b.value(threads)), type.scalar)

    return Expression(type, f"{type}({form}({a.text}) {operator} {form}({b.text}))", value)


def dotted(random: Random, of: Of, type: Type, depth: int) -> Expression:
    """Products summed in float, one fused step after the other."""
    width = random.randint(2, 4)
    a, b = (of(Type(type.scalar, width), depth) for _ in range(2))
    return Expression(
        type, f"dot({a.text}, {b.text})", lambda t: _dot(a.value(t), b.value(t), type.scalar)
    )


def of_matrix_and_vector(random: Random, of: Of, type: Type, depth: int) -> Expression:
    """M v, with as many rows as `type` has components."""
    columns, vector, text = _matrix(random, of, type, depth)
    return Expression(
        type,
        f"({text} * {vector.text})",
        lambda t: _combined([c.value(t) for c in columns], vector.value(t), type.scalar),
    )


def of_vector_and_matrix(random: Random, of: Of, type: Type, depth: int) -> Expression:
    """v M, with as many columns as `type` has components."""
    rows = Type(type.scalar, random.randint(2, 4))
    vector = of(rows, depth)
    columns = [of(rows, 0) for _ in range(type.width)]
    text = f"{type.scalar.name}{type.width}x{rows.width}({_listed(columns)})"

    def value(threads: Threads) -> Array:
        given = vector.value(threads)
        dots = [_dot(given, column.value(threads), type.scalar) for column in columns]
        return np.stack(dots, axis=1)

    return Expression(type, f"({vector.text} * {text})", value)


def of_matrices(random: Random, of: Of, type: Type, depth: int) -> Expression:
    """A column of a product, whose second factor has two or three columns."""
    columns, vector, text = _matrix(random, of, type, depth)
    count = random.randint(2, 3)
    second = [vector, *(of(vector.type, 0) for _ in range(count - 1))]
    at = random.randrange(count)
    other = f"{type.scalar.name}{count}x{vector.type.width}({_listed(second)})"
    return Expression(
        type,
        f"({text} * {other})[{at}]",
        lambda t: _combined([c.value(t) for c in columns], second[at].value(t), type.scalar),
    )


def _matrix(
    random: Random, of: Of, rows: Type, depth: int
) -> tuple[list[Expression], Expression, str]:
    """A matrix's columns, a vector that it can be multiplied with, and its text."""
    count = random.randint(2, 4)
    columns = [of(rows, 0) for _ in range(count)]
    text = f"{rows.scalar.name}{count}x{rows.width}({_listed(columns)})"
    return columns, of(Type(rows.scalar, count), depth), text


def _listed(columns: list[Expression]) -> str:
    return ", ".join(column.text for column in columns)


def _combined(columns: list[Array], factors: Array, scalar: Scalar) -> Array:
    """The columns' sum, each times its factor, in fused steps of the matrix's own type."""
    with np.errstate(all="ignore"):
        total = columns[0] * factors[:, :1]
        for at in range(1, len(columns)):
            total = _fused(columns[at], factors[:, at : at + 1], total, scalar)
    return total


def _dot(a: Array, b: Array, scalar: Scalar) -> Array:
    x, y = a.astype(np.float32), b.astype(np.float32)
    with np.errstate(all="ignore"):
        total = x[:, 0] * y[:, 0]
        for at in range(1, x.shape[1]):
            total = _fused(x[:, at], y[:, at], total, FLOAT)
    return converted(total, scalar)


def _fused(a: Array, b: Array, c: Array, scalar: Scalar) -> Array:
    """a b + c, rounded once: what is exact in it fits into the wider type but for rarest ties."""
    wide = np.longdouble if scalar is FLOAT else np.float64
    return (a.astype(wide) * b.astype(wide) + c.astype(wide)).astype(scalar.dtype)


def _shape(threads: Threads, type: Type) -> tuple[int, ...]:
    return (threads.count,) if type.width == 1 else (threads.count, type.width)
