"""The same sources through Apple's compiler and ours: the kernels of the mlx-metal wheel.

The wheel holds what Apple's compiler made and the headers it was made from.
"""

from __future__ import annotations

import pytest
import torch
from apple_metallib import apple_metallib, kernel_headers

import metalgen
from metalgen.air import Metallib
from metalgen.compiler import CompileOptions

KERNELS = "mlx/backend/metal/kernels"
INSTANTIATE = """
#define instantiate(name, func, ...) \\
  template [[host_name(name)]] [[kernel]] decltype(func<__VA_ARGS__>) func<__VA_ARGS__>;
"""
SOURCES = {
    "softmax": (
        ["utils.h", "softmax.h"],
        {
            "block_softmax_float32": "softmax_single_row, float",
            "looped_softmax_bfloat16": "softmax_looped, bfloat16_t",
            "block_softmax_precise_float16": "softmax_single_row, half, float",
        },
    ),
    "gemv": (
        ["utils.h", "steel/utils.h", "gemv.h"],
        {
            "gemv_wide_float16_nv4_kl16": "gemv_wide, half, 4, 16",
            "gemv_float32_bm1_bn8_sm1_sn32_tm4_tn4_nc1_axpby1": (
                "gemv, float, 1, 8, 1, 32, 4, 4, 1, 1"
            ),
        },
    ),
    "attention": (
        ["utils.h", "sdpa_vector.h"],
        {"sdpa_vector_float_64_64": "sdpa_vector, float, 64, 64"},
    ),
    "unary": (
        ["utils.h", "unary_ops.h", "unary.h"],
        {
            "v_Erfbfloat16bfloat16": "unary_v, bfloat16_t, bfloat16_t, Erf, 1",
            "v_Abscomplex64complex64": "unary_v, complex64_t, complex64_t, Abs, 1",
        },
    ),
    "reductions": (
        ["defines.h", "utils.h", "atomic.h", "reduction/ops.h", "reduce.h"],
        {
            "row_reduce_simple_sumfloat32": "row_reduce_simple, float, float, Sum<float>",
            "all_reduce_sumfloat32": "all_reduce, float, float, Sum<float>",
        },
    ),
    "order": (
        ["defines.h", "utils.h", "binary_ops.h", "scan.h", "sort.h"],
        {
            "c_block_sort_float32_float32_bn128_tn4": "block_sort, float, float, false, 128, 4",
            "contig_scan_inclusive_sum_float32_float32": (
                "contiguous_scan, float, float, CumSum<float>, 4, true, false"
            ),
        },
    ),
    "quantized": (
        ["utils.h", "steel/gemm/gemm.h", "quantized_utils.h", "quantized.h"],
        {
            "affine_qmv_fast_float_gs_64_b_4_batch_0_pr_0_hgs_0_r_4": (
                "affine_qmv_fast, float, 64, 4, false"
            )
        },
    ),
    "attention of many": (
        ["utils.h", "steel/attn/kernels/steel_attention.h"],
        {
            "steel_attention_float32_bq32_bk32_bd64_bv64_wm4_wn1_maskfloat32": (
                "attention, float, 32, 32, 64, 64, 4, 1, float, float"
            )
        },
    ),
    "gemm": (
        ["utils.h", "steel/gemm/gemm.h", "steel/gemm/kernels/steel_gemm_fused.h"],
        {
            "steel_gemm_fused_nn_float32_float32_bm32_bn32_bk16_wm2_wn2": (
                "gemm, float, 32, 32, 16, 2, 2, false, false"
            )
        },
    ),
    "steel_attention": (
        ["utils.h", "steel/attn/kernels/steel_attention.h"],
        {
            "steel_attention_float32_bq32_bk16_bd128_bv128_wm4_wn1_maskbool_": (
                "attention, float, 32, 16, 128, 128, 4, 1, bool, float"
            )
        },
    ),
    "fft": (
        ["utils.h", "fft.h"],
        {
            "fft_mem_256_float2_float2": "fft, 256, float2, float2",
            "four_step_mem_256_float2_float2_0_false": "four_step_fft, 256, float2, float2, 0",
        },
    ),
    "scan": (
        ["utils.h", "binary_ops.h", "scan.h"],
        {
            "contig_scan_reverse_inclusive_prod_int64_int64": (
                "contiguous_scan, int64_t, int64_t, CumProd<int64_t>, 2, true, true"
            ),
            "strided_scan_exclusive_max_float32_float32": (
                "strided_scan, float, float, CumMax<float>, 4, false, false"
            ),
        },
    ),
    "reduce": (
        ["utils.h", "atomic.h", "reduction/ops.h", "reduce.h"],
        {
            "all_reduce_sumfloat32": "all_reduce, float, float, Sum<float>, int64_t",
            "row_reduce_looped_1_reduce_maxfloat32": (
                "row_reduce_looped, float, float, Max<float>, int, 1"
            ),
            "col_reduce_small_1_reduce_sumfloat16": (
                "col_reduce_small, half, half, Sum<half>, int, 1"
            ),
        },
    ),
    "sort": (
        ["utils.h", "sort.h"],
        {
            "carg_block_sort_float32_uint32_bn64_tn4": "block_sort, float, uint, true, 64, 4",
            "merge_mbsort_float32_uint32_bn512_tn4": ("mb_block_merge, float, uint, true, 512, 4"),
        },
    ),
    "quantised_products": (
        ["utils.h", "steel/gemm/gemm.h", "quantized_utils.h", "quantized.h"],
        {
            "affine_qmm_t_float16_t_gs_64_b_4_alN_true_batch_0": (
                "affine_qmm_t, half, 64, 4, true, false"
            ),
            "affine_quantize_bfloat16_t_gs_64_b_6": "affine_quantize, bfloat16_t, 64, 6",
        },
    ),
    "ternary": (
        ["utils.h", "ternary_ops.h", "ternary.h"],
        {"v_Selectfloat32": "ternary_v, float, Select, false, false, 1"},
    ),
    "binary": (
        ["utils.h", "binary_ops.h", "binary.h"],
        {
            "vv_Powercomplex64": "binary_vv, complex64_t, complex64_t, Power, 1",
            "ss_ArcTan2bfloat16": "binary_ss, bfloat16_t, bfloat16_t, ArcTan2",
        },
    ),
    "arange": (["utils.h", "arange.h"], {"arangeuint8": "arange, uint8_t"}),
    "logsumexp": (
        ["utils.h", "logsumexp.h"],
        {"looped_logsumexp_float16": "logsumexp_looped, half"},
    ),
}


