"""Whole SIMD-groups as vectors compute what threads one by one compute, on random kernels."""

import torch
from hypothesis import HealthCheck, given, settings
from random_kernels import GEOMETRIES, sources

from metalgen import load_metallib
from metalgen.compiler import compile_source


def run(metallib, strands, x, geometry):
    y = torch.full_like(x, -1)
    kernel = load_metallib(metallib, strands=strands).kernel("random_kernel")
    kernel(x, y, threads=geometry.threads, group_size=geometry.group_size)
    return y


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(sources(), GEOMETRIES)
def test_both_ways_of_running_a_kernel_agree(source, geometry):
    metallib = compile_source(source)
    count = geometry.threads[0] * geometry.threads[1]
    x = torch.randint(-100, 100, (count,), generator=torch.Generator().manual_seed(1)).int()
    one_by_one = run(metallib, "thread", x, geometry)
    together = run(metallib, "simdgroup", x, geometry)
    assert torch.equal(together, one_by_one), source


def test_signed_quotients_of_lanes_that_do_not_start_at_a_multiple():
    source = """
        kernel void f(device int* y [[buffer(0)]], uint lane [[thread_index_in_simdgroup]]) {
          y[lane] = (int(lane) + 21) % 32 + 100 * ((int(lane) + 21) / 32);
        }
    """
    y = torch.zeros(32, dtype=torch.int32)
    load_metallib(compile_source(source)).f(y, threads=32)
    assert y.tolist() == [(lane + 21) % 32 + 100 * ((lane + 21) // 32) for lane in range(32)]
