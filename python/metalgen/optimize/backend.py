"""The torch.compile backend: capture through AOTAutograd, regions, the choice for each graph."""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.exc import TorchDynamoException
from torch.fx import GraphModule, Node

from metalgen.errors import UnsupportedError
from metalgen.optimize.attention.encoder_layer import FUSED, encoder_layer
from metalgen.optimize.attention.operator import keep_attention
from metalgen.optimize.canonical import fingerprint, renamed
from metalgen.optimize.captured import captured_metadata, changed_inputs, static_placeholders
from metalgen.optimize.choices import digest
from metalgen.optimize.contender import RegionGraph, Source
from metalgen.optimize.contenders import SOURCES, offers
from metalgen.optimize.flops import flops
from metalgen.optimize.graph_pass import SplitGraph
from metalgen.optimize.means import Means
from metalgen.optimize.partition import PREFIX, calls, is_random, operator_name, partition
from metalgen.optimize.passes import OF_GRAPHS, rewrite_graph
from metalgen.optimize.recurrent.allowing import allowing
from metalgen.optimize.recurrent.operator import keep_recurrent
from metalgen.optimize.region import Region, is_open
from metalgen.optimize.report import GraphReport, RegionReport, Report
from metalgen.optimize.training import TrainingGraph
from metalgen.optimize.whole_graph import WholeGraph
from metalgen.proposers.builtin.exportable import decompositions

Run = Callable[..., Any]
OPTIONS = ("policy", "budget_s", "chip", "packs")  # those of optimize_for_metal


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
    """A backend with a memory: `report` tells of every graph it was given."""

    means: Means = field(default_factory=Means)
    sources: Sequence[Source] = SOURCES
    # What torch._dynamo.optimize enters around calls; it finds it among an instance's own names.
    backend_ctx_ctor: Callable[[], AbstractContextManager[Any]] = allowing

    @property
    def report(self) -> Report:
        """What was done so far."""
        return self.means.report

    def __call__(self, module: GraphModule, inputs: Sequence[object]) -> Run:
        """What torch.compile is to run for a graph; the graph itself where nothing can be done."""
        graph, before = GraphReport(), len(self.report.graphs)
        eager = module.forward  # what it is now: keeping attention whole writes another
        needs_gradients = torch.is_grad_enabled() and any(map(_requires_grad, inputs))
        build = _Build(self, graph, "forward" if needs_gradients else "inference")
        compiler = aot_autograd(
            fw_compiler=build.compile,
            bw_compiler=_Build(self, GraphReport(), "backward").compile,
            inference_compiler=build.compile,
            decompositions=_decompositions(needs_gradients),
        )
        try:
            # The operators that keep calls whole have no gradient.
            captured = module if needs_gradients else keep_recurrent(keep_attention(module))
            compiled: Run = compiler(captured, list(inputs))
        except TorchDynamoException:  # how Dynamo begins a capture again
            raise
        except Exception as error:  # a model that cannot be captured still runs
            lines = str(error).splitlines() or [""]
            graph.choice, graph.regions, graph.left = "eager", [], []
            graph.reason = f"cannot be captured: {type(error).__name__}: {lines[0]}"
            self.report.graphs.append(graph)
            return eager
        # Only now: Dynamo may give up a capture and begin again. The backward graph may be there.
        self.report.graphs.insert(before, graph)
        if needs_gradients:
            return self._training(eager, compiled, build, inputs)
        places = tuple(i for i, value in enumerate(inputs) if is_open(value))
        return WholeGraph(eager, compiled, graph, self.means, places, build.is_pure, build.subject)

    def _training(self, eager: Run, compiled: Run, build: _Build, inputs: Sequence[object]) -> Run:
        graph = build.graph
        if any(_requires_grad(inputs[i]) for i in build.changed):
            graph.choice, graph.reason = "eager", "changes in place what needs a gradient"
            return eager
        return TrainingGraph(eager, compiled, graph, self.means, build.is_pure, build.changed)


def _decompositions(with_gradients: bool) -> dict[Any, Callable[..., Any]]:
    table = decompositions().materialize()
    if with_gradients:
        # The parts of the forward pass do not give what the backward pass, a whole, wants of it.
        table.pop(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default, None)
    else:
        table[FUSED] = encoder_layer
    return table


def _requires_grad(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


@dataclass
class _Build:
    """Turns one captured graph into regions; `is_pure`: it may be run again for timing.

    `changed` are the positions of inputs that the graph changes.
    """

    backend: Backend
    graph: GraphReport
    kind: Literal["inference", "forward", "backward"] = "inference"
    is_pure: bool = False
    changed: frozenset[int] = frozenset()
    _identity: list[str] = field(default_factory=list)

    @property
    def subject(self) -> str:
        """The graph and all that is offered for its regions."""
        return f"graph {digest(self._identity)}"

    def compile(self, module: GraphModule, inputs: Sequence[object]) -> Run:
        """The graph with its regions in place, to be called with a list that it empties."""
        if self.kind == "backward":  # compiled with the forward pass, or when it is first wanted
            self.backend.report.graphs.append(self.graph)
        if self.kind != "inference" and (metadata := captured_metadata()) is not None:
            # Regions reuse no memory of what was saved, so that going backward twice is allowed.
            metadata.bw_donated_idxs = []
        # While a model is trained, nothing is worth doing once for its parameters.
        parameters = static_placeholders(module) if self.kind == "inference" else frozenset()
        is_repeatable = not any(map(_leaves_traces, module.graph.nodes))
        self.changed = changed_inputs()
        self.is_pure = is_repeatable and not self.changed
        self._identity.append(fingerprint(RegionGraph(module, parameters)))
        self.graph.flops = flops(module.graph.nodes)
        module = rewrite_graph(module, parameters, OF_GRAPHS, self.graph.left_out)
        parameters |= {node.name for node in module.graph.find_nodes(op="get_attr")}
        packs = self.backend.means.packs
        split = partition(module, lambda graph: packs.claims(graph, parameters))
        self.graph.left = split.left
        for name, child in list(split.module.named_children()):
            if name.startswith(PREFIX) and isinstance(child, GraphModule):
                setattr(split.module, name, self._region(name, child, parameters))
        return SplitGraph(split.module, self.backend.means.budget, is_repeatable)

    def _region(self, name: str, module: GraphModule, parameters: Container[str]) -> nn.Module:
        report = RegionReport(name, _operators(module), flops=flops(module.graph.nodes))
        self.graph.regions.append(report)
        graph = renamed(module, parameters)
        report.left_out = graph.left_out
        offered = offers(graph, (self.backend.means.packs, *self.backend.sources))
        self._identity += (offer.name for offer in offered)
        return Region(graph, offered, self.backend.means, report)


def _leaves_traces(node: Node) -> bool:
    """Whether running the node twice differs from running it once."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    return is_random(node) or node.target._schema.is_mutable


def _operators(module: GraphModule) -> tuple[str, ...]:
    return tuple(operator_name(n) for n in calls(module) if n.target is not operator.getitem)
