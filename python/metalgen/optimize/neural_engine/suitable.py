"""Which regions the Neural Engine is worth asking for, and what Core ML's converter can take."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.fx import Node

from metalgen.errors import UnsupportedError
from metalgen.optimize.contender import RegionGraph
from metalgen.optimize.flops import flops
from metalgen.optimize.neural_engine.quietly import quietly

_FLOATS = (torch.float16, torch.float32)
_TAKEN = (*_FLOATS, torch.int32, torch.int64)
_MOST_DIMENSIONS = 5  # of a Core ML tensor


def is_suitable(region: RegionGraph) -> bool:
    """Whether it has products, convolutions or attention, of tensors that Core ML takes."""
    return (
        all(_is_dtype(node, _TAKEN) for node in region.placeholders)
        and all(_is_dtype(node, _FLOATS) for node in region.outputs)
        and all(map(_has_few_dimensions, region.module.graph.nodes))
        and not set(region.outputs) & set(region.placeholders)
        and flops(region.module.graph.nodes) > 0
    )


def _is_dtype(node: Node, dtypes: Iterable[torch.dtype]) -> bool:
    value = node.meta.get("val")
    return not isinstance(value, Tensor) or value.dtype in dtypes


def _has_few_dimensions(node: Node) -> bool:
    value = node.meta.get("val")
    return not isinstance(value, Tensor) or value.dim() <= _MOST_DIMENSIONS


def check_operators(region: RegionGraph) -> None:
    """Raises UnsupportedError for an operator that Core ML's converter does not know."""
    with quietly():
        from coremltools.converters.mil.frontend.torch import ops  # noqa: F401, registers them
        from coremltools.converters.mil.frontend.torch.torch_op_registry import (
            _TORCH_OPS_REGISTRY as KNOWN,
        )
    for node in region.eager.graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload):
            name: str = node.target.name()  # type: ignore[no-untyped-call]
            if KNOWN.get_func(name) is None:
                raise UnsupportedError(f"not supported: Core ML's converter does not know {name}")
