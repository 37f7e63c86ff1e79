"""What all threads of a grid add up in device memory: random atomic operations that commute.

Every kind of operation has places of its own, and no thread uses what was there before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy_expression import Expression
from numpy_sequence import Statement
from numpy_threads import Array, Threads
from numpy_types import FLOAT, INT, UINT, ULONG, Scalar, Type

PLACES = 8  # of each kind


@dataclass(frozen=True)
class Tally:
    """An operation on one type: what it is called, what it does, and what it starts from."""

    operation: str
    scalar: Scalar
    do: Callable[[Array, Array], Array]
    start: int = 0

    @property
    def type_name(self) -> str:
        return f"atomic_{self.scalar.name}"


def _both(operation: str, do: Callable[[Array, Array], Array], start: int = 0) -> list[Tally]:
    return [Tally(operation, scalar, do, start) for scalar in (INT, UINT)]


TALLIES = (
    *_both("fetch_add", np.add),
    *_both("fetch_sub", np.subtract),
    *_both("fetch_min", np.minimum, 50),
    *_both("fetch_max", np.maximum, 3),
    *_both("fetch_and", np.bitwise_and, 2**31 - 1),
    *_both("fetch_or", np.bitwise_or),
    *_both("fetch_xor", np.bitwise_xor),
    *_both("compare_exchange_weak", np.add),  # in a loop, until nobody was faster
    Tally("fetch_add", FLOAT, np.add),
    Tally("fetch_sub", FLOAT, np.subtract),
    Tally("max", ULONG, np.maximum, 7),
    Tally("min", ULONG, np.minimum, 1 << 40),
)
DECLARATIONS = """
template <typename A, typename T> void exchanged(device A* place, T more) {
  T old = atomic_load_explicit(place, memory_order_relaxed);
  while (!atomic_compare_exchange_weak_explicit(place, &old, T(uint(old) + uint(more)),
                                                memory_order_relaxed, memory_order_relaxed)) {}
}
"""


def first_tallies() -> Array:
    """The memory before: 64 bits to each place."""
    memory = np.zeros((len(TALLIES), PLACES), np.uint64)
    for row, tally in zip(memory, TALLIES, strict=True):
        _typed(row, tally)[:] = tally.start
    return memory


def device_tally(random: Random, of: Callable[[Type, int], Expression]) -> Statement:
    """One operation of every active thread, at a place that it chooses."""
    which = random.randrange(len(TALLIES))
    tally = TALLIES[which]
    place = of(Type(UINT), 1)
    value = of(Type(INT if tally.scalar is FLOAT else tally.scalar), 2)
    given = value.text
    if tally.scalar is FLOAT:
        given = f"float({given} & 1023)"  # so few bits that sums are exact in any order

    def run(threads: Threads, active: Array) -> Array:
        memory = _typed(threads.tallies[which], tally)
        places = place.value(threads) & np.uint32(PLACES - 1)
        values = value.value(threads)
        if tally.scalar is FLOAT:
            values = (values & 1023).astype(np.float32)
        for at, number in zip(places[active], values[active], strict=True):
            memory[at] = tally.do(memory[at : at + 1], number.reshape(1))[0]
        return active

    at = f"({place.text} & {PLACES - 1}u)"
    pointer = f"((device {tally.type_name}*)(tallies + {which * PLACES} + {at}))"
    if tally.operation == "compare_exchange_weak":
        return Statement(f"exchanged({pointer}, {given});", run)
    name = f"atomic_{tally.operation}_explicit"
    return Statement(f"{name}({pointer}, {given}, memory_order_relaxed);", run)


def _typed(row: Array, tally: Tally) -> Array:
    """The places of a row as numbers of the operation's type."""
    numbers = row.view(tally.scalar.dtype)
    return numbers if tally.scalar.bits == 64 else numbers[::2]
