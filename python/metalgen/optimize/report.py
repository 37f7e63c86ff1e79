"""What became of a model: its graphs, their regions, and for each why it runs where it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from metalgen.errors import UnsupportedError

Choice = Literal["metal", "aten", "undecided"]
# Where times come from: this process, an earlier one on this device, the cost model.
How = Literal["measured", "kept", "predicted"]
# What a region is turned into, one after the other.
Stage = Literal["graph", "loops", "metal", "plan"]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True)
class ClassReport:
    """What was decided for calls of one shape class; `us` by contender's name, and "aten"."""

    shape_class: str
    choice: Choice
    reason: str
    contender: str = ""  # the best that is right, chosen or not
    us: Mapping[str, float] = field(default_factory=dict)
    how: How | None = None
    refused: tuple[str, ...] = ()  # contenders that are out of the race, and why
    joules: Mapping[str, float] = field(default_factory=dict)  # where energy decides

    @property
    def metal_us(self) -> float | None:
        """Of the best contender."""
        return self.us.get(self.contender)

    @property
    def aten_us(self) -> float | None:
        """Of the same operators in ATen."""
        return self.us.get("aten")


@dataclass
class RegionReport:
    """Operators that are computed together; times in microseconds, where they were measured.

    `choice` and what follows it are those of the shape class that was decided last; `classes` has
    all of them.
    """

    name: str
    operators: tuple[str, ...]
    kernels: int = 0
    flops: int = 0
    choice: Choice = "undecided"
    reason: str = "not called yet"
    metal_us: float | None = None
    aten_us: float | None = None
    contender: str = ""
    stages: dict[Stage, str] = field(default_factory=dict)  # texts, where there are kernels
    classes: dict[str, ClassReport] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)  # passes that failed, and why

    @property
    def us(self) -> float:
        """The time where it runs; 0 where it was not measured."""
        return (self.metal_us if self.choice == "metal" else self.aten_us) or 0.0

    def decide(self, choice: Choice, reason: str) -> None:
        """Record where the region runs from now on."""
        self.choice, self.reason = choice, reason

    def add(self, decided: ClassReport) -> None:
        """Record where calls of a class run from now on."""
        self.classes[decided.shape_class] = decided
        self.decide(decided.choice, decided.reason)
        self.metal_us, self.aten_us = decided.metal_us, decided.aten_us
        self.contender = decided.contender


@dataclass(frozen=True)
class GraphClass:
    """What was decided for a whole graph in one shape class."""

    shape_class: str
    choice: Literal["mixed", "eager"]
    reason: str
    compiled_us: float | None = None
    eager_us: float | None = None
    how: How | None = None


@dataclass
class GraphReport:
    """One graph that torch.compile captured; `left` are operators without kernels, and why.

    `choice` and what follows it are those of the shape class that was decided last.
    """

    regions: list[RegionReport] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    flops: int = 0  # of all operators, in regions or not, as torch.utils.flop_counter counts
    choice: Literal["mixed", "eager"] = "mixed"
    reason: str = "regions are chosen one by one"
    compiled_us: float | None = None
    eager_us: float | None = None
    classes: dict[str, GraphClass] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # passes that failed on it, and why

    def add(self, decided: GraphClass) -> None:
        """Record where calls of a class run from now on."""
        self.classes[decided.shape_class] = decided
        self.choice, self.reason = decided.choice, decided.reason
        self.compiled_us, self.eager_us = decided.compiled_us, decided.eager_us

    @property
    def in_metal(self) -> list[RegionReport]:
        """The regions whose kernels run."""
        if self.choice == "eager":
            return []
        return [region for region in self.regions if region.choice == "metal"]

    def time_share(self, region: RegionReport) -> float | None:
        """Of the time measured in regions, that of this one; None where nothing was measured."""
        total = sum(each.us for each in self.regions)
        return region.us / total if total and region.us else None

    @property
    def operators(self) -> int:
        """How many operators ATen would run, views included."""
        return len(self.left) + sum(len(region.operators) for region in self.regions)


@dataclass
class Report:
    """All graphs of a model; printing it gives a table."""

    policy: str
    graphs: list[GraphReport] = field(default_factory=list)
    compilations: int = 0  # contenders that were made, which is when Metal is compiled

    @property
    def regions(self) -> list[RegionReport]:
        """The regions of all graphs."""
        return [region for graph in self.graphs for region in graph.regions]

    @property
    def flops_share(self) -> float:
        """Of the floating-point operations that are counted, those in Metal; 1 without any."""
        done = sum(region.flops for graph in self.graphs for region in graph.in_metal)
        return done / total if (total := sum(graph.flops for graph in self.graphs)) else 1.0

    @property
    def operators_share(self) -> float:
        """Of the operators, those that Metal kernels compute."""
        done = sum(len(region.operators) for graph in self.graphs for region in graph.in_metal)
        return done / total if (total := sum(graph.operators for graph in self.graphs)) else 1.0

    @property
    def launches(self) -> tuple[int, int]:
        """Operators before fusion; kernels, and operators left to ATen, after it."""
        before = sum(graph.operators for graph in self.graphs)
        after = before
        for region in (region for graph in self.graphs for region in graph.in_metal):
            after += region.kernels - len(region.operators)
        return before, after

    def stage(self, stage: Stage) -> str:
        """All regions at one stage; UnsupportedError for a stage that there is not."""
        check_stage(stage)
        return "\n\n".join(
            f"graph {number} {region.name}\n{region.stages.get(stage) or region.reason}"
            for number, graph in enumerate(self.graphs)
            for region in graph.regions
        )

    def __str__(self) -> str:
        from metalgen.optimize.report_text import lines

        return "\n".join(lines(self))


def check_stage(stage: str) -> None:
    """Raises UnsupportedError for a stage that there is not."""
    if stage not in STAGES:
        raise UnsupportedError(f"not supported: stage '{stage}'; {', '.join(STAGES)}")
