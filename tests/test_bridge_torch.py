"""torch.mps.load_metallib as a second way to the GPU: what it computes is what the first does."""

from __future__ import annotations

import functools
import os
import sys

import pytest
import torch
from apple.soft_mps import on_mps, on_soft_mps

import metalgen
from metalgen import device
from metalgen.errors import LaunchError, ToolchainError, UnsupportedError
from metalgen.torch_device import TorchDevice

KERNELS = """
#include <metal_stdlib>
using namespace metal;

struct Line { float slope; packed_float3 shift; uint count; };
kernel void lines(device float* y [[buffer(0)]], device const half* x [[buffer(1)]],
                  constant Line& line [[buffer(2)]], constant int* table [[buffer(4)]],
                  uint2 at [[thread_position_in_grid]], uint2 grid [[threads_per_grid]]) {
  const uint i = at.y * grid.x + at.x;
  if (i < line.count) y[i] = line.slope * float(x[i]) + line.shift[i % 3] + table[i % 2];
}
kernel void twice(device float* y, device const float* x, uint i [[thread_position_in_grid]]) {
  y[i] = 2 * x[i];
}
kernel void place(device uint* y, uint i [[thread_position_in_grid]],
                  uint lane [[thread_position_in_threadgroup]],
                  uint group [[threadgroup_position_in_grid]]) {
  y[i] = group * 1000 + lane;
}
constant int amount [[function_constant(0)]];
kernel void stepped(device int* y, uint i [[thread_position_in_grid]]) { y[i] = amount; }
kernel void shared(device float* y, threadgroup float* a [[threadgroup(0)]],
                   uint i [[thread_position_in_grid]]) { a[i] = y[i]; y[i] = a[i]; }
"""


@functools.cache
def library():
    return metalgen.compile_shader(KERNELS)


def through_torch():
    """The same kernels by torch's own launches; on Linux a stand-in for torch's part of that."""
    if sys.platform == "linux":
        from apple import torch_library

        torch_library.install()
    elif not hasattr(torch.mps, "load_metallib"):
        pytest.skip("this torch cannot load metallibs: it came with 2.13")
    os.environ["METALGEN_MPS"] = "torch"
    device.open_device.cache_clear()
    assert isinstance(device.open_device("mps"), TorchDevice)
    return metalgen.compile_shader(KERNELS)


def both_ways(run):
    """What `run(library)` gives natively and through torch."""
    native = run(library())
    return native, run(through_torch())


@on_mps
def test_tensors_views_structs_and_arrays_reach_the_kernel_either_way():
    x = torch.randn(3, 40).half()

    def run(kernels):
        y = torch.zeros(4, 30).to("mps")
        there = x.to("mps")
        kernels.lines(y[1:], there[0, 5:35], (0.5, (1, 2, 3), 29), [10, 20], threads=(10, 3))
        return y.cpu()

    native, torchs = both_ways(run)
    i = torch.arange(30)
    expected = 0.5 * x[0, 5:35].float() + (i % 3 + 1) + torch.tensor([10, 20])[i % 2]
    torch.testing.assert_close(native[1, :29], expected[:29])
    assert torch.equal(native, torchs)


@on_mps
def test_both_ways_cut_a_grid_into_the_same_threadgroups():
    def run(kernels):
        y = torch.zeros(100, dtype=torch.int32).to("mps")
        kernels.place(y, threads=100, group_size=32)
        kernels.place(y, threadgroups=2, group_size=16)
        return y.cpu()

    native, torchs = both_ways(run)
    assert native[:32].tolist() == [*range(16), *range(1000, 1016)]
    assert torch.equal(native, torchs)


@on_mps
def test_a_plan_runs_through_torch_too():
    plan = {
        "buffers": {"a": {"dtype": "x.dtype", "shape": "x.shape"}},
        "outputs": {"y": {"dtype": "x.dtype", "shape": "x.shape"}},
        "steps": [
            {"kernel": "twice", "args": ["a", "x"], "threads": ["x.numel()"]},
            {"kernel": "twice", "args": ["y", "a"], "threads": ["x.numel()"]},
        ],
    }
    x = torch.randn(70)
    result = metalgen.plan.run_plan(
        metalgen.plan.parse_plan(plan), through_torch(), {"x": x.to("mps")}
    )
    torch.testing.assert_close(result["y"].cpu(), 4 * x)


@on_soft_mps
def test_it_really_goes_through_torch():
    from apple import torch_library

    x = torch.ones(8).to("mps")
    through_torch().twice(x, x)
    assert torch_library.LAUNCHED == ["twice"]


@on_mps
def test_what_torch_cannot_do_is_named():
    kernels = through_torch()
    y = torch.zeros(8).to("mps")
    with pytest.raises(UnsupportedError, match=r"function constants.*unset METALGEN_MPS"):
        kernels.stepped(y.int(), constants={"amount": 1})
    with pytest.raises(UnsupportedError, match="dynamic threadgroup memory"):
        kernels.shared(y, threadgroup_memory={0: 32})
    with pytest.raises(LaunchError, match=r"expected torch.float32, found torch.int32"):
        kernels.twice(y.int(), y)


def test_a_machine_without_mps_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ToolchainError, match=r"it needs a Mac and torch 2.13"):
        TorchDevice()


def test_an_unknown_way_is_refused(monkeypatch):
    monkeypatch.setenv("METALGEN_MPS", "vulkan")
    with pytest.raises(ToolchainError, match="METALGEN_MPS is 'vulkan', expected 'native' or"):
        device.open_device.__wrapped__("mps")
