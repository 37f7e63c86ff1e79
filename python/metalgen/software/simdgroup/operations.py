"""What is known of functions by name: which meet, which give every lane the same result."""

from __future__ import annotations

import re
from collections.abc import Sequence

from metalgen.software.turns import TURN

BARRIERS = frozenset({"air.wg.barrier", TURN})
# Within a SIMD-group the lanes advance together: nothing to wait for.
NO_OPERATIONS = re.compile(
    r"air\.simdgroup\.barrier|llvm\.(lifetime|assume|dbg|experimental\.noalias|donothing|sideeffect)"
)
# With uniform operands the lanes still differ, or change memory one after the other.
_PER_LANE = re.compile(
    r"air\.(simdgroup_matrix|simd_prefix|simd_is_first|quad_|simd_shuffle_(up|down|xor|rotate|and_fill)|atomic|cmpxchg)"
    r"|air\.(simd_is_helper|get_thread_index)"
)
_SAME_FOR_ALL = re.compile(
    r"air\.simd_(sum|product|min|max|and|or|xor|any|all|ballot|vote|broadcast_first|active)"
    r"|air\.(get_simdgroup_size|get_threads_per_simdgroup|is_uniform)"
)
_WITH_UNIFORM_LANE = re.compile(r"air\.simd_(broadcast|shuffle)\.")
_VECTOR_SUFFIX = re.compile(r"\.v\d+(?=[a-z])")


def is_uniform_result(name: str, uniform: Sequence[bool]) -> bool:
    """Whether all lanes that call `name` get the same value, given which operands are uniform."""
    if _SAME_FOR_ALL.match(name):
        return True
    if _WITH_UNIFORM_LANE.match(name):
        return uniform[1]
    return all(uniform) and not _PER_LANE.match(name)


def is_per_lane(name: str) -> bool:
    return _PER_LANE.match(name) is not None


def is_simdgroup_operation(name: str) -> bool:
    """Operations across lanes, whose runtime form takes the mask of active ones."""
    return name.startswith(("air.simd_", "air.quad_"))


def scalar_name(name: str) -> str:
    """The name of the function that a vector form applies to each component."""
    return _VECTOR_SUFFIX.sub(".", name)
