"""Offers attention regions without their matrix of scores in memory: the library's flash kernel."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from metalgen.ops.arguments import DTYPES
from metalgen.ops.attention import AttentionOptions, attend, check_attention
from metalgen.optimize.attention.recognise import Attention, find_attention, region_of
from metalgen.optimize.attention.walk import shape_of
from metalgen.optimize.contender import Offer, RegionGraph
from metalgen.optimize.report import Stage
from metalgen.plan.run import Allocate, allocate_uninitialised

aten = torch.ops.aten


def flash(region: RegionGraph) -> Iterator[Offer]:
    """One way, for a region that is one attention with views around it."""
    found = find_attention(region.module.graph)
    if len(found) != 1:
        return
    around = region_of(found[0])
    calls = {node for node in region.module.graph.nodes if node.op == "call_function"}
    if calls <= around and found[0].query.meta["val"].dtype in DTYPES:
        yield Offer("flash", lambda: _made(region, found[0]))


@dataclass(frozen=True)
class FlashRegion:
    """A region's graph with the kernel in place of the operators that it replaces."""

    graph: GraphModule  # takes where to allocate, then what the region takes
    content: str
    stages: Mapping[Stage, str]
    name: str = "flash"
    kernels: int = 1

    def run(self, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        """The region's outputs, laid out in memory as ATen lays them out."""
        return self.run_in(allocate_uninitialised, arguments)

    def run_in(self, allocate: Allocate, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        """As `run`, in memory of somebody's own."""
        results: tuple[Tensor, ...] = tuple(self.graph(allocate, *arguments))
        return results


class FlashKernel(nn.Module):
    """The kernel with what is known when the graph is captured: options, and how results lie."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self._attention = attention
        self._order = _memory_order(attention.output)
        self._rank = len(shape_of(attention.output))

    def extra_repr(self) -> str:
        """What tells one such kernel from another."""
        found = self._attention
        known = "no mask" if found.mask is None else f"{found.mask.kind} mask, {found.mask.fill}"
        key = "transposed key" if found.key_is_transposed else "key"
        order = f"order {self._order}, rank {self._rank}, safe {found.is_safe}"
        return f"{key}, {known}, causal {found.causal}, scale {found.scale}, {order}"

    def forward(
        self, allocate: Allocate, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> Tensor:
        """The attention's result, in the layout that the captured graph gives it."""
        key = key.transpose(-1, -2) if self._attention.key_is_transposed else key
        query, key, value = map(_with_heads, (query, key, value))
        mask = None if mask is None else _broadcastable(mask, self._rank)
        check_attention(query, key, value, mask)
        shape = (*query.shape[:3], value.shape[3])
        lying = allocate(
            "attention", tuple(shape[i] for i in self._order), query.dtype, query.device
        )
        result = lying.permute([self._order.index(i) for i in range(4)])
        attend(query, key, value, result, self._options(query, mask))
        if self._rank == 4:
            return result
        return result.flatten(0, 1) if self._rank == 3 else result[0, 0]

    def _options(self, query: Tensor, mask: Tensor | None) -> AttentionOptions:
        attention = self._attention
        scale = attention.scale
        known = attention.mask
        return AttentionOptions(
            mask,
            attention.causal,
            1 / math.sqrt(max(query.shape[-1], 1)) if scale is None else scale,
            hides=known is not None and known.kind == "hides",
            hidden=-math.inf if known is None else known.fill,
            is_safe=attention.is_safe,
        )


def _with_heads(operand: Tensor) -> Tensor:
    """(batch, length, elements) as batch with one head each."""
    if operand.dim() == 2:
        return operand[None, None]
    return operand.unsqueeze(1) if operand.dim() == 3 else operand


def _broadcastable(mask: Tensor, rank: int) -> Tensor:
    """A mask of a product without heads, as one of (batch, heads, queries, keys)."""
    return mask.unsqueeze(1) if rank == 3 and mask.dim() == 3 else mask


def _memory_order(output: Node) -> tuple[int, ...]:
    """The result's dimensions as memory has them, the slowest first; elements are always last.

    Heads behind the queries where ATen has it so, or where what follows wants it so.
    """
    heads_last = (0, 2, 1, 3)
    value: Tensor = output.meta["val"]
    if value.dim() != 4:
        return (0, 1, 2, 3)
    if not value.is_contiguous() and value.transpose(1, 2).is_contiguous():
        return heads_last
    (user,) = output.users if len(output.users) == 1 else (output,)
    if user.target is aten.permute.default and tuple(user.args[1]) == heads_last:  # type: ignore[arg-type]
        return heads_last
    return (0, 1, 2, 3)


def _made(region: RegionGraph, attention: Attention) -> FlashRegion:
    kernel = FlashKernel(attention)
    module = GraphModule({"flash": kernel}, _with_kernel(region.module, attention))
    module.graph.eliminate_dead_code()
    module.graph.lint()
    module.recompile()
    plan = f"{str(module.graph).strip()}\n{kernel}"
    content = hashlib.sha256(plan.encode()).hexdigest()
    return FlashRegion(module, content, {"graph": str(region.module.graph).strip(), "plan": plan})


def _with_kernel(module: GraphModule, attention: Attention) -> torch.fx.Graph:
    """The region's graph, calling the kernel where the attention's result was computed."""
    graph = torch.fx.Graph()
    first = graph.placeholder("allocate")
    copies: dict[Node, Node] = {}
    mask = attention.mask
    for node in module.graph.nodes:
        if node is not attention.output:
            copies[node] = graph.node_copy(node, lambda source: copies[source])
            continue
        operands: list[Any] = [attention.query, attention.key, attention.value]
        given = [copies[operand] for operand in operands]
        masked = None if mask is None else copies[mask.node]
        copies[node] = graph.call_module("flash", (first, *given, masked))
    for node in list(graph.nodes):
        if node.target is aten.clone.default and _is_contiguous(node):
            # ATen copies always; what lies as wanted need not be.
            with graph.inserting_before(node):
                node.replace_all_uses_with(graph.call_method("contiguous", (node.args[0],)))
    return graph


def _is_contiguous(node: Node) -> bool:
    return node.kwargs.get("memory_format") is torch.contiguous_format
