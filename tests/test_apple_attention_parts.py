"""Apple's attention with sinks, sums kept for the gradient, eight heads at once, and in blocks."""

from __future__ import annotations

import struct
from dataclasses import replace

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
from samples_of import every
from test_apple_attention import (
    HEADS,
    NAMES,
    QUERIES,
    TOLERANCE,
    flags,
    many_queries,
    one_query,
    some,
)
from torch import Tensor


def with_sinks(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor) -> tuple[Tensor, Tensor]:
    """(heads, rows, width) each: one more score a head, of no value; and the log of all sums."""
    repeats = q.shape[-3] // k.shape[-3]
    k, v = (x.float().repeat_interleave(repeats, -3) for x in (k, v))
    scores = q.float() @ k.mT / q.shape[-1] ** 0.5
    column = sinks.float()[:, None, None].expand(*scores.shape[:-1], 1)
    whole = torch.cat([scores, column], -1)
    return whole.softmax(-1)[..., :-1] @ v, whole.logsumexp(-1)


def one_query_with_sinks(dtype: torch.dtype) -> Launch:
    launch = one_query(dtype, 64, "")
    q, k, v = (launch.arguments[i] for i in range(3))
    sinks = some(dtype, HEADS)
    return replace(
        launch,
        arguments={**launch.arguments, 16: sinks, 17: HEADS},
        expected={3: with_sinks(q, k, v, sinks)[0].to(dtype)},
        constants={**flags(""), "has_sinks": True},
    )


def many_queries_with_sinks(dtype: torch.dtype) -> Launch:
    launch = many_queries(dtype, "")
    q, k, v = (launch.arguments[i] for i in range(3))
    sinks = some(dtype, HEADS)
    attended, sums = with_sinks(q[0], k[0], v[0], sinks)
    return replace(
        launch,
        arguments={**launch.arguments, 7: sinks},
        expected={3: attended[None].to(dtype), 8: sums[None]},
        constants={**launch.constants, "has_sinks": True, "save_lse": True},
    )


SINKS = {
    "one": Family(
        ["utils.h", "sdpa_vector.h"],
        {
            f"sdpa_vector_{NAMES[dtype]}_64_64": Case(
                f"sdpa_vector<{METAL[dtype]}, 64, 64>", lambda d=dtype: one_query_with_sinks(d)
            )
            for dtype in FLOATS
        },
        one_in=3,
    ),
    "many": Family(
        ["utils.h", "steel/attn/kernels/steel_attention.h"],
        {
            f"steel_attention_{named(dtype)}_bq32_bk32_bd64_bv64_wm4_wn1_mask{named(dtype)}": Case(
                f"attention<{METAL[dtype]}, 32, 32, 64, 64, 4, 1, {METAL[dtype]}, float>",
                lambda d=dtype: many_queries_with_sinks(d),
                same_bits=False,
            )
            for dtype in FLOATS
        },
        one_in=3,
    ),
}


@kernels(SINKS)
def test_sinks_draw_attention_and_ours_the_same(family, kernel):
    SINKS[family].check(kernel)


# Eight heads of queries to one of keys, which one threadgroup reads for all of them; and keys of
# 256 numbers, one at a time.

BLOCKS = 32


def first_pass(dtype: torch.dtype, width: int, group: int, keys: int, shared: int) -> Launch:
    q = some(dtype, shared * group, 1, width)
    k, v = (some(dtype, shared, keys, width) for _ in range(2))
    given: dict[int, object] = {0: q, 1: k, 2: v, 7: keys}
    given |= {8: keys * width, 9: width, 10: keys * width, 11: width, 12: width**-0.5}
    rows = shared * group * BLOCKS
    return Launch(
        given,
        {3: torch.empty(rows, width, dtype=dtype), 4: torch.empty(rows), 5: torch.empty(rows)},
        groups=(shared, 1, BLOCKS),
        group_size=(32, group, 1),
    )


TOGETHER = [(f"gqa_8_{NAMES[dtype]}_64_64", dtype, 64, 8) for dtype in FLOATS]
TOGETHER += [
    (f"{NAMES[dtype]}_256_256_tk1", dtype, 256, 2) for dtype in (torch.float32, torch.bfloat16)
]


SHARED_KEYS = Family(
    ["utils.h", "sdpa_vector.h"],
    {
        f"sdpa_vector_2pass_1_{form}": Case(
            f"sdpa_vector_2pass_1_gqa<{METAL[dtype]}, {width}, {width}, 8, 8>"
            if "gqa" in form
            else f"sdpa_vector_2pass_1<{METAL[dtype]}, {width}, {width}, 1>"
        )
        for form, dtype, width, _ in TOGETHER
    },
    one_in=1,
)


