"""A statement of a random kernel, as text and as what it does to the active threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from numpy_threads import Array, Threads


@dataclass(frozen=True)
class Statement:
    """`text`, and `run`: who of the active threads goes on behind it."""

    text: str
    run: Callable[[Threads, Array], Array]


def block(statements: Sequence[Statement]) -> Statement:
    """One after the other, until nobody is left."""

    def run(threads: Threads, active: Array) -> Array:
        for statement in statements:
            if active.any():
                active = statement.run(threads, active)
        return active

    return Statement(" ".join(statement.text for statement in statements), run)
