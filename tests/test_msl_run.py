"""Metal source, compiled by metalgen and run on the software device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import metalgen
from metalgen.compiler import CompileOptions

SOURCES = Path(__file__).parent / "msl"


def library(name):
    source = (SOURCES / f"{name}.metal").read_text()
    options = CompileOptions(standard="metal4.0")  # some have lambdas
    return metalgen.compile_shader(source, name=f"{name}.metal", options=options)


def test_threadgroup_variables_keep_their_own_storage_wherever_they_are_declared():
    x = torch.arange(32, dtype=torch.float32) + 1
    y = torch.zeros(129)
    library("threadgroup_storage").storage(x, y, threads=32, group_size=32)
    lane = torch.arange(32)
    assert torch.equal(y[:32], 6 * x.flip(0))
    assert torch.equal(y[32:64], x[(lane + 1) % 32])
    assert torch.equal(y[64:96], ((lane + 5) % 32).float())
    assert torch.equal(y[96:128], torch.full((32,), 4.0))
    assert y[128] == 4


@pytest.mark.parametrize("has_bias", [True, False])
def test_function_constants_decide_what_a_kernel_computes(has_bias):
    x, bias, y = torch.arange(5.0), torch.ones(5), torch.zeros(5)
    affine = getattr(library("function_constants"), "shifted::affine")
    affine(x, bias, y, threads=5, constants={"has_bias": has_bias, "scale": 1.5})
    assert torch.equal(y, x * 3 + 1 if has_bias else x * 1.5)


@pytest.mark.parametrize(
    ("name", "dtype", "count"), [("fill_float", torch.float32, 1), ("fill_half_4", torch.half, 4)]
)
def test_template_kernels_run_under_their_host_names(name, dtype, count):
    out = torch.zeros(3 * count, dtype=dtype)
    getattr(library("host_names"), name)(out, 7, threads=3)
    assert torch.equal(out, 7 + torch.arange(count, dtype=dtype).repeat(3))


@pytest.mark.parametrize(
    ("name", "value"),
    [("renamed", 1), ("one::two::nested", 2), ("three", 3), ("four", 4), ("declared", 5)],
)
def test_plain_kernels_run_under_their_qualified_names(name, value):
    out = torch.zeros(4)
    getattr(library("host_names"), name)(out, threads=4)
    assert torch.equal(out, torch.full((4,), float(value)))


def test_objects_in_every_address_space_have_members_copies_and_constructors():
    y, w = torch.zeros(10), torch.zeros(1, 4)
    params = np.array([3], "i4").tobytes() + np.array([0.5, 0.25, 2], "f4").tobytes()
    library("address_spaces").spaces(y, params, w, torch.zeros(4), threads=1)
    expected = [9.5, 6.25, 6, 3, 7, 9, 9, 4321, 5 + 4 + 8 + 20, 1 + 7 + 37]
    assert y.tolist() == expected


def test_a_function_constant_that_is_not_given_is_not_defined():
    x, bias, y = torch.arange(5.0), torch.ones(5), torch.zeros(5)
    affine = getattr(library("function_constants"), "shifted::affine")
    affine(x, bias, y, threads=5, constants={"has_bias": False})
    assert torch.equal(y, x * 0.25)


def test_casts_components_and_indices_that_clang_needs_help_with_compute_right():
    x = torch.tensor([0.5, 1.25, -3], dtype=torch.half)
    y, z, free = torch.zeros(3, dtype=torch.bfloat16), torch.zeros(1), torch.zeros(1)
    w = torch.tensor([1.0, 2.0, 3.0])
    library("templates").expressions(w, y, x, free, z, threads=3)  # in the order of indices
    assert torch.equal(y.float(), 3 * x.float())
    assert z.item() == (1 + 0.5 + 1) + (2 - 1.5)
    assert free.item() == 4


def test_maths_and_ternaries_take_vectors_read_from_device_memory():
    library = metalgen.compile_shader("""
        #include <metal_stdlib>
        using namespace metal;
        kernel void silu(device const float4* x, device float4* y, constant uint& n,
                         uint i [[thread_position_in_grid]]) {
          const float4 value = i < n ? x[i] : float4(0);
          y[i] = value / (1 + exp(-value));
        }
    """)
    x, y = torch.randn(64), torch.ones(64)
    library.silu(x, y, 12, threads=16)
    torch.testing.assert_close(y[:48], torch.nn.functional.silu(x[:48]))
    assert torch.equal(y[48:], torch.zeros(16))


def test_conditional_operators_choose_between_memories():
    x, c = torch.randn(4, 4), torch.randn(4, 4)
    p = np.array([(k + 0.5, k) for k in range(4)], dtype=[("a", "f4"), ("b", "i4")])
    y = torch.zeros(12, 4)
    pairs = torch.from_numpy(p.view("f4").copy())
    library("choices").choose(x, y, c, pairs, p[2].tobytes(), threads=4, group_size=4)
    zero = torch.zeros(4)
    outside = torch.stack([x[0], x[1], zero, zero])
    assert torch.equal(y[:4], outside.clamp(min=-1))
    nested = torch.stack([10 * x[0], x[1], c[2], c[3]])
    first = torch.stack([2 * c[0], 2 * c[1], 2 * c[2], torch.ones(4)])
    mixed = torch.stack([x[0], x[1], zero, zero])
    torch.testing.assert_close(y[4:8], outside + nested + mixed + first)
    assert y[8:, 0].tolist() == [3.5, 3.5, 3.5, 6.5 + 4.5]


def test_a_constant_that_only_a_parameter_depends_on_can_be_given():
    library = metalgen.compile_shader("""
        #include <metal_stdlib>
        using namespace metal;
        constant bool extra [[function_constant(4)]];
        kernel void copy(device float* y, device const float* x,
                         device float* unused [[function_constant(extra)]],
                         uint i [[thread_position_in_grid]]) { y[i] = x[i]; }
    """)
    x, y, unused = torch.randn(5), torch.zeros(5), torch.zeros(1)
    library.copy(y, x, unused, threads=5, constants={"extra": True})
    assert torch.equal(y, x)


def test_conditions_on_array_elements_in_templates_are_no_parameters():
    library = metalgen.compile_shader("""
        #include <metal_stdlib>
        using namespace metal;
        template <typename T> T first_above(constant T* values, T limit) {
          int i = 0;
          while (limit >= values[i]) ++i;
          if (i >= values[0]) return values[i];
          return limit;
        }
        kernel void k(device float* y, constant float* x) { y[0] = first_above(x, 2.0f); }
    """)
    y = torch.zeros(1)
    library.k(y, torch.tensor([0.0, 1.0, 2.0, 5.0]), threads=1)
    assert y.item() == 5
