"""Apple's products of matrices: plain, split, gathered, masked, in segments; ours beside them."""

from __future__ import annotations

import itertools
import struct

import torch
from apple_cases import (
    FLOATS,
    METAL,
    Case,
    Family,
    Launch,
    apple,
    assert_close,
    kernels,
    listed,
    named,
    run,
)
from apple_products import TOLERANCE, masks, product, some, spread
from torch import Tensor


def gemm_parameters(
    m: int, n: int, k: int, tile: tuple[int, int, int], strides: tuple[int, ...], **more: object
) -> bytes:
    """MLX's GEMMParams: sizes, row strides, tiles, batch strides, and how the grid is walked."""
    batch = more.get("batch", (m * k, k * n, m * n))
    return struct.pack(
        "=8i3q3i4x",
        *(m, n, k, *strides, -(-n // tile[1]), -(-m // tile[0])),
        *batch,
        *(0, k // tile[2], 1),
    )


def alignment(m: int, n: int, k: int, tile: tuple[int, int, int]) -> dict[str, bool]:
    sizes = zip("MNK", (m, n, k), tile, strict=True)
    return {f"align_{letter}": size % part == 0 for letter, size, part in sizes}


def operands(
    dtype: torch.dtype, m: int, n: int, k: int, layout: str
) -> tuple[Tensor, Tensor, Tensor]:
    """A and B as they lie in memory, transposed where `layout` says t, and their product."""
    a = some(dtype, k, m) if layout[0] == "t" else some(dtype, m, k)
    b = some(dtype, n, k) if layout[1] == "t" else some(dtype, k, n)
    seen = a.T if layout[0] == "t" else a, b.T if layout[1] == "t" else b
    return a, b, product(*seen)


TILE = (32, 32, 16)
GROUP = (32, 2, 2)


def fused(dtype: torch.dtype, layout: str, *, with_source: bool) -> Launch:
    m, n, k = 40, 50, 37
    a, b, expected = operands(dtype, m, n, k, layout)
    parameters = gemm_parameters(m, n, k, TILE, (a.shape[1], b.shape[1], n))
    arguments: dict[int, object] = {0: a, 1: b, 4: parameters}
    if with_source:
        source = some(dtype, m, n)
        arguments |= {2: source, 5: struct.pack("=iiqff", n, 1, m * n, 0.5, 2.0)}
        wide = (a.T if layout[0] == "t" else a).float() @ (b.T if layout[1] == "t" else b).float()
        expected = (0.5 * wide + 2 * source.float()).to(dtype)
    return Launch(
        arguments,
        {3: expected},
        groups=(2, 2, 1),
        group_size=GROUP,
        constants={
            "has_batch": False,
            "use_out_source": with_source,
            "do_axpby": with_source,
            **alignment(m, n, k, TILE),
        },
        tolerance=TOLERANCE[dtype],
    )


def split(dtype: torch.dtype, layout: str) -> Launch:
    """Three parts of k, whose products stay apart."""
    m, n, k = 20, 30, 96
    tile = (16, 16, 16)
    a, b, _ = operands(dtype, m, n, k, layout)
    seen_a, seen_b = a.T if layout[0] == "t" else a, b.T if layout[1] == "t" else b
    parts = [seen_a[:, i : i + 32].float() @ seen_b[i : i + 32].float() for i in range(0, k, 32)]
    parameters = struct.pack(
        "=13i", *(m, n, k, a.shape[1], b.shape[1], n, 2, 2, 3, m * n, 32, 0, 32 // tile[2])
    )
    return Launch(
        {0: a, 1: b, 3: parameters},
        {2: torch.stack(parts)},
        groups=(2, 2, 3),
        group_size=GROUP,
        tolerance=TOLERANCE[dtype],
    )


def gathered(dtype: torch.dtype, layout: str) -> Launch:
    m, n, k = 40, 50, 37
    a = some(dtype, 3, m, k)
    b = some(dtype, 4, n, k) if layout[1] == "t" else some(dtype, 4, k, n)
    left, right = listed([2, 0], torch.int32), listed([1, 3], torch.int32)
    seen = b.mT if layout[1] == "t" else b
    arguments = {
        0: a,
        1: b,
        2: left,
        3: right,
        5: gemm_parameters(m, n, k, TILE, (k, b.shape[-1], n), batch=(1, 1, m * n)),
        6: listed([2], torch.int32),
        7: listed([1]),
        8: listed([1]),
        9: 1,
        10: listed([3], torch.int32),
        11: listed([m * k]),
        12: 1,
        13: listed([4], torch.int32),
        14: listed([n * k]),
    }
    return Launch(
        arguments,
        {4: product(a[left.long()], seen[right.long()])},
        groups=(2, 2, 2),
        group_size=GROUP,
        constants={"has_batch": False, **alignment(m, n, k, TILE)},
        tolerance=TOLERANCE[dtype],
    )


def segmented(dtype: torch.dtype, layout: str, *, contiguous: bool) -> Launch:
    """One product for each of three ranges of k."""
    m, n, k = 40, 50, 90
    a, b, _ = operands(dtype, m, n, k, layout)
    seen = a.T if layout[0] == "t" else a, b.T if layout[1] == "t" else b
    bounds = [0, 20, 53, 90]
    pairs = list(itertools.pairwise(bounds))
    held = [end for pair in pairs for end in pair] if contiguous else bounds
    expected = [product(seen[0][:, i:j], seen[1][i:j]) for i, j in pairs]
    return Launch(
        {
            0: a,
            1: b,
            2: listed(held, torch.int32),
            4: gemm_parameters(m, n, k, TILE, (a.shape[1], b.shape[1], n)),
        },
        {3: torch.stack(expected)},
        groups=(2, 2, 3),
        group_size=GROUP,
        constants={"segments_contiguous": contiguous, "align_M": False, "align_N": False},
        tolerance=TOLERANCE[dtype],
    )


def masked(dtype: torch.dtype, mask: torch.dtype) -> Launch:
    """Blocks of 32 by 32 of both operands and of the result that are left out, or scaled."""
    m, n, k = 64, 32, 96
    a, b, _ = operands(dtype, m, n, k, "nn")
    of_output, of_a, of_b = masks(mask, 2, 1), masks(mask, 2, 3), masks(mask, 3, 1)
    expected = ((a.float() * spread(of_a)) @ (b.float() * spread(of_b))) * spread(of_output)
    arguments = {
        0: a,
        1: b,
        4: gemm_parameters(m, n, k, TILE, (k, n, n)),
        6: listed([1], torch.int32),
        7: listed([0] * 5),
        10: of_output,
        11: of_a,
        12: of_b,
        13: listed([1, 1, 1, 3, 1, 1], torch.int32),  # of columns, then of rows
    }
    return Launch(
        arguments,
        {3: expected.to(dtype)},
        groups=(1, 2, 1),
        group_size=GROUP,
        tolerance=TOLERANCE[dtype],
    )


def matrix_cases(kind: str) -> dict[str, Case]:
    cases = {}
    tile = "bm32_bn32_bk16_wm2_wn2"
    for dtype in FLOATS:
        type_, name = METAL[dtype], named(dtype)
        for layout in ("nn", "nt", "tn", "tt"):
            turned = ", ".join("true" if letter == "t" else "false" for letter in layout)
            numbers = f"32, 32, 16, 2, 2, {turned}"
            if kind == "fused":
                cases[f"steel_gemm_fused_{layout}_{name}_{name}_{tile}"] = Case(
                    f"gemm<{type_}, {numbers}>",
                    lambda d=dtype, y=layout: fused(d, y, with_source=y == "nt"),
                )
            elif kind == "splitk":
                cases[
                    f"steel_gemm_splitk_{layout}_{name}_float32_bm16_bn16_bk16_wm2_wn2"
                    "_MN_naligned_K_taligned"
                ] = Case(
                    f"gemm_splitk<{type_}, float, 16, 16, 16, 2, 2, {turned}, false, true>",
                    lambda d=dtype, y=layout: split(d, y),
                )
            elif kind == "segmented":
                cases[f"steel_segmented_mm_{layout}_{name}_{name}_{tile}"] = Case(
                    f"segmented_mm<{type_}, {numbers}>",
                    lambda d=dtype, y=layout: segmented(d, y, contiguous=y[0] == "n"),
                )
            elif layout[0] == "n":
                cases[f"steel_gather_mm_{layout}_{name}_{name}_{tile}"] = Case(
                    f"gather_mm<{type_}, {numbers}>", lambda d=dtype, y=layout: gathered(d, y)
                )
    return cases


STEEL = ["utils.h", "steel/gemm/gemm.h"]
FAMILIES = {
    kind: Family([*STEEL, f"steel/gemm/kernels/steel_gemm_{kind}.h"], matrix_cases(kind), one_in=9)
    for kind in ("fused", "splitk", "segmented", "gather")
}


@kernels(FAMILIES)
def test_apples_kernel_multiplies_as_pytorch_does_and_ours_the_same(family, kernel):
    FAMILIES[family].check(kernel)


MASKED = Family(
    [*STEEL, "steel/gemm/kernels/steel_gemm_masked.h"],
    {
        f"masked_{named(dtype)}_{named(mask)}": Case(
            f"block_masked_gemm<{METAL[dtype]}, {METAL[mask]}, {METAL[mask]}, "
            "32, 32, 16, 2, 2, false, false, true, true>",
            lambda d=dtype, m=mask: masked(d, m),
        )
        for dtype in FLOATS
        for mask in (torch.bool, dtype)
    },
)


@kernels({"masked": MASKED})
def test_our_build_of_masked_products_multiplies_as_pytorch_does(family, kernel):
    MASKED.check_ours(kernel)


def parts_of_a_product(dtype: torch.dtype, scaled: bool) -> Launch:
    parts, addend = torch.randn(3, 20, 30), torch.randn(20, 30).to(dtype)
    total = parts.sum(0)
    scales = {5: addend, 6: 30, 7: 1, 8: 0.5, 9: 2.0} if scaled else {}
    return Launch(
        {0: parts, 2: 3, 3: 600, 4: 30, **scales},
        {1: (0.5 * total + 2 * addend.float() if scaled else total).to(dtype)},
        threads=(30, 20),
        group_size=(8, 4),
        tolerance=TOLERANCE[dtype],
    )


PARTS = Family(
    [*STEEL, "steel/gemm/kernels/steel_gemm_splitk.h"],
    {
        f"steel_gemm_splitk_accum_{named(dtype)}_float32{'_axbpy' * scaled}": Case(
            f"gemm_splitk_accum{'_axpby' * scaled}<float, {METAL[dtype]}>",
            lambda d=dtype, s=scaled: parts_of_a_product(d, s),
        )
        for dtype in FLOATS
        for scaled in (False, True)
    },
    one_in=3,
)


@kernels({"parts": PARTS})
def test_parts_of_a_product_are_added_up_and_ours_the_same(family, kernel):
    PARTS.check(kernel)


EXPERTS = Family(
    [*STEEL, "steel/gemm/kernels/steel_gemm_gather.h"],
    {
        "steel_gather_mm_rhs_nn_float32_float32_bm16_bn64_bk16_wm1_wn2": Case(
            "gather_mm_rhs<float, 16, 64, 16, 1, 2, false, false, float>"
        )
    },
    one_in=1,
)


def test_rows_are_multiplied_by_their_experts_matrix():
    m, n, k, experts = 40, 70, 32, 3
    experts_of_rows = torch.tensor([0] * 13 + [2] * 27, dtype=torch.int32)
    offsets = run(
        apple(),
        "gather_mm_offsets",
        Launch({0: experts_of_rows, 2: m}, {1: listed([0, 13, 13], torch.int32)}, threads=experts),
    )[1]
    assert offsets.tolist() == [0, 13, 13]
    a, b = some(torch.float32, m, k), some(torch.float32, experts, k, n)
    tile = (16, 64, 16)
    launch = Launch(
        {
            0: a,
            1: b,
            2: offsets,
            4: gemm_parameters(m, n, k, tile, (k, n, n), batch=(0, k * n, 0)),
            5: experts,
        },
        {3: (a[:, None] @ b[experts_of_rows.long()])[:, 0]},
        groups=(2, 3 + experts, 1),
        group_size=(32, 2, 1),
        constants={"align_N": False, "align_K": True},
        tolerance=1e-4,
    )
    name = "steel_gather_mm_rhs_nn_float32_float32_bm16_bn64_bk16_wm1_wn2"
    assert_close(EXPERTS.run_both(name, launch)[3], launch.expected[3], launch.tolerance)
