"""From `threads`, `threadgroups` and `group_size` as callers write them to a checked grid."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

from metalgen._core import Geometry
from metalgen.errors import LaunchError

if TYPE_CHECKING:
    from metalgen._core import Extent

Size = int | Sequence[int]

MAX_GROUP_THREADS = 1024
MAX_THREADGROUP_BYTES = 32 * 1024
_MAX_AXIS = 2**32 - 1


def launch_geometry(
    threads: Size | None, threadgroups: Size | None, group_size: Size | None, max_group: int
) -> Geometry:
    """The grid of a launch; raises LaunchError where it is beyond what a device can do."""
    if threadgroups is not None:
        if threads is not None:
            raise LaunchError("expected threads or threadgroups, found both")
        if group_size is None:
            raise LaunchError("threadgroups= needs group_size=, the threads of each")
        groups = _extent("threadgroups", threadgroups)
        return Geometry.of_threadgroups(groups, _group_size(group_size, max_group))
    if threads is None:
        raise LaunchError("expected threads= or threadgroups=: no tensor argument says how many")
    grid = _extent("threads", threads)
    if group_size is None:
        return Geometry.of_threads(grid, (max(1, min(max_group, grid[0])), 1, 1))
    return Geometry.of_threads(grid, _group_size(group_size, max_group))


def _group_size(size: Size, max_group: int) -> Extent:
    extent = _extent("group_size", size)
    total = extent[0] * extent[1] * extent[2]
    if not 1 <= total <= max_group:
        raise LaunchError(f"expected 1 to {max_group} threads a threadgroup, found {total}")
    return extent


def _extent(what: str, size: Size) -> Extent:
    axes = list(size) if isinstance(size, Sequence) else [size]
    if not 1 <= len(axes) <= 3:
        raise LaunchError(f"expected 1 to 3 numbers for {what}, found {len(axes)}")
    try:
        whole = [operator.index(axis) for axis in axes]
    except TypeError:
        raise LaunchError(f"expected integers for {what}, found {axes}") from None
    for axis in whole:
        if not 0 <= axis <= _MAX_AXIS:
            raise LaunchError(f"expected 0 to {_MAX_AXIS} for each axis of {what}, found {axis}")
    x, y, z = (*whole, 1, 1)[:3]
    return (x, y, z)
