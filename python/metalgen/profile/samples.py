"""Some SIMD-groups of a dispatch that stand for all: its corners and middle, with their weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metalgen.profile.launches import Launch

LANES = 32

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Samples:
    """Arrays of shape (SIMD-groups, 32), those of a threadgroup side by side.

    `weights` says how many SIMD-groups each stands for, `per_threadgroup` how many there are.
    """

    per_threadgroup: int
    weights: NDArray[np.float64]
    active: NDArray[np.bool_]
    builtins: dict[str, tuple[Numbers, ...]]  # by name, a component each


def take_samples(launch: Launch) -> Samples:
    """First, middle and last threadgroup along each axis, with all their SIMD-groups."""
    axes = [_picked(count) for count in launch.groups]
    width = -(-launch.threads_per_threadgroup // LANES)
    rows = [
        ((gx, gy, gz, simdgroup), wx * wy * wz)
        for gz, wz in axes[2]
        for gy, wy in axes[1]
        for gx, wx in axes[0]
        for simdgroup in range(width)
    ]
    places = np.array([place for place, _ in rows], np.int64)
    weights = np.array([weight for _, weight in rows])
    return _described(launch, places, weights)


def _picked(count: int) -> list[tuple[int, float]]:
    """The first, one in the middle for all between, and the last of 0 .. count - 1."""
    if count <= 3:
        return [(i, 1.0) for i in range(count)]
    return [(0, 1.0), (count // 2, count - 2.0), (count - 1, 1.0)]


def _described(launch: Launch, places: Numbers, weights: NDArray[np.float64]) -> Samples:
    full = launch.group_size
    group = [places[:, axis, None] for axis in range(3)]
    # At the grid's edge threadgroups are smaller.
    size = [
        np.minimum(full[axis], np.maximum(1, launch.grid[axis] - group[axis] * full[axis]))
        for axis in range(3)
    ]
    lane = np.arange(LANES, dtype=np.int64)[None, :]
    simdgroup = places[:, 3, None]
    index = simdgroup * LANES + lane
    total = size[0] * size[1] * size[2]
    local = [index % size[0], index // size[0] % size[1], index // (size[0] * size[1])]
    shape = index.shape

    def wide(value: Numbers | int) -> Numbers:
        return np.broadcast_to(np.asarray(value, np.int64), shape)

    def triple(values: list[Numbers] | tuple[int, ...]) -> tuple[Numbers, ...]:
        return tuple(wide(value) for value in values)

    threads = launch.threads_per_threadgroup
    builtins: dict[str, tuple[Numbers, ...]] = {
        "thread_position_in_grid": triple([group[a] * full[a] + local[a] for a in range(3)]),
        "thread_position_in_threadgroup": triple(local),
        "threadgroup_position_in_grid": triple(group),
        "threads_per_threadgroup": triple(size),
        "dispatch_threads_per_threadgroup": triple(full),
        "threads_per_grid": triple(launch.grid),
        "grid_size": triple(launch.grid),
        "threadgroups_per_grid": triple(launch.groups),
        "grid_origin": triple((0, 0, 0)),
        "thread_index_in_threadgroup": (wide(index),),
        "thread_index_in_simdgroup": (wide(lane),),
        "thread_index_in_quadgroup": (wide(lane % 4),),
        "quadgroup_index_in_threadgroup": (wide(index // 4),),
        "simdgroup_index_in_threadgroup": (wide(simdgroup),),
        "simdgroups_per_threadgroup": (wide(-(-total // LANES)),),
        "dispatch_simdgroups_per_threadgroup": (wide(-(-threads // LANES)),),
        "quadgroups_per_threadgroup": (wide(-(-total // 4)),),
        "threads_per_simdgroup": (wide(LANES),),
        "thread_execution_width": (wide(LANES),),
    }
    per_threadgroup = -(-threads // LANES)
    return Samples(per_threadgroup, weights, index < total, builtins)
