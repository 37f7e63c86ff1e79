"""Apple's products with quantised weights, affine and microscaled floats; ours beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from apple_cases import FLOATS, METAL, Case, Family, Launch, kernels, listed
from torch import Tensor

TOLERANCE = {torch.float32: 2e-4, torch.float16: 2e-2, torch.bfloat16: 1.5e-1}
NAMES = {torch.float32: "float", torch.float16: "float16_t", torch.bfloat16: "bfloat16_t"}

# The values of OCP's E2M1, by their three bits without the sign.
E2M1 = (0, 0.5, 1, 1.5, 2, 3, 4, 6)


@dataclass(frozen=True)
class Mode:
    """How weights are quantised: affine, or floats of `bits` bits with a scale to a group."""

    name: str
    group: int
    bits: int

    @property
    def is_affine(self) -> bool:
        return self.name == "affine"

    @property
    def stem(self) -> str:
        return f"gs_{self.group}_b_{self.bits}"


@dataclass(frozen=True)
class Weights:
    """A matrix in groups along its last axis: as buffers 0 to 2 hold it, and as floats."""

    packed: Tensor
    scales: Tensor
    biases: Tensor | None
    values: Tensor

    def buffers(self) -> dict[int, object]:
        held: dict[int, object] = {0: self.packed, 1: self.scales}
        return held | {2: self.biases} if self.biases is not None else held


def bits_of(codes: Tensor, bits: int) -> Tensor:
    """Codes one after the other, lowest bits first, in 32-bit words."""
    spread = (codes.numpy()[..., None] >> np.arange(bits)) & 1
    rows = spread.reshape(*codes.shape[:-1], -1).astype(np.uint8)
    packed = np.packbits(rows, axis=-1, bitorder="little")
    return torch.from_numpy(packed).view(torch.int32)


def quantised(mode: Mode, dtype: torch.dtype, *shape: int) -> Weights:
    codes = torch.randint(0, 2**mode.bits, shape)
    groups = (*shape[:-1], shape[-1] // mode.group)
    if mode.is_affine:
        scales = (torch.rand(groups) / 2**mode.bits).to(dtype)
        biases = (torch.rand(groups) - 0.5).to(dtype)
        values = codes * spread(scales, mode) + spread(biases, mode)
        return Weights(bits_of(codes, mode.bits), scales, biases, values)
    if mode.bits == 4:
        sign = 1 - 2 * (codes >> 3)
        numbers = torch.tensor(E2M1)[codes & 7] * sign
    else:
        codes = torch.where((codes & 0x7F) == 0x7F, 0, codes)  # NaN
        numbers = codes.to(torch.uint8).view(torch.float8_e4m3fn).float() / 64
    if mode.group == 32:
        exponents = torch.randint(122, 127, groups)
        scales, factor = exponents.to(torch.uint8), 2.0 ** (exponents - 127)
        if mode.bits == 8:
            factor = factor * 64
    else:
        factor = torch.rand(groups).to(torch.float8_e4m3fn)
        scales, factor = factor.view(torch.uint8), factor.float()
    return Weights(bits_of(codes, mode.bits), scales, None, numbers * spread(factor, mode))


def spread(scales: Tensor, mode: Mode) -> Tensor:
    return scales.float().repeat_interleave(mode.group, -1)


def inputs(dtype: torch.dtype, mode: Mode, *shape: int) -> Tensor:
    size = 0.05 if mode.bits == 8 and not mode.is_affine else 0.5
    return (torch.randn(shape) * size).to(dtype)


def matrix(mode: Mode, dtype: torch.dtype, form: str) -> Launch:
    """x times the weights, which lie by outputs (transposed) or by inputs."""
    transposed = form.startswith("qmv") or form == "qmm_t"
    m, n, k = (2, 24, 512) if form.startswith("q") and "m" not in form[2:] else (35, 128, 128)
    if form == "qvm":
        n = 128
    weights = quantised(mode, dtype, *((n, k) if transposed else (k, n)))
    x = inputs(dtype, mode, m, k)
    seen = weights.values.T if transposed else weights.values
    first = 2 if form == "qmm_n" and not mode.is_affine else 3  # of x; that one has no global scale
    arguments = {**weights.buffers(), first: x, first + 2: k, first + 3: n}
    if "qmm" in form:
        arguments[first + 4] = m
    groups = {
        "qmv": (m, n // 8, 1),
        "qvm": (m, n // (2 * min(32, mode.group)), 1),
        "qmm": (-(-n // 32), -(-m // 32), 1),
    }[form[:3]]
    return Launch(
        arguments,
        {first + 1: (x.float() @ seen).to(dtype)},
        groups=groups,
        group_size=(32, 2, 2) if "qmm" in form else (32, 2, 1),
        tolerance=TOLERANCE[dtype],
    )


def gathered(mode: Mode, dtype: torch.dtype, form: str) -> Launch:
    """One of four matrices for each of three batches of x."""
    m, n, k = (35, 128, 128) if "qmm" in form else (1, 128, 512)
    transposed = form.startswith("qmv") or form == "qmm_t"
    weights = quantised(mode, dtype, 4, *((n, k) if transposed else (k, n)))
    x = inputs(dtype, mode, 2, m, k)
    of_x, of_weights = listed([1, 0, 1], torch.int32), listed([3, 0, 2], torch.int32)
    seen = weights.values[of_weights.long()]
    seen = seen.mT if transposed else seen
    expected = x.float()[of_x.long()] @ seen
    per_scale = weights.scales[0].numel()
    tail: list[object] = [k, n, *([m] if "qmm" in form else [])]
    # Shapes go on to the rows: from there the kernels take their number.
    tail += [1, listed([2, m, k], torch.int32), listed([m * k, k, 1])]
    tail += [1, listed([4], torch.int32), listed([weights.packed[0].numel()]), listed([per_scale])]
    if mode.is_affine:
        tail.append(listed([per_scale]))
    tail += [1, listed([3], torch.int32), listed([1]), listed([1])]
    arguments = {**weights.buffers(), 3: x, 4: of_x, 5: of_weights, **dict(enumerate(tail, 7))}
    groups = {
        "qmv": (m, n // 8, 3),
        "qvm": (m, n // (2 * min(32, mode.group)), 3),
        "qmm": (-(-n // 32), -(-m // 32), 3),
    }[form[:3]]
    return Launch(
        arguments,
        {6: expected.to(dtype)},
        groups=groups,
        group_size=(32, 2, 2) if "qmm" in form else (32, 2, 1),
        tolerance=TOLERANCE[dtype],
    )


def dequantised(mode: Mode, dtype: torch.dtype) -> Launch:
    weights = quantised(mode, dtype, 6, 128)
    codes = {3: 8, 5: 8, 6: 4}.get(mode.bits, 8 // mode.bits)  # that a thread unpacks
    return Launch(
        {**weights.buffers(), 0: weights.packed.view(torch.uint8)},
        {3: weights.values.to(dtype)},
        threads=(128 // codes, 6),
        group_size=(8, 2),
        tolerance=TOLERANCE[dtype],
    )


def affine_quantised(mode: Mode, dtype: torch.dtype) -> Launch:
    """The group's widest end is met exactly, the other as well as so many bits allow."""
    x = torch.randn(4, 128).to(dtype)
    groups = x.float().reshape(4, -1, mode.group)
    low, high = groups.amin(-1), groups.amax(-1).clamp(min=0)
    scale = ((high - low) / (2**mode.bits - 1)).clamp(min=1e-7)
    is_low = low.abs() > high.abs()
    scale = torch.where(is_low, scale, -scale)
    edge = torch.where(is_low, low, high)
    steps = away_from_zero(edge / scale)
    scale = torch.where(steps == 0, scale, edge / steps)
    bias = torch.where(steps == 0, 0, edge)
    codes = away_from_zero((groups - bias[..., None]) / scale[..., None])
    codes = codes.clamp(0, 2**mode.bits - 1).to(torch.int64).reshape(4, 128)
    return Launch(
        {0: x},
        {
            1: bits_of(codes, mode.bits).view(torch.uint8),
            2: scale.to(dtype),
            3: bias.to(dtype),
        },
        threads=(128 // (mode.group // 32), 4),
        group_size=(32, 1),
    )


def away_from_zero(x: Tensor) -> Tensor:
    return torch.sign(x) * (x.abs() + 0.5).floor()


AFFINE = [Mode("affine", 64, bits) for bits in (2, 3, 4, 5, 6, 8)]
AFFINE += [Mode("affine", 32, 4), Mode("affine", 128, 4)]
MICRO = [Mode("mxfp4", 32, 4), Mode("mxfp8", 32, 8), Mode("nvfp4", 16, 4)]


def cases(modes: list[Mode], forms: list[str]) -> dict[str, Case]:
    found = {}
    for mode in modes:
        for dtype in FLOATS if mode.bits == 4 else (torch.float32, torch.float16):
            for form in forms:
                name, ours, launch = described(mode, dtype, form)
                found[name] = Case(ours, launch)
    return found


def described(mode: Mode, dtype: torch.dtype, form: str) -> tuple[str, str, object]:
    """Apple's name, our instance, and the launch."""
    type_, stem = NAMES[dtype], mode.stem
    family = "affine" if mode.is_affine else "fp"
    start = f"<{METAL[dtype]}, {mode.group}, {mode.bits}"
    match form.split():
        case ["qmv"]:
            name = f"{mode.name}_qmv_fast_{type_}_{stem}_batch_0_pr_0_hgs_0_r_4"
            ours = f"{family}_qmv_fast{start}, false>"
        case ["qmv_edge"]:
            name = f"{mode.name}_qmv_{type_}_{stem}_batch_0_pr_0_hgs_0_r_4"
            ours = f"{family}_qmv{start}, false>"
        case ["qmm_t"]:
            name = f"{mode.name}_qmm_t_{type_}_{stem}_alN_true_batch_0"
            ours = f"{family}_qmm_t{start}, true, false>"
        case [("qvm" | "qmm_n") as which]:
            name = f"{mode.name}_{which}_{type_}_{stem}_batch_0"
            ours = f"{family}_{which}{start}, false>"
        case ["gather", "qmm_t"]:
            name = f"{mode.name}_gather_qmm_t_{type_}_{stem}_alN_true"
            ours = f"{family}_gather_qmm_t{start}, true>"
        case ["gather", which]:
            name = f"{mode.name}_gather_{which}_{type_}_{stem}"
            ours = f"{family}_gather_{which}{start}>"
        case ["quantize"]:
            name, ours = f"affine_quantize_{type_}_{stem}", f"affine_quantize{start}>"
            return name, ours, lambda: affine_quantised(mode, dtype)
        case _:
            suffix = "" if mode.is_affine else "_hgs_false"
            name = f"{mode.name}_dequantize_{type_}_{stem}{suffix}"
            ours = f"{family}_dequantize{start}{'' if mode.is_affine else ', false'}>"
            return name, ours, lambda: dequantised(mode, dtype)
    if form.startswith("gather"):
        return name, ours, lambda: gathered(mode, dtype, form.split()[1])
    return name, ours, lambda: matrix(mode, dtype, form)


PRODUCTS = ["qmv", "qmv_edge", "qvm", "qmm_t", "qmm_n", "dequantize"]
GATHERS = ["gather qmv_fast", "gather qmv", "gather qvm", "gather qmm_t", "gather qmm_n"]
HEADERS = ["utils.h", "steel/gemm/gemm.h", "quantized_utils.h"]
FAMILIES = {
    "affine": Family(
        [*HEADERS, "quantized.h"], cases(AFFINE, [*PRODUCTS, "quantize", *GATHERS]), one_in=37
    ),
    "floats": Family([*HEADERS, "fp_quantized.h"], cases(MICRO, [*PRODUCTS, *GATHERS]), one_in=13),
}


@kernels(FAMILIES)
def test_apples_kernel_multiplies_by_what_the_weights_stand_for_and_ours_the_same(family, kernel):
    FAMILIES[family].check(kernel)
