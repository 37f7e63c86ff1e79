"""What is said about a wrong output, and how wrong an output may be."""

from __future__ import annotations

import pytest
import torch

from metalgen.generation.mismatch import Output, find_mismatch
from metalgen.generation.tolerance import allowed_error


def output(got, expected, unwritten=None):
    eager = expected if expected.dtype != torch.float64 else expected.float()
    precise = expected.double() if expected.is_floating_point() else expected
    return Output("y", got, eager, precise, unwritten)


def told(got, expected, unwritten=None):
    return find_mismatch(output(got, expected, unwritten))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_eagers_own_result_is_right(dtype):
    precise = torch.randn(64, 64, dtype=torch.float64) * 100
    eager = precise.to(dtype)
    assert find_mismatch(Output("y", eager.clone(), eager, precise)) is None


def test_another_order_of_summation_is_right():
    x = torch.rand(8, 100_000)
    precise, eager = x.double().sum(1), x.sum(1)
    folded = x.reshape(8, 100, 1000).sum(1).cumsum(1)[:, -1]
    assert find_mismatch(Output("y", folded, eager, precise)) is None


@pytest.mark.parametrize("factor", [1.001, 0.9, 1 + 3e-5])
def test_a_slightly_wrong_factor_is_wrong_even_where_outputs_are_tiny(factor):
    precise = torch.softmax(torch.randn(4, 16384, dtype=torch.float64), 1)  # around 6e-5
    eager = precise.float()
    reason = find_mismatch(Output("y", (precise * factor).float(), eager, precise))
    assert f"each wrong element is {factor:.6g} times what is expected" in reason


def test_small_outputs_are_not_excused_by_the_errors_of_large_ones():
    precise = torch.cat([torch.full((8,), 1e6), torch.full((8,), 1e-2)]).double()
    eager = (precise * (1 + 1e-6)).float()
    got = eager.clone()
    got[8:] += 0.05
    assert "8 of 16 elements are wrong" in find_mismatch(Output("y", got, eager, precise))


def test_allowed_errors_grow_with_eagers_own():
    precise = torch.ones(16, dtype=torch.float64)
    close = allowed_error(precise, precise.float())
    far = allowed_error(precise, (precise + 1e-3).float())
    assert float(far.min()) > 100 * float(close.max())


def test_whole_numbers_are_compared_exactly():
    expected = torch.arange(10)
    assert told(expected.clone(), expected) is None
    got = expected.clone()
    got[3] = 7
    assert told(got, expected) == (
        "output 'y': 1 of 10 elements are wrong; the first at [3]: got 7, expected 3;"
        " only index 3 of dimension 0 (size 10)"
    )


def test_dtype_and_shape_come_first():
    expected = torch.rand(2, 3)
    assert told(expected.half(), expected) == "output 'y' is float16, expected float32"
    assert told(expected.t(), expected) == "output 'y' has shape [3, 2], expected [2, 3]"


def test_nan_and_infinity_are_right_where_eager_has_them():
    expected = torch.tensor([1.0, float("nan"), float("inf"), -float("inf")])
    assert told(expected.clone(), expected) is None
    for index, value in [(1, 0.0), (2, 3e38), (3, float("inf")), (0, float("nan"))]:
        got = expected.clone()
        got[index] = value
        assert "1 of 4 elements are wrong" in told(got, expected)


def test_an_empty_output_is_right():
    assert told(torch.rand(0, 3), torch.rand(0, 3)) is None


def test_the_worst_element_is_named_with_its_values():
    expected = torch.full((4, 5), 2.0)
    got = expected.clone()
    got[1, 2], got[3, 4] = 2.5, 3.0
    reason = told(got, expected)
    assert "2 of 20 elements are wrong; the worst at [3, 4]: got 3, expected 2" in reason
    assert "absolute error 1, relative 0.5" in reason


def test_elements_that_were_never_written_are_told_apart():
    expected, unwritten = torch.rand(64), torch.ones(64, dtype=torch.bool)
    got = torch.full((64,), float("nan"))
    assert told(got, expected, unwritten) == "output 'y' was never written (64 of 64 elements)"
    half = torch.arange(64) >= 32
    got = torch.where(half, got, expected)
    assert told(got, expected, half) == (
        "output 'y' was never written (32 of 64 elements); only indices >= 32 of dimension 0"
        " (size 64)"
    )


def every(n, size=16):
    return torch.arange(size) % n == n - 1


@pytest.mark.parametrize(
    ("damage", "hint"),
    [
        (lambda y: y * 0, "all elements are zero"),
        (lambda y: y * 0 + 3, "all elements are 3"),
        (lambda y: y * 2, "each wrong element is 2 times what is expected"),
        (lambda y: y + 0.25, "each wrong element is off by 0.25"),
        (lambda y: y.t().reshape(16, 6), "the transposed output matches"),
        (lambda y: torch.where(torch.arange(16)[:, None] >= 12, y * 0, y),
         "only indices >= 12 of dimension 0 (size 16)"),
        (lambda y: torch.where(torch.arange(16)[:, None] < 4, y * 0, y),
         "only indices < 4 of dimension 0 (size 16)"),
        (lambda y: torch.where(torch.arange(6) == 5, y * 0, y), "only index 5 of dimension 1"),
        (lambda y: torch.where(every(4)[:, None], y * 0, y),
         "only indices i with i % 4 == 3 of dimension 0"),
        (lambda y: torch.cat([y[:8] / 0, y[8:]]), "48 are infinite"),
        (lambda y: y * float("nan"), "96 are NaN"),
    ],
)  # fmt: skip
def test_what_the_errors_have_in_common_is_told(damage, hint):
    expected = torch.rand(16, 6) + 1
    assert hint in told(damage(expected), expected)
