"""Converts a region to an ML program of fixed sizes, its parameters folded in as constants."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.node import map_aggregate

from metalgen.errors import UnsupportedError
from metalgen.optimize.contender import RegionGraph
from metalgen.optimize.neural_engine.quietly import quietly

_NUMPY = {torch.float16: np.float16, torch.float32: np.float32}


@dataclass(frozen=True)
class Program:
    """`model`, of coremltools, takes `inputs`: names, and which of the region's arguments."""

    model: Any
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[str, ...]


def convert(region: RegionGraph, arguments: Sequence[object]) -> Program:
    """The region for arguments of these sizes, computed in float16.

    What is no tensor and what is a parameter becomes a constant, as the Neural Engine wants the
    weights of products and convolutions. Raises UnsupportedError.
    """
    folded = _Folded(region, arguments)
    given = tuple(value for value in folded.open_values)
    if any(value.dim() == 0 or value.numel() == 0 for value in given):
        raise UnsupportedError("not supported: Core ML takes no tensors without sizes or elements")
    # In a thread of its own: AOTAutograd calls regions with parts of PyTorch's dispatch turned off,
    # which export needs.
    with quietly(), ThreadPoolExecutor(1) as thread:
        made = thread.submit(_attempt, folded, given).result()
        gc.collect()  # the converter leaves temporary folders, which warn when they are collected
    if isinstance(made, Program):
        return made
    raise UnsupportedError(f"not supported: cannot be converted to an ML program: {made}")


def _attempt(folded: _Folded, given: tuple[Tensor, ...]) -> Program | str:
    """The program, or why there is none."""
    try:
        return _converted(folded, given)
    except Exception as error:  # whatever the converter does not expect, others can compute
        return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _converted(folded: _Folded, given: tuple[Tensor, ...]) -> Program:
    import coremltools

    with torch.no_grad():
        exported = torch.export.export(folded, given).run_decompositions({})
    outputs = [
        coremltools.TensorType(name=f"y{i}", dtype=_NUMPY[node.meta["val"].dtype])
        for i, node in enumerate(folded.region.outputs)
    ]
    model = coremltools.convert(
        exported,
        convert_to="mlprogram",
        outputs=outputs,
        minimum_deployment_target=coremltools.target.macOS14,  # the oldest that metalgen runs on
        compute_precision=coremltools.precision.FLOAT16,  # the Neural Engine knows no other
        compute_units=coremltools.ComputeUnit.CPU_AND_NE,
        skip_model_load=sys.platform != "darwin",
    )
    read = {each.name for each in model.get_spec().description.input}
    names = zip(exported.graph_signature.user_inputs, folded.open_places, strict=True)
    inputs = tuple((str(name), place) for name, place in names if name in read)
    return Program(model, inputs, tuple(output.name for output in outputs))


class _Folded(nn.Module):
    """The region as a module of what varies from call to call; the rest is in it."""

    def __init__(self, region: RegionGraph, arguments: Sequence[object]) -> None:
        super().__init__()
        self.region = region
        self.open_places = tuple(
            i
            for i, (node, value) in enumerate(zip(region.placeholders, arguments, strict=True))
            if isinstance(value, Tensor) and node.name not in region.parameters
        )
        self.open_values = [_on_cpu(arguments[i]) for i in self.open_places]
        self._graph = _graph_on_cpu(region.eager)
        self._rest = {
            i: value for i, value in enumerate(arguments) if not isinstance(value, Tensor)
        }
        self._count = len(arguments)
        for i, value in enumerate(arguments):
            if isinstance(value, Tensor) and i not in self.open_places:
                self.register_buffer(f"parameter_{i}", _on_cpu(value))

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """What the region gives."""
        values = dict(zip(self.open_places, given, strict=True)) | self._rest
        arguments = [
            values[i] if i in values else getattr(self, f"parameter_{i}")
            for i in range(self._count)
        ]
        return tuple(self._graph(*arguments))


def _on_cpu(value: object) -> Tensor:
    assert isinstance(value, Tensor)
    return value.detach().cpu().contiguous()


def _graph_on_cpu(module: GraphModule) -> GraphModule:
    """The graph with every device that it names replaced by the one that exports."""
    copy = torch.fx.Graph()
    copy.output(copy.graph_copy(module.graph, {}))
    for node in copy.nodes:
        node.args = map_aggregate(node.args, _as_cpu)
        node.kwargs = map_aggregate(node.kwargs, _as_cpu)
    return GraphModule(module, copy)


def _as_cpu(value: Any) -> Any:
    return torch.device("cpu") if isinstance(value, torch.device) else value
