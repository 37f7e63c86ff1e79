"""A module's graph as data: what a kernel computes, without names and with open sizes.

Values are numbered: operands first, then calls, in an order in which each comes after what it
reads. Arguments of calls are plain values, {"ref": number}, {"size": ...} (metalgen.packs.sizes),
{"dtype": "float32"}, {"device": null} (that of the operands), {"layout": ...}, {"memory_format":
...} or {"constant": ...}, a tensor of the module's code (metalgen.packs.constant).
"""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

import sympy
import torch
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor
from torch.fx import Graph, Node

from metalgen.errors import UnsupportedError
from metalgen.packs.constant import constant_of
from metalgen.packs.sizes import Size, expression_of, names_in, size_of

GETITEM = "getitem"
MOST_CALLS = 256
_FORM = ConfigDict(frozen=True, extra="forbid")


class Operand(BaseModel):
    """A tensor that the kernel reads; `name` is the launch plan's."""

    model_config = _FORM
    name: str
    kind: Literal["input", "parameter"]
    dtype: str
    shape: list[Size]


class Call(BaseModel):
    """An operator's call, such as "aten.addmm.default"."""

    model_config = _FORM
    operator: str
    args: list[Any]
    kwargs: dict[str, Any] = {}


class Pattern(BaseModel):
    """A graph: `results` are the values that it returns.

    `numbers` are what the launch plan is given beside the operands, which stand in `calls` too.
    """

    model_config = _FORM
    operands: list[Operand]
    calls: list[Call]
    results: list[int]
    numbers: dict[str, bool | int | float] = {}

    @model_validator(mode="after")
    def _is_sound(self) -> Pattern:
        """References go backwards and every size's name is some operand's whole dimension."""
        first = len(self.operands)
        if not self.calls or len(self.calls) > MOST_CALLS:
            raise ValueError(f"expected one to {MOST_CALLS} calls, found {len(self.calls)}")
        for number, call in enumerate(self.calls, first):
            for reference in references((call.args, call.kwargs)):
                if not 0 <= reference < number:
                    raise ValueError(f"value {number} reads value {reference}, which is not before")
        if not self.results or any(not first <= i < first + len(self.calls) for i in self.results):
            raise ValueError("a result is no call's value")
        dimensions = [size for operand in self.operands for size in operand.shape]
        named = {size for size in dimensions if isinstance(size, str)}
        try:
            used = {name for size in (*dimensions, *self._sizes()) for name in names_in(size)}
        except UnsupportedError as error:
            raise ValueError(str(error)) from None
        if used - named:
            raise ValueError(f"size {min(used - named)} is no dimension of an operand")
        return self

    @property
    def fingerprint(self) -> str:
        """The same for equal graphs, whatever the launch plan calls the operands."""
        nameless = self.model_copy(
            update={"operands": [o.model_copy(update={"name": ""}) for o in self.operands]}
        )
        return hashlib.sha256(nameless.model_dump_json().encode()).hexdigest()[:16]

    def _sizes(self) -> Iterator[Size]:
        for call in self.calls:
            yield from _tagged("size", (call.args, call.kwargs))


def references(value: object) -> Iterator[int]:
    """The numbers of the values that an argument refers to."""
    return _tagged("ref", value)


def _tagged(tag: str, value: object) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _tagged(tag, part)
    elif isinstance(value, dict):
        if value.keys() == {tag}:
            yield value[tag]
        else:
            for part in value.values():
                yield from _tagged(tag, part)


def pattern_of(
    graph: Graph,
    names: Mapping[str, str],
    parameters: Iterable[str],
    constants: Mapping[str, Tensor] = MappingProxyType({}),
    numbers: Mapping[str, bool | int | float] = MappingProxyType({}),
) -> Pattern:
    """The graph as data; `names` are the launch plan's for placeholders that it may read.

    `constants` are the values of other nodes, which the plan does not know. `numbers` are what it
    is given too, and the graph has as constants. Raises UnsupportedError
    for what would not be found again in another model: random numbers, updates in place, results
    that are operands.
    """
    pattern = _Reader(graph, names, frozenset(parameters), constants).pattern()
    return pattern.model_copy(update={"numbers": dict(numbers)})


