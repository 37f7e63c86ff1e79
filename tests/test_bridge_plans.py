"""The Apple backend on whole launch plans: one encoder, barriers, GPU times and complaints."""

from __future__ import annotations

import ctypes
import functools
import os
import time

import pytest
import torch
from apple.soft_mps import on_mps, on_soft_mps

import metalgen
from apple import build
from metalgen import device
from metalgen.errors import LaunchError
from metalgen.plan import compile_plan, kernels_of, parse_plan

KERNELS = """
#include <metal_stdlib>
using namespace metal;

kernel void twice(device float* y, device const float* x, uint i [[thread_position_in_grid]]) {
  y[i] = 2 * x[i];
}
kernel void add(device float* y, device const float* a, device const float* b,
                uint i [[thread_position_in_grid]]) {
  y[i] = a[i] + b[i];
}
kernel void slow(device float* y, uint i [[thread_position_in_grid]]) {
  float value = y[i];
  for (int step = 0; step < 20000; ++step) value = fma(value, 1.0001f, 0.25f);
  y[i] = value;
}
"""


@functools.cache
def library():
    return metalgen.compile_shader(KERNELS)


@functools.cache
def soft_metal():
    return ctypes.CDLL(str(build.metal()))


def like_x(*names):
    return {name: {"dtype": "x.dtype", "shape": "x.shape"} for name in names}


def step(kernel, *args):
    return {"kernel": kernel, "args": list(args), "threads": ["x.numel()"], "group_size": [32]}


def bound(*steps, buffers=()):
    plan = parse_plan({"buffers": like_x(*buffers), "outputs": like_x("y"), "steps": list(steps)})
    compiled = compile_plan(plan, kernels_of(library()), inputs=["x"])
    return compiled.bind(library(), {})


def chain():
    """4x + 2x through three intermediates."""
    return bound(
        step("twice", "a", "x"),
        step("twice", "b", "x"),
        step("twice", "c", "a"),
        step("add", "y", "c", "b"),
        buffers="abc",
    )


@on_mps
def test_steps_that_depend_on_one_another_compute_in_their_order():
    x = torch.randn(300)
    torch.testing.assert_close(chain()(x.to("mps")).cpu(), 6 * x)


@on_soft_mps
def test_steps_wait_for_one_another_where_torchs_encoder_lets_them_overlap():
    soft_metal().soft_overlap(True)
    x = torch.randn(300)
    plan = chain()
    for _ in range(3):
        torch.testing.assert_close(plan(x.to("mps")).cpu(), 6 * x)


@on_soft_mps
def test_a_plan_waits_for_what_was_encoded_before_it():
    soft_metal().soft_overlap(True)
    x = torch.ones(100).to("mps")
    for _ in range(3):
        library().twice(x, x)
        library().twice(x, x)
    assert chain()(x).cpu().tolist() == [6 * 64.0] * 100


@on_soft_mps
def test_a_whole_plan_is_in_one_encoder_of_torchs():
    x = torch.ones(100).to("mps")
    device.open_device("mps").synchronize()
    before = soft_metal().soft_encoders_made()
    y = chain()(x)
    assert soft_metal().soft_encoders_made() == before + 1
    assert y.cpu().tolist() == [6.0] * 100


@on_soft_mps
def test_an_error_in_a_plan_says_which_step():
    plan = bound(step("twice", "a", "x"), step("add", "y", "a", "x"), buffers="a")
    with pytest.raises(LaunchError, match=r"^steps\[0\]: kernel 'twice': .*expected torch.float32"):
        plan(torch.ones(8, dtype=torch.int32).to("mps"))


def least_gpu_time(x):
    """Of several launches: a busy machine may interrupt some."""
    return min(device.gpu_time(lambda: library().slow(x)).seconds for _ in range(5))


@on_mps
def test_the_gpu_says_how_long_it_worked():
    few, many = (torch.ones(n).to("mps") for n in (1024, 1024 * 256))
    library().slow(few)
    started = time.monotonic()
    short, long = least_gpu_time(few), least_gpu_time(many)
    assert 0 < short < long < time.monotonic() - started


@on_mps
def test_what_was_dispatched_before_does_not_count():
    many = torch.ones(1024 * 256).to("mps")
    library().slow(many)
    alone, nothing = least_gpu_time(many), []
    for _ in range(5):
        library().slow(many)
        nothing.append(device.gpu_time(lambda: None).seconds)
    assert min(nothing) < alone / 2


def test_the_software_device_has_a_clock_too():
    x = torch.ones(1024)
    library().slow(x)
    started = time.monotonic()
    assert device.gpu_time(lambda: library().slow(x), "cpu").seconds > 0
    assert device.gpu_time(lambda: time.sleep(0.02), "cpu").seconds < time.monotonic() - started


@on_soft_mps
def test_a_fault_of_the_gpu_is_told_in_metals_words():
    x = torch.ones(64).to("mps")
    library().slow(x)
    soft_metal().soft_fail_next(
        b"Caused GPU Hang Error (00000003:kIOGPUCommandBufferCallbackError)"
    )
    with pytest.raises(LaunchError, match=r"^the GPU reports: Caused GPU Hang Error \(0+3:kIOGPU"):
        device.open_device("mps").synchronize()
    device.open_device("mps").synchronize()  # told once


@on_soft_mps
def test_every_finding_of_shader_validation_is_told():
    x = torch.ones(64).to("mps")
    soft_metal().soft_find_next(b"Invalid device store at offset 256, executing kernel 'slow'")
    soft_metal().soft_find_next(b"Invalid device load at offset 512, executing kernel 'slow'")
    message = "the GPU reports: Invalid device store .*\nInvalid device load at offset 512"
    with pytest.raises(LaunchError, match=message):
        device.gpu_time(lambda: library().slow(x))


@on_soft_mps
def test_with_shader_validation_findings_survive_torchs_own_commits():
    # Read when the device is opened, which no test before this one in its process did.
    os.environ["MTL_SHADER_VALIDATION"] = "1"
    device.open_device.cache_clear()
    x = torch.ones(64).to("mps")
    soft_metal().soft_find_next(b"Invalid device store at offset 256")
    metalgen.compile_shader(KERNELS).slow(x)
    x.cpu()  # commits
    with pytest.raises(LaunchError, match="Invalid device store at offset 256"):
        device.open_device("mps").synchronize()
