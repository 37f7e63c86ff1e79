"""PyTorch's own Metal products with weights of 8 and of 4 bits, beside PyTorch."""

from __future__ import annotations

import itertools

import pytest
import torch
from apple_torch_cases import FLOATS, METAL, close, launch, sampled, unwritten, values
from test_apple_torch import library
from torch import Tensor

# Rows of x, columns of both, rows of the weights; full blocks and not.
SIZES_8 = [(1, 64, 24), (3, 96, 22), (13, 64, 64), (40, 96, 100)]
SIZES_4 = [(1, 256, 8), (5, 512, 36)]
GROUPS = [32, 64, 128, 256]


def nibbles(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Numbers from 0 to 15, and PyTorch's bytes of them: the even column above the odd one."""
    numbers = torch.randint(0, 16, (rows, columns))
    return numbers, (numbers[:, ::2] * 16 + numbers[:, 1::2]).to(torch.uint8)


def packed(held: Tensor) -> Tensor:
    """As the products read them."""
    words = held.view(torch.int32)
    out = unwritten(torch.uint8, *held.shape)
    launch("weight_to_int4pack", words, out, list(words.shape), threads=tuple(words.shape))
    return out


def test_pairs_of_four_bits_change_places():
    numbers, held = nibbles(6, 40)
    expected = numbers[:, 1::2] * 16 + numbers[:, ::2]
    assert torch.equal(packed(held), expected.to(torch.uint8))


@sampled("size group dtype", itertools.product(SIZES_4, GROUPS, FLOATS), 5)
def test_products_with_weights_of_four_bits(size, group, dtype):
    m, k, n = size
    numbers, held = nibbles(n, k)
    x = values(dtype, m, k)
    scales = (torch.rand(k // group, n, 2) * 0.2 + 0.05).to(dtype)
    out = unwritten(dtype, m, n)
    threads, sizes = (n // 4 * 32, 1, m), [m, k, n]
    kernel = getattr(library(), f"int4pack_mm_{group}_{METAL[dtype]}")
    kernel(x, packed(held), scales, out, sizes, threads=threads, group_size=(64, 1, 1))
    scale, zero = (scales[..., i].float().repeat_interleave(group, 0).T for i in (0, 1))
    expected = x.float() @ ((numbers - 8) * scale + zero).T
    # The zero point is rounded once it has been moved by eight scales.
    scatter = expected.abs().max().item() / 4
    close(out / scatter, expected / scatter, 2)


@sampled("size dtype", itertools.product(SIZES_8, FLOATS), 3)
@pytest.mark.parametrize("form", ["mv", "mm"])
def test_products_with_weights_of_eight_bits(size, form, dtype):
    m, k, n = size
    x = values(dtype, m, k)
    # Whole blocks are read: there is memory behind the last row and scale.
    room = -(-n // 64) * 64
    weights = torch.randint(-128, 128, (room, k), dtype=torch.int8)[:n]
    scales = (torch.rand(room) * 0.01 + 0.005).to(dtype)[:n]
    out = unwritten(dtype, m, n)
    name, groups, threads, memory = {
        "mv": ("int8pack_mv", (-(-n // 8), m, 1), 64, 32),
        "mm": ("large_m_int8pack_mm", (-(-m // 32), -(-n // 64), 1), 128, 12288),
    }[form]
    geometry = {"threadgroups": groups, "group_size": threads, "threadgroup_memory": {0: memory}}
    getattr(library(), f"{name}_{METAL[dtype]}")(x, weights, scales, out, [m, k, n], **geometry)
    expected = (x.float() @ weights.float().T) * scales.float()
    close(out, expected, 4)
    close(torch._weight_int8pack_mm(x, weights, scales).to(out.dtype), out, 20)
