"""Memory reached at distances that are known when translating: long accesses and shuffles instead
of gathers, for whole SIMD-groups, their parts, and indices that wrap.
"""

import numpy as np
import pytest
import torch

from metalgen import compile_shader, load_metallib
from metalgen.compiler import compile_source

SOURCE = """
#include <metal_stdlib>
using namespace metal;

kernel void copied(device const ELEMENT* x [[buffer(0)]], device ELEMENT* y [[buffer(1)]],
                   constant uint& offset [[buffer(2)]],
                   uint i [[thread_position_in_grid]], uint t [[thread_index_in_threadgroup]],
                   uint lane [[thread_index_in_simdgroup]],
                   uint group [[simdgroup_index_in_threadgroup]]) {
  threadgroup ELEMENT shared[4096];
  for (uint j = 0; j < 4; ++j) shared[t * 4 + j] = x[t * 4 + j];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const INDEX from = FROM;
  const INDEX to = TO;
  y[to] = shared[from];
}
"""
# (type of the index, where a thread reads, where it writes): expressions that C++ and NumPy share.
INDICES = [
    ("uint", "t", "t"),
    ("ushort", "t * 2", "t * 2 + 1"),
    ("uint", "(t / 4) * 8 + t % 4", "t"),
    ("short", "(lane / 8) * 20 + lane % 8 + group * 2", "t"),
    ("int", "(t / 8) * 64 + (t % 8) * 3", "(t / 8) * 8 + 7 - t % 8"),
    ("uint", "t ^ 5", "t ^ 16"),
    ("uint", "(t & 24) + offset", "(t / 8) * 8 + ((t + 3) & 7)"),
    ("uint", "t / 3", "t"),
    ("uint", "((lane & 1) << 2) | (lane >> 3)", "t * 3"),
    ("uint", "(lane % 16) * 16 + lane / 16", "(t / 32) * 32 + (lane % 16) * 2 + lane / 16"),
    ("uchar", "t * 9", "t"),  # wraps
    ("uint", "(t - 16) / 16 % 64", "t"),  # wraps before it is divided
    ("uint", "lane / 32 + 7", "t"),
]
ELEMENTS = {
    "float": torch.float32,
    "half": torch.float16,
    "uchar": torch.uint8,
    "long": torch.int64,
}


def numpy_index(type_, expression, threads, offset):
    t = np.arange(threads, dtype=np.uint32)
    names = {"t": t, "lane": t % 32, "group": t // 32, "offset": np.uint32(offset)}
    value = eval(expression.replace("/", "//"), names)
    dtype = {"uchar": np.uint8, "ushort": np.uint16, "short": np.int16, "int": np.int32}
    return np.asarray(value).astype(dtype.get(type_, np.uint32)).astype(np.int64)


@pytest.mark.parametrize(("type_", "read", "written"), INDICES, ids=lambda index: str(index))
@pytest.mark.parametrize("element", ELEMENTS)
def test_lanes_reach_what_their_indices_say(type_, read, written, element):
    source = SOURCE.replace("ELEMENT", element).replace("INDEX", type_)
    library = compile_shader(source.replace("FROM", read).replace("TO", written))
    for threads in (32, 96, 75):
        x = torch.randint(0, 100, (4096,)).to(ELEMENTS[element])
        y = torch.full((4096,), 101, dtype=ELEMENTS[element])
        expected = y.numpy().copy()
        library.copied(x, y, 5, threads=threads, group_size=threads)
        shared = np.zeros(4096, expected.dtype)
        shared[: threads * 4] = x.numpy()[: threads * 4]
        source_index = numpy_index(type_, read, threads, 5)
        inside = source_index < threads * 4
        target = numpy_index(type_, written, threads, 5)
        expected[target] = shared[source_index]
        # What lies beyond the threads' own elements was never written.
        assert np.array_equal(y.numpy()[target[inside]], expected[target[inside]])
        untouched = np.setdiff1d(np.arange(4096), target)
        assert (y.numpy()[untouched] == 101).all()


NEIGHBOURS = """
#include <metal_stdlib>
using namespace metal;

// Reads, and writes in another order, neighbours that may be the same memory.
kernel void shifted(device float* x [[buffer(0)]], device float* y [[buffer(1)]],
                    constant uint& count [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  const uint at = i * 4;
  if (at + 4 > count) return;
  const float first = x[at], second = x[at + 1];
  y[at + 1] = first;
  y[at] = second;
  const float third = x[at + 2], fourth = x[at + 3];
  y[at + 2] = fourth;
  y[at + 3] = third;
  x[at + 3] = x[at] + 1;
  x[at] = x[at + 3] + 1;
}
"""


@pytest.mark.parametrize("threads", [32, 33, 128])
@pytest.mark.parametrize("is_same", [False, True])
def test_neighbours_read_at_once_are_what_each_would_be(threads, is_same):
    metallib = compile_source(NEIGHBOURS)
    results = []
    for strands in ("simdgroup", "thread"):
        x = torch.arange(600.0)
        y = x if is_same else torch.zeros(600)
        kernel = load_metallib(metallib, strands=strands).kernel("shifted")
        kernel(x, y, 500, threads=threads, group_size=min(threads, 64))
        results.append((x, y))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


BLOCKS = """
#include <metal_stdlib>
using namespace metal;
struct Block { float values[8]; };

kernel void blocks(device const Block* x [[buffer(0)]], device Block* y [[buffer(1)]],
                   constant uint& pitch [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  y[(i / 2) * pitch + i % 2] = x[i];
}
"""


@pytest.mark.parametrize("threads", [64, 40])
def test_blocks_are_copied_lane_by_lane(threads):
    x, y = torch.randn(64, 8), torch.zeros(200, 8)
    compile_shader(BLOCKS).blocks(x, y, 3, threads=threads, group_size=threads)
    expected = torch.zeros(200, 8)
    lanes = torch.arange(threads)
    expected[lanes // 2 * 3 + lanes % 2] = x[:threads]
    assert torch.equal(y, expected)
