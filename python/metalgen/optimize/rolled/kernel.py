"""Offers a loop that was captured unrolled as one kernel that runs through all steps."""

from __future__ import annotations

import json
from collections.abc import Iterator

from torch.fx import Graph, Node

from metalgen.compiler import compile_source
from metalgen.errors import UnsupportedError
from metalgen.optimize.contender import Offer, RegionGraph
from metalgen.optimize.region_plan import RegionPlan, contender_of
from metalgen.optimize.report import Stage
from metalgen.optimize.rolled.recognise import UnrolledLoop, find_loops
from metalgen.optimize.rolled.stepped import check_step, stepped
from metalgen.plan import parse_plan
from metalgen.proposers.builtin.subgraph import plan_names
from metalgen.proposers.builtin.unrolled import BodySlice, BodyState, LoopBody, loop_kernels

# Fewer steps than these are fused across steps by templates where one kernel cannot run them.
LEAST_STEPPED = 17


def rollable_loops(graph: Graph) -> list[UnrolledLoop]:
    """The loops that one kernel can run, or that launch the kernels of one step again and again.

    What such kernels are made of is tried, not compiled.
    """
    return [loop for loop in find_loops(graph) if _fits(loop) or _fits_stepped(loop)]


def rolled(region: RegionGraph) -> Iterator[Offer]:
    """One way, for a region that is a loop."""
    loop = loop_of(region)
    if loop is not None and _fits(loop):
        yield Offer("rolled", lambda: _made(region, loop))
    elif loop is not None:
        yield Offer("stepped", lambda: stepped(region, loop, body_of(loop)))


def loop_of(region: RegionGraph) -> UnrolledLoop | None:
    """The loop that a region is, None where it is not one."""
    calls = {node for node in region.module.graph.nodes if node.op == "call_function"}
    return next((loop for loop in find_loops(region.module.graph) if calls == loop.nodes), None)


def _fits(loop: UnrolledLoop) -> bool:
    try:
        loop_kernels(body_of(loop), (), _outputs(loop))
    except UnsupportedError:
        return False
    return True


def _fits_stepped(loop: UnrolledLoop) -> bool:
    if loop.steps < LEAST_STEPPED:
        return False
    try:
        check_step(body_of(loop))
    except UnsupportedError:
        return False
    return True


def _outputs(loop: UnrolledLoop) -> list[str]:
    lasts = (state.last for state in loop.states)
    return [loop.joined.name, *(node.name for node in lasts if node is not None)]


def body_of(loop: UnrolledLoop) -> LoopBody:
    """Step 1 as a graph of its own; what it reads of others are placeholders."""
    graph = Graph()
    own: dict[Node, Node] = {}
    given: dict[Node, Node] = {}

    def placeholder(node: Node, name: str) -> Node:
        made = graph.placeholder(name)
        made.meta = node.meta
        return made

    firsts = (state.first for state in loop.states)
    sources = (each.source for each in loop.slices)
    for node in dict.fromkeys((*sources, *loop.shared, *firsts, *loop.peeled)):
        own[node] = given[node] = placeholder(node, node.name)
    for i, state in enumerate(loop.states):
        own[state.before] = placeholder(state.before, f"{loop.joined.name}_state{i}")
    for each in loop.slices:
        own[each.node] = placeholder(each.node, f"{each.node.name}_now")
    for node in loop.body:
        own[node] = graph.node_copy(node, own.__getitem__)
        own[node].meta = node.meta
    slices = tuple(
        BodySlice(own[s.node].name, given[s.source].name, s.dim, s.start, s.step, s.keeps)
        for s in loop.slices
    )
    states = tuple(
        BodyState(
            given[state.first],
            own[state.before],
            own[state.after],
            None if state.last is None else state.last.name,
        )
        for state in loop.states
    )
    return LoopBody(
        graph,
        loop.steps,
        own[loop.result],
        slices,
        states,
        tuple(given[node] for node in loop.peeled),
        loop.joined,
        loop.dim,
        loop.is_backwards,
    )


def _made(region: RegionGraph, loop: UnrolledLoop) -> RegionPlan:
    outputs = [node.name for node in region.outputs]
    assembly = loop_kernels(body_of(loop), region.parameters, outputs)
    metallib = compile_source(assembly.source, name="loop.metal")
    inputs, parameters = plan_names(region.module.graph, region.parameters)
    stages: dict[Stage, str] = {
        "graph": str(region.module.graph).strip(),
        "loops": str(assembly.loops),
        "metal": assembly.source.strip(),
        "plan": json.dumps(assembly.plan, indent=1),
    }
    return contender_of(
        region,
        "rolled",
        metallib,
        parse_plan(assembly.plan),
        inputs=inputs,
        parameters=parameters,
        stages=stages,
    )
