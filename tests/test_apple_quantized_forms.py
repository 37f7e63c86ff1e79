"""Apple's other forms of quantised products: by quads, wide, split, in batches; and quantisers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from apple_cases import FLOATS, METAL, Case, Family, Launch, kernels, listed
from test_apple_quantized import (
    NAMES,
    PRODUCTS,
    TOLERANCE,
    Mode,
    Weights,
    bits_of,
    cases,
    inputs,
    quantised,
)

HEADERS = ["utils.h", "steel/gemm/gemm.h", "quantized_utils.h"]
PARTS = 8  # of the sums over K
ENCODED = 4.0  # how much greater scales are kept, with a global scale
GLOBAL = torch.tensor([448 * 6 / ENCODED])  # E4M3's times E2M1's greatest, over that


def from_x(weights: Weights, *rest: object) -> dict[int, object]:
    """Buffers: the weights, x, one left for what comes out, then the rest."""
    first = 3 if weights.biases is not None else 2
    x, *numbers = rest
    return {**weights.buffers(), first: x, **dict(enumerate(numbers, first + 2))}


def output_of(weights: Weights) -> int:
    return 4 if weights.biases is not None else 3


def by_quads(mode: Mode, dtype: torch.dtype, width: int) -> Launch:
    m, n = 2, 70
    weights = quantised(mode, dtype, n, width)
    x = inputs(dtype, mode, m, width)
    return Launch(
        from_x(weights, x, width, n),
        {output_of(weights): (x.float() @ weights.values.T).to(dtype)},
        groups=(m, -(-n // 64), 1),
        group_size=(32, 1, 1),
        tolerance=TOLERANCE[dtype],
    )


def wide(mode: Mode, dtype: torch.dtype, vectors: int, lanes: int) -> Launch:
    m, n, k = 3, 40, 256
    weights = quantised(mode, dtype, n, k)
    x = inputs(dtype, mode, m, k)
    return Launch(
        from_x(weights, x, k, n, m),
        {output_of(weights): (x.float() @ weights.values.T).to(dtype)},
        groups=(-(-m // vectors), -(-n // (64 // lanes)), 1),
        group_size=(32, 2, 1),
        tolerance=TOLERANCE[dtype],
    )


def split_vector(mode: Mode, dtype: torch.dtype) -> Launch:
    m, n, part = 2, 128, 64
    k = PARTS * part
    weights = quantised(mode, dtype, k, n)
    x = inputs(dtype, mode, m, k)
    rows = weights.values.reshape(PARTS, part, n)
    expected = x.float().reshape(m, PARTS, part).transpose(0, 1) @ rows
    words, scales = (tensor.numel() // PARTS for tensor in (weights.packed, weights.scales))
    steps = [listed([words]), listed([scales])] + [listed([scales])] * mode.is_affine
    shape = listed([PARTS, m, part], torch.int32)
    rest = [part, n, 1, shape, listed([part, k, 1]), 1, listed([PARTS], torch.int32), *steps, part]
    return Launch(
        from_x(weights, x, *rest),
        {output_of(weights): expected.to(dtype)},
        groups=(m, n // (2 * min(32, mode.group)), PARTS),
        group_size=(32, 2, 1),
        tolerance=TOLERANCE[dtype],
    )


def split_matrix(mode: Mode, dtype: torch.dtype) -> Launch:
    m, n, part = 35, 64, 64
    k = 4 * part
    weights = quantised(mode, dtype, n, k)
    x = inputs(dtype, mode, m, k)
    columns = weights.values.reshape(n, 4, part).permute(1, 2, 0)
    expected = x.float().reshape(m, 4, part).transpose(0, 1) @ columns
    return Launch(
        from_x(weights, x, k, n, m, part, m * n),
        {output_of(weights): expected},
        groups=(n // 32, -(-m // 32), 4),
        group_size=(32, 2, 2),
        tolerance=TOLERANCE[dtype],
    )


def batched(mode: Mode, dtype: torch.dtype) -> Launch:
    """A vector times the weights in each of two batches."""
    batch, m, n, k = 2, 2, 24, 512
    weights = quantised(mode, dtype, batch, n, k)
    x = inputs(dtype, mode, batch, m, k)
    words, scales = (tensor[0].numel() for tensor in (weights.packed, weights.scales))
    steps = [listed([words]), listed([scales])] + [listed([scales])] * mode.is_affine
    shape = listed([batch, m, k], torch.int32)
    rest = [k, n, 1, shape, listed([m * k, k, 1]), 1, listed([batch], torch.int32), *steps]
    given = {**weights.buffers(), 3: x, **dict(enumerate(rest, 5))}
    return Launch(
        given,
        {4: (x.float() @ weights.values.mT).to(dtype)},
        groups=(m, n // 8, batch),
        group_size=(32, 2, 1),
        tolerance=TOLERANCE[dtype],
    )


def by_experts(mode: Mode, dtype: torch.dtype, transposed: bool) -> Launch:
    """Rows in the order of the experts whose matrix each is multiplied by; one has none."""
    m, n, k, experts = 40, 70, 128, 3
    n = n if transposed else 128
    weights = quantised(mode, dtype, experts, *((n, k) if transposed else (k, n)))
    x = inputs(dtype, mode, m, k)
    of_rows = torch.tensor([0] * 13 + [2] * 27)
    seen = weights.values[of_rows]
    seen = seen.mT if transposed else seen
    held = {index + 1: buffer for index, buffer in weights.buffers().items()}
    return Launch(
        {0: x, **held, 4: listed([0, 13, 13], torch.int32), 6: m, 7: n, 8: k, 9: experts},
        {5: (x.float()[:, None] @ seen)[:, 0].to(dtype)},
        groups=(-(-n // 32), -(-m // 16) + experts, 1),
        group_size=(32, 2, 1),
        constants={"align_N": n % 32 == 0, "align_K": True},
        tolerance=TOLERANCE[dtype],
    )


def globally_scaled(mode: Mode, dtype: torch.dtype) -> Launch:
    m, n, k = 2, 24, 512
    weights = quantised(mode, dtype, n, k)
    x = inputs(dtype, mode, m, k)
    return Launch(
        {**weights.buffers(), 2: GLOBAL, 3: x, 5: k, 6: n},
        {4: (x.float() @ weights.values.T / ENCODED).to(dtype)},
        groups=(m, n // 8, 1),
        group_size=(32, 2, 1),
        tolerance=TOLERANCE[dtype],
    )


# Quantisers are given numbers that the format holds exactly, the greatest of each group at the
# format's own greatest, so that one packing alone is right.


def exact(mode: Mode) -> Weights:
    weights = quantised(mode, torch.float32, 6, 128)
    codes = unpacked(weights, mode)
    largest = 7 if mode.bits == 4 else 0x7E
    codes[:, :: mode.group] = largest
    codes = torch.where(codes == 2 ** (mode.bits - 1), 0, codes)  # no negative zero
    numbers = decoded(codes, mode)
    factor = decoded_scales(weights.scales, mode).repeat_interleave(mode.group, -1)
    return Weights(bits_of(codes, mode.bits), weights.scales, None, numbers * factor)


def unpacked(weights: Weights, mode: Mode) -> torch.Tensor:
    octets = weights.packed.view(torch.uint8).long()
    if mode.bits == 8:
        return octets.clone()
    return torch.stack([octets & 15, octets >> 4], -1).flatten(1)


def decoded(codes: torch.Tensor, mode: Mode) -> torch.Tensor:
    if mode.bits == 8:
        return codes.to(torch.uint8).view(torch.float8_e4m3fn).float()
    return torch.tensor((0, 0.5, 1, 1.5, 2, 3, 4, 6))[codes & 7] * (1 - 2 * (codes >> 3))


def decoded_scales(scales: torch.Tensor, mode: Mode) -> torch.Tensor:
    if mode.group == 32:
        return 2.0 ** (scales.long() - 127)
    return scales.view(torch.float8_e4m3fn).float()


def quantiser(mode: Mode, dtype: torch.dtype, scaled: bool, back: bool) -> Launch:
    weights = exact(mode)
    x = (weights.values / (ENCODED if scaled else 1)).to(dtype)
    grid = {"threads": (128, 6), "group_size": (32, 1)}
    if back:
        return Launch({0: x} | ({1: GLOBAL} if scaled else {}), {2: x}, **grid, tolerance=1e-6)
    return Launch(
        {0: x} | ({3: GLOBAL} if scaled else {}),
        {1: weights.packed.view(torch.uint8), 2: weights.scales},
        **grid,
    )


def dequantiser(mode: Mode, dtype: torch.dtype) -> Launch:
    weights = quantised(mode, dtype, 6, 128)
    return Launch(
        {0: weights.packed.view(torch.uint8), 1: weights.scales, 2: GLOBAL},
        {3: (weights.values / ENCODED).to(dtype)},
        threads=(128 * mode.bits // 8, 6),
        group_size=(8, 2),
        tolerance=TOLERANCE[dtype],
    )


Form = tuple[str, str, Callable[[], Launch]]


def forms(mode: Mode, dtype: torch.dtype) -> list[Form]:
    """Apple's name, our instance, and the launch."""
    stem, start = f"{NAMES[dtype]}_{mode.stem}", f"<{METAL[dtype]}, {mode.group}, {mode.bits}"
    mine, lanes = ("affine", 8) if mode.is_affine else ("fp", 16)
    found: list[Form] = [
        (
            f"qmv_wide_{stem}_nv_2_kl_{lanes}_batch_0",
            f"{mine}_qmv_wide{start}, 2, {lanes}, false>",
            lambda: wide(mode, dtype, 2, lanes),
        ),
        (
            f"qvm_split_k_{stem}_spk_{PARTS}",
            f"{mine}_qvm_split_k{start}, {PARTS}>",
            lambda: split_vector(mode, dtype),
        ),
        (
            f"qmm_t_splitk_{stem}_alN_true",
            f"{mine}_qmm_t_splitk{start}, true>",
            lambda: split_matrix(mode, dtype),
        ),
        (
            f"qmv_fast_{stem}_batch_1_pr_0_hgs_0_r_4",
            f"{mine}_qmv_fast{start}, true>",
            lambda: batched(mode, dtype),
        ),
    ]
    found += [
        (
            f"gather_qmm_rhs_{letters}_{stem}_bm_16_bn_32_bk_32_wm_1_wn_2",
            f"{mine}_gather_qmm_rhs{start}, 16, 32, 32, 1, 2, {str(transposed).lower()}>",
            lambda t=transposed: by_experts(mode, dtype, t),
        )
        for letters, transposed in (("nt", True), ("nn", False))
    ]
    if mode.bits in (2, 4, 8) and mode.name != "mxfp8":
        found.append(
            (
                f"qmv_quad_{stem}_d_128_batch_0",
                f"{mine}_qmv_quad{start}, 128, false>",
                lambda: by_quads(mode, dtype, 128),
            )
        )
    return found


