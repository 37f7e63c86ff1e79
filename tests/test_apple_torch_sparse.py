"""PyTorch's own Metal kernels that coalesce sparse tensors, beside PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from apple_torch_cases import FLOATS, METAL, REAL, close, launch, sampled, unwritten, values
from torch import Tensor

SHAPE = 5, 6, 7
INT, LONG = torch.int32, torch.int64
TYPES = (*REAL, torch.complex64, torch.complex32)
pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")


def places(count: int, dimensions: int) -> Tensor:
    """Indices of so many elements, some of them equal; a column for each."""
    return torch.stack([torch.randint(size, (count,)) for size in SHAPE[:dimensions]])


def flattened(indices: Tensor) -> Tensor:
    """One number for each column; `indices` may be strided."""
    dimensions, count = indices.shape
    steps = torch.empty(SHAPE[:dimensions]).stride()
    flat = unwritten(LONG, count)
    strides = list(indices.stride())
    launch("flatten_indices_kernel", indices, list(steps), flat, dimensions, strides, threads=count)
    return flat


@pytest.mark.parametrize("dimensions", [1, 3])
def test_indices_become_one_number(dimensions):
    indices = places(70, dimensions)
    expected = np.ravel_multi_index(indices.numpy(), SHAPE[:dimensions])
    for seen in (indices, indices.T.contiguous().T):
        assert flattened(seen).tolist() == expected.tolist()


@pytest.mark.parametrize("count", [1, 45, 1500])
def test_the_first_of_equal_numbers_are_marked_and_counted(count):
    flat = torch.randint(count, (count,)).sort().values
    marked, found = torch.zeros(count, dtype=torch.bool), torch.zeros(1, dtype=INT)
    launch("mark_unique_positions_and_count_kernel", flat, marked, found, threads=count)
    assert torch.equal(flat[marked], flat.unique())
    assert found.item() == len(flat.unique())


@pytest.mark.parametrize("count", [1, 45, 1500])
def test_places_of_the_marked_by_counting_and_by_doubling_sums(count):
    marked = torch.rand(count) > 0.4
    expected = marked.int().cumsum(0, dtype=INT) - marked.int()
    counted = unwritten(INT, count)
    launch("compute_output_positions_kernel", marked, counted, threads=count)
    assert torch.equal(counted, expected)
    sums, others = marked.to(INT), unwritten(INT, count)
    stride = 1
    while stride < count:
        launch("kogge_stone_step", sums, others, stride, threads=count)
        sums, others, stride = others, sums, 2 * stride
    launch("shift_right_kernel", sums, others, threads=count)
    assert torch.equal(others, expected)


@sampled("dtype rest", [(dtype, rest) for dtype in TYPES for rest in ((), (3, 5))], 4)
def test_elements_at_one_place_are_added(dtype, rest):
    indices = places(60, 2)
    order = flattened(indices).argsort(stable=True)
    indices, flat = indices[:, order], flattened(indices)[order]
    held = values(dtype, 60, *rest)
    marked = torch.cat([torch.tensor([True]), flat[1:] != flat[:-1]])
    where, unique = marked.int().cumsum(0, dtype=INT) - 1, int(marked.sum())
    out_indices, out = unwritten(LONG, 2, unique), unwritten(dtype, unique, *rest)
    sizes = 60, held[0].numel(), 2, unique
    name = f"coalesce_with_positions_kernel_{METAL[dtype]}"
    launch(name, flat, indices, held, marked, where, out_indices, out, *sizes, threads=60)
    wide = held.to(torch.complex64) if dtype.is_complex else held
    wide = held.float() if dtype in FLOATS else wide
    shape = *SHAPE[:2], *rest
    expected = torch.sparse_coo_tensor(indices, wide, shape, check_invariants=True).coalesce()
    assert torch.equal(out_indices, expected.indices())
    close(out, expected.values(), 2)
