"""A region's kernels, compiled: its plan runs on the tensors' own memory."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from metalgen.compiler import compile_source
from metalgen.errors import UnsupportedError
from metalgen.library import Library, load_metallib
from metalgen.optimize.report import Stage
from metalgen.plan import BoundPlan, CompiledPlan, compile_plan, kernels_of, parse_plan
from metalgen.plan.run import Allocate
from metalgen.proposers.builtin.subgraph import subgraph_kernels

# From an output in memory order to its own order of dimensions; None where they are the same.
Layout = tuple[int, ...] | None


@dataclass
class RegionPlan:
    """A region's compiled plan; `run` takes what the region's graph takes, in its order."""

    compiled: CompiledPlan
    library: Library
    placeholders: tuple[str, ...]
    layouts: tuple[Layout, ...]
    kernels: int
    stages: dict[Stage, str]
    _bound: BoundPlan | None = None
    _addresses: tuple[int, ...] = field(default=())

    def run(self, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        """The region's outputs, laid out in memory as ATen lays them out."""
        given = dict(zip(self.placeholders, arguments, strict=True))
        parameters = self._parameters(given)
        addresses = tuple(parameter.data_ptr() for parameter in parameters.values())
        if self._bound is None or addresses != self._addresses:
            # Assigning to a parameter's `.data` changes neither its identity nor its version.
            self._bound = self.compiled.bind(self.library, parameters)
            self._addresses = addresses
        self._bound.parameters = parameters
        return self._outputs(self._bound, given)

    def run_in(self, allocate: Allocate, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        """As `run`, in memory of somebody's own."""
        given = dict(zip(self.placeholders, arguments, strict=True))
        bound = BoundPlan(self.compiled, self.library, self._parameters(given), allocate)
        return self._outputs(bound, given)

    def _parameters(self, given: dict[str, object]) -> dict[str, Tensor]:
        values = ((name, given[name]) for name in self.compiled.names.parameters)
        return {name: value for name, value in values if isinstance(value, Tensor)}

    def _outputs(self, bound: BoundPlan, given: dict[str, object]) -> tuple[Tensor, ...]:
        named = {name: given[name] for name in self.compiled.names.inputs}
        outputs = bound.run(named).values()  # type: ignore[arg-type]
        return tuple(map(_laid_out, outputs, self.layouts))


def plan_region(module: GraphModule, parameters: Container[str]) -> RegionPlan:
    """Write and compile the kernels; MetalgenError where that is not possible."""
    try:
        module.graph.lint()
    except RuntimeError as error:
        raise UnsupportedError(f"not supported: malformed graph: {error}") from error
    made = subgraph_kernels(module.graph, parameters)
    plan = parse_plan(made.assembly.plan)
    library = load_metallib(compile_source(made.assembly.source, name="region.metal"))
    compiled = compile_plan(
        plan, kernels_of(library), inputs=made.inputs, parameters=made.parameters
    )
    placeholders = tuple(node.name for node in module.graph.find_nodes(op="placeholder"))
    (output,) = module.graph.find_nodes(op="output")
    layouts = tuple(_layout(node) for node in output.args[0])
    stages: dict[Stage, str] = {
        "graph": str(module.graph).strip(),
        "loops": str(made.assembly.loops),
        "metal": made.assembly.source.strip(),
        "plan": json.dumps(made.assembly.plan, indent=1),
    }
    return RegionPlan(compiled, library, placeholders, layouts, len(plan.steps), stages)


def _layout(node: Node) -> Layout:
    """The dimensions, the one with the largest stride first, where that is not their own order."""
    value: Tensor = node.meta["val"]
    if value.is_contiguous() or any(size == 0 for size in value.shape):
        return None
    strides = [_hint(stride) for stride in value.stride()]
    if 0 in strides:
        return None
    order = tuple(sorted(range(value.dim()), key=lambda axis: -strides[axis]))
    return None if order == tuple(range(value.dim())) else order


def _hint(value: int | torch.SymInt) -> int:
    return value if isinstance(value, int) else int(value.node.hint)


def _laid_out(output: Tensor, layout: Layout) -> Tensor:
    if layout is None:
        return output
    back = [layout.index(axis) for axis in range(len(layout))]
    return output.permute(layout).contiguous().permute(back)
