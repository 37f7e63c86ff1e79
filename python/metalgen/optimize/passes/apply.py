"""How a pass runs: on a copy, verified afterwards, and left out where anything is amiss."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch.fx import Graph, GraphModule, Node

from metalgen.errors import MetalgenError, UnsupportedError
from metalgen.optimize.contender import RegionGraph

# A graph and the names of the placeholders whose memory rarely changes.
Rewrite = Callable[[Graph, Collection[str]], int]
Remaining = Callable[[Graph, Collection[str]], Iterable[Node]]


@dataclass(frozen=True)
class Pass:
    """`rewrite` changes a graph in place and counts its changes; `remaining` finds what it missed.

    The postcondition of every pass: a well-formed graph whose nodes have fake values, the same
    placeholders, and results of the same shapes, dtypes and strides; and nothing `remaining`.
    """

    name: str
    rewrite: Rewrite
    remaining: Remaining


def rewrite_graph(
    module: GraphModule,
    parameters: Collection[str],
    passes: Sequence[Pass],
    left_out: MutableMapping[str, str],
) -> GraphModule:
    """The module with the passes applied, itself where none applies.

    A pass that fails is left out, and `left_out` says why, by its name. Constants that passes
    compute are attributes of the module.
    """
    for each in passes:
        try:
            module = applied(each, module, parameters) or module
        except MetalgenError as error:  # the graph as it was is right
            left_out[each.name] = str(error)
        except Exception as error:  # whatever a pass does not expect
            lines = str(error).strip().splitlines() or ["no reason given"]
            left_out[each.name] = f"{type(error).__name__}: {lines[0]}"
    return module


def rewrite_region(region: RegionGraph, passes: Sequence[Pass]) -> RegionGraph:
    """The region as whoever computes it may see it; its own module stays what it is checked by."""
    module = rewrite_graph(region.module, region.parameters, passes, region.left_out)
    return region if module is region.module else replace(region, module=module)


def applied(each: Pass, module: GraphModule, parameters: Collection[str]) -> GraphModule | None:
    """The module with one pass applied, None where it has nothing to do.

    Raises UnsupportedError where its postcondition does not hold.
    """
    graph = Graph()
    copies: dict[Node, Node] = {}
    output = graph.graph_copy(module.graph, copies)
    graph.output(output).meta = module.graph.find_nodes(op="output")[0].meta
    for old, new in copies.items():
        new.meta = dict(old.meta)
    graph.owning_module = module
    if not each.rewrite(graph, parameters):
        return None
    graph.eliminate_dead_code()
    result = GraphModule(module, graph)
    verify(each, module.graph, result.graph, parameters)
    return result


def verify(each: Pass, before: Graph, after: Graph, parameters: Collection[str]) -> None:
    """Raise UnsupportedError where the pass's postcondition does not hold."""
    try:
        after.lint()
    except RuntimeError as error:
        raise UnsupportedError(f"not supported: after '{each.name}': {error}") from error
    if _inputs(before) != _inputs(after):
        raise UnsupportedError(f"not supported: '{each.name}' changed the graph's inputs")
    if bare := [n for n in after.nodes if n.op == "call_function" and "val" not in n.meta]:
        raise UnsupportedError(f"not supported: '{each.name}' left {bare[0]} without a value")
    if _kinds(before) != _kinds(after):
        raise UnsupportedError(f"not supported: '{each.name}' changed what the graph returns")
    if missed := list(each.remaining(after, parameters)):
        raise UnsupportedError(f"not supported: '{each.name}' left {missed[0]} as it was")


def _inputs(graph: Graph) -> list[str]:
    return [node.name for node in graph.find_nodes(op="placeholder")]


def _kinds(graph: Graph) -> list[object]:
    """Shape, dtype and strides of each result."""
    (output,) = graph.find_nodes(op="output")
    kinds: list[object] = []
    torch.fx.map_arg(output.args, lambda node: kinds.append(_kind(node.meta.get("val"))))
    return kinds


def _kind(value: object) -> object:
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    sizes = (*value.shape, *value.stride())
    return value.dtype, tuple(str(size) for size in sizes)
