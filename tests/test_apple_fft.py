"""Apple's Fourier transforms: Rader's, Bluestein's, in four steps, of real numbers and halves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from apple_cases import Case, Family, Launch, apple, assert_close, run
from torch import Tensor

RADICES = (13, 11, 8, 7, 6, 5, 4, 3, 2)
ROWS = 5  # odd: two rows of real numbers share one transform, the last has none to share with
TOLERANCE = {"float2": 2e-4, "complex32_t": 2e-2}


@dataclass(frozen=True)
class Plan:
    """A transform of `n` numbers in steps of these radices, `per_thread` numbers to a thread."""

    n: int
    per_thread: int
    steps: dict[int, int]
    memory: int = 256  # numbers that a threadgroup has room for
    least: int = 1  # transforms to a threadgroup

    def constants(self, *, inverse: bool) -> dict[str, int | bool]:
        return {
            "inv_": inverse,
            "is_power_of_2_": self.n & (self.n - 1) == 0,
            "elems_per_thread_": self.per_thread,
            "rader_m_": 1,
            "use_bluestein_twiddle_table_": False,
            **{f"radix_{r}_steps_": self.steps.get(r, 0) for r in RADICES},
            **{f"rader_{r}_steps_": 0 for r in RADICES},
        }

    def grid(self, transforms: int) -> dict[str, tuple[int, int, int]]:
        """No threadgroup has room to spare: a last one would write past the end."""
        together = min(max(self.memory // self.n, self.least), transforms)
        width = -(-self.n // self.per_thread)
        return {
            "threads": (-(-transforms // together), together, width),
            "group_size": (1, together, width),
        }


def pairs(x: Tensor, storage: str = "float2") -> Tensor:
    """Complex numbers as two floats or halves each."""
    x = torch.view_as_real(x.to(torch.complex64)).contiguous()
    return x.half() if storage == "complex32_t" else x


def rows(n: int, storage: str = "float2") -> Tensor:
    """Complex numbers that the storage holds exactly."""
    x = torch.randn(ROWS, n, dtype=torch.complex64)
    return torch.view_as_complex(pairs(x, storage).float())


def transformed(x: Tensor, inverse: bool) -> Tensor:
    return torch.fft.ifft(x) if inverse else torch.fft.fft(x)


def plain(storage: str, inverse: bool) -> Launch:
    plan = Plan(64, 4, {4: 3})
    x = rows(64, storage)
    return Launch(
        {0: pairs(x, storage), 2: plan.n, 3: ROWS},
        {1: pairs(transformed(x, inverse), storage)},
        **plan.grid(ROWS),
        constants=plan.constants(inverse=inverse),
        tolerance=TOLERANCE[storage],
    )


def of_real(n: int) -> Launch:
    plan = Plan(n, 4 if n == 64 else 5, {4: 3} if n == 64 else {5: 1, 4: 1, 3: 1})
    x = torch.randn(ROWS, n)
    return Launch(
        {0: x, 2: n, 3: ROWS},
        {1: pairs(torch.fft.rfft(x))},
        **plan.grid(-(-ROWS // 2)),
        constants=plan.constants(inverse=False),
        tolerance=TOLERANCE["float2"],
    )


def to_real(n: int) -> Launch:
    plan = Plan(n, 4 if n == 64 else 5, {4: 3} if n == 64 else {5: 1, 4: 1, 3: 1})
    half = torch.randn(ROWS, n // 2 + 1, dtype=torch.complex64)
    return Launch(
        {0: pairs(half), 2: n, 3: ROWS},
        {1: torch.fft.irfft(half, n)},
        **plan.grid(-(-ROWS // 2)),
        constants=plan.constants(inverse=True),
        tolerance=TOLERANCE["float2"],
    )


def rader(storage: str, inverse: bool) -> Launch:
    """34 = 2 x 17, of which 17 is a convolution of 16 numbers."""
    plan, prime, root = Plan(34, 4, {2: 1}), 17, 3
    powers = [pow(root, q, prime) for q in range(prime - 1)]
    inverses = [pow(root, -q, prime) for q in range(prime - 1)]
    chirp = np.fft.fft(np.exp(-2j * np.pi * np.array(inverses) / prime))
    x = rows(plan.n, storage)
    return Launch(
        {
            0: pairs(x, storage),
            2: pairs(torch.from_numpy(chirp), storage),
            3: torch.tensor(powers, dtype=torch.int16),
            4: torch.tensor(inverses, dtype=torch.int16),
            5: plan.n,
            6: ROWS,
            7: prime,
        },
        {1: pairs(transformed(x, inverse), storage)},
        **plan.grid(ROWS),
        constants=plan.constants(inverse=inverse) | {"rader_m_": 2, "rader_4_steps_": 2},
        tolerance=TOLERANCE[storage],
    )


def chirps(length: int, n: int) -> tuple[Tensor, Tensor]:
    """What Bluestein's algorithm multiplies by, of the transform and of the numbers."""
    whole = np.exp(-1j * np.pi / length * (np.arange(1 - length, length) ** 2 % (2 * length)))
    transform = np.fft.fft(1 / whole, n)
    return torch.from_numpy(transform), torch.from_numpy(whole[length - 1 :].copy())