class _Reader:
    def __init__(
        self,
        graph: Graph,
        names: Mapping[str, str],
        parameters: frozenset[str],
        constants: Mapping[str, Tensor],
    ) -> None:
        self._graph = graph
        self._names = names
        self._constants = {
            node: constants[node.name] for node in graph.nodes if node.name in constants
        }
        self._parameters = parameters
        self._numbers: dict[Node, int] = {}
        self._sizes: dict[str, str] = {}

    def pattern(self) -> Pattern:
        (output,) = self._graph.find_nodes(op="output")
        results: list[Node] = []
        torch.fx.map_arg(output.args, results.append)
        used = _ancestors(results)
        given = [n for n in self._graph.find_nodes(op="placeholder") if self._is_given(n, used)]
        operands = [self._operand(node) for node in given if not _is_size(node)]
        calls = [self._call(node) for node in self._graph.nodes if self._is_call(node, used)]
        if len(calls) > MOST_CALLS:
            raise UnsupportedError(f"not supported: {len(calls)} operators in one pattern")
        numbers = [self._numbers.get(node, 0) for node in results]  # 0: a constant
        if any(number < len(operands) or not number for number in numbers):
            raise UnsupportedError("not supported: a result that is one of the inputs, or constant")
        return Pattern(operands=operands, calls=calls, results=numbers)

    def _is_given(self, node: Node, used: set[Node]) -> bool:
        return node in used and node not in self._constants

    def _is_call(self, node: Node, used: set[Node]) -> bool:
        if node.op == "get_attr" and self._is_given(node, used):
            raise UnsupportedError(f"not supported: '{node.target}', whose value is unknown")
        return node.op == "call_function" and node in used and not _is_size(node)

    def _operand(self, node: Node) -> Operand:
        value = node.meta.get("val")
        if not isinstance(value, Tensor):
            raise UnsupportedError(f"not supported: '{node.name}' is no tensor")
        if node.name not in self._names:
            raise UnsupportedError(f"not supported: '{node.name}' is unknown to the launch plan")
        self._numbers[node] = len(self._numbers)
        return Operand(
            name=self._names[node.name],
            kind="parameter" if node.name in self._parameters else "input",
            dtype=str(value.dtype).removeprefix("torch."),
            shape=[self._size(expression_of(size)) for size in value.shape],
        )

    def _call(self, node: Node) -> Call:
        target = node.target
        if target is operator.getitem:
            name = GETITEM
        elif not isinstance(target, torch._ops.OpOverload):
            raise UnsupportedError(f"not supported: operator {target}")
        elif target._schema.is_mutable:
            raise UnsupportedError(f"not supported: {target} writes in place")
        elif torch.Tag.nondeterministic_seeded in target.tags:
            raise UnsupportedError(f"not supported: {target} draws random numbers")
        else:
            name = str(target)
        args = [self._plain(value) for value in node.args]
        kwargs = {key: self._plain(value) for key, value in sorted(node.kwargs.items())}
        self._numbers[node] = len(self._numbers)
        return Call(operator=name, args=args, kwargs=kwargs)

    def _plain(self, value: object) -> Any:
        if isinstance(value, Node) and value in self._constants:
            return {"constant": constant_of(self._constants[value])}
        if isinstance(value, Node) and not _is_size(value):
            return {"ref": self._numbers[value]}
        if isinstance(value, Node | torch.SymInt):
            return {"size": self._size(expression_of(value))}
        if isinstance(value, list | tuple):
            return [self._plain(part) for part in value]
        return plain_constant(value)

    def _size(self, expression: sympy.Expr | None) -> Size:
        assert expression is not None
        return size_of(expression, self._sizes)


def plain_constant(value: object) -> Any:
    """A constant argument as data; UnsupportedError for what has no such form."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, torch.device):
        return {"device": None}
    for name in ("dtype", "layout", "memory_format"):
        if isinstance(value, getattr(torch, name)):
            return {name: str(value).removeprefix("torch.")}
    raise UnsupportedError(f"not supported: a {type(value).__name__} among an operator's arguments")


def _is_size(node: Node) -> bool:
    return not isinstance(node.meta.get("val"), Tensor | list | tuple)


def _ancestors(nodes: Iterable[Node]) -> set[Node]:
    found: set[Node] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending.extend(node.all_input_nodes)
    return found
