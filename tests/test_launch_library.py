"""Libraries from source and from metallibs: kernels by name, run as the metallib declares them."""

from __future__ import annotations

import functools
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import metalgen
from metalgen.compiler import compile_source
from metalgen.errors import CompileError, LaunchError, MetallibError

SOURCE = """
#include <metal_stdlib>
using namespace metal;

kernel void axpy(device const float* x, device float* y, constant float& a,
                 uint i [[thread_position_in_grid]]) {
  y[i] += a * x[i];
}

struct Shape { int columns; float scale; };

kernel void scale_columns(device half* x [[buffer(0)]], constant Shape& shape [[buffer(3)]],
                          uint2 at [[thread_position_in_grid]]) {
  x[at.y * shape.columns + at.x] *= half(shape.scale);
}

kernel void sum_groups(device const int* x, device int* sums, threadgroup int* shared,
                       uint i [[thread_position_in_grid]],
                       uint thread_id [[thread_position_in_threadgroup]],
                       uint threads [[threads_per_threadgroup]],
                       uint group [[threadgroup_position_in_grid]]) {
  shared[thread_id] = x[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (thread_id != 0) return;
  int sum = 0;
  for (uint t = 0; t < threads; ++t) sum += shared[t];
  sums[group] = sum;
}

constant uint factor [[function_constant(4)]];

kernel void times_factor(device uint* x, uint i [[thread_position_in_grid]]) { x[i] *= factor; }

template <typename T>
kernel void fill(device T* x, constant T& value, uint i [[thread_position_in_grid]]) {
  x[i] = value;
}
template [[host_name("fill.float")]] kernel void fill<float>(device float*, constant float&, uint);
template [[host_name("fill.int64")]] kernel void fill<long>(device long*, constant long&, uint);
"""


@functools.cache
def loaded(strands):
    return metalgen.load_metallib(compile_source(SOURCE), strands=strands)


@pytest.fixture
def library():
    return loaded("simdgroup")


def test_kernels_are_attributes_and_the_library_lists_them(library):
    assert set(library.names) <= set(dir(library))
    assert sorted(library.names) == [
        "axpy", "fill.float", "fill.int64", "scale_columns", "sum_groups", "times_factor",
    ]  # fmt: skip
    assert library.axpy is library.kernel("axpy")
    assert repr(library) == "<metalgen library of 6 kernels from <bytes>>"
    assert library.axpy.info.name == "axpy"


def test_names_that_are_no_identifiers_are_reached_by_name(library):
    x = torch.empty(7, dtype=torch.int64)
    library.kernel("fill.int64")(x, -5)
    assert (x == -5).all()


def test_a_missing_kernel_is_an_attribute_error_or_a_launch_error(library):
    with pytest.raises(AttributeError, match="no kernel 'axpyy' in <bytes>"):
        library.axpyy  # noqa: B018
    with pytest.raises(LaunchError, match="no kernel 'axpyy'"):
        library.kernel("axpyy")
    assert not hasattr(library, "__wrapped__")


@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 9)),
    group=st.tuples(st.integers(1, 40), st.integers(1, 9)),
    strands=st.sampled_from(["simdgroup", "thread"]),
)
@settings(max_examples=40, deadline=None)
def test_structs_and_two_dimensional_grids_match_numpy(size, group, strands):
    columns, rows = size
    x = torch.arange(rows * columns, dtype=torch.float16).reshape(rows, columns) / 16
    expected = (x.numpy() * np.float16(0.5)).astype(np.float16)
    shape = {"columns": columns, "scale": 0.5}
    loaded(strands).scale_columns(x, shape, threads=size, group_size=group)
    np.testing.assert_array_equal(x.numpy(), expected)


@given(
    n=st.integers(1, 300),
    group=st.integers(1, 128),
    strands=st.sampled_from(["simdgroup", "thread"]),
)
@settings(max_examples=40, deadline=None)
def test_partial_threadgroups_meet_at_barriers(n, group, strands):
    x = torch.arange(n, dtype=torch.int32)
    sums = torch.zeros(-(-n // group), dtype=torch.int32)
    memory = {0: 4 * group}
    loaded(strands).sum_groups(x, sums, threads=n, group_size=group, threadgroup_memory=memory)
    assert sums.tolist() == [int(part.sum()) for part in x.split(group)]


def test_function_constants_specialise_a_kernel(library):
    x = torch.ones(5, dtype=torch.int32)
    library.times_factor(x, constants={"factor": 3})
    library.times_factor(x, constants={4: 7})
    assert x.tolist() == [21] * 5


def test_a_missing_function_constant_is_a_launch_error(library):
    with pytest.raises(LaunchError, match="factor"):
        library.times_factor(torch.ones(5, dtype=torch.int32))


def test_compiled_kernels_write_into_the_tensors_own_memory(library):
    base = torch.zeros(4, 64)
    library.axpy(torch.ones(64), base[2], 2.5)
    assert base[2].tolist() == [2.5] * 64
    assert base.sum() == 160


def test_metallibs_load_from_paths_and_bytes(tmp_path):
    data = compile_source(SOURCE)
    path = tmp_path / "kernels.metallib"
    path.write_bytes(data)
    for source in (path, str(path), data, bytearray(data)):
        y = torch.zeros(3)
        metalgen.load_metallib(source).axpy(torch.ones(3), y, 2)
        assert y.tolist() == [2, 2, 2]


def test_what_is_no_metallib_is_refused(tmp_path):
    with pytest.raises(MetallibError, match="not a metallib"):
        metalgen.load_metallib(b"something else entirely, of some length")
    with pytest.raises(MetallibError, match="cannot read"):
        metalgen.load_metallib(tmp_path / "missing.metallib")
    with pytest.raises(ValueError, match="expected strands"):
        metalgen.load_metallib(compile_source(SOURCE), strands="fibers")


def test_errors_in_the_source_are_compile_errors_with_their_place():
    with pytest.raises(CompileError, match=r"broken.metal:1:\d+: error"):
        metalgen.compile_shader("kernel void f(device float* x) { x[0] = y; }", name="broken.metal")


def test_defines_reach_the_source():
    source = "kernel void put(device int* x [[buffer(0)]]) { x[0] = VALUE; }"
    x = torch.zeros(1, dtype=torch.int32)
    metalgen.compile_shader(source, defines={"VALUE": "42"}).put(x)
    assert x.item() == 42


def test_one_kernel_may_be_launched_from_many_python_threads(library):
    rows = torch.zeros(8, 1000)
    ones = torch.ones(1000)

    def launch(row):
        for _ in range(100):
            library.axpy(ones, rows[row], 1.0)

    threads = [threading.Thread(target=launch, args=(row,)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert (rows == 100).all()