def bluestein(storage: str, inverse: bool) -> Launch:
    length, plan = 29, Plan(64, 4, {4: 3})
    of_transform, of_numbers = chirps(length, plan.n)
    x = rows(length, storage)
    return Launch(
        {
            0: pairs(x, storage),
            2: pairs(of_transform, storage),
            3: pairs(of_numbers, storage),
            4: length,
            5: plan.n,
            6: ROWS,
        },
        {1: pairs(transformed(x, inverse), storage)},
        **plan.grid(ROWS),
        constants=plan.constants(inverse=inverse),
        tolerance=TOLERANCE[storage],
    )


def bluestein_by_table() -> Launch:
    """4,096 numbers, whose twiddle factors lie behind the transform of the chirp."""
    length, plan = 1999, Plan(4096, 8, {8: 4}, memory=4096)
    of_transform, of_numbers = chirps(length, plan.n)
    x = rows(length)
    return Launch(
        {
            0: pairs(x),
            2: pairs(torch.cat([of_transform, twiddles()])),
            3: pairs(of_numbers),
            4: length,
            5: plan.n,
            6: ROWS,
        },
        {1: pairs(transformed(x, inverse=False))},
        **plan.grid(ROWS),
        constants=plan.constants(inverse=False) | {"use_bluestein_twiddle_table_": True},
        tolerance=2e-3,
    )


def twiddles() -> Tensor:
    angles = np.concatenate([-2 * np.pi * np.arange(p) / (8 * p) for p in (8, 64, 512)])
    return torch.from_numpy(np.exp(1j * angles))


