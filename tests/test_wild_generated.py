"""Constructs that code generators write, and what their kernels count on."""

from __future__ import annotations

import pytest
import torch

from metalgen.compiler import compile_source
from metalgen.library import load_metallib

PREAMBLE = "#include <metal_stdlib>\nusing namespace metal;\n"
LANES_OF_FEW = (
    PREAMBLE
    + """
kernel void sums(device long* out, constant long* x, uint i [[thread_position_in_grid]]) {
  long one = x[0], own = x[i];
  for (ushort d = 16; d > 0; d /= 2) {
    one += as_type<long>(simd_shuffle_and_fill_down(as_type<int2>(one), int2(0), d));
    own += as_type<long>(simd_shuffle_down(as_type<int2>(own), d));
  }
  if (i == 0) { out[0] = one; out[1] = own; }
  out[2] = as_type<long>(simd_shuffle(as_type<int2>(x[0]), ushort(x[0])));
}"""
)


@pytest.mark.parametrize("strands", ["simdgroup", "thread"])
def test_lanes_beyond_a_small_threadgroup_are_read_as_zero(strands):
    library = load_metallib(compile_source(LANES_OF_FEW), strands=strands)
    out = torch.full((3,), -1, dtype=torch.int64)
    library.sums(out, torch.full((8,), 5, dtype=torch.int64), threads=5, group_size=5)
    # The shuffle down gives lanes past the 31st their own value; none of them exists here.
    assert out.tolist() == [25, 25, 0]
