"""Random kernels and what they compute, worked out in NumPy from the same tree of statements.

Nothing of metalgen takes part in the expectation: expressions are evaluated over arrays of all
threads, control flow by sets of active threads that part and meet again as Metal's blocks do.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
from numpy_aggregates import DECLARATIONS, VARIABLES_TEXT
from numpy_expressions import Expression, Expressions
from numpy_sequence import Statement
from numpy_statements import ARRAY, RESULT, Statements
from numpy_tallies import DECLARATIONS as TALLIED
from numpy_tallies import first_tallies
from numpy_threads import Array, Geometry, Threads
from numpy_types import (
    BFLOAT,
    BOOL,
    CHAR,
    FLOAT,
    HALF,
    INT,
    LONG,
    SHORT,
    UCHAR,
    UINT,
    ULONG,
    USHORT,
    Scalar,
    Type,
    words,
)

VARIABLES = {
    "i0": Type(INT),
    "i1": Type(INT),
    "u0": Type(UINT),
    "c0": Type(CHAR),
    "b0": Type(UCHAR),
    "s0": Type(SHORT),
    "t0": Type(USHORT),
    "l0": Type(LONG),
    "m0": Type(ULONG),
    "f0": Type(FLOAT),
    "f1": Type(FLOAT),
    "h0": Type(HALF),
    "e0": Type(BFLOAT),
    "p0": Type(BOOL),
    "f4": Type(FLOAT, 4),
    "i3": Type(INT, 3),
    "h2": Type(HALF, 2),
    "s4": Type(SHORT, 4),
    "u2": Type(UINT, 2),
    "l2": Type(LONG, 2),
    "m3": Type(ULONG, 3),
    "c4": Type(CHAR, 4),
    "e2": Type(BFLOAT, 2),
    "p3": Type(BOOL, 3),
    "pair.number": Type(INT),
    "pair.place": Type(HALF, 3),
    "pair.mark": Type(UCHAR),
    "other.number": Type(INT),
    "other.place": Type(HALF, 3),
    "other.mark": Type(UCHAR),
    "matrix[0]": Type(FLOAT, 3),
    "matrix[1]": Type(FLOAT, 3),
}

_HEAD = """#include <metal_stdlib>
using namespace metal;
#pragma clang fp contract(off)

template <typename T> T taken(T mine, T theirs, int source) {
  const ulong active = static_cast<ulong>(simd_active_threads_mask());
  return source >= 0 && source < 32 && (active >> source & 1) ? theirs : mine;
}
template <typename T> T from_lane(T v, uint, int d) { return taken(v, simd_shuffle(v, d), d); }
template <typename T> T from_xor(T v, uint lane, int d) {
  return taken(v, simd_shuffle_xor(v, d), int(lane) ^ d);
}
template <typename T> T from_below(T v, uint lane, int d) {
  return taken(v, simd_shuffle_up(v, d), int(lane) - d);
}
template <typename T> T from_above(T v, uint lane, int d) {
  return taken(v, simd_shuffle_down(v, d), int(lane) + d);
}
template <typename T> T from_around(T v, uint lane, int d) {
  return taken(v, simd_shuffle_rotate_down(v, d), (int(lane) + d) % 32);
}

