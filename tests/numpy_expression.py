"""One expression of a random kernel, as Metal's text and as what NumPy makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy_threads import Array, Threads
from numpy_types import Scalar, Type, converted


@dataclass(frozen=True)
class Expression:
    """`text` has the type `type`; `value` gives it for all threads, active or not."""

    type: Type
    text: str
    value: Callable[[Threads], Array]


def literal(scalar: Scalar, number: int) -> Expression:
    """A small number; negative ones become large unsigned ones."""
    text = f"{scalar.name}({number})"

    def value(threads: Threads) -> Array:
        return np.full(threads.count, converted(np.array(number), scalar), scalar.dtype)

    return Expression(Type(scalar), text, value)
