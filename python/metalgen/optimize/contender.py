"""The ways in which a region can be computed: who offers them, and what each must be able to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from torch import Tensor
from torch.fx import GraphModule, Node

from metalgen.optimize.attention.operator import as_eager
from metalgen.optimize.report import Stage
from metalgen.plan.run import Allocate


class Contender(Protocol):
    """One way to compute a region; it must be right to be used, and the fastest to be kept."""

    @property
    def name(self) -> str:
        """As reports have it: "templates", "winograd", "pack acme 1.2: gelu"."""

    @property
    def content(self) -> str:
        """A hash of all that its speed depends on, by which measured times are kept."""

    @property
    def kernels(self) -> int:
        """How many launches one call is."""

    @property
    def stages(self) -> Mapping[Stage, str]:
        """Its texts, stage by stage, as far as it has them."""

    def run(self, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        """The region's outputs, laid out as ATen lays them out; MetalgenError where it cannot.

        `arguments` are in the order of the region's placeholders.
        """

    def run_in(self, allocate: Allocate, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        """As `run`, in memory of somebody's own: how the checker sees what it wrote."""


# From a tensor to its memory: the dimension of the largest stride first; None: its own order.
Order = tuple[int, ...] | None


@dataclass(frozen=True)
class MemoryOrder:
    """How a region's inputs and results lie in memory, in the order of its placeholders."""

    inputs: tuple[Order, ...]
    outputs: tuple[Order, ...]


@dataclass(frozen=True, eq=False)
class RegionGraph:
    """A region as it was captured; `parameters`: placeholders whose memory rarely changes.

    `module` computes the region in ATen and returns a tuple; its nodes hold fake values, with open
    sizes as symbols, in `meta["val"]`.
    """

    module: GraphModule
    parameters: frozenset[str] = frozenset()
    device: str = "cpu"  # the type of the device that its tensors are on
    orders: MemoryOrder | None = None
    # Passes that failed on it while contenders were made, and why.
    left_out: dict[str, str] = field(default_factory=dict)

    @cached_property
    def eager(self) -> GraphModule:
        """`module` as it is run: with PyTorch's own function where attention was kept whole."""
        return as_eager(self.module)

    @cached_property
    def placeholders(self) -> tuple[Node, ...]:
        """What the region is called with, in order."""
        return tuple(self.module.graph.find_nodes(op="placeholder"))

    @cached_property
    def outputs(self) -> tuple[Node, ...]:
        """What it returns, in order."""
        (output,) = self.module.graph.find_nodes(op="output")
        results = output.args[0]
        assert isinstance(results, list | tuple)
        return tuple(node for node in results if isinstance(node, Node))


@dataclass(frozen=True)
class Offer:
    """A contender to be had; `make` may compile, and raises MetalgenError where it cannot.

    `predicted`: seconds on the device, where the source knows them beforehand; the most promising
    is made first.
    """

    name: str
    make: Callable[[], Contender]
    predicted: float | None = None


# Asked once for each region; what it yields is made one by one, while the budget lasts.
Source = Callable[[RegionGraph], Iterable[Offer]]