kernel void random_kernel(device const int* x [[buffer(0)]], device uint* y [[buffer(1)]],
                          constant uint& zero [[buffer(2)]], device ulong* tallies [[buffer(3)]],
                          uint2 place [[thread_position_in_grid]],
                          uint2 grid [[threads_per_grid]],
                          uint index [[thread_index_in_threadgroup]],
                          uint2 size [[threads_per_threadgroup]],
                          uint lane [[thread_index_in_simdgroup]],
                          uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup int shared[1024];
  threadgroup ulong wide[1024];
  const uint number = place.x + grid.x * place.y;
  const uint threads = size.x * size.y;
  const int given = x[number];
"""
# Braces of the macro keep it one statement, a return may follow.
_RESULTS = "#define return_results() do {{ {} }} while (false)\n"


@dataclass(frozen=True)
class Kernel:
    """The source of a kernel, and what it does to threads."""

    source: str
    body: Statement
    first: dict[str, Expression]

    def expected(self, geometry: Geometry, given: Array) -> tuple[Array, Array]:
        """The words that every thread writes, a row each, and what they tallied together."""
        threads = Threads(geometry, tallies=first_tallies())
        threads.variables = {"given": given, "lane": threads.lane, "simdgroup": threads.simdgroup}
        for name, expression in self.first.items():
            threads.variables[name] = expression.value(threads).copy()
        threads.variables["array"] = np.tile(
            np.arange(1, ARRAY + 1, dtype=np.int32), (len(given), 1)
        )
        self.body.run(threads, np.ones(threads.count, bool))
        # A thread that has returned has written what its variables held then, and keeps them.
        return np.stack(_result_words(threads.variables), axis=1), threads.tallies


def random_kernel(random: Random) -> Kernel:
    """A kernel `random_kernel(x, y, zero, tallies)` that writes the words of all its variables."""
    first = _first_values(random)
    body = Statements(random, VARIABLES).body()
    declared = VARIABLES_TEXT + "".join(f"  {_declared(n)} = {e.text};\n" for n, e in first.items())
    array = "  int array[8] = {1, 2, 3, 4, 5, 6, 7, 8};\n"
    source = (
        _HEAD.replace(
            "\nkernel void", f"{DECLARATIONS}{TALLIED}\n{_RESULTS.format(_written())}\nkernel void"
        )
        + declared
        + array
        + f"  {body.text}\n  {RESULT}\n}}\n"
    )
    return Kernel(source, body, first)


def _declared(name: str) -> str:
    """What its first value is assigned to: members and columns are declared already."""
    return name if "." in name or "[" in name else f"{VARIABLES[name]} {name}"


def _first_values(random: Random) -> dict[str, Expression]:
    """Every variable from the thread's own input."""
    known = {"given": Type(INT)}
    expressions = Expressions(random, known)
    return {name: expressions.of(type, 2) for name, type in VARIABLES.items()}


def _components() -> list[tuple[str, Scalar]]:
    return [
        (name if type.width == 1 else f"{name}.{'xyzw'[at]}", type.scalar)
        for name, type in VARIABLES.items()
        for at in range(type.width)
    ]


def _written() -> str:
    texts: list[str] = []
    for name, scalar in _components():
        if scalar is FLOAT:
            texts.append(f"as_type<uint>(float({name}))")
        elif scalar in (HALF, BFLOAT):
            texts.append(f"uint(as_type<ushort>({scalar.name}({name})))")
        elif scalar.bits == 64:
            texts += [f"uint(ulong({name}))", f"uint(ulong({name}) >> 32)"]
        else:
            texts.append(f"uint({name})")
    stride = len(texts)
    return " ".join(f"y[number * {stride} + {at}] = {text};" for at, text in enumerate(texts))


def _result_words(variables: dict[str, Array]) -> list[Array]:
    result: list[Array] = []
    for name, type in VARIABLES.items():
        values = variables[name].reshape(-1, type.width)
        for at in range(type.width):
            result += words(values[:, at], type.scalar)
    return result


def same(found: Array, expected: Array) -> Array:
    """Where words agree: equal, or both no numbers, or zeros of either sign."""
    agree = found == expected
    column = 0
    for _, scalar in _components():
        if scalar.is_float:
            one, other = (_numbers(each[:, column], scalar) for each in (found, expected))
            agree[:, column] |= (one == other) | (np.isnan(one) & np.isnan(other))
        column += 2 if scalar.bits == 64 else 1
    return agree


def _numbers(column: Array, scalar: Scalar) -> Array:
    if scalar is HALF:
        return column.astype(np.uint16).view(np.float16)
    return (column << 16 if scalar is BFLOAT else np.ascontiguousarray(column)).view(np.float32)


def component_names() -> list[str]:
    """What each word of a thread's row belongs to."""
    return [n for n, scalar in _components() for _ in range(2 if scalar.bits == 64 else 1)]


__all__ = ["Kernel", "component_names", "random_kernel", "same"]
