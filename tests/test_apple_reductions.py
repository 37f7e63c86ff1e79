"""Apple's reductions of everything, of rows and of columns, and ours beside them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from apple_cases import (
    FLOATS,
    METAL,
    Case,
    Family,
    Launch,
    apple,
    kernels,
    listed,
    named,
    run,
)
from torch import Tensor

TOLERANCE = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 8e-2, torch.int32: 0}
REDUCTIONS: dict[str, Callable[[Tensor, tuple[int, ...]], Tensor]] = {
    "sum": lambda x, axes: x.sum(axes),
    "prod": lambda x, axes: product(x, axes),
    "min": lambda x, axes: x.amin(axes),
    "max": lambda x, axes: x.amax(axes),
}
OPERATORS = {"sum": "Sum", "prod": "Prod", "min": "Min", "max": "Max", "and": "And", "or": "Or"}


def product(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis)
    return x


def numbers(op: str, dtype: torch.dtype, *shape: int) -> Tensor:
    if op == "prod":  # near one, or the product of many overflows
        return (torch.rand(shape) * 0.2 + 0.9).to(dtype)
    if dtype == torch.int32:
        return torch.randint(-1000, 1000, shape, dtype=dtype)
    return torch.randn(shape).to(dtype)


def reduced(op: str, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    wide = x.float() if x.is_floating_point() else x.long()
    return REDUCTIONS[op](wide, axes).to(x.dtype)


def everything(op: str, dtype: torch.dtype) -> Launch:
    x = numbers(op, dtype, 901)
    expected = reduced(op, x, (0,)).reshape(1)
    return Launch(
        {0: x, 2: 901, 3: 901}, {1: expected}, groups=1, group_size=96, tolerance=TOLERANCE[dtype]
    )


def simple_rows(op: str, dtype: torch.dtype) -> Launch:
    x = numbers(op, dtype, 6, 150)
    return Launch(
        {0: x, 2: 150, 3: 6},
        {1: reduced(op, x, (1,))},
        groups=(1, 2),
        group_size=64,
        tolerance=TOLERANCE[dtype],
    )


# Three shapes: how many dimensions are reduced beside the rows or columns themselves.
LAYOUTS = {
    1: ((5, 3, 40), (0,), 1),
    2: ((5, 2, 3, 40), (0, 2), 2),
    5: ((2, 2, 3, 2, 40), (0, 2, 3), 3),
}


def described(x: Tensor, kept: list[int], reduced_axes: list[int]) -> dict[int, object]:
    """Buffers 4 to 9: shape, strides and number of the kept axes, then of the reduced ones."""
    buffers: dict[int, object] = {}
    for start, axes in ((4, kept), (7, reduced_axes)):
        buffers |= {
            start: listed([x.shape[a] for a in axes], torch.int32),
            start + 1: listed([x.stride(a) for a in axes]),
            start + 2: len(axes),
        }
    return buffers


def rows(op: str, dtype: torch.dtype, layout: int, looped: bool) -> Launch:
    """Over the last axis and some others."""
    shape, axes, _ = LAYOUTS[layout]
    x = numbers(op, dtype, *shape)
    last = len(shape) - 1
    kept = [axis for axis in range(last) if axis not in axes]
    expected = reduced(op, x, (*axes, last))
    others = math.prod(shape[axis] for axis in axes)
    arguments = {0: x, 2: shape[last], 3: others, **described(x, kept, list(axes))}
    count = expected.numel()
    # Up to 8 other rows a thread takes them all alone, from there on a SIMD-group.
    small = {"threads": (count, 1)} if others <= 8 else {"groups": (1, count)}
    where = {"groups": (1, count)} if looped else small
    return Launch(arguments, {1: expected}, group_size=32, tolerance=TOLERANCE[dtype], **where)


def columns(op: str, dtype: torch.dtype, layout: int, form: str) -> Launch:
    """Over some axes that are not the last."""
    shape, axes, _ = LAYOUTS[layout]
    shape = (*shape[:-1], 32 if form == "longcolumn" else 45)
    x = numbers(op, dtype, *shape)
    kept = [axis for axis in range(len(shape) - 1) if axis not in axes]
    reduced_axes = list(axes)
    size = shape[axes[-1]]
    others = math.prod(shape[axis] for axis in axes[:-1])
    expected = reduced(op, x, axes)
    outer = expected.numel() // shape[-1]
    arguments = {0: x, 2: size, 3: shape[-1], **described(x, kept, reduced_axes), 10: others}
    match form:
        case "small":
            group, groups = (12, 8), (1, outer)
        case "longcolumn":
            group, groups = (32, 8), (outer, 1)
            arguments[11] = expected.numel()
        case "looped":
            group, groups = 256, (2, outer)
            arguments[11] = 0
        case _:
            # The first of two passes: of 32 blocks of rows all but the first are past the end here.
            group, groups = 256, (2, 32 * outer)
            arguments |= {11: 0, 12: outer}
            neutral = reduced(op, x[:0].flatten(0, -2), (0,)) if op in ("sum", "prod") else None
            assert neutral is not None
            rest = neutral.expand(31 * outer, shape[-1])
            expected = torch.cat([expected.reshape(outer, -1), rest])
    return Launch(
        arguments, {1: expected}, groups=groups, group_size=group, tolerance=TOLERANCE[dtype]
    )


def cases() -> dict[str, Case]:
    found = {}
    for op in REDUCTIONS:
        for dtype in (*FLOATS, torch.int32):
            if op != "sum" and dtype != torch.float32:
                continue  # the forms are tried with sums
            type_ = METAL[dtype]
            types, name = f"{type_}, {type_}, {OPERATORS[op]}<{type_}>", op + named(dtype)
            found[f"all_reduce_{name}"] = Case(
                f"all_reduce<{types}>", lambda o=op, d=dtype: everything(o, d)
            )
            found[f"row_reduce_simple_{name}"] = Case(
                f"row_reduce_simple<{types}>", lambda o=op, d=dtype: simple_rows(o, d)
            )
            for large, index in (("", "int"), ("large_", "int64_t")):
                for layout in LAYOUTS if op == "sum" else [1]:
                    for form in ("small", "looped"):
                        found[f"row_reduce_{form}_{large}{layout}_reduce_{name}"] = Case(
                            f"row_reduce_{form}<{types}, {index}, {layout}>",
                            lambda o=op, d=dtype, k=layout, f=form: rows(o, d, k, f == "looped"),
                        )
                    for form, tile in (
                        ("small", ""),
                        ("longcolumn", ""),
                        ("looped", "_32_32"),
                        ("2pass", "_32_32"),
                    ):
                        if form == "2pass" and op in ("min", "max"):
                            continue
                        found[f"col_reduce_{form}_{large}{layout}{tile}_reduce_{name}"] = Case(
                            f"col_reduce_{form}<{types}, {index}, {layout}"
                            f"{tile.replace('_', ', ')}>",
                            lambda o=op, d=dtype, k=layout, f=form: columns(o, d, k, f),
                        )
    return found


FAMILIES = {
    "reduce": Family(
        ["utils.h", "atomic.h", "reduction/ops.h", "reduce.h"],
        cases(),
        one_in=23,
    ),
}


@kernels(FAMILIES)
def test_apples_kernel_reduces_as_pytorch_does_and_ours_the_same(family, kernel):
    FAMILIES[family].check(kernel)


@pytest.mark.parametrize("op", ["and", "or"])
def test_truth_values_are_reduced(op):
    x = torch.rand(7, 90) > (0.02 if op == "and" else 0.98)
    expected = x.all(-1) if op == "and" else x.any(-1)
    launch = Launch({0: x, 2: 90, 3: 7}, {1: expected}, groups=(1, 2), group_size=32)
    assert torch.equal(run(apple(), f"row_reduce_simple_{op}bool_", launch)[1], expected)


INITIAL = Family(
    ["utils.h", "atomic.h", "reduction/ops.h", "reduction/reduce_init.h"],
    {
        f"init_reduce_{op}float32": Case(f"init_reduce<float, {op.title()}<float>>")
        for op in ("sum", "prod", "min", "max")
    },
    one_in=1,
)


@pytest.mark.parametrize("op", ["sum", "prod", "min", "max"])
def test_accumulators_begin_with_what_changes_nothing(op):
    value = {"sum": 0.0, "prod": 1.0, "min": math.inf, "max": -math.inf}[op]
    launch = Launch({}, {0: torch.full((50,), value)}, threads=(25, 2), group_size=(25, 1))
    result = INITIAL.run_both(f"init_reduce_{op}float32", launch)[0]
    assert torch.equal(result, launch.expected[0])


@pytest.mark.parametrize("op", ["argmin", "argmax"])
@pytest.mark.parametrize("dtype", [*FLOATS, torch.int32])
def test_places_of_the_smallest_and_largest_in_any_axis(op, dtype):
    x = torch.randperm(6 * 50 * 5).reshape(6, 50, 5)[:, :, :3].contiguous()
    x = (x % 256 if dtype == torch.bfloat16 else x).to(dtype)
    # Of equals the first counts, for MLX and for torch alike.
    expected = getattr(x.float(), op)(1).to(torch.int32)
    arguments = {
        0: x,
        2: listed((6, 3), torch.int32),
        3: listed((150, 1)),
        4: listed((3, 1)),
        5: 2,
        6: 3,
        7: 50,
    }
    launch = Launch(arguments, {1: expected}, threads=(32, 18), group_size=(32, 1))
    assert torch.equal(run(apple(), f"{op}_{named(dtype)}", launch)[1], expected)
