"""A region's kernels, compiled: its plan runs on the tensors' own memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from metalgen.chips import Chip, Estimate
from metalgen.compiler import compile_source
from metalgen.errors import UnsupportedError
from metalgen.library import Library, load_metallib
from metalgen.optimize.contender import MemoryOrder, RegionGraph
from metalgen.optimize.memory_order import laid_out, order_of
from metalgen.optimize.once import mark_once
from metalgen.optimize.report import Stage
from metalgen.plan import BoundPlan, CompiledPlan, LaunchPlan, compile_plan, kernels_of, parse_plan
from metalgen.plan.run import Allocate
from metalgen.profile import estimate
from metalgen.proposers.builtin.subgraph import subgraph_kernels


@dataclass
class RegionPlan:
    """A contender that is a launch plan over a metallib's kernels."""

    name: str
    content: str
    compiled: CompiledPlan
    library: Library
    placeholders: tuple[str, ...]
    orders: MemoryOrder
    is_permuted: bool  # the plan takes and gives tensors in the order of their memory
    stages: Mapping[Stage, str]
    device: torch.device | None = None  # where no argument is a tensor
    _bound: BoundPlan | None = None
    _addresses: tuple[int, ...] = field(default=())

    @property
    def kernels(self) -> int:
        """How many launches a call has; what is done once is none of them."""
        return sum(not step.once for step in self.compiled.plan.steps)

    def run(self, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        """The region's outputs, laid out in memory as ATen lays them out."""
        given = self._given(arguments)
        parameters = self._parameters(given)
        addresses = tuple(parameter.data_ptr() for parameter in parameters.values())
        if self._bound is None or addresses != self._addresses:
            # Assigning to a parameter's `.data` changes neither its identity nor its version.
            self._bound = self.compiled.bind(self.library, parameters, self.device)
            self._addresses = addresses
        self._bound.parameters = parameters
        return self._outputs(self._bound, given)

    def run_in(self, allocate: Allocate, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        """As `run`, in memory of somebody's own."""
        given = self._given(arguments)
        parameters = self._parameters(given)
        bound = BoundPlan(self.compiled, self.library, parameters, allocate, self.device)
        return self._outputs(bound, given)

    def predict(self, arguments: Sequence[object], chip: Chip) -> Estimate:
        """What the cost model expects of the plan on a chip."""
        sizes = {
            name: (tuple(value.shape), str(value.dtype).removeprefix("torch."))
            if isinstance(value, Tensor)
            else value
            for name, value in self._given(arguments).items()
        }
        return estimate(self.library.metallib, self.compiled.plan, sizes, chip)  # type: ignore[arg-type]

    def _given(self, arguments: Sequence[object]) -> dict[str, object]:
        """The arguments by name, in the order of their memory where the plan takes them so."""
        return {
            name: value.permute(order) if order and isinstance(value, Tensor) else value
            for name, value, order in zip(
                self.placeholders, arguments, self.orders.inputs, strict=True
            )
        }

    def _parameters(self, given: dict[str, object]) -> dict[str, Tensor]:
        values = ((name, given[name]) for name in self.compiled.names.parameters)
        return {name: value for name, value in values if isinstance(value, Tensor)}

    def _outputs(self, bound: BoundPlan, given: dict[str, object]) -> tuple[Tensor, ...]:
        named = {name: given[name] for name in self.compiled.names.inputs}
        outputs = bound.run(named).values()  # type: ignore[arg-type]
        return tuple(
            laid_out(output, order, self.is_permuted)
            for output, order in zip(outputs, self.orders.outputs, strict=True)
        )


def plan_region(region: RegionGraph, name: str = "templates") -> RegionPlan:
    """Kernels from the built-in templates, compiled; MetalgenError where that is not possible."""
    module = region.module
    try:
        module.graph.lint()
    except RuntimeError as error:
        raise UnsupportedError(f"not supported: malformed graph: {error}") from error
    made = subgraph_kernels(module.graph, region.parameters)
    metallib = compile_source(made.assembly.source, name="region.metal")
    plan = mark_once(made.assembly.plan, load_metallib(metallib), made.parameters)
    stages: dict[Stage, str] = {
        "graph": str(module.graph).strip(),
        "loops": str(made.assembly.loops),
        "metal": made.assembly.source.strip(),
        "plan": json.dumps(plan, indent=1),
    }
    return contender_of(
        region,
        name,
        metallib,
        parse_plan(plan),
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
    orders = region.orders or _unpermuted(region)
    is_permuted = region.orders is not None
    device = region.outputs[0].meta["val"].device
    return RegionPlan(
        name, content, compiled, library, placeholders, orders, is_permuted, stages, device
    )


def _unpermuted(region: RegionGraph) -> MemoryOrder:
    results = (order_of(node.meta["val"]) for node in region.outputs)
    return MemoryOrder((None,) * len(region.placeholders), tuple(results))
