"""Apple's attention, one query at a time in one pass and two, and many; ours beside it."""

from __future__ import annotations

import struct

import pytest
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
    named,
    run,
)
from torch import Tensor

TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
NAMES = {torch.float32: "float", torch.float16: "float16_t", torch.bfloat16: "bfloat16_t"}
FLAGS = ("has_mask", "query_transposed", "do_causal", "bool_mask", "float_mask", "has_sinks")
HEADS, SHARED, QUERIES, KEYS = 4, 2, 3, 70  # two heads of queries to one of keys


def some(dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.randn(shape).to(dtype)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """(heads, rows, width) each, in float."""
    repeats = q.shape[-3] // k.shape[-3]
    k, v = (x.float().repeat_interleave(repeats, -3) for x in (k, v))
    scores = q.float() @ k.mT / q.shape[-1] ** 0.5
    if mask is not None:
        scores = (
            scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        )
    return scores.softmax(-1) @ v


def causal(rows: int, columns: int) -> Tensor:
    return torch.ones(rows, columns, dtype=torch.bool).tril(columns - rows)


def mask_of(kind: str, dtype: torch.dtype, rows: int, columns: int) -> Tensor | None:
    match kind:
        case "causal":
            return causal(rows, columns)
        case "bool":
            mask = torch.rand(rows, columns) > 0.3
            mask[:, 0] = True
            return mask
        case "float":
            return some(dtype, rows, columns)
    return None


def one_query(dtype: torch.dtype, width: int, kind: str, heads: int = HEADS) -> Launch:
    q = some(dtype, heads, QUERIES, width)
    k, v = (some(dtype, SHARED, KEYS, width) for _ in range(2))
    mask = mask_of(kind, dtype, QUERIES, KEYS)
    expected = attention(q, k, v, mask if mask is None or kind != "float" else mask.float())
    given: dict[int, object] = {0: q, 1: k, 2: v, 4: heads // SHARED, 5: KEYS}
    given |= {6: KEYS * width, 7: width, 8: KEYS * width, 9: width, 10: width**-0.5}
    if kind in ("bool", "float"):
        given |= {11 if kind == "bool" else 12: mask, 13: 1, 14: KEYS, 15: 0}
    return Launch(
        given,
        {3: expected.to(dtype)},
        groups=(heads, QUERIES, 1),
        group_size=1024,
        constants=flags(kind),
        tolerance=TOLERANCE[dtype],
    )


def flags(kind: str) -> dict[str, bool]:
    chosen = {"causal": ["do_causal"], "bool": ["has_mask", "bool_mask"]}
    chosen["float"] = ["has_mask", "float_mask"]
    return {flag: flag in chosen.get(kind, []) for flag in FLAGS}


KINDS = ["", "causal", "bool", "float"]


def vector_cases() -> dict[str, Case]:
    cases = {}
    for i, dtype in enumerate(FLOATS):
        for j, width in enumerate((64, 96, 128)):
            kind = KINDS[(i + j) % 4]
            cases[f"sdpa_vector_{NAMES[dtype]}_{width}_{width}"] = Case(
                f"sdpa_vector<{METAL[dtype]}, {width}, {width}>",
                lambda d=dtype, w=width, k=kind: one_query(d, w, k),
            )
    return cases


# Many queries: AttnParams, and masks.


def many_queries(
    dtype: torch.dtype, kind: str, width: int = 64, keys: int = 70, heads: int = HEADS
) -> Launch:
    rows, block_k = 40, 32 if width <= 64 else 16
    q = some(dtype, 1, heads, rows, width)
    k, v = (some(dtype, 1, SHARED, keys, width) for _ in range(2))
    mask = mask_of(kind, dtype, rows, keys)
    expected = attention(q, k, v, mask if mask is None or kind != "float" else mask.float())
    numbers = [1, heads, width, rows, keys, heads // SHARED]
    blocks = [-(-rows // 32), -(-keys // block_k), rows // 32, keys // block_k]
    blocks += [rows % 32, keys % block_k, keys - rows]
    strides = [*q.stride()[:3], *k.stride()[:3], *v.stride()[:3], *q.stride()[:3]]
    packed = struct.pack("=6if7i", *numbers, width**-0.5, *blocks)
    packed += struct.pack("=12q", *strides)
    given: dict[int, object] = {0: q, 1: k, 2: v, 4: packed}
    if kind in ("bool", "float"):
        given |= {5: struct.pack("=3q", 0, 0, keys), 6: mask}
    return Launch(
        given,
        {3: expected.to(dtype)},
        groups=(blocks[0], heads, 1),
        group_size=(32, 4, 1),
        constants={
            "align_Q": False,
            "align_K": keys % block_k == 0,
            "has_mask": kind in ("bool", "float"),
            "do_causal": kind == "causal",
            "has_sinks": False,
            "save_lse": False,
        },
        tolerance=TOLERANCE[dtype],
    )


def full_cases() -> dict[str, Case]:
    cases = {}
    for dtype in FLOATS:
        for width, keys in ((64, 32), (128, 16)):
            for kind in ("float", "bool"):
                mask = "bool" if kind == "bool" else METAL[dtype]
                name = "bool_" if kind == "bool" else named(dtype)
                cases[
                    f"steel_attention_{named(dtype)}_bq32_bk{keys}_bd{width}_bv{width}"
                    f"_wm4_wn1_mask{name}"
                ] = Case(
                    f"attention<{METAL[dtype]}, 32, {keys}, {width}, {width}, 4, 1, {mask}, float>",
                    lambda d=dtype, k=kind, w=width: many_queries(d, k, w),
                )
    return cases


FAMILIES = {
    "vector": Family(["utils.h", "sdpa_vector.h"], vector_cases()),
    "full": Family(["utils.h", "steel/attn/kernels/steel_attention.h"], full_cases(), one_in=7),
}


@kernels(FAMILIES)
def test_apples_kernel_attends_as_pytorch_does_and_ours_the_same(family, kernel):
    FAMILIES[family].check(kernel)


@pytest.mark.parametrize("kind", ["", "causal"])
def test_attention_of_many_queries_without_a_mask_in_memory(kind):
    launch = many_queries(torch.float32, kind, keys=96)
    name = "steel_attention_float32_bq32_bk32_bd64_bv64_wm4_wn1_maskfloat32"
    assert_close(run(apple(), name, launch)[3], launch.expected[3], launch.tolerance)


TWO_PASSES = Family(
    ["utils.h", "sdpa_vector.h"],
    {
        f"sdpa_vector_2pass_{number}_{NAMES[dtype]}_{widths}": Case(
            f"sdpa_vector_2pass_{number}<{METAL[dtype]}, {arguments}>"
        )
        for dtype in (torch.float32, torch.bfloat16)
        for number, widths, arguments in ((1, "64_64", "64, 64"), (2, "64", "64"))
    },
    one_in=1,
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_in_two_passes(dtype, kind):
    """Keys in 32 blocks, whose sums, maxima and products the second pass puts together."""
    width, blocks = 64, 32
    q = some(dtype, HEADS, QUERIES, width)
    k, v = (some(dtype, SHARED, 300, width) for _ in range(2))
    mask = mask_of(kind, dtype, QUERIES, 300)
    expected = attention(q, k, v, mask if mask is None or kind != "float" else mask.float())
    given: dict[int, object] = {0: q, 1: k, 2: v, 7: 300}
    given |= {8: 300 * width, 9: width, 10: 300 * width, 11: width, 12: width**-0.5}
    if kind in ("bool", "float"):
        given |= {13 if kind == "bool" else 14: mask, 15: 1, 16: 300, 17: 0}
    rows = HEADS * QUERIES * blocks
    partial = {3: torch.empty(rows, width, dtype=dtype), 4: torch.empty(rows), 5: torch.empty(rows)}
    first = Launch(
        given,
        partial,
        groups=(SHARED, 1, blocks),
        group_size=(32, HEADS // SHARED, QUERIES),
        constants={**flags(kind), "blocks": blocks},
    )
    name = f"{NAMES[dtype]}_{width}"
    parts = TWO_PASSES.run_both(f"sdpa_vector_2pass_1_{name}_{width}", first)
    second = Launch(
        {0: parts[3], 1: parts[4], 2: parts[5], 4: blocks},
        {3: expected.to(dtype)},
        groups=(HEADS, QUERIES, 1),
        group_size=1024,
    )
    result = TWO_PASSES.run_both(f"sdpa_vector_2pass_2_{name}", second)[3]
    assert_close(result, second.expected[3], TOLERANCE[dtype])
