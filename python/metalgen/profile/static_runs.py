"""What a dispatch would execute, from AIR alone: an estimate of what the counters would say.

Sampled SIMD-groups are followed through the kernel with what their positions and the sizes tell.
Where a branch or a loop depends on data, a share is assumed and said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metalgen.profile.lane_values import (
    Lanes,
    Value,
    constant,
    evaluate,
    extreme,
    parameter_pointer,
)
from metalgen.profile.launches import Launch
from metalgen.profile.loop_trips import Iteration, assumed_exit, exits, trips
from metalgen.profile.samples import Numbers, Samples, take_samples
from metalgen.software.counting import LINE_BYTES, Site, sites
from metalgen.software.dump import Dump
from metalgen.software.ir.model import Instruction, Local, Operand
from metalgen.software.ir.types import Int, Pointer, Vector
from metalgen.software.prepare import Prepared, prepare
from metalgen.software.simdgroup.cfg import Graph, Loop

ASSUMED_TRIPS = 16

Share = NDArray[np.float64]  # executions per lane


@dataclass(frozen=True, slots=True)
class Run:
    """What happened at a site, or would: as the software device's counters have it."""

    site: Site
    executions: float  # by SIMD-groups
    lanes: float
    lines: float = 0.0
    least_lines: float = 0.0
    distinct_bytes: float = 0.0
    fresh_share: float = 1.0  # of the lines: those not just used by the same threadgroup


@dataclass(frozen=True, slots=True)
class StaticRuns:
    """Of one dispatch; `unknowns` are what had to be assumed."""

    runs: tuple[Run, ...]
    unknowns: tuple[str, ...]


def static_runs(bitcode: bytes, launch: Launch) -> StaticRuns:
    """Follow a dispatch; UnsupportedError and MetallibError as `software.translate` raises."""
    prepared = prepare(bitcode, launch.kernel, launch.constants, Dump.of(launch.kernel))
    return _Walk(prepared, launch, take_samples(launch)).runs()


