"""What depends on constants alone is computed when the graph is compiled.

Short computations stay: kernels inline them (a range, a filled tensor), which reads no memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from operator import getitem
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.fx import Graph, Node
from torch.utils._pytree import tree_map

from metalgen.optimize.passes.apply import Pass
from metalgen.optimize.passes.nodes import is_lasting, is_view, tensor_of

FEWEST_CALLS = 4  # of what is folded
MOST_ELEMENTS = 1 << 22
PREFIX = "_folded_"


def _foldable(graph: Graph) -> Iterator[Node]:
    """Constant tensors that something reads which is not constant."""
    constant = {node for node in graph.nodes if _is_constant(node)}
    for node in constant:
        value = tensor_of(node)
        if value is None or all(user in constant for user in node.users):
            continue
        if _calls(node) >= FEWEST_CALLS and value.numel() <= MOST_ELEMENTS:
            yield node


def _is_constant(node: Node) -> bool:
    if node.op != "call_function" or not is_lasting(node, ()):
        return False
    value = node.meta.get("val")
    parts = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(p, FakeTensor) and _is_static(p) for p in parts if p is not None)


def _is_static(value: torch.Tensor) -> bool:
    return all(isinstance(size, int) for size in value.shape)


def _calls(node: Node) -> int:
    """How many operators that compute something the node's value takes."""
    cone: set[Node] = set()
    stack = [node]
    while stack:
        current = stack.pop()
        if current not in cone:
            cone.add(current)
            stack.extend(current.all_input_nodes)
    return sum(n.op == "call_function" and not is_view(n) and n.target is not getitem for n in cone)


def _fold(graph: Graph, _: Collection[str]) -> int:
    module = graph.owning_module
    assert module is not None
    known: dict[Node, Any] = {}
    found = sorted(_foldable(graph), key=list(graph.nodes).index)
    for node in found:
        name = f"{PREFIX}{len(list(module.named_buffers()))}"
        with unset_fake_temporarily(), torch.no_grad():
            value = _evaluate(node, known).clone()
        module.register_buffer(name, value, persistent=False)
        with graph.inserting_before(node):
            folded = graph.get_attr(name)
        folded.meta = dict(node.meta)
        node.replace_all_uses_with(folded)
    return len(found)


def _evaluate(node: Node, known: dict[Node, Any]) -> Any:
    """The node's value; each node is computed once."""
    if node not in known:
        if node.op == "get_attr":
            module: Any = node.graph.owning_module
            for part in str(node.target).split("."):
                module = getattr(module, part)
            known[node] = module
        else:
            args, kwargs = tree_map(
                lambda given: _evaluate(given, known) if isinstance(given, Node) else given,
                (tuple(node.args), dict(node.kwargs)),
            )
            assert callable(node.target)
            known[node] = node.target(*args, **kwargs)
    return known[node]


def _remaining(graph: Graph, _: Collection[str]) -> Iterator[Node]:
    return _foldable(graph)


FOLD_CONSTANTS = Pass("constant folding", _fold, _remaining)
