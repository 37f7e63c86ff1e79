"""Splits a captured graph into regions that templates can compute; the rest stays ATen's."""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

import torch
from torch.fx import Graph, GraphModule, Node
from torch.fx.passes.infra.partitioner import CapabilityBasedPartitioner
from torch.fx.passes.operator_support import OperatorSupportBase
from torch.fx.passes.utils.fuser_utils import fuse_by_partitions

from metalgen.optimize.attention.recognise import find_attention, region_of
from metalgen.optimize.attention.tidy import tidy
from metalgen.optimize.passes.parameter_work import FOLLOWS_READER
from metalgen.optimize.recurrent.steps import find_recurrent
from metalgen.optimize.rolled.kernel import rollable_loops
from metalgen.optimize.rolled.recognise import select_from_wholes
from metalgen.proposers.builtin.subgraph import known_symbols, symbols, unsupported_reason

PREFIX = "region_"
# Each begins a region of its own, so that regions are large enough to gain and small enough to
# choose among; what follows it is its epilogue.
HEAVY = frozenset("mm addmm bmm baddbmm convolution".split())
DEVICES = ("cpu", "mps")
_WITHOUT_VALUES = ("aten::empty", "aten::new_empty")  # and what begins so
LIBRARIES = ("aten", "metalgen_graph")  # whose operators templates know


Claim = Callable[[Graph], Iterable[frozenset[Node]]]


def _nothing(_: Graph) -> Iterable[frozenset[Node]]:
    return ()


@dataclass(frozen=True)
class Partition:
    """`module` calls its regions `region_0` ...; `left` are the operators outside, and why."""

    module: GraphModule
    left: list[tuple[str, str]]


def partition(module: GraphModule, claim: Claim = _nothing) -> Partition:
    """Fuse every region of `module` into a submodule, in place.

    `claim` finds operators that somebody computes as a whole, templates or not.
    """
    tidy(module.graph)
    select_from_wholes(module.graph)
    loops = [set(loop.nodes) for loop in rollable_loops(module.graph)]
    loops = [loop for loop in loops if all(map(_is_on_metal, loop))]
    reasons = _reasons(module, set[Node]().union(*loops))
    claimed = [nodes for nodes in claim(module.graph) if all(map(_is_on_metal, nodes))]
    # What an attention gives is all that is read of it: one region causes no circle.
    wholes = [region_of(found) for found in find_attention(module.graph)]
    claimed = [nodes for nodes in claimed if not any(nodes & loop for loop in loops)]
    excluded = reasons.keys() | set().union(*claimed, *loops)
    wholes = [*loops, *map(set, claimed), *(whole for whole in wholes if not whole & excluded)]
    # No template computes these.
    wholes += (w for w in find_recurrent(module.graph) if all(map(_is_on_metal, w)))
    reserved = set().union(*wholes)
    taken = [part.nodes for part in _proposed(module, reasons.keys() | reserved)]
    regions = [region for nodes in taken for region in _regions(module, list(nodes))]
    regions += [[node for node in module.graph.nodes if node in whole] for whole in wholes]
    regions = [region for region in regions if not all(map(is_view, region))]
    order = {node: position for position, node in enumerate(module.graph.nodes)}
    regions.sort(key=lambda region: order[region[-1]])
    inside = {node for region in regions for node in region}
    left = [
        (operator_name(node), reasons.get(node) or "only a view")
        for node in calls(module)
        if node not in inside and _gives_tensors(node) and node.target is not operator.getitem
    ]
    fused = fuse_by_partitions(
        module, [dict.fromkeys(region) for region in regions], PREFIX, always_return_tuple=True
    )
    _provide_sizes(fused)
    return Partition(fused, left)


def calls(module: GraphModule) -> list[Node]:
    """The operators of a graph, in order."""
    return [node for node in module.graph.nodes if node.op == "call_function"]


def operator_name(node: Node) -> str:
    """`add` for aten.add.Tensor, `prims.device_put` for prims.device_put.default."""
    name = str(node.target).rsplit(".", 1)[0]
    for library in LIBRARIES:
        name = name.removeprefix(f"{library}.")
    return name


def is_view(node: Node) -> bool:
    """Whether the node only looks at memory that is already there."""
    if node.target is operator.getitem:
        return True
    return isinstance(node.target, torch._ops.OpOverload) and node.target.is_view


