"""A sample of given sizes for each kernel family: what the tuner measures variants on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from metalgen.errors import LaunchError
from metalgen.kernel_table import family
from metalgen.ops.samples import Given, Sample

_ELEMENTS = 1 << 20  # of problems whose rows alone are given
_CHANNELS = 64
_HEADS = 8


def sample_of(family_name: str, sizes: Sequence[int]) -> Sample:
    """A problem of these sizes; raises LaunchError for a wrong count of them or sizes below 1."""
    table = family(family_name)
    if len(sizes) != len(table.sizes) or min(sizes, default=0) < 1:
        wanted = " x ".join(table.sizes)
        found = "x".join(str(size) for size in sizes)
        raise LaunchError(f"{family_name}: expected the shape {wanted}, all above 0, found {found}")
    table.fitting(sizes)
    return _MAKERS[family_name](*sizes)


def _gemm(m: int, n: int, k: int) -> Sample:
    if min(m, n) < 2:
        raise LaunchError("gemm: expected m and n above 1; gemv_rows is a matrix and a vector")
    return Sample("fused_gemm", (Given((m, k)), Given((k, n))), scale=4)


def _gemv_rows(count: int, length: int) -> Sample:
    return Sample("fused_gemm", (Given((count, length)), Given((length, 1))), scale=4)


def _gemv_columns(count: int, length: int) -> Sample:
    return Sample("fused_gemm", (Given((1, length)), Given((length, count))), scale=4)


def _convolution(outputs: int, positions: int, taps: int) -> Sample:
    across = 3 if taps % 3 == 0 else taps  # 3 x 3 and 1 x 3 kernels, else one channel
    down = 3 if taps % 9 == 0 else 1
    channels = taps // (across * down)
    height = _divisor(positions)
    width = positions // height
    x = Given((1, channels, height + down - 1, width + across - 1))
    weight = Given((outputs, channels, down, across))
    return Sample("conv2d", (x, weight), scale=4)


def _convolution_direct(width: int, height: int, taps: int) -> Sample:
    down = math.isqrt(taps) if math.isqrt(taps) ** 2 == taps else 1
    across = taps // down
    x = Given((1, _CHANNELS, height + down - 1, width + across - 1))
    options = {"groups": _CHANNELS}
    return Sample("conv2d", (x, Given((_CHANNELS, 1, down, across))), options, scale=2)


def _winograd(outputs: int, tiles: int, channels: int) -> Sample:
    down = _divisor(tiles)
    x = Given((1, channels, 2 * down + 2, 2 * (tiles // down) + 2))
    return Sample("winograd_conv2d", (x, Given((outputs, channels, 3, 3))), scale=8)


def _divisor(value: int) -> int:
    """The largest divisor up to the square root."""
    return next(d for d in range(math.isqrt(value), 0, -1) if value % d == 0)


def _quantized_gemm(m: int, n: int, k: int) -> Sample:
    group = next((g for g in (64, 32, 16, 8) if k % g == 0), None)
    if group is None:
        raise LaunchError(f"quantized_gemm: expected k to be a multiple of 8, found {k}")
    weight = Given((n, k), values="weight4", bound=group)
    return Sample("quantized_linear", (Given((m, k)), weight), scale=4)


def _attention(queries: int, keys: int, size: int) -> Sample:
    kv = Given((1, _HEADS, keys, size))
    given = (Given((1, _HEADS, queries, size)), kv, kv)
    return Sample("scaled_dot_product_attention", given)


def _rows_of(columns: int) -> Given:
    return Given((max(1, _ELEMENTS // columns), columns))


def _selective_scan(length: int) -> Sample:
    signal, shared = Given((1, _CHANNELS, length)), Given((1, 16, length))
    delta = Given((1, _CHANNELS, length), values="positive")
    decay = Given((_CHANNELS, 16), values="negative")
    return Sample("selective_scan", (signal, delta, decay, shared, shared), scale=16)


_MAKERS: Mapping[str, Callable[..., Sample]] = {
    "gemm": _gemm,
    "gemv_rows": _gemv_rows,
    "gemv_columns": _gemv_columns,
    "convolution": _convolution,
    "convolution_direct": _convolution_direct,
    "winograd": _winograd,
    "quantized_gemm": _quantized_gemm,
    "quantized_gemv": lambda n, k: _quantized_gemm(1, n, k),
    "attention": _attention,
    "attention_vector": _attention,
    "softmax": lambda columns: Sample("softmax", (_rows_of(columns),), {"dim": -1}),
    "rows": lambda columns: Sample("layer_norm", (_rows_of(columns),)),
    "selective_scan": _selective_scan,
}
