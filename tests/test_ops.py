"""The kernel library as torch operations: every sample against PyTorch in float64, errors."""

import dataclasses
import re

import pytest
import torch

from metalgen import ops
from metalgen.errors import LaunchError
from metalgen.ops.references import REFERENCES
from metalgen.ops.sample_table import samples
from metalgen.ops.samples import find_mismatch

SAMPLES = samples()
# One of each operation in a narrow dtype; those of kernels with variants are in
# tests/test_ops_variants.py, in every dtype.
TUNED = "fused_gemm linear conv2d quantized_linear softmax log_softmax selective_scan".split()
TUNED.append("scaled_dot_product_attention")
FIRST = [next(s for s in SAMPLES if s.operation == n) for n in REFERENCES if n not in TUNED]


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_results_are_those_of_float64(sample):
    assert find_mismatch(sample, torch.float32) is None


@pytest.mark.parametrize("sample", FIRST, ids=lambda sample: sample.operation)
def test_narrow_dtypes_are_rounded_once(sample):
    dtype = (torch.float16, torch.bfloat16)[FIRST.index(sample) % 2]
    assert find_mismatch(sample, dtype) is None


def test_every_operation_has_samples_and_a_reference():
    ours = {name for name in ops.__all__ if name.islower()} - {"quantize", "rope_angles", "gated"}
    assert ours == set(REFERENCES) == {sample.operation for sample in SAMPLES}
    assert ours >= {sample.operation for sample in samples(large=True)}


def test_a_wrong_result_is_told_with_the_first_element(monkeypatch):
    monkeypatch.setitem(REFERENCES, "silu", lambda x: x + 1)
    sample = samples("silu")[2]
    told = find_mismatch(sample, torch.float32)
    assert re.fullmatch(r"silu\(5x6x7 transposed\): expected .* at \(0, 0, 0\), .* of 210 .*", told)


def test_layer_norm_does_not_cancel_on_a_large_mean():
    x = torch.randn(4, 512) + 1e4
    expected = torch.nn.functional.layer_norm(x.double(), (512,))
    torch.testing.assert_close(ops.layer_norm(x).double(), expected, rtol=2e-3, atol=2e-3)


def test_softmax_of_nothing_but_minus_infinity_is_nan_as_in_torch():
    x = torch.full((2, 5), float("-inf"))
    assert ops.softmax(x).isnan().all()


def test_a_query_that_sees_no_key_gets_zeros():
    q, k, v = (torch.randn(1, 1, 8, 64) for _ in range(3))
    mask = torch.ones(8, 8, dtype=torch.bool)
    mask[3] = False
    found = ops.scaled_dot_product_attention(q, k, v, mask)
    assert (found[0, 0, 3] == 0).all()
    assert found[0, 0, 2].abs().min() > 0


@pytest.mark.parametrize("bits", [4, 8])
def test_quantising_is_off_by_half_a_step_at_most(bits):
    weight = torch.randn(24, 64)
    quantized = ops.quantize(weight, bits, 16)
    step = quantized.scales.repeat_interleave(16, 1)
    assert ((quantized.dequantize() - weight).abs() <= step * 0.5001).all()
    assert quantized.shape == (24, 64)
    assert quantized.packed.numel() == 24 * 64 * bits // 8


def test_a_constant_weight_is_quantised_exactly():
    weight = torch.full((2, 16), 0.25)
    assert (ops.quantize(weight, 4, 8).dequantize() == weight).all()


def test_rope_turns_position_zero_by_nothing():
    cosine, sine = ops.rope_angles(3, 8)
    x = torch.randn(1, 1, 3, 8)
    turned = ops.rope(x, cosine, sine)
    torch.testing.assert_close(turned[:, :, 0], x[:, :, 0])
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def zeros(*shape, **options):
    return torch.zeros(*shape, **options)


