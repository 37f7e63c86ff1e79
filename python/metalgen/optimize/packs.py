"""Kernels of packs as contenders: they claim the operators that they compute, and offer to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor
from torch.fx import Graph, Node

from metalgen.chips import Chip, Estimate
from metalgen.errors import LaunchError, PlanError
from metalgen.library import load_metallib
from metalgen.optimize.contender import MemoryOrder, Offer, RegionGraph
from metalgen.optimize.memory_order import order_of
from metalgen.optimize.region_plan import RegionPlan
from metalgen.optimize.report import Stage
from metalgen.packs import Match, Pack, PackedKernel, find_matches, installed_packs, open_pack
from metalgen.packs.constant import Expected, holds
from metalgen.packs.manifest import SOURCE
from metalgen.plan import compile_plan, kernels_of
from metalgen.plan.run import Allocate, writes_to

Packs = Pack | Path | str | Iterable[Pack | Path | str] | None


@dataclass(frozen=True)
class PackKernels:
    """The kernels of some packs, those that replace most operators first."""

    kernels: tuple[PackedKernel, ...] = ()

    @classmethod
    def of(cls, packs: Packs) -> PackKernels:
        """Those of the packs given, of all that are installed for None; raises PackError."""
        if packs is None:
            opened: Iterable[Pack] = installed_packs()
        else:
            given = [packs] if isinstance(packs, Pack | Path | str) else packs
            opened = [pack if isinstance(pack, Pack) else open_pack(pack) for pack in given]
        kernels = [kernel for pack in opened for kernel in pack.kernels]
        return cls(tuple(sorted(kernels, key=lambda k: -len(k.entry.pattern.calls))))

    def claims(self, graph: Graph, parameters: Collection[str]) -> list[frozenset[Node]]:
        """Operators that some kernel computes as a whole; each belongs to one claim at most."""
        found: list[frozenset[Node]] = []
        taken: set[Node] = set()
        for kernel in self.kernels:
            for match in find_matches(kernel.entry.pattern, graph, parameters):
                if not match.calls & taken:
                    found.append(match.calls)
                    taken |= match.calls
        return found

    def __call__(self, region: RegionGraph) -> Iterator[Offer]:
        """What the packs have for a region, as a source of contenders."""
        graph = region.module.graph
        calls = {node for node in graph.nodes if _is_operator(node)}
        for kernel in self.kernels:
            for match in find_matches(kernel.entry.pattern, graph, region.parameters):
                if match.calls == calls and set(region.outputs) <= set(match.results):
                    yield Offer(kernel.title, partial(_made, kernel, match, region))
                    break


@dataclass
class Constant:
    """What one of the region's arguments must be; looked at again when it was changed."""

    place: int
    expected: Expected
    _seen: tuple[object, ...] = ()

    def is_in(self, arguments: Sequence[object]) -> bool:
        """Whether it is."""
        value = arguments[self.place]
        assert isinstance(value, Tensor)
        if not isinstance(self.expected, dict):
            return holds(value, self.expected)
        now = (
            value,
            value.data_ptr(),
            writes_to(value),
        )  # the tensor itself, so that its address stays
        if self._seen and self._seen[0] is value and self._seen[1:] == now[1:]:
            return True
        if holds(value, self.expected):
            self._seen = now
            return True
        return False


@dataclass(frozen=True)
class PackContender:
    """A pack's plan, given the region's arguments in the order that the pack knows."""

    plan: RegionPlan
    taken: tuple[int, ...]  # of the region's arguments, for each of the plan's names
    given: tuple[int, ...]  # of the plan's outputs, for each of the region's
    constants: tuple[Constant, ...] = ()  # what the kernel was made for
    numbers: tuple[float, ...] = ()  # what its plan is given last

    @property
    def name(self) -> str:
        """The pack, its version and the kernel."""
        return self.plan.name

    @property
    def content(self) -> str:
        """A hash of the metallib and the plan."""
        return self.plan.content

    @property
    def kernels(self) -> int:
        """How many launches a call has."""
        return self.plan.kernels

    @property
    def stages(self) -> Mapping[Stage, str]:
        """The region's graph, the pack's source and its plan."""
        return self.plan.stages

    def run(self, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        """The region's outputs, laid out in memory as ATen lays them out."""
        self._check(arguments)
        return self._ordered(self.plan.run(self._given(arguments)))

    def run_in(self, allocate: Allocate, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        """As `run`, in memory of somebody's own."""
        self._check(arguments)
        return self._ordered(self.plan.run_in(allocate, self._given(arguments)))

    def predict(self, arguments: Sequence[object], chip: Chip) -> Estimate:
        """What the cost model expects of the plan on a chip."""
        return self.plan.predict(self._given(arguments), chip)

    def _given(self, arguments: Sequence[object]) -> list[object]:
        return [*(arguments[i] for i in self.taken), *self.numbers]

    def _check(self, arguments: Sequence[object]) -> None:
        for constant in self.constants:
            if not constant.is_in(arguments):
                raise LaunchError(f"{self.name} was made for another constant than this model's")

    def _ordered(self, results: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(results[i] for i in self.given)


def _made(kernel: PackedKernel, match: Match, region: RegionGraph) -> PackContender:
    metallib = kernel.metallib(region.device)
    library = load_metallib(metallib)
    operands = match.pattern.operands
    numbers = match.pattern.numbers
    names = [*(operand.name for operand in operands), *numbers]
    compiled = compile_plan(
        kernel.plan,
        kernels_of(library),
        inputs=[*(operand.name for operand in operands if operand.kind == "input"), *numbers],
        parameters=[operand.name for operand in operands if operand.kind == "parameter"],
    )
    if len(compiled.plan.outputs) != len(match.results):
        raise PlanError(
            f"{kernel.title}: its plan has {len(compiled.plan.outputs)} outputs, its pattern "
            f"{len(match.results)}"
        )
    plan = compiled.plan.model_dump(mode="json", exclude_defaults=True)
    stages: dict[Stage, str] = {
        "graph": str(region.module.graph).strip(),
        "metal": kernel.file(SOURCE).decode().strip(),
        "plan": json.dumps(plan, indent=1),
    }
    content = hashlib.sha256(metallib + json.dumps(plan).encode()).hexdigest()[:16]
    results = tuple(order_of(node.meta["val"]) for node in match.results)
    orders = MemoryOrder((None,) * len(names), results)
    place = {node: i for i, node in enumerate(region.placeholders)}
    return PackContender(
        RegionPlan(kernel.title, content, compiled, library, tuple(names), orders, False, stages),
        tuple(place[node] for node in match.operands),
        tuple(match.results.index(node) for node in region.outputs),
        tuple(Constant(place[node], expected) for node, expected in match.conditions),
        tuple(numbers.values()),
    )


def _is_operator(node: Node) -> bool:
    return node.op == "call_function" and isinstance(node.meta.get("val"), Tensor | list | tuple)
