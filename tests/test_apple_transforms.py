"""Fourier and Hadamard transforms, gathers and scatters, by Apple's compiler and by ours."""

from __future__ import annotations

import pytest
import torch
from apple_cases import FLOATS, METAL, Case, Family, Launch, kernels, listed, named

RADICES = (13, 11, 8, 7, 6, 5, 4, 3, 2)


def fourier(n: int, steps: dict[int, int], per_thread: int, inverse: bool) -> Launch:
    """Stockham's algorithm; as many transforms to a threadgroup as 256 numbers allow."""
    together, threads = 256 // n, -(-n // per_thread)
    x = torch.randn(6, n, dtype=torch.complex64)
    expected = torch.fft.ifft(x) if inverse else torch.fft.fft(x)
    return Launch(
        {0: torch.view_as_real(x), 2: n, 3: 6},
        {1: torch.view_as_real(expected).contiguous()},
        threads=(-(-6 // together), together, threads),
        group_size=(1, together, threads),
        constants={
            "inv_": inverse,
            "is_power_of_2_": n & (n - 1) == 0,
            "elems_per_thread_": per_thread,
            **{f"radix_{r}_steps_": steps.get(r, 0) for r in RADICES},
        },
        tolerance=1e-4,
    )


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(
    ("n", "steps", "per_thread"),
    [(256, {8: 2, 4: 1}, 8), (60, {5: 1, 4: 1, 3: 1}, 5), (77, {11: 1, 7: 1}, 11), (64, {4: 3}, 4)],
)
def test_fourier_transforms(n, steps, per_thread, inverse):
    name = "fft_mem_256_float2_float2"
    case = Case(
        "fft<256, float2, float2>",
        lambda: fourier(n, steps, per_thread, inverse),
        same_bits=n & (n - 1) == 0,  # else sums of many products, fused as each compiler likes
    )
    Family(["utils.h", "fft.h"], {name: case}).check(name)


def hadamard(dtype: torch.dtype) -> Launch:
    x = torch.randn(5, 64).to(dtype)
    matrix = torch.ones(1, 1)
    for _ in range(6):
        matrix = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), matrix)
    tolerance = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 1e-1}[dtype]
    return Launch(
        {0: x, 2: 0.125},
        {1: (x.float() @ matrix / 8).to(dtype)},
        threads=(16, 5, 1),
        group_size=(16, 1, 1),
        tolerance=tolerance,
    )


# The part that is no power of two, which MLX writes for its size: here of three numbers, with any
# matrix.
OF_THREE = """
METAL_FUNC void hadamard_radix_m(thread float* x) {
  const float a = x[0], b = x[1], c = x[2];
  x[0] = a + b + c;
  x[1] = a - b + c;
  x[2] = a + b - c;
}
"""


def hadamard_of_three(dtype: torch.dtype) -> Launch:
    x = torch.randn(2, 3, 16).to(dtype)
    matrix = torch.tensor([[1.0, 1, 1], [1, -1, 1], [1, 1, -1]])
    tolerance = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 1e-1}[dtype]
    return Launch(
        {0: x, 2: 0.5},
        {1: (matrix @ x.float() / 2).to(dtype)},
        threads=(2, 8, 1),
        group_size=(2, 8, 1),
        tolerance=tolerance,
    )


# MLX writes these kernels around functions of its headers, for the numbers of indices it needs.
GATHER = """
template <typename T, typename IdxT>
[[kernel]] void gather_rows(
    const device T* src [[buffer(0)]], device T* out [[buffer(1)]],
    const constant int* src_shape [[buffer(2)]], const constant int64_t* src_strides [[buffer(3)]],
    const constant size_t& src_ndim [[buffer(4)]], const constant int* slice_sizes [[buffer(5)]],
    const constant int* axes [[buffer(6)]], const constant int* idx_shapes [[buffer(7)]],
    const constant int64_t* idx_strides [[buffer(8)]],
    const constant bool* idx_contigs [[buffer(9)]], const constant int& idx_ndim [[buffer(10)]],
    const device IdxT* places [[buffer(20)]],
    uint3 index [[thread_position_in_grid]], uint3 grid_dim [[threads_per_grid]]) {
  Indices<IdxT, 1> idxs{{{places}}, idx_shapes, idx_strides, idx_contigs, idx_ndim};
  gather_impl<T, IdxT, 1, 1, int>(
      src, out, src_shape, src_strides, src_ndim, slice_sizes, axes, idxs, index, grid_dim);
}
"""
SCATTER = """
template <typename T, typename IdxT, typename Op>
[[kernel]] void scatter_rows(
    const device T* updates [[buffer(1)]], device mlx_atomic<T>* out [[buffer(2)]],
    const constant int* upd_shape [[buffer(3)]], const constant int64_t* upd_strides [[buffer(4)]],
    const constant size_t& upd_ndim [[buffer(5)]], const constant size_t& upd_size [[buffer(6)]],
    const constant int* out_shape [[buffer(7)]], const constant int64_t* out_strides [[buffer(8)]],
    const constant size_t& out_ndim [[buffer(9)]], const constant int* axes [[buffer(10)]],
    const constant int* idx_shapes [[buffer(11)]],
    const constant int64_t* idx_strides [[buffer(12)]],
    const constant bool* idx_contigs [[buffer(13)]], const constant int& idx_ndim [[buffer(14)]],
    const constant size_t& idx_size [[buffer(15)]], const device IdxT* places [[buffer(20)]],
    uint2 gid [[thread_position_in_grid]]) {
  Indices<IdxT, 1> idxs{{{places}}, idx_shapes, idx_strides, idx_contigs, idx_ndim};
  scatter_impl<T, IdxT, Op, 1, true, 1, int>(
      updates, out, upd_shape, upd_strides, upd_ndim, upd_size, out_shape, out_strides, out_ndim,
      axes, idx_size, idxs, gid);
}
"""


