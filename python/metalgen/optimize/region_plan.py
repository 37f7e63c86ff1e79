"""A region's kernels, compiled: its plan runs on the tensors' own memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.fx import Node

from metalgen.chips import Chip
from metalgen.compiler import compile_source
from metalgen.errors import UnsupportedError
from metalgen.library import Library, load_metallib
from metalgen.optimize.contender import RegionGraph
from metalgen.optimize.report import Stage
from metalgen.plan import BoundPlan, CompiledPlan, LaunchPlan, compile_plan, kernels_of, parse_plan
from metalgen.plan.run import Allocate
from metalgen.profile import estimate
from metalgen.proposers.builtin.subgraph import subgraph_kernels

# From an output in memory order to its own order of dimensions; None where they are the same.
Layout = tuple[int, ...] | None


@dataclass
class RegionPlan:
    """A contender that is a launch plan over a metallib's kernels."""

    name: str
    content: str
    compiled: CompiledPlan
    library: Library
    placeholders: tuple[str, ...]
    layouts: tuple[Layout, ...]
    stages: Mapping[Stage, str]
    _bound: BoundPlan | None = None
    _addresses: tuple[int, ...] = field(default=())

    @property
    def kernels(self) -> int:
        """How many steps the plan has."""
        return len(self.compiled.plan.steps)

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

    def predict(self, arguments: Sequence[object], chip: Chip) -> float:
        """Seconds that the cost model expects of the plan on a chip."""
        sizes = {
            name: (tuple(value.shape), str(value.dtype).removeprefix("torch."))
            if isinstance(value, Tensor)
            else value
            for name, value in zip(self.placeholders, arguments, strict=True)
        }
        return estimate(self.library.metallib, self.compiled.plan, sizes, chip).seconds  # type: ignore[arg-type]

    def _parameters(self, given: dict[str, object]) -> dict[str, Tensor]:
        values = ((name, given[name]) for name in self.compiled.names.parameters)
        return {name: value for name, value in values if isinstance(value, Tensor)}

    def _outputs(self, bound: BoundPlan, given: dict[str, object]) -> tuple[Tensor, ...]:
        named = {name: given[name] for name in self.compiled.names.inputs}
        outputs = bound.run(named).values()  # type: ignore[arg-type]
        return tuple(map(_laid_out, outputs, self.layouts))


def plan_region(region: RegionGraph) -> RegionPlan:
    """Kernels from the built-in templates, compiled; MetalgenError where that is not possible."""
    module = region.module
    try:
        module.graph.lint()
    except RuntimeError as error:
        raise UnsupportedError(f"not supported: malformed graph: {error}") from error
    made = subgraph_kernels(module.graph, region.parameters)
    stages: dict[Stage, str] = {
        "graph": str(module.graph).strip(),
        "loops": str(made.assembly.loops),
        "metal": made.assembly.source.strip(),
        "plan": json.dumps(made.assembly.plan, indent=1),
    }
    return contender_of(
        region,
        "templates",
        compile_source(made.assembly.source, name="region.metal"),
        parse_plan(made.assembly.plan),
        inputs=made.inputs,
        parameters=made.parameters,
        stages=stages,
    )


def contender_of(
    region: RegionGraph,
    name: str,
    metallib: bytes,
    plan: LaunchPlan,
    *,
    inputs: Iterable[str],
    parameters: Iterable[str],
    stages: Mapping[Stage, str],
) -> RegionPlan:
    """A plan and its kernels as a contender; PlanError where they do not fit each other.

    `inputs` and `parameters` are those of the region's placeholders that the plan names; its
    outputs are the region's, in order, in the order of their memory.
    """
    library = load_metallib(metallib)
    compiled = compile_plan(
        plan, kernels_of(library), inputs=tuple(inputs), parameters=tuple(parameters)
    )
    content = hashlib.sha256(metallib + plan.model_dump_json().encode()).hexdigest()[:16]
    placeholders = tuple(node.name for node in region.placeholders)
    layouts = tuple(map(_layout, region.outputs))
    return RegionPlan(name, content, compiled, library, placeholders, layouts, stages)


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
