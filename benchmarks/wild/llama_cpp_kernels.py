"""Run llama.cpp's kernels on the software device and hold them against gguf and PyTorch.

    python benchmarks/wild/llama_cpp_kernels.py FOLDER [--apple]

FOLDER is that of wild_sources.py. With --apple the kernels are those that Apple's compiler made,
as npm's llama.rn carried them for a while. Weights are random blocks of every quantised type, which
PyPI's gguf package turns into numbers in NumPy; sizes fill no tile. Errors are relative to the
largest number of the result.
"""

from __future__ import annotations

import argparse
import importlib
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch.nn import functional

from metalgen.library import load_metallib
from wild.blocks import FLOATS, Weights, quantised, random_weights
from wild.fetch import folder
from wild.ggml import Kernels, sizes
from wild.project import Package, Project
from wild.projects.llama_cpp import PROJECT

Result = tuple[str, torch.Tensor, torch.Tensor, float]  # what, found, expected, error allowed

_GGUF = Project("llama.cpp", (Package("pypi", "gguf", "0.19.0"),), PROJECT.sources)
_APPLES = Project("llama.rn 0.8.3", (Package("npm", "llama.rn", "0.8.3"),), PROJECT.sources)
_GEOMETRY = re.compile(r"#define (N_(?:R0|SG)_\w+) (\d+)")
_STORED = "quantize"  # the source of what reads and writes blocks
_WRITTEN = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")
# Those that read their code books from threadgroup memory fill at most 512 entries of 8 bytes.
_BOOKS = 512 * 8 + 128


