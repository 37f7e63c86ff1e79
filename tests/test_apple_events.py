"""Apple's kernels by which MLX's command buffers wait for each other, on the software device."""

from __future__ import annotations

import pytest
import torch
from apple_cases import apple


def numbers(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


@pytest.mark.parametrize("value", [1, 7])
def test_a_fence_is_updated_and_lets_those_pass_who_wait_for_less(value):
    stamp = numbers(0, 99)
    apple().kernel("fence_update")(stamp, value, threads=1)
    assert stamp.tolist() == [value, 99]
    for reached in (0, value):
        apple().kernel("fence_wait")(stamp, reached, threads=1)
    assert stamp.tolist() == [value, 99]


def test_inputs_made_coherent_keep_their_values():
    x = numbers(*range(-40, 40))
    apple().kernel("input_coherent")(x, 70, threads=96)
    assert x.tolist() == list(range(-40, 40))
