"""PyTorch's own Metal kernels that read and write elements by index, beside PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from apple_torch_cases import (
    FLOATS,
    INTEGERS,
    METAL,
    close,
    launch,
    memory,
    permuted,
    sampled,
    unwritten,
    values,
)
from torch import Tensor

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
BITS = {torch.int8: "8bit", torch.int16: "16bit", torch.int32: "32bit", torch.int64: "64bit"}
SHAPE = 5, 6, 7
COMPLEX = torch.complex64, torch.complex32


def places(repeated: bool) -> tuple[Tensor, Tensor]:
    """Which of 6 and of 7, from the end too; strided, and without repeats where so asked."""
    count = 42
    flat = torch.randint(0, count, (3, 4)) if repeated else torch.randperm(count)[:12].view(3, 4)
    rows, columns = flat.T // 7, flat.T % 7
    return rows - 6 * (rows % 2), columns - 7 * (columns % 3 == 0).long()


def in_bytes(x: Tensor, strides: Sequence[int]) -> list[int]:
    return [stride * x.itemsize for stride in strides]


def by_index(x: Tensor, value: Tensor, rows: Tensor, columns: Tensor) -> list[object]:
    """How PyTorch's iterator sees x[:, rows, columns] = value; its fastest dimension first.

    Strides are in bytes. `x` does not move along the dimensions of the indices, which do not move
    along its first.
    """
    over = value.shape[::-1]
    still = in_bytes(x, (0, 0, x.stride(0)))
    moving = in_bytes(value, value.stride()[::-1])
    index = in_bytes(rows, (*rows.stride()[::-1], 0))
    assert rows.stride() == columns.stride(), "one set of strides serves all indices"
    pointers = torch.tensor([rows.data_ptr(), columns.data_ptr()])
    found = x.shape[1:], in_bytes(x, x.stride()[1:])
    return [pointers, list(over), still, moving, index, *map(list, found), (3, 2, value.numel(), 0)]


@sampled("dtype", [(dtype,) for dtype in BITS], 2)
def test_elements_are_read_by_index(dtype):
    x = permuted(values(dtype, *SHAPE))
    rows, columns = places(repeated=True)
    expected = x[:, rows, columns]
    out = permuted(unwritten(dtype, *expected.shape))
    pointers, over, still, moving, *rest = by_index(x, out, rows, columns)
    arguments = pointers, over, moving, still, *rest
    launch(f"index_select_{BITS[dtype]}", out, x, *arguments, threads=out.numel())
    assert torch.equal(out, expected)


@sampled("form dtype", itertools.product(("put", "put_serial"), BITS), 3)
def test_elements_are_written_by_index(form, dtype):
    x = permuted(values(dtype, *SHAPE))
    rows, columns = places(repeated=form == "put_serial")
    value = permuted(values(dtype, 5, 4, 3))
    expected = x.clone()
    for i, j in itertools.product(range(4), range(3)):  # the last of repeated indices holds
        expected[:, rows[i, j], columns[i, j]] = value[:, i, j]
    arguments = by_index(x, value, rows, columns)
    threads = value.numel() if form == "put" else 1
    launch(f"index_{form}_{BITS[dtype]}", x, value, *arguments, threads=threads)
    assert torch.equal(x, expected)


@sampled("dtype", [(d,) for d in (*FLOATS, *INTEGERS, torch.bool, *COMPLEX)], 2)
def test_elements_are_added_by_index(dtype):
    x, value = permuted(values(dtype, *SHAPE)), permuted(values(dtype, 5, 4, 3))
    rows, columns = places(repeated=True)
    wide = torch.float64 if dtype in FLOATS else torch.complex128 if dtype in COMPLEX else dtype
    index = (torch.arange(5)[:, None, None], rows % 6, columns % 7)
    expected = x.to(wide).contiguous().index_put(index, value.to(wide), accumulate=True)
    arguments = by_index(x, value, rows, columns)
    launch(f"index_put_accumulate_{METAL[dtype]}", x, value, *arguments, threads=value.numel())
    if dtype.is_complex:
        close(torch.view_as_real(x), torch.view_as_real(expected), 2)
    else:
        close(x, expected, 2)


@sampled("dtype", [(d,) for d in (*FLOATS, *INTEGERS, *COMPLEX)], 5)
def test_many_threads_add_to_few_elements(dtype):
    """Small whole numbers, whose sums are exact in whatever order."""
    count, slots = 4096, 16
    value, index = torch.randint(0, 2, (count,)), torch.randint(-slots, slots, (count,))
    expected = torch.zeros(slots).index_put((index % slots,), value.float(), accumulate=True)
    x, value = torch.zeros(slots, dtype=dtype), value.float().to(dtype)
    size = value.itemsize
    of = [count], [0], [size], [8], [slots], [size], (1, 1, count, 0)
    pointer = torch.tensor([index.data_ptr()])
    launch(f"index_put_accumulate_{METAL[dtype]}", x, value, pointer, *of, threads=count)
    assert torch.equal(memory(x), memory(expected.to(dtype)))


COPIED = (*FLOATS, *INTEGERS, torch.bool, *COMPLEX)


@sampled("dtype index", itertools.product(COPIED, ("int", "long")), 7)
def test_slices_are_copied_to_places_by_index(dtype, index):
    x, source = permuted(values(dtype, 6, 5, 4)), values(dtype, 6, 3, 4)
    places = torch.tensor([4, 0, 2], dtype={"int": torch.int32, "long": torch.int64}[index])
    expected = x.clone()
    for i, place in enumerate(places.tolist()):
        expected[:, place] = source[:, i]
    of = 1, list(x.shape), 3, 3
    out = unwritten(dtype, *x.shape)
    name = f"index_copy_{{}}_{METAL[dtype]}_{index}"
    launch(name.format("dense"), out, x.contiguous(), source, places, *of, threads=120)
    assert torch.equal(memory(out), memory(expected.contiguous()))
    out, held = permuted(unwritten(dtype, *x.shape)), permuted(source)
    apart = torch.stack([places, places - 100], 1)  # every other number is an index
    steps = [list(t.stride()) for t in (x, out, held)]
    launch(name.format("strided"), out, x, held, apart, *of, *steps, 2, threads=120)
    assert torch.equal(memory(out.contiguous()), memory(expected.contiguous()))


SEARCHED = itertools.product((*FLOATS, *INTEGERS), ("int", "long"), (False, True))


@sampled("dtype index right", SEARCHED, 7)
def test_places_among_boundaries(dtype, index, right):
    bounds, x = values(dtype, 3, 20, most=30), values(dtype, 3, 50, most=40)
    wanted = {"int": torch.int32, "long": torch.int64}[index]
    order = bounds.argsort(-1)
    lines = bounds.gather(-1, order)
    of = 50, 20, x.numel(), right, False
    for sorter in (None, order):
        out = unwritten(wanted, 3, 50)
        given = (lines,) if sorter is None else (bounds,)
        name = f"searchsorted_{METAL[dtype]}_{index}{'_sorter' * (sorter is not None)}"
        launch(name, x, *given, out, *of, *([] if sorter is None else [sorter]), threads=150)
        assert torch.equal(out, torch.searchsorted(lines, x, right=right).to(wanted))


@sampled("dtype", [(dtype,) for dtype in BITS], 3)
def test_masked_elements_are_filled(dtype):
    x, mask = values(dtype, 4, 5, 6), torch.rand(5, 6) > 0.5
    expected = x.masked_fill(mask, 3)
    out = x.clone()
    launch(f"masked_fill_scalar_broadcast_{BITS[dtype]}", out, mask, 3, 30, threads=120)
    assert torch.equal(out, expected)
    out = x.clone()
    dense = mask.expand(4, 5, 6).contiguous()
    launch(f"masked_fill_scalar_dense_{BITS[dtype]}", out, dense, 3, threads=120)
    assert torch.equal(out, expected)
    out, held = permuted(x), permuted(mask)
    steps = list(out.stride()), [0, *held.stride()], torch.tensor([3], dtype=torch.uint32)
    name = f"masked_fill_scalar_strided_{BITS[dtype]}"
    launch(name, out, held, 3, [4, 5, 6], *steps, threads=120)
    assert torch.equal(out, expected)


@sampled("dtype", [(dtype,) for dtype in (torch.int32, torch.int64)], 1)
def test_numbers_are_repeated(dtype):
    repeats = torch.tensor([3, 0, 1, 7, 0, 2, 40], dtype=dtype)
    out = unwritten(dtype, int(repeats.sum()))
    name = f"repeat_interleave_{str(dtype).removeprefix('torch.')}_t"
    launch(name, repeats, repeats.cumsum(0), out, threads=7)
    assert torch.equal(out, torch.repeat_interleave(repeats).to(dtype))


def test_offsets_of_elements_in_several_tensors():
    shape, strides = (3, 4, 5), torch.randint(0, 1000, (3, 3), dtype=torch.int32)
    grid = torch.cartesian_prod(*(torch.arange(n) for n in reversed(shape))).flip(1)
    expected = grid.float() @ strides.float()  # the first dimension is the fastest
    for bits, dtype in ((32, torch.uint32), (64, torch.uint64)):
        out = torch.full((60, 4), 7, dtype=torch.int64).to(dtype)
        arguments = strides.view(torch.uint32), out, list(shape), 3
        launch(f"kernel_index_offsets_{bits}", *arguments, threads=60)
        assert torch.equal(out[:, :3].long(), expected.long())
    out = torch.full((60,), 7, dtype=torch.int64).to(torch.uint32)
    arguments = strides[:, 0].contiguous().view(torch.uint32), out, list(shape), 3
    launch("kernel_index_offset", *arguments, threads=60)  # here the last is the fastest
    grid = torch.cartesian_prod(*(torch.arange(n) for n in shape))
    assert torch.equal(out.long(), grid @ strides[:, 0].long())


def test_a_sum_becomes_exclusive():
    x = torch.randint(0, 9, (210,), dtype=torch.int32)
    out = unwritten(torch.int32, 210)
    launch("shift_right_kernel", x, out, threads=210)
    assert torch.equal(out, torch.cat([torch.zeros(1, dtype=torch.int32), x[:-1]]))


TRIANGULAR = (*FLOATS, *COMPLEX, *INTEGERS, torch.bool)
SHAPES = ((7, 5), (3, 4, 6), (2, 3, 5, 5))


@sampled(
    "half dtype shape diagonal",
    itertools.product(("tril", "triu"), TRIANGULAR, SHAPES, (0, 2, -1)),
    25,
)
def test_triangles_of_matrices(half, dtype, shape, diagonal):
    x, out = permuted(values(dtype, *shape)), unwritten(dtype, *shape)
    bits = x if dtype != torch.complex32 else torch.view_as_real(x).view(torch.int32)[..., 0]
    expected = getattr(torch, half)(bits, diagonal)
    sizes = list(reversed(shape))
    threads = *sizes[:2], x[..., 0, 0].numel()
    steps = [list(reversed(t.stride())) for t in (out, x)]
    last = diagonal, len(shape)
    launch(f"{half}_int_{METAL[dtype]}", out, x, *steps, sizes, last, threads=threads)
    assert torch.equal(memory(out), memory(expected.contiguous().view(dtype)))
    launch(f"{half}_inplace_int_{METAL[dtype]}", x, steps[1], sizes, last, threads=threads)
    assert torch.equal(memory(x.contiguous()), memory(out))


def trapezoid(half: str, rows: int, columns: int, offset: int) -> tuple[int, ...]:
    """A triangle of indices as its kernel is told of it: a trapezoid and a rectangle."""
    count = getattr(torch, f"{half}_indices")(rows, columns, offset).shape[1]
    if half == "tril":
        first = min(columns, 1 + offset) if offset > 0 else int(rows + offset > 0)
        above = max(0, -offset)
        full = min(columns, max(0, rows + offset))
        stacked = (first + full) * (full - first + 1) // 2
        return above, first, columns, stacked, count
    first = max(columns - offset, 0) if offset > 0 else columns
    rectangle = min(rows, -offset) * columns if offset < 0 else 0
    return max(0, offset), first, columns, rectangle, count


INDICES = [(7, 5), (5, 7), (6, 6), (300, 200)]


@sampled(
    "half dtype size offset",
    itertools.product(("tril", "triu"), (torch.int64, torch.int32), INDICES, (0, 2, -3)),
    11,
)
def test_indices_of_triangles(half, dtype, size, offset):
    expected = getattr(torch, f"{half}_indices")(*size, offset, dtype=dtype)
    out = unwritten(dtype, *expected.shape)
    sizes = trapezoid(half, *size, offset)
    launch(f"{half}_indices_{METAL[dtype]}", out, *sizes, threads=out.shape[1])
    assert torch.equal(out, expected)