@pytest.mark.parametrize(
    ("form", "dtype", "width", "group"),
    every(2, TOGETHER),
)
def test_attention_in_two_passes_of_heads_that_share_keys(form, dtype, width, group):
    name = f"sdpa_vector_2pass_1_{form}"
    launch = first_pass(dtype, width, group, keys=300, shared=2)
    if "tk1" in form:
        launch = replace(launch, constants={**flags(""), "blocks": BLOCKS})
    parts = SHARED_KEYS.run_both(name, launch)
    second = Launch(
        {0: parts[3], 1: parts[4], 2: parts[5], 4: BLOCKS},
        {3: torch.empty(2 * group, 1, width, dtype=dtype)},
        groups=(2 * group, 1, 1),
        group_size=1024,
    )
    result = run(apple(), f"sdpa_vector_2pass_2_{NAMES[dtype]}_{width}", second)[3]
    q, k, v = (launch.arguments[i] for i in range(3))
    k, v = (x.float().repeat_interleave(group, 0) for x in (k, v))
    expected = (q.float() @ k.mT / width**0.5).softmax(-1) @ v
    assert_close(result, expected.to(dtype), TOLERANCE[dtype])


# The gradient, in tiles of rows; MLX multiplies the matrices between these kernels.


@pytest.mark.parametrize("dtype", FLOATS)
def test_attention_gradients_sum_outputs_times_their_gradients(dtype):
    outputs, gradients = some(dtype, HEADS, QUERIES, 64), some(dtype, HEADS, QUERIES, 64)
    expected = (outputs.float() * gradients.float()).sum(-1)
    launch = Launch(
        {0: outputs, 1: gradients, 3: QUERIES},
        {2: expected},
        threads=(32, QUERIES, HEADS),
        group_size=(32, 1, 1),
        tolerance=1e-4,
    )
    result = run(apple(), f"sdpa_vjp_odo_{NAMES[dtype]}_64", launch)[2]
    assert_close(result, expected, launch.tolerance)


# Attention in blocks: queries copied and scaled, scores of later keys put out of reach.

BLOCKED = {torch.float16: "float16", torch.bfloat16: "bfloat16"}


def scaled_copy(dtype: torch.dtype) -> Launch:
    """Rows 5 to 8 of queries that lie (batch, position, head)."""
    batch, heads, length, width, rows, first = 2, 3, 11, 64, 4, 5
    q = some(dtype, batch, length, heads, width)
    scale = torch.tensor(0.125).to(dtype)
    block = q.transpose(1, 2)[:, :, first : first + rows] * scale
    strides = struct.pack("=3q", length * heads * width, width, heads * width)
    return Launch(
        {0: q, 2: 0.125, 3: strides, 4: heads, 5: rows, 6: width, 7: first},
        {1: block.contiguous()},
        threads=(width, rows, batch * heads),
        group_size=(32, 1, 1),
    )


def causal_mask(dtype: torch.dtype) -> Launch:
    """The last rows x rows of the scores are on the diagonal."""
    rows, columns, tiles = 8, 20, 3
    scores = some(dtype, tiles * rows, columns)
    later = torch.ones(rows, rows, dtype=torch.bool).triu(1).repeat(tiles, 1)
    expected = scores.clone()
    expected[:, columns - rows :].masked_fill_(later, torch.finfo(dtype).min)
    return Launch(
        {1: rows, 2: columns},
        {0: expected},
        threads=(rows, tiles * rows),
        group_size=(8, 4),
        held={0: scores},
    )


BLOCKS_OF_QUERIES = {
    "blocked": Family(
        ["utils.h", "sdpa_blocked.h"],
        {
            f"sdpa_blocked_{form}_{name}": Case(
                f"sdpa_blocked_{form}<{METAL[dtype]}>", lambda d=dtype, f=launch: f(d)
            )
            for dtype, name in BLOCKED.items()
            for form, launch in (("scale_copy", scaled_copy), ("causal_mask", causal_mask))
        },
        one_in=2,
    )
}


@kernels(BLOCKS_OF_QUERIES)
def test_apples_kernel_prepares_blocks_of_attention_and_ours_the_same(family, kernel):
    BLOCKS_OF_QUERIES[family].check(kernel)
