"""Apple's selects, copies of every form, ranges and random bits, and ours beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from apple_cases import FLOATS, METAL, Case, Family, Launch, apple, kernels, listed, named, run
from torch import Tensor

COUNT = 203
SHAPE = (3, 2, 5, 7)
PER_THREAD = {1: 8, 2: 4, 4: 2, 8: 1}  # MLX's, by the bytes of an element


def some(dtype: torch.dtype, *shape: int) -> Tensor:
    if dtype == torch.bool:
        return torch.rand(shape) > 0.5
    if dtype.is_complex:
        return torch.randn(shape, dtype=dtype)
    if dtype.is_floating_point:
        return (torch.randn(shape) * 20).to(dtype)
    return torch.randint(0, 100, shape).to(dtype)


def transposed(dtype: torch.dtype, ndim: int) -> tuple[Tensor, Tensor]:
    """A tensor as it lies in memory, and its view of shape SHAPE[-ndim:] with odd strides."""
    held = some(dtype, *reversed(SHAPE[4 - ndim :]))
    return held, held.permute(*reversed(range(ndim)))


def grid(ndim: int, per_thread: int = 1) -> tuple[int, ...]:
    if ndim < 4:
        return tuple(reversed(SHAPE[4 - ndim :]))
    return (math.ceil(SHAPE[3] / per_thread), SHAPE[2], SHAPE[1] * SHAPE[0])


def group(ndim: int) -> tuple[int, ...]:
    return (4, 2, 2)[: min(ndim, 3)]


# Selects.


def flat_select(dtype: torch.dtype, form: str, per_thread: int) -> Launch:
    which = some(torch.bool, COUNT)
    b = some(dtype, 1 if form[0] == "s" else COUNT)
    c = some(dtype, 1 if form[:2] == "vs" else COUNT)
    threads = math.ceil(COUNT / per_thread)
    return Launch(
        {0: which, 1: b, 2: c, 4: COUNT},
        {3: torch.where(which, b, c)},
        threads=(math.ceil(threads / 2), 2) if form.endswith("2") else threads,
        group_size=(16, 2) if form.endswith("2") else 32,
    )


def strided_select(dtype: torch.dtype, ndim: int, per_thread: int) -> Launch:
    (held, which), (held_b, b) = transposed(torch.bool, ndim), transposed(dtype, ndim)
    held_c = some(dtype, 7)
    c = held_c.expand(SHAPE[4 - ndim :])
    seen = (which, b, c)
    if ndim == 1:
        strides: list[object] = [x.stride(0) for x in seen]
    else:
        strides = [listed(x.stride()) for x in seen]
    if ndim == 4:
        strides = [listed(SHAPE, torch.int32), *strides, 4]
    arguments = {0: held, 1: held_b, 2: held_c, **dict(enumerate(strides, 4))}
    return Launch(
        arguments,
        {3: torch.where(which, b, c)},
        threads=grid(ndim, per_thread),
        group_size=group(ndim),
    )


def select_cases() -> dict[str, Case]:
    cases = {}
    for dtype in (*FLOATS, torch.int32, torch.complex64):
        type_, n = METAL[dtype], PER_THREAD[dtype.itemsize]
        flags = {"v": "false, false", "sv": "true, false", "vs": "false, true"}
        for form, scalars in flags.items():
            cases[f"{form}_Select{named(dtype)}"] = Case(
                f"ternary_v<{type_}, Select, {scalars}, 1>",
                lambda d=dtype, f=form: flat_select(d, f, 1),
            )
            if dtype in FLOATS:
                cases[f"{form}2_Select{named(dtype)}"] = Case(
                    f"ternary_v2<{type_}, Select, {scalars}>",
                    lambda d=dtype, f=form, n=n: flat_select(d, f + "2", n),
                )
        if dtype in FLOATS:
            cases[f"vn_Select{named(dtype)}"] = Case(
                f"ternary_v<{type_}, Select, false, false>",
                lambda d=dtype, n=n: flat_select(d, "v", n),
            )
        for form, template, ndim, n in (
            *((f"g{i}", f"ternary_g_nd{i}<{type_}, Select, int>", i, 1) for i in (1, 2, 3)),
            *((f"g{i}large", f"ternary_g_nd{i}<{type_}, Select>", i, 1) for i in (1, 2, 3)),
            ("gn2", f"ternary_g<{type_}, Select, 2, int>", 4, 2),
            ("gn4large", f"ternary_g<{type_}, Select, 4>", 4, 4),
        ):
            cases[f"{form}_Select{named(dtype)}"] = Case(
                template, lambda d=dtype, ndim=ndim, n=n: strided_select(d, ndim, n)
            )
    return cases


# Copies.


def converted(x: Tensor, to: torch.dtype) -> Tensor:
    if x.is_complex() and not to.is_complex:
        return x.real.to(to)
    return x.to(to)


def flat_copy(form: str, source: torch.dtype, to: torch.dtype, per_thread: int) -> Launch:
    x = some(source, 1 if form[0] == "s" else COUNT)
    threads = math.ceil(COUNT / per_thread)
    return Launch(
        {0: x, 2: COUNT},
        {1: converted(x, to).expand(COUNT).clone()},
        threads=(math.ceil(threads / 2), 2) if form.endswith("2") else threads,
        group_size=(16, 2) if form.endswith("2") else 32,
    )


def gathering_copy(source: torch.dtype, to: torch.dtype, ndim: int, per_thread: int) -> Launch:
    held, x = transposed(source, ndim)
    arguments: dict[int, object] = {0: held, 3: listed(x.stride()) if ndim > 1 else x.stride(0)}
    if ndim == 4:
        arguments |= {2: listed(SHAPE, torch.int32), 5: 4}
    return Launch(
        arguments,
        {1: converted(x, to).contiguous()},
        threads=grid(ndim, per_thread),
        group_size=group(ndim),
    )


def scattering_copy(
    dtype: torch.dtype, ndim: int, per_thread: int, offsets: Sequence[int]
) -> Launch:
    """Both sides strided, with `offsets` shifted too; what is not written keeps its value."""
    held, x = transposed(dtype, ndim)
    source, target = offsets or (0, 0)
    around = torch.cat([some(dtype, source), held.flatten()])
    strides = [1]
    for size in SHAPE[4 - ndim : -1]:
        strides.append(strides[-1] * (size + 1))
    reach = sum((n - 1) * s for n, s in zip(x.shape, strides, strict=True)) + 1
    unwritten = torch.full((target + reach,), 77).to(dtype)
    unwritten[target:].as_strided(x.shape, strides).copy_(x)
    arguments: dict[int, object] = {0: around}
    if ndim == 1:
        arguments |= {3: x.stride(0), 4: strides[0]}
    else:
        arguments |= {3: listed(x.stride()), 4: listed(strides)}
    if ndim == 4:
        arguments |= {2: listed(SHAPE, torch.int32), 5: 4}
    if offsets:
        arguments |= {6: source, 7: target}
    return Launch(arguments, {1: unwritten}, threads=grid(ndim, per_thread), group_size=group(ndim))


CONVERSIONS = (
    (torch.float32, torch.float16),
    (torch.float32, torch.bfloat16),
    (torch.bfloat16, torch.float32),
    (torch.float16, torch.int32),
    (torch.int32, torch.float16),
    (torch.int64, torch.bfloat16),
    (torch.uint8, torch.int64),
    (torch.float32, torch.bool),
    (torch.bool, torch.float32),
    (torch.complex64, torch.float32),
    (torch.float32, torch.complex64),
)


def copy_cases() -> dict[str, Case]:
    cases = {}
    for source, to in CONVERSIONS:
        types, names = f"{METAL[source]}, {METAL[to]}", named(source) + named(to)
        cases[f"v_copy{names}"] = Case(
            f"copy_v<{types}, 1>", lambda s=source, t=to: flat_copy("v", s, t, 1)
        )
        cases[f"g2_copy{names}"] = Case(
            f"copy_g_nd2<{types}, int>", lambda s=source, t=to: gathering_copy(s, t, 2, 1)
        )
    for dtype in (*FLOATS, torch.bool):
        type_, names, n = METAL[dtype], named(dtype) * 2, PER_THREAD[dtype.itemsize]
        for form in ("s", "v"):
            for suffix, width, more in (("", 1, ", 1"), ("n", n, ""), ("2", n, "")):
                template = f"copy_{form}{suffix.strip('n')}<{type_}, {type_}{more}>"
                cases[f"{form}{suffix}_copy{names}"] = Case(
                    template, lambda d=dtype, f=form + suffix, w=width: flat_copy(f, d, d, w)
                )
        for large, index in (("", "int"), ("large", "int64_t")):
            for ndim in (1, 2, 3):
                cases[f"g{ndim}{large}_copy{names}"] = Case(
                    f"copy_g_nd{ndim}<{type_}, {type_}, {index}>",
                    lambda d=dtype, k=ndim: gathering_copy(d, d, k, 1),
                )
            n = 4 if large else 2
            cases[f"gn{n}{large}_copy{names}"] = Case(
                f"copy_g<{type_}, {type_}, {n}, {index}>",
                lambda d=dtype, n=n: gathering_copy(d, d, 4, n),
            )
            for dynamic, offsets in (("", ()), ("_dynamic", (5, 11))):
                for ndim in (1, 2, 3):
                    cases[f"gg{ndim}{large}{dynamic}_copy{names}"] = Case(
                        f"copy_gg{dynamic}_nd{ndim}<{type_}, {type_}, {index}>",
                        lambda d=dtype, k=ndim, o=offsets: scattering_copy(d, k, 1, o),
                    )
                cases[f"ggn{n}{large}{dynamic}_copy{names}"] = Case(
                    f"copy_gg{dynamic}<{type_}, {type_}, {n}, {index}>",
                    lambda d=dtype, n=n, o=offsets: scattering_copy(d, 4, n, o),
                )
    return cases


def a_range(dtype: torch.dtype) -> Launch:
    start, step = torch.tensor([3], dtype=dtype), torch.tensor([2], dtype=dtype)
    expected = (torch.arange(100) * 2 + 3).to(dtype)
    return Launch({0: start, 1: step}, {2: expected}, threads=100)


FAMILIES = {
    "ternary": Family(["utils.h", "ternary_ops.h", "ternary.h"], select_cases(), one_in=6),
    "copy": Family(["utils.h", "copy.h"], copy_cases(), one_in=6),
    "arange": Family(
        ["utils.h", "arange.h"],
        {
            f"arange{named(dtype)}": Case(f"arange<{METAL[dtype]}>", lambda d=dtype: a_range(d))
            for dtype in (*FLOATS, torch.int32, torch.uint8, torch.int64)
        },
    ),
}


@kernels(FAMILIES)
def test_apples_kernel_moves_what_pytorch_does_and_ours_the_same(family, kernel):
    FAMILIES[family].check(kernel)


# Random bits: Threefry-2x32 with 20 rounds, of Salmon et al., "Parallel random numbers: as easy as
# 1, 2, 3" (2011).

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(key: tuple[int, int], first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, ...]:
    keys = [np.uint32(k) for k in (*key, key[0] ^ key[1] ^ 0x1BD11BDA)]
    x, y = first + keys[0], second + keys[1]
    for i in range(5):
        for rotation in ROTATIONS[i % 2]:
            x = x + y
            y = (y << np.uint32(rotation)) | (y >> np.uint32(32 - rotation))
            y = y ^ x
        x = x + keys[(i + 1) % 3]
        y = y + keys[(i + 2) % 3] + np.uint32(i + 1)
    return x, y


def random_words(key: tuple[int, int], count: int) -> np.ndarray:
    """As MLX counts: word i of the first half goes with word i of the second."""
    pairs = -(-count // 2)
    first = np.arange(pairs, dtype=np.uint32)
    second = first + np.uint32(pairs)
    if count % 2:
        second[-1] = 0
    return np.concatenate(threefry(key, first, second))[:count]


@pytest.mark.parametrize("count", [64, 33])
@pytest.mark.parametrize("kernel", ["rbitsc", "rbits"])
def test_random_bits_are_threefrys(kernel, count):
    keys = [(1, 2), (0xDEADBEEF, 77), (0, 0)]
    expected = np.stack([random_words(key, count) for key in keys])
    arguments = {
        0: torch.tensor(np.array(keys, np.uint32)),
        2: count % 2,
        3: 4 * count,
    }
    if kernel == "rbits":
        arguments |= {4: 2, 5: listed((3, 2), torch.int32), 6: listed((2, 1))}
    launch = Launch(
        arguments,
        {1: torch.from_numpy(expected.view(np.int8))},
        threads=(3, -(-count // 2)),
        group_size=(1, 32),
    )
    assert torch.equal(run(apple(), kernel, launch)[1], launch.expected[1])
