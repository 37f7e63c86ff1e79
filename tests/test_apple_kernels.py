"""Kernels compiled by Apple, run on the software device and held to what PyTorch computes."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from apple_metallib import apple_metallib
from threadgroups import Dispatcher

from metalgen import load_metallib
from metalgen.air import Metallib
from metalgen.software import translate


@pytest.fixture(scope="session")
def metallib():
    return Metallib.open(apple_metallib())


@pytest.fixture(params=["thread", "simdgroup"])
def strands(request):
    return request.param


class Kernels:
    """Apple's kernels by name, called with their buffers in order."""

    def __init__(self, metallib: Metallib, strands: str) -> None:
        self._metallib = metallib
        self._strands = strands

    def run(
        self,
        name: str,
        arguments: list[object] | Mapping[int, object],
        *,
        group_size: tuple[int, int, int],
        groups: tuple[int, int, int] | None = None,
        threads: tuple[int, int, int] | None = None,
        constants: Mapping[int | str, object] | None = None,
    ) -> None:
        whole = group_size[0] % 32 == 0 and (threads is None or threads[0] % group_size[0] == 0)
        kernel = translate(
            self._metallib.bitcode(name),
            name,
            constants,
            strands=self._strands,
            variant="full" if whole and self._strands == "simdgroup" else "any",
        )
        given = dict(enumerate(arguments)) if isinstance(arguments, list) else arguments
        buffers = {index: as_array(argument) for index, argument in given.items()}
        if threads is None:
            threads = tuple(g * s for g, s in zip(groups, group_size, strict=True))
        Dispatcher(kernel, buffers).run(threads, group_size)


def as_array(argument: object) -> np.ndarray:
    if isinstance(argument, torch.Tensor):
        if argument.dtype == torch.bfloat16:
            argument = argument.view(torch.int16)
        return argument.numpy()
    if isinstance(argument, ctypes.Structure):
        return np.frombuffer(argument, np.uint8)
    return np.asarray(argument)


@pytest.fixture
def kernels(metallib, strands):
    return Kernels(metallib, strands)


def i32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def f32(value: float) -> np.ndarray:
    return np.array([value], np.float32)


