"""Quick code and optimised code of a kernel compute the same, bit for bit, fast maths included."""

from __future__ import annotations

import pytest
import torch
from apple_metallib import apple_metallib

from metalgen import load_metallib, resources
from metalgen.compiler import compile_source
from metalgen.ops.library import recorded
from metalgen.ops.sample_table import samples

_HEAD = """
    #include <metal_stdlib>
    using namespace metal;
    kernel void f(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                  device const int* n [[buffer(2)]], uint i [[thread_position_in_grid]],
                  uint t [[thread_index_in_threadgroup]]) {
"""
# Bodies that give LLVM every choice that fast maths allows it.
BODIES = {
    "sums of products": """
        float s = 0;
        for (int j = 0; j < 8; ++j) s += x[i + j] * x[i * j % 999 + 900];
        y[i] = s * x[i] - s * s;
    """,
    "quotients by one divisor": """
        float s = 1;
        for (int j = 0; j < 9; ++j) s += x[i + j];
        float4 v = float4(x[i], x[i + 1], x[i + 2], x[i + 3]) / s;
        y[i] = v.x * 2 + v.y * v.z - v.w + x[i] / s;
    """,
    "a polynomial": """
        float a = x[i];
        y[i] = ((a * 0.3f + 0.1f) * a - 0.7f) * a + 1 - a * a * a / (a + 3) + tanh(a * 0.79f);
    """,
    "half": """
        half a = x[i], b = x[i + 1], s = 0;
        for (int j = 0; j < 5; ++j) s += a * b + s * half(0.3);
        y[i] = s / b;
    """,
    "vectors": """
        float4 a = float4(x[i], x[i + 1], x[i + 2], x[i + 3]), b = a.wxyz + 1;
        float4 c = a * b + b * b - a * dot(a, b) / length(b) + mix(a, b, 0.3f) + normalize(a);
        half3 h = half3(a.xyz);
        y[i] = c.x + c.y * c.z - c.w + dot(h, h.zxy);
    """,
    "complex numbers": """
        float2 a = float2(x[i], x[i + 1]), c = a;
        for (int j = 0; j < 6; ++j) c = float2(c.x * c.x - c.y * c.y + a.x, 2 * c.x * c.y + a.y);
        y[i] = c.x / (c.y + 1);
    """,
    "a softmax across lanes": """
        float m = simd_max(x[i]), s = simd_sum(exp(x[i] - m));
        y[i] = exp(x[i] - m) / s;
    """,
    "threadgroup memory": """
        threadgroup float part[8];
        float s = simd_sum(x[i] * x[i]);
        if (t % 32 == 0) part[t / 32] = s;
        threadgroup_barrier(mem_flags::mem_threadgroup);
        y[i] = x[i] * rsqrt((part[0] + part[1]) / 64 + 1e-5f) * x[i + 1] + x[i + 2];
    """,
    "divisions by zero": """
        int a = n[i], b = n[i + 1] % 3;
        uint c = a, d = b;
        y[i] = a / b + a % b * 3 + a / (b - 2) + int(c / d % 1000) + int(c % d);
        y[i] += short(a) / short(b - 1) + char(a) % char(b);
    """,
}


def bits(tensor):
    """Equal where tensors are equal to the bit; the bits of a NaN LLVM leaves open."""
    if tensor.is_floating_point():
        tensor = torch.where(tensor.isnan(), torch.nan, tensor)
    whole = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.contiguous().view(whole[tensor.element_size()])


def in_both(monkeypatch, run):
    """What `run` returns, its kernels being quick, then optimised."""
    monkeypatch.setenv("METALGEN_TIERS", "quick")
    quick = run()
    monkeypatch.setenv("METALGEN_TIERS", "off")
    return zip(quick, run(), strict=True)


@pytest.mark.parametrize("group_size", [64, 17])
@pytest.mark.parametrize("body", BODIES)
def test_kernels_of_fast_maths_agree(body, group_size, monkeypatch):
    metallib = compile_source(f"{_HEAD}{BODIES[body]}}}")

    def run():
        generator = torch.Generator().manual_seed(1)
        x, y = torch.randn(2, 2000, generator=generator).abs()
        n = torch.randint(-50, 50, (2000,), generator=generator).int()
        load_metallib(metallib).f(x, y, n, threads=500, group_size=group_size)
        return (y,)

    for quick, optimised in in_both(monkeypatch, run):
        assert torch.equal(bits(quick), bits(optimised))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("sample", {s.operation: s for s in samples()}.values(), ids=str)
def test_the_kernel_library_agrees(sample, dtype, monkeypatch):
    def run():
        library = load_metallib(resources.metallib())
        with recorded() as calls:
            results = sample.run(sample.make(dtype))
        for call in calls:
            library.kernel(call.kernel.info.name)(*call.arguments, **call.keywords)
        return results

    for quick, optimised in in_both(monkeypatch, run):
        assert torch.equal(bits(quick), bits(optimised))


def test_quantised_products_of_apples_compiler_agree(monkeypatch):
    metallib = load_metallib(apple_metallib()).metallib
    rows, width, outputs = 32, 128, 32
    name = "affine_qmm_t_float_gs_64_b_4_alN_true_batch_0"

    def run():
        generator = torch.Generator().manual_seed(1)
        weight = torch.randint(-(2**31), 2**31, (outputs, width // 8), generator=generator).int()
        scales, biases = torch.randn(2, outputs, width // 64, generator=generator)
        x, y = torch.randn(rows, width, generator=generator), torch.zeros(rows, outputs)
        kernel = load_metallib(apple_metallib()).kernel(name)
        unused = [bytes(8) for _ in kernel.info.buffers[8:]]
        arguments = (weight, scales, biases, x, y, width, outputs, rows, *unused)
        kernel(*arguments, threadgroups=(1, 1, 1), group_size=(32, 2, 2))
        return (y,)

    assert name in metallib.names
    for quick, optimised in in_both(monkeypatch, run):
        assert quick.abs().sum() > 0
        assert torch.equal(bits(quick), bits(optimised))