def gather(dtype: torch.dtype) -> Launch:
    x = torch.randn(9, 12).to(dtype)
    places = torch.tensor([3, -1, 0, 8, 3], dtype=torch.int32)
    return Launch(
        {
            0: x,
            2: listed((9, 12), torch.int32),
            3: listed((12, 1)),
            4: 2,
            5: listed((1, 12), torch.int32),
            6: listed((0,), torch.int32),
            7: listed((5,), torch.int32),
            8: listed((1,)),
            9: torch.tensor([True]),
            10: 1,
            20: places,
        },
        {1: x[places.long()]},
        threads=(5, 1, 12),
        group_size=(5, 1, 4),
    )


def gather_along(dtype: torch.dtype) -> Launch:
    x = torch.randn(4, 9, 6).to(dtype)
    places = torch.randint(0, 9, (4, 5, 6), dtype=torch.int32)
    return Launch(
        {
            0: x,
            1: places,
            3: listed((4, 6), torch.int32),
            4: listed((54, 1)),
            5: listed((30, 1)),
            6: 2,
            7: 1,
            8: 9,
            9: 6,
            10: 6,
        },
        {2: x.gather(1, places.long())},
        threads=(6, 5, 4),
        group_size=(6, 5, 1),
    )


def scatter(dtype: torch.dtype, operation: str) -> Launch:
    """Into what outputs hold before: 77 in every place."""
    updates = (torch.randn(5, 12) * 200).round().to(dtype)
    places = torch.tensor([3, -1, 0, 8, 3], dtype=torch.int32)
    expected = torch.full((9, 12), 77, dtype=dtype)
    for place, row in zip(places, updates, strict=True):
        held = expected[place]
        expected[place] = held + row if operation == "Sum" else torch.maximum(held, row)
    return Launch(
        {
            1: updates,
            3: listed((5, 1, 12), torch.int32),
            4: listed((12, 12, 1)),
            5: 3,
            6: 12,
            7: listed((9, 12), torch.int32),
            8: listed((12, 1)),
            9: 2,
            10: listed((0,), torch.int32),
            11: listed((5,), torch.int32),
            12: listed((1,)),
            13: torch.tensor([True]),
            14: 1,
            15: 5,
            20: places,
        },
        {2: expected},
        threads=(12, 5),
        group_size=(4, 1),
    )


MADE_HERE = {
    "hadamard": Family(
        ["utils.h", "hadamard.h"],
        {
            f"hadamard_{named(dtype)}": Case(
                f"hadamard_n<{METAL[dtype]}, 64, 4, 2>", lambda d=dtype: hadamard(d)
            )
            for dtype in FLOATS
        },
    ),
    "hadamard of three": Family(
        ["utils.h", "hadamard.h"],
        {
            f"hadamard_m_{named(dtype)}": Case(
                f"hadamard_m<{METAL[dtype]}, 16, 3, 2>", lambda d=dtype: hadamard_of_three(d)
            )
            for dtype in FLOATS
        },
        before=OF_THREE,
    ),
    "gather": Family(
        ["utils.h", "indexing/gather.h"],
        {
            f"gather_{named(dtype)}": Case(
                f"gather_rows<{METAL[dtype]}, int>", lambda d=dtype: gather(d)
            )
            for dtype in FLOATS
        },
        extra=GATHER,
    ),
    "scatter": Family(
        ["utils.h", "atomic.h", "reduction/ops.h", "indexing/scatter.h"],
        {
            f"scatter_{named(dtype)}": Case(
                f"scatter_rows<{METAL[dtype]}, int, {operation}<{METAL[dtype]}>>",
                lambda d=dtype, o=operation: scatter(d, o),
            )
            for dtype, operation in (
                (torch.float32, "Sum"),
                (torch.int32, "Max"),
                (torch.float16, "Sum"),
                (torch.bfloat16, "Sum"),
            )
        },
        extra=SCATTER,
    ),
    "gather_axis": Family(
        ["utils.h", "indexing/gather_axis.h"],
        {
            f"gather_axis_{named(dtype)}_{contiguous}": Case(
                f"gather_axis<{METAL[dtype]}, int, int, {contiguous}, {contiguous}>",
                lambda d=dtype: gather_along(d),
            )
            for dtype in FLOATS
            for contiguous in ("true", "false")
        },
    ),
}


@kernels(MADE_HERE)
def test_our_build_of_mlxs_headers_computes_what_pytorch_does(family, kernel):
    MADE_HERE[family].check_ours(kernel)