def is_random(node: Node) -> bool:
    """Whether the node draws random numbers."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    return torch.Tag.nondeterministic_seeded in node.target.tags


def _provide_sizes(module: GraphModule) -> None:
    """Hand each region, as whole numbers, the sizes that none of its inputs has."""
    numbers = {
        str(node.meta["val"].node.expr): node
        for node in module.graph.find_nodes(op="placeholder")
        if isinstance(node.meta.get("val"), torch.SymInt)
    }
    for call in [node for node in module.graph.nodes if node.op == "call_module"]:
        region = module.get_submodule(call.target)
        assert isinstance(region, GraphModule)
        missing = symbols(region.graph) - known_symbols(region.graph)
        for name in sorted(missing & numbers.keys()):
            *_, last = region.graph.find_nodes(op="placeholder")
            with region.graph.inserting_after(last):
                region.graph.placeholder(f"size_{name}").meta = numbers[name].meta
            call.args = (*call.args, numbers[name])
        region.recompile()
    module.recompile()


def _reasons(module: GraphModule, known: Container[Node]) -> dict[Node, str]:
    """For each operator that must stay with ATen, why; `known` are those that need not."""
    reasons: dict[Node, str] = {}
    for node in calls(module):
        if node in known:
            continue
        if node.target is operator.getitem:
            source = node.args[0]
            if isinstance(source, Node) and source in reasons:
                reasons[node] = reasons[source]
        elif (reason := _reason(node)) is not None:
            reasons[node] = reason
    return reasons


def _reason(node: Node) -> str | None:
    if not isinstance(node.target, torch._ops.OpOverload) or not _gives_tensors(node):
        return "not an operator on tensors"
    if node.target.namespace == "metalgen":
        return "is a Metal kernel of metalgen.ops already"
    if node.target.namespace not in LIBRARIES:
        return "not an ATen operator"
    if node.target._schema.is_mutable:
        return "writes in place"
    if is_random(node):
        return "draws random numbers"
    if node.target._schema.name.startswith(_WITHOUT_VALUES):
        return "memory without values"
    # Kernels may lay their results out otherwise than ATen, which as_strided would see.
    if any("as_strided" in str(user.target) for user in node.users):
        return "as_strided looks at its memory"
    if not _is_on_metal(node):
        devices = {value.device.type for value in _values(node)}
        return f"on {', '.join(sorted(devices))}, where there is no Metal"
    try:
        return unsupported_reason(node)
    except Exception as error:  # whatever a template does not expect, ATen can compute
        return f"its template failed: {type(error).__name__}: {error}"


def _is_on_metal(node: Node) -> bool:
    return all(value.device.type in DEVICES for value in _values(node))


def _values(node: Node) -> list[torch.Tensor]:
    given = [node.meta.get("val"), *(source.meta.get("val") for source in node.all_input_nodes)]
    flat = [part for each in given for part in (each if isinstance(each, list | tuple) else [each])]
    return [part for part in flat if isinstance(part, torch.Tensor)]


def _gives_tensors(node: Node) -> bool:
    value = node.meta.get("val")
    parts = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(part, torch.Tensor) for part in parts)


def _proposed(module: GraphModule, excluded: Container[Node]) -> list:  # type: ignore[type-arg]
    class Support(OperatorSupportBase):
        def is_node_supported(self, submodules: object, node: Node) -> bool:
            return node.op == "call_function" and node not in excluded

    partitioner = CapabilityBasedPartitioner(module, Support(), allows_single_node_partition=True)
    return partitioner.propose_partitions()


def _regions(module: GraphModule, nodes: list[Node]) -> list[list[Node]]:
    """The nodes in the graph's order, a region begun at each heavy operator.

    Any cut of that order is free of circles, since no path leaves a partition and comes back.
    """
    wanted = set(nodes)
    ordered = [node for node in module.graph.nodes if node in wanted]
    number: dict[Node, int] = {}
    current = 0
    for node in ordered:
        if node.target is operator.getitem and node.all_input_nodes[0] in number:
            number[node] = number[node.all_input_nodes[0]]
        elif not _may_move(node):
            current += operator_name(node) in HEAVY
            number[node] = current
    _place_views(ordered, number)
    _join_parts(ordered, number)
    regions: dict[int, list[Node]] = {}
    for node in ordered:
        if node in number:
            regions.setdefault(number[node], []).append(node)
    return list(regions.values())


def _may_move(node: Node) -> bool:
    """Whether the node goes to its reader: a view with one result, or what a pass marked so."""
    if FOLLOWS_READER in node.meta:
        return True
    return is_view(node) and isinstance(node.meta.get("val"), torch.Tensor)


def _place_views(ordered: list[Node], number: dict[Node, int]) -> None:
    """Views go to the region that reads them; those that several read are left to ATen.

    A view that its own source's region reads must stay there.
    """
    base = _bases(ordered, lambda node: number.get(node))
    for node in reversed(ordered):
        if node in number:
            continue
        readers = {number.get(user) for user in node.users}
        home = base.get(node)
        if len(readers) == 1 and (reader := readers.pop()) is not None:
            number[node] = reader
        elif home is not None and home in readers:
            number[node] = home


def _join_parts(ordered: list[Node], number: dict[Node, int]) -> None:
    """Regions take and give tensors: an operator's several results are told apart where it is."""
    for node in ordered:
        if node.target is operator.getitem:
            home = number.get(node.all_input_nodes[0])
            number.pop(node, None)
            if home is not None:
                number[node] = home


def _bases(ordered: list[Node], number: Callable[[Node], int | None]) -> dict[Node, int | None]:
    """For each view, the region that computes what it looks at."""
    bases: dict[Node, int | None] = {}
    for node in ordered:
        own = number(node)
        sources = (bases.get(source) for source in node.all_input_nodes)
        bases[node] = own if own is not None else next((b for b in sources if b is not None), None)
    return bases