def whole_simdgroups(threads: int) -> int:
    return -(-threads // 32) * 32


@pytest.mark.parametrize("columns", [4, 150, 512, 4096])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_softmax_of_rows_that_fit_a_threadgroup(kernels, columns, dtype):
    x = torch.randn(3, columns, dtype=dtype)
    out = torch.empty_like(x)
    width = whole_simdgroups(-(-columns // 4))
    name = f"block_softmax_{str(dtype).removeprefix('torch.')}"
    kernels.run(name, [x, out, i32(columns)], group_size=(width, 1, 1), groups=(3, 1, 1))
    torch.testing.assert_close(out, x.softmax(-1))


def test_softmax_of_longer_rows(kernels):
    x = torch.randn(2, 9001)
    out = torch.empty_like(x)
    kernels.run(
        "looped_softmax_float32", [x, out, i32(9001)], group_size=(1024, 1, 1), groups=(2, 1, 1)
    )
    torch.testing.assert_close(out, x.softmax(-1))


@pytest.mark.parametrize("columns", [100, 1536])
def test_layer_norm(kernels, columns):
    x, weight, bias = torch.randn(5, columns), torch.randn(columns), torch.randn(columns)
    out = torch.empty_like(x)
    width = whole_simdgroups(-(-columns // 8))
    arguments = [x, weight, bias, out, f32(1e-5), i32(columns), i32(1), i32(1)]
    kernels.run("layer_normfloat32", arguments, group_size=(width, 1, 1), groups=(5, 1, 1))
    expected = torch.nn.functional.layer_norm(x, [columns], weight, bias, 1e-5)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_rms_norm(kernels, dtype):
    x, weight = torch.randn(5, 777, dtype=dtype), torch.randn(777, dtype=dtype)
    out = torch.empty_like(x)
    name = f"rms{str(dtype).removeprefix('torch.')}"
    arguments = [x, weight, out, f32(1e-5), i32(777), i32(1)]
    kernels.run(name, arguments, group_size=(224, 1, 1), groups=(5, 1, 1))
    torch.testing.assert_close(out, torch.nn.functional.rms_norm(x, [777], weight, 1e-5))


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("Exp", torch.exp),
        ("Tanh", torch.tanh),
        ("Erf", torch.erf),
        ("Sigmoid", torch.sigmoid),
        ("Log1p", torch.log1p),
        ("ArcTan", torch.atan),
    ],
)
def test_unary_operations(kernels, operation, expected):
    x = torch.rand(1003) * 4
    out = torch.empty_like(x)
    name = f"v_{operation}float32float32"
    kernels.run(name, [x, out, i32(1003)], group_size=(256, 1, 1), threads=(1003, 1, 1))
    torch.testing.assert_close(out, expected(x), atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("Add", torch.add),
        ("Maximum", torch.maximum),
        ("Power", torch.pow),
        ("ArcTan2", torch.atan2),
    ],
)
def test_binary_operations(kernels, operation, expected):
    a, b = torch.rand(500) + 0.1, torch.randn(500)
    out = torch.empty_like(a)
    name = f"vv_{operation}float32"
    kernels.run(name, [a, b, out, i32(500)], group_size=(64, 1, 1), threads=(500, 1, 1))
    torch.testing.assert_close(out, expected(a, b), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("columns", [32, 700, 5000])
def test_sums_of_rows(kernels, columns):
    x = torch.randn(10, columns)
    out = torch.empty(10)
    kernels.run(
        "row_reduce_simple_sumfloat32",
        [x, out, i64(columns), i64(10)],
        group_size=(64, 1, 1),
        groups=(1, 3, 1),
    )
    torch.testing.assert_close(out, x.sum(-1), atol=1e-4, rtol=1e-5)


def test_a_sum_of_everything(kernels):
    x = torch.randn(20_001)
    out = torch.empty(1)
    kernels.run(
        "all_reduce_sumfloat32",
        [x, out, i64(20_001), i64(20_001)],
        group_size=(1024, 1, 1),
        groups=(1, 1, 1),
    )
    torch.testing.assert_close(out[0], x.sum(), atol=1e-3, rtol=1e-5)


def test_products_of_a_matrix_and_a_vector(kernels):
    matrix, vector = torch.randn(301, 1030), torch.randn(1030)
    out = torch.empty(301)
    arguments = {
        0: matrix,
        1: vector,
        3: out,
        4: i32(1030),
        5: i32(301),
        6: i32(1030),
        9: i32(1),
        10: i32(1),
        11: i64(0),
        12: i64(0),
    }
    kernels.run(
        "gemv_float32_bm1_bn8_sm1_sn32_tm4_tn4_nc0_axpby0",
        arguments,
        group_size=(32, 8, 1),
        groups=(76, 1, 1),
    )
    torch.testing.assert_close(out, matrix @ vector, atol=1e-4, rtol=1e-4)


class GemmParameters(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in "M N K lda ldb ldd tiles_n tiles_m".split()),
        *((f"batch_stride_{name}", ctypes.c_long) for name in "abd"),
        *((name, ctypes.c_int) for name in "swizzle_log k_iterations batch_ndim".split()),
    )


@pytest.mark.parametrize(("m", "n", "k"), [(64, 64, 16), (100, 70, 45), (1, 130, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_matrix_products(kernels, m, n, k, dtype):
    a, b = torch.randn(m, k, dtype=dtype), torch.randn(k, n, dtype=dtype)
    out = torch.empty(m, n, dtype=dtype)
    tiles_m, tiles_n = -(-m // 64), -(-n // 64)
    parameters = GemmParameters(
        m, n, k, k, n, n, tiles_n, tiles_m, m * k, k * n, m * n, 0, k // 16, 1
    )
    type_ = str(dtype).removeprefix("torch.")
    kernels.run(
        f"steel_gemm_fused_nn_{type_}_{type_}_bm64_bn64_bk16_wm2_wn2",
        {0: a, 1: b, 3: out, 4: parameters},
        group_size=(32, 2, 2),
        groups=(tiles_n, tiles_m, 1),
        constants={
            "has_batch": False,
            "use_out_source": False,
            "do_axpby": False,
            "align_M": m % 64 == 0,
            "align_N": n % 64 == 0,
            "align_K": k % 16 == 0,
        },
    )
    torch.testing.assert_close(out, (a.float() @ b.float()).to(dtype), atol=1e-4, rtol=1e-3)


def test_attention_of_one_query_at_a_time(kernels):
    queries, keys, values = (torch.randn(4, n, 64) for n in (3, 90, 90))
    out = torch.empty(4, 3, 64)
    stride = (i64(90 * 64), i64(64))
    names = "has_mask query_transposed do_causal bool_mask float_mask has_sinks".split()
    kernels.run(
        "sdpa_vector_float_64_64",
        [queries, keys, values, out, i32(1), i32(90), *stride, *stride, f32(0.125)],
        group_size=(1024, 1, 1),
        groups=(4, 3, 1),
        constants=dict.fromkeys(names, False),
    )
    expected = torch.nn.functional.scaled_dot_product_attention(queries, keys, values)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-4)


class AttentionParameters(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in "B H D qL kL gqa_factor".split()),
        ("scale", ctypes.c_float),
        *((name, ctypes.c_int) for name in "NQ NK NQ_aligned NK_aligned".split()),
        *((name, ctypes.c_int) for name in "qL_rem kL_rem qL_off".split()),
        *((f"{name}_strides", ctypes.c_long * 3) for name in "QKVO"),
    )


@pytest.mark.parametrize("causal", [False, True])
def test_attention_of_many_queries(kernels, causal):
    heads, rows, columns, width = 2, 40, 70, 64
    queries = torch.randn(1, heads, rows, width)
    keys, values = torch.randn(2, 1, heads, columns, width)
    out = torch.empty_like(queries)
    short, long = [(heads * n * width, n * width, width) for n in (rows, columns)]
    parameters = AttentionParameters(
        *(1, heads, width, rows, columns, 1, 0.125),
        *(-(-rows // 32), -(-columns // 32), rows // 32, columns // 32),
        *(rows % 32, columns % 32, columns - rows, short, long, long, short),
    )
    kernels.run(
        "steel_attention_float32_bq32_bk32_bd64_bv64_wm4_wn1_maskfloat32",
        [queries, keys.contiguous(), values.contiguous(), out, parameters],
        group_size=(32, 4, 1),
        groups=(2, heads, 1),
        constants={
            "align_Q": False,
            "align_K": False,
            "has_mask": False,
            "do_causal": causal,
            "has_sinks": False,
            "save_lse": False,
        },
    )
    mask = torch.ones(rows, columns, dtype=torch.bool)
    mask = mask.tril(columns - rows) if causal else mask
    expected = torch.nn.functional.scaled_dot_product_attention(queries, keys, values, mask)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-4)


def test_places_of_the_largest(kernels):
    x = torch.randn(6, 333)
    out = torch.empty(6, dtype=torch.int32)
    arguments = [x, out, i32(6), i64(333), i64(1), i64(1), i64(1), i64(333)]
    kernels.run("argmax_float32", arguments, group_size=(96, 1, 1), threads=(96, 6, 1))
    assert torch.equal(out.long(), x.argmax(-1))


def test_sorted_rows(kernels):
    x = torch.randn(4, 400)
    out = torch.empty_like(x)
    arguments = [x, out, i32(400), i32(1), i32(1), i32(400), i32(400)]
    name = "c_block_sort_float32_float32_bn128_tn4"
    kernels.run(name, arguments, group_size=(128, 1, 1), groups=(1, 4, 1))
    assert torch.equal(out, x.sort(-1).values)


def test_running_sums(kernels):
    x = torch.randn(3, 1000)
    out = torch.empty_like(x)
    kernels.run(
        "contig_scan_inclusive_sum_float32_float32",
        [x, out, i64(1000)],
        group_size=(256, 1, 1),
        groups=(1, 3, 1),
    )
    torch.testing.assert_close(out, x.cumsum(-1), atol=1e-4, rtol=1e-4)


def test_products_with_four_bit_weights(kernels):
    inputs, outputs, group = 512, 24, 64
    codes = torch.randint(0, 16, (outputs, inputs))
    scales, biases = torch.randn(2, outputs, inputs // group)
    x, out = torch.randn(2, inputs), torch.empty(2, outputs)
    nibbles = codes.reshape(outputs, -1, 8) << (4 * torch.arange(8))
    packed = nibbles.sum(-1).to(torch.int64).numpy().astype(np.uint32)
    kernels.run(
        "affine_qmv_fast_float_gs_64_b_4_batch_0_pr_0_hgs_0_r_4",
        [packed, scales.contiguous(), biases.contiguous(), x, out, i32(inputs), i32(outputs)],
        group_size=(32, 2, 1),
        groups=(2, 3, 1),
    )
    spread = [t.repeat_interleave(group, -1) for t in (scales, biases)]
    weights = codes * spread[0] + spread[1]
    torch.testing.assert_close(out, x @ weights.T, atol=1e-2, rtol=1e-4)


def test_the_library_dispatches_them_on_tensors():
    library = load_metallib(apple_metallib())
    x, weight, bias = torch.randn(70, 512), torch.randn(512), torch.randn(512)
    out = torch.empty_like(x)
    library.block_softmax_float32(x, out, 512, threadgroups=(70, 1, 1), group_size=(128, 1, 1))
    torch.testing.assert_close(out, x.softmax(-1))
    library.vv_Multiplyfloat32(x, x, out, x.numel())
    torch.testing.assert_close(out, x * x)
    library.layer_normfloat32(
        *(x, weight, bias, out, 1e-5, 512, 1, 1), threads=(70 * 64, 1, 1), group_size=(64, 1, 1)
    )
    expected = torch.nn.functional.layer_norm(x, [512], weight, bias, 1e-5)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    total = torch.empty(1)
    library.all_reduce_sumfloat32(
        x, total, x.numel(), x.numel(), threads=(1024, 1, 1), group_size=(1024, 1, 1)
    )
    torch.testing.assert_close(total[0], x.sum(), atol=1e-3, rtol=1e-5)
