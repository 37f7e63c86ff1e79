"""The torch.compile backend: capture through AOTAutograd, regions, the choice for each graph."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.exc import TorchDynamoException
from torch.fx import GraphModule

from metalgen.errors import MetalgenError, UnsupportedError
from metalgen.optimize.contender import Contender, RegionGraph
from metalgen.optimize.contenders import offers
from metalgen.optimize.flops import flops
from metalgen.optimize.partition import PREFIX, calls, is_random, operator_name, partition
from metalgen.optimize.race import race
from metalgen.optimize.region import Policy, Region
from metalgen.optimize.report import GraphReport, RegionReport, Report
from metalgen.proposers.builtin.exportable import decompositions

Run = Callable[..., Any]


def backend(
    module: GraphModule,
    inputs: Sequence[object],
    *,
    options: Mapping[str, Any] | None = None,
    mode: str | None = None,
) -> Run:
    """What `torch.compile(model, backend="metalgen")` calls; `options={"policy": "metal"}`."""
    if mode not in (None, "default"):
        raise UnsupportedError(f"not supported: mode '{mode}'; give options={{'policy': ...}}")
    unknown = set(options or {}) - {"policy"}
    if unknown:
        raise UnsupportedError(f"not supported: option {', '.join(sorted(unknown))}; try policy")
    return Backend(policy=(options or {}).get("policy", "fastest"))(module, inputs)


@dataclass(eq=False)  # torch.compile must not take one backend's graphs for another's
class Backend:
    """A backend with a memory: `report` tells of every graph it was given.

    `module` is whose training mode decides; it is not kept alive.
    """

    policy: Policy = "fastest"
    module: weakref.ref[nn.Module] | None = None
    report: Report = field(init=False)

    def __post_init__(self) -> None:
        if self.policy not in ("fastest", "metal"):
            raise UnsupportedError(f"not supported: policy '{self.policy}'; fastest or metal")
        self.report = Report(self.policy)

    def __call__(self, module: GraphModule, inputs: Sequence[object]) -> Run:
        """What torch.compile is to run for a graph; the graph itself where nothing can be done."""
        graph = GraphReport()
        reason = self._training() or _needs_gradients(inputs)
        if reason is not None:
            graph.choice, graph.reason = "eager", reason
            self.report.graphs.append(graph)
            return module.forward
        build = _Build(self, graph)
        compiler = aot_autograd(
            fw_compiler=build.compile,
            inference_compiler=build.compile,
            decompositions=decompositions().materialize(),
        )
        try:
            compiled: Run = compiler(module, list(inputs))
        except TorchDynamoException:  # how Dynamo begins a capture again
            raise
        except Exception as error:  # a model that cannot be captured still runs
            lines = str(error).splitlines() or [""]
            graph.choice, graph.regions, graph.left = "eager", [], []
            graph.reason = f"cannot be captured: {type(error).__name__}: {lines[0]}"
            self.report.graphs.append(graph)
            return module.forward
        self.report.graphs.append(graph)  # last: Dynamo may give up a capture and begin again
        return _Chosen(module.forward, compiled, build)

    def _training(self) -> str | None:
        module = self.module() if self.module is not None else None
        if module is not None and module.training:
            return "the module is in training mode; call its eval()"
        return None


def _needs_gradients(inputs: Sequence[object]) -> str | None:
    if not torch.is_grad_enabled():
        return None
    wanted = sum(isinstance(value, Tensor) and value.requires_grad for value in inputs)
    if not wanted:
        return None
    return f"autograd is needed ({wanted} tensors require grad); call it under torch.no_grad()"


@dataclass
class _Build:
    """Turns one captured graph into regions; `is_pure`: it may be run again for timing."""

    backend: Backend
    graph: GraphReport
    is_pure: bool = False

    def compile(self, module: GraphModule, inputs: Sequence[object]) -> Run:
        """The graph with its regions in place, to be called with a list that it empties."""
        parameters = _parameters(module)
        self.is_pure = _mutates_nothing() and not any(map(is_random, module.graph.nodes))
        self.graph.flops = flops(module.graph.nodes)
        split = partition(module)
        self.graph.left = split.left
        for name, child in list(split.module.named_children()):
            if name.startswith(PREFIX) and isinstance(child, GraphModule):
                setattr(split.module, name, self._region(name, child, parameters))

        def run(arguments: list[object]) -> Any:
            given = tuple(arguments)
            arguments.clear()
            return split.module(*given)

        run._boxed_call = True  # type: ignore[attr-defined]
        return run

    def _region(self, name: str, module: GraphModule, parameters: set[str]) -> nn.Module:
        report = RegionReport(name, _operators(module), flops=flops(module.graph.nodes))
        self.graph.regions.append(report)
        graph = RegionGraph(module, frozenset(parameters), _device_type(module))
        contenders: list[Contender] = []
        failures: list[str] = []
        for offer in offers(graph):
            try:
                contenders.append(offer.make())
            except MetalgenError as error:
                failures.append(str(error))
            except Exception as error:  # whatever a source does not expect, ATen can compute
                failures.append(f"{offer.name} failed: {type(error).__name__}: {error}")
        if not contenders:
            report.decide("aten", "; ".join(failures))
            return module
        self.backend.report.compilations += 1
        report.kernels, report.stages = contenders[0].kernels, dict(contenders[0].stages)
        return Region(graph, contenders, self.backend.policy, report)


@dataclass
class _Chosen:
    """One graph's callable: with regions, or eager where that is measured to be faster."""

    eager: Run
    compiled: Run
    build: _Build
    is_decided: bool = False

    def __call__(self, *arguments: object) -> Any:
        """The graph's outputs."""
        if self.build.graph.choice == "eager":
            return self.eager(*arguments)
        if self.is_decided:
            return self.compiled(*arguments)
        results = self.compiled(*arguments)
        self.is_decided = True
        self._decide(arguments)
        return results

    def _decide(self, arguments: tuple[object, ...]) -> None:
        """Eager, undecomposed, may beat the graph even where some regions gain."""
        graph = self.build.graph
        if not any(region.choice == "metal" for region in graph.regions):
            graph.choice, graph.reason = "eager", "no region runs on Metal"
        elif self.build.backend.policy == "metal":
            graph.reason = "the policy asks for Metal"
        elif not self.build.is_pure:
            graph.reason = "not timed as a whole: it changes its inputs or draws random numbers"
        else:
            device = next(value.device for value in arguments if isinstance(value, Tensor))
            graph.compiled_us, graph.eager_us = race(
                lambda: self.compiled(*arguments), lambda: self.eager(*arguments), device
            )
            if graph.eager_us <= graph.compiled_us:
                graph.choice, graph.reason = "eager", "eager is faster as a whole"


def _operators(module: GraphModule) -> tuple[str, ...]:
    return tuple(operator_name(n) for n in calls(module) if n.target is not operator.getitem)


def _device_type(module: GraphModule) -> str:
    values = (node.meta.get("val") for node in module.graph.nodes)
    return next((value.device.type for value in values if isinstance(value, Tensor)), "cpu")


def _parameters(module: GraphModule) -> set[str]:
    """Placeholders whose memory stays from call to call: parameters and buffers."""
    metadata = _metadata()
    static = set(metadata.static_input_indices or ()) if metadata is not None else set()
    placeholders = module.graph.find_nodes(op="placeholder")
    return {node.name for i, node in enumerate(placeholders) if i in static}


def _mutates_nothing() -> bool:
    metadata = _metadata()
    if metadata is None:
        return False
    return not any(info.mutates_data or info.mutates_metadata for info in metadata.input_info)


def _metadata() -> Any:
    """What AOTAutograd found out about the graph that is being compiled."""
    context = torch._guards.TracingContext.try_get()
    return None if context is None else context.fw_metadata