@dataclass
class _Walk:
    prepared: Prepared
    launch: Launch
    samples: Samples
    values: dict[str, Value] = field(default_factory=dict)
    shares: dict[str, Share] = field(default_factory=dict)
    unknowns: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.graph = Graph(self.prepared.function)
        self.layout = self.prepared.module.layout
        self.shape = self.samples.active.shape
        self.constants: dict[str, bytes] = {}
        self._leaving: dict[str, tuple[Loop, Share]] = {}  # exit's block → loop, entries
        self._edges: dict[tuple[str, str], Share] = {}
        self._iterations: dict[str, tuple[Iteration, Numbers]] = {}  # header → its loop's trips
        self._bind()

    def runs(self) -> StaticRuns:
        for label in self.graph.order:
            self._enter(label)
            for instruction in self.graph.blocks[label].instructions:
                if instruction.result and instruction.opcode != "phi":
                    self.values[instruction.result] = self._value(instruction, self.values)
            self._leave(label)
        found = tuple(self._run(site, access) for site, access in self._sites())
        return StaticRuns(found, tuple(self.unknowns))

    def _bind(self) -> None:
        """The kernel's parameters: built-ins, and pointers to buffers."""
        pairs = zip(self.prepared.function.parameters, self.prepared.signature, strict=True)
        for parameter, argument in pairs:
            if argument.kind == "builtin":
                components = self.samples.builtins.get(argument.builtin)
                self.values[parameter.name] = _builtin(components, parameter.type)
                continue
            pointer = parameter_pointer(parameter.name, self.shape, parameter.type)
            self.values[parameter.name] = pointer
            bound = self.launch.buffers.get(argument.index) if argument.kind == "buffer" else None
            if bound is not None and bound.value is not None:
                self.constants[parameter.name] = bound.value

    # Values.

    def _operand(self, operand: Operand, known: dict[str, Value]) -> Value:
        if isinstance(operand.value, Local):
            name = operand.value.name
            return known[name] if name in known else self.values.get(name)
        return constant(operand, self.shape)

    def _value(self, instruction: Instruction, known: object) -> Value:
        assert isinstance(known, dict)
        operands = [self._operand(o, known) for o in instruction.operands]
        if instruction.opcode == "load":
            return self._loaded(instruction, operands[0])
        if instruction.opcode == "call":
            return extreme(instruction.callee_name, instruction.type, operands)
        if instruction.opcode in ("phi", "alloca"):
            return None
        return evaluate(instruction, operands, self.layout)

    def _loaded(self, load: Instruction, pointer: Value) -> Value:
        if not isinstance(pointer, Lanes) or not pointer.is_uniform:
            return None
        space = load.operands[0].type
        is_shared = isinstance(space, Pointer) and space.address_space in (1, 2)
        data = self.constants.get(pointer.base)
        if data is not None and not pointer.opaque and isinstance(load.type, Int):
            at, size = int(pointer.numbers.flat[0]), max(1, load.type.bits // 8)
            if 0 <= at <= len(data) - size:
                number = int.from_bytes(data[at : at + size], "little", signed=True)
                return Lanes(np.full(self.shape, number, np.int64))
        if is_shared and isinstance(load.type, Int) and data is None:
            return Lanes(np.zeros(self.shape, np.int64), opaque=True)
        return None

    # Control flow.

    def _enter(self, label: str) -> None:
        """How often a block runs, and what its phis hold in a middle iteration."""
        share = self.shares.get(label)
        if share is None:
            share = self.samples.active.astype(float) if label == self.graph.entry else None
        share = np.zeros(self.shape) if share is None else share
        loop = self.graph.loops.get(label)
        self.shares[label] = share if loop is None else self._enter_loop(loop, share)
        if loop is None:
            for phi in self.graph.blocks[label].phis():
                self.values[phi.result] = self._joined(label, phi)

    def _joined(self, block: str, phi: Instruction) -> Value:
        """What each lane brings from where it came from; None where those are unlike kinds."""
        found: Lanes | None = None
        most: Share | None = None
        for label, operand in zip(phi.labels, phi.operands, strict=True):
            share = self._edges.get((label, block))
            if share is None or not share.any():
                continue
            value = self._operand(operand, self.values)
            if not isinstance(value, Lanes):
                return None
            if found is None or most is None:
                found, most = value, share
            elif (value.opaque, value.base) != (found.opaque, found.base):
                return None
            else:
                numbers = np.where(share > most, value.numbers, found.numbers)
                found = Lanes(numbers, found.opaque, found.base)
                most = np.maximum(share, most)
        return found

    def _enter_loop(self, loop: Loop, entries: Share) -> Share:
        header = self.graph.blocks[loop.header]
        start = {
            phi.result: self._operand(operand, self.values)
            for phi in header.phis()
            for label, operand in zip(phi.labels, phi.operands, strict=True)
            if label not in loop.blocks
        }
        iteration = Iteration(self.graph, loop, start, lambda i, k: self._value(i, dict(k)))
        times: Numbers | None = None
        block = assumed_exit(self.graph, loop)
        for leaving in exits(self.graph, loop):
            count = trips(iteration, leaving, self.shape)
            if count is not None and (times is None or (count < times).any()):
                times = count if times is None else np.minimum(times, count)
                block = leaving.block
        if times is None:
            self.unknowns[f"a loop's trips depend on data, {ASSUMED_TRIPS} assumed"] = None
            times = np.full(self.shape, ASSUMED_TRIPS, np.int64)
        self._leaving[block] = (loop, entries)
        self._iterations[loop.header] = (iteration, times)
        self.values.update(iteration.at(np.maximum(times - 1, 0) // 2))
        for phi in header.phis():
            self.values.setdefault(phi.result, None)
        return entries * times

    def _leave(self, label: str) -> None:
        """Hand a block's share to what follows it."""
        share, end = self.shares[label], self.graph.blocks[label].terminator
        targets = self.graph.successors[label]
        for target, part in self._parts(label, share, end, targets):
            if target in self.graph.loops and label in self.graph.loops[target].blocks:
                continue  # back to the header, whose share counts all iterations
            before = self._edges.get((label, target))
            self._edges[label, target] = part if before is None else before + part
            old = self.shares.get(target)
            self.shares[target] = part if old is None else old + part

    def _parts(
        self, label: str, share: Share, end: Instruction, targets: list[str]
    ) -> Iterator[tuple[str, Share]]:
        if len(targets) == 1:
            yield targets[0], share
        elif label in self._leaving and len(targets) == 2:
            loop, entries = self._leaving[label]
            out = np.minimum(entries, share)
            for target in targets:
                yield target, share - out if target in loop.blocks else out
        elif targets:
            yield from self._branches(label, share, end, targets)

    def _branches(
        self, label: str, share: Share, end: Instruction, targets: list[str]
    ) -> Iterator[tuple[str, Share]]:
        loop = self.graph.innermost_loop[label]
        inside = [t for t in targets if loop is None or t in loop.blocks]
        met = self._met(end.operands[0], loop) if end.opcode == "br" else None
        if met is not None:
            yield end.labels[0], share * met
            yield end.labels[1], share * (1 - met)
            return
        # Ways out of a loop that are not the one it is taken to leave by are hardly ever taken.
        likely = inside or targets
        if len(likely) > 1:
            self.unknowns["a branch depends on data, both ways taken as often"] = None
        for target in targets:
            yield target, share / len(likely) if target in likely else np.zeros(self.shape)

    def _met(self, condition: Operand, loop: Loop | None) -> NDArray[np.float64] | None:
        """How often a condition holds in each lane, over the iterations of the loop around it."""
        value = self._operand(condition, self.values)
        if not isinstance(value, Lanes) or value.opaque:
            return None
        if loop is not None and loop.header in self._iterations:
            iteration, times = self._iterations[loop.header]
            averaged = iteration.share(condition, times)
            if averaged is not None:
                return averaged
        met: NDArray[np.float64] = (value.numbers != 0).astype(float)
        return met

    # Sites.

    def _sites(self) -> Iterator[tuple[Site, tuple[Operand, ...]]]:
        for site, _, access in sites(self.prepared.module, self.prepared.function):
            if site.block in self.shares:
                yield site, access

    def _run(self, site: Site, access: tuple[Operand, ...]) -> Run:
        share, weights = self.shares[site.block], self.samples.weights
        each = weights * share.max(axis=1)
        executions = float(each.sum())
        lanes = float((weights * share.sum(axis=1)).sum())
        if site.kind == "block":
            return Run(site, executions, lanes)
        touched = self._touched(site, access, share)
        lines = float((each * touched.lines).sum())
        return Run(
            site,
            executions,
            lanes,
            lines,
            float((each * np.ceil(touched.distinct_bytes / LINE_BYTES)).sum()),
            float((each * touched.distinct_bytes).sum()),
            float((each * touched.fresh).sum()) / lines if lines else 1.0,
        )

    def _touched(self, site: Site, access: tuple[Operand, ...], share: Share) -> _Touched:
        first = self._first_bytes(site, access)
        if first is None:
            self.unknowns["addresses depend on data, taken as scattered"] = None
            count = np.minimum((share > 0).sum(axis=1), 8 if site.is_matrix else 32).astype(float)
            bytes_ = np.full(len(count), site.bytes) if site.is_matrix else count * site.bytes
            return _Touched(count, bytes_, count)
        width = site.bytes // 8 if site.is_matrix else site.bytes
        active = np.ones(first.shape, bool) if site.is_matrix else share > 0
        ends = np.concatenate([first // LINE_BYTES, (first + width - 1) // LINE_BYTES], 1)
        lines = _distinct(ends, np.concatenate([active, active], 1))
        distinct_bytes = _distinct(first, active) * width
        fresh = lines * self._new_lines(site, access, lines) * self._shared(ends, lines)
        return _Touched(lines, distinct_bytes, fresh)

    def _first_bytes(self, site: Site, access: tuple[Operand, ...]) -> Numbers | None:
        """Where each lane's access begins, or each row of a matrix."""
        pointer = self._operand(access[0], self.values)
        if not isinstance(pointer, Lanes):
            return None
        if not site.is_matrix:
            return pointer.numbers
        stride = self._operand(access[1], self.values)
        # By strides of columns and of rows one of them is 1.
        strides = stride if isinstance(stride, tuple) else (stride,)
        known = [each.numbers for each in strides if isinstance(each, Lanes) and not each.opaque]
        if len(known) != len(strides):
            return None
        step = np.sum(known, axis=0) - (len(known) - 1)
        rows: Numbers = np.arange(8) * (step[:, :1] * (site.bytes // 64))
        return pointer.numbers[:, :1] + rows

    def _new_lines(
        self, site: Site, access: tuple[Operand, ...], lines: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The share of lines that the innermost loop has not touched in the iteration before."""
        loop = self.graph.innermost_loop[site.block]
        none_old = np.ones(len(lines))
        if loop is None:
            return none_old
        iteration, times = self._iterations[loop.header]
        step = iteration.growth(access[0], times)
        if step is None:
            return none_old
        share: NDArray[np.float64] = np.minimum(1.0, np.abs(step).max(axis=1) / LINE_BYTES)
        return share

    def _shared(self, ends: Numbers, lines: NDArray[np.float64]) -> NDArray[np.float64]:
        """The share of lines that no other SIMD-group of the threadgroup touches as well."""
        groups = ends.reshape(-1, self.samples.per_threadgroup * ends.shape[1])
        together = _distinct(groups, np.ones(groups.shape, bool))
        alone = lines.reshape(-1, self.samples.per_threadgroup).sum(axis=1)
        share = np.minimum(1.0, together / np.maximum(alone, 1.0))
        each: NDArray[np.float64] = np.repeat(share, self.samples.per_threadgroup)
        return each


@dataclass(frozen=True, slots=True)
class _Touched:
    """By one execution of an access, per SIMD-group: cache lines, bytes, lines not in reach yet."""

    lines: NDArray[np.float64]
    distinct_bytes: NDArray[np.float64]
    fresh: NDArray[np.float64]


def _distinct(numbers: Numbers, active: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How many different numbers each row has among its active entries."""
    absent = np.iinfo(np.int64).max
    ordered = np.sort(np.where(active, numbers, absent), axis=1)
    present = ordered != absent
    changes = np.concatenate(
        [np.ones((len(ordered), 1), bool), ordered[:, 1:] != ordered[:, :-1]], axis=1
    )
    count: NDArray[np.float64] = (changes & present).sum(axis=1).astype(float)
    return count


def _builtin(components: tuple[Numbers, ...] | None, type_: object) -> Value:
    if components is None:
        return None
    if isinstance(type_, Vector):
        return tuple(Lanes(each) for each in components[: type_.count])
    return Lanes(components[0])
