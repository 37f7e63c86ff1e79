"""Launches of the kernels in MLX's metallib, with the arguments that MLX itself gives them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from side_by_side import Call
from torch import Tensor

import metalgen
from metalgen.library import Library

_STEEL = "float32_float32_bm64_bn64_bk16_wm2_wn2"
_ATTENTION = "steel_attention_float32_bq32_bk32_bd64_bv64_wm4_wn1_maskfloat32"
_CONVOLUTION = "implicit_gemm_conv_2d_float32_bm64_bn64_bk16_wm2_wn2_channel_l_filter_s"


def _ints(names: str) -> Iterable[tuple[str, type[ctypes.c_int]]]:
    return ((name, ctypes.c_int) for name in names.split())


class _Gemm(ctypes.Structure):
    _fields_ = (
        *_ints("M N K lda ldb ldd tiles_n tiles_m"),
        *((f"batch_stride_{name}", ctypes.c_long) for name in "abd"),
        *_ints("swizzle_log k_iterations batch_ndim"),
    )


class _Attention(ctypes.Structure):
    _fields_ = (
        *_ints("B H D qL kL gqa_factor"),
        ("scale", ctypes.c_float),
        *_ints("NQ NK NQ_aligned NK_aligned qL_rem kL_rem qL_off"),
        *((f"{name}_strides", ctypes.c_long * 3) for name in "QKVO"),
    )


class _Convolution(ctypes.Structure):
    _fields_ = (
        *_ints("N C O"),
        *((name, ctypes.c_int * 2) for name in "iS wS oS str pad kdil idil".split()),
        *((f"{name}_strides", ctypes.c_long * 4) for name in ("in", "wt", "out")),
        ("groups", ctypes.c_int),
        ("flip", ctypes.c_bool),
    )


class _ImplicitGemm(ctypes.Structure):
    _fields_ = tuple(
        _ints(
            "M N K gemm_k_iterations inp_jump_w inp_jump_h inp_jump_c tiles_n tiles_m swizzle_log"
        )
    )


@dataclass(frozen=True)
class MlxKernels:
    """Every method gives the call that computes its result from given tensors."""

    library: Library

    @classmethod
    def open(cls, path: str) -> MlxKernels:
        return cls(metalgen.load_metallib(path))

    def softmax(self, x: Tensor) -> Call:
        rows, columns = x.shape
        y, kernel = torch.empty_like(x), self.library.kernel("block_softmax_float32")

        def call() -> Tensor:
            kernel(x, y, columns, threadgroups=rows, group_size=columns // 4)
            return y

        return call

    def layer_norm(self, x: Tensor, weight: Tensor, bias: Tensor) -> Call:
        rows, columns = x.shape
        y, kernel = torch.empty_like(x), self.library.kernel("layer_normfloat32")
        arguments = (x, weight, bias, y, 1e-5, columns, 1, 1)

        def call() -> Tensor:
            kernel(*arguments, threadgroups=rows, group_size=columns // 8)
            return y

        return call

    def gemm(self, a: Tensor, b: Tensor) -> Call:
        size = a.shape[0]
        d, tiles = torch.empty_like(a), size // 64
        sizes = bytes(_Gemm(*[size] * 6, tiles, tiles, 0, 0, 0, 0, size // 16, 1))
        flags = "has_batch use_out_source do_axpby align_M align_N align_K".split()
        constants: dict[int | str, int | float | bool] = {f: f.startswith("align") for f in flags}
        kernel = self.library.kernel(f"steel_gemm_fused_nn_{_STEEL}")
        unused = (bytes(24), torch.zeros(1, dtype=torch.int32), torch.zeros(1, dtype=torch.int64))

        def call() -> Tensor:
            groups, threads = (tiles, tiles, 1), (32, 2, 2)
            arguments = (a, b, d, d, sizes, *unused)
            kernel(*arguments, threadgroups=groups, group_size=threads, constants=constants)
            return d

        return call

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Call:
        _, heads, length, width = q.shape
        y, blocks = torch.empty_like(q), length // 32
        strides = [(heads * length * width, length * width, width)] * 4
        sizes = (1, heads, width, length, length, 1, width**-0.5)
        parameters = bytes(_Attention(*sizes, blocks, blocks, blocks, blocks, 0, 0, 0, *strides))
        off = "has_mask do_causal has_sinks save_lse".split()
        constants: dict[int | str, int | float | bool] = dict.fromkeys(off, False)
        constants |= {"align_Q": True, "align_K": True}
        kernel = self.library.kernel(_ATTENTION)
        unused = (bytes(24), q, q, q)

        def call() -> Tensor:
            groups, threads = (blocks, heads, 1), (32, 4, 1)
            arguments = (q, k, v, y, parameters, *unused)
            kernel(*arguments, threadgroups=groups, group_size=threads, constants=constants)
            return y

        return call

    def convolution(self, x: Tensor, weight: Tensor) -> Call:
        """3 × 3, padded by 1; `x` and `weight` hold their channels last."""
        images, height, width, channels = x.shape
        outputs = weight.shape[0]
        y = torch.empty(images, height, width, outputs)
        jump = x.stride(1) - 2 * x.stride(2)
        back = 16 - 2 * x.stride(1) - 2 * x.stride(2)
        rows = images * height * width
        shape = bytes(
            _Convolution(
                *(images, channels, outputs, (height, width), (3, 3), (height, width)),
                *((1, 1), (1, 1), (1, 1), (1, 1), x.stride(), weight.stride(), y.stride(), 1),
            )
        )
        steps = (9 * (channels // 16), x.stride(2), jump, back)
        tiles = (outputs // 64, rows // 64)
        product = bytes(_ImplicitGemm(rows, outputs, 9 * channels, *steps, *tiles, 0))
        kernel = self.library.kernel(_CONVOLUTION)

        def call() -> Tensor:
            arguments = (x, weight, y, shape, product)
            kernel(*arguments, threadgroups=(*tiles, 1), group_size=(32, 2, 2))
            return y

        return call
