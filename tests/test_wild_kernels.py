"""Kernels as people and models write them, each compiled, run and compared with PyTorch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional

import metalgen
from metalgen.compiler import CompileOptions

SOURCES = Path(__file__).parent / "msl" / "wild"


def library(name, standard="metal3.2"):
    options = CompileOptions(standard=standard)
    return metalgen.compile_shader((SOURCES / f"{name}.metal").read_text(), options=options)


def check(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_softmax_in_one_pass_computes_what_pytorch_computes():
    lib = library("softmax_in_one_pass")
    x = torch.randn(5, 300)
    y = torch.empty_like(x)
    lib.f(x, y, 300, threads=5 * 128, group_size=128)
    check(y, torch.softmax(x, 1))


def test_gemm_tiled_computes_what_pytorch_computes():
    lib = library("gemm_tiled")
    a = torch.randn(37, 50)
    b = torch.randn(50, 41)
    c = torch.empty(37, 41)
    lib.f(a, b, c, [37, 41, 50], threads=(48, 48), group_size=(16, 16))
    check(c, a @ b)


def test_gemm_simdgroup_computes_what_pytorch_computes():
    lib = library("gemm_simdgroup")
    a = torch.randn(64, 40).half()
    b = torch.randn(40, 32).half()
    c = torch.zeros(64, 32).half()
    lib.f(a, b, c, 64, 32, 40, threads=(128, 2), group_size=(128, 1))
    check(c, (a.float() @ b.float()).half(), 2e-2)


def test_attention_blocks_computes_what_pytorch_computes():
    lib = library("attention_blocks")
    q, k, v = [torch.randn(2, 50, 32) for _ in range(3)]
    o = torch.empty(2, 50, 32)
    lib.f(q, k, v, o, 50, 32**-0.5, threads=(64, 2), group_size=(32, 1))
    check(o, functional.scaled_dot_product_attention(q, k, v))


def test_unary_strided_computes_what_pytorch_computes():
    lib = library("unary_strided")
    x = torch.randn(6, 5)
    y = torch.empty(30)
    lib.f(30, x.contiguous(), y, threads=32)
    check(y, functional.gelu(x).ravel(), 1e-4)
    lib.f_strided(30, 2, torch.tensor([5, 6]), torch.tensor([1, 5]), x, y, threads=30)
    check(y, functional.gelu(x).t().ravel(), 1e-4)


def test_quantize_nf4_computes_what_pytorch_computes():
    lib = library("quantize_nf4")
    x = torch.randn(128)
    q = torch.zeros(64, dtype=torch.uint8)
    m = torch.zeros(2)
    lib.f(x, q, m, 64, threads=2, group_size=2)
    y = torch.empty(128)
    lib.dq(q, m, y, 64, threads=128)
    assert (x - y).abs().max() < 0.4 * m.max(), (x - y).abs().max()


def test_layer_norm_welford_computes_what_pytorch_computes():
    lib = library("layer_norm_welford")
    x = torch.randn(3, 500)
    g = torch.randn(500)
    b = torch.randn(500)
    y = torch.empty_like(x)
    lib.f(x, g, b, y, 500, 1e-5, threads=3 * 128, group_size=128)
    check(y, functional.layer_norm(x, (500,), g, b), 1e-4)


def test_convolution_direct_computes_what_pytorch_computes():
    lib = library("convolution_direct")
    x = torch.randn(2, 3, 9, 10)
    w = torch.randn(4, 3, 3, 3)
    b = torch.randn(4)
    y = torch.empty(2, 4, 5, 5)
    lib.f(x, w, b, y, [2, 3, 9, 10, 4, 3, 3, 2, 1, 5, 5], threads=(8, 8, 8), group_size=(8, 8, 1))
    check(y, torch.relu(functional.conv2d(x, w, b, 2, 1)), 1e-4)


def test_histogram_computes_what_pytorch_computes():
    lib = library("histogram")
    d = torch.randint(0, 256, (5000,), dtype=torch.uint8)
    h = torch.zeros(256, dtype=torch.int32)
    lib.f(d, h, 5000, threads=512, group_size=128)
    check(h, torch.bincount(d.int(), minlength=256).int())


def test_bitonic_step_computes_what_pytorch_computes():
    lib = library("bitonic_step")
    x = torch.randn(256)
    e = x.sort().values
    k = 2
    while k <= 256:
        j = k // 2
        while j:
            lib.f(x, k, j, threads=256)
            j //= 2
        k *= 2
    check(x, e)


def test_scan_doubling_computes_what_pytorch_computes():
    lib = library("scan_doubling")
    x = torch.randn(256)
    e = x.cumsum(0)
    lib.f(x, threads=256, group_size=256, threadgroup_memory={0: 1024})
    check(x, e, 1e-4)


def test_rotary_half4_computes_what_pytorch_computes():
    lib = library("rotary_half4")
    x = torch.randn(3, 8).half()
    ang = torch.randn(3, 4)
    cs = torch.stack([ang.cos(), ang.sin()], -1).contiguous()
    xf = torch.view_as_complex(x.float().reshape(3, 4, 2))
    e = torch.view_as_real(xf * torch.polar(torch.ones(3, 4), ang)).reshape(3, 8).half()
    lib.f(x, cs, 4, threads=(2, 3))
    check(x, e, 1e-2)


def test_rows_q4_0_computes_what_pytorch_computes():
    lib = library("rows_q4_0")
    raw = torch.randint(0, 256, (18 * 2,), dtype=torch.uint8)
    raw[0:2] = torch.tensor([0, 60], dtype=torch.uint8)
    raw[18:20] = torch.tensor([0, 64], dtype=torch.uint8)
    y = torch.empty(64)
    lib.f(raw, y, threads=4)
    e = []
    for b, dv in ((0, 1.0), (18, 2.0)):
        qs = raw[b + 2 : b + 18].int()
        e += [((qs & 15) - 8) * dv, ((qs >> 4) - 8) * dv]
    check(y, torch.cat(e).float())


def test_strided_struct_computes_what_pytorch_computes():
    lib = library("strided_struct")
    x = torch.zeros(4)
    lib.f_float(x, [[1, 2, 3], 2, [10, 20, 30, 40]], torch.ones(4), [5], threads=4)
    check(x, torch.tensor([18.0, 28, 18, 28]))


def test_log_softmax_functors_computes_what_pytorch_computes():
    lib = library("log_softmax_functors")
    x = torch.randn(128)
    y = torch.empty(128)
    lib.f(x, y, threads=128, group_size=128)
    check(y, torch.log_softmax(x, 0), 1e-5)


def test_complex_numbers_computes_what_pytorch_computes():
    lib = library("complex_numbers")
    x = torch.randn(5, dtype=torch.complex64)
    e = (x * x + 1) * 2
    lib.f(x, threads=5)
    check(torch.view_as_real(x), torch.view_as_real(e), 1e-5)


def test_philox_computes_what_pytorch_computes():
    lib = library("philox")
    o = torch.empty(64, 4)
    lib.f(o, 1234, threads=64)
    assert o.min() >= 0
    assert o.max() < 1
    assert abs(o.mean() - 0.5) < 0.08


def test_packed_and_matrix_computes_what_pytorch_computes():
    lib = library("packed_and_matrix")
    x = torch.randn(4, 3)
    m = torch.randn(3, 3)
    mm = torch.zeros(3, 4)
    mm[:, :3] = m.t()
    y = torch.zeros(4, 4)
    lib.f(x, y, mm, threads=4)
    e = (
        x @ m.t()
        + x.flip(1) * torch.stack([x[:, 0], x[:, 0], torch.ones(4)], 1)
        + x / x.norm(dim=1, keepdim=True)
    )
    check(y[:, :3], e, 1e-4)


def test_top_indices_computes_what_pytorch_computes():
    lib = library("top_indices")
    x = torch.randn(32)
    o = torch.zeros(4, dtype=torch.int32)
    lib.f(x, o, threads=32, group_size=32)
    check(o, x.topk(4).indices.int())


def test_gru_cell_computes_what_pytorch_computes():
    lib = library("gru_cell", standard="metal4.0")  # it has a lambda
    hidden = 7
    batch = 3
    gi = torch.randn(batch, 3 * hidden)
    gh = torch.randn(batch, 3 * hidden)
    h = torch.randn(batch, hidden)
    o = torch.empty(batch, hidden)
    lib.f(gi, gh, h, o, hidden, threads=(8, 3))
    r = torch.sigmoid(gi[:, :hidden] + gh[:, :hidden])
    z = torch.sigmoid(gi[:, hidden : 2 * hidden] + gh[:, hidden : 2 * hidden])
    n = torch.tanh(gi[:, 2 * hidden :] + r * gh[:, 2 * hidden :])
    check(o, (1 - z) * n + z * h, 1e-5)


def test_max_pool_indices_computes_what_pytorch_computes():
    lib = library("max_pool_indices")
    x = torch.randn(2, 8, 8)
    y = torch.empty(2, 4, 4)
    i = torch.zeros(2, 4, 4, dtype=torch.int64)
    lib.f(x, y, i, [8, 8, 2, 2], threads=(4, 4, 2))
    e, ei = functional.max_pool2d(x, 2, 2, return_indices=True)
    check(y, e)
    check(i, ei)


def test_argmax_pairs_computes_what_pytorch_computes():
    lib = library("argmax_pairs")
    x = torch.randn(32)
    o = torch.zeros(1, dtype=torch.int32)
    lib.f(x, o, threads=32, group_size=32)
    check(o, x.argmax(keepdim=True).int())


def test_unrolled_template_computes_what_pytorch_computes():
    lib = library("unrolled_template")
    x = torch.randn(16)
    e = x * x
    lib.f(x, threads=4)
    check(x, e)


def test_dequantize_char4_computes_what_pytorch_computes():
    lib = library("dequantize_char4")
    q = torch.randint(-127, 127, (8, 4)).to(torch.int8)
    s = torch.rand(8).half()
    y = torch.empty(8, 4)
    lib.f(q, s, y, threads=8)
    e = q.float() * s.float()[:, None]
    e[:, 3] += (q[:, 3] < 0).float()
    check(y, e, 1e-4)


def test_recurrence_half_computes_what_pytorch_computes():
    lib = library("recurrence_half")
    a = torch.rand(10, 6).half()
    b = torch.randn(10, 6).half()
    h = torch.empty(10, 6).half()
    lib.f(a, b, h, [10, 6], threads=8)
    e = torch.zeros(6)
    for t in range(10):
        e = a[t].float() * e + b[t].float()
        check(h[t], e.half(), 1e-2)


def test_cross_entropy_computes_what_pytorch_computes():
    lib = library("cross_entropy")
    x = torch.randn(4, 50)
    t = torch.randint(0, 50, (4,))
    loss = torch.empty(4)
    lib.f(x, t, loss, 50, threads=128, group_size=32)
    check(loss, functional.cross_entropy(x, t, reduction="none"), 1e-5)


def test_last_threadgroup_computes_what_pytorch_computes():
    lib = library("last_threadgroup")
    x = torch.randn(128)
    s = torch.zeros(1)
    d = torch.zeros(1, dtype=torch.int32)
    o = torch.zeros(1)
    lib.f(x, s, d, o, threads=128, group_size=32)
    check(o[0], x.sum(), 1e-4)
