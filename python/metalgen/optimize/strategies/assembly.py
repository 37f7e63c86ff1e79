"""A region around a library kernel: templates compute what lies before and after, in one plan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.fx import Graph, Node

from metalgen import resources
from metalgen.air import Metallib, write_metallib
from metalgen.compiler import compile_source
from metalgen.errors import UnsupportedError
from metalgen.library import Library, load_metallib
from metalgen.ops.arguments import DTYPES
from metalgen.optimize.contender import RegionGraph
from metalgen.optimize.once import around, mark_once
from metalgen.optimize.passes.nodes import ATEN
from metalgen.optimize.region_plan import RegionPlan, contender_of
from metalgen.optimize.report import Stage
from metalgen.optimize.strategies.heavy import Heavy
from metalgen.optimize.strategies.steps import Following, Steps
from metalgen.optimize.strategies.strided import Strided, in_order, strided
from metalgen.plan import parse_plan
from metalgen.proposers.builtin.assemble import Assembly
from metalgen.proposers.builtin.capture import Capture
from metalgen.proposers.builtin.sizes import plan_expression
from metalgen.proposers.builtin.subgraph import plan_names, sized, subgraph_kernels

# Give the same elements in the same order: a result of theirs may be the kernel's own.
_IN_ORDER = (
    ATEN.view.default,
    ATEN._unsafe_view.default,
    ATEN.reshape.default,
    ATEN.unsqueeze.default,
    ATEN.squeeze.dim,
    ATEN.squeeze.dims,
)
_EMPTY: dict[str, Any] = {"buffers": {}, "outputs": {}, "steps": []}


@dataclass
class Frame:
    """What surrounds the kernel; reading an operand may ask for it to be put in order first."""

    region: RegionGraph
    heavy: Heavy
    capture: Capture = field(init=False)
    in_memory: list[Node] = field(default_factory=list)  # computed before the kernel

    def __post_init__(self) -> None:
        self.capture = sized(self.region.module.graph)

    def operand(self, node: Node) -> Strided:
        """The node as it lies in memory, after a copy where it is no view of an input."""
        found = strided(node, self.capture, self.region.placeholders)
        if found is None or any(n in self.in_memory for n in _chain(node)):
            return self.ordered(node)
        return found

    def ordered(self, node: Node) -> Strided:
        """The node's elements one after the other: an input that lies so, or a copy."""
        found = strided(node, self.capture, self.region.placeholders)
        shape = self.capture.shape_of(node)
        if found is not None and found.is_in_order:
            return in_order(found.name, shape)
        if node not in self.in_memory:
            self.in_memory.append(node)
        return in_order(_in_order_name(node), shape)

    def permuted(self, node: Node, order: Sequence[int]) -> Strided:
        """The node in another order; raises UnsupportedError where it does not lie in that."""
        found = strided(node, self.capture, self.region.placeholders)
        if found is not None:
            turned = Strided(found.name, tuple(found.dimensions[axis] for axis in order))
            if turned.is_in_order:
                return turned
        raise UnsupportedError(f"not supported: '{node}' does not lie in the order {order}")

    def following(self, order: Sequence[int] | None = None) -> Following:
        """What the kernel applies to its sums, which it writes in their own or another order."""
        bias, residual = self.heavy.bias, self.heavy.residual
        read = self.ordered if order is None else lambda node: self.permuted(node, order)
        return Following(
            self.heavy.end.name,
            None if bias is None else self.ordered(bias).name,
            None if residual is None else read(residual).name,
            self.heavy.activation,
            self.heavy.dtype,
        )


def _in_order_name(node: Node) -> str:
    return f"{node.name}_in_order"


def _chain(node: Node) -> list[Node]:
    chain = [node]
    while chain[-1].op == "call_function" and isinstance(chain[-1].args[0], Node):
        chain.append(chain[-1].args[0])
    return chain


def contender(frame: Frame, name: str, steps: Steps) -> RegionPlan:
    """The region's plan with `steps` in place of its heavy operator."""
    return _Assembled(frame, steps, name).contender()


