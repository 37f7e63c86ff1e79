"""Apple's sorts, in one block and in many, and searches in what is sorted; ours beside them."""

from __future__ import annotations

import pytest
import torch
from apple_cases import (
    FLOATS,
    METAL,
    Case,
    Family,
    Launch,
    kernels,
    listed,
    named,
)
from torch import Tensor

TYPES = (*FLOATS, torch.int32, torch.int64)


def distinct(dtype: torch.dtype, *shape: int) -> Tensor:
    """Numbers of which no two in a row are equal, so that there is one order."""
    count = shape[-1]
    rows = [torch.randperm(count) for _ in range(shape[0])]
    middle = count // 2 if dtype.is_floating_point else 0
    return (torch.stack(rows) - middle).to(dtype)


def one_block(dtype: torch.dtype, threads: int, *, indices: bool, contiguous: bool) -> Launch:
    size = threads * 4 - 29
    x = distinct(dtype, 6, size)
    order = x.sort(-1)
    expected = order.indices.to(torch.uint32) if indices else order.values
    arguments: dict[int, object] = {0: x, 2: size, 3: 1, 4: 1}
    if contiguous:
        arguments |= {5: size, 6: size}
    else:  # rows in two dimensions
        rows, strides = listed([2, 3], torch.int32), listed([3 * size, size])
        arguments |= {5: 2, 6: rows, 7: strides, 8: strides}
    return Launch(arguments, {1: expected}, groups=(1, 6), group_size=threads)


def cases() -> dict[str, Case]:
    found = {}
    for dtype in TYPES:
        for threads in (32, 64) if dtype.itemsize < 4 else (32, 128):
            for indices in (False, True):
                out = torch.uint32 if indices else dtype
                kinds = f"{METAL[dtype]}, {METAL[out]}, {str(indices).lower()}, {threads}, 4"
                word = "arg_block" if indices else "_block"
                for start, template in (("c", "block_sort"), ("nc", "block_sort_nc")):
                    name = f"{start}{word}_sort_{named(dtype)}_{named(out)}_bn{threads}_tn4"
                    found[name] = Case(
                        f"{template}<{kinds}>",
                        lambda d=dtype, t=threads, i=indices, c=start == "c": one_block(
                            d, t, indices=i, contiguous=c
                        ),
                    )
    return found


def search(dtype: torch.dtype, right: bool) -> Launch:
    a = torch.randint(-50, 50, (101,)).sort().values
    v = torch.randint(-60, 60, (40,))
    expected = torch.searchsorted(a, v, right=right).to(torch.uint32)
    # Every other element of a buffer.
    held = a.to(dtype).repeat_interleave(2)
    return Launch(
        {0: held, 1: v.to(dtype), 3: 101, 4: 2},
        {2: expected},
        threads=(10, 2, 2),
        group_size=(5, 2, 1),
    )


FAMILIES = {
    "sort": Family(["utils.h", "sort.h"], cases(), one_in=9),
    "searchsorted": Family(
        ["utils.h", "sort.h", "searchsorted.h"],
        {
            f"searchsorted_{named(dtype)}_{side}": Case(
                f"searchsorted<{METAL[dtype]}, {str(side == 'right').lower()}>",
                lambda d=dtype, s=side: search(d, s == "right"),
            )
            for dtype in TYPES
            for side in ("left", "right")
        },
    ),
}


@kernels(FAMILIES)
def test_apples_kernel_orders_as_pytorch_does_and_ours_the_same(family, kernel):
    FAMILIES[family].check(kernel)


def in_pieces() -> Family:
    """The kernels that sort blocks of a row, find where pieces of them meet, and merge those."""
    cases = {}
    for dtype in PIECES:
        threads = 256 if dtype.itemsize == 8 else 512
        for form, template in (
            ("sort", "mb_block_sort"),
            ("partition", "mb_block_partition"),
            ("merge", "mb_block_merge"),
        ):
            name = f"{form}_mbsort_{named(dtype)}_uint32_bn{threads}_tn4"
            cases[name] = Case(f"{template}<{METAL[dtype]}, uint, true, {threads}, 4>")
    return Family(["utils.h", "sort.h"], cases, one_in=1)


PIECES = (torch.float32, torch.bfloat16, torch.int64)
IN_PIECES = in_pieces()


@pytest.mark.parametrize("dtype", PIECES)
def test_rows_longer_than_a_block_are_sorted_in_pieces_and_merged(dtype):
    threads = 256 if dtype.itemsize == 8 else 512
    blocks, rows = 3, 2
    size = threads * 4 * (blocks - 1) + 99
    x = torch.randperm(size).repeat(rows, 1) % 250
    x = x.to(dtype)
    kinds = f"{named(dtype)}_uint32_bn{threads}_tn4"
    values, places = torch.empty_like(x), torch.empty(rows, size, dtype=torch.uint32)
    given = {0: x, 3: size, 4: 1, 5: 1, 6: listed([rows], torch.int32), 7: listed([size])}
    launch = Launch(given, {1: values, 2: places}, groups=(blocks, rows), group_size=threads)
    pieces = IN_PIECES.run_both(f"sort_mbsort_{kinds}", launch)
    tiles = 2
    while tiles // 2 < blocks:
        given = {1: pieces[1], 2: pieces[2], 3: size, 4: tiles, 5: blocks}
        bounds = torch.empty(rows, blocks + 1, dtype=torch.uint32)
        launch = Launch(given, {0: bounds}, groups=(1, rows), group_size=blocks + 1)
        parts = IN_PIECES.run_both(f"partition_mbsort_{kinds}", launch)[0]
        given = {0: parts, 1: pieces[1], 2: pieces[2], 5: size, 6: tiles, 7: blocks}
        launch = Launch(given, {3: values, 4: places}, groups=(blocks, rows), group_size=threads)
        merged = IN_PIECES.run_both(f"merge_mbsort_{kinds}", launch)
        pieces = {1: merged[3], 2: merged[4]}
        tiles *= 2
    assert torch.equal(pieces[1], x.sort(-1).values)
    assert torch.equal(x.gather(-1, pieces[2].long()), pieces[1])
