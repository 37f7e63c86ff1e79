"""What became of a model: its graphs, their regions, and for each why it runs where it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from metalgen.errors import UnsupportedError

HEADINGS = ("region", "runs on", "share", "kernels", "metal us", "aten us", "operators", "why")
Choice = Literal["metal", "aten", "undecided"]
# What a region is turned into, one after the other.
Stage = Literal["graph", "loops", "metal", "plan"]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass
class RegionReport:
    """Operators that are computed together; times in microseconds, where they were measured."""

    name: str
    operators: tuple[str, ...]
    kernels: int = 0
    flops: int = 0
    choice: Choice = "undecided"
    reason: str = "not called yet"
    metal_us: float | None = None
    aten_us: float | None = None
    stages: dict[Stage, str] = field(default_factory=dict)  # texts, where there are kernels

    @property
    def us(self) -> float:
        """The time where it runs; 0 where it was not measured."""
        return (self.metal_us if self.choice == "metal" else self.aten_us) or 0.0

    def decide(self, choice: Choice, reason: str) -> None:
        """Record where the region runs from now on."""
        self.choice, self.reason = choice, reason


@dataclass
class GraphReport:
    """One graph that torch.compile captured; `left` are operators without kernels, and why."""

    regions: list[RegionReport] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    flops: int = 0  # of all operators, in regions or not, as torch.utils.flop_counter counts
    choice: Literal["mixed", "eager"] = "mixed"
    reason: str = "regions are chosen one by one"
    compiled_us: float | None = None
    eager_us: float | None = None

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
    compilations: int = 0

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
        if stage not in STAGES:
            raise UnsupportedError(f"not supported: stage '{stage}'; {', '.join(STAGES)}")
        return "\n\n".join(
            f"graph {number} {region.name}\n{region.stages.get(stage) or region.reason}"
            for number, graph in enumerate(self.graphs)
            for region in graph.regions
        )

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"policy {self.policy}, {self.compilations} Metal compilations"
        if self.graphs:
            before, after = self.launches
            yield (
                f"in Metal: {self.flops_share:.1%} of the FLOPs, {self.operators_share:.1%} of the "
                f"operators; {before} operators became {after} launches"
            )
        if not self.graphs:
            yield "torch.compile captured no graph: it was not called, or Dynamo leaves it to eager"
        for number, graph in enumerate(self.graphs):
            times = _times(graph.compiled_us, graph.eager_us, "compiled", "eager")
            yield f"graph {number}: {graph.choice} ({graph.reason}{times})"
            rows: list[tuple[str, ...]] = [HEADINGS]
            rows += [_row(region, graph.time_share(region)) for region in graph.regions]
            rows += [
                ("-", "aten", "-", "-", "-", "-", name, why) for name, why in _counted(graph.left)
            ]
            if len(rows) > 1:
                yield from _table(rows)


def _row(region: RegionReport, share: float | None) -> tuple[str, ...]:
    names = Counter(region.operators)
    operators = ", ".join(f"{n} x{count}" if count > 1 else n for n, count in names.items())
    times = [_number(region.metal_us), _number(region.aten_us)]
    percent = "-" if share is None else f"{share:.0%}"
    where = (region.name, region.choice, percent, str(region.kernels))
    return (*where, *times, operators, region.reason)


def _counted(left: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for (name, reason), count in Counter(left).items():
        yield f"{name} x{count}" if count > 1 else name, reason


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _times(first: float | None, second: float | None, one: str, other: str) -> str:
    if first is None or second is None:
        return ""
    return f"; {one} {first:.0f} us, {other} {second:.0f} us"


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  " + "  ".join(cells).rstrip()
