"""PyTorch's own Metal kernels of cross products, histograms and gamma functions, beside PyTorch."""

from __future__ import annotations

import itertools

import torch
from apple_torch_cases import (
    FLOATS,
    METAL,
    REAL,
    close,
    launch,
    permuted,
    sampled,
    unwritten,
    values,
    wide,
)
from torch import Tensor


@sampled("dtype dim", itertools.product(REAL, (0, 1)), 4)
def test_cross_products(dtype, dim):
    shape = (3, 20) if dim == 0 else (20, 3)
    a, b, out = permuted(values(dtype, *shape)), values(dtype, *shape), unwritten(dtype, *shape)
    expected = torch.linalg.cross(wide(a).double(), wide(b).double(), dim=dim)
    offsets = torch.zeros(20, 4, dtype=torch.int32)
    for i, tensor in enumerate((out, a, b)):
        offsets[:, i] = torch.arange(20) * tensor.stride(1 - dim) * tensor.itemsize
    steps = [tensor.stride(dim) for tensor in (out, a, b)]
    arguments = a, b, out, offsets.view(torch.uint32), *steps
    launch(f"cross_{METAL[dtype]}", *arguments, threads=20)
    close(out, expected, 4)


ALGORITHMS = ("linear interpolation", "with local search", "binary search")
UNEVEN = (torch.tensor([0.0, 1.0, 1.5, 4.0, 8.0]), torch.tensor([-4.0, -1.0, 0.0, 3.0]))
EVEN = (torch.linspace(0, 8, 9), torch.linspace(-4, 4, 5))


@sampled(
    "dtype algorithm weighted",
    itertools.product(FLOATS[:2], ALGORITHMS, (False, True)),
    2,
)
def test_histograms_of_points(dtype, algorithm, weighted):
    """Coordinates are sixteenths, which no way of finding their bin rounds."""
    edges = UNEVEN if algorithm == "binary search" else EVEN
    points = (torch.randint(-16 * 5, 16 * 9, (120, 2)) / 16).to(dtype)
    weight = (torch.randint(0, 9, (120,)) / 4).to(dtype)
    bins = [len(line) - 1 for line in edges]
    out = torch.zeros(120, *bins, dtype=dtype)  # a histogram for each point, added up by the host
    held = permuted(points)
    places = torch.arange(120)[:, None] * held.stride(0) + torch.arange(2) * held.stride(1)
    launch(
        f"histogramdd_{METAL[dtype]}", held, weight, out, places.int().view(torch.uint32), 2,
        torch.cat(edges).to(dtype), [len(line) for line in edges],
        torch.stack([line[0] for line in edges]).to(dtype),
        torch.stack([line[-1] for line in edges]).to(dtype),
        list(out.stride()), ALGORITHMS.index(algorithm), weighted, threads=120,
    )  # fmt: skip
    given = {"weight": weight.float()} if weighted else {}
    expected = torch.histogramdd(points.float(), edges, **given).hist
    assert torch.equal(out.float().sum(0), expected)


def some_of(dtype: torch.dtype) -> Tensor:
    """Where gamma functions are far from their poles; integers are positive."""
    x = torch.rand(210) * 9 + 0.3 if dtype in FLOATS else torch.arange(210) % 40 + 1
    return x.to(dtype)


GAMMA = {"lgamma": torch.lgamma, "digamma": torch.digamma}


@sampled("operation dtype", itertools.product(GAMMA, REAL), 5)
def test_the_gamma_function_and_its_logarithmic_derivative(operation, dtype):
    x = some_of(dtype)
    result = dtype if dtype in FLOATS else torch.float32
    out = unwritten(result, 210)
    launch(f"{operation}_{METAL[dtype]}_{METAL[result]}", x, out, threads=210)
    close(out, GAMMA[operation](x.double()), 4)


@sampled("dtype order", itertools.product(REAL, (None, 2, 3, 5)), 5)
def test_derivatives_of_the_digamma_function(dtype, order):
    x = some_of(dtype)
    result = dtype if dtype in FLOATS else torch.float32
    out = unwritten(result, 210)
    name = f"{'trigamma' if order is None else 'polygamma'}_{METAL[dtype]}_{METAL[result]}"
    launch(name, x, out, *([] if order is None else [order]), threads=210)
    expected = torch.special.polygamma(1 if order is None else order, x.double())
    within = expected.abs() < torch.finfo(result).max  # of half there is not enough
    close(out[within], expected[within], 4)
    assert torch.equal(out[~within].double(), torch.sign(expected[~within]) * torch.inf)


def test_the_trigamma_function_of_negative_numbers():
    x = torch.rand(210) * -9
    x = x[(x - x.round()).abs() > 0.05]
    out = unwritten(torch.float32, len(x))
    launch("trigamma_float_float", x, out, threads=len(x))
    close(out, torch.special.polygamma(1, x.double()), 50)
