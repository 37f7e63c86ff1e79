"""PyTorch's own elementwise Metal kernels, all that take dense tensors, beside PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from apple_cases import assert_close
from samples_of import every
from test_apple_torch import NAMES, TOLERANCE, library
from torch import Tensor

special, functional = torch.special, torch.nn.functional
Function = Callable[..., Tensor]

UNARY: dict[str, Function] = {
    name: getattr(torch, name)
    for name in (
        "acos asin atan cos cosh erf erfc exp2 expm1 log log2 log10 rsqrt sigmoid sin sinh sqrt tan"
    ).split()
}
UNARY |= {
    "i0": special.i0,
    "i1": special.i1,
    "i1e": special.i1e,
    "bessel_y0_forward": special.bessel_y0,
    "bessel_y1_forward": special.bessel_y1,
    "modified_bessel_i0_forward": special.modified_bessel_i0,
    "modified_bessel_i1_forward": special.modified_bessel_i1,
    "modified_bessel_k0_forward": special.modified_bessel_k0,
    "modified_bessel_k1_forward": special.modified_bessel_k1,
    "scaled_modified_bessel_k0_forward": special.scaled_modified_bessel_k0,
    "scaled_modified_bessel_k1_forward": special.scaled_modified_bessel_k1,
    "spherical_bessel_j0": special.spherical_bessel_j0,
    "hardsigmoid": functional.hardsigmoid,
    "hardswish": functional.hardswish,
}
BINARY: dict[str, Function] = {
    "mul": torch.mul,
    "div_true": torch.div,
    "div_trunc": lambda a, b: torch.div(a, b, rounding_mode="trunc"),
    "remainder": torch.remainder,
    "fmax": torch.fmax,
    "fmin": torch.fmin,
    "nextafter": torch.nextafter,
    "xlog1py": special.xlog1py,
    "hardswish_backward": torch.ops.aten.hardswish_backward,
    "hardsigmoid_backward": torch.ops.aten.hardsigmoid_backward,
    "zeta": lambda a, b: special.zeta(a + 2, b),
    "igamma": special.gammainc,
    "igammac": special.gammaincc,
}
POLYNOMIALS = {
    name: getattr(special, name)
    for name in (
        "chebyshev_polynomial_u chebyshev_polynomial_v chebyshev_polynomial_w "
        "hermite_polynomial_h hermite_polynomial_he shifted_chebyshev_polynomial_t "
        "shifted_chebyshev_polynomial_u shifted_chebyshev_polynomial_v "
        "shifted_chebyshev_polynomial_w"
    ).split()
}
FACTOR = 0.25
WITH_A_NUMBER: dict[str, Function] = {
    "hardshrink": lambda x: functional.hardshrink(x, FACTOR),
    "softshrink": lambda x: functional.softshrink(x, FACTOR),
    "leaky_relu": lambda x: functional.leaky_relu(x, FACTOR),
}
TWO_WITH_A_NUMBER: dict[str, Function] = {
    "add_alpha": lambda a, b: a + FACTOR * b,
    "sub_alpha": lambda a, b: a - FACTOR * b,
    "lerp_alpha": lambda a, b: a.lerp(b, FACTOR),
    "leaky_relu_backward": lambda x, grad: torch.where(x > 0, grad, FACTOR * grad),
    "shrink_backward": lambda grad, x: torch.where(x.abs() > FACTOR, grad, 0 * grad),
    "native_dropout_mask_and_scale": lambda x, mask: x * mask * FACTOR,
}
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def cases(operations: dict[str, Function], one_in: int) -> pytest.MarkDecorator:
    """Every operation in every type; one in so many is the sample."""
    listed = itertools.product(operations, DTYPES)
    return pytest.mark.parametrize(("operation", "dtype"), every(one_in, listed))


def check(name: str, dtype: torch.dtype, expected: Tensor, *arguments: object) -> None:
    out = torch.full(expected.shape, 77, dtype=dtype)
    getattr(library(), name)(out, *arguments, threads=out.numel())
    assert_close(out, expected.to(dtype), TOLERANCE[dtype])


@cases(UNARY, 24)
def test_functions_of_one_tensor(operation, dtype):
    x = (torch.rand(210) * 0.9 + 0.05).to(dtype)
    name = f"{operation}_dense_{NAMES[dtype]}_{NAMES[dtype]}"
    check(name, dtype, UNARY[operation](x.float()), x)


@cases(BINARY, 8)
def test_functions_of_two_tensors(operation, dtype):
    a, b = (torch.rand(210) * 3 + 0.5).to(dtype), (torch.rand(210) * 3 + 0.5).to(dtype)
    wide = (a, b) if operation == "nextafter" else (a.float(), b.float())
    given = (a + 2, b) if operation == "zeta" else (a, b)
    if operation == "zeta":
        wide = given[0].float() - 2, b.float()
    name = f"{operation}_dense_{NAMES[dtype]}_{NAMES[dtype]}"
    check(name, dtype, BINARY[operation](*wide), *given)


@cases(POLYNOMIALS, 10)
def test_orthogonal_polynomials(operation, dtype):
    x = (torch.rand(210) * 1.6 - 0.8).to(dtype)
    n = torch.randint(0, 6, (210,)).to(dtype)
    name = f"{operation}_dense_{NAMES[dtype]}_{NAMES[dtype]}"
    out = torch.full_like(x, 77)
    getattr(library(), name)(out, x, n, threads=210)
    expected = POLYNOMIALS[operation](x.float(), n.float()).to(dtype)
    assert_close(out, expected, 30 * TOLERANCE[dtype])


@cases(WITH_A_NUMBER, 5)
def test_functions_of_a_tensor_and_a_number(operation, dtype):
    x = torch.randn(210).to(dtype)
    name = f"{operation}_dense_" + "_".join([NAMES[dtype]] * 3)
    check(name, dtype, WITH_A_NUMBER[operation](x.float()), x, torch.tensor([FACTOR]).to(dtype))


@cases(TWO_WITH_A_NUMBER, 7)
def test_functions_of_two_tensors_and_a_number(operation, dtype):
    a, b = torch.randn(210).to(dtype), torch.randn(210).to(dtype)
    name = f"{operation}_dense_" + "_".join([NAMES[dtype]] * 3)
    number = torch.tensor([FACTOR]).to(dtype)
    check(name, dtype, TWO_WITH_A_NUMBER[operation](a.float(), b.float()), a, b, number)
