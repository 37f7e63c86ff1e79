"""PyTorch's own Metal kernels of two tensors whose types differ, beside PyTorch.

Each works in one type; it is told what the tensors hold (PyTorch's numbers of types) and converts
while it reads. Strides are in bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from apple_torch_cases import FLOATS, INTEGERS, METAL, REAL, close, launch, sampled, unwritten
from test_apple_torch import BINARY as FIRST
from test_apple_torch import library
from test_apple_torch_elementwise import BINARY, FACTOR, POLYNOMIALS, TWO_WITH_A_NUMBER
from torch import Tensor

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
COMPLEX = torch.complex64, torch.complex32
# Their numbers among PyTorch's types (c10::ScalarType).
NUMBERS = {
    torch.uint8: 0,
    torch.int8: 1,
    torch.int16: 2,
    torch.int32: 3,
    torch.int64: 4,
    torch.float16: 5,
    torch.float32: 6,
    torch.complex32: 8,
    torch.complex64: 9,
    torch.bool: 11,
    torch.bfloat16: 15,
}
# A type that PyTorch turns into each, beside it in an operation.
OTHERS = {
    torch.float32: torch.bfloat16,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int64,
    torch.int64: torch.int32,
    torch.int32: torch.uint8,
    torch.int16: torch.int8,
    torch.int8: torch.bool,
    torch.uint8: torch.bool,
    torch.bool: torch.uint8,
    torch.complex64: torch.float32,
    torch.complex32: torch.float16,
}
NAMED = {**FIRST, **BINARY, **POLYNOMIALS, **TWO_WITH_A_NUMBER}
NAMED |= {"polar": torch.polar, "make_complex": torch.complex, "zeta": torch.special.zeta}
POLYNOMIAL = {*POLYNOMIALS, "chebyshev_polynomial_t"}
ARITHMETIC = {"add", "sub", "mul", "div_true", "add_alpha", "sub_alpha", "lerp_alpha"}
WHOLE = ARITHMETIC - {"div_true"} | {"div_floor", "div_trunc", "remainder", "fmod"}
# Where the two operands lie, if not as in `USUAL`; whole numbers are those in between.
USUAL = (-4.5, 4.5), (0.6, 6.4)
RANGES = {
    "copysign": ((-4.5, 4.5), (-4.5, 4.5)),
    "zeta": ((2.5, 6.4), (0.6, 4.4)),
    "xlog1py": ((0.1, 4.4), (0.6, 6.4)),
    "igamma": ((0.5, 5), (0.5, 5)),
    "igammac": ((0.5, 5), (0.5, 5)),
    **dict.fromkeys(POLYNOMIAL, ((-0.8, 1.2), (0, 5))),
}
FACTORS = dict.fromkeys(POLYNOMIAL, 30.0) | dict.fromkeys(("igamma", "igammac", "zeta"), 10.0)
SHAPE = 6, 35


def types_of(name: str) -> tuple[torch.dtype, ...]:
    """The types in which there is a kernel."""
    if name in ("polar", "make_complex"):
        return torch.float32, torch.float16
    if name in ARITHMETIC:
        return *REAL, *COMPLEX
    return REAL if name in WHOLE | POLYNOMIAL | {"copysign", "zeta", "xlog1py"} else FLOATS


def result_of(name: str, dtype: torch.dtype) -> torch.dtype:
    if name in ("polar", "make_complex"):
        return {torch.float32: torch.complex64, torch.float16: torch.complex32}[dtype]
    return torch.float32 if name not in WHOLE and dtype not in (*FLOATS, *COMPLEX) else dtype


def kernel_name(name: str, form: str, dtype: torch.dtype) -> str:
    types = [METAL[dtype]] * (2 if name in TWO_WITH_A_NUMBER else 1)
    return "_".join([name, form, "cast", *types])


def operand(dtype: torch.dtype, low: float, high: float, *shape: int) -> Tensor:
    if dtype.is_complex:
        return torch.complex(*(operand(torch.float32, low, high, *shape) for _ in range(2))).to(
            dtype
        )
    if dtype in INTEGERS or dtype == torch.bool:
        start = max(-(-low // 1), -9 if dtype.is_signed and dtype != torch.bool else 0)
        return torch.randint(int(start), int(high) + 1, shape).to(dtype)
    return (torch.rand(shape) * (high - low) + low).to(dtype)


def operands(name: str, types: tuple[torch.dtype, torch.dtype], *, strided: bool) -> list[Tensor]:
    """Dense ones, or a transposed tensor and a row for all rows."""
    (low, high), second = RANGES.get(name, USUAL)
    shape = SHAPE[::-1] if strided else SHAPE
    a = operand(types[0], low, high, *shape)
    b = operand(types[1], *second, *((1, SHAPE[1]) if strided else SHAPE))
    if name in POLYNOMIAL:
        b = b.float().round().to(b.dtype)
    return [a.T, b.expand(SHAPE)] if strided else [a, b]


def expected_of(name: str, dtype: torch.dtype, operands: list[Tensor], number: float) -> Tensor:
    """In float32 or in whole numbers, rounded to the result's type."""
    function: Callable[..., Tensor] = NAMED[name]
    if name in WHOLE and dtype not in (*FLOATS, *COMPLEX):
        wide = [x.to(dtype).long() for x in operands]
    elif dtype.is_complex:
        wide = [x.to(dtype).to(torch.complex64) for x in operands]
    else:
        wide = [x.to(dtype).float() for x in operands]
    if name.endswith("_alpha"):
        a, b = wide
        return a + number * (b - a if "lerp" in name else -b if "sub" in name else b)
    return function(*wide)


def factor_of(dtype: torch.dtype) -> float | int:
    return FACTOR if dtype in (*FLOATS, *COMPLEX) else 1 if dtype == torch.bool else 2


def check(name: str, form: str, dtype: torch.dtype, types: tuple[torch.dtype, torch.dtype]) -> None:
    given = operands(name, types, strided=form == "strided")
    out = unwritten(result_of(name, dtype), *SHAPE)
    number = factor_of(dtype)
    alpha = [torch.tensor([number]).to(dtype)] if name in TWO_WITH_A_NUMBER else []
    sizes, numbers = [x.itemsize for x in given], [NUMBERS[x.dtype] for x in given]
    steps = [[x.itemsize * s for s in x.stride()] for x in (out, *given)]
    rest = [[*sizes, *numbers]] if form == "dense" else [list(SHAPE), *steps, [2, *numbers, 0]]
    launch(kernel_name(name, form, dtype), out, *given, *alpha, *rest, threads=out.numel())
    close(out, expected_of(name, dtype, given, number), FACTORS.get(name, 2.0))


CASES = [
    (name, form, dtype, first)
    for name in NAMED
    for dtype in types_of(name)
    for form in ("dense", "strided")
    for first in (True, False)
]


@sampled("name form dtype first", CASES, 65)
def test_operations_on_two_types(name, form, dtype, first):
    pair = dtype, OTHERS[dtype]
    check(name, form, dtype, pair if first else pair[::-1])


def test_every_kernel_that_casts_is_compared():
    found = {name for name in library().names if "_cast_" in name}
    assert found == {kernel_name(name, form, dtype) for name, form, dtype, _ in CASES}