@pytest.fixture(scope="module")
def headers():
    return kernel_headers()


def library(family, headers):
    files, instances = SOURCES[family]
    lines = ["#include <metal_stdlib>", "#include <metal_simdgroup>", "using namespace metal;"]
    lines += [f'#include "{KERNELS}/{file}"' for file in files]
    lines += [INSTANTIATE, *(f'instantiate("{name}", {what})' for name, what in instances.items())]
    options = CompileOptions(math="safe")  # as these kernels were
    return metalgen.compile_shader(
        "\n".join(lines), name=family, include_dirs=[headers], options=options
    )


@pytest.mark.parametrize("family", SOURCES)
def test_kernels_describe_themselves_as_apples_compiler_would(family, headers):
    apple = Metallib.open(apple_metallib())
    ours = library(family, headers)
    for name in SOURCES[family][1]:
        assert getattr(ours, name).info == apple.kernel(name)


@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [
        ("block_softmax_float32", torch.float32, 1e-7),
        ("looped_softmax_bfloat16", torch.bfloat16, 4e-3),
        ("block_softmax_precise_float16", torch.float16, 5e-4),
    ],
)
def test_softmax_computes_what_apples_kernel_computes(name, dtype, tolerance, headers):
    x = torch.randn(3, 700).to(dtype)
    results = []
    for source in (library("softmax", headers), metalgen.load_metallib(apple_metallib())):
        y = torch.zeros_like(x)
        getattr(source, name)(x, y, x.shape[1], threadgroups=3, group_size=1024)
        results.append(y.float())
    torch.testing.assert_close(results[0], results[1], atol=tolerance, rtol=0)
    torch.testing.assert_close(results[0], torch.softmax(x.float(), -1), atol=2 * tolerance, rtol=0)


def test_complex_numbers_are_raised_to_powers_as_apples_kernel_does(headers):
    a, b = torch.randn(64, dtype=torch.complex64), torch.randn(64, dtype=torch.complex64)
    results = []
    for source in (library("binary", headers), metalgen.load_metallib(apple_metallib())):
        c = torch.zeros(64, 2)
        views = [torch.view_as_real(tensor) for tensor in (a, b)]
        source.vv_Powercomplex64(*views, c, 64, threads=64)
        results.append(torch.view_as_complex(c))
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[0], a**b, atol=1e-3, rtol=1e-4)


def test_running_maxima_down_columns_are_those_of_apples_kernel(headers):
    x = torch.randn(40, 64)
    results = []
    for source in (library("scan", headers), metalgen.load_metallib(apple_metallib())):
        y = torch.zeros_like(x)
        kernel = source.strided_scan_exclusive_max_float32_float32
        kernel(x, y, 40, 64, 2, threadgroups=(1, 2), group_size=256)
        results.append(y)
    assert torch.equal(*results)
