"""PyTorch's own Metal kernels, compiled by Apple, on the software device beside PyTorch."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from apple_cases import assert_close, listed
from apple_metallib import torch_metallib
from torch import Tensor

import metalgen

NAMES = {torch.float32: "float", torch.float16: "half", torch.bfloat16: "bfloat"}
TOLERANCE = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


@functools.cache
def library() -> metalgen.Library:
    return metalgen.load_metallib(torch_metallib())


special = torch.special
UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "log1p": torch.log1p,
    "tanh": torch.tanh,
    "sinc": torch.sinc,
    "erfinv": torch.erfinv,
    "bessel_j0_forward": special.bessel_j0,
    "bessel_j1_forward": special.bessel_j1,
    "i0e": special.i0e,
    "entr": special.entr,
}
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "div_floor": lambda a, b: torch.div(a, b, rounding_mode="floor"),
    "fmod": torch.fmod,
    "copysign": torch.copysign,
    "chebyshev_polynomial_t": special.chebyshev_polynomial_t,
}


@pytest.mark.parametrize("operation", UNARY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_unary_operations_on_dense_and_strided_tensors(operation, dtype):
    x = (torch.rand(6, 35) * 1.8 - 0.9).to(dtype)
    expected = UNARY[operation](x.float()).to(dtype)
    type_ = f"{NAMES[dtype]}_{NAMES[dtype]}"
    out = torch.full_like(x, 77)
    getattr(library(), f"{operation}_dense_{type_}")(out, x, threads=x.numel())
    assert_close(out, expected, TOLERANCE[dtype])
    if operation != "erfinv":
        strided(f"{operation}_strided_{type_}", [x], expected, TOLERANCE[dtype])


@pytest.mark.parametrize("operation", BINARY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_binary_operations_on_dense_tensors(operation, dtype):
    a, b = torch.randn(210).to(dtype), torch.randn(210).to(dtype)
    if operation.startswith("chebyshev"):
        b = torch.randint(0, 7, (210,)).to(dtype)
    out = torch.full_like(a, 77)
    name = f"{operation}_dense_{NAMES[dtype]}_{NAMES[dtype]}"
    getattr(library(), name)(out, a, b, threads=210)
    assert_close(out, BINARY[operation](a.float(), b.float()).to(dtype), TOLERANCE[dtype])


@pytest.mark.parametrize("operation", ["sub", "fmod"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_binary_operations_on_strided_tensors(operation, dtype):
    a, b = torch.randn(6, 35).to(dtype), torch.randn(6, 35).to(dtype)
    expected = BINARY[operation](a.float(), b.float()).to(dtype)
    strided(
        f"{operation}_strided_{NAMES[dtype]}_{NAMES[dtype]}", [a, b], expected, TOLERANCE[dtype]
    )


def strided(name: str, inputs: list[Tensor], expected: Tensor, tolerance: float) -> None:
    """The fastest dimension first; strides in elements for one input, in bytes for two."""
    seen = [x.T.contiguous().T for x in inputs]
    out = torch.full_like(expected, 77)
    sizes = listed(list(reversed(expected.shape)))
    unit = 1 if len(inputs) == 1 else out.itemsize
    steps = [listed([unit * s for s in reversed(x.stride())]) for x in (out, *seen)]
    rest = [steps[1], steps[0], 2] if len(inputs) == 1 else [*steps, (2, 0, 0)]
    held = [x.T for x in seen]  # the same memory, as a tensor that is contiguous
    getattr(library(), name)(out, *held, sizes, *rest, threads=expected.numel())
    assert_close(out, expected, tolerance)


@pytest.mark.parametrize(("form", "columns"), [("", 200), ("_looped", 5000)])
@pytest.mark.parametrize("dtype", NAMES)
def test_norms_of_rows(dtype, form, columns):
    x, weight = torch.randn(3, columns).to(dtype), torch.randn(columns).to(dtype)
    out = torch.full_like(x, 77)
    kernel = getattr(library(), f"rms_norm{form}_{NAMES[dtype]}")
    group = 1024 if form else 64
    kernel(x, weight, out, 1e-5, columns, 1, threadgroups=3, group_size=group)
    expected = torch.nn.functional.rms_norm(x.float(), [columns], weight.float(), 1e-5)
    assert_close(out, expected.to(dtype), TOLERANCE[dtype])


@pytest.mark.parametrize("operation", ["cummax", "cummin"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_running_extremes_and_their_places(operation, dtype):
    x = torch.randn(3, 200).to(dtype)
    values, places = torch.full_like(x, 77), torch.zeros(3, 200, dtype=torch.int64)
    kernel = getattr(library(), f"{operation}_innermost_{NAMES[dtype]}")
    kernel(x, values, places, 200, threadgroups=(1, 3), group_size=64)
    expected = getattr(torch, operation)(x, -1)
    assert torch.equal(values, expected.values)
    assert torch.equal(x.gather(-1, places), expected.values)
