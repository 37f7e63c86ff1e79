"""Random weights in ggml's types, and the numbers that PyPI's gguf package finds in them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

FLOATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
# Where a block's scales of 16 bits lie, in bytes; random bits there would be NaN now and then.
_SCALES = {
    **dict.fromkeys(("Q4_1", "Q5_1", "Q4_K", "Q5_K"), (0, 2)),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q6_K": (208,),
    "TQ2_0": (64,),
}


@dataclass(frozen=True, slots=True)
class Weights:
    """A matrix: its rows as they lie in memory, and as numbers."""

    kind: str
    data: torch.Tensor
    values: torch.Tensor
    block_bytes: int

    @property
    def name(self) -> str:
        """As kernels are called."""
        return self.kind.lower().replace("_k", "_K")


def random_weights(
    kind: str, rows: int, columns: int, generator: np.random.Generator
) -> Weights | None:
    """`rows` of `columns` weights; None for a type that the package cannot read."""
    if kind in FLOATS:
        data = (torch.randn(rows, columns) / 8).to(FLOATS[kind])
        return Weights(kind, data, data.float(), data.element_size())
    gguf: Any = importlib.import_module("gguf")
    if kind not in gguf.GGMLQuantizationType.__members__:
        return None
    type_ = gguf.GGMLQuantizationType[kind]
    per_block, size = gguf.GGML_QUANT_SIZES[type_]
    blocks = generator.integers(0, 256, (rows * columns // per_block, size), dtype=np.uint8)
    _set_scales(kind, blocks, generator)
    raw = blocks.reshape(rows, -1)
    try:
        values = torch.from_numpy(np.ascontiguousarray(gguf.quants.dequantize(raw, type_)))
    except NotImplementedError:
        return None
    return Weights(kind, torch.from_numpy(raw.copy()), values.float(), size)


def quantised(kind: str, numbers: torch.Tensor) -> tuple[torch.Tensor, int, int]:
    """Rows of numbers as blocks of `kind`; how many numbers a block holds, in how many bytes."""
    gguf: Any = importlib.import_module("gguf")
    type_ = gguf.GGMLQuantizationType[kind]
    per_block, size = gguf.GGML_QUANT_SIZES[type_]
    return torch.from_numpy(gguf.quants.quantize(numbers.numpy(), type_)), per_block, size


def _set_scales(
    kind: str, blocks: np.ndarray[Any, np.dtype[np.uint8]], generator: np.random.Generator
) -> None:
    scales = generator.uniform(0.002, 0.05, len(blocks)).astype(np.float16)
    if kind == "MXFP4":  # an exponent
        blocks[:, 0] = generator.integers(118, 126, len(blocks))
    elif kind == "IQ1_M":  # the scale's digits are the highest of four words
        words = blocks[:, 48:56].copy().view(np.uint16)
        for at in range(4):
            digit = scales.view(np.uint16) >> (4 * at) & 0xF
            words[:, at] = words[:, at] & 0x0FFF | digit << 12
        blocks[:, 48:56] = words.view(np.uint8)
    else:
        for at in _SCALES.get(kind, (0,)):
            blocks[:, at : at + 2] = scales.view(np.uint8).reshape(-1, 2)
