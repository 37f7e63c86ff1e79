"""Inputs and results in the order of their memory: channels-last tensors are neither copied on the
way in nor on the way out, kernels index them as they lie.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from metalgen.optimize.contender import MemoryOrder, Order, RegionGraph
from metalgen.optimize.passes.nodes import ATEN


def in_memory_order(region: RegionGraph) -> RegionGraph:
    """The region over tensors as they lie: `orders` says how to permute what it takes and gives.

    Parameters are left as they are: what is not in order among them is copied once.
    """
    inputs = tuple(
        None if node.name in region.parameters else order_of(node.meta.get("val"), is_dense=True)
        for node in region.placeholders
    )
    outputs = tuple(order_of(node.meta["val"]) for node in region.outputs)
    if not any(inputs) and not any(outputs):
        return region
    module = GraphModule(region.module, _permuted(region, inputs, outputs))
    return replace(region, module=module, orders=MemoryOrder(inputs, outputs))


def order_of(value: object, *, is_dense: bool = False) -> Order:
    """The dimensions, that of the largest stride first, where this is not their own order.

    None also for tensors that repeat elements, and with `is_dense` for those with gaps.
    """
    if not isinstance(value, Tensor) or value.dim() < 2 or _is_contiguous(value):
        return None
    sizes, strides = _hints(value.shape), _hints(value.stride())
    if 0 in strides or 0 in sizes:
        return None
    order = tuple(sorted(range(value.dim()), key=lambda axis: -strides[axis]))
    if order == tuple(range(value.dim())) or (is_dense and not _is_dense(sizes, strides, order)):
        return None
    return order


def _is_contiguous(value: Tensor) -> bool:
    """By the example's sizes; asking the tensor would fix open ones."""
    sizes, strides = _hints(value.shape), _hints(value.stride())
    return _is_dense(sizes, strides, tuple(range(value.dim())))


def _is_dense(sizes: list[int], strides: list[int], order: tuple[int, ...]) -> bool:
    expected = 1
    for axis in reversed(order):
        if sizes[axis] != 1 and strides[axis] != expected:
            return False
        expected *= sizes[axis]
    return True


def _hints(values: object) -> list[int]:
    assert isinstance(values, tuple)  # of sizes or strides
    return [value if isinstance(value, int) else int(value.node.hint) for value in values]


def inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes another."""
    return tuple(order.index(axis) for axis in range(len(order)))


def laid_out(output: Tensor, order: Order, is_in_order: bool = False) -> Tensor:
    """A result as ATen lays it out; `is_in_order`: kernels wrote it as it lies in memory."""
    if order is None:
        return output
    written = output if is_in_order else output.permute(order).contiguous()
    return written.permute(inverse(order))


def _permuted(region: RegionGraph, inputs: tuple[Order, ...], outputs: tuple[Order, ...]) -> Graph:
    graph = Graph()
    copies: dict[Node, Node] = {}
    for node, order in zip(region.placeholders, inputs, strict=True):
        copies[node] = graph.placeholder(node.name)
        copies[node].meta = dict(node.meta)
        if order is not None:
            copies[node].meta["val"] = node.meta["val"].permute(order)
    for node, order in zip(region.placeholders, inputs, strict=True):
        if order is not None:
            copies[node] = _permute(graph, copies[node], inverse(order))
    for node in region.module.graph.nodes:
        if node.op not in ("placeholder", "output"):
            copies[node] = graph.node_copy(node, lambda source: copies[source])
            copies[node].meta = dict(node.meta)
    graph.output(
        tuple(
            copies[node] if order is None else _permute(graph, copies[node], order)
            for node, order in zip(region.outputs, outputs, strict=True)
        )
    )
    return graph


def _permute(graph: Graph, node: Node, order: tuple[int, ...]) -> Node:
    permuted = graph.call_function(ATEN.permute.default, (node, list(order)))
    permuted.meta["val"] = torch.permute(node.meta["val"], order)
    return permuted
