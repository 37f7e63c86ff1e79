"""A captured graph in float64, and how far rounding its intermediate results moves what it gives.

Eager rounds what every operator gives to half or bfloat16; kernels that fuse operators do not, and
both are right. What that rounding does to each element is found by doing it at random, up or down
in proportion to the distance, in a computation that is exact otherwise (Parker, "Monte Carlo
Arithmetic", 1997): an element where large terms cancel moves far, its neighbours may not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

NARROW = (torch.float16, torch.bfloat16)
_FLOATS = (*NARROW, torch.float32)
_SAMPLES = 2
_SOFTMAXES = (torch.ops.aten._softmax.default, torch.ops.aten._log_softmax.default)
_CONVERSION = torch.ops.prims.convert_element_type.default


def precise_results(
    module: GraphModule, arguments: Sequence[object], eager: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """The results in float64, on the CPU; eager's own where the graph has no float64 form."""
    try:
        results: Sequence[Tensor] = _Widened(module).run(*map(_wide, arguments))
    except (RuntimeError, TypeError, ValueError):  # such as an operator without float64
        results = eager
    return tuple(
        result.cpu().double() if own.is_floating_point() else own.cpu()
        for result, own in zip(results, eager, strict=True)
    )


def moved_by_rounding(
    module: GraphModule, arguments: Sequence[object], precise: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """Per element, how far results move when what is narrow is rounded; None where nothing is."""
    nothing = (None,) * len(precise)
    if not any(_dtype(node) in NARROW for node in module.graph.nodes):
        return nothing
    generator = torch.Generator().manual_seed(0)
    moved = [torch.zeros_like(value, dtype=torch.float64) for value in precise]
    try:
        for _ in range(_SAMPLES):
            results = _Rounding(module, generator).run(*map(_wide, arguments))
            for i, (result, exact) in enumerate(zip(results, precise, strict=True)):
                distance = (result.double() - exact.double()).abs()
                moved[i] = torch.maximum(moved[i], distance.nan_to_num(0.0, posinf=0.0))
    except (RuntimeError, TypeError, ValueError):
        return nothing
    return tuple(moved)


def _wide(value: object) -> object:
    if isinstance(value, Tensor) and value.is_floating_point():
        # Apple GPUs have no float64.
        return value.detach().to("cpu").to(torch.float64)
    return value.detach().cpu() if isinstance(value, Tensor) else value


def _dtype(node: Node) -> torch.dtype | None:
    value = node.meta.get("val")
    return value.dtype if isinstance(value, Tensor) else None


class _Widened(Interpreter):
    """Runs a graph on the CPU with float64 wherever it asks for a narrower float."""

    def call_function(
        self, target: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """The operator, with the dtypes and devices among its arguments changed."""
        given = {name: _changed(value) for name, value in kwargs.items()}
        if target is _CONVERSION:
            args = (args[0], _changed(args[1]))
        if target in _SOFTMAXES:  # whether to widen what is wide already
            args = (*args[:2], False)
        return super().call_function(target, args, given)


def _changed(value: object) -> object:
    if isinstance(value, torch.dtype) and value in _FLOATS:
        return torch.float64
    return torch.device("cpu") if isinstance(value, torch.device) else value


class _Rounding(_Widened):
    """As that, with every result of a narrow dtype rounded to one of its two neighbours."""

    def __init__(self, module: GraphModule, generator: torch.Generator) -> None:
        super().__init__(module)
        self._generator = generator

    def run_node(self, n: Node) -> Any:
        """The node's value, rounded; what is representable, such as a view's elements, stays."""
        result = super().run_node(n)
        dtype = _dtype(n)
        if n.op != "call_function" or dtype not in NARROW or not isinstance(result, Tensor):
            return result
        return _rounded(result, dtype, self._generator)


def _rounded(exact: Tensor, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    nearest = exact.to(dtype)
    is_beyond = exact.abs() > nearest.double().abs()
    step = torch.where(is_beyond, 1, -1).to(torch.int16)
    other = (nearest.view(torch.int16) + step).view(dtype).double()
    distance = (exact - nearest.double()).abs()
    gap = (other - nearest.double()).abs()
    chance = torch.where(gap > 0, distance / gap, 0.0)
    drawn = torch.rand(exact.shape, generator=generator, dtype=torch.float64)
    rounded = torch.where(drawn < chance, other, nearest.double())
    is_usable = rounded.isfinite() & (nearest != 0)  # no neighbour across zero or of infinity
    return torch.where(is_usable, rounded, nearest.double())
