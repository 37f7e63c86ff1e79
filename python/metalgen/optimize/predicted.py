"""What the cost model expects of a region on a chip: of a contender's kernels, and of ATen's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from metalgen.chips import Chip, Estimate, Work, predict
from metalgen.chips.this_mac import default_chip
from metalgen.errors import MetalgenError
from metalgen.optimize.contender import Contender
from metalgen.optimize.partition import is_view

_SIMDGROUP = 32
_GROUP = 256  # threads, as such kernels commonly have


@runtime_checkable
class Predictable(Protocol):
    """A contender whose kernels the cost model can read."""

    def predict(self, arguments: Sequence[object], chip: Chip) -> Estimate:
        """One call; raises MetalgenError where that cannot be told."""


def predicted(
    contender: Contender, arguments: Sequence[object], chip: Chip | None
) -> Estimate | None:
    """One call on `chip`, else on this machine's; None where the model cannot tell."""
    if not isinstance(contender, Predictable):
        return None
    try:
        return contender.predict(arguments, chip or default_chip())
    except MetalgenError:
        return None


def predicted_aten(
    module: GraphModule, arguments: Sequence[object], chip: Chip | None
) -> Estimate | None:
    """The operators one after the other; None where a size depends on values.

    Each is taken to read its inputs and write its results once and to compute at the chip's rate.
    """
    operators = _Operators(module)
    try:
        operators.run(*map(_without_values, arguments))
    except (RuntimeError, NotImplementedError):
        return None
    return predict(operators.work, chip or default_chip())


class _Operators(Interpreter):
    """Runs a graph on tensors without values and writes down what each operator does."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module)
        self.work: list[Work] = []

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if n.op == "call_function" and not is_view(n):
            given = self.fetch_args_kwargs_from_env(n)
            self.work.append(_work(n, given, result))
        return result


def _work(node: Node, given: Any, result: Any) -> Work:
    moved = sum(leaf.nbytes for leaf in tree_leaves((given, result)) if isinstance(leaf, Tensor))
    elements = sum(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
    overload = node.target
    count = None
    if isinstance(overload, torch._ops.OpOverload):
        count = flop_registry.get(overload.overloadpacket)
    flops = count(*given[0], **given[1], out_val=result) if count is not None else elements
    return Work(
        name=node.name,
        threadgroups=-(-elements // _GROUP),
        threads_per_threadgroup=_GROUP,
        threadgroup_memory=0,
        instructions={"fp32": flops / (2 * _SIMDGROUP)},
        flops=flops,
        line_bytes=moved,
        fresh_bytes=moved,
        footprint=moved,
        threadgroup_bytes=0,
        serial_instructions=8,  # an index, a load, a value, a store
        serial_loads=1,
    )


def _without_values(value: object) -> object:
    return value.to("meta") if isinstance(value, Tensor) else value
