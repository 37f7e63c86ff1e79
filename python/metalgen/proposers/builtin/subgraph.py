"""Kernels for part of a graph that somebody else captured: an FX graph of core ATen operators."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

import sympy
import torch
from torch.fx import Graph, Node

from metalgen.errors import UnsupportedError
from metalgen.proposers.builtin.assemble import Assembly, assemble
from metalgen.proposers.builtin.capture import Capture, SizeError
from metalgen.proposers.builtin.expressions import STORAGE_TYPES
from metalgen.proposers.builtin.indexing import Index, Size
from metalgen.proposers.builtin.lower import lower
from metalgen.proposers.builtin.materialize import copied_outputs
from metalgen.proposers.builtin.naming import identifier
from metalgen.proposers.builtin.tensors import Stored
from metalgen.proposers.builtin.variants import VARIANTS


@dataclass
class _Subgraph(Capture):
    """A capture that also takes sizes such as s0 * s1 whole, where s0 and s1 alone are not known.

    `numbers` are the placeholders that the plan needs as integers, since no tensor has that size.
    """

    whole: dict[sympy.Expr, Size] = field(default_factory=dict)
    numbers: list[str] = field(default_factory=list)

    def index_of(self, value: int | torch.SymInt | sympy.Expr) -> Index:
        """A size of the graph as an index."""
        if isinstance(value, int):
            return Index.of(value)
        expression = value.node.expr if isinstance(value, torch.SymInt) else value
        known = all(symbol.name in self.sizes for symbol in expression.free_symbols)
        if not known and expression in self.whole:
            return Index.of(self.whole[expression])
        return super().index_of(expression)


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
    capture = _captured(graph, parameters)
    (output,) = graph.find_nodes(op="output")
    results = output.args[0]
    capture.outputs = list(results) if isinstance(results, list | tuple) else [results]
    variant = VARIANTS[0]
    try:
        with variant.applied():
            assembly = assemble(copied_outputs(lower(capture)), variant)
    except SizeError as error:
        raise UnsupportedError(f"not supported: {error}") from error
    tensors = [value for value in capture.tensors.values() if isinstance(value, Stored)]
    return SubgraphKernels(
        assembly,
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
        lower(_captured(graph, ()))
    except UnsupportedError as error:
        return str(error).removeprefix("not supported: ").split("; the built-in")[0]
    except SizeError as error:
        return str(error)
    return None


def _captured(graph: Graph, parameters: Container[str]) -> _Subgraph:
    capture = _Subgraph(graph, {}, [], {})
    placeholders = list(graph.find_nodes(op="placeholder"))
    for node in placeholders:
        _learn_sizes(capture, node)
    _learn_numbers(capture, placeholders)
    for node in placeholders:
        value = node.meta["val"]
        if isinstance(value, torch.Tensor):
            if value.dtype not in STORAGE_TYPES:
                raise UnsupportedError(f"not supported: '{node.name}' is {value.dtype}")
            capture.tensors[node.name] = Stored(
                node.name,
                capture.shape_of(node),
                value.dtype,
                plan_name=node.name,
                is_parameter=node.name in parameters,
            )
        elif isinstance(value, torch.SymInt):
            # The lowering takes sizes among its arguments as indices.
            capture.tensors[node.name] = capture.index_of(value)  # type: ignore[assignment]
        elif value is None or isinstance(value, bool | int | float):
            capture.tensors[node.name] = value
        else:
            raise UnsupportedError(f"not supported: '{node.name}' is a {type(value).__name__}")
    return capture


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
        name = f"{identifier(node.name)}_size{i}"
        if expression.is_Symbol:
            # Capture treats sizes 0 and 1 as constants of their own.
            known = Size(name, f"{node.name}.shape[{i}]", hint, 2)
            capture.sizes.setdefault(expression.name, known)
        else:
            capture.whole.setdefault(expression, Size(name, f"{node.name}.shape[{i}]", hint))


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