@dataclass
class _Assembled:
    frame: Frame
    steps: Steps
    name: str

    @property
    def region(self) -> RegionGraph:
        """What is computed."""
        return self.frame.region

    def contender(self) -> RegionPlan:
        region = self.region
        rest, alias = self._rest()
        (output,) = rest.find_nodes(op="output")
        made = subgraph_kernels(rest, region.parameters).assembly if output.args[0] else None
        metallib = self._metallib(made)
        library = load_metallib(metallib)
        inputs, parameters = plan_names(region.module.graph, region.parameters)
        plan = self._plan(made, alias, library, parameters)
        stages: dict[Stage, str] = {
            "graph": str(region.module.graph).strip(),
            "loops": "\n".join([*self._summary(), str(made.loops) if made else ""]).strip(),
            "metal": made.source.strip() if made else "the library's kernels alone",
            "plan": json.dumps(plan, indent=1),
        }
        return contender_of(
            region,
            self.name,
            metallib,
            parse_plan(plan),
            inputs=inputs,
            parameters=parameters,
            stages=stages,
        )

    def _rest(self) -> tuple[Graph, Node | None]:
        """The region without the kernel's own nodes, its result an input; a result that is it.

        What the kernel reads in order comes first among the results.
        """
        end = self.frame.heavy.end
        graph = Graph()
        copies: dict[Node, Node] = {}
        for node in self.region.module.graph.nodes:
            if node.op == "output":
                continue
            if node is end:
                copies[node] = graph.placeholder(node.name)
            elif not _reads(node, copies):
                continue
            else:
                copies[node] = graph.node_copy(node, lambda n: copies[n])
            copies[node].meta = dict(node.meta)
        alias = next((each for each in self.region.outputs if _is_alias(each, end)), None)
        results = [each for each in self.region.outputs if each is not alias]
        graph.output(tuple(copies[node] for node in (*self.frame.in_memory, *results)))
        graph.eliminate_dead_code()
        return graph, alias

    def _metallib(self, made: Assembly | None) -> bytes:
        own = Metallib.open(resources.metallib())
        names = dict.fromkeys(step["kernel"] for step in self.steps.steps)
        functions = [own.function(name) for name in names]
        if made is not None:
            functions += Metallib(compile_source(made.source, name="region.metal")).functions()
        return write_metallib(functions)

    def _plan(
        self,
        made: Assembly | None,
        alias: Node | None,
        library: Library,
        parameters: Sequence[str],
    ) -> dict[str, Any]:
        end = self.frame.heavy.end
        wanted = [_in_order_name(node) for node in self.frame.in_memory]
        template = _with_names(made.plan if made is not None else _EMPTY, wanted)
        given = template["outputs"]
        operands = {name: given[name] for name in wanted}
        results = iter([item for item in given.items() if item[0] not in operands])
        own = (end.name, self._allocation(alias or end))
        outputs = dict(own if each is alias else next(results) for each in self.region.outputs)
        before, after = around(template["steps"], library, end.name, operands)
        buffers = {**template["buffers"], **operands, **self.steps.buffers}
        if alias is None:
            buffers |= dict([own])
        steps = [*before, *self.steps.steps, *after]
        plan = {"buffers": buffers, "outputs": outputs, "steps": steps}
        return mark_once(plan, library, parameters)

    def _allocation(self, node: Node) -> dict[str, Any]:
        shape = [plan_expression(size) for size in self.frame.capture.shape_of(node)]
        return {"dtype": DTYPES[node.meta["val"].dtype], "shape": shape or [1]}

    def _summary(self) -> list[str]:
        return [
            f"{self.name}: {step['kernel']} over {step.get('threadgroups') or step.get('threads')}"
            for step in self.steps.steps
        ]


def _reads(node: Node, copies: dict[Node, Node]) -> bool:
    """Whether all that the node reads is there."""
    return all(source in copies for source in node.all_input_nodes)


def _is_alias(result: Node, end: Node) -> bool:
    """Whether a result holds what the kernel writes, element by element."""
    node = result
    while node is not end:
        if node.target not in _IN_ORDER or not isinstance(node.args[0], Node):
            return False
        node = node.args[0]
    return True


def _with_names(plan: dict[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    """The plan with its first outputs called as is wanted."""
    names = dict(zip(plan["outputs"], wanted, strict=False))

    def swap(arg: Any) -> Any:
        return names.get(arg, arg) if isinstance(arg, str) else arg

    return {
        "buffers": plan["buffers"],
        "outputs": {names.get(name, name): value for name, value in plan["outputs"].items()},
        "steps": [{**step, "args": [swap(arg) for arg in step["args"]]} for step in plan["steps"]],
    }