QUANTIZED = ops.quantize(torch.randn(4, 16), 8, 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.softmax(zeros(3, dtype=torch.int32)), "expected x of float32"),
        (lambda: ops.softmax([1.0]), "expected x as a tensor of float32.*, found list"),
        (lambda: ops.softmax(zeros(3), 1), "expected dim from -1 to 0"),
        (lambda: ops.fused_gemm(zeros(3, 4), zeros(5, 6)), "expected b of 4 rows"),
        (lambda: ops.fused_gemm(zeros(4), zeros(4, 6)), "expected matrices"),
        (lambda: ops.fused_gemm(zeros(2, 3, 4), zeros(3, 4, 6)), "batches that broadcast"),
        (
            lambda: ops.fused_gemm(zeros(3, 4), zeros(4, 6).half()),
            "expected b as a is .float32 on cpu., found float16 on cpu",
        ),
        (
            lambda: ops.fused_gemm(zeros(3, 4), zeros(4, 6), zeros(5)),
            r"expected bias of shape \(6,\), found \(5,\)",
        ),
        (
            lambda: ops.fused_gemm(zeros(3, 4), zeros(4, 6), None, "swish"),
            "expected an activation of relu, .* found 'swish'",
        ),
        (
            lambda: ops.fused_gemm(zeros(3, 4), zeros(4, 6), residual=zeros(3, 5)),
            r"expected residual of shape \(3, 6\)",
        ),
        (lambda: ops.linear(zeros(3, 4), zeros(6, 5)), "expected x .* and weight"),
        (lambda: ops.rms_norm(zeros(3, 4), zeros(3)), r"expected weight of shape \(4,\)"),
        (lambda: ops.layer_norm(zeros(())), "one dimension or more"),
        (lambda: ops.softmax(zeros(3, device="meta")), "on cpu or mps, found meta"),
        (lambda: ops.group_norm(zeros(2, 6), 4), "num_groups that divide 6, found 4"),
        (lambda: ops.batch_norm(zeros(2, 6), zeros(6)), "mean and variance, or neither"),
        (lambda: ops.batch_norm(zeros(6)), r"expected x \(n, c, ...\)"),
        (lambda: ops.reduce(zeros(6), "median"), "expected a reduction of sum, .* 'median'"),
        (lambda: ops.reduce(zeros(0), "max"), "expected elements to take the max of"),
        (lambda: ops.conv2d(zeros(1, 3, 4, 4), zeros(2, 3, 5, 5)), "input as large as the kernel"),
        (lambda: ops.conv2d(zeros(1, 3, 4, 4), zeros(2, 2, 1, 1)), "expected 2 channels"),
        (
            lambda: ops.conv2d(zeros(1, 3, 4, 4), zeros(2, 3, 1, 1), stride=0),
            "stride as one or two integers of at least 1, found 0",
        ),
        (lambda: ops.max_pool2d(zeros(1, 4, 4), 2, padding=2), "padding up to half"),
        (lambda: ops.avg_pool2d(zeros(1, 4, 4), 5), "planes as large as the kernel"),
        (lambda: ops.embedding(torch.tensor([9]), zeros(9, 2)), "from 0 to 8, found 9"),
        (lambda: ops.embedding(zeros(2), zeros(9, 2)), "expected indices of int32, int64"),
        (lambda: ops.swiglu(zeros(3), zeros(4)), "gate and value of one shape"),
        (lambda: ops.rope(zeros(1, 1, 3, 4), zeros(3, 3), zeros(3, 3)), "at most 2 angles"),
        (lambda: ops.rope(zeros(3, 4), zeros(3, 2), zeros(3, 2)), r"x \(batch, heads"),
        (
            lambda: ops.scaled_dot_product_attention(*[zeros(1, 2, 3, 300)] * 3),
            "expected e up to 256",
        ),
        (
            lambda: ops.scaled_dot_product_attention(zeros(1, 3, 3, 8), *[zeros(1, 2, 3, 8)] * 2),
            "kv heads that divide the heads",
        ),
        (
            lambda: ops.scaled_dot_product_attention(*[zeros(1, 2, 3, 8)] * 3, zeros(2, 2)),
            "a mask that broadcasts to",
        ),
        (lambda: ops.quantize(zeros(4, 20), 4, 16), "divides 20, found 16"),
        (lambda: ops.quantize(zeros(4, 16), 3, 16), "4 or 8 bits"),
        (lambda: ops.quantized_linear(zeros(2, 8), QUANTIZED), r"expected x \(..., 16\)"),
        (
            lambda: ops.quantized_linear(
                zeros(2, 16), dataclasses.replace(QUANTIZED, packed=zeros(4, 16))
            ),
            "expected packed of uint8, found float32",
        ),
        (
            lambda: ops.selective_scan(
                *[zeros(1, 2, 3)] * 2, zeros(2, 300), *[zeros(1, 300, 3)] * 2
            ),
            "expected 1 to 256 states, found 300",
        ),
        (
            lambda: ops.selective_scan(*[zeros(1, 2, 3)] * 2, zeros(2, 4), *[zeros(1, 5, 3)] * 2),
            "expected b .batch, groups, states, length.",
        ),
    ],
)
def test_wrong_arguments_are_refused_with_what_was_expected(call, message):
    with pytest.raises(LaunchError, match=message) as refused:
        call()
    assert "\n" not in str(refused.value)
