"""The torch.compile backend: capture through AOTAutograd, regions, the choice for each graph."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.exc import TorchDynamoException
from torch.fx import GraphModule, Node

from metalgen.errors import UnsupportedError
from metalgen.optimize.attention.operator import keep_attention
from metalgen.optimize.canonical import fingerprint, renamed
from metalgen.optimize.contender import RegionGraph, Source
from metalgen.optimize.contenders import SOURCES, offers
from metalgen.optimize.flops import flops
from metalgen.optimize.graph_pass import SplitGraph
from metalgen.optimize.means import Means
from metalgen.optimize.partition import PREFIX, calls, is_random, operator_name, partition
from metalgen.optimize.passes import OF_GRAPHS, rewrite_graph
from metalgen.optimize.region import Region
from metalgen.optimize.report import GraphReport, RegionReport, Report
from metalgen.optimize.whole_graph import WholeGraph
from metalgen.proposers.builtin.exportable import decompositions

Run = Callable[..., Any]
OPTIONS = ("policy", "budget_s", "chip")  # those of optimize_for_metal


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
    unknown = set(options or {}) - set(OPTIONS)
    if unknown:
        raise UnsupportedError(
            f"not supported: option {', '.join(sorted(unknown))}; try {', '.join(OPTIONS)}"
        )
    return Backend(Means.of(**(options or {})))(module, inputs)


@dataclass(eq=False)  # torch.compile must not take one backend's graphs for another's
class Backend:
    """A backend with a memory: `report` tells of every graph it was given.

    `module` is whose training mode decides; it is not kept alive.
    """

    means: Means = field(default_factory=Means)
    module: weakref.ref[nn.Module] | None = None
    sources: Sequence[Source] = SOURCES

    @property
    def report(self) -> Report:
        """What was done so far."""
        return self.means.report

    def __call__(self, module: GraphModule, inputs: Sequence[object]) -> Run:
        """What torch.compile is to run for a graph; the graph itself where nothing can be done."""
        graph = GraphReport()
        reason = self._training() or _needs_gradients(inputs)
        if reason is not None:
            graph.choice, graph.reason = "eager", reason
            self.report.graphs.append(graph)
            return module.forward
        eager = module.forward  # what it is now: keeping attention whole writes another
        build = _Build(self, graph)
        compiler = aot_autograd(
            fw_compiler=build.compile,
            inference_compiler=build.compile,
            decompositions=decompositions().materialize(),
        )
        try:
            compiled: Run = compiler(keep_attention(module), list(inputs))
        except TorchDynamoException:  # how Dynamo begins a capture again
            raise
        except Exception as error:  # a model that cannot be captured still runs
            lines = str(error).splitlines() or [""]
            graph.choice, graph.regions, graph.left = "eager", [], []
            graph.reason = f"cannot be captured: {type(error).__name__}: {lines[0]}"
            self.report.graphs.append(graph)
            return eager
        self.report.graphs.append(graph)  # last: Dynamo may give up a capture and begin again
        return WholeGraph(
            eager, compiled, graph, self.means, inputs, build.is_pure, build.fingerprint
        )

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
    fingerprint: str = ""

    def compile(self, module: GraphModule, inputs: Sequence[object]) -> Run:
        """The graph with its regions in place, to be called with a list that it empties."""
        parameters = frozenset(_parameters(module))
        is_repeatable = not any(map(_leaves_traces, module.graph.nodes))
        self.is_pure = is_repeatable and _mutates_nothing()
        self.fingerprint = fingerprint(RegionGraph(module, parameters))
        self.graph.flops = flops(module.graph.nodes)
        module = rewrite_graph(module, parameters, OF_GRAPHS)
        parameters |= {node.name for node in module.graph.find_nodes(op="get_attr")}
        split = partition(module)
        self.graph.left = split.left
        for name, child in list(split.module.named_children()):
            if name.startswith(PREFIX) and isinstance(child, GraphModule):
                setattr(split.module, name, self._region(name, child, parameters))
        return SplitGraph(split.module, self.backend.means.budget, is_repeatable)

    def _region(self, name: str, module: GraphModule, parameters: Container[str]) -> nn.Module:
        report = RegionReport(name, _operators(module), flops=flops(module.graph.nodes))
        self.graph.regions.append(report)
        graph = renamed(module, parameters)
        return Region(graph, offers(graph, self.backend.sources), self.backend.means, report)


def _leaves_traces(node: Node) -> bool:
    """Whether running the node twice differs from running it once."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    return is_random(node) or node.target._schema.is_mutable


def _operators(module: GraphModule) -> tuple[str, ...]:
    return tuple(operator_name(n) for n in calls(module) if n.target is not operator.getitem)


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
