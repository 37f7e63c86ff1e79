"""Apple's rotary embedding with a table of frequencies, and its inverse, beside PyTorch."""

from __future__ import annotations

import pytest
import torch
from apple_cases import FLOATS, Launch, apple, assert_close, listed, named, run
from torch import Tensor

TOLERANCE = {torch.float32: 4e-5, torch.float16: 6e-3, torch.bfloat16: 4e-2}
HEADS, LENGTH, WIDTH = 6, 4, 16
OFFSETS = torch.tensor([3, 11], dtype=torch.int32)


def rotated(x: Tensor, offset: int, periods: Tensor, *, forward: bool) -> Tensor:
    """(heads, positions, width) by halves, positions counted from `offset`."""
    angles = torch.outer(torch.arange(x.shape[-2]) + offset, 1 / periods)
    cosine, sine = angles.cos(), angles.sin() * (1 if forward else -1)
    first, second = x.float().chunk(2, -1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], -1)


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("form", ["rope_freqs", "rope_freqs_large"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_rows_turn_by_a_table_of_periods_and_back(dtype, form, forward):
    x = torch.randn(2, HEADS, LENGTH, WIDTH).to(dtype)
    periods = 1 + 40 * torch.rand(WIDTH // 2, 2)[:, 0]
    strides = listed((LENGTH * WIDTH, WIDTH, 1))
    table = torch.stack([periods, torch.zeros_like(periods)], -1)  # every other number is ours
    launch = Launch(
        {0: x, 2: OFFSETS, 3: 1.0, 4: strides, 5: strides, 6: 1, 7: HEADS, 10: table, 11: 2},
        {
            1: torch.stack(
                [rotated(x[i], int(OFFSETS[i]), periods, forward=forward) for i in range(2)]
            ).to(dtype)
        },
        threads=(WIDTH // 2, LENGTH, 2 * 2),  # four heads a thread
        group_size=(8, 2, 1),
        constants={"forward": forward, "traditional": False, "hs_transpose": False},
        tolerance=TOLERANCE[dtype],
    )
    result = run(apple(), f"{form}_{named(dtype)}", launch)[1]
    assert_close(result, launch.expected[1], launch.tolerance)


@pytest.mark.parametrize("dtype", FLOATS)
def test_one_position_turns_by_a_table_of_periods(dtype):
    x, offset = torch.randn(HEADS, WIDTH).to(dtype), 5
    periods = 1 + 40 * torch.rand(WIDTH // 2)
    launch = Launch(
        {0: x, 2: offset, 3: 1.0, 4: WIDTH, 10: periods, 11: 1},
        {1: rotated(x[:, None], offset, periods, forward=True)[:, 0].to(dtype)},
        threads=(WIDTH // 2, HEADS),
        group_size=(8, 1),
        constants={"forward": True, "traditional": False},
        tolerance=TOLERANCE[dtype],
    )
    result = run(apple(), f"rope_single_freqs_{named(dtype)}", launch)[1]
    assert_close(result, launch.expected[1], launch.tolerance)
