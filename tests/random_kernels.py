"""Random Metal kernels whose result does not depend on how threads are scheduled."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

VARIABLES = ("a", "b", "c", "d")
_BINARY = ("+", "-", "*", "&", "|", "^")
_COMPARISONS = ("<", ">", "<=", "==", "!=")
# Of the lanes that make the call: what others hold does not count.
_ACROSS = (
    "simd_sum({})",
    "simd_max({})",
    "simd_min({})",
    "simd_xor({})",
    "simd_or({})",
    "simd_prefix_inclusive_sum({})",
    "simd_prefix_exclusive_sum({})",
    "simd_broadcast_first({})",
    "int(simd_any({} > 40))",
    "int(simd_all({} > -40))",
    "popcount(uint(ulong(simd_ballot({} > 3))))",
    "int(simd_is_first()) + {}",
)

_HEAD = """
#include <metal_stdlib>
using namespace metal;

kernel void random_kernel(device const int* x [[buffer(0)]], device int* y [[buffer(1)]],
                          uint3 place [[thread_position_in_grid]], uint3 grid [[threads_per_grid]],
                          uint index [[thread_index_in_threadgroup]],
                          uint3 size [[threads_per_threadgroup]],
                          uint3 local [[thread_position_in_threadgroup]],
                          uint lane [[thread_index_in_simdgroup]],
                          uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup int shared[256];
  const uint number = place.x + grid.x * place.y;
  const uint count = grid.x * grid.y;
  const uint threads = size.x * size.y * size.z;
  int a = x[number], b = int(lane), c = int(local.x * 3 + local.y), d = int(simdgroup) - 1;
  int array[8] = {1, 2, 3, 4, 5, 6, 7, 8};
"""
_TAIL = "  y[number] = a + 3 * b + 5 * c + 7 * d + 11 * array[a & 7];\n}\n"


@dataclass(frozen=True)
class Geometry:
    """A grid and its threadgroups, the grid not always a multiple."""

    threads: tuple[int, int]
    group_size: tuple[int, int]


GEOMETRIES = st.builds(
    Geometry,
    st.tuples(st.sampled_from([1, 7, 32, 45, 64, 100]), st.sampled_from([1, 1, 2, 9])),
    st.sampled_from([(32, 1), (64, 1), (48, 1), (8, 8), (10, 3), (32, 4), (96, 2)]),
)


def _expressions(depth: int) -> st.SearchStrategy[str]:
    leaf = st.one_of(st.sampled_from(VARIABLES), st.integers(-9, 99).map(lambda n: f"({n})"))
    if depth == 0:
        return leaf
    inner = _expressions(depth - 1)
    return st.one_of(
        leaf,
        st.builds("({} {} {})".format, inner, st.sampled_from(_BINARY), inner),
        st.builds("({} >> ({} & 7))".format, inner, inner),
        st.builds("({} / (({} & 7) + 1))".format, inner, inner),
        st.builds("({} % (({} & 15) + 1))".format, inner, inner),
        st.builds("(({}) ? {} : {})".format, _conditions(0), inner, inner),
        st.builds("x[uint({}) % count]".format, inner),
        st.builds("array[{} & 7]".format, inner),
        st.builds("min({}, {})".format, inner, inner),
        st.builds("int(as_type<uint>({}) * 3u >> 1)".format, inner),
        st.builds("int(short({}))".format, inner),
        st.builds("int(float({} & 1023) * 0.5f)".format, inner),
    )


def _conditions(depth: int) -> st.SearchStrategy[str]:
    value = _expressions(depth)
    return st.builds("{} {} {}".format, value, st.sampled_from(_COMPARISONS), value)


def _blocks(depth: int, in_loop: bool) -> st.SearchStrategy[str]:
    return st.lists(_statements(depth, in_loop), min_size=1, max_size=3).map(" ".join)


def _statements(depth: int, in_loop: bool) -> st.SearchStrategy[str]:
    variable = st.sampled_from(VARIABLES)
    choices = [
        st.builds("{} = {};".format, variable, _expressions(2)),
        st.builds("{} = {};".format, variable, _across()),
        st.builds("array[{} & 7] = {};".format, _expressions(1), _expressions(1)),
    ]
    if in_loop:
        choices.append(st.builds("if ({}) break;".format, _conditions(1)))
        choices.append(st.builds("if ({}) continue;".format, _conditions(1)))
    if depth > 0:
        body = _blocks(depth - 1, in_loop)
        loop = _blocks(depth - 1, in_loop=True)
        index = f"i{depth}{int(in_loop)}"
        choices += [
            st.builds("if ({}) {{ {} }}".format, _conditions(1), body),
            st.builds("if ({}) {{ {} }} else {{ {} }}".format, _conditions(1), body, body),
            st.builds(
                f"for (int {index} = 0; {index} < ({{}} & 3); ++{index}) {{{{ {{}} }}}}".format,
                _expressions(1),
                loop,
            ),
            st.builds(
                "switch ({} & 3) {{ case 0: {} break; case 1: {} default: {} }}".format,
                _expressions(1),
                _blocks(0, in_loop=False),
                _blocks(0, in_loop=False),
                _blocks(0, in_loop=False),
            ),
        ]
    return st.one_of(choices)


def _across() -> st.SearchStrategy[str]:
    return st.builds(str.format, st.sampled_from(_ACROSS), st.sampled_from(VARIABLES))


_EXCHANGE = st.builds(
    "shared[index] = {0}; threadgroup_barrier(mem_flags::mem_threadgroup); "
    "{1} += shared[(index + {2}) % threads]; "
    "threadgroup_barrier(mem_flags::mem_threadgroup);".format,
    st.sampled_from(VARIABLES),
    st.sampled_from(VARIABLES),
    st.integers(0, 40),
)
_RETURN = st.builds("if ({}) {{ y[number] = {}; return; }}".format, _conditions(1), _expressions(1))


def sources() -> st.SearchStrategy[str]:
    """Kernels `random_kernel(x, y)` that exchange values, part, meet again, may return early."""
    early = st.lists(st.one_of(_statements(2, in_loop=False), _EXCHANGE), min_size=1, max_size=4)
    late = st.lists(st.one_of(_statements(2, in_loop=False), _RETURN), max_size=3)
    return st.builds(
        lambda first, then: _HEAD + "".join(f"  {s}\n" for s in [*first, *then]) + _TAIL,
        early,
        late,
    )
