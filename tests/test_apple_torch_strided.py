"""PyTorch's own elementwise Metal kernels of real numbers, for strided tensors, beside PyTorch."""

from __future__ import annotations

import itertools

import torch
from apple_torch_cases import FLOATS, METAL, sampled
from test_apple_torch import BINARY as MORE_BINARY
from test_apple_torch import UNARY as MORE_UNARY
from test_apple_torch_elementwise import (
    BINARY,
    FACTOR,
    POLYNOMIALS,
    TWO_WITH_A_NUMBER,
    UNARY,
    WITH_A_NUMBER,
)
from test_apple_torch_numbers import SHAPE, check

ONE = {**UNARY, **MORE_UNARY}
TWO = {**BINARY, **{k: f for k, f in MORE_BINARY.items() if not k.startswith("chebyshev")}}
ALL_POLYNOMIALS = {**POLYNOMIALS, "chebyshev_polynomial_t": torch.special.chebyshev_polynomial_t}


def named(operation: str, dtype: torch.dtype, types: int) -> str:
    return f"{operation}_{{}}_" + "_".join([METAL[dtype]] * types)


@sampled("operation dtype", itertools.product(ONE, FLOATS), 31)
def test_functions_of_one_tensor(operation, dtype):
    x = (torch.rand(SHAPE) * 0.9 + 0.05).to(dtype)
    check(named(operation, dtype, 2), ONE[operation](x.float()).to(dtype), [x], factor=2)


@sampled("operation dtype", itertools.product(TWO, FLOATS), 16)
def test_functions_of_two_tensors(operation, dtype):
    a, b = ((torch.rand(SHAPE) * 3 + 0.5).to(dtype) for _ in range(2))
    wide = (a, b) if operation == "nextafter" else (a.float(), b.float())
    if operation == "zeta":
        a = a + 2
        wide = a.float() - 2, b.float()
    expected = TWO[operation](*wide).to(dtype)
    check(named(operation, dtype, 2), expected, [a, b], factor=2)


@sampled("operation dtype", itertools.product(ALL_POLYNOMIALS, FLOATS), 17)
def test_orthogonal_polynomials(operation, dtype):
    x, n = (torch.rand(SHAPE) * 1.6 - 0.8).to(dtype), torch.randint(0, 6, SHAPE).to(dtype)
    expected = ALL_POLYNOMIALS[operation](x.float(), n.float()).to(dtype)
    check(named(operation, dtype, 2), expected, [x, n], factor=30)


@sampled("operation dtype", itertools.product(WITH_A_NUMBER, FLOATS), 9)
def test_functions_of_a_tensor_and_a_number(operation, dtype):
    x = torch.randn(SHAPE).to(dtype)
    expected = WITH_A_NUMBER[operation](x.float()).to(dtype)
    check(named(operation, dtype, 3), expected, [x], FACTOR)


@sampled("operation dtype", itertools.product(TWO_WITH_A_NUMBER, FLOATS), 9)
def test_functions_of_two_tensors_and_a_number(operation, dtype):
    a, b = torch.randn(SHAPE).to(dtype), torch.randn(SHAPE).to(dtype)
    expected = TWO_WITH_A_NUMBER[operation](a.float(), b.float()).to(dtype)
    check(named(operation, dtype, 3), expected, [a, b], FACTOR)
