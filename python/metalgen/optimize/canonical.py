"""One form for equal regions: nodes and sizes named by their place, whatever the model calls them.

Layers of one kind are equal regions, whose kernels are then compiled once and raced once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from metalgen.optimize.contender import RegionGraph


def renamed(module: GraphModule, parameters: Container[str]) -> RegionGraph:
    """The region under canonical names; `parameters` are those that `module` has."""
    graph = Graph()
    copies: dict[Node, Node] = {}
    kept = set()
    for node in module.graph.nodes:
        is_parameter = node.op == "placeholder" and node.name in parameters
        arguments = map_arg((node.args, node.kwargs), lambda used: copies[used])
        name = _base(node, is_parameter)
        target = name if node.op == "placeholder" else node.target
        copy = copies[node] = graph.create_node(node.op, target, *arguments, name=name)
        if node.op == "placeholder":
            copy.target = copy.name  # which the graph made unique
        copy.meta = node.meta
        if is_parameter:
            kept.add(copy.name)
    values = (node.meta.get("val") for node in graph.nodes)
    device = next((value.device.type for value in values if isinstance(value, Tensor)), "cpu")
    return RegionGraph(GraphModule(module, graph), frozenset(kept), device)


def fingerprint(region: RegionGraph) -> str:
    """The same for regions that compute the same from inputs of the same dtypes and ranks."""
    text = canonical_text(region.module, region.parameters)
    return hashlib.sha256(f"{region.device}\n{text}".encode()).hexdigest()[:16]


def canonical_text(module: GraphModule, parameters: Container[str] = ()) -> str:
    """The graph, one line for each node; sizes of what it is given are left open."""
    names: dict[Node, str] = {}
    symbols: dict[str, str] = {}
    lines = []
    for node in module.graph.nodes:
        names[node] = f"%{len(names)}"
        what = _given(node, node.name in parameters) if node.op == "placeholder" else node.target
        if node.op == "get_attr":
            what = _constant(module, str(node.target))
        arguments = map_arg((node.args, dict(node.kwargs)), lambda used: _Name(names[used]))
        lines.append(f"{names[node]} = {node.op} {what} {_plain(arguments, symbols)}")
    return "\n".join(lines)


def _base(node: Node, is_parameter: bool) -> str:
    if node.op == "placeholder":
        if is_parameter:
            return "w"
        return "x" if isinstance(node.meta.get("val"), Tensor) else "n"
    if node.op == "output":
        return "output"
    target = node.target
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    return str(name).split(".")[0].strip("_") or "value"


class _Name(str):
    """A node's name, printed without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _given(node: Node, is_parameter: bool) -> str:
    value = node.meta.get("val")
    kind = "parameter" if is_parameter else "input"
    if isinstance(value, Tensor):
        return f"{kind} {value.dtype} rank {value.dim()}"
    return f"{kind} {type(value).__name__}"


def _constant(module: GraphModule, name: str) -> str:
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part)
    if isinstance(value, Tensor):
        return f"constant {value.dtype} {tuple(value.shape)} {_content(value)}"
    return f"constant {type(value).__name__}"


def _content(constant: Tensor) -> str:
    # Some versions of PyTorch compile graphs while every operator is expected to be a fake one.
    with unset_fake_temporarily(), torch.no_grad():
        content = constant.cpu().flatten().view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def _plain(value: Any, symbols: dict[str, str]) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_plain(part, symbols) for part in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_plain(v, symbols)}" for k, v in value.items()) + "}"
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        text = str(value.node.expr)
        for symbol in sorted(value.node.expr.free_symbols, key=str):
            text = text.replace(str(symbol), symbols.setdefault(str(symbol), f"s{len(symbols)}"))
        return text
    return repr(value)
