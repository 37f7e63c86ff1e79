"""Random statements over structs, matrices and atomic tallies.

Members of a struct and columns of a matrix are variables of their own to NumPy, under the names by
which a kernel reaches them: `pair.number`, `matrix[1]`.
"""

from __future__ import annotations

from random import Random

import numpy as np
from numpy_expressions import Expressions
from numpy_sequence import Statement
from numpy_threads import Array, Threads
from numpy_types import INT, Type

BARRIER = "threadgroup_barrier(mem_flags::mem_threadgroup);"
MEMBERS = ("number", "place", "mark")
# What the kernels declare besides their own variables.
DECLARATIONS = """
struct Pair { int number; half3 place; uchar mark; };
Pair joined(Pair a, thread const Pair& b, bool first) {
  if (first) a.place = b.place; else a.number = b.number;
  a.mark = b.mark;
  return a;
}
"""
VARIABLES_TEXT = """  threadgroup atomic_int tally;
  threadgroup atomic_uint count;
  Pair pair, other;
  float2x3 matrix;
"""
_TALLIES = {
    "add": (np.add, 0),
    "and": (np.bitwise_and, -1),
    "or": (np.bitwise_or, 0),
    "xor": (np.bitwise_xor, 0),
    "min": (np.minimum, 99),
    "max": (np.maximum, -99),
}


class Aggregates:
    """Draws such statements; what they read comes from `expressions`."""

    def __init__(self, random: Random, expressions: Expressions) -> None:
        self.random = random
        self.expressions = expressions

    def structure(self) -> Statement:
        """A struct assigned as a whole, or passed to a function and returned by it."""
        first = self.random.random() < 0.5
        to, of = self.random.choice((("pair", "other"), ("other", "pair")))
        if self.random.random() < 0.5:
            return Statement(f"{to} = {of};", lambda t, a: _copied(t, a, to, of, MEMBERS))
        names = ("place", "mark") if first else ("number", "mark")
        text = f"{to} = joined({to}, {of}, {str(first).lower()});"
        return Statement(text, lambda t, a: _copied(t, a, to, of, names))

    def matrix(self) -> Statement:
        """A matrix scaled, added to itself, negated, turned twice, or a column copied."""
        factor = self.random.choice((0.5, 2.0, -1.0))
        text, do = self.random.choice(
            (
                (f"matrix *= {factor};", lambda v: v * np.float32(factor)),
                ("matrix = matrix + matrix;", lambda v: v + v),
                ("matrix = -matrix;", lambda v: -v),
                ("matrix = transpose(transpose(matrix) * 2.0f);", lambda v: v * np.float32(2)),
                ("matrix = float2x3(matrix[1], matrix[0]);", None),
            )
        )

        def run(threads: Threads, active: Array) -> Array:
            old = [threads.variables[f"matrix[{n}]"].copy() for n in range(2)]
            with np.errstate(all="ignore"):
                new = old[::-1] if do is None else [do(values) for values in old]
            for n in range(2):
                threads.assign(f"matrix[{n}]", new[n], active)
            return active

        return Statement(text, run)

    def tally(self) -> Statement:
        """What some threads of a threadgroup add up atomically; all of them take part around it."""
        kind = self.random.choice(list(_TALLIES))
        do, start = _TALLIES[kind]
        when = self.expressions.condition()
        value = self.expressions.of(Type(INT), 2)

        def run(threads: Threads, active: Array) -> Array:
            values, wanted = value.value(threads), when.value(threads) & active
            for members in threads.groups:
                chosen = values[members[wanted[members]]]
                total = do.reduce(chosen, initial=np.int32(start), dtype=np.int32)
                threads.variables["i1"][members] = total
                threads.variables["u0"][members] = len(chosen)
            return active

        relaxed = "memory_order_relaxed"
        text = (
            f"if (index == 0) {{ atomic_store_explicit(&tally, {start}, {relaxed}); "
            f"atomic_store_explicit(&count, 0u, {relaxed}); }} {BARRIER} if ({when.text}) {{ "
            f"atomic_fetch_{kind}_explicit(&tally, {value.text}, {relaxed}); "
            f"atomic_fetch_add_explicit(&count, 1u, {relaxed}); }} {BARRIER} "
            f"i1 = atomic_load_explicit(&tally, {relaxed}); "
            f"u0 = atomic_load_explicit(&count, {relaxed}); {BARRIER}"
        )
        return Statement(text, run)


def _copied(threads: Threads, active: Array, to: str, of: str, members: tuple[str, ...]) -> Array:
    for member in members:
        threads.assign(f"{to}.{member}", threads.variables[f"{of}.{member}"], active)
    return active
