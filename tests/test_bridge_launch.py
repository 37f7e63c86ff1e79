"""The Apple backend, unchanged, on mps tensors: values, views, types, sizes, constants, memory."""

from __future__ import annotations

import functools

import pytest
import torch
from apple.soft_mps import on_mps, on_soft_mps

import metalgen

KERNELS = """
#include <metal_stdlib>
using namespace metal;

constant int offset [[function_constant(0)]];
constant float factor [[function_constant(1)]];
constant bool negate [[function_constant(2)]];

kernel void axpy(device float* y [[buffer(0)]], device const float* x [[buffer(1)]],
                 constant float& a [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  y[i] = fma(a, x[i], y[i]);
}

template <typename T>
kernel void twice(device T* y [[buffer(0)]], device const T* x [[buffer(1)]],
                  uint i [[thread_position_in_grid]]) {
  y[i] = x[i] + x[i];
}
template [[host_name("twice_float32")]] kernel decltype(twice<float>) twice<float>;
template [[host_name("twice_float16")]] kernel decltype(twice<half>) twice<half>;
template [[host_name("twice_bfloat16")]] kernel decltype(twice<bfloat>) twice<bfloat>;
template [[host_name("twice_int8")]] kernel decltype(twice<char>) twice<char>;
template [[host_name("twice_uint8")]] kernel decltype(twice<uchar>) twice<uchar>;
template [[host_name("twice_int16")]] kernel decltype(twice<short>) twice<short>;
template [[host_name("twice_int32")]] kernel decltype(twice<int>) twice<int>;
template [[host_name("twice_int64")]] kernel decltype(twice<long>) twice<long>;

kernel void positions(device uint* group [[buffer(0)]], device uint* size [[buffer(1)]],
                      constant uint& width [[buffer(2)]],
                      uint2 at [[thread_position_in_grid]],
                      uint2 place [[threadgroup_position_in_grid]],
                      uint2 threads [[threads_per_threadgroup]]) {
  const uint i = at.y * width + at.x;
  group[i] = place.y * 100 + place.x;
  size[i] = threads.y * 100 + threads.x;
}

kernel void reverse_groups(device float* y [[buffer(0)]], device const float* x [[buffer(1)]],
                           threadgroup float* shared [[threadgroup(0)]],
                           uint i [[thread_position_in_grid]],
                           uint lane [[thread_position_in_threadgroup]],
                           uint lanes [[threads_per_threadgroup]]) {
  shared[lane] = x[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = shared[lanes - 1 - lane];
}

kernel void specialised(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  const float value = float(int(i) + offset) * factor;
  y[i] = negate ? -value : value;
}

constant float3 direction [[function_constant(10)]];
constant uint2 counts [[function_constant(11)]];
constant bool4 chosen [[function_constant(12)]];
kernel void specialised_by_vectors(device float* y [[buffer(0)]],
                                   uint i [[thread_position_in_grid]]) {
  y[i] = i < 3 ? direction[i] : i < 5 ? float(counts[i - 3]) : float(chosen[i - 5]);
}

struct Table { float entries[1500]; };
kernel void look_up(device float* y [[buffer(0)]], constant Table& table [[buffer(1)]],
                    uint i [[thread_position_in_grid]]) {
  y[i] = table.entries[i];
}

kernel void fill_if_any(device float* y [[buffer(0)]], device const float* x [[buffer(1)]],
                        constant uint& count [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  y[i] = count > 0 ? x[0] : 7.0f;
}
"""


@functools.cache
def library():
    return metalgen.compile_shader(KERNELS)


@on_mps
def test_a_kernel_computes_on_mps_tensors():
    x, y = torch.randn(1000), torch.randn(1000)
    y_gpu = y.to("mps")
    library().axpy(y_gpu, x.to("mps"), 0.5, threads=1000, group_size=256)
    torch.testing.assert_close(y_gpu.cpu(), y + 0.5 * x)


@on_soft_mps
def test_the_gpu_works_later_and_reading_a_tensor_waits_for_it():
    import ctypes

    from apple import build

    y = torch.zeros(64).to("mps")
    library().axpy(y, torch.ones(64).to("mps"), 1.0)
    contents = ctypes.CDLL(str(build.metal())).soft_buffer_contents
    contents.restype, contents.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    seen = ctypes.c_float.from_address(contents(y.data_ptr()))
    assert seen.value == 0.0
    metalgen.device.open_device("mps").synchronize()
    assert seen.value == 1.0


@on_mps
def test_slices_are_bound_at_their_byte_offset():
    y = torch.zeros(40).to("mps")
    x = torch.arange(100.0).to("mps")
    library().axpy(y[5:15], x[20:30], 1.0)
    expected = torch.zeros(40)
    expected[5:15] = torch.arange(20.0, 30.0)
    assert torch.equal(y.cpu(), expected)


@on_mps
def test_rows_of_a_matrix_and_reshaped_views_share_its_memory():
    matrix = torch.zeros(6, 8).to("mps")
    library().axpy(matrix[3], torch.ones(8).to("mps"), 2.0)
    library().axpy(matrix.view(2, 24)[1], torch.ones(24).to("mps"), 1.0)
    expected = torch.zeros(6, 8)
    expected[3:] += 1
    expected[3] += 2
    assert torch.equal(matrix.cpu(), expected)