def vector_products(
    kernels: Kernels, weights: Weights, geometry: dict[str, int], vectors: torch.Tensor
) -> torch.Tensor:
    """Products with single vectors, in the geometry that the host has for the type."""
    rows, columns = weights.values.shape
    constants = {602: 1, 603: 1, 604: 1, 605: 0}
    suffix = ""
    if weights.kind in FLOATS:
        groups_wide, row_count = min(4, -(-columns // 128)), 2
        suffix, per_group = ("_4" if columns % 4 == 0 else ""), row_count
    else:
        groups_wide = geometry[f"N_SG_{weights.kind}"]
        row_count = geometry[f"N_R0_{weights.kind}"]
        chunks = columns // 32
        if f"N_R0_{weights.kind}_SPLIT" in geometry and chunks < 32 and 32 % chunks == 0:
            row_count, constants[605] = geometry[f"N_R0_{weights.kind}_SPLIT"], 1
        per_group = row_count if weights.kind == "Q8_0" else row_count * groups_wide
    found = torch.zeros(len(vectors), rows)
    kernels.launch(
        f"mul_mv.kernel_mul_mv_{weights.name}_f32{suffix}",
        _product(weights, vectors) | {"nr0": row_count},
        weights.data,
        vectors,
        found,
        groups=(-(-rows // per_group), len(vectors), 1),
        group=(32, groups_wide, 1),
        memory=_BOOKS,
        constants=constants | {600: groups_wide},
    )
    return found


def matrix_product(kernels: Kernels, weights: Weights, vectors: torch.Tensor) -> torch.Tensor:
    """A product of matrices in tiles of 64 by 32."""
    rows, columns = weights.values.shape
    found = torch.zeros(len(vectors), rows)
    kernels.launch(
        f"mul_mm.kernel_mul_mm_{weights.name}_f32",
        _product(weights, vectors),
        weights.data,
        vectors,
        found,
        groups=(-(-len(vectors) // 32), -(-rows // 64), 1),
        group=(32, 4, 1),
        memory=8192,
        constants={700: columns % 32 != 0, 701: 1, 702: 1, 703: 1, 704: 1, 705: 1},
    )
    return found


def _product(weights: Weights, vectors: torch.Tensor) -> dict[str, int | float]:
    rows, columns = weights.values.shape
    of_weights = {"ne00": columns, "ne01": rows, "ne02": 1, "nb00": weights.block_bytes}
    of_weights |= {f"nb0{i}": weights.data[0].nbytes * (1 if i == 1 else rows) for i in (1, 2, 3)}
    of_result = {"ne0": rows, "ne1": len(vectors), "r2": 1, "r3": 1}
    return {**of_weights, **sizes("1", vectors[None, None]), **of_result}


def products(kernels: Kernels, geometry: dict[str, int]) -> Iterator[Result]:
    """Every type of weights, as vectors and as matrices."""
    generator = np.random.default_rng(0)
    for kind in (*FLOATS, *_kinds(geometry)):
        for columns in (512, 768):
            weights = random_weights(kind, 37, columns, generator)
            if weights is None:  # newer than the package
                continue
            vectors = torch.randn(3, columns)
            expected = vectors @ weights.values.T
            found = vector_products(kernels, weights, geometry, vectors)
            yield f"vector product {kind} {columns}", found, expected, 1e-5
            vectors = torch.randn(40, columns)
            expected = vectors @ weights.values.T
            found = matrix_product(kernels, weights, vectors)
            yield f"matrix product {kind} {columns}", found, expected, 5e-3


def stored(kernels: Kernels, geometry: dict[str, int]) -> Iterator[Result]:
    """Rows of every type read as numbers, and numbers written as blocks: equal to the bit."""
    generator = np.random.default_rng(1)
    for kind in (*FLOATS, *_kinds(geometry)):
        weights = random_weights(kind, 9, 512, generator)
        if weights is None:
            continue
        which, found = torch.tensor([3, 0, 8, 8], dtype=torch.int32), torch.zeros(4, 512)
        parts = 512 if kind in FLOATS else 512 // 16
        values = {"ne00t": parts, "ne00": 512, "nb01": weights.data[0].nbytes, "ne10": 4}
        kernels.launch(f"{_STORED}.kernel_get_rows_{weights.name}",
                       values | {"nb10": 4, "nb1": 512 * 4}, weights.data, which, found,
                       groups=(4, 1, 1), group=(parts, 1, 1))  # fmt: skip
        yield f"rows {kind}", found, weights.values[which.long()], 0
    x = torch.randn(1, 1, 6, 512)
    for kind in _WRITTEN:
        expected, per_block, size = quantised(kind, x[0, 0])
        found = torch.zeros(expected.shape, dtype=torch.uint8)
        values = sizes("0", x) | {"nk0": 512 // per_block, "ne0": 512, "ne1": 6, "ne2": 1}
        row = expected[0].nbytes
        values |= {"ne3": 1, "nb0": size, "nb1": row, "nb2": 6 * row, "nb3": 6 * row}
        kernels.launch(f"{_STORED}.kernel_cpy_f32_{kind.lower()}", values, x, found,
                       groups=(6, 1, 1), group=(512 // per_block, 1, 1))  # fmt: skip
        yield f"blocks {kind}", found.float(), expected.float(), 0


def _kinds(geometry: dict[str, int]) -> list[str]:
    return [name.removeprefix("N_SG_") for name in geometry if name.startswith("N_SG_")]


def attention(kernels: Kernels) -> Iterator[Result]:
    """Flash attention over cached keys with a mask, whole tiles of them and not."""
    for width, value_width, queries, keys in (
        (64, 64, 13, 200),
        (128, 128, 8, 64),
        (40, 40, 9, 70),
    ):
        query = torch.randn(1, 4, queries, width)
        key, value = torch.randn(1, 2, keys, width).half(), torch.randn(1, 2, keys, value_width)
        mask = torch.zeros(1, 1, queries, keys)
        mask[torch.rand(mask.shape) < 0.3] = -math.inf
        mask[..., 0] = 0
        expected = functional.scaled_dot_product_attention(
            query, key.float(), value.half().float(), mask, enable_gqa=True
        )
        found = _attended(kernels, query, key, value.half(), mask.half())
        yield f"attention {width} {queries} {keys}", found, expected.transpose(1, 2), 5e-3


def _attended(
    kernels: Kernels,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
) -> torch.Tensor:
    _, heads, queries, width = query.shape
    keys, value_width = key.shape[2], value.shape[3]
    found = torch.zeros(1, queries, heads, value_width)
    padding, blocks = (
        torch.zeros(1 << 20, dtype=torch.uint8),
        torch.zeros(1 << 16, dtype=torch.int8),
    )
    values: dict[str, int | float] = {}
    values |= sizes("0", query) | sizes("1", key) | sizes("2", value) | sizes("3", mask)
    values |= {"ne_12_2": key.shape[1], "ne_12_3": 1, "ns10": width, "ns20": value_width}
    values |= {"ne1": heads, "ne2": queries, "ne3": 1, "scale": width**-0.5, "m0": 1.0, "m1": 1.0}
    values |= {"n_head_log2": 4}
    if keys % 64:
        kernels.launch(
            "fa_aux.kernel_flash_attn_ext_pad", values, key, value, mask, padding,
            groups=(64, key.shape[1], 1), group=(32, 1, 1), constants={100: 1, 125: 64},
        )  # fmt: skip
    kernels.launch(
        "fa_aux.kernel_flash_attn_ext_blk", values, mask, blocks,
        groups=(-(-keys // 64), -(-queries // 8), 1), group=(32, 1, 1),
        constants={224: 8, 225: 64},
    )  # fmt: skip
    kernels.launch(
        f"fa_f16.kernel_flash_attn_ext_f16_dk{width}_dv{value_width}", values,
        query, key, value, mask, mask, padding, blocks, found,
        groups=(-(-queries // 8), heads, 1), group=(32, 4, 1),
        memory=8 * (width + 2 * -(-value_width // 64) * 64 + 4 * 64) * 2,
        constants={300: 1, 301: 0, 302: 0, 303: 0, 304: keys % 64 != 0, 310: queries % 8 != 0,
                   320: width, 321: value_width, 322: 4},
    )  # fmt: skip
    return found


def rows(kernels: Kernels) -> Iterator[Result]:
    """Softmax, norms, positions and sorting of rows."""
    for columns in (300, 77):
        x = torch.randn(1, 2, 3, columns)
        four = "_4" if columns % 4 == 0 else ""
        found = torch.zeros_like(x)
        values = sizes("0", x) | sizes("", x) | {"scale": 0.5, "m0": 1.0, "m1": 1.0}
        values |= {"n_head_log2": 2, "ne11": 3, "ne12": 1, "ne13": 1}
        kernels.launch(f"softmax.kernel_soft_max_f32{four}", values, x, x, x, found,
                       groups=(3, 2, 1), group=(64, 1, 1), memory=128)  # fmt: skip
        yield f"softmax {columns}", found, (x * 0.5).softmax(-1), 1e-6
        yield _normalised(kernels, x, f"rms_norm_f32{four}", functional.rms_norm)
        yield _normalised(kernels, x, f"norm_f32{four}", functional.layer_norm)
        yield _sorted(kernels, x)
    yield _rotated(kernels)


def _normalised(
    kernels: Kernels, x: torch.Tensor, name: str, reference: Callable[..., torch.Tensor]
) -> Result:
    columns, found = x.shape[-1], torch.zeros_like(x)
    values = sizes("0", x) | sizes("", x) | sizes("f", x) | {"eps": 1e-5, "scale": 1.0}
    values |= {"ne00_t": columns // 4 if name.endswith("_4") else columns}
    # Members of three: of the tensor, and of what would be fused.
    values |= {f"nbf{i}": x.stride()[3 - i] * 4 for i in (1, 2, 3)}
    kernels.launch(f"norm.kernel_{name}", values, x, x, x, found,
                   groups=(3, 2, 1), group=(64, 1, 1), memory=128, constants={1700: 0})  # fmt: skip
    return f"{name} {columns}", found, reference(x, (columns,), eps=1e-5), 1e-5


def _sorted(kernels: Kernels, x: torch.Tensor) -> Result:
    columns = x.shape[-1]
    width = 1 << (columns - 1).bit_length()
    found = torch.zeros(x.shape, dtype=torch.int32)
    kernels.launch("argsort.kernel_argsort_f32_i32_desc",
                   sizes("0", x) | sizes("", x) | {"top_k": width}, x, found,
                   groups=(3, 2, 1), group=(width, 1, 1), memory=width * 4)  # fmt: skip
    return f"argsort {columns}", x.gather(-1, found.long()), x.sort(-1, descending=True)[0], 0


def _rotated(kernels: Kernels) -> Result:
    x, positions = torch.randn(1, 5, 3, 64), torch.arange(3, 8, dtype=torch.int32)
    found = torch.zeros_like(x)
    values = sizes("0", x) | sizes("", x) | {"n_dims": 64, "freq_base": 10000.0, "freq_scale": 1.0}
    values |= {"attn_factor": 1.0, "beta_fast": 32.0, "beta_slow": 1.0, "n_ctx_orig": 4096}
    kernels.launch("rope.kernel_rope_neox_f32", values, x, positions, x, found,
                   groups=(3, 5, 1), group=(64, 1, 1), constants={800: 0, 801: 0})  # fmt: skip
    angles = positions[:, None] * 10000.0 ** (-torch.arange(32) / 32)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    left, right = x[..., :32], x[..., 32:]
    expected = torch.cat((left * cos - right * sin, left * sin + right * cos), -1)
    return "rope", found, expected, 1e-5


def ours(root: Path) -> tuple[Kernels, Path]:
    """llama.cpp's sources, compiled here, and where their host's files are."""
    unpacked = folder(PROJECT, root)
    return Kernels.of(list(PROJECT.sources(unpacked))), unpacked


def apples(root: Path) -> tuple[Kernels, Path]:
    """What Apple's compiler made of an earlier version, and where its host's files are."""
    unpacked = folder(_APPLES, root) / "llama.rn/cpp/ggml-metal"
    return Kernels({}, load_metallib(unpacked / "ggml-llama.metallib")), unpacked


def main() -> int:
    """Print each comparison; 1 if one is off."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--apple", action="store_true")
    given = parser.parse_args()
    torch.manual_seed(0)
    sys.path.insert(0, str(folder(_GGUF, given.folder) / "gguf"))
    importlib.invalidate_caches()
    kernels, host = (apples if given.apple else ours)(given.folder)
    header = next(host.rglob("ggml-metal-impl.h")).read_text()
    geometry = {name: int(value) for name, value in _GEOMETRY.findall(header)}
    wrong = 0
    comparisons = (rows(kernels), attention(kernels), stored(kernels, geometry))
    for results in (*comparisons, products(kernels, geometry)):
        for what, found, expected, allowed in results:
            error = ((found - expected).abs().max() / expected.abs().max()).item()
            is_right = error <= allowed
            wrong += not is_right
            print(f"{what:40} {error:.1e}{'' if is_right else '  WRONG'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
