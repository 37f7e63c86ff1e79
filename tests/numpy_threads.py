"""All threads of a grid at once, as NumPy arrays: their places, their variables, who is active."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Array = np.ndarray
LANES = 32


@dataclass(frozen=True)
class Geometry:
    """A grid and its threadgroups; the grid is not always a multiple."""

    threads: tuple[int, int]
    group_size: tuple[int, int]


@dataclass
class Threads:
    """The state of every thread; places are linear in the grid, x first."""

    geometry: Geometry
    variables: dict[str, Array] = field(default_factory=dict)
    written: dict[str, Array] = field(default_factory=dict)  # the results of threads that returned
    broken: list[Array] = field(default_factory=list)  # per enclosing loop: who has left it
    continued: list[Array] = field(default_factory=list)
    tallies: Array = field(default_factory=lambda: np.zeros(0))  # of the whole grid, in memory

    def __post_init__(self) -> None:
        width, height = self.geometry.threads
        x, y = (part.ravel() for part in np.meshgrid(np.arange(width), np.arange(height)))
        group_x, group_y = self.geometry.group_size
        self.local_x, self.local_y = x % group_x, y % group_y
        size_x = np.minimum(group_x, width - x // group_x * group_x)
        size_y = np.minimum(group_y, height - y // group_y * group_y)
        self.group = x // group_x + y // group_y * -(-width // group_x)
        self.index = self.local_x + self.local_y * size_x
        self.group_threads = size_x * size_y
        self.lane = self.index % LANES
        self.simdgroup = self.index // LANES
        self.count = len(x)
        numbers = self.group * 64 + self.simdgroup
        self.simdgroups = [np.flatnonzero(numbers == n) for n in np.unique(numbers)]
        self.groups = [np.flatnonzero(self.group == n) for n in np.unique(self.group)]

    @property
    def nobody(self) -> Array:
        return np.zeros(self.count, bool)

    def assign(self, name: str, values: Array, active: Array) -> None:
        """Active threads' variable `name` gets their part of `values`."""
        self.variables[name][active] = values[active]

    def across(
        self, active: Array, size: int, result: Array, do: Callable[[Array], Array]
    ) -> Array:
        """`result` with what `do` makes of the active threads of each `size` lanes."""
        for members in self.simdgroups:
            for first in range(0, LANES, size):
                lanes = members[(self.lane[members] >= first) & (self.lane[members] < first + size)]
                together = lanes[active[lanes]]
                if len(together):
                    result[together] = do(together)
        return result

    def at_lane(self, values: Array, source: Array, active: Array) -> Array:
        """Every active lane's value at lane `source` of its SIMD-group, else its own."""
        result = values.copy()
        for members in self.simdgroups:
            here = {int(self.lane[i]): i for i in members[active[members]]}
            for i in members[active[members]]:
                result[i] = values[here.get(int(source[i]), i)]
        return result


GEOMETRIES = [
    Geometry((width, height), size)
    for width, height, size in itertools.chain(
        itertools.product((1, 7, 32, 45, 100), (1, 2), ((32, 1), (48, 1), (10, 3), (64, 2)))
    )
]