@pytest.mark.parametrize("name", "float32 float16 bfloat16 int8 uint8 int16 int32 int64".split())
@on_mps
def test_every_dtype_has_its_element_size(name):
    x = torch.arange(50).to(getattr(torch, name))
    y = torch.zeros_like(x).to("mps")
    library().kernel(f"twice_{name}")(y[7:47], x.to("mps")[7:47])
    expected = torch.zeros_like(x)
    expected[7:47] = x[7:47] + x[7:47]
    assert torch.equal(y.cpu(), expected)


@on_mps
def test_threads_cut_the_threadgroups_at_the_edge():
    group, size = (torch.zeros(5, 70, dtype=torch.uint32).to("mps") for _ in range(2))
    library().positions(group, size, 70, threads=(70, 5), group_size=(32, 4))
    assert group.cpu()[4].tolist() == [100] * 32 + [101] * 32 + [102] * 6
    assert size.cpu()[0].tolist() == [432] * 64 + [406] * 6
    assert size.cpu()[4].tolist() == [132] * 64 + [106] * 6


@on_mps
def test_threadgroups_are_whole():
    group, size = (torch.zeros(4, 64, dtype=torch.uint32).to("mps") for _ in range(2))
    library().positions(group, size, 64, threadgroups=(2, 2), group_size=(32, 2))
    assert group.cpu()[3].tolist() == [100] * 32 + [101] * 32
    assert set(size.cpu().flatten().tolist()) == {232}


@on_mps
def test_a_grid_without_threads_runs_nothing():
    y = torch.ones(4).to("mps")
    library().axpy(y, y, 1.0, threads=0)
    assert y.cpu().tolist() == [1.0] * 4


@on_mps
def test_threadgroup_memory_has_the_size_that_was_asked_for():
    x = torch.arange(128.0)
    y = torch.zeros(128).to("mps")
    library().reverse_groups(
        y, x.to("mps"), threads=128, group_size=64, threadgroup_memory={0: 64 * 4}
    )
    assert torch.equal(y.cpu(), x.view(2, 64).flip(1).flatten())


@on_mps
def test_function_constants_specialise_a_kernel():
    y = torch.zeros(4).to("mps")
    kernel = library().specialised
    kernel(y, constants={"offset": -1, "factor": 0.25, "negate": False})
    assert y.cpu().tolist() == [-0.25, 0.0, 0.25, 0.5]
    kernel(y, constants={"offset": 10, "factor": 1.0, "negate": True})
    assert y.cpu().tolist() == [-10.0, -11.0, -12.0, -13.0]


@on_mps
def test_vectors_specialise_a_kernel():
    y = torch.zeros(9).to("mps")
    values = {"direction": [0.5, -2, 3], 11: (7, 65536), "chosen": [True, False, True, True]}
    library().specialised_by_vectors(y, constants=values)
    assert y.cpu().tolist() == [0.5, -2, 3, 7, 65536, 1, 0, 1, 1]


@on_mps
def test_structs_beyond_what_metal_takes_by_value_go_through_a_buffer():
    y = torch.zeros(1500).to("mps")
    table = torch.arange(1500.0)
    library().look_up(y, table.numpy().tobytes())
    assert torch.equal(y.cpu(), table)


@on_mps
def test_a_tensor_without_elements_may_be_bound():
    y = torch.zeros(3).to("mps")
    library().fill_if_any(y, torch.zeros(0).to("mps"), 0)
    assert y.cpu().tolist() == [7.0, 7.0, 7.0]


@on_mps
def test_dispatches_run_in_the_order_of_torchs_operators():
    axpy = library().axpy
    y = torch.zeros(100).to("mps")
    one = torch.ones(100).to("mps")
    for _ in range(20):
        axpy(y, one, 1.0)
    y *= 2
    axpy(y, y, 1.0)
    assert y.cpu().tolist() == [80.0] * 100


@on_mps
def test_the_library_of_operations_runs_on_mps():
    a, b, bias = torch.randn(33, 20), torch.randn(20, 47), torch.randn(47)
    gemm = metalgen.ops.fused_gemm(a.to("mps"), b.to("mps"), bias=bias.to("mps"), activation="relu")
    torch.testing.assert_close(gemm.cpu(), torch.relu(a @ b + bias))
    rows = metalgen.ops.softmax(a.to("mps"))
    torch.testing.assert_close(rows.cpu(), torch.softmax(a, -1))


@on_mps
def test_a_launch_plan_runs_on_mps():
    plan = {
        "buffers": {"doubled": {"dtype": "x.dtype", "shape": "x.shape"}},
        "outputs": {"y": {"dtype": "x.dtype", "shape": "x.shape"}},
        "steps": [
            {"kernel": "twice_float32", "args": ["doubled", "x"], "threads": ["x.numel()"]},
            {"kernel": "twice_float32", "args": ["y", "doubled"], "threads": ["x.numel()"]},
        ],
    }
    x = torch.randn(300)
    outputs = metalgen.plan.run_plan(metalgen.plan.parse_plan(plan), library(), {"x": x.to("mps")})
    assert outputs["y"].is_mps
    assert torch.equal(outputs["y"].cpu(), 4 * x)


@on_soft_mps
def test_the_apple_gpu_is_listed_first():
    first, *_ = metalgen.device.available()
    assert (first.name, first.tensors) == ("Software Metal", "mps")
    assert metalgen.device.open_device("mps").family == "Apple9, Metal 3"
