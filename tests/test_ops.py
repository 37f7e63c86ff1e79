"""The kernel library as torch operations, against PyTorch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from metalgen import ops
from metalgen.errors import LaunchError

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
# Rounding of the result once, and of float32 sums in another order.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}
REFERENCES = {
    None: lambda x: x,
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


def assert_close(found, expected, dtype):
    assert found.dtype == dtype
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", REFERENCES)
def test_a_fused_gemm_equals_product_bias_and_activation(dtype, activation):
    a, b, bias = (torch.randn(*s).to(dtype) for s in ((70, 33), (33, 90), (90,)))
    expected = REFERENCES[activation](a.double() @ b.double() + bias.double())
    assert_close(ops.fused_gemm(a, b, bias, activation), expected, dtype)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(0, 80), st.integers(0, 80), st.integers(0, 40)),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
)
def test_a_fused_gemm_takes_any_size_transposition_and_batch(sizes, left, right, batch):
    m, n, k = sizes
    generator = torch.Generator().manual_seed(m + 100 * n)
    lead = (batch,) if batch else ()
    a = torch.randn(*lead, *((k, m) if left else (m, k)), generator=generator)
    b = torch.randn(*lead, *((n, k) if right else (k, n)), generator=generator)
    a, b = a.mT if left else a, b.mT if right else b
    assert_close(ops.fused_gemm(a, b), a.double() @ b.double(), torch.float32)


def test_a_fused_gemm_shares_one_matrix_among_a_batch():
    a, b = torch.randn(3, 2, 20, 16), torch.randn(24, 16)
    assert_close(ops.fused_gemm(a, b.T), a.double() @ b.double().T, torch.float32)


def test_a_fused_gemm_reads_slices_that_are_not_contiguous():
    a, b = torch.randn(20, 32)[:, 3:19], torch.randn(16, 40)[:, ::2]
    assert_close(ops.fused_gemm(a, b), a.double() @ b.double(), torch.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1,), (7, 1), (3, 31), (5, 1000), (2, 3, 4097), (0, 5), (4, 0)])
def test_softmax_of_any_length_equals_torch(dtype, shape):
    x = torch.randn(*shape).mul(4).to(dtype)
    assert_close(ops.softmax(x), torch.softmax(x.double(), -1), dtype)


def test_softmax_takes_any_dimension():
    x = torch.randn(6, 5, 4)
    for dim in (0, 1, -2):
        assert_close(ops.softmax(x, dim), torch.softmax(x.double(), dim), torch.float32)


def test_softmax_treats_infinities_and_nan_as_torch_does():
    inf, nan = float("inf"), float("nan")
    x = torch.zeros(5, 200)
    x[0, 3], x[1], x[2, 7], x[3, 9], x[4, 150] = -inf, -inf, nan, 1e4, inf
    expected = torch.softmax(x.double(), -1)
    torch.testing.assert_close(ops.softmax(x).double(), expected, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 1), (3, 33), (2, 3, 1025), (0, 8)])
@pytest.mark.parametrize("affine", [False, True])
def test_norms_equal_torch(dtype, shape, affine):
    x = torch.randn(*shape).add(3).to(dtype)
    columns = shape[-1:]
    weight, bias = (torch.randn(columns).to(dtype) if affine else None for _ in range(2))
    wide = [None if t is None else t.double() for t in (weight, bias)]
    found = ops.layer_norm(x, weight, bias, 1e-3)
    assert_close(found, functional.layer_norm(x.double(), columns, *wide, 1e-3), dtype)
    expected = functional.rms_norm(x.double(), columns, wide[0], 1e-3)
    assert_close(ops.rms_norm(x, weight, 1e-3), expected, dtype)


def test_layer_norm_does_not_cancel_on_a_large_mean():
    x = torch.randn(4, 512) + 1e4
    expected = functional.layer_norm(x.double(), (512,))
    torch.testing.assert_close(ops.layer_norm(x).double(), expected, rtol=2e-3, atol=2e-3)


OPERATORS = torch.ops.metalgen


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        (OPERATORS.fused_gemm, (torch.randn(5, 8), torch.randn(9, 8).T, torch.randn(9), 2)),
        (OPERATORS.fused_gemm, (torch.randn(2, 5, 8), torch.randn(2, 8, 9), None, 0)),
        (OPERATORS.softmax, (torch.randn(4, 6).T,)),
        (OPERATORS.rms_norm, (torch.randn(4, 6), torch.randn(6), 1e-6)),
        (OPERATORS.layer_norm, (torch.randn(4, 6), torch.randn(6), None, 1e-5)),
    ],
)
def test_operators_pass_opcheck(operator, arguments):
    torch.library.opcheck(operator.default, arguments)


def test_operators_trace_into_one_graph():
    def block(x, weight):
        return ops.softmax(ops.fused_gemm(ops.rms_norm(x), weight, activation="silu"))

    x, weight = torch.randn(6, 16), torch.randn(16, 10)
    compiled = torch.compile(block, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, weight), block(x, weight))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.softmax(torch.zeros(3, dtype=torch.int32)), "expected x of float32"),
        (lambda: ops.softmax(torch.zeros(3), 1), "expected dim below 1"),
        (lambda: ops.fused_gemm(torch.zeros(3, 4), torch.zeros(5, 6)), "expected b of 4 rows"),
        (lambda: ops.fused_gemm(torch.zeros(4), torch.zeros(4, 6)), "expected matrices"),
        (
            lambda: ops.fused_gemm(torch.zeros(3, 4), torch.zeros(4, 6).half()),
            "expected b as a is .float32 on cpu., found float16 on cpu",
        ),
        (
            lambda: ops.fused_gemm(torch.zeros(3, 4), torch.zeros(4, 6), torch.zeros(5)),
            r"expected bias of shape \(6,\), found \(5,\)",
        ),
        (
            lambda: ops.fused_gemm(torch.zeros(3, 4), torch.zeros(4, 6), None, "swish"),
            "expected an activation of relu, .* found 'swish'",
        ),
        (
            lambda: ops.rms_norm(torch.zeros(3, 4), torch.zeros(3)),
            r"expected weight of shape \(4,\)",
        ),
        (lambda: ops.layer_norm(torch.zeros(())), "one dimension or more"),
        (lambda: ops.softmax(torch.zeros(3, device="meta")), "on cpu or mps, found meta"),
    ],
)
def test_wrong_arguments_are_refused_with_what_was_expected(call, message):
    with pytest.raises(LaunchError, match=message):
        call()
