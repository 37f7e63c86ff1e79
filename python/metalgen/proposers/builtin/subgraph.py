"""Kernels for part of a graph that somebody else captured: an FX graph of core ATen operators."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch.fx import Graph, Node

from metalgen.errors import UnsupportedError
from metalgen.proposers.builtin.assemble import Assembly, assemble
from metalgen.proposers.builtin.capture import Capture, SizeError
from metalgen.proposers.builtin.expressions import STORAGE_TYPES
from metalgen.proposers.builtin.indexing import Size
from metalgen.proposers.builtin.lower import lower
from metalgen.proposers.builtin.materialize import copied_outputs
from metalgen.proposers.builtin.naming import identifier
from metalgen.proposers.builtin.tensors import Stored
from metalgen.proposers.builtin.variants import VARIANTS


@dataclass
class _Subgraph(Capture):
    """A capture; `numbers` are placeholders that the plan needs as integers: no tensor's sizes."""

    numbers: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class SubgraphKernels:
    """Source and plan for a graph; `inputs` are the placeholders that the plan names, in order."""

    assembly: Assembly
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]


def subgraph_kernels(graph: Graph, parameters: Container[str]) -> SubgraphKernels:
    """Kernels for all of `graph`, whose nodes hold fake values in `meta["val"]`.

    `parameters` names the placeholders whose memory rarely changes: what depends on them alone is
    done once. Raises UnsupportedError where no template fits.
    """
    capture = _with_sizes(graph)
    (output,) = graph.find_nodes(op="output")
    results = output.args[0]
    capture.outputs = list(results) if isinstance(results, list | tuple) else [results]
    variant = VARIANTS[0]
    try:
        with variant.applied():
            outputs = copied_outputs(lower(_with_tensors(capture, parameters)))
            assembly = assemble(outputs, variant)
    except SizeError as error:
        raise UnsupportedError(f"not supported: {error}") from error
    return SubgraphKernels(assembly, *_names(capture))


def sized(graph: Graph) -> Capture:
    """The graph with its sizes as expressions over the placeholders; raises UnsupportedError."""
    return _with_sizes(graph)


def stored(graph: Graph, parameters: Container[str]) -> Capture:
    """The graph with its placeholders as tensors in memory; raises UnsupportedError."""
    return _with_tensors(_with_sizes(graph), parameters)


def plan_names(graph: Graph, parameters: Container[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The placeholders that a plan for the graph may name: inputs in order, and parameters."""
    capture = _with_tensors(_with_sizes(graph), parameters)
    return _names(capture)


def _names(capture: _Subgraph) -> tuple[tuple[str, ...], tuple[str, ...]]:
    tensors = [value for value in capture.tensors.values() if isinstance(value, Stored)]
    return (
        (*(t.plan_name for t in tensors if not t.is_parameter), *capture.numbers),
        tuple(t.plan_name for t in tensors if t.is_parameter),
    )


def unsupported_reason(node: Node) -> str | None:
    """Why no template can compute this node, None where one can; its arguments count as stored."""
    graph = Graph()
    copies: dict[Node, Node] = {}
    for source in node.all_input_nodes:
        copies[source] = graph.placeholder(source.name)
        copies[source].meta = source.meta
    graph.node_copy(node, lambda source: copies[source])
    try:
        capture = _with_sizes(graph)
        for name in symbols(graph) - capture.sizes.keys():
            capture.sizes[name] = Size(name, name, 2, 2)  # whoever builds the region provides it
        lower(_with_tensors(capture, ()))
    except UnsupportedError as error:
        return str(error).removeprefix("not supported: ").split("; the built-in")[0]
    except SizeError as error:
        return str(error)
    return None


def symbols(graph: Graph) -> set[str]:
    """Names of the sizes that occur anywhere in the graph's values."""
    return {
        symbol.name
        for node in graph.nodes
        for size in _sizes(node.meta.get("val"))
        if isinstance(size, torch.SymInt | torch.SymFloat)
        for symbol in size.node.expr.free_symbols
    }


def known_symbols(graph: Graph) -> set[str]:
    """Those of `symbols` that can be read off the placeholders."""
    return set(_with_sizes(graph).sizes)


def _sizes(value: object) -> Iterator[object]:
    if isinstance(value, torch.Tensor):
        yield from value.shape
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _sizes(part)
    else:
        yield value


def _with_sizes(graph: Graph) -> _Subgraph:
    """A capture that knows the sizes which the placeholders give away."""
    capture = _Subgraph(graph, {}, [], {})
    placeholders = list(graph.find_nodes(op="placeholder"))
    for node in placeholders:
        _learn_sizes(capture, node)
    _learn_numbers(capture, placeholders)
    return capture


def _with_tensors(capture: _Subgraph, parameters: Container[str]) -> _Subgraph:
    for node in capture.graph.find_nodes(op="placeholder"):
        value = node.meta["val"]
        if isinstance(value, torch.Tensor):
            capture.tensors[node.name] = _stored(capture, node, node.name in parameters)
        elif isinstance(value, torch.SymInt):
            # The lowering takes sizes among its arguments as indices.
            capture.tensors[node.name] = capture.index_of(value)  # type: ignore[assignment]
        elif isinstance(value, torch.SymFloat):  # a quotient of sizes, such as a resize's scale
            capture.tensors[node.name] = capture.scalar_of(value)  # type: ignore[assignment]
        elif value is None or isinstance(value, bool | int | float):
            capture.tensors[node.name] = value
        else:
            raise UnsupportedError(f"not supported: '{node.name}' is a {type(value).__name__}")
    return capture


def _stored(capture: _Subgraph, node: Node, is_parameter: bool) -> Stored:
    dtype = node.meta["val"].dtype
    if dtype not in STORAGE_TYPES:
        name = str(dtype).removeprefix("torch.")
        raise UnsupportedError(f"not supported: '{node.name}' is {name}, not a Metal type")
    shape = capture.shape_of(node)
    return Stored(node.name, shape, dtype, plan_name=node.name, is_parameter=is_parameter)


def _learn_sizes(capture: _Subgraph, node: Node) -> None:
    value = node.meta["val"]
    if not isinstance(value, torch.Tensor):
        return
    for i, size in enumerate(value.shape):
        if not isinstance(size, torch.SymInt):
            continue
        expression, hint = size.node.expr, size.node.hint
        if hint is None:
            raise UnsupportedError(f"not supported: size {expression} depends on data")
        if expression.is_Symbol and expression.name not in capture.sizes:
            # Capture treats sizes 0 and 1 as constants of their own.
            name = f"{identifier(node.name)}_size{i}"
            capture.sizes[expression.name] = Size(name, f"{node.name}.shape[{i}]", hint, 2)


def _learn_numbers(capture: _Subgraph, placeholders: Iterable[Node]) -> None:
    for node in placeholders:
        value = node.meta["val"]
        if not isinstance(value, torch.SymInt) or value.node.hint is None:
            continue
        expression = value.node.expr
        if expression.is_Symbol and expression.name not in capture.sizes:
            size = Size(f"{identifier(node.name)}_value", node.name, value.node.hint, 2)
            capture.sizes[expression.name] = size
            capture.numbers.append(node.name)
