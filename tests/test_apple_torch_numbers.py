"""PyTorch's elementwise Metal kernels of integers, truth values and complex numbers, compared."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import pytest
import torch
from apple_torch_cases import (
    FLOATS,
    INTEGERS,
    METAL,
    TOLERANCE,
    close,
    launch,
    permuted,
    sampled,
    values,
)
from test_apple_torch import BINARY as MORE_BINARY
from test_apple_torch import UNARY as MORE_UNARY
from test_apple_torch_elementwise import BINARY, POLYNOMIALS, UNARY
from torch import Tensor

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
Function = Callable[..., Tensor]
WHOLE = (*INTEGERS, torch.bool)
COMPLEX = (torch.complex64, torch.complex32)
SHAPE = 6, 35


def check(
    name: str, expected: Tensor, inputs: Sequence[Tensor], alpha: object = None, factor: float = 1
) -> None:
    """The kernel for dense tensors and the one for strided, which sees their last dimension first.

    Of one tensor strides are counted in elements, of two in bytes.
    """
    number = [] if alpha is None else [alpha]
    out = torch.full_like(expected, 7)
    launch(name.format("dense"), out, *inputs, *number, threads=out.numel())
    close_parts(out, expected, factor)
    out, held = torch.full_like(expected, 7), [permuted(x) for x in inputs]
    sizes, byte = list(reversed(SHAPE)), len(inputs) > 1
    steps = [
        [stride * (x.itemsize if byte else 1) for stride in reversed(x.stride())]
        for x in (out, *held)
    ]
    rest = [*number, sizes, *steps, (2, 0, 0)] if byte else [sizes, *steps[::-1], 2, *number]
    launch(name.format("strided"), out, *held, *rest, threads=out.numel())
    close_parts(out, expected, factor)


def close_parts(actual: Tensor, expected: Tensor, factor: float) -> None:
    """Of complex numbers the parts, relative to the whole."""
    if not actual.is_complex():
        close(actual, expected, factor)
        return
    a, b = actual.to(torch.complex64), expected.to(torch.complex64)
    within = factor * TOLERANCE[torch.float32 if actual.dtype == COMPLEX[0] else torch.float16]
    assert ((a - b).abs() <= within * b.abs().clamp(min=1)).all()


def of_types(operations: Iterable[str], *dtypes: torch.dtype) -> list[tuple[str, torch.dtype]]:
    return list(itertools.product(operations, dtypes))


# Functions of real numbers, of integers.

TO_FLOAT = {k: f for k, f in {**UNARY, **MORE_UNARY}.items() if not k.startswith("hard")}
TWO_TO_FLOAT = {
    "copysign": torch.copysign,
    "zeta": torch.special.zeta,
    "xlog1py": torch.special.xlog1py,
    "div_true": torch.div,
    "chebyshev_polynomial_t": torch.special.chebyshev_polynomial_t,
    **POLYNOMIALS,
}


@sampled("operation dtype", of_types(TO_FLOAT, *WHOLE), 41)
def test_functions_of_integers(operation, dtype):
    x = values(dtype, *SHAPE, most=3)
    expected = TO_FLOAT[operation](x)
    check(f"{operation}_{{}}_float_{METAL[dtype]}", expected, [x], factor=2)


@sampled("operation dtype", of_types(TWO_TO_FLOAT, *WHOLE), 37)
def test_functions_of_two_integers(operation, dtype):
    a, b = values(dtype, *SHAPE, most=4), values(dtype, *SHAPE, most=4)
    if operation == "zeta":
        a, b = (a.abs() + 2, b.abs() + 1) if dtype != torch.bool else (a, b | True)
    expected = TWO_TO_FLOAT[operation](a, b)
    check(f"{operation}_{{}}_float_{METAL[dtype]}", expected, [a, b], factor=2)


# Integers to integers: whatever overflows wraps.


def any_of(dtype: torch.dtype) -> Tensor:
    return torch.randint(-(2**62), 2**62, SHAPE).to(dtype)


ARITHMETIC = {name: MORE_BINARY[name] for name in ("add", "sub", "div_floor", "fmod")} | {
    name: BINARY[name] for name in ("mul", "div_trunc", "remainder")
}
ONE = {"neg": torch.neg, "abs": torch.abs, "round": torch.round, "bitwise_not": torch.bitwise_not}


@sampled("operation dtype", of_types(ARITHMETIC, *INTEGERS), 8)
def test_arithmetic_of_integers(operation, dtype):
    a, b = any_of(dtype), any_of(dtype) // 5
    divides = operation not in ("add", "sub", "mul")
    b = torch.where(b == 0, 3, b) if divides else b
    expected = ARITHMETIC[operation](a, b)
    check(f"{operation}_{{}}_{METAL[dtype]}_{METAL[dtype]}", expected, [a, b])


@sampled("operation", [(name,) for name in ARITHMETIC], 4)
def test_arithmetic_of_truth_values(operation):
    a, b = values(torch.bool, *SHAPE), values(torch.bool, *SHAPE)
    b = b if operation in ("add", "sub", "mul") else b | True
    expected = ARITHMETIC[operation](a.long(), b.long()).bool()
    check(f"{operation}_{{}}_bool_bool", expected, [a, b])


@sampled("operation dtype", of_types(ONE, *INTEGERS), 4)
def test_signs_and_bits_of_integers(operation, dtype):
    # PyTorch's kernel takes absolute values in float32.
    x = values(dtype, *SHAPE) if operation == "abs" else any_of(dtype)
    check(f"{operation}_{{}}_{METAL[dtype]}_{METAL[dtype]}", ONE[operation](x), [x])


def test_truth_values_are_inverted():
    x = values(torch.bool, *SHAPE)
    check("bitwise_not_{}_bool_bool", ~x, [x])


WITH_ALPHA: Mapping[str, Function] = {
    "add_alpha": lambda a, b, alpha: a + alpha * b,
    "sub_alpha": lambda a, b, alpha: a - alpha * b,
    "lerp_alpha": lambda a, b, alpha: a + alpha * (b - a),
}


@sampled("operation dtype", of_types(WITH_ALPHA, *WHOLE), 4)
def test_sums_of_integers_with_a_factor(operation, dtype):
    a, b = values(dtype, *SHAPE), values(dtype, *SHAPE)
    alpha = 1 if dtype == torch.bool else 3
    expected = WITH_ALPHA[operation](a.long(), b.long(), alpha).to(dtype)
    name = f"{operation}_{{}}_" + "_".join([METAL[dtype]] * 3)
    check(name, expected, [a, b], alpha)


# Real numbers.


@sampled("dtype", [(dtype,) for dtype in FLOATS], 3)
def test_numbers_are_rounded(dtype):
    x = (torch.randint(-50, 50, SHAPE) / 4).to(dtype)
    type_ = METAL[dtype]
    check(f"round_{{}}_{type_}_{type_}", x.round(), [x])
    check(f"neg_{{}}_{type_}_{type_}", -x, [x])
    check(f"abs_{{}}_{type_}_{type_}", x.abs(), [x])
    y = (torch.randn(SHAPE) * 4).to(dtype)
    expected = torch.round(y.float(), decimals=1).to(dtype)
    check(f"round_decimals_{{}}_{type_}_{type_}_long", expected, [y], 1)


# Complex numbers.


def apart(dtype: torch.dtype) -> Tensor:
    """Complex numbers far from axes and poles, where PyTorch's kernels lose a half's few digits."""
    parts = torch.rand(2, *SHAPE) + 0.3
    return torch.complex(*(parts * torch.randn(2, *SHAPE).sign())).to(dtype)


UNARY_COMPLEX: Mapping[str, Function] = {
    "neg": torch.neg,
    "abs": lambda x: torch.complex(x.abs(), torch.zeros(SHAPE)),
    **{
        name: getattr(torch, name)
        for name in (
            "exp expm1 sigmoid exp2 log log10 log1p log2 sinc sqrt rsqrt sinh cosh tanh sin cos "
            "tan asin acos atan"
        ).split()
    },
}
TWO_COMPLEX = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div_true": torch.div}


@sampled("operation dtype", of_types(UNARY_COMPLEX, *COMPLEX), 11)
def test_functions_of_complex_numbers(operation, dtype):
    x = apart(dtype)
    expected = UNARY_COMPLEX[operation](x.to(torch.complex64)).to(dtype)
    check(f"{operation}_{{}}_{METAL[dtype]}_{METAL[dtype]}", expected, [x], factor=4)


@sampled("operation dtype", of_types(TWO_COMPLEX, *COMPLEX), 3)
def test_arithmetic_of_complex_numbers(operation, dtype):
    a, b = values(dtype, *SHAPE), values(dtype, *SHAPE)
    wide = a.to(torch.complex64), b.to(torch.complex64)
    expected = TWO_COMPLEX[operation](*wide).to(dtype)
    check(f"{operation}_{{}}_{METAL[dtype]}_{METAL[dtype]}", expected, [a, b], factor=4)


@sampled("operation dtype", of_types(WITH_ALPHA, *COMPLEX), 4)
def test_sums_of_complex_numbers_with_a_factor(operation, dtype):
    a, b = values(dtype, *SHAPE), values(dtype, *SHAPE)
    wide = a.to(torch.complex64), b.to(torch.complex64)
    expected = WITH_ALPHA[operation](*wide, 0.5 - 2j).to(dtype)
    name = f"{operation}_{{}}_" + "_".join([METAL[dtype]] * 3)
    check(name, expected, [a, b], [0.5, -2.0], factor=4)


@sampled("dtype", [(torch.float32,), (torch.float16,)], 2)
def test_complex_numbers_are_made_of_two(dtype):
    a, b = values(dtype, *SHAPE), values(dtype, *SHAPE)
    made = torch.complex64 if dtype == torch.float32 else torch.complex32
    types = f"{METAL[made]}_{METAL[dtype]}"
    for name, function in (("make_complex", torch.complex), ("polar", torch.polar)):
        expected = function(a.float(), b.float()).to(made)
        check(f"{name}_{{}}_{types}", expected, [a, b], factor=2)
