"""From what ran at each site to the figures of a dispatch: bytes, arithmetic, lanes, lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from metalgen.air import KernelInfo
from metalgen.chips import Work
from metalgen.profile.launches import Launch
from metalgen.profile.operations import operations
from metalgen.profile.static_runs import Run
from metalgen.software.counting import LINE_BYTES

Origin = Literal["counted", "static"]


@dataclass(frozen=True, slots=True)
class AccessFigures:
    """All executions of one load or store; `lines` are cache lines, `least` the fewest possible."""

    kind: str
    space: str
    buffer: str
    bytes: float
    lines: float
    least: float
    executions: float
    distinct_bytes: float = 0.0
    fresh_share: float = 1.0

    @property
    def excess(self) -> float:
        """How many times more cache lines than needed."""
        return self.lines / self.least if self.least else 1.0


@dataclass(frozen=True, slots=True)
class DispatchFigures:
    """What one dispatch did (`origin` "counted") or would do ("static")."""

    kernel: str
    origin: Origin
    launch: Launch
    threadgroup_memory: int  # bytes of one threadgroup, static and given
    instructions: dict[str, float]  # of SIMD-groups, by kind
    flops: float
    loads: dict[str, float]  # bytes by address space
    stores: dict[str, float]
    atomics: float  # operations of lanes
    accesses: tuple[AccessFigures, ...]
    active_share: float  # of the lanes of executed instructions
    barriers: float  # that threadgroups pass
    between_lanes: float  # SIMD-group operations
    matrix_products: float
    serial_instructions: float
    serial_loads: float
    unknowns: tuple[str, ...] = ()

    @property
    def device_bytes(self) -> float:
        """Bytes that threads ask for in device and constant memory."""
        return sum(
            held.get(space, 0.0)
            for held in (self.loads, self.stores)
            for space in ("device", "constant")
        )

    @property
    def threadgroup_bytes(self) -> float:
        """Bytes that threads ask for in threadgroup memory."""
        return self.loads.get("threadgroup", 0.0) + self.stores.get("threadgroup", 0.0)

    @property
    def lines(self) -> float:
        """Cache lines of device memory touched, access by access."""
        return sum(a.lines for a in self.accesses if a.space == "device")

    @property
    def least_lines(self) -> float:
        """The fewest that could hold the same bytes."""
        return sum(a.least for a in self.accesses if a.space == "device")

    @property
    def excess(self) -> float:
        """Lines touched for each that is needed: 1 is coalesced."""
        return self.lines / self.least_lines if self.least_lines else 1.0

    def work(self) -> Work:
        """For the roofline model."""
        return Work(
            name=self.kernel,
            threadgroups=self.launch.threadgroups,
            threads_per_threadgroup=self.launch.threads_per_threadgroup,
            threadgroup_memory=self.threadgroup_memory,
            instructions=self.instructions,
            flops=self.flops,
            line_bytes=self.lines * LINE_BYTES,
            fresh_bytes=LINE_BYTES
            * sum(a.lines * a.fresh_share for a in self.accesses if a.space == "device"),
            footprint=_footprint(self.launch, self.accesses),
            threadgroup_bytes=sum(
                a.distinct_bytes for a in self.accesses if a.space == "threadgroup"
            ),
            serial_instructions=self.serial_instructions,
            serial_loads=self.serial_loads,
            barriers=self.barriers,
            unknowns=self.unknowns,
        )


@dataclass(slots=True)
class _Sums:
    instructions: Counter[str] = field(default_factory=Counter)
    flops: float = 0.0
    executed: float = 0.0  # instructions × executions
    active: float = 0.0  # instructions × lanes
    barriers: float = 0.0
    between: float = 0.0
    matrices: float = 0.0
    waits: float = 0.0  # executions of blocks that load from device memory


def figures(
    launch: Launch,
    info: KernelInfo,
    runs: Sequence[Run],
    origin: Origin,
    unknowns: tuple[str, ...] = (),
) -> DispatchFigures:
    """The figures of one dispatch from what ran at its sites."""
    accesses = tuple(_access(run, info) for run in runs if run.site.kind != "block")
    loading = {run.site.block for run in runs if _waits(run)}
    sums = _Sums()
    for run in runs:
        if run.site.kind == "block":
            _add(sums, run, run.site.block in loading)
    simdgroups = -(-launch.threads_per_threadgroup // 32) * launch.threadgroups
    per_group = -(-launch.threads_per_threadgroup // 32)
    return DispatchFigures(
        kernel=launch.kernel,
        origin=origin,
        launch=launch,
        threadgroup_memory=info.threadgroup_bytes + launch.threadgroup_memory,
        instructions=dict(sums.instructions),
        flops=sums.flops,
        loads=_bytes(accesses, "load"),
        stores=_bytes(accesses, "store"),
        atomics=sum(run.lanes for run in runs if run.site.kind == "atomic"),
        accesses=accesses,
        active_share=sums.active / (32 * sums.executed) if sums.executed else 1.0,
        barriers=sums.barriers / max(1, per_group),
        between_lanes=sums.between,
        matrix_products=sums.matrices,
        serial_instructions=sums.executed / max(1, simdgroups),
        serial_loads=sums.waits / max(1, simdgroups),
        unknowns=unknowns,
    )


def _waits(run: Run) -> bool:
    return run.site.kind == "load" and run.site.space == "device"


def _add(sums: _Sums, run: Run, loads: bool) -> None:
    cost = operations(run.site.instructions)
    for kind, count in cost.kinds.items():
        sums.instructions[kind] += count * run.executions  # type: ignore[assignment]
    count = max(1, sum(cost.kinds.values()))
    sums.flops += cost.flops * run.lanes
    sums.executed += count * run.executions
    sums.active += count * run.lanes
    sums.barriers += cost.barriers * run.executions
    sums.between += cost.between_lanes * run.executions
    sums.matrices += cost.matrix_products * run.executions
    sums.waits += run.executions if loads else 0


def _access(run: Run, info: KernelInfo) -> AccessFigures:
    site = run.site
    times = run.executions if site.is_matrix else run.lanes
    return AccessFigures(
        kind=site.kind,
        space=site.space,
        buffer=_argument(site.position, info),
        bytes=site.bytes * times,
        lines=run.lines,
        least=run.least_lines,
        executions=run.executions,
        distinct_bytes=run.distinct_bytes,
        fresh_share=run.fresh_share,
    )


def _argument(position: int | None, info: KernelInfo) -> str:
    """The name of the kernel's argument; "" for threadgroup variables and what is not clear."""
    if position is None or position >= len(info.arguments):
        return ""
    return info.arguments[position].name


def _bytes(accesses: Iterable[AccessFigures], kind: str) -> dict[str, float]:
    found: Counter[str] = Counter()
    for access in accesses:
        if access.kind == kind:
            found[access.space] += access.bytes  # type: ignore[assignment]
    return dict(found)


def _footprint(launch: Launch, accesses: Sequence[AccessFigures]) -> float:
    """Every byte of a buffer once, if as many were asked for."""
    sizes: dict[str, int] = {}
    for buffer in launch.buffers.values():
        sizes[buffer.argument] = buffer.size
    asked: Counter[str] = Counter()
    for access in accesses:
        if access.space in ("device", "constant"):
            asked[access.buffer] += access.bytes  # type: ignore[assignment]
    return sum(min(total, sizes.get(name, total)) for name, total in asked.items())
