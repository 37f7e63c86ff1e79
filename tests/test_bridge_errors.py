"""What the Apple backend says when Metal refuses, and what Metal's validation does not let pass."""

from __future__ import annotations

import functools

import pytest
import torch
from apple.soft_mps import ended_by_validation, on_soft_mps

import metalgen
from metalgen import device
from metalgen.errors import LaunchError, ToolchainError

KERNELS = """
#include <metal_stdlib>
using namespace metal;

constant int offset [[function_constant(0)]];

kernel void add(device float* y [[buffer(0)]], constant uint& n [[buffer(1)]],
                uint i [[thread_position_in_grid]]) {
  if (i < n) y[i] += 1;
}

kernel void shift(device int* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  y[i] += offset;
}

kernel void through_shared(device float* y [[buffer(0)]], threadgroup float* a [[threadgroup(0)]],
                           uint i [[thread_position_in_threadgroup]]) {
  a[i] = y[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = a[0];
}

[[max_total_threads_per_threadgroup(64)]]
kernel void small_groups(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  y[i] = 1;
}
"""


@functools.cache
def library():
    return metalgen.compile_shader(KERNELS)


def native():
    """The library as the Apple backend loads it, without the checks that Python makes first."""
    return library()._load("mps")


def geometry(threads, group=(1, 1, 1)):
    return metalgen._core.Geometry.of_threads((threads, 1, 1), group)


ONE = (1).to_bytes(4, "little")


@on_soft_mps
def test_a_file_that_is_no_metallib_is_refused_in_metals_words():
    with pytest.raises(ToolchainError, match="Metal refused the metallib: Invalid library file"):
        device.open_device("mps").load(b"neither fish nor flesh", lambda *_: None)


@on_soft_mps
def test_a_kernel_that_is_not_there_is_named():
    with pytest.raises(LaunchError, match="Function nowhere was not found in the library"):
        native().pipeline("nowhere")


@on_soft_mps
def test_a_missing_function_constant_is_named():
    with pytest.raises(LaunchError, match=r"no value for function constant offset \(0\)"):
        native().pipeline("shift")


@pytest.mark.parametrize(
    ("type_name", "value", "message"),
    [
        ("float", 1.0, "offset is of type int, the value given is a float"),
        ("int2", [1, 2], "offset is of type int, the value given is a int2"),
        ("bfloat", 1.0, "cannot be set"),
    ],
)
@on_soft_mps
def test_a_function_constant_of_another_type_is_refused(type_name, value, message):
    constant = metalgen._core.FunctionConstant(0, type_name, value)
    with pytest.raises(LaunchError, match=message):
        native().pipeline("shift", [constant])


@on_soft_mps
def test_a_refusal_leaves_the_library_usable():
    for _ in range(3):
        with pytest.raises(LaunchError):
            native().pipeline("shift")
    y = torch.zeros(4, dtype=torch.int32).to("mps")
    library().shift(y, constants={"offset": 5})
    assert y.cpu().tolist() == [5] * 4


@pytest.mark.parametrize(("kernel", "limit"), [("add", 1024), ("small_groups", 64)])
@on_soft_mps
def test_a_threadgroup_beyond_the_pipelines_limit_is_refused(kernel, limit):
    pipeline = native().pipeline(kernel)
    assert pipeline.max_total_threads == limit
    y = torch.zeros(4096).to("mps")
    with pytest.raises(LaunchError, match=f"at most {limit} threads a threadgroup"):
        pipeline.dispatch((y.data_ptr(), ONE), geometry(4096, (limit, 2, 1)))


@on_soft_mps
def test_memory_that_is_not_whole_pages_cannot_be_shared():
    for address, size in [(16384 + 64, 16384), (16384, 100), (16384, 0)]:
        with pytest.raises(LaunchError, match="whole pages of 16 KiB"):
            device.open_device("mps").wrap(address, size)


@on_soft_mps
def test_the_devices_own_memory_is_zero_shared_and_may_be_empty():
    memory = device.open_device("mps").allocate(40)
    pipeline = native().pipeline("add")
    pipeline.dispatch((memory.handle, (7).to_bytes(4, "little")), geometry(10))
    device.open_device("mps").synchronize()
    assert torch.frombuffer(memory, dtype=torch.float32).tolist() == [1.0] * 7 + [0.0] * 3
    assert len(memoryview(device.open_device("mps").allocate(0))) == 0


@on_soft_mps
def test_tensors_of_two_devices_are_refused():
    with pytest.raises(LaunchError, match="cpu"):
        library().add(torch.zeros(4).to("mps"), torch.zeros(1, dtype=torch.uint32))


@ended_by_validation("missing Buffer binding at index 1 for n[0]")
def test_validation_wants_every_buffer_bound():
    y = torch.zeros(4).to("mps")
    native().pipeline("add").dispatch((y.data_ptr(), None), geometry(4))


@ended_by_validation("has space for 2 bytes, but argument has a length(4)")
def test_validation_wants_whole_arguments():
    y = torch.zeros(4).to("mps")
    native().pipeline("add").dispatch((y.data_ptr(), b"ab"), geometry(4))


@ended_by_validation("offset(16) must be < the buffer's length")
def test_validation_wants_offsets_inside_the_buffer():
    y = torch.zeros(4).to("mps")
    native().pipeline("add").dispatch(((y.data_ptr(), 16), ONE), geometry(4))


@ended_by_validation("the offset into the buffer at index 0 must be a multiple of 4")
def test_validation_wants_aligned_offsets():
    y = torch.zeros(4).to("mps")
    native().pipeline("add").dispatch(((y.data_ptr(), 2), ONE), geometry(1))


@ended_by_validation("missing threadgroupMemory binding at index 0")
def test_validation_wants_threadgroup_memory():
    y = torch.zeros(4).to("mps")
    native().pipeline("through_shared").dispatch((y.data_ptr(),), geometry(4))


@ended_by_validation("must be a multiple of 16 bytes")
def test_validation_wants_threadgroup_memory_in_units_of_16_bytes():
    y = torch.zeros(4).to("mps")
    native().pipeline("through_shared").dispatch((y.data_ptr(),), geometry(4), ((0, 24),))


@ended_by_validation("must be <= 32768")
def test_validation_bounds_threadgroup_memory():
    y = torch.zeros(4).to("mps")
    native().pipeline("through_shared").dispatch((y.data_ptr(),), geometry(4), ((0, 32784),))


@ended_by_validation("retain of deallocated instance")
def test_a_freed_buffer_is_noticed():
    y = torch.zeros(4).to("mps")
    handle = y.data_ptr()
    del y
    native().pipeline("add").dispatch((handle, ONE), geometry(4))