def bluestein_of_real() -> Launch:
    length, plan = 29, Plan(64, 4, {4: 3})
    of_transform, of_numbers = chirps(length, plan.n)
    x = torch.randn(ROWS, length)
    given = {0: x, 2: pairs(of_transform), 3: pairs(of_numbers), 4: length, 5: plan.n, 6: ROWS}
    return Launch(
        given,
        {1: pairs(torch.fft.rfft(x))},
        **plan.grid(-(-ROWS // 2)),
        constants=plan.constants(inverse=False),
        tolerance=TOLERANCE["float2"],
    )


def made_twiddles() -> Launch:
    return Launch({}, {0: pairs(twiddles())}, threads=584, group_size=8, tolerance=1e-5)


BOTH = "float2", "complex32_t"
CASES: dict[str, tuple[str, str, Callable[[], Launch]]] = {
    **{
        f"{form} {storage} {'inverse' if inverse else ''}": (
            f"{name}_mem_256_{storage}_{storage}",
            f"{name}<256, {storage}, {storage}>",
            lambda f=launch, s=storage, i=inverse: f(s, i),
        )
        for inverse in (False, True)
        for storage in BOTH
        for form, name, launch in (
            ("rader", "rader_fft", rader),
            ("bluestein", "bluestein_fft", bluestein),
            ("plain", "fft", plain),
        )
    },
    **{
        f"of real {n}": (
            "fft_mem_256_float_float2",
            "fft<256, float, float2>",
            lambda n=n: of_real(n),
        )
        for n in (60, 64)
    },
    **{
        f"to real {n}": (
            "fft_mem_256_float2_float",
            "fft<256, float2, float>",
            lambda n=n: to_real(n),
        )
        for n in (60, 64)
    },
    "bluestein of real": (
        "bluestein_fft_mem_256_float_float2",
        "bluestein_fft<256, float, float2>",
        bluestein_of_real,
    ),
    "bluestein by table": (
        "bluestein_fft_mem_4096_float2_float2",
        "bluestein_fft<4096, float2, float2>",
        bluestein_by_table,
    ),
    "twiddles": (
        "generate_bluestein_twiddles",
        "generate_bluestein_twiddles",
        made_twiddles,
    ),
}
SAMPLE = "rader float2 ", "to real 60"


def marked(names: tuple[str, ...], sample: tuple[str, ...]) -> list[object]:
    return [pytest.param(n, marks=[] if n in sample else [pytest.mark.thorough]) for n in names]


@pytest.mark.parametrize("case", marked(tuple(CASES), SAMPLE))
def test_apples_kernel_transforms_as_pytorch_does_and_ours_the_same(case):
    """Within rounding: sums of products are fused as each compiler likes."""
    name, ours, make = CASES[case]
    Family(["utils.h", "fft.h"], {name: Case(ours, make, same_bits=False)}).check(name)


# Four steps: n1 x n2 numbers as a matrix, its columns first.

SIDE = 64
FORMS = {
    "complex": ("float2_float2_0_false", "float2_float2_1_false"),
    "inverse": ("float2_float2_0_false", "float2_float2_1_false"),
    "half": ("complex32_t_complex32_t_0_false", "complex32_t_complex32_t_1_false"),
    "of real": ("float_float2_0_true", "float2_float2_1_true"),
    "to real": ("float2_float2_0_true", "float2_float_1_true"),
}


def four_steps(form: str) -> tuple[Tensor, Tensor, Tensor]:
    """What goes in, what comes between (any), and what comes out."""
    n, storage = SIDE * SIDE, "complex32_t" if form == "half" else "float2"
    if form == "of real":
        x = torch.randn(ROWS, n)
        return x, torch.empty(ROWS, n, 2), pairs(torch.fft.rfft(x))
    if form == "to real":
        x = torch.fft.rfft(torch.randn(ROWS, n))
        return pairs(x), torch.empty(ROWS, n, 2), torch.fft.irfft(x, n)
    x = rows(n, storage)
    if form == "half":
        x = x / 8
    x = torch.view_as_complex(pairs(x, storage).float())
    between = torch.empty_like(pairs(x, storage))
    return pairs(x, storage), between, pairs(transformed(x, form == "inverse"), storage)


@pytest.mark.parametrize("form", marked(tuple(FORMS), ()))
def test_apples_kernels_transform_in_four_steps_and_ours_the_same(form):
    x, between, expected = four_steps(form)
    plan = Plan(SIDE, 4, {4: 3}, least=4)
    names = [f"four_step_mem_256_{suffix}" for suffix in FORMS[form]]
    for step, name in enumerate(names):
        storage_in, storage_out = name.split("256_")[1].replace("_t", "").split("_")[:2]
        types = [t + "_t" if t == "complex32" else t for t in (storage_in, storage_out)]
        real = "real" in form
        launch = Launch(
            {0: x, 2: SIDE, 3: SIDE, 4: ROWS * SIDE},
            {1: (between, expected)[step]},
            **plan.grid(ROWS * SIDE),
            constants=plan.constants(inverse=form in ("inverse", "to real")),
            tolerance=TOLERANCE["complex32_t" if form == "half" else "float2"],
        )
        x = run(apple(), name, launch)[1]
        ours = f"four_step_fft<256, {', '.join(types)}, {step}, {str(real).lower()}>"
        checked = replace(launch, expected={1: x})
        Family(["utils.h", "fft.h"], {name: Case(ours, lambda c=checked: c)}).check(name)
    assert_close(x, expected, TOLERANCE["complex32_t" if form == "half" else "float2"])
