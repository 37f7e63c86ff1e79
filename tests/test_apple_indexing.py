"""MLX's kernels that scatter along an axis or by a mask, built from its headers by our compiler."""

from __future__ import annotations

import torch
from apple_cases import FLOATS, METAL, Case, Family, Launch, kernels, listed, named

OUTER, LENGTH, INNER, UPDATES = 3, 9, 5, 4


def scatter_along(dtype: torch.dtype, operation: str) -> Launch:
    """Along the middle axis, whose places may be counted from the end."""
    held = (torch.randn(OUTER, LENGTH, INNER) * 10).round().to(dtype)
    updates = (torch.randn(OUTER, UPDATES, INNER) * 10).round().to(dtype)
    order = torch.stack([torch.randperm(LENGTH)[:UPDATES] for _ in range(OUTER * INNER)])
    places = order.reshape(OUTER, INNER, UPDATES).transpose(1, 2).contiguous()
    add = {"Sum": held.scatter_add, "None": held.scatter}[operation]
    shape = torch.tensor([OUTER, INNER], dtype=torch.int32)
    signed = torch.where(torch.rand(places.shape) < 0.5, places, places - LENGTH)
    strides = listed((UPDATES * INNER, 1))
    return Launch(
        {
            0: updates,
            1: signed.to(torch.int32),
            3: shape,
            4: strides,
            5: strides,
            6: 2,
            7: 1,
            8: LENGTH,
            9: INNER,
            10: INNER,
        },
        {2: add(1, places, updates)},
        threads=(INNER, UPDATES, OUTER),
        group_size=(INNER, 1, 1),
        held={2: held},
    )


def by_mask(dtype: torch.dtype, contiguous: bool) -> Launch:
    """Where the mask is true, the next of the batch's numbers, as long as there are some."""
    mask = torch.rand(2, 30) < 0.4
    offsets = mask.cumsum(-1) - mask.to(torch.int64)
    source = torch.randn(2, 8).to(dtype)
    held = torch.randn(2, 30).to(dtype)
    chosen = mask & (offsets < 8)
    expected = torch.where(chosen, source.gather(1, offsets.clamp(max=7)), held)
    given = {0: mask, 1: offsets.to(torch.uint32), 2: source}
    given |= {4: listed((2, 8), torch.int32), 5: listed((8, 1)), 6: 2, 7: 8, 8: 30}
    if not contiguous:
        given |= {2: source.T.contiguous(), 5: listed((1, 2))}
    return Launch(given, {3: expected}, threads=60, group_size=32, held={3: held})


def from_the_front(dtype: torch.dtype, per_thread: int) -> Launch:
    """Whole rows, whose places may be counted from the end."""
    x = torch.randn(9, 10).to(dtype)
    places = torch.tensor([3, -1, 0, 8, 3], dtype=torch.int32)
    return Launch(
        {0: x, 1: places, 3: 10, 4: 9},
        {2: x[places.long()]},
        threads=(-(-10 // per_thread), 5),
        group_size=(2, 5),
    )


def into_a_slice(dtype: torch.dtype, operation: str, scalar: bool) -> Launch:
    """Rows 1 and 2, columns 3 to 6 of each, of what the output holds before."""
    held = (torch.randn(4, 9) * 10).round().to(dtype)
    updates = (torch.randn(1 if scalar else 8) * 10).round().to(dtype)
    expected = held.clone()
    part = expected[1:3, 3:7]
    more = updates if scalar else updates.reshape(2, 4)
    part.copy_(part + more if operation == "Sum" else torch.maximum(part, more))
    return Launch(
        {
            0: updates,
            2: listed((2, 4), torch.int32),
            3: listed((0, 0) if scalar else (4, 1)),
            4: 2,
            5: 8,
            6: listed((9, 1)),
            7: 9 + 3,
        },
        {1: expected},
        threads=(2, 2, 1),
        group_size=(2, 2, 1),
        held={1: held},
    )


FAMILIES = {
    "gather_front": Family(
        ["utils.h", "indexing/gather_front.h"],
        {
            f"gather_front_{named(dtype)}_{per_thread}": Case(
                f"gather_front<{METAL[dtype]}, int, int, {per_thread}>",
                lambda d=dtype, n=per_thread: from_the_front(d, n),
            )
            for dtype in FLOATS
            for per_thread in (1, 4)
        },
        one_in=6,
    ),
    "slice_update": Family(
        ["utils.h", "atomic.h", "reduction/ops.h", "indexing/scatter.h"],
        {
            f"slice_update_{operation}_{named(dtype)}_{scalar}": Case(
                f"slice_update_op_impl<{METAL[dtype]}, int, {operation}<{METAL[dtype]}>, "
                f"false, false, {str(scalar).lower()}, 2, 2>",
                lambda d=dtype, o=operation, s=scalar: into_a_slice(d, o, s),
            )
            for dtype in (*FLOATS, torch.int32)
            for operation in ("Sum", "Max")
            for scalar in (False, True)
        },
        one_in=8,
    ),
    "scatter_axis": Family(
        ["utils.h", "atomic.h", "reduction/ops.h", "indexing/scatter_axis.h"],
        {
            f"scatter_axis_{operation}_{named(dtype)}_{flag}": Case(
                f"scatter_axis<{METAL[dtype]}, int, int, "
                f"{'None' if operation == 'None' else f'Sum<{METAL[dtype]}>'}, {flag}, {flag}>",
                lambda d=dtype, o=operation: scatter_along(d, o),
            )
            for dtype in (*FLOATS, torch.int32)
            for operation in ("Sum", "None")
            for flag in ("true", "false")
        },
        one_in=8,
    ),
    "masked_scatter": Family(
        ["utils.h", "logging.h", "indexing/masked_scatter.h"],
        {
            f"masked_assign_{named(dtype)}_{contiguous}": Case(
                f"masked_assign_impl<{METAL[dtype]}, {str(contiguous).lower()}>",
                lambda d=dtype, c=contiguous: by_mask(d, c),
            )
            for dtype in FLOATS
            for contiguous in (True, False)
        },
        one_in=3,
    ),
}


@kernels(FAMILIES)
def test_our_build_gathers_and_scatters_as_pytorch_does(family, kernel):
    FAMILIES[family].check_ours(kernel)
