"""Samples of every operation, in the manner of PyTorch's OpInfo: sizes, strides, extreme values.

Tests hold them against `references`, benchmarks time the large ones beside eager, and the tuner
measures and verifies variants on samples of the same make.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from metalgen.ops.quantized import QuantizedWeight, quantize
from metalgen.ops.references import REFERENCES, widened

Layout = Literal["contiguous", "transposed", "sliced", "stepped", "expanded", "channels_last"]
Values = Literal[
    "normal", "positive", "negative", "large", "extreme", "bool", "index", "weight4", "weight8"
]
# Rounding of the result once, and of float32 sums in another order than float64's.
_TOLERANCE = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


@dataclass(frozen=True, slots=True)
class Given:
    """One tensor argument: its shape, how it lies in memory, what it holds."""

    shape: tuple[int, ...]
    layout: Layout = "contiguous"
    values: Values = "normal"
    bound: int = 1  # indices are below it; weights are quantised in groups of it

    def make(self, dtype: torch.dtype, generator: torch.Generator) -> Tensor | QuantizedWeight:
        """The tensor, random but the same for the same generator."""
        if self.values in ("weight4", "weight8"):
            weight = torch.randn(self.shape, generator=generator).to(dtype)
            return quantize(weight, 4 if self.values == "weight4" else 8, self.bound)
        return self._laid_out(self._content(dtype, generator))

    def _content(self, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
        if self.values == "index":
            return torch.randint(0, self.bound, self.shape, generator=generator)
        x = torch.randn(self.shape, generator=generator)
        if self.values == "bool":
            return x > -0.5
        if self.values in ("positive", "negative"):
            x = x.abs() if self.values == "positive" else -x.abs()
        if self.values == "large":
            x = x * 3e3
        if self.values == "extreme" and x.numel() > 0:
            flat = x.view(-1)
            for at, value in enumerate((math.inf, -math.inf, math.nan, 6e4, -6e4, 1e-7, -0.0)):
                flat[(at * 37 + 5) % flat.numel()] = value
        return x.to(dtype)

    def _laid_out(self, x: Tensor) -> Tensor:
        if self.layout == "transposed":
            return x.mT.contiguous().mT
        if self.layout == "channels_last":
            return x.contiguous(memory_format=torch.channels_last)
        if self.layout == "expanded":
            return x[:1].expand(x.shape)
        if self.layout == "stepped":
            return torch.stack((x, x), -1)[..., 0]
        if self.layout == "sliced":  # rows with others' elements between, at an odd offset
            wide = torch.nn.functional.pad(x, (1, 2))
            return wide[..., 1 : 1 + x.shape[-1]]
        return x


@dataclass(frozen=True, slots=True)
class Sample:
    """One call of an operation, as tensors yet to be made and plain options."""

    operation: str
    given: tuple[Given, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    is_large: bool = False  # for benchmarks; the others are for tests
    scale: float = 1.0  # of the tolerance

    def make(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[Any, ...]:
        """The arguments, on the CPU."""
        generator = torch.Generator().manual_seed(seed)
        return tuple(given.make(dtype, generator) for given in self.given)

    def run(self, arguments: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """metalgen's results."""
        from metalgen import ops

        return _several(getattr(ops, self.operation)(*arguments, **self.options))

    def expected(self, arguments: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """PyTorch's results in float64."""
        return self.eager(tuple(_wide(argument) for argument in arguments))

    def eager(self, arguments: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """PyTorch's results on the arguments as they are."""
        return _several(REFERENCES[self.operation](*arguments, **self.options))

    def tolerance(self, dtype: torch.dtype) -> float:
        """Relative, and absolute beside results of size 1."""
        return _TOLERANCE[dtype] * self.scale

    def __str__(self) -> str:
        parts = [_named(given) for given in self.given]
        parts += [f"{name}={value}" for name, value in self.options.items()]
        return f"{self.operation}({', '.join(parts)})"


def _several(results: Any) -> tuple[Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)


def _wide(argument: Any) -> Any:
    if isinstance(argument, QuantizedWeight):
        return widened(argument, torch.float64)
    return argument.double() if argument.is_floating_point() else argument


def _named(given: Given) -> str:
    text = "x".join(str(size) for size in given.shape) or "scalar"
    kinds = [kind for kind in (given.layout, given.values) if kind not in ("contiguous", "normal")]
    return " ".join([text, *kinds])


def find_mismatch(
    sample: Sample, dtype: torch.dtype, seed: int = 0, device_type: str = "cpu"
) -> str | None:
    """How metalgen's results differ from float64's, None where they agree within tolerance."""
    arguments = sample.make(dtype, seed)
    expected = sample.expected(arguments)
    found = tuple(y.cpu() for y in sample.run(tuple(a.to(device_type) for a in arguments)))
    tolerance = sample.tolerance(dtype)
    for one, truth in zip(found, expected, strict=True):
        if one.shape != truth.shape:
            return f"{sample}: expected shape {tuple(truth.shape)}, found {tuple(one.shape)}"
        rounded = truth.to(one.dtype).double()  # what is beyond the dtype is infinite there
        close = torch.isclose(one.double(), rounded, tolerance, tolerance, equal_nan=True)
        if not bool(close.all()):
            at = tuple(int(i) for i in (~close).nonzero()[0])
            return (
                f"{sample}: expected {float(truth[at]):.6g} at {at}, found {float(one[at]):.6g} "
                f"({int((~close).sum())} of {close.numel()} elements)"
            )
    return None