def quantisers(mode: Mode, dtype: torch.dtype) -> list[Form]:
    stem, start = f"{NAMES[dtype]}_{mode.stem}", f"<{METAL[dtype]}, {mode.group}, {mode.bits}"
    found: list[Form] = []
    for scaled in (False, True) if mode.name == "nvfp4" else (False,):
        flag = str(scaled).lower()
        for name, back in (("quantize", False), ("quantize_dequantize", True)):
            found.append(
                (
                    f"{name}_{stem}_hgs_{flag}",
                    f"fp_{name}{start}, {flag}>",
                    lambda s=scaled, b=back: quantiser(mode, dtype, s, b),
                )
            )
    if mode.name == "nvfp4":
        found += [
            (
                f"dequantize_{stem}_hgs_true",
                f"fp_dequantize{start}, true>",
                lambda: dequantiser(mode, dtype),
            ),
            (
                f"qmv_fast_{stem}_batch_0_pr_0_hgs_1_r_4",
                f"fp_qmv_fast{start}, false, false, true>",
                lambda: globally_scaled(mode, dtype),
            ),
        ]
    return found


def all_of(modes: list[Mode], forms: Callable[[Mode, torch.dtype], list[Form]]) -> dict[str, Case]:
    return {
        f"{mode.name}_{name}": Case(ours, launch)
        for mode in modes
        for dtype in FLOATS
        for name, ours, launch in forms(mode, dtype)
    }


AFFINE = [Mode("affine", 64, bits) for bits in (4, 3, 8, 1)] + [Mode("affine", 128, 2)]
MICRO = [Mode("mxfp4", 32, 4), Mode("mxfp8", 32, 8), Mode("nvfp4", 16, 4)]
FAMILIES = {
    "affine": Family([*HEADERS, "quantized.h"], all_of(AFFINE, forms), one_in=37),
    "floats": Family([*HEADERS, "fp_quantized.h"], all_of(MICRO, forms), one_in=41),
    "one bit": Family(
        [*HEADERS, "quantized.h"],
        cases([Mode("affine", 64, 1), Mode("affine", 128, 1)], PRODUCTS),
        one_in=24,
    ),
    "quantisers": Family([*HEADERS, "fp_quantized.h"], all_of(MICRO, quantisers), one_in=30),
}


@kernels(FAMILIES)
def test_apples_kernel_computes_what_the_weights_stand_for_and_ours_the_same(family, kernel):
    FAMILIES[family].check(kernel)
